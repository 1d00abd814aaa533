//! When a call gives its place back.

#[cfg(feature = "http")]
use http::Response;
#[cfg(feature = "http")]
use http_body::Body;

use super::{handle::Permit, place::Place};
use crate::error::Error;
#[cfg(feature = "http")]
use crate::guard::{HeldBody, hold};

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

/// A call is over when the body of its response has ended: read to its last frame, broken, or
/// dropped. See [`ConcurrencyLimitLayer::until_body_end`](super::ConcurrencyLimitLayer::until_body_end).
///
/// ```
/// use tower_upstream::limit::{AtBodyEnd, ConcurrencyLimitLayer, Refuse};
///
/// struct Limits {
///     streams: ConcurrencyLimitLayer<Refuse, AtBodyEnd>,
/// }
/// let limits = Limits { streams: ConcurrencyLimitLayer::new(10).until_body_end() };
/// # let _ = limits.streams;
/// ```
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AtBodyEnd;

#[cfg(feature = "http")]
impl<B: Body> Ends<Response<B>> for AtBodyEnd {
    type Response = Response<HeldBody<B, Permit>>;

    fn end(result: Result<Response<B>, Error>, place: &mut Place) -> Result<Self::Response, Error> {
        // Of an error too: it has no body to wait for.
        let place = Permit::new(std::mem::take(place));
        result.map(|response| hold(response, Some(place)))
    }
}
