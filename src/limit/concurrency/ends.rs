//! When a call gives its place back.

use super::place::Place;
use crate::error::Error;

/// Tells a limit when a call is over: [`AtResponse`], or with the body of its response (`AtBodyEnd`).
///
/// Only this crate can implement it.
pub trait Ends<Res> {
    /// The response, as the limit hands it on.
    type Response;

    #[doc(hidden)]
    fn end(result: Result<Res, Error>, place: &mut Place) -> Result<Self::Response, Error>;
}

/// A call is over when its response is there. The default.
///
/// ```
/// use tower_upstream::limit::{AtResponse, ConcurrencyLimitLayer, Refuse};
///
/// struct Limits {
///     queries: ConcurrencyLimitLayer<Refuse, AtResponse>,
/// }
/// let limits = Limits { queries: ConcurrencyLimitLayer::new(10) };
/// # let _ = limits.queries;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AtResponse;

impl<Res> Ends<Res> for AtResponse {
    type Response = Res;

    #[inline(always)]
    fn end(result: Result<Res, Error>, place: &mut Place) -> Result<Res, Error> {
        place.give_back();
        result
    }
}
