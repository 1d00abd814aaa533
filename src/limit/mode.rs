//! What happens to a call that is too many.

use std::{fmt, time::Duration};

use crate::{
    deadline::{DeadlineOf, OwnDeadline},
    time::{self, Instant},
};

/// Mode in which calls beyond the quota, or without a place, are refused. The default.
///
/// See [`RateLimitLayer::new`](super::RateLimitLayer::new) and
/// [`ConcurrencyLimitLayer::new`](super::ConcurrencyLimitLayer::new). A refusal does not call the
/// inner service, which stays ready for the next call of the same value, with what it reserved: see
/// [what a refusal keeps](crate::limit#what-a-refusal-keeps).
///
/// ```
/// use tower_upstream::{Quota, RateLimitLayer, limit::Refuse};
///
/// struct Limits {
///     api: RateLimitLayer<Refuse>,
/// }
/// let limits = Limits { api: RateLimitLayer::new(Quota::per_second(100)) };
/// # let _ = limits.api;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Refuse;

/// Mode in which calls beyond the quota, or without a place, wait for their turn.
///
/// See [`RateLimitLayer::wait`](super::RateLimitLayer::wait) and
/// [`ConcurrencyLimitLayer::wait`](super::ConcurrencyLimitLayer::wait). `D` returns the
/// [deadline](crate::deadline::DeadlineOf) of a request.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Quota, RateLimitLayer, limit::Wait};
///
/// struct Limits {
///     batch: RateLimitLayer<Wait>,
/// }
/// let quota = RateLimitLayer::new(Quota::per_second(5));
/// let limits = Limits { batch: quota.wait(Duration::from_secs(60)) };
/// # let _ = limits.batch;
/// ```
#[derive(Clone, Copy)]
pub struct Wait<D = OwnDeadline> {
    max: Duration,
    deadline: D,
}

impl Wait {
    pub(super) fn at_most(max: Duration) -> Self {
        Self { max, deadline: OwnDeadline }
    }
}

impl<D> Wait<D> {
    pub(super) fn with_deadline<E>(self, deadline: E) -> Wait<E> {
        Wait { max: self.max, deadline }
    }

    #[inline]
    pub(super) fn deadline_of<Req>(&self, request: &Req) -> Option<Instant>
    where
        D: DeadlineOf<Req>,
    {
        self.deadline.deadline_of(request)
    }

    /// When a call gives up that begins to wait `now`.
    pub(super) fn until(&self, now: Instant, deadline: Option<Instant>) -> Instant {
        let longest = time::later(now, self.max);
        deadline.map_or(longest, |deadline| longest.min(deadline))
    }
}

impl<D> fmt::Debug for Wait<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("max", &self.max).finish_non_exhaustive()
    }
}
