use std::{fmt, sync::Arc};

use tokio::runtime::Handle;
use tower_layer::Layer;

#[cfg(feature = "config")]
use super::service::EachHealthGate;
use super::{
    check::{Check, always},
    config::HealthConfig,
    gates::Gates,
    handle::{HealthGateHandle, HealthHandle},
    monitor::HealthMonitor,
    service::HealthGate,
    setup::Setup,
};
use crate::telemetry::Events;

/// Checks endpoints in the background, and keeps calls away from those that are unhealthy.
///
/// Below a balancer each endpoint has a gate of its own, which makes it ineligible while it is
/// unhealthy. Above a balancer, or over a single client, there is one gate for all that this layer
/// value and its clones make; while it is shut, calls are refused with
/// [`Kind::Unhealthy`](crate::error::Kind::Unhealthy).
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = ServiceBuilder::new()
///     .layer(HealthGateLayer::new(check_upstream(|| async { true })))
///     .service(service_fn(async |name: &str| Ok::<_, Infallible>(format!("hello {name}"))));
/// assert_eq!(client.oneshot("you").await.unwrap(), "hello you");
/// # }
/// ```
#[derive(Clone)]
pub struct HealthGateLayer {
    pub(super) gates: Arc<Gates>,
}

impl HealthGateLayer {
    /// Creates a layer that checks with `check`, by the defaults of [`HealthConfig`].
    pub fn new(check: impl Check) -> Self {
        Self::with_config(check, HealthConfig::default())
    }

    /// Creates a layer that checks with `check`, by `config`. Values out of range become the nearest
    /// allowed ones.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{HealthConfig, check_upstream}};
    /// let config = HealthConfig::default().with_fall(1);
    /// let layer = HealthGateLayer::with_config(check_upstream(|| async { true }), config);
    /// # let _ = layer;
    /// ```
    pub fn with_config(check: impl Check, config: HealthConfig) -> Self {
        Self::with_name(check, config, None)
    }

    /// With its name, if it has one. [`named`](Self::named) makes the state anew.
    pub(crate) fn with_name(
        check: impl Check,
        config: HealthConfig,
        name: Option<Arc<str>>,
    ) -> Self {
        Self::of(config, Setup { name, ..Setup::new(always(check)) })
    }

    /// Makes a layer with these settings, and a state of its own.
    pub(super) fn of(config: HealthConfig, setup: Setup) -> Self {
        Self { gates: Gates::new(config, setup) }
    }

    /// The same settings but for what `change` changes, and a state of its own.
    fn anew(&self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.gates.setup.as_ref().clone();
        change(&mut setup);
        Self::of(self.gates.family.settings().as_ref().clone(), setup)
    }

    /// Names this layer, in refusals ([`Error::guard`](crate::error::Error::guard)) and in events.
    ///
    /// Refusals of a named layer are counted: see [`HealthHandle::stats`]. The result has a state of its
    /// own, as that of [`fresh`](Self::fresh) has, so name the layer before it is used.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true })).named("tax service");
    /// assert_eq!(layer.handle().stats().refused, Some(0));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.anew(|setup| setup.name = Some(name.into()))
    }

    /// Tells `events` whenever an endpoint became healthy or unhealthy, with
    /// [`EventKind::Health`](crate::telemetry::EventKind::Health).
    ///
    /// How an endpoint begins is no event. An event above a balancer, or without one, has no endpoint.
    /// Listeners run in the task of the checks, so one that blocks delays checks. For the set of
    /// healthy endpoints, see [`HealthMonitor::changed`]. The result has a state of its own, as that of
    /// [`fresh`](Self::fresh) has.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{
    ///     HealthGateLayer,
    ///     health::check_upstream,
    ///     telemetry::{EventKind, Events},
    /// };
    ///
    /// let events = Events::new();
    /// let listening = events.subscribe(|event| {
    ///     if let EventKind::Health { healthy: false, reason, .. } = &event.kind {
    ///         println!("{:?} is unhealthy: {reason:?}", event.endpoint);
    ///     }
    /// });
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true })).with_events(&events);
    /// # let _ = (layer, listening);
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        self.anew(|setup| setup.events = Some(events.clone()))
    }

    /// Draws when checks are made, within their [jitter](HealthConfig::jitter), from random numbers that `seed`
    /// determines. Default: other numbers each time.
    ///
    /// One seed gives one run, for targets that come one after the other: for simulations and tests.
    ///
    /// Set it before the layer is used: it begins with gates of its own.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true })).with_seed(7);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.anew(|setup| setup.seed = Some(seed))
    }

    /// Sets the runtime on which the checks run.
    ///
    /// Set it where the runtime of the first call may stop being driven while the service is still in
    /// use; see [`BalanceLayer::with_runtime`](crate::balance::BalanceLayer::with_runtime). The result has a
    /// state of its own, as that of [`fresh`](Self::fresh) has. Default: the runtime of the call that
    /// starts the checks.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let layer = HealthGateLayer::new(check_upstream(async || true))
    ///     .with_runtime(tokio::runtime::Handle::current());
    /// # let _ = layer;
    /// # }
    /// ```
    #[must_use]
    pub fn with_runtime(self, runtime: Handle) -> Self {
        self.anew(|setup| setup.runtime = Some(runtime))
    }

    /// Returns a layer with the same check, config, name, events and runtime, and with a state and a
    /// background task of its own.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let primary = HealthGateLayer::new(check_upstream(|| async { true }));
    /// let fallback = primary.fresh();
    /// # let _ = fallback;
    /// ```
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.anew(|_| {})
    }

    /// Returns a handle for inspecting all targets of this layer, and for controlling their checks.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let monitor = HealthGateLayer::new(check_upstream(|| async { true })).monitor();
    /// assert_eq!(monitor.healthy().total, 0);
    /// ```
    pub fn monitor(&self) -> HealthMonitor {
        HealthMonitor::new(self.gates.clone())
    }

    /// Returns a handle for changing the settings of this layer, and for inspecting the gate above a
    /// balancer, or without one.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let handle = HealthGateLayer::new(check_upstream(|| async { true })).handle();
    /// assert!(handle.is_healthy());
    /// ```
    pub fn handle(&self) -> HealthGateHandle {
        HealthGateHandle::new(self.gates.clone())
    }

    /// Returns a handle for the endpoint with this key below a balancer; `None` if it is not in the
    /// set.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true }));
    /// assert!(layer.handle_for("10.0.0.1:8080").is_none());
    /// ```
    pub fn handle_for(&self, key: &str) -> Option<HealthHandle> {
        let watch = self.gates.family.get(key)?;
        Some(HealthHandle::new(self.gates.clone(), watch.gate.clone()))
    }
}

#[cfg(feature = "config")]
impl HealthGateLayer {
    /// The connector that [`layer`](Layer::layer) makes of one, without a gate of its own.
    pub(crate) fn each<S>(&self, inner: S) -> EachHealthGate<S> {
        EachHealthGate { inner, gates: self.gates.clone() }
    }
}

impl<S> Layer<S> for HealthGateLayer {
    type Service = HealthGate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthGate::new(inner, self.gates.watch())
    }
}

impl fmt::Debug for HealthGateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthGateLayer")
            .field("name", &self.gates.setup.name)
            .field("config", &self.gates.family.settings())
            .field("state", &self.gates.alone.state())
            .finish_non_exhaustive()
    }
}
