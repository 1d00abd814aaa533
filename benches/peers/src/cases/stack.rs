//! All that a request to one of ten upstreams may pass.

use std::time::Duration;

use tower::{
    BoxError, Layer, Service, ServiceBuilder,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    limit::{RateLimit, rate::Rate},
    load::{CompleteOnResponse, PendingRequests},
    retry::Retry,
    timeout::Timeout,
};
use tower_resilience_circuitbreaker::CircuitBreakerLayer as ResilienceBreakerLayer;
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_resilience_retry::{RetryBudgetBuilder, RetryLayer};
use tower_resilience_router::WeightedRouter;
use tower_resilience_timelimiter::TimeLimiterLayer;
use tower_upstream::{
    Attempts, BalanceLayer, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest, Quota, RateLimitLayer, connect_fn, discover,
};

use super::{PLENTY, governor_plenty, retry::with_budget};
use crate::{
    adapters::{Governor, Recloser},
    harness::{Contender, Workload},
    inner::Inner,
    traffic::Good,
};

const UPSTREAMS: usize = 10;
const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn all() -> Vec<Workload> {
    vec![Workload {
        name: "full stack over 10 upstreams",
        contenders: vec![
            Contender::bare("inner").both(Good, || Inner),
            Contender::peer("governor > recloser > tower Retry > Timeout > router")
                .both(Good, hand_built),
            Contender::peer("tower: RateLimit > Retry > Timeout > p2c, no breaker")
                .alone(Good, || RateLimit::new(tower(), Rate::new(u64::from(PLENTY), SECOND)))
                .together(Good, || {
                    Buffer::new(
                        RateLimit::new(tower(), Rate::new(u64::from(PLENTY), SECOND)),
                        1_024,
                    )
                }),
            Contender::peer("tower-resilience: limit > breaker > retry > time > router")
                .both(Good, resilience),
            Contender::ours("tower-upstream: limit > failover > balance > breaker")
                .both(Good, ours),
        ],
    }]
}

fn ours() -> impl Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + 'static
{
    let hosts = (0..UPSTREAMS).map(|n| format!("http://10.0.0.{n}:80"));
    ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(PLENTY)))
        .layer(
            FailoverLayer::new(Attempts::up_to(3).with_timeout(TIMEOUT))
                .with_replay(|request: &u64| Some(*request)),
        )
        .layer(BalanceLayer::new(discover::fixed(hosts).expect("addresses"), LeastRequest::new()))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .service(connect_fn(|_: &Endpoint| Inner))
}

fn hand_built()
-> impl Service<u64, Response = u64, Error: Send, Future: Send> + Clone + Send + 'static {
    let router = Timeout::new(router(), TIMEOUT);
    let circuit = recloser::Recloser::custom().error_rate(0.5).closed_len(100).build();
    Governor::new(Recloser::new(Retry::new(with_budget(), router), circuit), governor_plenty())
}

/// The only way to share tower's balancer is a buffer; what is shared above it needs another one.
fn tower() -> impl Service<u64, Response = u64, Error = BoxError, Future: Send> + Send + 'static {
    let members = (0..UPSTREAMS)
        .map(|_| PendingRequests::new(Inner, CompleteOnResponse::default()))
        .collect::<Vec<_>>();
    let balance = Balance::new(ServiceList::new(members));
    Retry::new(with_budget(), Timeout::new(Buffer::new(balance, 1_024), TIMEOUT))
}

fn resilience()
-> impl Service<u64, Response = u64, Error: Send, Future: Send> + Clone + Send + 'static {
    let time = TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build().layer(router());
    let budget = RetryBudgetBuilder::new().aimd().build().expect("a budget");
    let retry = RetryLayer::builder().max_attempts(3).budget(budget).build().layer(time);
    let breaker = ResilienceBreakerLayer::builder().build().expect("a layer").layer(retry);
    let limit = RateLimiterLayer::builder()
        .limit_for_period(PLENTY as usize)
        .refresh_period(SECOND)
        .build();
    limit.expect("a layer").layer(breaker)
}

fn router() -> WeightedRouter<Inner> {
    let routes = WeightedRouter::builder().random();
    (0..UPSTREAMS).fold(routes, |routes, _| routes.route(Inner, 1)).build()
}
