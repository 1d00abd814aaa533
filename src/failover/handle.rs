use std::sync::{Arc, atomic::Ordering};

use super::{Attempts, live::LiveAttempts};

/// Handle to the settings and counts of a [`FailoverLayer`](super::FailoverLayer) and its services.
///
/// # Example
/// ```
/// use tower_upstream::{Attempts, FailoverLayer};
///
/// let layer = FailoverLayer::new(Attempts::up_to(3));
/// let handle = layer.handle();
/// handle.update(Attempts::up_to(1));
/// assert_eq!(handle.attempts().max, 1);
/// assert_eq!(handle.stats().retries, 0);
/// ```
#[derive(Debug, Clone)]
pub struct FailoverHandle {
    pub(super) live: Arc<LiveAttempts>,
}

impl FailoverHandle {
    /// Replaces the attempts of all services of the layer, from the next call on. Values out of range
    /// become the nearest valid ones; see [`Attempts::validate`].
    ///
    /// A call that has failed or waited keeps the settings that it met then.
    pub fn update(&self, attempts: Attempts) {
        self.live.update(attempts);
    }

    /// Returns the current settings.
    pub fn attempts(&self) -> Attempts {
        self.live.attempts()
    }

    /// Returns what happened to calls so far, in all services of the layer.
    pub fn stats(&self) -> FailoverStats {
        let counts = &self.live.counts;
        FailoverStats {
            retries: counts.retries.load(Ordering::Relaxed),
            moved: counts.moved.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            late: counts.late.load(Ordering::Relaxed),
        }
    }
}

/// Counts of one failover layer. Calls that go well at once are not counted.
///
/// What the retry budget paid for and what it did not is in
/// [`Budget::stats`](crate::budget::Budget::stats).
///
/// ```
/// let stats = tower_upstream::failover::FailoverStats::default();
/// assert_eq!((stats.retries, stats.failed), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FailoverStats {
    /// Further attempts that the budget paid for.
    pub retries: u64,
    /// Further attempts for free: after a refusal by one endpoint, or on a dead idle connection.
    pub moved: u64,
    /// Calls that ended in an error, or in an answer that was judged a failure.
    pub failed: u64,
    /// Calls that were not made because their deadline had passed.
    pub late: u64,
}
