//! The layers of this crate as methods of tower's `ServiceBuilder`.

use tower::{ServiceBuilder, layer::util::Stack};

use crate::{
    balance::{BalanceLayer, Strategy},
    boxed::{BoxUpstream, BoxUpstreamLayer},
    breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    connect::{EachLayer, NameEndpointLayer},
    discover::Discover,
    failover::{Attempts, FailoverLayer},
    fallback::FallbackLayer,
    health::{Check, HealthGateLayer},
    limit::{ConcurrencyLimitLayer, Quotas, RateLimitLayer},
    retry::{RetryConfig, RetryPolicy},
};

mod sealed {
    use super::{ServiceBuilder, Stack};

    /// Sealed, so that a layer that is new can become a method.
    // Out of reach, so that the builder of tower alone has these methods.
    #[allow(unnameable_types)]
    pub trait Sealed<L> {
        fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>>;
    }

    impl<L> Sealed<L> for ServiceBuilder<L> {
        fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>> {
            self.layer(layer)
        }
    }
}

/// Adds the layers of this crate to [`tower::ServiceBuilder`].
///
/// Read a stack downwards: that is the way of a request. As everywhere, the place of a layer decides
/// its scope: above [`balance`](Self::balance) one for the whole upstream, below it one for each endpoint.
///
/// Each method adds one layer with its essential setting. For more settings, and for a layer's handle, make
/// the layer and pass it to `layer`: `let breaker = CircuitBreakerLayer::new(config).with_classify(..)`, then
/// `.layer(breaker.clone())`. No name is one of tower's own methods or of tower-http's extension trait, so
/// both can be used beside this one. For one rule that judges calls in several layers, see
/// [`stack`](crate::stack).
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     Attempts, BoxError, Call, CircuitBreakerConfig, Endpoint, LeastRequest, Quota, Reply,
///     builder::ServiceBuilderExt, connect_fn, discover, health::check_fn,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let plugins = ServiceBuilder::new()
///     .quota(Quota::per_second(1_000).burst(200))         // one quota for the whole upstream
///     .failover(Attempts::up_to(3))                       // another endpoint, while one is left untried
///     .balance(discover::fixed(["a:1", "b:1"])?, LeastRequest::default())
///     .health_gate(check_fn(|_| async { true }))          // below the balancer: one gate per endpoint
///     .circuit_breaker(CircuitBreakerConfig::default())   // ... and one breaker per endpoint
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body())))
///     }));
///
/// assert_eq!(plugins.oneshot(Call::new(7)).await?.into_body(), 7);
/// # Ok(()) }
/// ```
pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
    /// Limits the rate of calls: refuses those beyond `quotas`, which is one quota or several at once.
    ///
    /// See [`RateLimitLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{Quota, builder::ServiceBuilderExt};
    /// # let client = ();
    /// let stack = ServiceBuilder::new().quota(Quota::per_minute(100).burst(10)).service(client);
    /// # let _ = stack;
    /// ```
    fn quota(self, quotas: impl Into<Quotas>) -> ServiceBuilder<Stack<RateLimitLayer, L>> {
        self.add(RateLimitLayer::new(quotas))
    }

    /// Limits how many calls are in flight at once: refuses a call while `max` are.
    ///
    /// See [`ConcurrencyLimitLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::builder::ServiceBuilderExt;
    /// # let client = ();
    /// let stack = ServiceBuilder::new().max_in_flight(64).service(client);
    /// # let _ = stack;
    /// ```
    fn max_in_flight(self, max: u32) -> ServiceBuilder<Stack<ConcurrencyLimitLayer, L>> {
        self.add(ConcurrencyLimitLayer::new(max))
    }

    /// Answers in place of what is below if that refuses a call or fails at it.
    ///
    /// See [`FallbackLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{builder::ServiceBuilderExt, error::Error, fallback::Value};
    /// # let client = ();
    /// let stack = ServiceBuilder::new().fallback(Value("none")).service(client);
    /// let other = ServiceBuilder::new()
    ///     .fallback(|error: Error| -> Result<_, Error> { Ok(error.to_string()) })
    ///     .service(client);
    /// # let _ = (stack, other);
    /// ```
    fn fallback<A>(self, substitute: A) -> ServiceBuilder<Stack<FallbackLayer<A>, L>> {
        self.add(FallbackLayer::new(substitute))
    }

    /// Tries another endpoint when one fails. Add it above [`balance`](Self::balance).
    ///
    /// See [`FailoverLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{
    ///     Attempts, Endpoint, LeastRequest, builder::ServiceBuilderExt, connect_fn, discover,
    /// };
    /// # #[derive(Clone)] struct Client;
    /// let stack = ServiceBuilder::new()
    ///     .failover(Attempts::up_to(2))
    ///     .balance(discover::fixed(["a:1", "b:1"])?, LeastRequest::new())
    ///     .service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = stack;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    fn failover(self, attempts: Attempts) -> ServiceBuilder<Stack<FailoverLayer, L>> {
        self.add(FailoverLayer::new(attempts))
    }

    /// Chooses one of the endpoints that `endpoints` finds for each call, as `strategy` decides. What
    /// is below is a [connector](crate::connect::Connect).
    ///
    /// See [`BalanceLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{
    ///     Endpoint, balance::RoundRobin, builder::ServiceBuilderExt, connect_fn, discover,
    /// };
    /// # #[derive(Clone)] struct Client;
    /// let stack = ServiceBuilder::new()
    ///     .balance(discover::fixed(["a:1", "b:1"])?, RoundRobin::new())
    ///     .service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = stack;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    fn balance<D, P>(
        self,
        endpoints: D,
        strategy: P,
    ) -> ServiceBuilder<Stack<BalanceLayer<D, P>, L>>
    where
        D: Discover,
        P: Strategy,
    {
        self.add(BalanceLayer::new(endpoints, strategy))
    }

    /// Sends a call to the same service again when it fails. For a single client; tower's own `retry` takes
    /// a policy.
    ///
    /// See [`RetryPolicy`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{builder::ServiceBuilderExt, retry::RetryConfig};
    /// # let client = ();
    /// let stack = ServiceBuilder::new().retries(RetryConfig::up_to(3)).service(client);
    /// # let _ = stack;
    /// ```
    fn retries(self, config: RetryConfig) -> ServiceBuilder<Stack<RetryPolicy, L>> {
        self.add(RetryPolicy::new(config))
    }

    /// Checks health in the background, and keeps calls away from what is not healthy.
    ///
    /// See [`HealthGateLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{builder::ServiceBuilderExt, health::check_upstream};
    /// # let client = ();
    /// let stack = ServiceBuilder::new()
    ///     .health_gate(check_upstream(|| async { true }))
    ///     .service(client);
    /// # let _ = stack;
    /// ```
    fn health_gate(self, check: impl Check) -> ServiceBuilder<Stack<HealthGateLayer, L>> {
        self.add(HealthGateLayer::new(check))
    }

    /// Stops calling what keeps failing.
    ///
    /// See [`CircuitBreakerLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{CircuitBreakerConfig, builder::ServiceBuilderExt};
    /// # let client = ();
    /// let stack = ServiceBuilder::new()
    ///     .circuit_breaker(CircuitBreakerConfig::consecutive(5))
    ///     .service(client);
    /// # let _ = stack;
    /// ```
    fn circuit_breaker(
        self,
        config: CircuitBreakerConfig,
    ) -> ServiceBuilder<Stack<CircuitBreakerLayer, L>> {
        self.add(CircuitBreakerLayer::new(config))
    }

    /// Applies a layer of another crate to the service of each endpoint. Add it below
    /// [`balance`](Self::balance).
    ///
    /// See [`EachLayer`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{ServiceBuilder, timeout::TimeoutLayer};
    /// use tower_upstream::{
    ///     Endpoint, LeastRequest, builder::ServiceBuilderExt, connect_fn, discover,
    /// };
    /// # #[derive(Clone)] struct Client;
    /// let stack = ServiceBuilder::new()
    ///     .balance(discover::fixed(["a:1", "b:1"])?, LeastRequest::new())
    ///     .each(TimeoutLayer::new(Duration::from_secs(1)))
    ///     .service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = stack;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    fn each<T>(self, layer: T) -> ServiceBuilder<Stack<EachLayer<T>, L>> {
        self.add(EachLayer::new(layer))
    }

    /// Notes in each answer which endpoint it comes from. Add it below [`balance`](Self::balance).
    ///
    /// See [`NameEndpointLayer`].
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{
    ///     Endpoint, LeastRequest, builder::ServiceBuilderExt, connect_fn, discover,
    /// };
    /// # #[derive(Clone)] struct Client;
    /// let stack = ServiceBuilder::new()
    ///     .balance(discover::fixed(["a:1", "b:1"])?, LeastRequest::new())
    ///     .name_endpoint()
    ///     .service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = stack;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    fn name_endpoint(self) -> ServiceBuilder<Stack<NameEndpointLayer, L>> {
        self.add(NameEndpointLayer::new())
    }

    /// Puts the service below on the heap, so that its type has a short name.
    ///
    /// See [`BoxUpstream`]. Below a balancer, write `each(BoxUpstream::layer())`.
    ///
    /// ```
    /// use tower::{ServiceBuilder, service_fn};
    /// use tower_upstream::{BoxError, boxed::BoxUpstream, builder::ServiceBuilderExt};
    /// let stack: BoxUpstream<u32, u32> = ServiceBuilder::new()
    ///     .boxed_upstream()
    ///     .max_in_flight(64)
    ///     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    /// # let _ = stack;
    /// ```
    fn boxed_upstream<Req, Res>(self) -> ServiceBuilder<Stack<BoxUpstreamLayer<Req, Res>, L>> {
        self.add(BoxUpstream::layer())
    }

    /// Turns errors into HTTP responses or gRPC statuses, for servers whose services must not fail.
    ///
    /// See [`AnswerLayer`](crate::http::AnswerLayer).
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{Quota, builder::ServiceBuilderExt};
    /// let layers = ServiceBuilder::new().answer_errors().quota(Quota::per_minute(100));
    /// # let _ = layers;
    /// ```
    #[cfg(feature = "http")]
    fn answer_errors(self) -> ServiceBuilder<Stack<crate::http::AnswerLayer, L>> {
        self.add(crate::http::AnswerLayer::new())
    }

    /// Keeps what passes of a request body that streams, so that [`failover`](Self::failover) can send the
    /// request again.
    ///
    /// See [`ReplayBodyLayer`](crate::http::ReplayBodyLayer).
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{Attempts, builder::ServiceBuilderExt};
    /// let layers = ServiceBuilder::new().replay_bodies().failover(Attempts::up_to(3));
    /// # let _ = layers;
    /// ```
    #[cfg(feature = "http")]
    fn replay_bodies(self) -> ServiceBuilder<Stack<crate::http::ReplayBodyLayer, L>> {
        self.add(crate::http::ReplayBodyLayer::new())
    }

    /// Counts each call as in flight until its response body ends. Add it below
    /// [`balance`](Self::balance).
    ///
    /// See [`TrackLayer`](crate::http::TrackLayer).
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{Endpoint, builder::ServiceBuilderExt, connect_fn};
    /// # #[derive(Clone)] struct Client;
    /// let connector = ServiceBuilder::new().track_bodies().service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = connector;
    /// ```
    #[cfg(feature = "http")]
    fn track_bodies(self) -> ServiceBuilder<Stack<crate::http::TrackLayer, L>> {
        self.add(crate::http::TrackLayer::new())
    }

    /// Writes the scheme, authority and base path of the endpoint into each request. Add it below
    /// [`balance`](Self::balance), over an HTTP client.
    ///
    /// See [`OriginLayer`](crate::http::OriginLayer).
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_upstream::{Endpoint, builder::ServiceBuilderExt, connect_fn};
    /// # #[derive(Clone)] struct Client;
    /// let connector = ServiceBuilder::new().at_origin().service(connect_fn(|_: &Endpoint| Client));
    /// # let _ = connector;
    /// ```
    #[cfg(feature = "http")]
    fn at_origin(self) -> ServiceBuilder<Stack<crate::http::OriginLayer, L>> {
        self.add(crate::http::OriginLayer::new())
    }
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {}
