//! What callers show to be let in: on the wire, where it must not go, and at the other end.
#![cfg(feature = "http")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    convert::Infallible,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    time::timeout,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, Call, Endpoint, Error, FailoverLayer, LeastRequest, Reply,
    auth::{AuthConfig, AuthLayer, Authenticate, ClientCertified, Credentials, RequireAuthLayer},
    connect::Connect,
    connect_fn, discover,
    error::{Code, Kind},
    member::Member,
    serve,
    transport::HttpTransport,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Looked for in everything that is shown.
const SECRET: &str = "hunter2";

/// A server at `ip` that answers all requests alike, and tells their heads and bodies.
async fn server(ip: &str) -> (SocketAddr, mpsc::UnboundedReceiver<(String, String)>) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                    if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
                        continue;
                    }
                    let _ = tell.send((head.to_owned(), body.to_owned()));
                    bytes.clear();
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"data\":7}";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, told)
}

fn every_method() -> [Credentials; 6] {
    [
        Credentials::none(),
        Credentials::mtls(),
        Credentials::api_key(SECRET),
        Credentials::bearer(SECRET),
        Credentials::basic("Aladdin", SECRET),
        Credentials::headers([("X-Tenant-Key", SECRET)]),
    ]
}

#[tokio::test]
async fn each_method_is_on_the_wire_what_it_is_in_go() {
    let (address, mut told) = server("127.0.0.1").await;
    let member = Member::new(address.to_string().parse::<Endpoint>().unwrap());
    let lines = [
        None,
        None,
        Some("X-Api-Key: hunter2"),
        Some("Authorization: Bearer hunter2"),
        Some("Authorization: Basic QWxhZGRpbjpodW50ZXIy"),
        Some("X-Tenant-Key: hunter2"),
    ];
    for (credentials, line) in every_method().into_iter().zip(lines) {
        let by_layer = AuthLayer::new(credentials.clone()).layer(HttpTransport::<u64, u64>::new());
        let call = || {
            // What the caller wrote there itself gives way.
            Call::new(1)
                .with_header("authorization", "Mine own")
                .with_header("X-API-key", "mine own")
                .with_header("x-tenant-key", "mine own")
        };
        assert_eq!(by_layer.connect(&member).oneshot(call()).await.unwrap().into_body(), 7);
        let by_transport = HttpTransport::<u64, u64>::new().with_credentials(credentials.clone());
        let service = by_transport.connect(&member);
        service.clone().oneshot(call()).await.unwrap();
        for _ in 0..2 {
            let (head, body) = told.recv().await.unwrap();
            assert!(line.is_none_or(|line| head.lines().any(|of| of == line)), "{head}");
            assert_eq!(head.matches("wn").count(), if line.is_some() { 2 } else { 3 }, "{head}");
            assert!(!body.contains(SECRET) && body.contains("Mine own"), "{body}");
        }
        // Health and info show them as well, and a call that has its own shows that.
        service.health().await;
        drop(service.info().await);
        for _ in 0..2 {
            let (head, _) = told.recv().await.unwrap();
            assert!(line.is_none_or(|line| head.lines().any(|of| of == line)), "{head}");
        }
        let other = call().with_credentials(Credentials::bearer("other"));
        service.oneshot(other).await.unwrap();
        let (head, _) = told.recv().await.unwrap();
        assert!(head.contains("Authorization: Bearer other") && !head.contains(SECRET), "{head}");
    }
}

#[test]
fn grpc_has_keys_of_its_own() {
    let keys = |credentials: &Credentials| {
        let pair = |(name, value): &(http::HeaderName, http::HeaderValue)| {
            format!("{name}={}", value.to_str().unwrap())
        };
        credentials.grpc_metadata().unwrap().iter().map(pair).collect::<Vec<_>>().join(" ")
    };
    let expected = [
        "",
        "",
        "x-api-key=hunter2",
        "authorization=Bearer hunter2",
        "x-username=Aladdin x-password=hunter2",
        "x-tenant-key=hunter2",
    ];
    for (credentials, expected) in every_method().iter().zip(expected) {
        assert_eq!(keys(credentials), expected);
    }
    // Over gRPC, headers go with any method; over HTTP, with `custom` alone.
    let text = r#"{"method":"bearer","token":"t","headers":{"X-Extra":"1"}}"#;
    let both = serde_json::from_str::<AuthConfig>(text).unwrap().credentials().unwrap();
    assert_eq!(keys(&both), "authorization=Bearer t x-extra=1");
    assert_eq!(both.http_fields().unwrap().len(), 1);
}

/// An address of this host that is not its loopback.
fn address_of_a_network() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: a route is looked up.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then(|| ip.to_string())
}

#[tokio::test]
async fn without_tls_credentials_leave_this_host_only_where_that_is_allowed() {
    let Some(ip) = address_of_a_network() else {
        println!("SKIP: this host has no address but its loopback");
        return;
    };
    let (address, mut told) = server(&ip).await;
    let transport = HttpTransport::<u64, u64>::new();
    let handle = transport.handle();
    let member = Member::new(address.to_string().parse::<Endpoint>().unwrap());
    let service = transport.connect(&member);
    for credentials in &every_method()[2..] {
        let call = Call::new(1).with_credentials(credentials.clone());
        let error = service.clone().oneshot(call).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::AUTH_1105));
        assert!(error.is_unsent() && handle.stats().failed == Some(0), "{error}");
        let text = error.to_string();
        assert!(text.contains("allow_plaintext") && text.contains(&ip), "{text}");
        assert!(told.try_recv().is_err());
    }
    // Nor does a stack over several endpoints, and none of them is at fault.
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(AuthLayer::new(Credentials::bearer(SECRET)))
        .layer(BalanceLayer::new(
            discover::fixed([address.to_string()]).unwrap(),
            LeastRequest::new(),
        ))
        .service(HttpTransport::<u64, u64>::new());
    let error = stack.oneshot(Call::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig, "{error}");
    let health = HttpTransport::<u64, u64>::new()
        .with_credentials(Credentials::bearer(SECRET))
        .connect(&member)
        .health()
        .await;
    assert!(health.message.contains("allow_plaintext"), "{}", health.message);
    assert!(told.try_recv().is_err());
    // The same connection carries what has nothing to hide, and what may be read.
    let allowed = Credentials::bearer(SECRET).allow_plaintext(true);
    for credentials in [Credentials::none(), Credentials::mtls(), allowed] {
        let call = Call::new(1).with_credentials(credentials);
        assert_eq!(service.clone().oneshot(call).await.unwrap().into_body(), 7);
        told.recv().await.unwrap();
    }
    assert_eq!(handle.connections(), 1);
}

/// Over gRPC, headers go with any method, and so are kept as any secret is.
#[cfg(feature = "grpc")]
#[tokio::test]
async fn without_tls_headers_of_any_method_do_not_leave_this_host_over_grpc() {
    let Some(ip) = address_of_a_network() else {
        println!("SKIP: this host has no address but its loopback");
        return;
    };
    let listener = tokio::net::TcpListener::bind((ip.as_str(), 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let member = Member::new(address.parse::<Endpoint>().unwrap());
    let service = tower_upstream::transport::GrpcTransport::<u64, u64>::new().connect(&member);
    for method in [r#""none""#, r#""mtls","cert_file":"c","key_file":"k""#] {
        let text = format!(r#"{{"method":{method},"headers":{{"x-key":"hunter2"}}}}"#);
        let credentials: AuthConfig = serde_json::from_str(&text).unwrap();
        let call = Call::new(1).with_credentials(credentials.credentials().unwrap());
        let call = call.with_timeout(std::time::Duration::from_secs(5));
        let error = service.clone().oneshot(call).await.unwrap_err();
        assert_eq!((error.code(), error.is_unsent()), (Code::AUTH_1105, true), "{error}");
    }
    drop(listener);
}

#[tokio::test]
async fn a_request_of_http_is_given_them_where_they_cannot_be_read() {
    let echo = service_fn(|request: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(request.headers().clone()))
    });
    let auth = AuthLayer::new(Credentials::bearer(SECRET));
    let over = auth.layer(echo);
    let below = |address: &str| {
        let member = Member::new(address.parse::<Endpoint>().unwrap());
        auth.layer(connect_fn(move |_: &Endpoint| echo)).connect(&member)
    };
    let to = |uri: &str| Request::get(uri).header("Authorization", "Mine own").body(()).unwrap();
    let bearer = |headers: HeaderMap| {
        let values: Vec<_> = headers.get_all(AUTHORIZATION).iter().cloned().collect();
        assert_eq!(values, ["Bearer hunter2"]);
        assert!(values[0].is_sensitive());
    };
    for uri in ["https://a.test/", "http://127.0.0.1:80/", "http://localhost/x"] {
        bearer(over.clone().oneshot(to(uri)).await.unwrap());
    }
    bearer(below("https://a.test").oneshot(to("/x")).await.unwrap());
    bearer(below("https://a.test").oneshot(to("http://b.test/x")).await.unwrap());
    for (service, uri, part) in [
        (over.clone().boxed_clone(), "http://a.test/", "`a.test` is another host"),
        (over.boxed_clone(), "/x", "cannot tell where"),
        (below("http://a.test").boxed_clone(), "/x", "`http://a.test` is another host"),
        (below("10.0.0.1:80").boxed_clone(), "https://b.test/x", "is another host"),
    ] {
        let error = service.oneshot(to(uri)).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.is_unsent() && error.kind() == Kind::InvalidConfig);
    }
}

#[test]
fn a_config_has_the_names_of_go_and_names_all_its_mistakes() {
    let read = |text: &str| serde_json::from_str::<AuthConfig>(text);
    let checked = |text: &str| read(text).unwrap().validate();
    for right in [
        "{}",
        r#"{"method":""}"#,
        r#"{"method":"none"}"#,
        r#"{"method":"api-key","api_key":"k"}"#,
        r#"{"method":"bearer","token":"t"}"#,
        r#"{"method":"basic","username":"u","password":"p"}"#,
        r#"{"method":"mtls","cert_file":"c","key_file":"k","ca_file":"a"}"#,
        r#"{"method":"custom","headers":{"X-A":"1"}}"#,
        r#"{"method":"custom"}"#,
        r#"{"method":"none","cert_file":"","key_file":"","allow_plaintext":true}"#,
    ] {
        assert!(checked(right).is_ok(), "{right}: {:?}", checked(right));
    }
    for (wrong, code, parts) in [
        (r#"{"method":"api-key"}"#, Code::AUTH_1101, &["api_key"][..]),
        (r#"{"method":"bearer","api_key":"hunter2"}"#, Code::AUTH_1102, &["token"]),
        (r#"{"method":"basic","username":"u"}"#, Code::AUTH_1103, &["password"]),
        (
            r#"{"method":"basic","username":"u:hunter2","password":"p"}"#,
            Code::AUTH_1103,
            &["colon"],
        ),
        (r#"{"method":"mtls","cert_file":"c"}"#, Code::AUTH_1104, &["key_file"]),
        (r#"{"method":"bearer","token":"hunter2\n"}"#, Code::AUTH_1105, &["control character"]),
        (r#"{"method":"custom","headers":{"Host":"hunter2"}}"#, Code::AUTH_1105, &["Host"]),
        // It would be left out over gRPC, where it is sent.
        (
            r#"{"method":"mtls","cert_file":"c","key_file":"k","headers":{"X":"hunter2\n"}}"#,
            Code::AUTH_1105,
            &["`x`"],
        ),
        (
            r#"{"method":"custom","headers":{"X A":"1","Content-Length":"2","X":"hunter2\r\n"},"key_file":"k"}"#,
            Code::AUTH_1105,
            &["`X A`", "Content-Length", "`x`", "need each other"],
        ),
    ] {
        let error = checked(wrong).unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, Kind::InvalidConfig), "{error}");
        let text = format!("{error} {error:?}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    for (unread, part) in [
        (r#"{"method":"api_key"}"#, "`api-key`"),
        (r#"{"token":12345}"#, "in quotes"),
        (r#"{"tokens":"hunter2"}"#, "tokens"),
    ] {
        let text = read(unread).unwrap_err().to_string();
        assert!(text.contains(part) && !text.contains("12345") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let config: AuthConfig = serde_json::from_value(serde_json::json!({
        "method": "basic", "username": SECRET, "password": SECRET, "token": SECRET,
        "api_key": SECRET, "headers": {"X-A": SECRET},
    }))
    .unwrap();
    let mut shown = vec![format!("{config:?}"), serde_json::to_string(&config).unwrap()];
    shown.push(format!("{:?}", config.credentials().unwrap()));
    for credentials in every_method() {
        let layer = AuthLayer::new(credentials.clone());
        let call = Call::new(1).with_credentials(credentials.clone());
        let require =
            RequireAuthLayer::new([credentials.clone()]).forbidding([credentials.clone()]);
        let transport = HttpTransport::<u64, u64>::new().with_credentials(credentials.clone());
        let member = Member::new("127.0.0.1:1".parse::<Endpoint>().unwrap());
        let service = transport.connect(&member);
        shown.push(format!("{credentials:?} {layer:?} {call:?} {require:?} {transport:?}"));
        shown.push(format!("{service:?} {:?} {:?}", layer.layer(7), require.layer(7)));
        let mut future = Box::pin(service.clone().oneshot(call));
        shown.push(format!("{future:?}"));
        // Nothing listens there.
        let error = future.as_mut().await.unwrap_err();
        shown.push(format!("{error} {error:?}"));
        let mut request = Request::new(());
        let plain = request.authenticate(&credentials, None);
        shown.push(format!("{plain:?} {request:?}"));
        let exact = request.authenticate(&credentials.clone().allow_plaintext(true), None);
        shown.push(format!("{exact:?} {request:?}"));
        shown.push(format!("{:?}", credentials.http_fields().unwrap()));
        shown.push(format!("{:?}", credentials.grpc_metadata().unwrap()));
    }
    for credentials in [
        Credentials::bearer(format!("{SECRET}\n")),
        Credentials::basic(format!("a:{SECRET}"), SECRET),
        Credentials::headers([("X A", SECRET), ("X-B", "hunter2\n")]),
    ] {
        let error = credentials.http_fields().unwrap_err();
        shown.push(format!("{credentials:?} {error} {error:?}"));
    }
    for text in shown {
        assert!(!text.contains(SECRET) && !text.contains("aHVudGVyM"), "{text}");
        assert!(!text.contains("odW50ZXIy"), "{text}");
    }
}

fn plugin()
-> impl Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone {
    serve::http(service_fn(|call: Call<u64>| async move {
        Ok::<_, Infallible>(Reply::new(call.body() * 2))
    }))
}

async fn asked<S>(service: S, header: Option<(&str, &str)>) -> (StatusCode, Vec<String>, String)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let mut request = Request::post("/").body(Full::new(Bytes::from(r#"{"data":3}"#))).unwrap();
    if let Some((name, value)) = header {
        let name = name.parse::<http::HeaderName>().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    let challenges = parts.headers.get_all(WWW_AUTHENTICATE).iter();
    let challenges = challenges.map(|value| value.to_str().unwrap().to_owned()).collect();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, challenges, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn only_what_proves_one_of_the_list_is_let_in() {
    let layer = RequireAuthLayer::new([Credentials::bearer("new"), Credentials::api_key("k")])
        .forbidding([Credentials::bearer("guest")]);
    let guarded = layer.layer(plugin());
    for right in [("authorization", "Bearer new"), ("X-API-Key", "k")] {
        let (status, _, body) = asked(guarded.clone(), Some(right)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains(r#""data":6"#), "{body}");
    }
    // Nothing tells what was wrong.
    let nothing = asked(guarded.clone(), None).await;
    assert_eq!(nothing.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        nothing.1,
        [r#"ApiKey realm="plugin", header="X-Api-Key""#, r#"Bearer realm="plugin""#]
    );
    for wrong in [
        ("authorization", "Bearer old"),
        ("authorization", "Bearer ne"),
        ("authorization", "Basic bmV3"),
        ("x-api-key", "new"),
    ] {
        assert_eq!(asked(guarded.clone(), Some(wrong)).await, nothing, "{wrong:?}");
    }
    let (status, challenges, _) =
        asked(guarded.clone(), Some(("authorization", "Bearer guest"))).await;
    assert_eq!((status, challenges.len()), (StatusCode::FORBIDDEN, 0));
    // A rotation: the old one and the new one, then the new one alone.
    let old = Some(("authorization", "Bearer old"));
    layer.update([Credentials::bearer("new"), Credentials::bearer("old")]);
    assert_eq!(asked(guarded.clone(), old).await.0, StatusCode::OK);
    layer.update([Credentials::bearer("new")]);
    assert_eq!(asked(guarded.clone(), old).await.0, StatusCode::UNAUTHORIZED);
    let (status, ..) = asked(guarded.clone(), Some(("authorization", "Bearer guest"))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    // What no header can prove is no challenge.
    layer.update([]);
    assert_eq!(asked(guarded, old).await.0, StatusCode::FORBIDDEN);
    let certified = RequireAuthLayer::new([Credentials::mtls()]).layer(plugin());
    assert_eq!(asked(certified.clone(), None).await.0, StatusCode::FORBIDDEN);
    let mut request = Request::post("/").body(Full::new(Bytes::from(r#"{"data":3}"#))).unwrap();
    request.extensions_mut().insert(ClientCertified);
    assert_eq!(certified.oneshot(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn who_is_not_let_in_reaches_no_plugin() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let plugin = serve::http(service_fn(move |_: Call<u64>| {
        counted.fetch_add(1, SeqCst);
        async { Ok::<_, Infallible>(Reply::new(0)) }
    }));
    let guarded = RequireAuthLayer::new([Credentials::basic("a", "b")]).layer(plugin);
    let (_, challenges, _) = asked(guarded.clone(), None).await;
    assert_eq!(challenges, [r#"Basic realm="plugin", charset="UTF-8""#]);
    assert_eq!(calls.load(SeqCst), 0);
    asked(guarded, Some(("authorization", "Basic YTpi"))).await;
    assert_eq!(calls.load(SeqCst), 1);
}

#[tokio::test]
async fn both_ends_understand_each_other_whatever_the_method() {
    for credentials in &every_method()[2..] {
        let guarded = RequireAuthLayer::new([credentials.clone()]).layer(plugin_for_axum());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback_service(guarded);
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        let member = Member::new(address.to_string().parse::<Endpoint>().unwrap());
        let service = HttpTransport::<u64, u64>::new().connect(&member);
        let with = Call::new(4).with_credentials(credentials.clone());
        let reply = timeout(PATIENCE, service.clone().oneshot(with)).await.unwrap();
        assert_eq!(reply.unwrap().into_body(), 8);
        let error: Error = service.oneshot(Call::new(4)).await.unwrap_err();
        // It is an answer: no other endpoint would do better, and none is at fault.
        assert_eq!(error.kind(), Kind::Plugin);
        assert!(error.to_string().contains("401") && error.to_string().contains("not authorized"));
        server.abort();
    }
}

fn plugin_for_axum() -> serve::HttpServe<
    impl Service<Call<u64>, Response = Reply<u64>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync,
    u64,
> {
    serve::http(service_fn(|call: Call<u64>| async move {
        Ok::<_, Infallible>(Reply::new(call.body() * 2))
    }))
}
