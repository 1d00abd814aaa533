//! What a caller did is not held against the endpoint, and what was never sent is known exactly.
#![cfg(all(feature = "http", feature = "tower", feature = "grpc", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    convert::Infallible,
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use support::seen;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, load_shed::LoadShedLayer, service_fn,
    timeout::TimeoutLayer,
};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Classify,
    Endpoint, Error, FailoverLayer, LeastRequest, Outcome,
    balance::BalanceHandle,
    breaker::{CircuitHandle, CircuitState},
    budget::Budget,
    connect::{Connect, EachLayer},
    connect_fn, discover,
    error::Kind,
    http::{HttpClassify, OriginLayer},
};

type Body = BoxBody<Bytes, BoxError>;

fn full(bytes: &'static str) -> Body {
    Full::new(Bytes::from_static(bytes.as_bytes())).map_err(|never| match never {}).boxed()
}

/// Some bytes, and then an error.
fn broken() -> Body {
    let frames: [Result<Frame<Bytes>, BoxError>; 2] =
        [Ok(Frame::data(Bytes::from_static(b"half"))), Err("the upload was aborted".into())];
    BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
}

fn too_long() -> Body {
    let frames = (0..8).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from_static(&[b'x'; 1_000]))));
    let body = StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()));
    BodyExt::boxed(Limited::new(body, 2_000))
}

/// An endpoint that reads what it gets and answers 200, over HTTP/1.1 and HTTP/2.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |request: Request<Incoming>| {
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            tokio::spawn(async move {
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                    .await
            });
        }
    });
    address
}

/// An address that nothing listens at.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn client(http2: bool) -> Client<HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

fn post(uri: impl AsRef<str>, body: Body) -> Request<Body> {
    Request::post(uri.as_ref()).body(body).unwrap()
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(5))
}

/// The one member of a set, which must have been called.
fn assert_blameless(set: &BalanceHandle, circuit: &CircuitHandle) {
    let member = &set.members()[0];
    assert_eq!((member.failures(), member.in_flight(), member.latency()), (0, 0, None));
    let stats = seen(circuit);
    assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 0), "{stats:?}");
}

#[tokio::test]
async fn uploads_that_fail_open_no_circuit_and_are_not_sent_elsewhere() {
    let address = server().await;
    for http2 in [false, true] {
        for body in [broken, too_long] {
            let client = client(http2);
            let circuits = breaker();
            let key = format!("http://{address}");
            let set = ServiceBuilder::new()
                .layer(BalanceLayer::new(discover::fixed([&key]).unwrap(), LeastRequest::new()))
                .layer(circuits.clone())
                .layer(OriginLayer::new())
                .service(connect_fn(move |_: &Endpoint| client.clone()));
            let budget = Budget::default();
            let (before, handle) = (budget.clone(), set.handle());
            let stack = FailoverLayer::new(Attempts::up_to(3)).with_budget(budget).layer(set);
            for _ in 0..6 {
                let mut request = post("/upload", body());
                request.extensions_mut().insert(tower_upstream::http::Idempotent);
                let error = stack.clone().oneshot(request).await.unwrap_err();
                assert_eq!(error.kind(), Kind::InvalidRequest, "{error:?}");
                assert_eq!(error.endpoint(), Some(&*key));
                assert!(error.attempts() <= 1, "{error}");
                assert_eq!(error.into_response::<String>().status(), StatusCode::BAD_REQUEST);
            }
            assert_blameless(&handle, &circuits.handle_for(&key).unwrap());
            assert_eq!(format!("{before:?}"), format!("{:?}", Budget::default()));
            // Everybody else is served.
            let response = stack.oneshot(post("/", full("all of it"))).await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
}

#[tokio::test]
async fn without_origin_the_rule_for_http_knows_a_callers_fault_too() {
    let address = server().await;
    let client = client(false);
    let send = |body| client.request(post(format!("http://{address}/"), body));
    for body in [broken(), too_long()] {
        let error = send(body).await.unwrap_err();
        assert_eq!(HttpClassify.classify(Err::<&Response<()>, _>(&error)), Outcome::Ignored);
        let boxed: BoxError = error.into();
        assert_eq!(HttpClassify.classify(Err::<&Response<()>, _>(&boxed)), Outcome::Ignored);
    }
    let down = refusing().await;
    let error = client.request(post(format!("http://{down}/"), full(""))).await.unwrap_err();
    assert_eq!(HttpClassify.classify(Err::<&Response<()>, _>(&error)), Outcome::Failure);
    // And over a breaker alone.
    let circuit = breaker();
    let guarded = circuit.clone().with_classify(HttpClassify).layer(client.clone());
    for _ in 0..6 {
        let request = post(format!("http://{address}/"), broken());
        let error = guarded.clone().oneshot(request).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest);
    }
    assert_eq!(circuit.handle().state(), CircuitState::Closed);
}

#[tokio::test]
async fn misuse_of_a_client_is_a_config_that_cannot_work_and_unsent() {
    let client = client(false);
    let circuit = breaker();
    let guarded = circuit.layer(client);
    let relative = || post("/no-host", full(""));
    let version = || {
        let mut request = post("http://127.0.0.1:1/", full(""));
        *request.version_mut() = http::Version::HTTP_09;
        request
    };
    let connect = || {
        let mut request = Request::connect("127.0.0.1:1").body(full("")).unwrap();
        *request.version_mut() = http::Version::HTTP_10;
        request
    };
    for request in [relative(), version(), connect(), relative(), version(), connect()] {
        let error = guarded.clone().oneshot(request).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error:?}");
    }
    assert_eq!(circuit.handle().state(), CircuitState::Closed);
}

#[tokio::test]
async fn towers_overloaded_is_a_refusal_and_its_elapsed_a_timeout() {
    #[derive(Clone)]
    struct Busy;
    impl Service<()> for Busy {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Pending
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("never ready")
        }
    }
    let circuit = breaker();
    let shed =
        ServiceBuilder::new().layer(circuit.clone()).layer(LoadShedLayer::new()).service(Busy);
    for _ in 0..6 {
        let error = shed.clone().oneshot(()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_refused()), (Kind::Overloaded, true), "{error:?}");
        assert!(error.source().unwrap().is::<tower::load_shed::error::Overloaded>());
    }
    assert_eq!(seen(&circuit.handle()).failed, 0);

    let late = ServiceBuilder::new()
        .layer(circuit.clone())
        .layer(TimeoutLayer::new(Duration::from_millis(1)))
        .service(service_fn(|()| std::future::pending::<Result<(), BoxError>>()));
    for _ in 0..5 {
        let error = late.clone().oneshot(()).await.unwrap_err();
        assert!(error.is_timeout() && !error.is_unsent(), "{error:?}");
    }
    assert_eq!(circuit.handle().state(), CircuitState::Open, "an attempt that timed out");

    // Below a balancer, an overload of one endpoint goes to another, for free.
    let stack = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(2))
                .with_budget(Budget::none())
                .with_replay(|(): &()| Some(())),
        )
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .layer(EachLayer::new(LoadShedLayer::new()))
        .service(connect_fn(|endpoint: &Endpoint| {
            if endpoint.key() == "a:1" {
                tower::util::Either::Left(Busy)
            } else {
                tower::util::Either::Right(service_fn(async |()| Ok::<_, BoxError>(())))
            }
        }));
    for _ in 0..20 {
        stack.clone().oneshot(()).await.unwrap();
    }
}

// Unsent.

/// What the error of a call to the only endpoint at `address` is, which `connector` reaches.
async fn error_of<C>(address: SocketAddr, connector: C) -> Error
where
    C: Connect + Send + Sync + 'static,
    C::Service: Service<Request<Body>, Error: Into<BoxError> + 'static> + Clone + Send + Sync,
{
    let guarded = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([address]).unwrap(), LeastRequest::new()))
        .layer(breaker())
        .service(connector);
    guarded.oneshot(post(format!("http://{address}/"), full("x"))).await.err().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_unsent_over_any_client_whose_errors_are_known() {
    let down = refusing().await;
    // hyper-util's client, plain and behind tower's timeout.
    let plain = error_of(down, connect_fn(|_: &Endpoint| client(false))).await;
    let boxed = EachLayer::new(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(connect_fn(|_: &Endpoint| client(true)));
    let boxed = error_of(down, boxed).await;
    for error in [plain, boxed] {
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error:?}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
    // tonic's channel.
    let channel = |endpoint: &Endpoint| {
        let address = format!("http://{}", endpoint.address());
        tonic::transport::Endpoint::from_shared(address).unwrap().connect_lazy()
    };
    let guarded = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([down]).unwrap(), LeastRequest::new()))
        .layer(breaker())
        .service(connect_fn(channel));
    for _ in 0..2 {
        let request =
            Request::post(format!("http://{down}/a.B/C")).body(tonic::body::Body::empty()).unwrap();
        let error = guarded.clone().oneshot(request).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_not_idempotent_goes_elsewhere_only_from_a_refused_connection() {
    let (up, down) = (server().await, refusing().await);
    let keys = [format!("http://{up}"), format!("http://{down}")];
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)).with_budget(Budget::unlimited()).with_replay(
            |request: &Request<Body>| {
                Some(post(request.uri().to_string(), full("again")))
                    .filter(|_| request.method() == http::Method::POST)
            },
        ))
        .layer(BalanceLayer::new(discover::fixed(&keys).unwrap(), LeastRequest::new()))
        .layer(OriginLayer::new())
        .service(connect_fn(|_: &Endpoint| client(false)));
    for _ in 0..20 {
        let response = stack.clone().oneshot(post("/", full("once"))).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn an_io_error_somewhere_in_the_chain_is_not_unsent() {
    /// Wraps the error of something that the service did on the way.
    #[derive(Debug)]
    struct Behind(BoxError);
    impl std::fmt::Display for Behind {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the service behind failed")
        }
    }
    impl StdError for Behind {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&*self.0)
        }
    }
    let down = refusing().await;
    // A host that became unreachable after the first byte; a refused connection to the target of a
    // redirect, and to a second service that the first one asks.
    let second_hop = client(false).request(post(format!("http://{down}/"), full(""))).await;
    let causes: [fn() -> BoxError; 2] = [
        || io::Error::from(io::ErrorKind::HostUnreachable).into(),
        || io::Error::from(io::ErrorKind::ConnectionRefused).into(),
    ];
    let mut errors: Vec<Error> = causes.map(|cause| Error::from_service(cause())).into();
    errors.extend(causes.map(|cause| Error::from_service(Behind(cause()))));
    errors.push(Error::from_service(Behind(second_hop.unwrap_err().into())));
    for error in errors {
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false), "{error:?}");
    }
}

/// Asks one endpoint, and then what that leads to; its error is that of the client, as it is.
#[derive(Clone)]
struct Follows(Client<HttpConnector, Body>, SocketAddr);

impl Service<Request<Body>> for Follows {
    type Response = Response<Incoming>;
    type Error = hyper_util::client::legacy::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self(client, next) = self.clone();
        Box::pin(async move {
            client.request(request).await?;
            client.request(post(format!("http://{next}/"), full(""))).await
        })
    }
}

#[tokio::test]
async fn a_refused_second_request_of_a_call_is_not_unsent_though_its_error_is_the_clients() {
    let (up, down) = (server().await, refusing().await);
    // A service that follows redirects, one that is composed, each also boxed; and retries below.
    let follows = || connect_fn(move |_: &Endpoint| Follows(client(false), down));
    let composed = || {
        connect_fn(move |_: &Endpoint| {
            let service = Follows(client(false), down);
            service_fn(move |request| service.clone().oneshot(request))
        })
    };
    let boxes = || EachLayer::new(TimeoutLayer::new(Duration::from_secs(5)));
    let again =
        tower::layer::layer_fn(move |_: Client<HttpConnector, Body>| Follows(client(false), down));
    /// A connector of one's own that puts something around what another makes.
    struct Around<C>(C, SocketAddr);
    impl<C: Connect<Service = Client<HttpConnector, Body>>> Connect for Around<C> {
        type Service = Follows;

        fn connect(&self, member: &std::sync::Arc<tower_upstream::member::Member>) -> Follows {
            Follows(self.0.connect(member), self.1)
        }
    }
    let around = Around(connect_fn(|_: &Endpoint| client(false)), down);
    for error in [
        error_of(up, around).await,
        error_of(up, follows()).await,
        error_of(up, boxes().layer(follows())).await,
        error_of(up, composed()).await,
        error_of(up, boxes().layer(composed())).await,
        error_of(up, EachLayer::new(again).layer(connect_fn(|_: &Endpoint| client(false)))).await,
        error_of(up, follows().unsent_if(|_| false)).await,
    ] {
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error:?}");
    }
}

#[tokio::test]
async fn what_was_charged_is_not_charged_again() {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };
    let (up, down) = (server().await, refusing().await);
    let charges = Arc::new(AtomicU32::new(0));
    let counter = charges.clone();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            LeastRequest::new(),
        ))
        .service(connect_fn(move |_: &Endpoint| {
            let (client, charges) = (client(false), counter.clone());
            service_fn(move |_: tower_upstream::Call<u32>| {
                let (client, charges) = (client.clone(), charges.clone());
                async move {
                    client.request(post(format!("http://{up}/charge"), full(""))).await?;
                    charges.fetch_add(1, SeqCst);
                    client.request(post(format!("http://{down}/"), full(""))).await
                }
            })
        }));
    let error = stack.oneshot(tower_upstream::Call::new(1)).await.unwrap_err();
    assert!(!error.is_unsent(), "{error:?}");
    assert_eq!(charges.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_unsent_if_says_is_the_last_word_also_of_what_looks_like_a_refusal() {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    };
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            LeastRequest::new(),
        ))
        .service(
            connect_fn(move |_: &Endpoint| {
                let calls = counter.clone();
                service_fn(move |_: tower_upstream::Call<u32>| {
                    calls.fetch_add(1, SeqCst);
                    let shed: BoxError = tower::load_shed::error::Overloaded::new().into();
                    std::future::ready(Err::<(), BoxError>(shed))
                })
            })
            .unsent_if(|_| false),
        );
    let error = stack.oneshot(tower_upstream::Call::new(1)).await.unwrap_err();
    assert!(!error.is_unsent() && !error.is_refused(), "{error:?}");
    assert_eq!(calls.load(SeqCst), 1);
}

#[test]
fn a_connection_whose_runtime_has_ended_is_neither_the_callers_fault_nor_the_endpoints() {
    let (serving, first, second) = [(); 3]
        .map(|()| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap())
        .into();
    let address = serving.block_on(server());
    let client = client(false);
    let circuit = breaker();
    let guarded = circuit.layer(client);
    let send = |body: Body| guarded.clone().oneshot(post(format!("http://{address}/"), body));
    // The connection of this call lives in a runtime that ends before it is answered.
    let never = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, BoxError>>());
    let call = send(BodyExt::boxed(never));
    let mut call = Box::pin(call);
    first.block_on(async {
        let _ = tokio::time::timeout(Duration::from_millis(100), &mut call).await;
    });
    drop(first);
    let error = second.block_on(call).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error:?}");
    assert_eq!(seen(&circuit.handle()).failed, 0);
}

#[tokio::test]
async fn a_transport_of_ones_own_says_what_is_unsent_and_whose_fault_it_is() {
    /// Answers each call with this error.
    #[derive(Clone)]
    struct Fails(fn() -> BoxError);
    impl Service<Request<Body>> for Fails {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            std::future::ready(Err((self.0)()))
        }
    }
    let failing = |error: fn() -> BoxError| connect_fn(move |_: &Endpoint| Fails(error));
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let error = error_of(address, failing(|| Error::unsent("no route").into())).await;
    assert!(error.is_unsent() && error.to_string().contains("no route"), "{error}");
    let error = error_of(address, failing(|| Error::caller("not a letter").into())).await;
    assert_eq!(error.kind(), Kind::InvalidRequest);
    let error = error_of(address, failing(|| Error::connection("gone away").into())).await;
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false));
    assert_eq!(error.source().unwrap().to_string(), "gone away");
    // What it says itself is not asked of a closure.
    let ours = failing(|| Error::caller("not a letter").into()).unsent_if(|_| true);
    let error = error_of(address, ours).await;
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidRequest, false));
    let by_text = connect_fn(|_: &Endpoint| {
        service_fn(|_: Request<Body>| std::future::ready(Err::<(), BoxError>("no route".into())))
    });
    let error = error_of(address, by_text.unsent_if(|error| error.to_string() == "no route")).await;
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_names_its_endpoint_whatever_the_transport() {
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(connect_fn(|_: &Endpoint| {
            service_fn(|(): ()| std::future::ready(Err::<(), BoxError>("broken".into())))
        }));
    assert_eq!(stack.oneshot(()).await.unwrap_err().endpoint(), Some("a:1"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_no_evidence_and_one_free_attempt() {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    let calls = std::sync::Arc::new(AtomicU32::new(0));
    let (circuits, counter) = (breaker(), calls.clone());
    let set = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .layer(circuits.clone())
        .service(connect_fn(move |_: &Endpoint| {
            let calls = counter.clone();
            // Each first attempt of a call finds a dead connection.
            service_fn(move |number: u32| {
                let dead = calls.fetch_add(1, SeqCst) % 2 == 0;
                std::future::ready(if dead { Err(Error::connection("reset")) } else { Ok(number) })
            })
        }));
    let handle = set.handle();
    let repeatable = FailoverLayer::new(Attempts::up_to(2))
        .with_budget(Budget::none())
        .with_replay(|number: &u32| Some(*number))
        .layer(set.clone());
    for number in 0..20 {
        assert_eq!(repeatable.clone().oneshot(number).await.unwrap(), number);
    }
    let error = set.oneshot(1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false));
    for member in handle.members().iter() {
        assert_eq!((member.failures(), member.latency()), (0, None));
        assert_eq!(seen(&circuits.handle_for(member.key()).unwrap()).failed, 0);
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_after_the_head_opens_no_circuit_over_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Sends back what it gets, while it gets it.
            let service = service_fn(async |request: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(request.into_body()))
            });
            tokio::spawn(async move {
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                    .await
            });
        }
    });
    let client = client(true);
    let circuits = breaker().until_body_end(HttpClassify);
    let set = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([&key]).unwrap(), LeastRequest::new()))
        .layer(circuits.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    for _ in 0..6 {
        let (upload, mut frames) = tokio::sync::mpsc::unbounded_channel();
        let frames = futures::stream::poll_fn(move |cx| frames.poll_recv(cx));
        let body: Body = BodyExt::boxed(StreamBody::new(frames));
        upload.send(Ok(Frame::data(Bytes::from_static(b"half")))).unwrap();
        let response = set.clone().oneshot(post("/both-ways", body)).await.unwrap();
        let mut echo = response.into_body();
        assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        upload.send(Err("the upload was aborted".into())).unwrap();
        assert!(echo.collect().await.is_err());
    }
    let stats = seen(&circuits.handle_for(&key).unwrap());
    assert_eq!((stats.state, stats.failed, stats.ignored), (CircuitState::Closed, 0, 6));
}
