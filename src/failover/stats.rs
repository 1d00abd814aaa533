use std::time::{Duration, SystemTime};

use crate::{course::LiveAttempts, time};

/// Calls of a failover layer by how they ended, in the names of the Go failover manager. Made by
/// [`FailoverHandle::summary`](super::FailoverHandle::summary).
///
/// One request is one call with all its attempts:
/// `total_requests = successful_requests + failed_requests + cancelled_requests`. With the feature `serde`
/// it becomes JSON as Go writes it.
///
/// ```
/// use tower_upstream::{Attempts, FailoverLayer};
/// let layer = FailoverLayer::new(Attempts::up_to(3)).named("tax");
/// let summary = layer.handle().summary();
/// assert!(summary.is_some_and(|summary| summary.total_requests == 0 && summary.failovers == 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FailoverStats {
    /// Calls that have ended.
    pub total_requests: u64,
    /// Calls that ended in an answer that is no failure.
    pub successful_requests: u64,
    /// Calls that ended in an error, or in an answer that counts as a failure; also those that were not
    /// made, because their deadline had passed.
    pub failed_requests: u64,
    /// Calls that were dropped before they had ended.
    pub cancelled_requests: u64,
    /// Attempts that went to another endpoint, because one had failed or refused.
    pub failovers: u64,
    /// Mean time of the calls that were not cancelled, with all attempts and waits, from when a call was
    /// first pending. In JSON a number of nanoseconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::duration::nanoseconds"))]
    pub average_response_time: Duration,
    /// When the last of the [`failovers`](Self::failovers) was decided. In JSON seconds since 1970, 0 for
    /// never.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::duration::unix_seconds"))]
    pub last_failover: Option<SystemTime>,
}

impl FailoverStats {
    pub(super) fn of(live: &LiveAttempts) -> Self {
        let (stats, (failovers, last)) = (live.counts.stats(), live.counts.failovers());
        let count = |of: Option<u64>| of.unwrap_or_default();
        let successful_requests = count(stats.succeeded);
        let failed_requests = count(stats.failed) + count(stats.refused);
        let cancelled_requests = count(stats.ignored);
        let ended = successful_requests + failed_requests;
        let average = time::nanos(live.counts.took()).checked_div(ended);
        let ago = last.map(|last| time::now().saturating_duration_since(last));
        Self {
            total_requests: ended + cancelled_requests,
            successful_requests,
            failed_requests,
            cancelled_requests,
            failovers,
            average_response_time: Duration::from_nanos(average.unwrap_or_default()),
            last_failover: ago.and_then(|ago| SystemTime::now().checked_sub(ago)),
        }
    }
}
