//! The stack: read it downwards, that is the way of a call.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tower::{Service, ServiceBuilder};
use tower_upstream::{
    Call, Error, HttpCheck, Quota, Reply,
    balance::{BalanceHandle, BalanceLayer, PeakEwma},
    breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    discover::Memory,
    failover::{Attempts, FailoverLayer},
    health::{HealthConfig, HealthGateLayer},
    limit::RateLimitLayer,
    transport::HttpTransport,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaxRequest {
    pub(crate) net: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaxReply {
    pub(crate) gross: u64,
}

/// What a `tower::Service` of ours looks like to its callers.
pub(crate) trait Plugins:
    Service<
        Call<TaxRequest>,
        Response = Reply<TaxReply>,
        Error = Error,
        Future: Future<Output = Result<Reply<TaxReply>, Error>> + Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Plugins for S where
    S: Service<
            Call<TaxRequest>,
            Response = Reply<TaxReply>,
            Error = Error,
            Future: Future<Output = Result<Reply<TaxReply>, Error>> + Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

pub(crate) struct Stack<S> {
    pub(crate) plugins: S,
    /// For the table: who is there, and what bars them.
    pub(crate) members: BalanceHandle,
    pub(crate) breakers: CircuitBreakerLayer,
}

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
