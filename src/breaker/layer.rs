use std::fmt;

use tower_layer::Layer;

use super::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle,
    circuit::{Policy, Shared},
};
use crate::outcome::{ErrIsFailure, TypeName};

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
pub struct CircuitBreakerLayer<C = ErrIsFailure> {
    shared: Shared,
    classify: C,
}

impl CircuitBreakerLayer {
    /// Every `Err` is a failure. Values out of range become the nearest sane ones; see
    /// [`CircuitBreakerConfig::validate`].
    pub fn new(config: CircuitBreakerConfig) -> Self {
        Self { shared: Policy::new(config).circuit(), classify: ErrIsFailure }
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
    pub fn with_classify<D>(self, classify: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer { shared: self.shared, classify }
    }

    /// The same settings, with a circuit of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        C: Clone,
    {
        let config = self.shared.core().policy().config.clone();
        Self { shared: Policy::new(config).circuit(), classify: self.classify.clone() }
    }

    /// The circuit that the services of this layer share above a balancer, or without one. Below a
    /// balancer nothing uses it: see [`handle_for`](Self::handle_for).
    pub fn handle(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle::new(self.shared.clone())
    }

    /// The circuit of the endpoint with `key`, where this layer stands below a balancer: from the
    /// first call on, while the endpoint is in the set. Where several sets share the layer, the one
    /// that came last.
    pub fn handle_for(&self, key: &str) -> Option<CircuitBreakerHandle> {
        self.shared.core().policy().find(key).map(CircuitBreakerHandle::new)
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.shared.clone(), self.classify.clone())
    }
}

impl<C> fmt::Debug for CircuitBreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("config", &self.shared.core().policy().config)
            .field("classify", &TypeName::<C>::new())
            .finish()
    }
}
