use std::{fmt, sync::Arc};

use tokio::runtime::Handle;
use tower_layer::Layer;

use super::{
    check::Check,
    config::HealthConfig,
    handle::HealthHandle,
    monitor::HealthMonitor,
    service::HealthGate,
    tell::{HealthySet, Listener},
    watch::Policy,
};

/// Checks endpoints in the background, and keeps calls away from those that are not well.
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
    pub(super) policy: Arc<Policy>,
}

impl HealthGateLayer {
    /// Checks with `check`, by the defaults of [`HealthConfig`].
    pub fn new(check: impl Check) -> Self {
        Self::with_config(check, HealthConfig::default())
    }

    /// Checks with `check`, by `config`. Values out of range become the nearest sane ones.
    pub fn with_config(check: impl Check, config: HealthConfig) -> Self {
        Self { policy: Policy::new(config, Arc::new(check), None, None) }
    }

    /// Tells `listener` which targets are healthy, whenever that has changed: a target became healthy or
    /// unhealthy, came or left, also the last one; and once when each was checked for the first
    /// time, unless the [config](HealthConfig::tell_first_round) says otherwise. Before that it is
    /// told nothing.
    ///
    /// Changes of one moment are told together, in order and never twice at once. The listener runs
    /// where it may block, and holds up no check; one that is slow is told the latest, and one that
    /// panics is called the next time. Gates open and shut without waiting for it.
    ///
    /// The result has a state of its own, as [`fresh`](Self::fresh): call this before the layer is
    /// used. The last listener replaces the one before.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true }))
    ///     .on_change(|set| println!("{} of {} are healthy", set.healthy, set.total));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_change(self, listener: impl Fn(&HealthySet) + Send + Sync + 'static) -> Self {
        self.anew(Some(Arc::new(listener)), self.policy.runtime.clone())
    }

    /// Runs the checks on `runtime`.
    ///
    /// Default: the runtime of the call that starts them. Set this where that one may stop being driven
    /// while the service lives on; see [`BalanceLayer::with_runtime`](crate::balance::BalanceLayer::with_runtime).
    /// The result has a state of its own, as [`fresh`](Self::fresh).
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let layer = HealthGateLayer::new(check_upstream(async || true))
    ///     .runtime(tokio::runtime::Handle::current());
    /// # let _ = layer;
    /// # }
    /// ```
    #[must_use]
    pub fn runtime(self, runtime: Handle) -> Self {
        self.anew(self.policy.teller.listener.clone(), Some(runtime))
    }

    /// The same check, config and listener, with a state and a background task of its own.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.anew(self.policy.teller.listener.clone(), self.policy.runtime.clone())
    }

    fn anew(&self, listener: Option<Listener>, runtime: Option<Handle>) -> Self {
        let (config, checks) = (self.policy.roster.config(), self.policy.checks.clone());
        Self { policy: Policy::by(config.as_ref().clone(), checks, listener, runtime) }
    }

    /// Looks at all that this layer value checks, and controls the checks.
    pub fn monitor(&self) -> HealthMonitor {
        HealthMonitor::new(self.policy.clone())
    }

    /// A view of the gate above a balancer, or without one.
    ///
    /// Its [`update`](HealthHandle::update) is for all gates of this layer, also those below a
    /// balancer.
    pub fn handle(&self) -> HealthHandle {
        HealthHandle::new(self.policy.clone(), self.policy.alone.clone())
    }

    /// A view of the gate of the endpoint with this key below a balancer, while it is in the set.
    pub fn handle_for(&self, key: &str) -> Option<HealthHandle> {
        let watch = self.policy.members.get(key)?;
        Some(HealthHandle::new(self.policy.clone(), watch.record.clone()))
    }
}

impl<S> Layer<S> for HealthGateLayer {
    type Service = HealthGate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthGate::new(inner, self.policy.watch())
    }
}

impl fmt::Debug for HealthGateLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthGateLayer")
            .field("config", &self.policy.roster.config())
            .field("state", &self.policy.alone.state())
            .finish_non_exhaustive()
    }
}
