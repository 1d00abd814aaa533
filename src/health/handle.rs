use std::{fmt, sync::Arc, time::Duration};

use super::watch::Record;

/// A view of what the checks found. Cheap to clone; keeps nothing running.
///
/// ```
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
/// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
/// assert!(handle.is_healthy());
/// assert_eq!(handle.state().checks, 0);
/// ```
#[derive(Clone)]
pub struct HealthHandle {
    record: Arc<Record>,
}

/// What the checks of one endpoint found so far. See [`HealthHandle::state`].
///
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
    /// The verdict. Healthy until checks say otherwise.
    pub healthy: bool,
    /// How many checks in a row were good; 0 after a bad one.
    pub successes: u32,
    /// How many checks in a row were bad; 0 after a good one.
    pub failures: u32,
    /// How many checks there were; skipped ones are not counted.
    pub checks: u64,
    /// How many of them were bad.
    pub failed: u64,
    /// Why the last bad one was; also kept while healthy.
    pub last_error: Option<String>,
    /// How long the last check took.
    pub last_latency: Option<Duration>,
    /// How long the verdict has been the same.
    pub lasting: Duration,
}

impl HealthHandle {
    pub(super) fn new(record: Arc<Record>) -> Self {
        Self { record }
    }

    /// The verdict alone.
    pub fn is_healthy(&self) -> bool {
        self.state().healthy
    }

    /// All that is known.
    pub fn state(&self) -> HealthState {
        self.record.state()
    }
}

impl fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthHandle").field(&self.state()).finish()
    }
}
