//! A generated client of tonic over several servers, of which one is killed under load; and one of the
//! servers behind a limit.
//!
//! ```text
//! cargo run --features grpc --example tonic_client
//! ```
//! `HealthClient` stands for any generated client. It prints what became of the calls: none fails.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::{runtime::Runtime, time::sleep};
use tonic::{
    Request,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    FailoverLayer, LeastRequest, Quota, RateLimitLayer, connect_fn, discover,
    grpc::{BodyLayer, DeadlineLayer, GrpcClassify, StatusLayer},
    http::{Idempotent, ReplayBodyLayer},
};

static DONE: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// A server with a runtime of its own: that ends as a killed process does, in the middle of its calls.
fn serve(address: SocketAddr, quota: Quota) -> Result<(Runtime, SocketAddr), BoxError> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(async move {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("tax", ServingStatus::Serving).await;
        Server::builder()
            .layer(StatusLayer::new())
            .layer(RateLimitLayer::new(quota))
            .add_service(health)
            .serve_with_incoming(incoming)
            .await?;
        Ok::<_, BoxError>(())
    });
    Ok((runtime, address))
}

fn channel(server: &Endpoint) -> Channel {
    let address = server.address().as_str().to_owned();
    // The address was checked when the endpoint was made.
    #[allow(clippy::expect_used)]
    Channel::from_shared(address).expect("a URL").connect_lazy()
}

fn request() -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest { service: "tax".into() });
    request.set_timeout(Duration::from_secs(5));
    // It only asks, so it may be sent again after an attempt that may have arrived.
    request.extensions_mut().insert(Idempotent);
    request
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let plenty = Quota::per_second(1_000_000);
    let (first, address) = serve(free, plenty)?;
    let (second, other) = serve(free, plenty)?;
    let servers = discover::fixed([format!("http://{address}"), format!("http://{other}")])?;

    let breaker = CircuitBreakerConfig::default().with_open_for(Duration::from_millis(200));
    let stack = ServiceBuilder::new()
        .layer(StatusLayer::new()) // the client gets statuses,
        .layer(DeadlineLayer::new()) // and its timeout is one for all attempts
        .layer(ReplayBodyLayer::new()) // messages are kept, to be sent again
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(GrpcClassify))
        .layer(BalanceLayer::new(servers, LeastRequest::default()))
        .layer(CircuitBreakerLayer::new(breaker).until_body_end(GrpcClassify))
        .layer(DeadlineLayer::new()) // each server is told what is left
        .layer(BodyLayer::new())
        .service(connect_fn(channel));
    let client = HealthClient::new(stack);

    let load = (0..8).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            while !STOP.load(SeqCst) {
                if let Err(status) = client.check(request()).await {
                    println!("{status:?}");
                    FAILED.fetch_add(1, SeqCst);
                }
                DONE.fetch_add(1, SeqCst);
            }
        })
    });
    let load: Vec<_> = load.collect();
    more(500).await;
    println!("a server is killed");
    first.shutdown_background();
    more(500).await;
    let (first, _) = serve(address, plenty)?;
    println!("it is back");
    more(500).await;
    STOP.store(true, SeqCst);
    for worker in load {
        worker.await?;
    }
    println!("calls: {}, failed: {}", DONE.load(SeqCst), FAILED.load(SeqCst));

    // One that takes one call in a minute, and says so.
    let (limited, address) = serve(free, Quota::per_minute(1).burst(1))?;
    let address = format!("http://{address}");
    let mut client = HealthClient::new(Channel::from_shared(address)?.connect_lazy());
    client.check(request()).await?;
    if let Err(status) = client.check(request()).await {
        let wait = status.metadata().get("grpc-retry-pushback-ms");
        println!("{:?}: {}; come back: {}", status.code(), status.message(), wait.is_some());
    }
    for runtime in [first, second, limited] {
        runtime.shutdown_background();
    }
    Ok(())
}

/// Waits until so many more calls are done.
async fn more(calls: u64) {
    let until = DONE.load(SeqCst) + calls;
    while DONE.load(SeqCst) < until {
        sleep(Duration::from_millis(1)).await;
    }
}
