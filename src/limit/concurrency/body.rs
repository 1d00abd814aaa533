//! Places that are kept until the end of a response body.

use http::Response;
use http_body::Body;

use super::{ends::Ends, handle::Permit, place::Place};
use crate::{
    error::Error,
    guard::{HeldBody, hold},
};

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
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AtBodyEnd;

impl<B: Body> Ends<Response<B>> for AtBodyEnd {
    type Response = Response<HeldBody<B, Permit>>;

    fn end(result: Result<Response<B>, Error>, place: &mut Place) -> Result<Self::Response, Error> {
        // Of an error too: it has no body to wait for.
        let place = Permit::new(std::mem::take(place));
        result.map(|response| hold(response, Some(place)))
    }
}
