use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    answer::Answer,
    body::{Request, Response},
    endpoints::AnyDiscover,
    strategy::{AnySessions, AnyStrategy, Sessions},
    terms::{Terms, TermsLayer},
};
use crate::{
    auth::{Auth, AuthLayer},
    balance::{Balance, BalanceLayer, Sticky},
    breaker::{CircuitBreaker, CircuitBreakerLayer},
    budget::Budget,
    config::{BreakerScope, Sections},
    connect::Connect,
    discover::Discover,
    error::Error,
    failover::{Failover, FailoverLayer},
    fallback::{Fallback, FallbackLayer},
    health::{Check, HealthGate, HealthGateLayer},
    limit::{
        ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitLayer, RateLimit, RateLimitLayer,
        Wait,
    },
    outcome::{ErrIsFailure, Explained},
};

/// The layers that the sections of a plugin make, in the order in which a call meets them.
///
/// Every layer is there, whatever the sections say: one that is not enabled lets calls pass, and can be
/// switched on by its handle. `Debug` shows them in their order.
///
/// # Example
/// A stack as [`Plugins`](super::Plugins) makes it, of one's own:
/// ```
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Call, Endpoint, Reply, config::Sections, connect_fn, discover, plugins::Layers,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let layers = Layers::<u64, u64>::new(&Sections::default(), discover::fixed(["a:1", "b:1"])?)?;
/// let stack = layers.layer(connect_fn(|_: &Endpoint| {
///     service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.into_body() + 1)))
/// }));
/// assert_eq!(stack.oneshot(Call::new(7)).await?.into_body(), 8);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Layers<Req, Res> {
    /// One quota for the plugin: `rate_limit`.
    pub rate_limit: RateLimitLayer,
    /// One limit for the plugin: `concurrency`.
    pub concurrency: ConcurrencyLimitLayer<Wait>,
    /// What holds for calls: `timeout`, and `idempotent` of `retry`.
    pub terms: TermsLayer,
    /// What answers after a failure: `fallback`.
    pub fallback: FallbackLayer<Answer<Req, Res>>,
    /// One circuit for the plugin: `circuit_breaker` with the scope `upstream`.
    pub breaker: CircuitBreakerLayer,
    /// Attempts: `retry`, `failover` and `budget`.
    pub failover: FailoverLayer,
    /// Which endpoint: `balance`.
    pub balance:
        BalanceLayer<AnyDiscover, Sticky<AnyStrategy, AnySessions>, ErrIsFailure, Explained>,
    /// One gate for each endpoint: `health_check`.
    pub health: HealthGateLayer,
    /// One circuit for each endpoint: `circuit_breaker` with the scope `endpoint`.
    pub endpoint_breaker: CircuitBreakerLayer,
    /// One limit for each endpoint: `per_endpoint` of `concurrency`.
    pub endpoint_concurrency: ConcurrencyLimitLayer,
    /// What each call shows to be let in: `auth`.
    pub auth: AuthLayer,
}

/// The stack of [`Layers`] over a service `S` of each endpoint.
pub type Stack<Req, Res, S> = RateLimit<ConcurrencyLimit<Terms<Guarded<Req, Res, S>>, Wait>>;

type Guarded<Req, Res, S> = Fallback<CircuitBreaker<Failover<Chosen<S>>>, Answer<Req, Res>>;
type Chosen<S> = Balance<
    HealthGate<CircuitBreaker<ConcurrencyLimit<Auth<S>>>>,
    Sticky<AnyStrategy, AnySessions>,
    Explained<ErrIsFailure>,
>;

/// More than there can be.
const UNLIMITED: u32 = i32::MAX as u32;

impl<Req: Request, Res: Response> Layers<Req, Res> {
    /// Makes the layers, without health checks, and without a fallback to another plugin.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for credentials or a fallback that cannot be
    /// used. Other values out of range become the nearest ones.
    pub fn new(sections: &Sections, endpoints: impl Discover) -> Result<Self, Error> {
        let fallback = match sections.fallback.plugin() {
            Some(_) => Answer::of(&Default::default(), None)?,
            None => Answer::of(&sections.fallback, None)?,
        };
        let check = crate::health::check_fn(|_| async { true });
        let sessions = Sessions::of(&sections.balance, None);
        Self::of(sections, None, AnyDiscover::new(endpoints), fallback, &sessions, check, false)
    }

    /// With their name, and with a check of health, which is made if the section and `is_checked` say so.
    pub(super) fn of(
        sections: &Sections,
        name: Option<&Arc<str>>,
        endpoints: AnyDiscover,
        fallback: Answer<Req, Res>,
        sessions: &Sessions,
        check: impl Check,
        is_checked: bool,
    ) -> Result<Self, Error> {
        let Sections { retry, circuit_breaker, balance, concurrency, .. } = sections;
        let (mut breaker, mut endpoint_breaker) =
            (circuit_breaker.config.clone(), circuit_breaker.config.clone());
        breaker.enabled &= circuit_breaker.scope == BreakerScope::Upstream;
        endpoint_breaker.enabled &= circuit_breaker.scope == BreakerScope::Endpoint;
        let mut limit = concurrency.config.clone();
        if concurrency.wait.is_zero() {
            // No call waits.
            limit.pending = 0;
        }
        let mut wait = concurrency.wait;
        let mut per_endpoint = concurrency.per_endpoint;
        if !concurrency.enabled {
            (limit.max, wait, per_endpoint) = (UNLIMITED, Duration::ZERO, None);
        }
        let attempts = sections.failover.on(retry.attempts());
        let endpoints = endpoints.weighted(balance);
        let mut health = sections.health_check.clone();
        health.enabled &= is_checked;
        let name = || name.cloned();
        let balance = BalanceLayer::with_config(
            endpoints,
            sessions.strategy(balance),
            balance.config.clone(),
        )
        .explained(balance.config.explain);
        Ok(Self {
            rate_limit: RateLimitLayer::of((&sections.rate_limit).into(), name()),
            concurrency: ConcurrencyLimitLayer::of(limit, name()).wait(wait),
            terms: TermsLayer::new(sections),
            fallback: FallbackLayer::of(fallback.some()),
            breaker: CircuitBreakerLayer::with_name(breaker, name()),
            failover: FailoverLayer::new(attempts)
                .with_budget(Budget::with_config(sections.budget)),
            balance: match name() {
                Some(name) => balance.named(name),
                None => balance,
            },
            health: HealthGateLayer::with_name(check, health, name()),
            endpoint_breaker: CircuitBreakerLayer::with_name(endpoint_breaker, name()),
            endpoint_concurrency: ConcurrencyLimitLayer::of(
                ConcurrencyLimitConfig::default().with_max(per_endpoint.unwrap_or(UNLIMITED)),
                name(),
            ),
            auth: AuthLayer::new(sections.auth.credentials()?),
        })
    }

    /// Names the layers, for errors and events.
    ///
    /// Name them before they are used, as each layer: limits, circuits and checks of the result have a state and
    /// handles of their own. `failover` with its budget, and `fallback` with its answers, are the same.
    ///
    /// ```
    /// use tower_upstream::{config::Sections, discover, plugins::Layers};
    /// let layers = Layers::<u64, u64>::new(&Sections::default(), discover::fixed(["a:1"])?)?;
    /// let unnamed = layers.breaker.handle();
    /// let layers = layers.named("tax");
    /// unnamed.force_open();
    /// assert_ne!(layers.breaker.handle().state(), unnamed.state());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.rate_limit = self.rate_limit.named(name.clone());
        self.concurrency = self.concurrency.named(name.clone());
        self.breaker = self.breaker.named(name.clone());
        self.balance = self.balance.named(name.clone());
        self.endpoint_breaker = self.endpoint_breaker.named(name.clone());
        self.endpoint_concurrency = self.endpoint_concurrency.named(name.clone());
        self.health = self.health.named(name);
        self
    }
}

impl<Req, Res, C> Layer<C> for Layers<Req, Res>
where
    Req: Request,
    Res: Response,
    C: Connect + Send + Sync + 'static,
    C::Service: Clone + Send + Sync + 'static,
{
    type Service = Stack<Req, Res, C::Service>;

    fn layer(&self, connector: C) -> Self::Service {
        let connector = self.endpoint_concurrency.layer(self.auth.layer(connector));
        let connector = self.health.each(self.endpoint_breaker.each(connector));
        let chosen = self.failover.layer(self.balance.layer(connector));
        let guarded = self.fallback.layer(self.breaker.layer(chosen));
        self.rate_limit.layer(self.concurrency.layer(self.terms.layer(guarded)))
    }
}

impl<Req, Res> fmt::Debug for Layers<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("rate_limit", &self.rate_limit)
            .field("concurrency", &self.concurrency)
            .field("terms", &self.terms)
            .field("fallback", &self.fallback)
            .field("breaker", &self.breaker)
            .field("failover", &self.failover)
            .field("balance", &self.balance)
            .field("health", &self.health)
            .field("endpoint_breaker", &self.endpoint_breaker)
            .field("endpoint_concurrency", &self.endpoint_concurrency)
            .field("auth", &self.auth)
            .finish()
    }
}
