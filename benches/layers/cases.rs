//! One task that calls one stack, over and over.

use std::{future::Future, time::Duration};

use tower::{Layer, Service, ServiceBuilder};
use tower_upstream::{
    Attempts, BalanceLayer, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer,
    Endpoint, Error, FailoverLayer, HealthGateLayer, LeastRequest, Quota, RateLimitLayer,
    balance::{
        BalanceConfig, Geographic, HealthBased, LeastLatency, LocalityMode, LocalityWeights,
        PeakEwma, Pick, PickFirst, Priority, Random, RoundRobin, Seeded, Sticky, Strategy,
        WeightedRandom, WeightedRoundRobin,
    },
    breaker::{CircuitBreaker, Window},
    connect::Connect,
    connect_fn,
    discover::{self, Fixed},
    endpoint::Locality,
    error::Kind,
    health::{HealthConfig, HealthGate, check_fn, check_upstream},
    limit::ConcurrencyLimit,
    member::Member,
    session::SessionTable,
};

use crate::{
    floors::{Addition, HeldCount, SharedCas, SharedTwoChoices},
    harness::Case,
    services::{Broken, ClonePerCall, InTurn, Inner, Waits},
};

pub(crate) fn all() -> Vec<Case> {
    #[allow(unused_mut, reason = "without features there is nothing to add")]
    let mut cases = of_layers();
    #[cfg(feature = "tower")]
    cases.push(Case::ok("retry/with budget", retry).at_most(15.0));
    #[cfg(feature = "hash")]
    cases.extend(crate::hashing::all());
    cases
}

fn of_layers() -> Vec<Case> {
    vec![
        Case::ok("bare", || Inner),
        Case::ok("floor: an atomic addition", Addition::new),
        Case::ok("floor: an Arc and a count", HeldCount::new),
        Case::ok("breaker/closed", || breaker_with(CircuitBreakerConfig::consecutive(5)))
            .at_most(14.0),
        Case::ok("breaker/closed, of 100 calls", || {
            breaker_with(CircuitBreakerConfig::default().with_window(Window::Calls(100)))
        })
        .at_most(14.0),
        Case::ok("breaker/closed, of 10 s", breaker).at_most(14.0),
        Case::ok("waits: bare", || Waits),
        Case::ok("waits: breaker/closed", || waiting_breaker(CircuitBreakerConfig::default())),
        Case::ok("waits: breaker/closed, slow_ratio", || {
            waiting_breaker(CircuitBreakerConfig::default().with_slow_ratio(0.5))
        }),
        Case::refused("breaker/open", Kind::CircuitOpen, open_breaker).at_most(16.0),
        Case::refused("breaker/open, named", Kind::CircuitOpen, || {
            CircuitBreakerLayer::new(open_long()).named("tax").layer(Broken)
        }),
        Case::ok("floor: a clock and a CAS", SharedCas::new),
        Case::ok("limit/allowed", || limit().service(Inner)).at_most(12.0),
        Case::refused("limit/refused", Kind::RateLimited, || once().layer(Inner)),
        Case::refused("limit/refused, named", Kind::RateLimited, || {
            once().named("quota").layer(Inner)
        }),
        Case::ok("tower's ConcurrencyLimit", || tower::limit::ConcurrencyLimit::new(Inner, 1_024)),
        Case::ok("concurrency/allowed", concurrency).at_most(14.0),
        Case::refused("concurrency/refused", Kind::Overloaded, || {
            full(ConcurrencyLimitLayer::new(1))
        })
        .at_most(6.0),
        Case::refused("concurrency/refused, named", Kind::Overloaded, || {
            full(ConcurrencyLimitLayer::new(1).named("places"))
        }),
        Case::ok("limit/several", || {
            let quotas = [PLENTY, Quota::per_minute(u32::MAX)];
            ServiceBuilder::new().layer(RateLimitLayer::new(quotas)).service(Inner)
        }),
        Case::ok("limit/keyed 100k allowed", keyed).at_most(40.0),
        Case::refused("limit/keyed 100k refused", Kind::RateLimited, || {
            // Those that are in the table to stay.
            let layer = once().by_key(|_: &u64| 0_u64).with_max_keys(KEYS as usize);
            let handle = layer.handle();
            (0..KEYS).for_each(|key| drop(handle.take(&key, 1)));
            let owing: Vec<u64> = (0..KEYS).filter(|key| handle.remaining(key) == 0).collect();
            ServiceBuilder::new()
                .layer(layer.with_key(move |n: &u64| owing[*n as usize % owing.len()]))
                .service(Inner)
        })
        .at_most(35.0),
        Case::ok("gate/healthy", gate).at_most(4.0),
        Case::refused("gate/unhealthy", Kind::Unhealthy, || unhealthy().layer(Inner)),
        Case::refused("gate/unhealthy, named", Kind::Unhealthy, || {
            unhealthy().named("gate").layer(Inner)
        }),
        Case::ok("floor: two choices/10", || SharedTwoChoices::new(10)),
        Case::ok("floor: two choices/1000", || SharedTwoChoices::new(1_000)),
        Case::ok("floor: two choices/10000", || SharedTwoChoices::new(10_000)),
        Case::ok("floor: two choices/10000, cold", || {
            InTurn::new(COLD, || SharedTwoChoices::new(10_000))
        }),
        Case::ok("balance/least-request/10", || balance(10, LeastRequest::new())).at_most(30.0),
        Case::ok("balance/least-request, explained: 1 in 1000/10", || explained(0.001)),
        Case::ok("balance/least-request, explained: all/10", || explained(1.0)),
        Case::ok("balance/least-request, sticky/10", || {
            let sessions = SessionTable::by_key(|n: &u64| *n % 1_000);
            balance(10, Sticky::new(LeastRequest::new(), sessions))
        }),
        Case::ok("balance/least-request/1000", || balance(1_000, LeastRequest::new()))
            .at_most(35.0),
        Case::ok("balance/least-request/10000", || balance(10_000, LeastRequest::new()))
            .at_most(45.0),
        Case::ok("balance/least-request/10000, cold", || {
            InTurn::new(COLD, || balance(10_000, LeastRequest::new()))
        }),
        Case::ok("balance/least-request/10, a clone per call", || {
            ClonePerCall(balance(10, LeastRequest::new()))
        }),
        Case::ok("balance/round-robin/10", || balance(10, RoundRobin::new())),
        Case::ok("balance/random/10", || balance(10, Random::new())),
        Case::ok("balance/peak-ewma/10", || balance(10, PeakEwma::new())),
        Case::ok("balance/peak-ewma/10000", || balance(10_000, PeakEwma::new())),
        Case::ok("balance/least-latency/10", || balance(10, LeastLatency::new())),
        Case::ok("balance/health-based/10", || balance(10, HealthBased::new())),
        Case::ok("balance/pick-first/10", || balance(10, PickFirst::new())),
        Case::ok("balance/priority/10", || balance(10, Priority::new())),
        Case::ok("balance/geographic/10", || balance(10, Geographic::from(Locality::default()))),
        Case::ok("balance/least-request, 3 zones/10", in_zones),
        Case::ok("balance/least-request(3)/10", || {
            balance(10, LeastRequest::new().with_choices(3))
        }),
        Case::ok("balance/least-request, seeded/10", || {
            balance(10, Seeded::new(LeastRequest::new(), 1))
        }),
        Case::ok("balance/least-request, bias/10", || {
            balance(10, LeastRequest::new().with_bias(1.0))
        }),
        Case::ok("balance/weighted least-request/10000", || weighted(10_000, LeastRequest::new()))
            .at_most(60.0),
        Case::ok("balance/weighted-random/10000", || weighted(10_000, WeightedRandom::new()))
            .at_most(60.0),
        Case::ok("balance/weighted-round-robin/10", || weighted(10, WeightedRoundRobin::new())),
        Case::ok("balance/weighted-round-robin/10000", || {
            weighted(10_000, WeightedRoundRobin::new())
        })
        .at_most(60.0),
        Case::ok("balance+breaker/10", || {
            ServiceBuilder::new()
                .layer(BalanceLayer::new(endpoints(10), LeastRequest::new()))
                .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
                .service(connect_fn(|_: &Endpoint| Inner))
        }),
        Case::ok("failover(3)+balance/10", || {
            ServiceBuilder::new()
                .layer(FailoverLayer::new(Attempts::up_to(3)).with_replay(|n: &u64| Some(*n)))
                .layer(BalanceLayer::new(endpoints(10), LeastRequest::new()))
                .service(connect_fn(|_: &Endpoint| Inner))
        }),
        Case::ok("stack/10", stack).at_most(100.0),
        Case::refused("balance/no-endpoints", Kind::NoEndpoints, || {
            ServiceBuilder::new()
                .layer(BalanceLayer::with_config(endpoints(0), LeastRequest::new(), fail_fast()))
                .service(connect_fn(|_: &Endpoint| Inner))
        }),
        Case::refused("balance+breaker/all-open", Kind::CircuitOpen, || {
            ServiceBuilder::new()
                .layer(BalanceLayer::with_config(endpoints(10), LeastRequest::new(), fail_fast()))
                .layer(CircuitBreakerLayer::new(open_long()))
                .service(connect_fn(|_: &Endpoint| Broken))
        }),
    ]
}

pub(crate) fn breaker() -> CircuitBreaker<Inner> {
    breaker_with(CircuitBreakerConfig::default())
}

fn breaker_with(config: CircuitBreakerConfig) -> CircuitBreaker<Inner> {
    ServiceBuilder::new().layer(CircuitBreakerLayer::new(config)).service(Inner)
}

/// Over calls that are not done at once.
pub(crate) fn waiting_breaker(config: CircuitBreakerConfig) -> CircuitBreaker<Waits> {
    ServiceBuilder::new().layer(CircuitBreakerLayer::new(config)).service(Waits)
}

/// The same of one member, which all threads share.
pub(crate) fn waiting_member(config: CircuitBreakerConfig) -> CircuitBreaker<Waits> {
    let member = Member::new(Endpoint::new("a:1").expect("it is an address"));
    let layer = CircuitBreakerLayer::new(config);
    layer.layer(connect_fn(|_: &Endpoint| Waits)).connect(&member)
}

/// Of tower, with our policy and its default budget.
#[cfg(feature = "tower")]
fn retry() -> impl Service<u64, Response = u64, Error = std::convert::Infallible> {
    use tower_upstream::retry::{RetryConfig, RetryPolicy};
    let policy = RetryPolicy::new(RetryConfig::up_to(3)).with_replay(|n: &u64| Some(*n));
    ServiceBuilder::new().layer(tower::retry::RetryLayer::new(policy)).service(Inner)
}

/// Opens with the first calls, and stays so.
fn open_breaker() -> CircuitBreaker<Broken> {
    ServiceBuilder::new().layer(CircuitBreakerLayer::new(open_long())).service(Broken)
}

pub(crate) fn concurrency() -> ConcurrencyLimit<Inner> {
    ConcurrencyLimitLayer::default().layer(Inner)
}

fn unhealthy() -> HealthGateLayer {
    let mut config = HealthConfig::default();
    (config.interval, config.fall) = (Duration::from_millis(1), 1);
    HealthGateLayer::with_config(check_upstream(|| async { false }), config)
}

fn full(layer: ConcurrencyLimitLayer) -> ConcurrencyLimit<Inner> {
    // For good.
    std::mem::forget(layer.handle().take());
    layer.layer(Inner)
}

/// One call a day.
fn once() -> RateLimitLayer {
    RateLimitLayer::new(Quota::new(1, Duration::from_secs(86_400)))
}

pub(crate) fn gate() -> HealthGate<Inner> {
    ServiceBuilder::new()
        .layer(HealthGateLayer::new(check_upstream(|| async { true })))
        .service(Inner)
}

/// Faster than the loop, so that there is always a token.
const PLENTY: Quota = Quota::per_second(1_000_000_000);

const KEYS: u64 = 100_000;

/// So many sets of 10,000 members are more than the caches hold.
pub(crate) const COLD: usize = 8;

pub(crate) fn keyed()
-> impl Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + 'static {
    let layer = RateLimitLayer::new(PLENTY).by_key(|n: &u64| *n % KEYS);
    ServiceBuilder::new().layer(layer).service(Inner)
}

pub(crate) fn limit()
-> ServiceBuilder<tower::layer::util::Stack<RateLimitLayer, tower::layer::util::Identity>> {
    ServiceBuilder::new().layer(RateLimitLayer::new(PLENTY))
}

pub(crate) fn balance<P>(
    members: usize,
    strategy: P,
) -> impl Service<u64, Response = u64, Error = Error, Future: Future + Send> + Clone + Send + 'static
where
    P: Strategy + Pick<u64> + Clone,
{
    ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints(members), strategy))
        .service(connect_fn(|_: &Endpoint| Inner))
}

/// The same with weights from 1 to 4.
fn explained(share: f64) -> impl Service<u64, Response = u64, Error = Error> + Clone {
    let config = BalanceConfig::default().with_explain(share);
    ServiceBuilder::new()
        .layer(BalanceLayer::with_config(endpoints(10), LeastRequest::new(), config))
        .service(connect_fn(|_: &Endpoint| Inner))
}

fn weighted<P>(
    members: usize,
    strategy: P,
) -> impl Service<u64, Response = u64, Error = Error, Future: Future + Send> + Clone + Send + 'static
where
    P: Strategy + Pick<u64> + Clone,
{
    let endpoints = hosts(members).enumerate().map(|(index, host)| {
        Endpoint::new(host).expect("an address").with_weight(1 + index as u32 % 4)
    });
    ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(endpoints).expect("addresses"), strategy))
        .service(connect_fn(|_: &Endpoint| Inner))
}

/// Over 10 endpoints in three zones, each with its share of the load.
fn in_zones() -> impl Service<u64, Response = u64, Error = Error> + Clone {
    let place = |number: usize| Locality::of_zone(["a", "b", "c"][number % 3]);
    let endpoint = |(number, host): (usize, String)| {
        Endpoint::new(host).map(|endpoint| endpoint.with_locality(place(number)))
    };
    let endpoints: Result<Vec<_>, _> = hosts(10).enumerate().map(endpoint).collect();
    let weights = LocalityWeights::from_iter([("a", 1), ("b", 2), ("c", 3)]);
    let config = BalanceConfig::default().with_locality(LocalityMode::Weighted(weights));
    let endpoints = discover::fixed(endpoints.expect("addresses")).expect("addresses");
    BalanceLayer::with_config(endpoints, LeastRequest::new(), config)
        .layer(connect_fn(|_: &Endpoint| Inner))
}

/// All that a request to one of several upstreams may pass.
pub(crate) fn stack()
-> impl Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + 'static {
    limit()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_replay(|n: &u64| Some(*n)))
        .layer(BalanceLayer::new(endpoints(10), LeastRequest::new()))
        .layer(HealthGateLayer::new(check_fn(|_| async { true })))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .service(connect_fn(|_: &Endpoint| Inner))
}

fn endpoints(count: usize) -> Fixed {
    discover::fixed(hosts(count)).expect("addresses")
}

fn hosts(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("http://10.{}.{}.1:80", n / 256, n % 256))
}

fn fail_fast() -> BalanceConfig {
    BalanceConfig::default().with_fail_fast_after(Duration::from_millis(1))
}

fn open_long() -> CircuitBreakerConfig {
    let hour = Duration::from_secs(3_600);
    CircuitBreakerConfig::default().with_open_for(hour).with_max_open_for(hour)
}
