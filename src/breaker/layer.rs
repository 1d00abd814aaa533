use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;

use super::{
    AtResponse, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle,
    KeyedCircuitBreakerLayer, Transition,
    circuit::Shared,
    policy::{Listener, Policy},
};
use crate::outcome::TypeName;

/// Puts a [`CircuitBreaker`] around a service, or around the service of each endpoint.
///
/// The circuit belongs to the layer value: all services that it and its clones make share one.
/// [`fresh`](Self::fresh) gives the same settings with a circuit of its own. Below a balancer each
/// endpoint has its own in any case.
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
    shared: Shared,
    settle: C,
    listener: Option<Listener>,
}

impl CircuitBreakerLayer {
    /// Every `Err` is a failure. Values out of range become the nearest sane ones; see
    /// [`CircuitBreakerConfig::validate`].
    pub fn new(config: CircuitBreakerConfig) -> Self {
        Self {
            shared: Policy::new(config, None).circuit(),
            settle: AtResponse::default(),
            listener: None,
        }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new(CircuitBreakerConfig::default())
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Lets `classify` judge the calls: a [`Classify`](crate::Classify), such as a closure, or
    /// `HttpClassify` for HTTP responses.
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
    pub fn with_classify<D>(self, classify: D) -> CircuitBreakerLayer<AtResponse<D>> {
        self.with_settle(AtResponse { classify })
    }

    /// Lets `settle` tell when a call has ended, and how.
    pub(crate) fn with_settle<D>(self, settle: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer { shared: self.shared, settle, listener: self.listener }
    }

    /// The same settings, with a circuit of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        let listener = self.listener.clone();
        let shared = Policy::new(self.config(), listener.clone()).circuit();
        Self { shared, settle: self.settle.clone(), listener }
    }

    /// Tells `listener` of every transition of every circuit of this layer, one after the other and
    /// in order. The state is visible before, and no lock is held: a listener may use handles.
    ///
    /// It runs where the transition happens, in a call, in a handle or in a task, so it should not block.
    /// One that panics is told of the next transition all the same; to one that is slow others leave their
    /// transitions, up to 1,024.
    ///
    /// A transition that time brings, such as to half-open, is told when it is due, by one task for all
    /// circuits of the layer. The task starts with the first transition inside a tokio runtime with
    /// timers, starts again in another runtime if that one ends, and ends with the layer and its services.
    /// Without a runtime the listener is told with the next call or look.
    ///
    /// Set it before the layer is used: it begins with circuits of its own.
    #[must_use]
    pub fn on_transition(self, listener: impl Fn(Transition) + Send + Sync + 'static) -> Self {
        let listener: Option<Listener> = Some(Arc::new(listener));
        let shared = Policy::new(self.config(), listener.clone()).circuit();
        Self { shared, settle: self.settle, listener }
    }

    /// A circuit for each key of a request, such as its host, tenant or route, at most 10,000; see
    /// [`KeyedCircuitBreakerLayer`].
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let layer = CircuitBreakerLayer::default()
    ///     .by_key(|request: &http::Request<String>| request.uri().host().map(str::to_owned))
    ///     .max_keys(500);
    /// # let _ = layer;
    /// ```
    pub fn by_key<Req, K, F>(self, key: F) -> KeyedCircuitBreakerLayer<K, F, C>
    where
        F: Fn(&Req) -> K,
        K: Hash,
    {
        KeyedCircuitBreakerLayer::new(self.shared.core().policy().clone(), key, self.settle)
    }

    fn config(&self) -> CircuitBreakerConfig {
        self.shared.core().policy().settings().config.clone()
    }

    /// The circuit that the services of this layer share above a balancer, or without one. Below a
    /// balancer nothing uses it: see [`handle_for`](Self::handle_for).
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle::new(self.shared.clone(), true)
    }

    /// The circuit of the endpoint with `key`, where this layer stands below a balancer: from the
    /// first call on, while the endpoint is in the set. Where several sets share the layer, the one
    /// that came last.
    pub fn handle_for(&self, key: &str) -> Option<CircuitBreakerHandle> {
        let circuit = self.shared.core().policy().find(key)?;
        Some(CircuitBreakerHandle::new(circuit, false))
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.shared.clone(), self.settle.clone())
    }
}

impl<C> fmt::Debug for CircuitBreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("config", &self.config())
            .field("settle", &TypeName::<C>::new())
            .finish()
    }
}
