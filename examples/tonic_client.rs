//! A generated client of tonic over two servers, of which one is down.
//!
//! `cargo run --features http,grpc --example tonic_client`

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerLayer, ConcurrencyLimitLayer, Endpoint,
    FailoverLayer, LeastRequest, connect_fn, discover,
    http::{AnswerLayer, HttpClassify, Idempotent, ReplayBody, ReplayBodyLayer, TrackLayer},
};

/// A server with a limit, whose refusals are `RESOURCE_EXHAUSTED`.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("tax", tonic_health::ServingStatus::Serving).await;
    let guards = ServiceBuilder::new()
        .layer(AnswerLayer::new())
        .layer(ConcurrencyLimitLayer::new(64).until_body_end())
        .into_inner();
    let server = Server::builder().layer(guards).add_service(health);
    Ok(server.serve_with_incoming(TcpIncoming::from(listener)).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (up, down) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let endpoints =
        [&up, &down].map(|listener| listener.local_addr().map(|at| format!("http://{at}")));
    let [Ok(one), Ok(two)] = endpoints else { return Err("no address".into()) };
    drop(down);
    tokio::spawn(serve(up));

    let stack = ServiceBuilder::new()
        // Every gRPC call is a POST: say which may be sent again.
        .map_request(|mut request: http::Request<tonic::body::Body>| {
            if request.uri().path().ends_with("/Check") {
                request.extensions_mut().insert(Idempotent);
            }
            request
        })
        .layer(ReplayBodyLayer::new())
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(discover::fixed([one, two])?, LeastRequest::new()))
        .layer(TrackLayer::new())
        .layer(CircuitBreakerLayer::default().until_body_end(HttpClassify))
        .service(connect_fn(|endpoint: &Endpoint| {
            let uri = endpoint.address().as_str().parse().unwrap_or_default();
            let timeout = Duration::from_secs(2);
            ServiceBuilder::new()
                .map_request(|request: http::Request<ReplayBody>| {
                    request.map(tonic::body::Body::new)
                })
                .service(Channel::builder(uri).connect_timeout(timeout).connect_lazy())
        }));

    let mut client = HealthClient::new(stack);
    for number in 1..=20 {
        let request = HealthCheckRequest { service: "tax".into() };
        let status = client.check(request).await?.into_inner().status();
        println!("{number}: {status:?}");
    }
    Ok(())
}
