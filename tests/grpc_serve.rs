//! `serve::grpc` on a listener, with credentials, and health checks of it.
#![cfg(feature = "grpc")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use grpc::{GRPC, Seen, Server, message, response, status, within};
use tokio::{sync::Notify, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Call, Endpoint, HealthGateLayer, LeastRequest, Reply,
    auth::{Credentials, RequireAuthLayer},
    connect::Connect,
    discover,
    error::{Code, Kind},
    health::{Check, GrpcCheck, HealthConfig, Initial, PluginCheck, Verdict},
    member::Member,
    plugin::HealthStatus,
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
