//! A server of tonic that announces itself: when it listens, with its health, and until it stops.
//!
//! ```text
//! cargo run --features grpc --example announce_tonic
//! ```
//! The registry is in memory, so that the example needs nothing else; any other `Registrar` takes its place.

use std::time::Duration;

use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{sleep, timeout},
};
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
    BalanceLayer, BoxError, Endpoint, LeastRequest, connect_fn,
    discover::{MemoryRegistry, Registrar, Registry},
    endpoint::Status,
    grpc::{BodyLayer, StatusLayer},
};

/// How long clients take to notice that a server drains: what their registry needs.
const NOTICE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until `stop` tells it to end, or is dropped.
async fn serve<R: Registrar>(
    registry: Registry<R>,
    stop: oneshot::Receiver<()>,
) -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::new(format!("http://{}", listener.local_addr()?))?.with_key("tax-1");
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("tax", ServingStatus::Serving).await;
    let (ends, ended) = oneshot::channel::<()>();
    let serving = Server::builder().add_service(health).serve_with_incoming_shutdown(
        TcpIncoming::from(listener),
        async {
            let _ = ended.await;
        },
    );
    let serving = tokio::spawn(serving);
    // What was bound is accepted from, so callers may come.
    let announced = registry.register("tax", endpoint.with_status(Status::Passing))?;
    let _ = stop.await;
    announced.drain();
    // A registry that does not answer does not keep a server from stopping.
    let _ = announced.registered(PATIENCE).await;
    sleep(NOTICE).await;
    drop(ends);
    timeout(PATIENCE, serving).await???;
    announced.deregister(PATIENCE).await?;
    Ok(())
}

fn channel(server: &Endpoint) -> Channel {
    let address = server.address().as_str().to_owned();
    // The address was checked when the endpoint was made.
    #[allow(clippy::expect_used)]
    Channel::from_shared(address).expect("a URL").connect_lazy()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let backend = MemoryRegistry::new();
    let registry = Registry::new(backend.clone());
    let stack = ServiceBuilder::new()
        .layer(StatusLayer::new())
        .layer(BalanceLayer::new(backend.service("tax"), LeastRequest::new()))
        .layer(BodyLayer::new())
        .service(connect_fn(channel));
    let mut client = HealthClient::new(stack);

    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(registry, stopped));
    while backend.get("tax-1").is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    println!("announced: {:?}", backend.services());
    let asked = Request::new(HealthCheckRequest { service: "tax".into() });
    println!("serving: {}", client.check(asked).await?.into_inner().status == 1);

    drop(stop);
    while backend.get("tax-1").is_some_and(|tax| !tax.endpoint().is_draining()) {
        sleep(Duration::from_millis(1)).await;
    }
    println!("draining");
    server.await??;
    println!("left: {:?}", backend.services());
    Ok(())
}
