use std::{fmt, ops::Deref, sync::Arc};

use super::{
    config::HealthConfig,
    demand::check_one,
    gate::Gate,
    gates::Gates,
    report::{Checked, HealthState},
};
use crate::{error::Error, plugin::HealthStatus, telemetry::Stats, time::Instant};

/// Handle for inspecting one target, and for changing its settings.
///
/// [`HealthGateLayer::handle_for`](super::HealthGateLayer::handle_for) returns that of an endpoint.
/// Cheap to clone. It keeps nothing running, and still tells what was found after the endpoint has
/// left. For all targets of a layer together, see [`HealthMonitor`](super::HealthMonitor).
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
/// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
/// assert!(handle.is_healthy());
/// assert_eq!(handle.state().checks, 0);
/// ```
#[derive(Clone)]
pub struct HealthHandle {
    gates: Arc<Gates>,
    gate: Arc<Gate>,
}

impl HealthHandle {
    pub(super) fn new(gates: Arc<Gates>, gate: Arc<Gate>) -> Self {
        Self { gates, gate }
    }

    /// Returns whether calls may pass.
    ///
    /// ```
    /// # use tower_upstream::health::HealthHandle;
    /// fn sign(handle: &HealthHandle) -> &'static str {
    ///     if handle.is_healthy() { "up" } else { "down" }
    /// }
    /// # let _ = sign;
    /// ```
    pub fn is_healthy(&self) -> bool {
        self.gate.is_open()
    }

    /// Returns all that the checks found so far.
    ///
    /// ```
    /// # use tower_upstream::health::HealthHandle;
    /// fn failure_rate(handle: &HealthHandle) -> f64 {
    ///     let state = handle.state();
    ///     state.failed as f64 / state.checks.max(1) as f64
    /// }
    /// # let _ = failure_rate;
    /// ```
    pub fn state(&self) -> HealthState {
        self.gate.state()
    }

    /// Returns the time of the last change of the verdict, or at which the target was made.
    ///
    /// ```
    /// # use tower_upstream::health::HealthHandle;
    /// # use std::time::Duration;
    /// fn is_stable(handle: &HealthHandle) -> bool {
    ///     handle.since().elapsed() > Duration::from_secs(60)
    /// }
    /// # let _ = is_stable;
    /// ```
    pub fn since(&self) -> Instant {
        self.gate.since()
    }

    /// Returns what this gate has counted. Refusals are counted if the layer has a
    /// [name](super::HealthGateLayer::named); nothing else is.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true }));
    /// assert_eq!(layer.handle().stats().refused, None);
    /// assert_eq!(layer.named("tax service").handle().stats().refused, Some(0));
    /// ```
    pub fn stats(&self) -> Stats {
        self.gate.stats()
    }

    /// Returns the health in the words of a plugin.
    ///
    /// | status | when |
    /// |---|---|
    /// | unknown | it was not checked yet |
    /// | healthy | the last check succeeded, or checks are off |
    /// | degraded | the last check succeeded with a complaint |
    /// | unhealthy | the last check failed; or the gate is shut, and too few checks succeeded since |
    /// | offline | at least as many checks failed in a row as shut the gate |
    ///
    /// So a target whose first checks fail is unhealthy while calls still pass, and then offline.
    /// While it is unhealthy or offline, the metadata have the reason of the last failure as
    /// `last_error`.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream, plugin::PluginStatus};
    /// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
    /// assert_eq!(handle.status().status, PluginStatus::Unknown);
    /// ```
    pub fn status(&self) -> HealthStatus {
        self.gate.status()
    }

    /// Returns the config by which the target is checked.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{HealthConfig, check_upstream}};
    /// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
    /// assert_eq!(handle.config(), HealthConfig::default());
    /// ```
    pub fn config(&self) -> HealthConfig {
        self.gate.config().as_ref().clone()
    }

    /// Checks the target now. The result does not count, and does not change the gate.
    ///
    /// Takes at most [`HealthConfig::timeout`]. Needs a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future drops the check.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{Verdict, check_upstream}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
    /// assert_eq!(handle.check().await.verdict, Verdict::Healthy);
    /// # }
    /// ```
    pub async fn check(&self) -> Checked {
        let config = self.gate.config();
        check_one(self.gate.check(&config), self.gate.endpoint(), config.timeout).await
    }

    /// Changes the settings of this target, and keeps what was found. They are in effect until the
    /// settings of the layer are changed.
    ///
    /// The new intervals are in effect at once. `parallel` and
    /// `parallel_scheduled` are settings of all targets together, and have no effect here.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) that names all mistakes; then
    /// nothing changes.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{error::Error, health::HealthHandle};
    ///
    /// fn trust(handle: &HealthHandle) -> Result<(), Error> {
    ///     handle.update(&handle.config().with_fall(10))
    /// }
    /// # let _ = trust;
    /// ```
    pub fn update(&self, config: &HealthConfig) -> Result<(), Error> {
        config.validate()?;
        self.gates.update_one(&self.gate, config.clone());
        Ok(())
    }
}

impl fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthHandle").field(&self.state()).finish()
    }
}

/// Handle of a layer, returned by [`HealthGateLayer::handle`](super::HealthGateLayer::handle).
///
/// Inspects the gate above a balancer, or without one, as [`HealthHandle`] does; its
/// [`update`](Self::update) changes the settings of the layer. Cheap to clone. It keeps nothing
/// running.
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
///
/// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
/// handle.update(&handle.config().with_fall(5))?;
/// assert_eq!(handle.config().fall, 5);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HealthGateHandle {
    alone: HealthHandle,
}

impl HealthGateHandle {
    pub(super) fn new(gates: Arc<Gates>) -> Self {
        let gate = gates.alone.clone();
        Self { alone: HealthHandle::new(gates, gate) }
    }

    /// Returns the config by which all targets are checked that have no settings of their own.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{HealthConfig, check_upstream}};
    /// let config = HealthConfig::default().with_rise(1);
    /// let layer = HealthGateLayer::with_config(check_upstream(|| async { true }), config.clone());
    /// assert_eq!(layer.handle().config(), config);
    /// ```
    pub fn config(&self) -> HealthConfig {
        self.alone.gates.family.settings().as_ref().clone()
    }

    /// Changes the settings of all targets that this layer has made and will make, and keeps what was
    /// found. The new intervals are in effect at once.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) that names all mistakes; then
    /// nothing changes.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{HealthConfig, check_upstream}};
    ///
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true }));
    /// layer.handle().update(&HealthConfig::go())?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn update(&self, config: &HealthConfig) -> Result<(), Error> {
        config.validate()?;
        self.alone.gates.update(config.clone());
        Ok(())
    }
}

/// The handle of the gate above a balancer, or without one.
impl Deref for HealthGateHandle {
    type Target = HealthHandle;

    fn deref(&self) -> &HealthHandle {
        &self.alone
    }
}
