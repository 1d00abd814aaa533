//! What `OriginLayer` sends, and what becomes of answers that are discarded.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod wire;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::io::AsyncWriteExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, Error, FailoverLayer, LeastRequest,
    connect::Connect,
    connect_fn,
    dial::TcpConnector,
    discover,
    error::Kind,
    http::{HttpClassify, OriginBody, OriginLayer},
    member::Member,
};

use self::wire::{Server, header, ok, read_request, until};

/// A server that notes the heads of its requests.
async fn noting() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let server = Server::new(move |mut stream, _| {
        let noted = noted.clone();
        async move {
            while let Some(head) = read_request(&mut stream).await {
                noted.lock().unwrap().push(head);
                stream.write_all(ok("").as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (server, heads)
}

fn service(
    layer: OriginLayer,
    address: &str,
) -> impl Service<Request<Full<Bytes>>, Response = Response<OriginBody<Incoming>>, Error = Error>
+ Clone
+ use<> {
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let connector =
        ServiceBuilder::new().layer(layer).service(connect_fn(move |_: &Endpoint| client.clone()));
    connector.connect(&Member::new(Endpoint::new(address).unwrap().with_key("one")))
}

fn request(method: Method, uri: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(uri).body(Full::default()).unwrap()
}

/// The head that reaches a server below `base`.
async fn sent(layer: OriginLayer, base: &str, request: Request<Full<Bytes>>) -> String {
    let (server, heads) = noting().await;
    let answer = service(layer, &format!("{}{base}", server.url())).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let head = heads.lock().unwrap().pop().unwrap();
    head.replace(&server.address.to_string(), "SERVER")
}

#[tokio::test]
async fn the_authority_that_the_caller_asked_for_is_the_host() {
    let host = |preserve, uri: &'static str, given: Option<&'static str>| async move {
        let mut request = request(Method::GET, uri);
        if let Some(given) = given {
            request.headers_mut().insert("host", given.parse().unwrap());
        }
        let head = sent(OriginLayer::new().preserve_host(preserve), "", request).await;
        assert_eq!(head.matches("ost: ").count(), 1, "{head}");
        header(&head, "host").unwrap()
    };
    assert_eq!(host(true, "http://shop.example/v1", None).await, "shop.example");
    assert_eq!(host(true, "http://shop.example:81/", Some("b")).await, "shop.example:81");
    assert_eq!(host(true, "/v1", Some("shop.example")).await, "shop.example");
    assert_eq!(host(true, "/v1", None).await, "SERVER");
    assert_eq!(host(false, "http://shop.example/v1", Some("b")).await, "SERVER");
    assert_eq!(host(false, "/v1", Some("shop.example")).await, "SERVER");
}

#[tokio::test]
async fn the_client_decides_the_version() {
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
        let mut request = request(Method::GET, "http://shop.example/v1");
        *request.version_mut() = version;
        let head = sent(OriginLayer::new(), "", request).await;
        assert!(head.starts_with("GET /v1 HTTP/1.1\r\n"), "{version:?}: {head}");
    }
}

#[tokio::test]
async fn dot_segments_below_a_base_path_are_refused_and_nothing_is_sent() {
    let (server, heads) = noting().await;
    let service = service(OriginLayer::new(), &format!("{}/api/", server.url()));
    for path in ["/../admin", "/x/%2e%2E/y", "/.", "/x/.%2E", "/a\\..\\b", "/a%2f..%2fb"] {
        let result = service.clone().oneshot(request(Method::GET, path)).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidRequest, true), "{path}");
        assert_eq!(error.endpoint(), Some("one"));
    }
    assert_eq!((server.connections(), heads.lock().unwrap().len()), (0, 0));
    for (path, sent) in [("/.well-known/x", "/api/.well-known/x"), ("/x?y=/../", "/api/x?y=/../")] {
        service.clone().oneshot(request(Method::GET, path)).await.unwrap();
        let head = heads.lock().unwrap().pop().unwrap();
        assert!(head.starts_with(&format!("GET {sent} ")), "{head}");
    }
}

#[tokio::test]
async fn without_a_base_path_dot_segments_are_left_alone() {
    for path in ["/a/../b", "/%2e%2E/b", "/a/./b"] {
        let head = sent(OriginLayer::new(), "", request(Method::GET, path)).await;
        assert!(head.starts_with(&format!("GET {path} ")), "{head}");
    }
}

#[tokio::test]
async fn options_of_the_whole_server_stay_so() {
    for base in ["", "/api/"] {
        let head = sent(OriginLayer::new(), base, request(Method::OPTIONS, "*")).await;
        assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{base}: {head}");
    }
    let head = sent(OriginLayer::new(), "/api", request(Method::OPTIONS, "/x")).await;
    assert!(head.starts_with("OPTIONS /api/x HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn over_http_2_an_endpoint_hears_its_own_name_and_with_preserve_host_the_callers_too() {
    for preserve in [true, false] {
        let seen = Arc::new(Mutex::new(None));
        let note = seen.clone();
        let server = Server::new(move |stream, _| {
            let note = note.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let authority = request.uri().authority().map(ToString::to_string);
                let host = request.headers().get("host").cloned();
                *note.lock().unwrap() = Some((authority, host));
                std::future::ready(Ok::<_, Error>(Response::new(Full::<Bytes>::default())))
            });
            async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await;
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).http2_only(true).build(TcpConnector::new());
        let service = OriginLayer::new()
            .preserve_host(preserve)
            .layer(connect_fn(move |_: &Endpoint| client.clone()))
            .connect(&Member::new(Endpoint::new(server.url()).unwrap()));
        service.oneshot(request(Method::GET, "http://shop.example/v1")).await.unwrap();
        let (authority, host) = seen.lock().unwrap().take().unwrap();
        assert_eq!(authority, Some(server.address.to_string()));
        assert_eq!(
            host.as_ref().map(|host| host.as_bytes()),
            preserve.then_some(&b"shop.example"[..])
        );
    }
}

/// A server whose answers of 503 have a body of `length` bytes that comes `late` after the head.
async fn failing(length: usize, late: Duration) -> Server {
    Server::new(move |mut stream, _| async move {
        // Else the body waits for the other side to confirm the head.
        stream.set_nodelay(true).unwrap();
        while read_request(&mut stream).await.is_some() {
            let head =
                format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(late).await;
            if stream.write_all(&vec![b'x'; length]).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn attempts_whose_answers_are_discarded_use_their_connection_again() {
    let server = failing(100, Duration::from_millis(2)).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    // Two attempts each, one after the other; the first answer of each call is discarded by the
    // failover, the second by the caller.
    let attempts =
        Attempts::up_to(2).with_backoff(Duration::from_millis(10), Duration::from_millis(20));
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(attempts).with_classify(HttpClassify))
        .layer(BalanceLayer::new(discover::fixed([server.url()]).unwrap(), LeastRequest::default()))
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    for _ in 0..10 {
        let answer = stack.clone().oneshot(request(Method::GET, "/")).await;
        assert!(answer.is_ok_and(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
    }
    let used = server.connections();
    assert!(used <= 6, "{used} connections for twenty attempts");
}

/// How many connections two calls need of which the first answer is dropped unread, and `wait` after
/// that.
async fn connections_of(server: &Server, read_some: bool) -> usize {
    let service = service(OriginLayer::new(), &server.url());
    let mut answer = service.clone().oneshot(request(Method::GET, "/")).await.unwrap();
    if read_some {
        answer.body_mut().frame().await.unwrap().unwrap();
    }
    drop(answer);
    // Longer than a body is drained.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = service.oneshot(request(Method::GET, "/")).await.unwrap();
    drop(answer);
    server.connections()
}

#[tokio::test]
async fn only_short_answers_that_come_soon_are_drained() {
    let soon = Duration::from_millis(2);
    assert_eq!(connections_of(&failing(100, soon).await, false).await, 1);
    assert_eq!(connections_of(&failing(64 << 10, soon).await, false).await, 1);
    assert_eq!(connections_of(&failing((64 << 10) + 1, soon).await, false).await, 2);
    assert_eq!(connections_of(&failing(100, Duration::from_secs(5)).await, false).await, 2);
}

#[tokio::test]
async fn at_most_64_answers_are_drained_at_once() {
    let server = failing(100, Duration::from_secs(5)).await;
    let service = service(OriginLayer::new(), &server.url());
    let calls = (0..100).map(|_| service.clone().oneshot(request(Method::GET, "/")));
    let answers = futures::future::join_all(calls).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    drop(answers);
    assert_eq!(tasks() - before, 64);
    until("they end", || tasks() < before).await;
}

/// A body of unknown length that gives frames of 1 KiB without end, or none, and says what becomes of it.
#[derive(Clone)]
struct Endless {
    gives: bool,
    taken: Arc<AtomicUsize>,
    /// Dropped with the body.
    alive: Arc<()>,
}

impl Endless {
    fn new(gives: bool) -> Self {
        Self { gives, taken: Arc::default(), alive: Arc::default() }
    }

    /// An answer with it, over a service without a member.
    async fn answer(&self, version: Version) -> Response<OriginBody<Self>> {
        let body = self.clone();
        let service = OriginLayer::new().layer(tower::service_fn(move |_: Request<()>| {
            let mut response = Response::new(body.clone());
            *response.version_mut() = version;
            std::future::ready(Ok::<_, std::io::Error>(response))
        }));
        service.oneshot(Request::new(())).await.unwrap()
    }

    fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.alive) == 1
    }
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !self.gives {
            return Poll::Pending;
        }
        self.taken.fetch_add(1, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1 << 10])))))
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_64_kib_are_drained_of_an_answer_of_unknown_length() {
    let body = Endless::new(true);
    drop(body.answer(Version::HTTP_11).await);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((body.taken.load(SeqCst), body.is_dropped()), (64, true));
}

#[tokio::test(start_paused = true)]
async fn answers_are_drained_for_50_ms() {
    let body = Endless::new(false);
    drop(body.answer(Version::HTTP_11).await);
    tokio::time::sleep(Duration::from_millis(49)).await;
    assert!(!body.is_dropped());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(body.is_dropped());
}

#[tokio::test]
async fn answers_over_http_2_are_not_drained() {
    for (version, drained) in
        [(Version::HTTP_10, true), (Version::HTTP_2, false), (Version::HTTP_3, false)]
    {
        let body = Endless::new(false);
        drop(body.answer(version).await);
        assert_eq!(body.is_dropped(), !drained, "{version:?}");
    }
}

#[tokio::test]
async fn an_answer_that_was_polled_in_vain_is_unread() {
    let body = Endless::new(false);
    let mut answer = body.answer(Version::HTTP_11).await;
    assert!(futures::poll!(answer.body_mut().frame()).is_pending());
    drop(answer);
    assert!(!body.is_dropped(), "it is drained");
    let body = Endless::new(true);
    let mut answer = body.answer(Version::HTTP_11).await;
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    assert!(body.is_dropped());
}

#[tokio::test]
async fn without_a_member_discarded_answers_are_drained_too() {
    let server = failing(100, Duration::from_millis(2)).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let service = OriginLayer::new().layer(client);
    for _ in 0..10 {
        let answer = service.clone().oneshot(request(Method::GET, &server.url())).await.unwrap();
        drop(answer);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[tokio::test]
async fn without_a_member_at_most_64_answers_are_drained_at_once_for_all_clones() {
    let alive = Endless::new(false);
    let body = alive.clone();
    let service = OriginLayer::new().layer(tower::service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, std::io::Error>(Response::new(body.clone())))
    }));
    let at_rest = Arc::strong_count(&alive.alive);
    for _ in 0..100 {
        drop(service.clone().oneshot(Request::new(())).await.unwrap());
    }
    assert_eq!(Arc::strong_count(&alive.alive) - at_rest, 64);
}

#[test]
fn outside_a_runtime_a_body_just_drops() {
    let body = tower::ServiceBuilder::new().layer(OriginLayer::new()).service(connect_fn(
        |_: &Endpoint| {
            tower::service_fn(|_: Request<()>| {
                let body = Full::new(Bytes::from_static(b"x"));
                std::future::ready(Ok::<_, std::io::Error>(Response::new(body)))
            })
        },
    ));
    let service = body.connect(&Member::new(Endpoint::new("a:1").unwrap()));
    let answer = futures::executor::block_on(service.oneshot(Request::new(()))).unwrap();
    drop(answer);
}
