//! A pipeline of one's own: a hand-written layer, and layers of tower, in both places of a stack.
//!
//! ```text
//! cargo run --example custom_pipeline
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn,
    timeout::TimeoutLayer,
};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, PeakEwma, Reply, connect::EachLayer, connect_fn, discover,
};

/// A layer of one's own: counts the calls that pass it.
#[derive(Debug, Clone, Default)]
struct CountLayer {
    calls: Arc<AtomicU32>,
}

#[derive(Debug, Clone)]
struct Count<S> {
    inner: S,
    calls: Arc<AtomicU32>,
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, calls: self.calls.clone() }
    }
}

impl<S: Service<Req>, Req> Service<Req> for Count<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

/// Pretends to be a client for an endpoint. One of the three never answers.
async fn greet(host: String, call: Call<&'static str>) -> Result<Reply<String>, BoxError> {
    if host == "stuck" {
        std::future::pending::<()>().await;
    }
    Ok(Reply::new(format!("hello {}, says {host}", call.body())))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (asked, attempted) = (CountLayer::default(), CountLayer::default());
    let endpoints = discover::fixed(["stuck:1", "north:1", "south:1"])?;

    let service = ServiceBuilder::new()
        // Above the balancer: once for the whole upstream.
        .layer(asked.clone())
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(ConcurrencyLimitLayer::new(64))
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(endpoints, PeakEwma::default()))
        // Below it: once for each endpoint. Layers of this crate stand there as they are.
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        // Those of others, and one's own, in an `EachLayer`.
        .layer(EachLayer::new(attempted.clone()))
        .layer(EachLayer::new(TimeoutLayer::new(Duration::from_millis(50))))
        .layer(EachLayer::new(ConcurrencyLimitLayer::new(8)))
        .service(connect_fn(|endpoint: &Endpoint| {
            let host = endpoint.address().host().to_owned();
            service_fn(move |call| greet(host.clone(), call))
        }));

    for _ in 0..20 {
        let reply = service.clone().oneshot(Call::new("you").idempotent()).await;
        // Tower's timeout boxes its errors; one of ours comes out as it went in.
        let reply = reply.map_err(Error::from_service)?;
        println!("{}", reply.body());
    }
    let (asked, attempted) = (&asked.calls, &attempted.calls);
    println!(
        "{} calls, {} attempts: a stuck endpoint costs a timeout until its breaker opens",
        asked.load(Ordering::Relaxed),
        attempted.load(Ordering::Relaxed)
    );
    Ok(())
}
