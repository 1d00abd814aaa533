//! Clients and servers of tonic among the layers.
#![cfg(feature = "grpc")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataMap,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer,
    ConcurrencyLimitLayer, Endpoint, Error, FailoverLayer, HealthGateLayer, LeastRequest, Quota,
    RateLimitLayer,
    balance::RoundRobin,
    breaker::CircuitState,
    connect_fn,
    deadline::HasDeadline,
    discover,
    grpc::{BodyLayer, DeadlineLayer, GrpcClassify, StatusLayer},
    health::{HealthConfig, Initial, check_upstream},
    http::{Idempotent, ReplayBodyLayer},
};

/// No test waits longer, whatever goes wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that counts its calls, and on which a call takes as long as its service's name says.
#[derive(Clone, Default)]
struct Counting {
    calls: Arc<AtomicU64>,
    timeouts: Arc<Mutex<Vec<String>>>,
}

type Statuses = futures::stream::Empty<Result<HealthCheckResponse, Status>>;

#[tonic::async_trait]
impl Health for Counting {
    type WatchStream = Statuses;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.calls.fetch_add(1, SeqCst);
        if request.get_ref().service == "forbidden" {
            let mut metadata = MetadataMap::new();
            metadata.insert("x-why", "audit".parse().unwrap());
            let details = b"details".to_vec().into();
            let (code, message) = (Code::PermissionDenied, "not you");
            return Err(Status::with_details_and_metadata(code, message, details, metadata));
        }
        if let Some(timeout) = request.metadata().get("grpc-timeout") {
            self.timeouts.lock().unwrap().push(timeout.to_str().unwrap().to_owned());
        }
        sleep(Duration::from_millis(request.get_ref().service.parse().unwrap_or(0))).await;
        Ok(Response::new(HealthCheckResponse { status: 1 }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Statuses>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// A server with a runtime of its own, with which its connections end as those of a killed process do.
struct Killable {
    address: SocketAddr,
    service: Counting,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Killable {
    fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let service = Counting::default();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let health = HealthServer::new(service.clone());
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
            Server::builder().add_service(health).serve_with_incoming(incoming).await
        });
        Self { address, service, runtime: Some(runtime) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn calls(&self) -> u64 {
        self.service.calls.load(SeqCst)
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

fn free() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn channel(server: &Endpoint) -> Channel {
    let address = server.address().as_str().to_owned();
    Channel::from_shared(address).unwrap().connect_lazy()
}

macro_rules! whole_stack {
    ($servers:expr) => {
        ServiceBuilder::new()
            .layer(StatusLayer::new())
            .layer(DeadlineLayer::new())
            .layer(ReplayBodyLayer::new())
            .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(GrpcClassify))
            .layer(BalanceLayer::new($servers, LeastRequest::default()))
            .layer(
                CircuitBreakerLayer::new(
                    CircuitBreakerConfig::default().with_open_for(Duration::from_millis(200)),
                )
                .until_body_end(GrpcClassify),
            )
            .layer(DeadlineLayer::new())
            .layer(BodyLayer::new())
            .service(connect_fn(channel))
    };
}

fn check(millis: u64) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: millis.to_string() })
}

fn idempotent(millis: u64) -> Request<HealthCheckRequest> {
    let mut request = check(millis);
    request.extensions_mut().insert(Idempotent);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_killed_under_load_and_no_call_fails() {
    let mut servers: Vec<_> = (0..3).map(|_| Killable::start(free())).collect();
    let addresses = servers.iter().map(Killable::url);
    let client = HealthClient::new(whole_stack!(discover::fixed(addresses).unwrap()));
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, stop, done) = (client.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(SeqCst) {
                    let called = timeout(PATIENCE, client.check(idempotent(1))).await;
                    failed.extend(called.expect("a call hangs").err());
                    done.fetch_add(1, SeqCst);
                }
                failed
            })
        })
        .collect();
    let after = |more: u64| {
        let (done, until) = (done.clone(), done.load(SeqCst) + more);
        timeout(PATIENCE, async move {
            while done.load(SeqCst) < until {
                sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for server in &mut servers {
        after(300).await.unwrap();
        server.kill();
        after(300).await.unwrap();
        *server = Killable::start(server.address);
        // It gets calls again, once its circuit lets it.
        let is_back = async {
            while server.calls() == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, is_back).await.expect("a server that is back gets no calls");
    }
    stop.store(true, SeqCst);
    let failed: Vec<Status> =
        futures::future::join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), done.load(SeqCst), failed[0]);
}

#[tokio::test]
async fn a_call_that_was_never_sent_goes_elsewhere_though_it_is_not_idempotent() {
    let server = Killable::start(free());
    let nobody = format!("http://{}", TcpListener::bind(free()).unwrap().local_addr().unwrap());
    let mut client = HealthClient::new(
        ServiceBuilder::new()
            .layer(StatusLayer::new())
            .layer(ReplayBodyLayer::new())
            .layer(FailoverLayer::new(Attempts::up_to(2)).with_classify(GrpcClassify))
            .layer(BalanceLayer::new(
                discover::fixed([server.url(), nobody]).unwrap(),
                RoundRobin::starting_at(0),
            ))
            .layer(BodyLayer::new())
            .service(connect_fn(channel)),
    );
    for _ in 0..6 {
        client.check(check(0)).await.unwrap();
    }
    assert_eq!(server.calls(), 6);
}

/// Serves `service` with `layer` around it, and answers with a client.
async fn served<L>(layer: L) -> HealthClient<Channel>
where
    L: Layer<Routes> + Clone + Send + Sync + 'static,
    L::Service: Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error: Into<BoxError> + Send,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    let listener = tokio::net::TcpListener::bind(free()).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let health = HealthServer::new(Counting::default());
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    HealthClient::new(Channel::from_shared(address).unwrap().connect_lazy())
}

fn pushback(status: &Status) -> Option<u64> {
    let value = status.metadata().get("grpc-retry-pushback-ms")?;
    Some(value.to_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_server_behind_limits_says_that_it_is_exhausted_and_when_to_come_back() {
    let limit = RateLimitLayer::new(Quota::per_minute(60).burst(2));
    let layers = ServiceBuilder::new().layer(StatusLayer::new()).layer(limit).into_inner();
    let mut client = served(layers).await;
    for _ in 0..2 {
        client.check(check(0)).await.unwrap();
    }
    let status = client.check(check(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "[RATELIMIT_1501] rate limit exceeded");
    assert!(pushback(&status).is_some_and(|millis| (1..=1_000).contains(&millis)), "{status:?}");
    // `google.rpc.RetryInfo`, for callers that look for that.
    let details = String::from_utf8_lossy(status.details()).into_owned();
    assert!(details.contains("type.googleapis.com/google.rpc.RetryInfo"), "{details}");
}

#[tokio::test]
async fn a_server_with_too_many_calls_at_once_is_exhausted() {
    let limit = ConcurrencyLimitLayer::new(1);
    let layers = ServiceBuilder::new().layer(StatusLayer::new()).layer(limit.clone()).into_inner();
    let client = served(layers).await;
    let mut first = client.clone();
    let running = tokio::spawn(async move { first.check(check(300)).await });
    let is_running = async {
        while limit.handle().in_flight() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, is_running).await.unwrap();
    let status = client.clone().check(check(0)).await.unwrap_err();
    assert_eq!((status.code(), pushback(&status)), (Code::ResourceExhausted, None));
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn without_a_status_layer_no_refusal_is_unknown_either() {
    let limit = RateLimitLayer::new(Quota::per_minute(1).burst(1));
    let mut client = served(limit).await;
    client.check(check(0)).await.unwrap();
    let status = client.check(check(0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

type Answer = Result<http::Response<tonic::body::Body>, Infallible>;

/// What a generated client is told that calls a stack in which everything is well but `layer`.
async fn refused<L>(layer: L) -> [Status; 2]
where
    L: Layer<
        tower::util::BoxCloneSyncService<
            http::Request<tonic::body::Body>,
            http::Response<tonic::body::Body>,
            Infallible,
        >,
    >,
    L::Service: Service<
            http::Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error: Into<BoxError> + Send + Sync + 'static,
        > + Clone,
{
    let fine = service_fn(async |_: http::Request<tonic::body::Body>| {
        Answer::Ok(Status::ok("").into_http())
    });
    let stack = layer.layer(tower::util::BoxCloneSyncService::new(fine));
    let by_tonic = HealthClient::new(stack.clone()).check(check(0)).await.unwrap_err();
    let by_layer = StatusLayer::new().layer(stack);
    [by_tonic, HealthClient::new(by_layer).check(check(0)).await.unwrap_err()]
}

#[tokio::test]
async fn a_client_is_told_what_refused_its_call() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    breaker.handle().force_open();
    let ill = HealthConfig::default().with_initial(Initial::Unhealthy);
    let gate = HealthGateLayer::with_config(check_upstream(|| async { false }), ill);
    let spent = RateLimitLayer::new(Quota::per_minute(1).burst(1));
    spent.layer(service_fn(async |_: ()| Ok::<_, Infallible>(()))).oneshot(()).await.unwrap();
    for (statuses, code, text) in [
        (refused(breaker).await, Code::Unavailable, "[CIRCUIT_1401]"),
        (refused(spent).await, Code::ResourceExhausted, "[RATELIMIT_1501]"),
        (refused(gate).await, Code::Unavailable, "[HEALTH_1601]"),
    ] {
        for status in statuses {
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.message().starts_with(text), "{status:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_endpoint_left_a_call_is_unavailable() {
    for servers in [vec![], vec!["http://127.0.0.1:9"]] {
        let stack = whole_stack!(discover::fixed(servers).unwrap());
        let status = HealthClient::new(stack).check(check(0)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let source = std::error::Error::source(&status).unwrap();
        assert!(source.is::<Error>(), "{source:?}");
    }
}

#[tokio::test]
async fn a_status_of_a_server_goes_through_with_all_it_has() {
    let mut direct = served(tower::layer::util::Identity::new()).await;
    let forbidden = || Request::new(HealthCheckRequest { service: "forbidden".into() });
    let status = direct.check(forbidden()).await.unwrap_err();
    // A service of tonic's own requests: its error is the status, and an answer.
    let stack = ServiceBuilder::new()
        .layer(StatusLayer::new())
        .layer(
            CircuitBreakerLayer::new(CircuitBreakerConfig::default()).with_classify(GrpcClassify),
        )
        .service(service_fn(move |request: Request<HealthCheckRequest>| {
            let mut client = direct.clone();
            async move { client.check(request).await }
        }));
    let through = stack.oneshot(forbidden()).await.unwrap_err();
    for status in [status, through] {
        let why = status.metadata().get("x-why").unwrap().to_str().unwrap();
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "not you"));
        assert_eq!((status.details(), why), (&b"details"[..], "audit"));
    }
}

#[tokio::test]
async fn a_grpc_timeout_is_the_deadline_of_all_attempts() {
    let server = Killable::start(free());
    let mut client = HealthClient::new(whole_stack!(discover::fixed([server.url()]).unwrap()));
    let mut request = idempotent(60_000);
    request.set_timeout(Duration::from_millis(300));
    let start = Instant::now();
    let status = timeout(PATIENCE, client.check(request)).await.unwrap().unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let told = server.service.timeouts.lock().unwrap().clone();
    let nanos = told[0].strip_suffix(['n', 'u']).unwrap().parse::<u64>().unwrap();
    // What is left, not what it was.
    assert!(!told.is_empty() && nanos < 300_000, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_is_told_what_is_left() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let endpoint = service_fn(move |request: http::Request<String>| {
        let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
        seen.lock().unwrap().push((timeout, request.deadline().is_some()));
        async {
            sleep(Duration::from_millis(100)).await;
            let mut status = Status::unavailable("");
            status.metadata_mut().insert("grpc-retry-pushback-ms", "50".parse().unwrap());
            Ok::<http::Response<String>, Infallible>(status.into_http())
        }
    });
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new())
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(GrpcClassify))
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::default()))
        .layer(DeadlineLayer::new())
        .service(connect_fn(move |_: &Endpoint| endpoint.clone()));
    let request = http::Request::post("/a.B/C")
        .header("grpc-timeout", "1S")
        .extension(Idempotent)
        .body(String::new())
        .unwrap();
    let start = Instant::now();
    drop(stack.oneshot(request).await);
    let told = told.lock().unwrap().clone();
    let told: Vec<&str> = told.iter().map(|(timeout, _)| &**timeout).collect();
    // The other endpoint is tried at once; the first again once it may.
    assert_eq!(told[..2], ["1000000u", "900000u"], "{told:?}");
    let last = told[2].strip_suffix('u').unwrap().parse::<u64>().unwrap();
    assert!(told.len() == 3 && last <= 750_000, "{told:?}");
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3))
}

#[tokio::test]
async fn short_deadlines_of_a_caller_open_no_circuit() {
    // Takes connections, and never says anything.
    let silent = TcpListener::bind(free()).unwrap();
    let key = format!("http://{}", silent.local_addr().unwrap());
    let set = || BalanceLayer::new(discover::fixed([&key]).unwrap(), LeastRequest::default());
    let (told, plain) = (breaker().until_body_end(GrpcClassify), breaker());
    let with_deadlines = ServiceBuilder::new()
        .layer(StatusLayer::new())
        .layer(DeadlineLayer::new())
        .layer(set())
        .layer(told.clone())
        .layer(DeadlineLayer::new())
        .service(connect_fn(channel));
    let without = ServiceBuilder::new()
        .layer(StatusLayer::new())
        .layer(set())
        .layer(plain.clone())
        .service(connect_fn(channel));
    for _ in 0..6 {
        let asked = || {
            let mut request = check(0);
            request.set_timeout(Duration::from_millis(20));
            request
        };
        let (mut one, mut other) =
            (HealthClient::new(with_deadlines.clone()), HealthClient::new(without.clone()));
        for status in [one.check(asked()).await, other.check(asked()).await] {
            assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
        }
    }
    for circuits in [&told.handle_for(&key), &plain.handle_for(&key)] {
        assert_eq!(circuits.as_ref().unwrap().state(), CircuitState::Closed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_no_server_takes_opens_no_circuit() {
    let server = Killable::start(free());
    let circuits = breaker().until_body_end(GrpcClassify);
    let endpoints = discover::fixed([server.url()]).unwrap();
    let stack = ServiceBuilder::new()
        .layer(StatusLayer::new())
        .layer(BalanceLayer::new(endpoints, LeastRequest::default()))
        .layer(circuits.clone())
        .service(connect_fn(channel));
    let mut client = HealthClient::new(stack);
    for _ in 0..6 {
        let mut request = check(0);
        request.metadata_mut().insert("x-large", "x".repeat(100_000).parse().unwrap());
        let status = client.check(request).await.unwrap_err();
        assert!(!status.message().contains("CIRCUIT"), "{status:?}");
    }
    assert_eq!(circuits.handle_for(&server.url()).unwrap().state(), CircuitState::Closed);
    // The server may be closing the connection still.
    let answered = async { while client.check(check(0)).await.is_err() {} };
    timeout(PATIENCE, answered).await.unwrap();
}
