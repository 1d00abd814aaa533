//! `serve::grpc` on a listener, with credentials, and health checks of it.
#![cfg(feature = "grpc")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use grpc::{GRPC, Seen, Server, message, response, status, within};
use http_body::Body;
use http_body_util::Full;
use tokio::{sync::Notify, time::sleep};
use tonic::{metadata::MetadataMap, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Call, Endpoint, HealthGateLayer, LeastRequest, Reply,
    auth::{Credentials, RequireAuthLayer},
    connect::Connect,
    discover,
    error::{Code, Kind},
    health::{Check, GrpcCheck, HealthConfig, Initial, PluginCheck, Verdict},
    member::Member,
    plugin::{HealthStatus, PluginInfo},
    serve,
    transport::GrpcTransport,
};

async fn double(call: Call<u64>) -> Result<Reply<u64>, Infallible> {
    Ok(Reply::new(call.body() * 2))
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_and_nothing_more() {
    let (arrived, goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, may) = (arrived.clone(), goes.clone());
    let slow = service_fn(move |call: Call<u64>| {
        let (told, may) = (told.clone(), may.clone());
        async move {
            told.notify_one();
            may.notified().await;
            double(call).await
        }
    });
    let server = serve::grpc(slow).bind("127.0.0.1:0").listen().await.unwrap();
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    let member = Member::new(address.parse::<Endpoint>().unwrap());
    let service = GrpcTransport::<u64, u64>::new().connect(&member);
    let first = tokio::spawn(service.clone().oneshot(Call::new(7)));
    within(arrived.notified()).await;
    stop.send(()).unwrap();
    sleep(Duration::from_millis(20)).await;
    goes.notify_one();
    assert_eq!(within(first).await.unwrap().unwrap().into_body(), 14);
    within(running).await.unwrap();
    let error = within(service.oneshot(Call::new(7))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
}

#[tokio::test]
async fn a_call_that_waits_to_be_accepted_when_a_server_stops_is_answered() {
    let server = serve::grpc(service_fn(double)).bind("127.0.0.1:0").listen().await.unwrap();
    let member = Member::new(server.address().parse::<Endpoint>().unwrap());
    let called = GrpcTransport::<u64, u64>::new().connect(&member).oneshot(Call::new(7));
    let called = tokio::spawn(called);
    // It is sent, and nothing has accepted its connection.
    sleep(Duration::from_millis(50)).await;
    within(server.run_until(std::future::ready(()))).await;
    assert_eq!(within(called).await.unwrap().unwrap().into_body(), 14);
}

#[tokio::test]
async fn credentials_are_metadata_and_a_server_may_ask_for_them() {
    let guarded = ServiceBuilder::new()
        .layer(RequireAuthLayer::new([Credentials::bearer("abc.def")]))
        .service(serve::grpc(service_fn(double)));
    let server = serve::http_service(guarded, "127.0.0.1:0").listen().await.unwrap();
    let member = Member::new(server.address().parse::<Endpoint>().unwrap());
    tokio::spawn(server.run_until(std::future::pending()));
    let plain = GrpcTransport::<u64, u64>::new();
    let error = within(plain.connect(&member).oneshot(Call::new(7))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Plugin, false), "{error}");
    assert!(error.to_string().contains("authentication failed"), "{error}");
    let own = Call::new(7).with_credentials(Credentials::bearer("abc.def"));
    assert!(within(plain.connect(&member).oneshot(own)).await.is_ok());
    let knows = GrpcTransport::<u64, u64>::new().with_credentials(Credentials::bearer("abc.def"));
    let service = knows.connect(&member);
    assert!(within(service.clone().oneshot(Call::new(7))).await.is_ok());
    assert!(within(service.health()).await.status.is_usable());
    assert!(within(service.info()).await.is_ok());
}

/// A client of tonic at `address`.
fn tonic(address: &str) -> HealthClient<Channel> {
    let address = address.replacen("grpc:", "http:", 1);
    HealthClient::new(Channel::from_shared(address).unwrap().connect_lazy())
}

#[tokio::test]
async fn a_server_asks_clients_of_tonic_for_proof() {
    let accepted = [
        Credentials::api_key("k-17"),
        Credentials::bearer("abc.def"),
        Credentials::basic("tax", "s3cret"),
        Credentials::headers([("x-tenant-key", "t-17")]),
    ];
    let layer =
        RequireAuthLayer::new(accepted.clone()).forbidding([Credentials::basic("guest", "guest")]);
    let guarded = layer.layer(serve::grpc(service_fn(double)));
    // Nothing but trailers: in the head, at the end of the stream.
    let request = http::Request::post("/PluginService/Execute")
        .header("content-type", "application/grpc+json")
        .body(Full::<Bytes>::default());
    let response = guarded.clone().oneshot(request.unwrap()).await.unwrap();
    let headers = response.headers();
    assert!(response.status() == 200 && response.body().is_end_stream());
    assert_eq!(headers["content-type"], "application/grpc+json");
    assert!(headers["grpc-status"] == "16" && headers["grpc-message"] == "not authorized");
    let request = http::Request::post("/PluginService/Execute").body(Full::<Bytes>::default());
    assert_eq!(guarded.clone().oneshot(request.unwrap()).await.unwrap().status(), 401);

    let server = Server::new(guarded).await;
    let mut client = tonic(&server.url());
    let mut check = async |credentials: Option<&Credentials>| {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        let shown = credentials.map(|of| of.grpc_metadata().unwrap()).unwrap_or_default();
        *request.metadata_mut() = MetadataMap::from_headers(shown.into_iter().collect());
        within(client.check(request)).await.map(|told| told.into_inner().status)
    };
    for credentials in &accepted {
        assert_eq!(check(Some(credentials)).await.unwrap(), 1, "{credentials:?}");
    }
    for (credentials, code) in [
        (None, tonic::Code::Unauthenticated),
        (Some(Credentials::bearer("abc")), tonic::Code::Unauthenticated),
        (Some(Credentials::basic("tax", "secret")), tonic::Code::Unauthenticated),
        (Some(Credentials::basic("guest", "guest")), tonic::Code::PermissionDenied),
    ] {
        assert_eq!(check(credentials.as_ref()).await.unwrap_err().code(), code, "{credentials:?}");
    }
}

#[tokio::test]
async fn a_caller_that_watches_the_health_hears_of_each_change_and_of_the_end() {
    let ill = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let (is_ill, count) = (ill.clone(), asked.clone());
    let health = move || {
        count.fetch_add(1, SeqCst);
        let ill = is_ill.load(SeqCst);
        async move { if ill { HealthStatus::unhealthy("no rates") } else { HealthStatus::healthy() } }
    };
    let server = serve::grpc(service_fn(double))
        .info(PluginInfo::new("tax", "1.0.0"))
        .health(health)
        .watch_interval(Duration::from_millis(10))
        .bind("127.0.0.1:0")
        .listen()
        .await
        .unwrap();
    let mut client = tonic(&server.address());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    let mut watch = async |service: &str| {
        let request = HealthCheckRequest { service: service.into() };
        within(client.watch(request)).await.unwrap().into_inner()
    };
    let (mut whole, mut named, mut other) = (watch("").await, watch("tax").await, watch("x").await);
    let next = async |of: &mut tonic::Streaming<HealthCheckResponse>| {
        within(of.message()).await.map(|told| told.map(|told| told.status))
    };
    assert_eq!(next(&mut other).await.unwrap(), Some(3));
    for status in [1, 2, 1] {
        for watch in [&mut whole, &mut named] {
            assert_eq!(next(watch).await.unwrap(), Some(status));
        }
        ill.store(status == 1, SeqCst);
    }
    // However many watch, it is asked once at a time; and not for one that has gone.
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(watch("").await);
    }
    let before = asked.load(SeqCst);
    sleep(Duration::from_millis(200)).await;
    assert!((1..=25).contains(&(asked.load(SeqCst) - before)));
    drop((many, whole));
    assert_eq!(next(&mut named).await.unwrap(), Some(2));
    ill.store(false, SeqCst);
    assert_eq!(next(&mut named).await.unwrap(), Some(1));
    stop.send(()).unwrap();
    assert_eq!(next(&mut named).await.unwrap(), Some(2), "it stops");
    for watch in [&mut named, &mut other] {
        let end = next(watch).await.unwrap_err();
        assert_eq!((end.code(), end.message()), (tonic::Code::Unavailable, "the server stops"));
    }
    // At once, rather than after `drain_timeout`.
    within(running).await.unwrap();
}

#[tokio::test]
async fn so_many_may_watch_and_no_more() {
    let served = serve::grpc(service_fn(double));
    let watch = || {
        let request = http::Request::post("/grpc.health.v1.Health/Watch")
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from_static(&[0; 5])));
        served.clone().oneshot(request.unwrap())
    };
    let mut open = Vec::new();
    for _ in 0..1_024 {
        open.push(watch().await.unwrap());
    }
    assert_eq!(watch().await.unwrap().headers()["grpc-status"], "8");
    open.pop();
    assert!(!watch().await.unwrap().headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn credentials_have_the_keys_of_go() {
    let server = Server::answering(|seen: &Seen| {
        let shown = |name| seen.headers.get(name).map_or("-", |of| of.to_str().unwrap());
        let all = ["x-api-key", "authorization", "x-username", "x-password", "x-signature"];
        let text = serde_json::to_string(&all.map(shown).join(" ")).unwrap();
        response(200, &[GRPC], message(&text), &[("grpc-status", "0")])
    });
    let server = server.await;
    let member = Member::new(server.url().parse::<Endpoint>().unwrap());
    let service = GrpcTransport::<u64, String>::new().connect(&member);
    for (credentials, shown) in [
        (Credentials::none(), "- - - - -"),
        (Credentials::api_key("k-17"), "k-17 - - - -"),
        (Credentials::bearer("abc"), "- Bearer abc - - -"),
        (Credentials::basic("tax", "s3cret"), "- - tax s3cret -"),
        (Credentials::headers([("X-Signature", "s")]), "- - - - s"),
    ] {
        let call = Call::new(7).with_credentials(credentials);
        assert_eq!(within(service.clone().oneshot(call)).await.unwrap().into_body(), shown);
    }
    let empty = Call::new(7).with_credentials(Credentials::bearer(""));
    let error = within(service.clone().oneshot(empty)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::AUTH_1102), "{error}");
}

async fn checked(check: &impl Check, address: &str) -> Verdict {
    let endpoint = Arc::new(address.parse::<Endpoint>().unwrap());
    assert_eq!(check.problem(Some(&endpoint)), None);
    within(check.check(Some(endpoint))).await
}

#[tokio::test]
async fn a_check_asks_by_the_standard() {
    let server = Server::answering(|seen: &Seen| {
        assert_eq!(seen.path, "/grpc.health.v1.Health/Check");
        match &seen.body[5..] {
            b"" => response(200, &[GRPC], message("\u{8}\u{1}"), &[("grpc-status", "0")]),
            b"\x0a\x03ill" => {
                response(200, &[GRPC], message("\u{8}\u{2}"), &[("grpc-status", "0")])
            }
            b"\x0a\x03old" => status("12", &[]),
            _ => status("5", &[("grpc-message", "no such service")]),
        }
    });
    let server = server.await;
    let of = |name: &str| GrpcCheck::new().service(name);
    assert_eq!(checked(&of(""), &server.url()).await, Verdict::Healthy);
    for (service, reason) in [
        ("ill", "its status is NOT_SERVING"),
        ("old", "it has no `grpc.health.v1`"),
        ("other", "NotFound: no such service"),
    ] {
        assert_eq!(checked(&of(service), &server.url()).await, Verdict::Unhealthy(reason.into()));
    }
    let url = server.url();
    drop(server);
    let Verdict::Unhealthy(reason) = checked(&of(""), &url).await else { panic!("healthy") };
    assert!(reason.contains("request failed: "), "{reason}");
    assert!(of("").problem(None).is_some());
    assert!(of("").problem(Some(&"unix:/run/a".parse().unwrap())).is_some());
}

#[tokio::test]
async fn a_gate_keeps_calls_from_a_plugin_that_says_it_is_ill() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = ill.clone();
    let health = move || {
        let ill = is_ill.load(SeqCst);
        async move { if ill { HealthStatus::unhealthy("no rates") } else { HealthStatus::healthy() } }
    };
    let server = Server::new(serve::grpc(service_fn(double)).health(health)).await;
    let config =
        || HealthConfig::default().with_initial(Initial::Unhealthy).with_rise(1).with_fall(1);
    let by_check = HealthGateLayer::with_config(GrpcCheck::new(), config());
    let by_plugin =
        HealthGateLayer::with_config(PluginCheck::new(GrpcTransport::<(), ()>::new()), config());
    let (one, other) = (by_check.monitor(), by_plugin.monitor());
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([server.url()]).unwrap(), LeastRequest::new()))
        .layer(by_check)
        .layer(by_plugin)
        .service(GrpcTransport::<u64, u64>::new());
    let call = || within(stack.clone().oneshot(Call::new(7)));
    let _ = call().await;
    for healthy in [false, true] {
        ill.store(!healthy, SeqCst);
        one.force_check().await;
        other.force_check().await;
        let healthies = [one.healthy(), other.healthy()].map(|set| set.endpoints.len());
        assert_eq!(healthies, [usize::from(healthy); 2]);
    }
    assert_eq!(call().await.map(Reply::into_body).map_err(BoxError::from).unwrap(), 14);
}
