//! What the checks tell.

use std::{sync::Arc, time::Duration};

use super::check::Verdict;
use crate::{endpoint::Endpoint, plugin::PluginStatus, time::Instant};

/// State of one target as its checks see it. See [`HealthHandle::state`](super::HealthHandle::state).
///
/// # Example
/// ```
/// use tower_upstream::health::{HealthGateLayer, HealthState, check_upstream};
///
/// fn report(state: &HealthState) -> String {
///     match &state.last_error {
///         Some(why) if !state.healthy => format!("down for {:?}: {why}", state.lasting),
///         _ => format!("up, {} of {} checks failed", state.failed, state.checks),
///     }
/// }
/// let state = HealthGateLayer::new(check_upstream(|| async { true })).handle().state();
/// assert_eq!(report(&state), "up, 0 of 0 checks failed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthState {
    /// Whether calls may pass. Before the first check, as
    /// [`HealthConfig::initial`](super::HealthConfig::initial) says; always true where checks are
    /// off.
    pub healthy: bool,
    /// Health in the words of a plugin. See [`HealthHandle::status`](super::HealthHandle::status).
    pub status: PluginStatus,
    /// Number of successful checks in a row; 0 after a failed one.
    pub successes: u32,
    /// Number of failed checks in a row; 0 after a successful one.
    pub failures: u32,
    /// Number of all checks. Skipped checks are not counted.
    pub checks: u64,
    /// Number of all failed checks.
    pub failed: u64,
    /// Reason of the last failed check, which is kept while the target is healthy.
    pub last_error: Option<String>,
    /// Duration of the last check.
    pub last_latency: Option<Duration>,
    /// Time of the last change of the verdict, or time at which the target was made.
    pub since: Instant,
    /// Time since then.
    pub lasting: Duration,
    /// Time of the last change from unhealthy to healthy, which
    /// [`Member::recovered_at`](crate::member::Member::recovered_at) returns, too. `None` if there
    /// was none.
    pub recovered_at: Option<Instant>,
}

/// Result of checking all targets once. See
/// [`HealthMonitor::force_check`](super::HealthMonitor::force_check).
///
/// # Example
/// ```
/// use tower_upstream::health::HealthRound;
/// fn report(round: &HealthRound) -> String {
///     format!("{} of {} healthy, {} changed", round.healthy, round.total, round.changed)
/// }
/// # let _ = report;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthRound {
    /// Number of targets.
    pub total: usize,
    /// Number of healthy targets.
    pub healthy: usize,
    /// Number of unhealthy targets.
    pub unhealthy: usize,
    /// Number of targets that the checks of this round made healthy or unhealthy.
    pub changed: usize,
}

/// Healthy targets of a layer. See [`HealthMonitor::healthy`](super::HealthMonitor::healthy) and
/// [`changed`](super::HealthMonitor::changed).
///
/// # Example
/// ```
/// use tower_upstream::health::HealthySet;
/// fn report(set: &HealthySet) -> String {
///     let keys: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.key()).collect();
///     format!("{} of {}: {}", set.healthy, set.total, keys.join(", "))
/// }
/// # let _ = report;
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct HealthySet {
    /// Healthy endpoints, in the order of their keys. A gate above a balancer has no endpoint.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Number of healthy targets.
    pub healthy: usize,
    /// Number of targets.
    pub total: usize,
}

impl HealthySet {
    /// Whether the same are healthy, at the same addresses.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let targets = |set: &Self| {
            let endpoints = set.endpoints.clone().into_iter();
            endpoints.map(|endpoint| (endpoint.shared_key().clone(), endpoint.address().clone()))
        };
        self.healthy == other.healthy && targets(self).eq(targets(other))
    }
}

/// Result of a check that the caller asked for. It does not count, and changes no gate.
///
/// # Example
/// ```
/// use tower_upstream::health::{Checked, Verdict};
/// fn failed(all: &[Checked]) -> usize {
///     all.iter().filter(|one| matches!(one.verdict, Verdict::Unhealthy(_))).count()
/// }
/// # assert_eq!(failed(&[]), 0);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// Endpoint that was checked; `None` above a balancer, or without one.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What the check found. [`Verdict::Skipped`] if the check was not made, or not finished.
    pub verdict: Verdict,
    /// Duration of the check.
    pub latency: Duration,
}
