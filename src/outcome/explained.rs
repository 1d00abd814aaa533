use std::sync::Arc;

use super::rule::{Classify, Outcome, Repeat};
use crate::decision::{Decision, Explain};

/// Rule that also lets answers carry why they come from their endpoint. The services of a
/// [`BalanceLayer::explained`](crate::BalanceLayer::explained) judge by it; the layer itself has the mark `Explained`
/// beside its rule, so that either may be set first.
///
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover, outcome::{ErrIsFailure, Explained}};
/// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new());
/// let explained: BalanceLayer<_, _, ErrIsFailure, Explained> = layer.explained(0.01);
/// # let _ = explained;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Explained<C = ()>(C);

/// Tells whether the answers of a [`BalanceLayer`](crate::BalanceLayer) carry why they come from their endpoint:
/// [`Explained`], or `()`, for which they do not.
///
/// ```
/// use tower_upstream::{BalanceLayer, outcome::Explains};
/// fn names_it<D, P, C, E: Explains>(layer: BalanceLayer<D, P, C, E>) -> BalanceLayer<D, P, C, E> {
///     layer.named("tax")
/// }
/// ```
pub trait Explains: sealed::Sealed {
    /// The rule of its services, where that of the layer is `C`.
    type Rule<C>;

    /// Makes the rule of its services.
    fn rule<C>(classify: C) -> Self::Rule<C>;
}

impl Explains for () {
    type Rule<C> = C;

    fn rule<C>(classify: C) -> C {
        classify
    }
}

impl Explains for Explained {
    type Rule<C> = Explained<C>;

    fn rule<C>(classify: C) -> Explained<C> {
        Explained(classify)
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "there are two, and no more")]
    pub trait Sealed {}

    impl Sealed for () {}
    impl Sealed for super::Explained {}
}

impl<C, Res, Err> Classify<Res, Err> for Explained<C>
where
    C: Classify<Res, Err>,
    Res: Explain,
{
    #[inline]
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self.0.classify(result)
    }

    fn repeat(&self, result: Result<&Res, &Err>) -> Repeat {
        self.0.repeat(result)
    }

    fn explain(&self, answer: &mut Res, decision: Arc<Decision>) {
        answer.explain(decision);
    }
}
