//! The stack among its neighbours: tonic, axum, hyper and tower take it as it is.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, error_handling::HandleErrorLayer, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, HealthGateLayer, LeastRequest, Quota, RateLimitLayer, Reply, connect_fn,
    discover,
    error::Kind,
    health::{Verdict, check_fn},
    http::{HttpClassify, Idempotent, OriginLayer, ReplayBody, ReplayBodyLayer, TrackLayer},
};

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::default())
}

fn is_service<S, Req>(service: S) -> S
where
    S: Service<Req> + Clone + Send + Sync + std::fmt::Debug,
    S::Future: Send,
{
    service
}

/// A server of `router` on a free port, and its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn a_generated_tonic_client_over_the_whole_stack_of_lazy_channels() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("tax", tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming),
    );

    // The other endpoint refuses connections: what is unsent goes elsewhere.
    let endpoints = discover::fixed([address.as_str(), "http://127.0.0.1:9"]).unwrap();
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(1_000)))
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(endpoints, LeastRequest::default()))
        .layer(HealthGateLayer::new(check_fn(|_| async { Verdict::Healthy })))
        .layer(breaker())
        .layer(TrackLayer::new())
        .service(connect_fn(|endpoint: &Endpoint| {
            let uri: http::Uri = endpoint.address().as_str().parse().unwrap();
            tonic::transport::Channel::builder(uri)
                .connect_timeout(Duration::from_secs(2))
                .connect_lazy()
        }));

    let mut client = HealthClient::new(is_service::<_, http::Request<tonic::body::Body>>(stack));
    let mut served = 0;
    for _ in 0..20 {
        let request = HealthCheckRequest { service: "tax".into() };
        served += u32::from(client.check(request).await.is_ok());
    }
    // A streaming body is not copied, so the first calls to the dead endpoint fail; then its
    // breaker opens.
    assert!(served >= 10, "{served}");
}

#[tokio::test]
async fn calls_of_a_generated_tonic_client_go_elsewhere_with_their_bodies() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("tax", tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming),
    );
    let endpoints = discover::fixed([address.as_str(), "http://127.0.0.1:9"]).unwrap();
    let stack = ServiceBuilder::new()
        .layer(ReplayBodyLayer::new())
        .map_request(|mut request: http::Request<ReplayBody>| {
            request.extensions_mut().insert(Idempotent);
            request
        })
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(endpoints, tower_upstream::balance::RoundRobin::starting_at(0)))
        .service(connect_fn(|endpoint: &Endpoint| {
            let uri: http::Uri = endpoint.address().as_str().parse().unwrap();
            ServiceBuilder::new()
                .map_request(|request: http::Request<ReplayBody>| {
                    request.map(tonic::body::Body::new)
                })
                .service(tonic::transport::Channel::builder(uri).connect_lazy())
        }));
    let mut client = HealthClient::new(stack);
    for _ in 0..10 {
        let request = HealthCheckRequest { service: "tax".into() };
        client.check(request).await.unwrap();
    }
}

#[tokio::test]
async fn an_axum_router_takes_our_layers_behind_its_error_handler() {
    let limit = RateLimitLayer::new(Quota::per_minute(60).burst(2));
    let errors = HandleErrorLayer::new(|error: Error| async move { error.into_response::<Body>() });
    let router: Router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(ServiceBuilder::new().layer(errors).layer(limit.clone()).layer(breaker()));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let waits = response.headers().contains_key(http::header::RETRY_AFTER);
        statuses.push((response.status().as_u16(), waits));
    }
    assert_eq!(statuses, [(200, false), (200, false), (429, true)]);
}

#[tokio::test]
async fn a_layer_value_is_one_policy_however_often_axum_applies_it() {
    let limit = RateLimitLayer::new(Quota::per_minute(60).burst(1));
    let handled = || {
        let errors =
            HandleErrorLayer::new(|error: Error| async move { error.into_response::<Body>() });
        ServiceBuilder::new().layer(errors).layer(limit.clone())
    };
    let router: Router = Router::new()
        .route("/a", get(|| async { "a" }).layer(handled()))
        .route("/b", get(|| async { "b" }).layer(handled()));
    let status = |path: &str| {
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request);
        async move { response.await.unwrap().status().as_u16() }
    };
    assert_eq!((status("/a").await, status("/b").await), (200, 429));
}

#[tokio::test]
async fn hyper_serves_a_stack() {
    let stack = ServiceBuilder::new().layer(breaker()).service(service_fn(
        |_: http::Request<hyper::body::Incoming>| async {
            Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from_static(b"hello"))))
        },
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(stack);
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(TokioIo::new(stream), service).await
    });
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(format!("http://{address}/").parse().unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn any_http_client_is_a_transport_below_an_origin_layer() {
    let who =
        |name: &'static str| Router::new().route("/api/who", get(move || async move { name }));
    let endpoints =
        [format!("{}/api/", serve(who("one")).await), format!("{}/api/", serve(who("two")).await)];
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(
            discover::fixed(endpoints).unwrap(),
            tower_upstream::balance::RoundRobin::starting_at(0),
        ))
        .layer(breaker().with_classify(HttpClassify))
        .layer(TrackLayer::new())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let mut names = Vec::new();
    for _ in 0..2 {
        let request = http::Request::get("/who").body(Full::default()).unwrap();
        let response = stack.clone().oneshot(request).await.unwrap();
        names.push(response.into_body().collect().await.unwrap().to_bytes());
    }
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn a_stack_fits_into_a_box() {
    let endpoints = discover::fixed(["a:1"]).unwrap();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(endpoints, LeastRequest::default()))
        .layer(breaker())
        .service(connect_fn(|_: &Endpoint| {
            service_fn(|call: Call<u32>| async move { Ok::<_, BoxError>(Reply::new(*call.body())) })
        }));
    let boxed: BoxCloneSyncService<Call<u32>, Reply<u32>, Error> = BoxCloneSyncService::new(stack);
    assert_eq!(boxed.oneshot(Call::new(7)).await.unwrap().into_body(), 7);
}

#[tokio::test]
async fn tower_passes_our_error_on_in_its_box() {
    let layer = breaker();
    layer.handle().force_open();
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(1))
        .layer(layer)
        .service(service_fn(|(): ()| async { Ok::<_, BoxError>(()) }));
    let error = Error::from_service(stack.oneshot(()).await.unwrap_err());
    assert_eq!((error.kind(), error.is_refused()), (Kind::CircuitOpen, true));
}
