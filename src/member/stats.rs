//! What a member has counted, in the names of the Go plugin manager.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{member::Member, reason::Reason};

/// What one endpoint has counted since it is in its set. Made by [`Member::stats`].
///
/// The names are those of the statistics of a load balancer of the Go plugin manager, and so is the JSON of it
/// (feature `serde`).
///
/// ```
/// use tower_upstream::{Endpoint, member::Member};
/// let stats = Member::new("a:1".parse::<Endpoint>()?).stats();
/// assert_eq!((&*stats.plugin_name, stats.enabled, stats.total_requests), ("a:1", true, 0));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberStats {
    /// Key of the endpoint.
    pub plugin_name: Arc<str>,
    /// Share of the load, relative to the other endpoints.
    pub weight: u32,
    /// Priority as discovery reports it: the lowest gets the calls.
    pub priority: u32,
    /// Whether the endpoint is not [disabled](Reason::Disabled).
    pub enabled: bool,
    /// Calls in flight.
    pub active_connections: u32,
    /// Calls that were begun.
    pub total_requests: u64,
    /// Calls that ended well. Refusals, mistakes of the caller and calls that were given up are neither
    /// these nor failures.
    pub successful_requests: u64,
    /// Calls that failed.
    pub failed_requests: u64,
    /// Estimate of the latency ([`Member::latency`]), zero before the first sample. In JSON a number of
    /// nanoseconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::duration::nanoseconds"))]
    pub average_latency: Duration,
    /// From 0 to 100. Begins at 100, falls by 5 with each failure, and rises by 1 with each success.
    pub health_score: u8,
    /// When the last call ended that was not done at once: a call that is done at once reads no clock. In
    /// JSON seconds since 1970, 0 for never.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::duration::unix_seconds"))]
    pub last_used: Option<SystemTime>,
}

impl Member {
    /// Returns what this member has counted. The counts are not of one instant.
    pub fn stats(&self) -> MemberStats {
        let endpoint = self.endpoint();
        let successful_requests = self.ended_calls().successes;
        let ago = self.load().sampled(self.nanos()).filter(|_| self.calls() > 0);
        MemberStats {
            plugin_name: self.shared_key().clone(),
            weight: self.nominal_weight(),
            priority: endpoint.priority(),
            enabled: !self.is_barred_by(Reason::Disabled),
            active_connections: self.in_flight(),
            total_requests: self.calls(),
            successful_requests,
            failed_requests: self.failures(),
            average_latency: self.latency().unwrap_or_default(),
            health_score: self.score.after(successful_requests),
            last_used: ago.and_then(|ago| SystemTime::now().checked_sub(ago)),
        }
    }
}
