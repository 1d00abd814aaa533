//! The stack: read it downwards, that is the way of a call.

use std::time::Duration;

use tower::ServiceBuilder;
use tower_upstream::{
    HttpCheck, Quota,
    balance::{BalanceLayer, PeakEwma},
    breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    discover::Memory,
    failover::{Attempts, FailoverLayer},
    health::{HealthConfig, HealthGateLayer},
    limit::RateLimitLayer,
    transport::HttpTransport,
};

use crate::tax::{Plugins, Stack, TaxReply, TaxRequest};

pub(crate) fn build(endpoints: Memory) -> Stack<impl Plugins> {
    let breakers = CircuitBreakerLayer::new(
        CircuitBreakerConfig::default().with_open_for(Duration::from_secs(2)),
    );
    let health = HealthConfig::default()
        .with_interval(Duration::from_secs(1))
        .with_interval_unhealthy(Duration::from_millis(500));

    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, PeakEwma::default())) // chooses one
        .layer(HealthGateLayer::with_config(HttpCheck::get("/health"), health)) // a gate for each
        .layer(breakers.clone()) // and a breaker for each
        .service(HttpTransport::<TaxRequest, TaxReply>::new());

    let members = balance.handle();
    let plugins = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(10_000).burst(2_000))) // one quota for all
        .layer(FailoverLayer::new(Attempts::up_to(3))) // another endpoint, while there is one
        .service(balance);
    Stack { plugins, members, breakers }
}
