//! When the answer to a request is of no use any more.
//!
//! A call whose deadline has passed is not made by failover, by limits that wait, and by the HTTP
//! transport; the other layers do not ask.
use crate::time::Instant;

/// A request that may have a deadline.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request`, whose
/// deadline is an extension. For other requests, implement it, or give the layer that asks a
/// closure: see [`DeadlineOf`].
///
/// # Example
/// ```
/// use tokio::time::Instant;
/// use tower_upstream::deadline::HasDeadline;
///
/// struct Query { text: String, until: Instant }
///
/// impl HasDeadline for Query {
///     fn deadline(&self) -> Option<Instant> {
///         Some(self.until)
///     }
/// }
/// ```
pub trait HasDeadline {
    /// Returns the moment from which on the answer is of no use. Default: none.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// How a layer learns the deadline of a request: [`OwnDeadline`], or a closure over the request.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Quota, RateLimitLayer};
///
/// // Requests of any type, which have no deadline.
/// let layer = RateLimitLayer::new(Quota::per_second(100))
///     .wait(Duration::from_secs(2))
///     .with_deadline(|_: &String| None);
/// # let _ = layer;
/// ```
pub trait DeadlineOf<Req> {
    /// Returns the moment from which on the answer to `request` is of no use.
    fn deadline_of(&self, request: &Req) -> Option<Instant>;
}

impl<F, Req> DeadlineOf<Req> for F
where
    F: Fn(&Req) -> Option<Instant>,
{
    #[inline]
    fn deadline_of(&self, request: &Req) -> Option<Instant> {
        self(request)
    }
}

/// Asks the request itself, which is a [`HasDeadline`]. The default.
///
/// ```
/// use tower_upstream::{Call, deadline::{DeadlineOf, OwnDeadline}};
/// assert_eq!(OwnDeadline.deadline_of(&Call::new(7)), None);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnDeadline;

impl<Req: HasDeadline> DeadlineOf<Req> for OwnDeadline {
    #[inline]
    fn deadline_of(&self, request: &Req) -> Option<Instant> {
        request.deadline()
    }
}
