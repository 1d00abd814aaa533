//! A plugin served over HTTP, behind axum and behind hyper, and called by our own transport.
#![cfg(feature = "http")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Call, Endpoint, Error, Quota, RateLimitLayer, Reply,
    connect::Connect,
    error::{Code, Kind},
    member::Member,
    plugin::{HealthStatus, PluginInfo, PluginStatus},
    serve,
    transport::{HttpService, HttpTransport},
};

#[derive(Debug, Serialize, Deserialize)]
struct Tax {
    net: u64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gross {
    gross: u64,
}

async fn tax(call: Call<Tax>) -> Result<Reply<Gross>, std::io::Error> {
    match call.body().net {
        0 => Err(std::io::Error::other("nothing to tax")),
        1 => Err(std::io::Error::other("")),
        net => {
            let gross = Gross { gross: net * 122 / 100 };
            let told = format!("{:?} {:?}", call.headers(), call.metadata());
            let left = call.timeout().is_some_and(|left| left <= Duration::from_secs(90));
            Ok(Reply::new(gross)
                .with_metadata("told", told)
                .with_metadata("timed", left.to_string()))
        }
    }
}

async fn answer<S, B>(service: S, request: Request<B>) -> (StatusCode, http::HeaderMap, String)
where
    S: Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/rpc/tax").body(Full::new(body.into())).unwrap()
}

fn with(method: &str, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::default()).unwrap()
}

#[tokio::test]
async fn an_answer_is_byte_for_byte_that_of_go() {
    let served = serve::http(service_fn(tax));
    let request = post(
        r#"{"data":{"net":1200},"request_id":"r-1","timeout":"1m30s","headers":{"X-Tenant":"blue"},"metadata":{"trace":"t-9"}}"#,
    );
    let (status, headers, body) = answer(served.clone(), request).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert_eq!(
        body,
        r#"{"data":{"gross":1464},"request_id":"r-1","metadata":{"timed":"true","told":"{\"X-Tenant\": \"blue\"} {\"trace\": \"t-9\"}"}}"#
    );
    let (status, _, body) =
        answer(served.clone(), post(r#"{"data":{"net":0},"request_id":"r-2"}"#)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, r#"{"error":"nothing to tax","request_id":"r-2"}"#);
    // Without a text it must still be an error.
    let (_, _, body) = answer(served, post(r#"{"data":{"net":1},"request_id":""}"#)).await;
    assert!(body.starts_with(r#"{"error":"the plugin failed"#), "{body}");
}

#[tokio::test]
async fn calls_are_read_as_leniently_as_go_reads_them() {
    let seen = service_fn(|call: Call<Option<u8>>| async move {
        let seen = format!("{:?} {} {:?}", call.body(), call.id(), call.timeout());
        Ok::<_, Infallible>(Reply::new(seen))
    });
    let served = serve::http(seen);
    for (body, expected) in [
        (r#"{"DATA":5,"Request_Id":"a","timeout":"0s","x":1} rubbish"#, "Some(5) a None"),
        (r#"{"request_id":"a\uD83D"}"#, "None a\u{fffd} None"),
        (r#"{"request_id":"a"}"#, "None a None"),
        ("{}", "None from-header None"),
    ] {
        let mut request = post(body);
        request.headers_mut().insert("x-request-id", "from-header".parse().unwrap());
        let (_, _, body) = answer(served.clone(), request).await;
        assert!(body.contains(&format!(r#""data":"{expected}""#)), "{body}");
    }
    let (_, _, body) = answer(served, post("{}")).await;
    assert!(body.contains(r#""request_id":"req_"#), "{body}");
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let served = serve::http(service_fn(tax)).max_request_bytes(100);
    for body in
        ["", "7", "{\"data\":{\"net\":\"x\"}}", "{}", "{\"data\":{\"net\":1},\"timeout\":\"soon\"}"]
    {
        let (status, _, text) = answer(served.clone(), post(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(text.starts_with(r#"{"error":"this is no call: "#), "{text}");
    }
    let (status, _, text) = answer(served.clone(), post(vec![b' '; 101])).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text.contains("max_request_bytes"));
    let mut encoded = post("{}");
    encoded.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(answer(served.clone(), encoded).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer(served.clone(), with("GET", "/")).await.0, StatusCode::NOT_FOUND);
    let (status, headers, _) = answer(served, with("PUT", "/")).await;
    assert_eq!(
        (status, &headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD, POST".parse().unwrap())
    );
}

#[tokio::test]
async fn a_body_that_streams_beyond_the_limit_or_breaks_off_is_not_read_on() {
    let served = serve::http(service_fn(tax)).max_request_bytes(100);
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = pulled.clone();
    let endless = futures::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(&[b' '; 40])))
    });
    let body = Box::pin(http_body_util::StreamBody::new(endless));
    let request = Request::post("/").body(body).unwrap();
    assert_eq!(answer(served.clone(), request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(pulled.load(Ordering::Relaxed), 3);
    let broken =
        futures::stream::iter([Err::<http_body::Frame<Bytes>, _>(std::io::Error::other("reset"))]);
    let request = Request::post("/").body(http_body_util::StreamBody::new(broken)).unwrap();
    assert_eq!(answer(served, request).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn health_and_info_are_told_even_while_the_plugin_is_not_ready() {
    #[derive(Clone)]
    struct NeverReady;
    impl Service<Call<u8>> for NeverReady {
        type Response = Reply<u8>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Reply<u8>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }
        fn call(&mut self, _: Call<u8>) -> Self::Future {
            panic!("called before it was ready")
        }
    }
    let served = serve::http(NeverReady).info(PluginInfo::new("tax", "2.1.0"));
    let (status, _, body) = answer(served.clone(), with("GET", "/rpc/info")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"name":"tax","version":"2.1.0"}"#));
    let (status, _, body) = answer(served.clone(), with("GET", "/health")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with(r#"{"status":1,"message":"OK","last_check":"20"#), "{body}");
    assert_eq!(answer(served.clone(), with("HEAD", "/health")).await.0, StatusCode::OK);
    for (verdict, expected) in [
        (PluginStatus::Degraded, 200),
        (PluginStatus::Unhealthy, 503),
        (PluginStatus::Offline, 503),
        (PluginStatus::Unknown, 503),
    ] {
        let served = served.clone().health(move || async move { HealthStatus::new(verdict) });
        assert_eq!(answer(served, with("GET", "/health")).await.0, expected);
    }
    let mut waiting = tokio_test::task::spawn(served.oneshot(post(r#"{"data":1}"#)));
    assert!(waiting.poll().is_pending());
}

/// Ready once per call, and only the value that said so.
#[derive(Debug)]
struct Lawful {
    ready: bool,
    in_use: Arc<AtomicBool>,
}

impl Clone for Lawful {
    fn clone(&self) -> Self {
        Self { ready: false, in_use: self.in_use.clone() }
    }
}

struct Using(Arc<AtomicBool>);

impl Drop for Using {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Service<Call<u8>> for Lawful {
    type Response = Reply<u8>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Reply<u8>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u8>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        self.in_use.store(true, Ordering::Relaxed);
        let using = Using(self.in_use.clone());
        Box::pin(async move {
            let _using = using;
            if *call.body() == 0 {
                std::future::pending::<()>().await;
            }
            Ok(Reply::new(call.into_body()))
        })
    }
}

#[tokio::test]
async fn the_value_that_said_ready_is_called_and_a_dropped_call_is_over() {
    let in_use = Arc::new(AtomicBool::new(false));
    let served = serve::http(Lawful { ready: false, in_use: in_use.clone() });
    assert_eq!(answer(served.clone(), post(r#"{"data":7}"#)).await.0, StatusCode::OK);
    drop(served.clone().oneshot(post(r#"{"data":0}"#)));
    assert!(!in_use.load(Ordering::Relaxed));
    let mut waiting = tokio_test::task::spawn(served.oneshot(post(r#"{"data":0}"#)));
    assert!(waiting.poll().is_pending());
    assert!(in_use.load(Ordering::Relaxed));
    drop(waiting);
    assert!(!in_use.load(Ordering::Relaxed));
}

async fn round_trip(address: SocketAddr) {
    let endpoint = Endpoint::new(format!("http://{address}/rpc/tax")).unwrap();
    let plugin: HttpService<Tax, Gross> = HttpTransport::new().connect(&Member::new(endpoint));
    let call = Call::new(Tax { net: 1_200 })
        .with_id("r-<é>\u{2028}")
        .with_timeout(Duration::from_secs(60))
        .with_metadata("trace", "t-9");
    let reply = plugin.clone().oneshot(call).await.unwrap();
    assert_eq!(reply.body().gross, 1_464);
    assert_eq!(reply.request_id(), "r-<é>\u{2028}");
    assert_eq!(reply.metadata()["timed"], "true");
    assert!(reply.metadata()["told"].contains("t-9"));
    let error = plugin.clone().oneshot(Call::new(Tax { net: 0 })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin);
    assert!(error.to_string().contains("plugin error: nothing to tax"));
    assert_eq!(plugin.info().await.unwrap(), info());
    let health = plugin.health().await;
    assert_eq!((health.status, health.message.as_str()), (PluginStatus::Degraded, "cold"));
}

/// A service on a port of its own, behind axum.
async fn served<S>(plugin: S) -> Arc<Member>
where
    S: Service<Call<u8>, Response = Reply<u8>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let app = axum::Router::new().fallback_service(serve::http(plugin));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Member::new(endpoint.with_key("tax-1"))
}

#[tokio::test]
async fn the_code_of_a_plugins_error_survives_every_hop() {
    let once = RateLimitLayer::new(Quota::new(1, Duration::from_secs(3_600)));
    once.handle().take(1).unwrap();
    let limited = once.layer(service_fn(|_: Call<u8>| async { Ok::<_, Error>(Reply::new(0)) }));
    let by_go = service_fn(|_: Call<u8>| async {
        Err::<Reply<u8>, BoxError>("[SECURITY_1804]: Path traversal attempt detected".into())
    });
    let call = async |member: &Arc<Member>| {
        let transport = HttpTransport::<u8, u8>::new().connect(member);
        transport.oneshot(Call::new(1)).await.unwrap_err()
    };
    let error = call(&served(limited).await).await;
    assert_eq!((error.kind(), error.code()), (Kind::RateLimited, Code::RATELIMIT_1501));
    assert!(
        error.to_string().ends_with("429; retry after 3600.000s: rate limit exceeded"),
        "{error}"
    );

    let first = served(by_go).await;
    // A plugin that passes on what another answered.
    let second = served(HttpTransport::<u8, u8>::new().connect(&first)).await;
    for member in [&first, &second] {
        let error = call(member).await;
        assert_eq!((error.kind(), error.code()), (Kind::Plugin, Code::SECURITY_1804));
        let said =
            "[SECURITY_1804] endpoint `tax-1`: plugin error: Path traversal attempt detected";
        assert_eq!(error.to_string(), said);
        assert_eq!(error.summary(), "[SECURITY_1804] endpoint `tax-1`: plugin error");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "Path traversal attempt detected");
    }
    let silent = service_fn(|_: Call<u8>| async {
        Err::<Reply<u8>, BoxError>("[SECURITY_0000] no such code".into())
    });
    let error = call(&served(silent).await).await;
    assert_eq!(error.code(), Code::PLUGIN_1206);
    assert!(error.to_string().ends_with("plugin error: [SECURITY_0000] no such code"), "{error}");
}

fn info() -> PluginInfo {
    PluginInfo::new("tax", "2.1.0")
        .with_description("<taxes>")
        .with_author("us")
        .with_capability("vat")
        .with_metadata("a", "b")
}

async fn cold() -> HealthStatus {
    HealthStatus::new(PluginStatus::Degraded).with_message("cold")
}

#[tokio::test]
async fn it_mounts_in_axum() {
    let served = serve::http(service_fn(tax)).info(info()).health(cold);
    let app: axum::Router =
        axum::Router::new().route_service("/other", served.clone()).fallback_service(served);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    round_trip(address).await;
}

#[tokio::test]
async fn it_mounts_in_hyper() {
    let served = serve::http(service_fn(tax)).info(info()).health(cold);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(served.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    round_trip(address).await;
    // Any HTTP client reaches it through `OriginLayer`.
    origin::over_a_real_client(address).await;
}

mod origin {
    use tower_upstream::{connect_fn, http::OriginLayer};

    use super::*;

    pub(super) async fn over_a_real_client(address: SocketAddr) {
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .build_http::<Full<Bytes>>();
        let connector = tower::ServiceBuilder::new()
            .layer(OriginLayer::new())
            .service(connect_fn(move |_: &Endpoint| client.clone()));
        let member = Member::new(Endpoint::new(format!("http://{address}/base/")).unwrap());
        let request = with("GET", "/info?x=1");
        let response = connector.connect(&member).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);

        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let member = Member::new(Endpoint::new(gone.to_string()).unwrap().with_key("gone"));
        let error = connector.connect(&member).oneshot(with("GET", "/")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
        assert_eq!(error.endpoint(), Some("gone"));
    }

    #[tokio::test]
    async fn without_a_member_requests_pass_as_they_are_and_errors_are_wrapped() {
        let echo = service_fn(|request: Request<()>| async move {
            match request.uri().path() {
                "/fail" => Err(std::io::Error::other("broken")),
                _ => Ok(Response::new(request.uri().to_string())),
            }
        });
        let service = tower::ServiceBuilder::new().layer(OriginLayer::new()).service(echo);
        let get = |uri: &str| Request::get(uri).body(()).unwrap();
        let answer = service.clone().oneshot(get("/v1")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "/v1");
        let error = service.oneshot(get("/fail")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false));

        let connector = tower::ServiceBuilder::new()
            .layer(OriginLayer::new())
            .service(connect_fn(move |_: &Endpoint| echo));
        let socket = Member::new(Endpoint::new("unix:/run/a.sock").unwrap());
        let error = connector.connect(&socket).oneshot(get("/v1")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true));
    }
}

mod track {
    use std::pin::Pin;

    use http_body::{Body, Frame};
    use tower_upstream::{
        connect_fn,
        http::{Track, TrackLayer},
    };

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    /// A body of these frames; it does not know when it ends.
    struct Slow(std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.0.next())
        }
    }

    fn answering<B: Body + 'static>(
        body: impl Fn() -> B + Clone + Send + 'static,
    ) -> Track<impl Connect<Service: Service<(), Response = Response<B>, Error = Infallible>>> {
        tower::ServiceBuilder::new().layer(TrackLayer::new()).service(connect_fn(
            move |_: &Endpoint| {
                let body = body.clone();
                service_fn(move |()| std::future::ready(Ok::<_, Infallible>(Response::new(body()))))
            },
        ))
    }

    fn slow(frames: fn() -> Frames) -> impl Fn() -> Slow + Clone + Send + 'static {
        move || Slow(frames().into_iter())
    }

    fn member() -> Arc<Member> {
        Member::new(Endpoint::new("a:1").unwrap())
    }

    #[tokio::test]
    async fn a_call_is_in_flight_until_its_body_ends() {
        let member = member();
        let connector = answering(slow(|| {
            vec![
                Ok(Frame::data(Bytes::from_static(b"x"))),
                Ok(Frame::data(Bytes::from_static(b"y"))),
            ]
        }));
        let begun = member.begin();
        let response = connector.connect(&member).oneshot(()).await.unwrap();
        assert_eq!(member.in_flight(), 2, "before the balancer gives up its own");
        drop(begun);
        let mut body = response.into_body();
        for _ in 0..2 {
            assert!(body.frame().await.unwrap().is_ok());
            assert_eq!(member.in_flight(), 1);
        }
        assert!(body.frame().await.is_none());
        assert_eq!((member.in_flight(), member.calls()), (0, 1), "one call, not two");
    }

    #[tokio::test]
    async fn trailers_errors_and_the_last_byte_end_it_too() {
        let over: [fn() -> Frames; 2] = [
            || vec![Ok(Frame::trailers(http::HeaderMap::new())), Err("more")],
            || vec![Err("reset"), Err("more")],
        ];
        for frames in over {
            let member = member();
            let mut response = answering(slow(frames)).connect(&member).oneshot(()).await.unwrap();
            assert_eq!(member.in_flight(), 1);
            let _ = response.frame().await;
            assert_eq!(member.in_flight(), 0);
        }
        let member = member();
        let known = answering(|| Full::new(Bytes::from_static(b"x")));
        let mut response = known.connect(&member).oneshot(()).await.unwrap();
        assert_eq!(member.in_flight(), 1);
        let _ = response.frame().await;
        assert_eq!(member.in_flight(), 0);
        let empty = answering(Full::<Bytes>::default);
        let _response = empty.connect(&member).oneshot(()).await.unwrap();
        assert_eq!(member.in_flight(), 0);
    }

    #[tokio::test]
    async fn dropping_gives_it_back_at_any_point() {
        let member = member();
        let connector = answering(slow(|| vec![Ok(Frame::data(Bytes::new()))]));
        let mut service = connector.connect(&member);
        drop(Service::call(&mut service, ()));
        assert_eq!(member.in_flight(), 0);
        let response = service.oneshot(()).await.unwrap();
        assert_eq!(member.in_flight(), 1);
        drop(response);
        assert_eq!(member.in_flight(), 0);
    }

    #[tokio::test]
    async fn without_a_member_nothing_is_counted() {
        let service =
            tower::ServiceBuilder::new().layer(TrackLayer::new()).service(service_fn(|()| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"x"))))
            }));
        let body = service.oneshot(()).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "x");
    }
}
