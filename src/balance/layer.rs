use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tower_layer::Layer;

use super::{
    config::BalanceConfig,
    handle::{BalanceHandle, Sets},
    service::Balance,
    set::Set,
    strategy::{Seeded, Strategy},
    task::Starter,
};
use crate::{
    connect::Connect,
    discover::Discover,
    outcome::{ErrIsFailure, Explained, Explains, TypeName},
    sync::RandomSource,
    telemetry::{Events, Reporter},
};

/// Balances calls over the endpoints that a source of them finds.
///
/// What stands below it is a [connector](Connect): it makes the service for each endpoint. Each
/// [`layer`](Layer::layer) makes a set of its own, which starts to watch the source with the first
/// `poll_ready` inside a tokio runtime, never before. The sets of one layer value share their settings.
///
/// # Example
/// ```
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Endpoint,
///     balance::{BalanceLayer, LeastRequest},
///     connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let endpoints = discover::fixed(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
/// let service = ServiceBuilder::new()
///     .layer(BalanceLayer::new(endpoints, LeastRequest::default()))
///     .service(connect_fn(|endpoint: &Endpoint| {
///         let key = endpoint.key().to_owned();
///         service_fn(move |n: u32| std::future::ready(Ok::<_, BoxError>(format!("{n} by {key}"))))
///     }));
///
/// let answer = service.clone().oneshot(7).await?;
/// assert!(answer.starts_with("7 by http://10.0.0."));
/// # Ok(()) }
/// ```
pub struct BalanceLayer<D, P, C = ErrIsFailure, E = ()> {
    discover: Arc<D>,
    strategy: P,
    sets: Arc<Sets>,
    reporter: Reporter,
    runtime: Option<Handle>,
    seed: Option<u64>,
    classify: C,
    explains: PhantomData<E>,
}

impl<D: Discover, P: Strategy> BalanceLayer<D, P> {
    /// Creates a layer that balances over what `discover` finds, as `strategy` chooses.
    pub fn new(discover: D, strategy: P) -> Self {
        Self::with_config(discover, strategy, BalanceConfig::default())
    }

    /// Creates a layer with settings of your own. Values out of range become the nearest valid ones; see
    /// [`BalanceConfig::validate`].
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, balance::BalanceConfig, discover};
    /// let config = BalanceConfig::default().with_panic_threshold(30);
    /// let endpoints = discover::fixed(["a:1", "b:1"])?;
    /// let layer = BalanceLayer::with_config(endpoints, LeastRequest::new(), config);
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn with_config(discover: D, strategy: P, config: BalanceConfig) -> Self {
        let sets = Sets::new(config);
        Self {
            discover: Arc::new(discover),
            strategy,
            sets,
            reporter: Reporter::default(),
            runtime: None,
            seed: None,
            classify: ErrIsFailure,
            explains: PhantomData,
        }
    }
}

impl<D, P: Strategy, C, E> BalanceLayer<D, P, C, E> {
    /// Chooses with random numbers that `seed` determines, see [`Seeded`], and draws from them for how long
    /// endpoints are ejected. Default: other numbers each time.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()).with_seed(7);
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_seed(self, seed: u64) -> BalanceLayer<D, Seeded<P>, C, E> {
        BalanceLayer {
            discover: self.discover,
            strategy: Seeded::new(self.strategy, seed),
            sets: self.sets,
            reporter: self.reporter,
            runtime: self.runtime,
            seed: Some(seed),
            classify: self.classify,
            explains: PhantomData,
        }
    }
}

impl<D, P, C, E> BalanceLayer<D, P, C, E> {
    /// Sets [`fail_fast_after`](BalanceConfig::fail_fast_after). Set it before you take a handle.
    #[must_use]
    pub fn with_fail_fast_after(self, fail_fast_after: Duration) -> Self {
        let config = self.handle().config().with_fail_fast_after(fail_fast_after);
        Self { sets: Sets::new(config), ..self }
    }

    /// Sets [`panic_threshold`](BalanceConfig::panic_threshold). Set it before you take a handle.
    #[must_use]
    pub fn with_panic_threshold(self, percent: u8) -> Self {
        let config = self.handle().config().with_panic_threshold(percent);
        Self { sets: Sets::new(config), ..self }
    }

    /// Explains this share of the calls, from 0 to 1, by a [`Decision`](super::Decision) in their answers, which are
    /// of a type that can [carry](super::Explain) it, and in their errors. Call it before you take a handle, which
    /// can change the [share](BalanceConfig::explain). With the share 0, calls cost what they cost without.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()).explained(0.001);
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn explained(self, share: f64) -> BalanceLayer<D, P, C, Explained> {
        let sets = Sets::new(self.handle().config().with_explain(share));
        let Self { discover, strategy, reporter, runtime, seed, classify, .. } = self;
        let explains = PhantomData;
        BalanceLayer { discover, strategy, sets, reporter, runtime, seed, classify, explains }
    }

    /// Names this balancer in its errors ([`Error::guard`](crate::Error::guard)), events and logs.
    /// Default: no name.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()).named("tax");
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { reporter: self.reporter.named(name), ..self }
    }

    /// Tells `events` when a set has other members ([`Members`](crate::telemetry::EventKind::Members)),
    /// begins or ceases to ignore health
    /// ([`HealthIgnored`](crate::telemetry::EventKind::HealthIgnored)) or zones
    /// ([`ZonesIgnored`](crate::telemetry::EventKind::ZonesIgnored)), ejects a member or ends that
    /// ([`Ejection`](crate::telemetry::EventKind::Ejection)), and is about to connect a member again
    /// ([`Reconnect`](crate::telemetry::EventKind::Reconnect)).
    ///
    /// Listeners run in the task of the set, so one that blocks delays changes of the set, and no call.
    /// Default: no events.
    ///
    /// ```
    /// use tower_upstream::{
    ///     BalanceLayer, LeastRequest, discover,
    ///     telemetry::{EventKind, Events},
    /// };
    ///
    /// let events = Events::new();
    /// let listening = events.subscribe(|event| {
    ///     if let EventKind::HealthIgnored { ignored: true, .. } = &event.kind {
    ///         println!("{:?}: most endpoints are unhealthy", event.layer);
    ///     }
    /// });
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new())
    ///     .named("tax")
    ///     .with_events(&events);
    /// # let _ = (layer, listening);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        Self { reporter: self.reporter.with_events(events), ..self }
    }

    /// Sets the runtime on which the background task of each set runs, and so connects.
    ///
    /// Set it if the runtime of the first call may stop being driven while the service is still in use,
    /// such as a current-thread runtime whose `block_on` has returned: its tasks are neither run nor
    /// dropped, and the set would never change again. Once `runtime` has been shut down, the task runs
    /// on the runtime of the next call. Default: the runtime of the call that starts the task.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new())
    ///     .with_runtime(tokio::runtime::Handle::current());
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Judges calls by `classify`: a [`Classify`](crate::Classify), such as a closure, or `HttpClassify` for
    /// HTTP responses. Default: every `Err` is a failure.
    ///
    /// Each call is judged once, and that feeds all that the balancer learns of an endpoint: its latency, its
    /// failures and its statistics. So an HTTP status of 500 that comes after 1 ms is a failure, not a fast
    /// answer that attracts more calls. Whose fault an error is comes first: refusals, mistakes of the caller,
    /// calls cut short by their deadline and idle connections that were dead count for nothing, and are not
    /// judged. A call that is dropped can worsen the latency of an endpoint, never improve it.
    ///
    /// A call is judged at the head of its response, also where a
    #[cfg_attr(feature = "http", doc = "[`TrackLayer`](crate::http::TrackLayer)")]
    #[cfg_attr(not(feature = "http"), doc = "`TrackLayer`")]
    /// counts it as in flight until the end of its body: a body that breaks off is a matter of a circuit breaker.
    ///
    /// Write the type of the closure's argument, or the compiler cannot tell it:
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, Outcome, discover};
    /// let endpoints = discover::fixed(["a:1", "b:1"])?;
    /// let layer = BalanceLayer::new(endpoints, LeastRequest::new()).with_classify(
    ///     |result: Result<&u16, &std::io::Error>| match result {
    ///         Ok(500..) | Err(_) => Outcome::Failure,
    ///         Ok(_) => Outcome::Success,
    ///     },
    /// );
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_classify<J>(self, classify: J) -> BalanceLayer<D, P, J, E> {
        let Self { discover, strategy, sets, reporter, runtime, seed, explains, .. } = self;
        BalanceLayer { discover, strategy, sets, reporter, runtime, seed, classify, explains }
    }

    /// Returns the handle of all sets that this layer value and its clones make.
    ///
    /// Take it before `ServiceBuilder` takes the layer. It keeps no set alive.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new());
    /// let handle = layer.handle();
    /// assert!(handle.members().is_empty());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn handle(&self) -> BalanceHandle {
        BalanceHandle::new(self.sets.clone())
    }
}

impl<D, P, C, E, K> Layer<K> for BalanceLayer<D, P, C, E>
where
    D: Discover,
    P: Strategy + Clone,
    C: Clone,
    E: Explains,
    K: Connect + Send + Sync + 'static,
    K::Service: Clone + Send + Sync + 'static,
{
    type Service = Balance<K::Service, P, E::Rule<C>>;

    fn layer(&self, connect: K) -> Self::Service {
        let starter = Starter { discover: self.discover.clone(), connect: Arc::new(connect) };
        let set = Set::new(
            self.strategy.clone(),
            self.sets.clone(),
            self.reporter.clone(),
            self.runtime.clone(),
            RandomSource::of(self.seed),
            Box::new(starter),
        );
        Balance::new(set, E::rule(self.classify.clone()))
    }
}

impl<D, P: Clone, C: Clone, E> Clone for BalanceLayer<D, P, C, E> {
    fn clone(&self) -> Self {
        Self {
            discover: self.discover.clone(),
            strategy: self.strategy.clone(),
            sets: self.sets.clone(),
            reporter: self.reporter.clone(),
            runtime: self.runtime.clone(),
            seed: self.seed,
            classify: self.classify.clone(),
            explains: PhantomData,
        }
    }
}

impl<D: fmt::Debug, P: fmt::Debug, C, E> fmt::Debug for BalanceLayer<D, P, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceLayer")
            .field("discover", &self.discover)
            .field("strategy", &self.strategy)
            .field("name", &self.reporter.name())
            .field("config", &self.sets.config())
            .field("classify", &TypeName::<C>::new())
            .finish_non_exhaustive()
    }
}
