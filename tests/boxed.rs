//! What a boxed upstream promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, io, sync::atomic::Ordering::SeqCst};

use support::{Answer, Ask, Farm, Inner, Probe, Readiness, ms, seen, settle};
use tokio::time::sleep;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest,
    balance::RoundRobin,
    boxed::{BoxUpstream, BoxUpstreamFuture, BoxUpstreamLayer},
    connect::{EachLayer, connect_fn},
    discover,
    error::Kind,
};

#[tokio::test(start_paused = true)]
async fn answers_are_the_services_and_errors_ours() {
    let inner = Inner::new("a:1");
    let upstream = BoxUpstream::new(inner.service());
    let answer = upstream.clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(answer, "a:1");
    inner.answers(Answer::Fails);
    let error = upstream.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false));
    // One of ours passes as it is, and so does one of another box.
    let breaker = CircuitBreakerLayer::default();
    breaker.handle().force_open();
    let refuses = BoxUpstream::new(BoxUpstream::new(breaker.layer(inner.service())));
    assert!(refuses.oneshot(Ask::new(1)).await.unwrap_err().is_refused());
    // Another's is inside.
    let other = BoxUpstream::new(service_fn(async |_: ()| Err::<(), _>(io::Error::other("no"))));
    let error = other.oneshot(()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.downcast_ref::<io::Error>().is_some());
}

#[tokio::test(start_paused = true)]
async fn stacks_of_different_types_are_one() {
    let inner = Inner::new("a:1");
    let farm = Farm::default();
    let endpoints = discover::fixed(["b:1", "c:1"]).unwrap();
    let balanced = ServiceBuilder::new()
        .layer(BoxUpstream::layer())
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
        .service(farm.clone());
    let upstreams: BTreeMap<_, BoxUpstream<Ask, String>> =
        BTreeMap::from([("one", BoxUpstream::new(inner.service())), ("many", balanced)]);
    let send = async |name| upstreams[name].clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(send("one").await, "a:1");
    assert_ne!(send("many").await, "a:1");
    // Failover works in the box.
    farm.get("b:1").answers(Answer::Fails);
    for _ in 0..4 {
        assert_eq!(send("many").await, "c:1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_asks_for_readiness_itself_and_what_is_dropped_is_given_back() {
    let inner = Inner::new("a:1");
    let mut upstream = BoxUpstream::new(inner.service());
    upstream.ready().await.unwrap();
    upstream.clone().ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    upstream.call(Ask::new(1)).await.unwrap();
    inner.is(Readiness::Pending);
    let waits = tokio::spawn(upstream.clone().oneshot(Ask::new(1)));
    sleep(ms(10)).await;
    assert!(!waits.is_finished());
    inner.is(Readiness::Ready);
    waits.await.unwrap().unwrap();
    inner.answers(Answer::Never);
    let mut call = task::spawn(upstream.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(call.poll());
    drop(call);
    drop(upstream.ready().await.unwrap().call(Ask::new(1)));
    upstream.ready().await.unwrap();
    drop(upstream);
    assert_eq!((inner.running(), inner.readied(), inner.services.load(SeqCst)), (0, 0, 0));
    assert_eq!(inner.violations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_endpoints_may_have_clients_of_different_types() {
    let farm = Farm::default();
    let clients = farm.clone();
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(breaker.clone())
        .service(connect_fn(move |endpoint: &Endpoint| match endpoint.key() {
            "a:1" => BoxUpstream::new(clients.get("a:1").service()),
            _ => BoxUpstream::new(service_fn(async |_: Ask| Ok::<_, BoxError>("closure".into()))),
        }));
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..10 {
        assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "closure");
    }
    assert_eq!(seen(&breaker.handle_for("a:1").unwrap()).failed, 3);
    farm.get("a:1").is(Readiness::Dead);
    settle().await;
    service.oneshot(Ask::new(1)).await.unwrap();
}

#[test]
fn it_names_what_is_inside_and_is_shared() {
    fn shareable<T: std::fmt::Debug + Clone + Send + Sync + 'static>(it: &T) -> String {
        format!("{it:?}")
    }
    let mut upstream = BoxUpstream::new(Inner::new("a:1").service());
    assert!(shareable(&upstream).contains("Probe"), "{upstream:?}");
    let layer: BoxUpstreamLayer<Ask, String> = BoxUpstream::layer();
    shareable(&layer);
    let _ready = Service::<Ask>::poll_ready(
        &mut upstream,
        &mut std::task::Context::from_waker(std::task::Waker::noop()),
    );
    let call: BoxUpstreamFuture<String> = upstream.call(Ask::new(1));
    fn sendable(_: &(impl Future + Send + std::fmt::Debug)) {}
    sendable(&call);
    let _: Probe = Inner::new("a:1").service();
}

#[cfg(feature = "http")]
mod unsent {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper_util::{client::legacy, rt::TokioExecutor};
    use tower_upstream::{connect::Connect, dial::TcpConnector};

    use super::*;

    type Client = legacy::Client<TcpConnector, Full<Bytes>>;
    type Upstream = BoxUpstream<Request<Full<Bytes>>, Response<Incoming>>;

    fn client() -> Client {
        legacy::Client::builder(TokioExecutor::new()).build(TcpConnector::new())
    }

    /// Makes two requests for each call, so that an error of it may be that of the second.
    async fn twice(request: Request<Full<Bytes>>) -> Result<Response<Incoming>, legacy::Error> {
        let _ = client().request(request.clone()).await;
        client().request(request).await
    }

    /// What is said of a call to an endpoint that refuses connections.
    async fn is_unsent<C>(connector: C) -> bool
    where
        C: Connect<Service = Upstream> + Send + Sync + 'static,
    {
        let endpoints = discover::fixed(["http://127.0.0.1:9"]).unwrap();
        let balance = BalanceLayer::new(endpoints, LeastRequest::new()).layer(connector);
        refused(balance).await.is_unsent()
    }

    async fn refused<S>(service: S) -> Error
    where
        S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error = Error>,
    {
        let request = Request::post("http://127.0.0.1:9/").body(Full::default()).unwrap();
        let error = service.oneshot(request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connection, "{error:?}");
        error
    }

    #[tokio::test]
    async fn a_balancer_knows_what_the_client_in_a_box_never_sent() {
        assert!(is_unsent(connect_fn(|_: &Endpoint| BoxUpstream::new(client()))).await);
        let boxes = EachLayer::new(BoxUpstream::layer());
        assert!(is_unsent(boxes.layer(connect_fn(|_: &Endpoint| client()))).await);
        let again = connect_fn(|_: &Endpoint| BoxUpstream::new(BoxUpstream::new(client())));
        assert!(is_unsent(again).await);
    }

    #[tokio::test]
    async fn of_any_other_service_in_a_box_nothing_is_believed() {
        assert!(!is_unsent(connect_fn(|_: &Endpoint| BoxUpstream::new(service_fn(twice)))).await);
        let boxes = EachLayer::new(BoxUpstream::layer());
        assert!(!is_unsent(boxes.layer(connect_fn(|_: &Endpoint| service_fn(twice)))).await);
        // Nor of a client that is no endpoint's.
        assert!(!refused(BoxUpstream::new(client())).await.is_unsent());
    }
}
