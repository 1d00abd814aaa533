use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use tower_layer::Layer;

#[cfg(feature = "config")]
use super::service::EachCircuitBreaker;
use super::{
    AtResponse, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle, CircuitHandle,
    KeyedCircuitBreakerLayer,
    circuit::{Circuits, Shared},
    transition::Told,
};
use crate::{outcome::TypeName, telemetry::Events};

/// Layer that stops calling a service, or an endpoint of a balanced set, that keeps failing.
///
/// `C` tells when a call has ended, and how: [`AtResponse`], the default, or with the body of its response
/// (`AtBodyEnd`).
///
/// Above a balancer, or over a single client, there is one circuit for all services that this layer value
/// and its clones make. Below a balancer each endpoint has a circuit of its own. [`fresh`](Self::fresh)
/// returns a layer with the same settings and circuits of its own.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{BoxError, breaker::{CircuitBreakerConfig, CircuitBreakerLayer}};
///
/// let service = ServiceBuilder::new()
///     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
///     .service(service_fn(|n: u32| std::future::ready(Ok::<_, BoxError>(n))));
/// # let _ = service;
/// ```
#[derive(Clone)]
pub struct CircuitBreakerLayer<C = AtResponse> {
    circuits: Arc<Circuits>,
    /// Made where it is used: below a balancer it is not.
    own: Arc<OnceLock<Shared>>,
    settle: C,
}

impl CircuitBreakerLayer {
    /// Creates a layer that treats every `Err` as a failure. Values out of range become the nearest valid
    /// ones; see [`CircuitBreakerConfig::validate`].
    pub fn new(config: CircuitBreakerConfig) -> Self {
        Self::with_name(config, None)
    }

    /// With its name, if it has one. [`named`](Self::named) makes the settings anew.
    pub(crate) fn with_name(config: CircuitBreakerConfig, name: Option<Arc<str>>) -> Self {
        let told = Told { name, ..Told::default() };
        Self::of(Circuits::new(config, told), AtResponse::default())
    }

    /// Creates a layer without rules: only its handles open and close circuits. Calls are counted.
    ///
    /// For a switch on an admin page, or for rules of your own. See [`CircuitBreakerConfig::manual`].
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, breaker::CircuitState};
    /// let switch = CircuitBreakerLayer::manual().named("payments");
    /// switch.handle().force_open();
    /// switch.handle().auto();
    /// assert_eq!(switch.handle().state(), CircuitState::Closed);
    /// ```
    pub fn manual() -> Self {
        Self::new(CircuitBreakerConfig::manual())
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new(CircuitBreakerConfig::default())
    }
}

impl<C> CircuitBreakerLayer<C> {
    fn of(circuits: Arc<Circuits>, settle: C) -> Self {
        Self { own: Arc::default(), circuits, settle }
    }

    fn own(&self) -> Shared {
        self.own.get_or_init(|| self.circuits.own()).clone()
    }

    /// The connector that [`layer`](Layer::layer) makes of one, without a circuit of its own.
    #[cfg(feature = "config")]
    pub(crate) fn each<S>(&self, inner: S) -> EachCircuitBreaker<S, C>
    where
        C: Clone,
    {
        EachCircuitBreaker { inner, circuits: self.circuits.clone(), settle: self.settle.clone() }
    }

    /// Judges calls by `classify`: a [`Classify`](crate::Classify), such as a closure, or `HttpClassify`
    /// for HTTP responses. Default: every `Err` is a failure.
    ///
    /// Write the type of the closure's argument, or the compiler cannot tell it:
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, Outcome};
    /// let layer = CircuitBreakerLayer::default().with_classify(
    ///     |result: Result<&u16, &std::io::Error>| match result {
    ///         Ok(500..) | Err(_) => Outcome::Failure,
    ///         Ok(_) => Outcome::Success,
    ///     },
    /// );
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_classify<D>(self, classify: D) -> CircuitBreakerLayer<AtResponse<D>> {
        self.with_settle(AtResponse { classify })
    }

    /// Lets `settle` tell when a call has ended, and how.
    pub(crate) fn with_settle<D>(self, settle: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer { circuits: self.circuits, own: self.own, settle }
    }

    /// Names this layer in refusals ([`Error::guard`](crate::Error::guard)), events and logs. Default: no
    /// name.
    ///
    /// Set it before the layer is used: it begins with circuits of its own.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let layer = CircuitBreakerLayer::default().named("tax");
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let told = Told { name: Some(name.into()), ..self.circuits.told.clone() };
        Self::of(self.circuits.told(told), self.settle)
    }

    /// Tells listeners of `events` of every transition of every circuit, as
    /// [`EventKind::Circuit`](crate::telemetry::EventKind::Circuit).
    ///
    /// A transition that time brings, such as to half-open, is told when it is due, by one task for all
    /// circuits of the layer. The task runs while there is a listener. It starts with the first transition
    /// or the first listener inside a tokio runtime with timers, starts again in another runtime if that
    /// one ends, and ends with the layer and its services. Without a runtime, such a transition is told
    /// with the next call or look.
    ///
    /// Set it before the layer is used: it begins with circuits of its own. Listeners may come at any
    /// time.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, telemetry::Events};
    /// let events = Events::new();
    /// let layer = CircuitBreakerLayer::default().with_events(&events);
    /// let listening = events.subscribe(|event| println!("{event:?}"));
    /// layer.handle().force_open();
    /// # drop(listening);
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        let told = Told { events: Some(events.clone()), ..self.circuits.told.clone() };
        Self::of(self.circuits.told(told), self.settle)
    }

    /// Draws how long circuits stay open from random numbers that `seed` determines. Default: other numbers
    /// each time.
    ///
    /// One seed gives one run, for calls that are made one after the other: for simulations and tests.
    ///
    /// Set it before the layer is used: it begins with circuits of its own.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let layer = CircuitBreakerLayer::default().with_seed(7);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let told = Told { seed: Some(seed), ..self.circuits.told.clone() };
        Self::of(self.circuits.told(told), self.settle)
    }

    /// Guards calls by a circuit for each key of a request, such as its host, tenant or route, at most
    /// 10,000; see [`KeyedCircuitBreakerLayer`].
    ///
    /// `key` is a closure over the request that returns anything that can be hashed, or a
    /// [`Key`](crate::key::Key) such as `http::ClientIp`.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let layer = CircuitBreakerLayer::default()
    ///     .by_key(|request: &http::Request<String>| request.uri().host().map(str::to_owned))
    ///     .with_max_keys(500);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn by_key<K>(self, key: K) -> KeyedCircuitBreakerLayer<K, C> {
        KeyedCircuitBreakerLayer::new(self.circuits, key, self.settle)
    }

    /// Returns a layer with the same settings, name and events, and circuits of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        Self::of(self.circuits.told(self.circuits.told.clone()), self.settle.clone())
    }

    /// Returns a handle for the settings of this layer, and for the circuit that its services share above
    /// a balancer, or without one. Below a balancer that circuit is not used: see
    /// [`handle_for`](Self::handle_for).
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle::new(self.own(), self.circuits.clone())
    }

    /// Returns a handle for the circuit of the endpoint with `key`, below a balancer: from the first call
    /// on, while the endpoint is in the set. If several sets share the layer, the newest of that key.
    pub fn handle_for(&self, key: &str) -> Option<CircuitHandle> {
        let circuit = self.circuits.family.get(key)?;
        Some(CircuitHandle::new(Shared::of(circuit)))
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.own(), self.settle.clone())
    }
}

impl<C> fmt::Debug for CircuitBreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("config", &self.circuits.family.settings())
            .field("told", &self.circuits.told)
            .field("settle", &TypeName::<C>::new())
            .finish()
    }
}
