//! Deadlines of requests: the time from which on the answer is of no use.
//!
//! # When to use
//! Failover, limits that wait and the HTTP transport do not make a call whose deadline has passed; other
//! layers ignore it. Implement [`HasDeadline`] for requests of your own type, or give the layer a
//! closure.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use tower_upstream::{Call, deadline::HasDeadline};
//!
//! let until = Instant::now() + Duration::from_secs(2);
//! assert_eq!(Call::new(7).with_deadline(until).deadline(), Some(until));
//! ```

use crate::time::Instant;

/// Request that may have a deadline.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request`, whose
/// deadline is an extension. For other requests, implement it, or give the layer a closure: see
/// [`DeadlineOf`].
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
    /// Returns the time from which on the answer is of no use. Default: none.
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Source of the deadline of a request: [`OwnDeadline`], or a closure over the request.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Quota, RateLimitLayer};
///
/// // For requests of any type, without a deadline.
/// let layer = RateLimitLayer::new(Quota::per_second(100))
///     .wait(Duration::from_secs(2))
///     .with_deadline(|_: &String| None);
/// # let _ = layer;
/// ```
pub trait DeadlineOf<Req> {
    /// Returns the time from which on the answer to `request` is of no use.
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

/// Deadline of the request itself, which is a [`HasDeadline`]. The default.
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
