use std::{fmt, sync::Arc, time::Duration};

use super::{
    config::HealthConfig,
    probe::{Checked, check_one},
    record::Record,
    watch::Policy,
};
use crate::{
    error::Error,
    plugin::{HealthStatus, PluginStatus},
    time::Instant,
};

/// Looks at one target: what the checks found, and by which rules. Cheap to clone; keeps nothing
/// running. For all targets of a layer at once, see [`HealthMonitor`](super::HealthMonitor).
///
/// ```
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
/// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
/// assert!(handle.is_healthy());
/// assert_eq!(handle.state().checks, 0);
/// ```
#[derive(Clone)]
pub struct HealthHandle {
    policy: Arc<Policy>,
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
    /// Whether calls may pass. Until checks say otherwise, what
    /// [`HealthConfig::initial`] says; always, where checks are off.
    pub healthy: bool,
    /// The same, and how well it does: see [`HealthHandle::status`].
    pub status: PluginStatus,
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
    /// When the verdict last changed, or the target was made.
    pub since: Instant,
    /// How long that was ago.
    pub lasting: Duration,
    /// When it last was well again after it was unhealthy; `None` if it never was. A
    /// [`Member`](crate::member::Member::recovered_at) tells the same.
    pub recovered_at: Option<Instant>,
}

impl HealthHandle {
    pub(super) fn new(policy: Arc<Policy>, record: Arc<Record>) -> Self {
        Self { policy, record }
    }

    /// Whether calls may pass.
    pub fn is_healthy(&self) -> bool {
        self.record.is_open()
    }

    /// All that is known.
    pub fn state(&self) -> HealthState {
        self.record.state()
    }

    /// How it does, in the words of a plugin.
    ///
    /// | status | when |
    /// |---|---|
    /// | unknown | not checked yet |
    /// | healthy | the last check was good, or checks are off |
    /// | degraded | the last check was good, but complained |
    /// | unhealthy | the last check failed; or it was unhealthy, and too few were good since |
    /// | offline | as many checks failed in a row as it takes to shut the gate, or more |
    ///
    /// So a target whose first checks fail is unhealthy while calls still pass, and then offline.
    /// An unhealthy or offline one has the reason of its last failure in the metadata, as
    /// `last_error`.
    pub fn status(&self) -> HealthStatus {
        self.record.status()
    }

    /// By which config it is checked.
    pub fn config(&self) -> HealthConfig {
        self.record.config().as_ref().clone()
    }

    /// Checks it now. What is found counts for nothing: the gate stays as it is.
    ///
    /// Takes at most [`HealthConfig::timeout`]. May be dropped at any point. Needs a tokio runtime.
    pub async fn check(&self) -> Checked {
        let endpoint = self.record.member.as_ref().map(|member| member.endpoint());
        let config = self.record.config();
        check_one(self.policy.check(&config), endpoint, config.timeout).await
    }

    /// Changes the settings, and keeps what was found.
    ///
    /// On the handle of a layer: for all that it has made and will make. On the handle of an
    /// endpoint: for that one, until the layer's are changed; its `parallel` and
    /// `tell_first_round`, which are of all targets together, have no effect. The next checks come
    /// by the new intervals at once.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes; then nothing is changed.
    pub fn update(&self, config: HealthConfig) -> Result<(), Error> {
        config.validate()?;
        match self.record.member {
            None => self.policy.update(config),
            Some(_) => self.policy.update_one(&self.record, config),
        }
        Ok(())
    }
}

impl fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthHandle").field(&self.state()).finish()
    }
}
