use std::sync::Arc;

use super::{Attempts, FailoverStats};
use crate::{course::LiveAttempts, error::Error, telemetry::Stats};

/// Handle to the settings and counts of a [`FailoverLayer`](super::FailoverLayer) and its services.
///
/// # Example
/// ```
/// use tower_upstream::{Attempts, FailoverLayer};
///
/// let layer = FailoverLayer::new(Attempts::up_to(3));
/// let handle = layer.handle();
/// handle.update(&Attempts::up_to(1))?;
/// assert_eq!(handle.config().max, 1);
/// assert_eq!(handle.retries(), 0);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FailoverHandle {
    pub(super) live: Arc<LiveAttempts>,
}

impl FailoverHandle {
    /// Replaces the settings of all services of the layer, from the next call on.
    ///
    /// A call that has failed or waited keeps the settings that it met then.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. The settings then stay as they are.
    pub fn update(&self, attempts: &Attempts) -> Result<(), Error> {
        attempts.validate()?;
        self.live.update(attempts.clone());
        Ok(())
    }

    /// Returns the settings in use.
    pub fn config(&self) -> Attempts {
        self.live.attempts()
    }

    /// Returns what happened to calls so far, in all services of the layer.
    ///
    /// `failed` are the calls that ended in an error, or in an answer that counts as a failure.
    /// `refused` are those that were not made, because their deadline had passed. A layer
    /// [with a name](super::FailoverLayer::named) also counts those that `succeeded`, those that were
    /// dropped (`ignored`), and all three (`admitted`).
    pub fn stats(&self) -> Stats {
        let counts = &self.live.counts;
        if self.live.counts_calls() { counts.stats() } else { counts.failures() }
    }

    /// Returns what a layer [with a name](super::FailoverLayer::named) has counted, in the names of the Go
    /// failover manager. `None` of a layer without a name, which does not count calls that go well.
    ///
    /// ```
    /// use tower_upstream::{Attempts, FailoverLayer};
    /// let layer = FailoverLayer::new(Attempts::up_to(3));
    /// assert!(layer.handle().summary().is_none());
    /// let summary = layer.named("tax").handle().summary();
    /// assert_eq!(summary.map(|summary| summary.total_requests), Some(0));
    /// ```
    pub fn summary(&self) -> Option<FailoverStats> {
        self.live.counts_calls().then(|| FailoverStats::of(&self.live))
    }

    /// Returns the number of further attempts that the retry budget paid for.
    ///
    /// The budget itself counts what it did not pay for, in
    /// [`Budget::stats`](crate::budget::Budget::stats).
    pub fn retries(&self) -> u64 {
        self.live.counts.retries()
    }

    /// Returns the number of attempts that were made beside another one, because that took long: see
    /// [`Attempts::hedge`]. They are not among the [`retries`](Self::retries).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Attempts, FailoverLayer};
    /// let attempts = Attempts::up_to(2).hedge(Duration::from_millis(50));
    /// let handle = FailoverLayer::new(attempts).handle();
    /// assert_eq!((handle.hedges(), handle.hedges_won()), (0, 0));
    /// ```
    pub fn hedges(&self) -> u64 {
        self.live.counts.hedges().0
    }

    /// Returns how many of the [`hedges`](Self::hedges) gave the answer.
    pub fn hedges_won(&self) -> u64 {
        self.live.counts.hedges().1
    }

    /// Returns the number of further attempts for free: after a refusal by one endpoint, or on a dead
    /// idle connection.
    pub fn moved(&self) -> u64 {
        self.live.counts.moved()
    }
}
