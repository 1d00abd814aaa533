//! When a call has ended for its circuit.

use super::permit::Permit;
use crate::outcome::{Classify, ErrIsFailure, judge};

/// Tells a circuit how a call ended: [`AtResponse`], or with the body of its response (`AtBodyEnd`).
///
/// Only this crate can implement it.
pub trait Settle<Res, Err>: Sized {
    /// Response, as the circuit hands it on.
    type Response;

    #[doc(hidden)]
    fn settle(&self, permit: &mut Permit, result: Result<Res, Err>) -> Result<Self::Response, Err>;
}

/// Ends a call with the head of its response, which `C` judges. The default; see
/// [`CircuitBreakerLayer::with_classify`](super::CircuitBreakerLayer::with_classify).
///
/// ```
/// use tower_upstream::{CircuitBreakerLayer, breaker::AtResponse, http::HttpClassify};
///
/// struct Guards {
///     circuit: CircuitBreakerLayer<AtResponse<HttpClassify>>,
/// }
/// let guards = Guards { circuit: CircuitBreakerLayer::default().with_classify(HttpClassify) };
/// # let _ = guards.circuit;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct AtResponse<C = ErrIsFailure> {
    pub(super) classify: C,
}

impl<C, Res, Err> Settle<Res, Err> for AtResponse<C>
where
    C: Classify<Res, Err>,
    Err: 'static,
{
    type Response = Res;

    #[inline(always)]
    fn settle(&self, permit: &mut Permit, result: Result<Res, Err>) -> Result<Res, Err> {
        match judge(&self.classify, &result) {
            Some(outcome) => permit.settle(outcome),
            None => permit.cancel(),
        }
        result
    }
}
