//! `GrpcTransport` against servers of which every header and byte is known, and against `serve::grpc`.
#![cfg(feature = "grpc")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use grpc::{GRPC, Log, Seen, Server, connect, message, response, status, until, well, within};
use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Call, ConcurrencyLimitLayer, Endpoint, Error, Quota, RateLimitLayer, Reply,
    connect::Connect,
    error::{Code, Kind},
    grpc::Native,
    member::Member,
    plugin::{HealthStatus, PluginInfo, PluginStatus},
    serve,
    transport::{GrpcConfig, GrpcFuture, GrpcService, GrpcTransport},
};

type Tax = GrpcService<u64, u64>;

fn config() -> GrpcConfig {
    GrpcConfig::default()
}

async fn call(service: &Tax, number: u64) -> Result<u64, Error> {
    within(service.clone().oneshot(Call::new(number))).await.map(Reply::into_body)
}

/// A server that keeps what it is sent, and answers twice the number.
async fn recording() -> (Server, Log) {
    let log = Log::default();
    let seen = log.clone();
    let server = Server::answering(move |request: &Seen| {
        seen.lock().unwrap().push(request.clone());
        well(&(request.number() * 2).to_string())
    });
    (server.await, log)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_one_of_go_with_its_metadata_and_the_time_that_is_left() {
    let (server, log) = recording().await;
    let service = server.service(config());
    let asked = Call::new(10)
        .with_id("r-7")
        .with_header("X-Tenant", "blue")
        .with_header("Grpc-Encoding", "gzip")
        .with_header("Te", "gzip")
        .with_metadata("trace", "t-9")
        .with_timeout(Duration::from_secs(90));
    let reply = service.clone().oneshot(asked).await.unwrap();
    assert_eq!((*reply.body(), reply.endpoint()), (20, Some("tax-1")));
    sleep(Duration::from_millis(500)).await;
    let late = Call::new(1).with_timeout(Duration::from_secs(2));
    sleep(Duration::from_millis(500)).await;
    service.clone().oneshot(late).await.unwrap();
    let log = log.lock().unwrap();
    let mut found: Vec<_> =
        log[0].headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    found.sort();
    let agent = format!("tower-upstream/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        found,
        [
            ("content-length", "7"),
            ("content-type", "application/grpc"),
            // As long as the transport waits.
            ("grpc-timeout", "30000000u"),
            ("te", "trailers"),
            ("user-agent", &agent),
            ("x-metadata-bin", "eyJ0cmFjZSI6InQtOSJ9"),
            ("x-request-id", "r-7"),
            ("x-tenant", "blue"),
        ]
    );
    assert_eq!((&*log[0].path, &log[0].body), ("/PluginService/Execute", &message("10")));
    assert_eq!(log[1].headers["grpc-timeout"], "1500000u");
}

/// What a call comes to that is answered so.
async fn answered(
    answer: impl Fn(&Seen) -> http::Response<grpc::Frames> + Clone + Send + Sync + 'static,
) -> Result<Reply<u64>, Error> {
    let server = Server::answering(answer).await;
    within(server.service(config()).oneshot(Call::new(7))).await
}

#[tokio::test]
async fn an_answer_is_one_message_with_its_metadata() {
    let reply = answered(|_| {
        let headers = [GRPC, ("x-request-id", "r-7"), ("x-metadata-bin", "eyJtcyI6IjQifQ==")];
        response(200, &headers, message("5"), &[("grpc-status", "0")])
    });
    let reply = reply.await.unwrap();
    assert_eq!((*reply.body(), reply.request_id(), &*reply.metadata()["ms"]), (5, "r-7", "4"));
    // No bytes are the zero value.
    let empty = answered(|_| response(200, &[GRPC], message(""), &[("grpc-status", "0")])).await;
    assert_eq!(empty.unwrap().into_body(), 0);
    let other = ("content-type", "application/grpc+json");
    let other = answered(move |_| response(200, &[other], message("5"), &[("grpc-status", "0")]));
    assert_eq!(other.await.unwrap().into_body(), 5);
}

#[tokio::test]
async fn what_is_no_right_answer_is_an_error() {
    let ok = [("grpc-status", "0")];
    for (answer, kind, part) in [
        (response(200, &[GRPC], message("5"), &[]), Kind::Transport, "no `grpc-status`"),
        (response(200, &[GRPC], Bytes::new(), &ok), Kind::Transport, "no message"),
        (response(200, &[GRPC], Bytes::from_static(b"\0\0\0\0\x09x"), &ok), Kind::Transport, "cut"),
        (
            response(200, &[GRPC], [message("5"), message("5")].concat().into(), &ok),
            Kind::Transport,
            "more than one message",
        ),
        (
            response(200, &[GRPC], Bytes::from_static(b"\x01\0\0\0\x01x"), &ok),
            Kind::Transport,
            "compressed",
        ),
        (response(200, &[GRPC], message("x"), &ok), Kind::Transport, "expected value"),
        (
            response(200, &[("content-type", "text/html")], message("5"), &ok),
            Kind::Transport,
            "`text/html`",
        ),
        (response(502, &[], Bytes::new(), &[]), Kind::Transport, "its status is 502"),
        (response(404, &[], Bytes::new(), &[]), Kind::Plugin, "its status is 404"),
        (response(429, &[("retry-after", "3")], Bytes::new(), &[]), Kind::RateLimited, "429"),
    ] {
        let answer = Mutex::new(Some(answer));
        let answer = Arc::new(answer);
        let error = answered(move |_| answer.lock().unwrap().take().unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (kind, false), "{error}");
        let code = match kind {
            // The message is of another type.
            Kind::Transport if part == "expected value" => Code::RPC_2005,
            Kind::Transport => Code::TRANSPORT_1302,
            kind => kind.code(),
        };
        assert_eq!((error.code(), error.endpoint()), (code, Some("tax-1")), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(error.retry_after().is_some(), kind == Kind::RateLimited, "{error}");
    }
}

#[tokio::test]
async fn each_status_has_its_kind_and_the_text_of_go() {
    for (code, kind, text) in [
        ("1", Kind::Service, "gRPC error [Cancelled]: why"),
        ("2", Kind::Plugin, "gRPC error [Unknown]: why"),
        ("3", Kind::Plugin, "invalid request: why"),
        ("4", Kind::Timeout, "request timeout: why"),
        ("5", Kind::Plugin, "gRPC error [NotFound]: why"),
        ("7", Kind::Plugin, "permission denied: why"),
        ("8", Kind::RateLimited, "gRPC error [ResourceExhausted]: why"),
        ("12", Kind::Plugin, "gRPC error [Unimplemented]: why"),
        ("13", Kind::Service, "gRPC error [Internal]: why"),
        ("14", Kind::Transport, "service unavailable: why"),
        ("16", Kind::Plugin, "authentication failed: why"),
    ] {
        // In the head alone, and after a message.
        for in_head in [true, false] {
            let error = answered(move |_| match in_head {
                true => status(code, &[("grpc-message", "why")]),
                false => response(
                    200,
                    &[GRPC],
                    message("5"),
                    &[("grpc-status", code), ("grpc-message", "why")],
                ),
            });
            let error = error.await.unwrap_err();
            assert_eq!((error.kind(), error.is_unsent()), (kind, false), "{code}: {error}");
            assert!(error.to_string().contains(text), "{code}: {error}");
            let status = error.downcast::<tonic::Status>().unwrap();
            assert_eq!((status.code() as i32).to_string(), code);
        }
    }
}

#[tokio::test]
async fn a_pushback_or_retry_info_says_when_to_come_back() {
    let pushed = answered(|_| status("14", &[("grpc-retry-pushback-ms", "1500")]));
    let wait = pushed.await.unwrap_err().retry_after().unwrap();
    assert!(wait > Duration::from_secs(1) && wait <= Duration::from_millis(1_500), "{wait:?}");
    // As a server of ours writes it.
    let details =
        "CAgSBHNsb3caNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIARCAyrXuAQ";
    let advised = answered(move |_| status("8", &[("grpc-status-details-bin", details)]));
    let wait = advised.await.unwrap_err().retry_after().unwrap();
    assert!(wait > Duration::from_secs(1) && wait <= Duration::from_millis(1_500), "{wait:?}");
    let answer =
        answered(|_| status("5", &[("grpc-retry-pushback-ms", "1500")])).await.unwrap_err();
    assert_eq!((answer.kind(), answer.retry_after()), (Kind::Plugin, None));
}

#[tokio::test]
async fn messages_are_bounded_both_ways() {
    let (server, log) = recording().await;
    let service = server.service(config().with_max_request_bytes(3));
    assert_eq!(call(&service, 999).await.unwrap(), 1_998);
    let error = call(&service, 1_000).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidRequest, true), "{error}");
    assert!(error.to_string().contains("4 bytes, and at most 3"), "{error}");
    assert_eq!(log.lock().unwrap().len(), 1);
    let service = server.service(config().with_max_response_bytes(3));
    assert_eq!(call(&service, 499).await.unwrap(), 998);
    let error = call(&service, 500).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transport, Code::TRANSPORT_1302), "{error}");
    assert!(error.to_string().contains("more than 3 bytes (`max_response_bytes`)"), "{error}");
    assert_eq!(call(&service, 1).await.unwrap(), 2);
}

#[tokio::test]
async fn one_connection_carries_all_calls_from_the_first() {
    let (server, _) = recording().await;
    let service = server.service(config());
    let calls = (0..50).map(|number| call(&service, number));
    let replies: Result<Vec<u64>, _> = join_all(calls).await.into_iter().collect();
    assert_eq!(replies.unwrap(), (0..50).map(|number| number * 2).collect::<Vec<_>>());
    assert_eq!(server.made(), 1);
}

#[tokio::test]
async fn the_first_call_after_a_server_is_back_reaches_it() {
    let (server, _) = recording().await;
    let service = server.service(config());
    assert_eq!(call(&service, 1).await.unwrap(), 2);
    let address = server.address;
    drop(server);
    // It may have been sent over the connection that broke.
    assert_eq!(call(&service, 1).await.unwrap_err().kind(), Kind::Connection);
    for _ in 0..20 {
        let error = call(&service, 1).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    }
    let server = Server::at(
        address,
        service_fn(async |request| Ok(well(&(Seen::read(request).await.number() * 3).to_string()))),
    );
    let server = server.await;
    assert_eq!(call(&service, 1).await.unwrap(), 3);
    drop(service);
    until("the connection closes", || server.open() == 0).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_resets_its_stream_alone() {
    let (arrived, ended) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let (told, ends) = (arrived.clone(), ended.clone());
    let server = Server::new(service_fn(move |request| {
        let (told, ends) = (told.clone(), ends.clone());
        async move {
            let number = Seen::read(request).await.number();
            if number == 0 {
                let _ends = Ends(ends);
                told.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(well(&(number * 2).to_string()))
        }
    }));
    let server = server.await;
    let service = server.service(config());
    let dropped = tokio::spawn(service.clone().oneshot(Call::new(0)));
    within(arrived.notified()).await;
    dropped.abort();
    until("the server drops the call", || ended.load(SeqCst) == 1).await;
    assert_eq!(call(&service, 4).await.unwrap(), 8);
    assert_eq!((server.made(), server.open()), (1, 1));
    // So does one whose time is over; which is the caller's fault, and not unsent.
    let late = Call::new(0).with_timeout(Duration::from_millis(50));
    let error = within(service.clone().oneshot(late)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
    until("the server drops the call", || ended.load(SeqCst) == 2).await;
    assert_eq!(server.made(), 1);
}

#[tokio::test]
async fn a_call_that_is_too_late_or_cannot_be_written_is_not_sent() {
    let (server, log) = recording().await;
    let service = server.service(config());
    let late = Call::new(1).with_timeout(Duration::ZERO);
    let error = service.clone().oneshot(late).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    let error = service.oneshot(Call::new(1).with_header("x-a", "sécret")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    assert!(!error.to_string().contains("cret"), "{error}");
    let error = call(&connect(config(), "unix:/run/a"), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    assert_eq!((log.lock().unwrap().len(), server.made()), (0, 0));
}

#[tokio::test]
async fn health_is_that_of_the_standard_or_of_the_own_method() {
    let check = |answer: &'static [u8]| async move {
        let server = Server::answering(move |seen: &Seen| {
            assert_eq!(seen.path, "/grpc.health.v1.Health/Check");
            // `service: "tax"`.
            assert_eq!(seen.body, &b"\0\0\0\0\x05\x0a\x03tax"[..]);
            response(200, &[GRPC], Bytes::from_static(answer), &[("grpc-status", "0")])
        });
        let server = server.await;
        let health = within(server.service(config().with_health_service("tax")).health()).await;
        assert_eq!(health.metadata["transport"], "grpc");
        assert_eq!(health.metadata["endpoint"], server.url());
        assert!(health.last_check.is_some());
        health.status
    };
    assert_eq!(check(b"\0\0\0\0\x02\x08\x01").await, PluginStatus::Healthy);
    assert_eq!(check(b"\0\0\0\0\x02\x08\x02").await, PluginStatus::Unhealthy);
    assert_eq!(check(b"\0\0\0\0\0").await, PluginStatus::Unhealthy);
    let by = |answer: fn(&Seen) -> http::Response<grpc::Frames>| async move {
        let server = Server::answering(answer).await;
        let health = within(server.service(config()).health()).await;
        (health.status, health.message)
    };
    let own = by(|seen| match &*seen.path {
        "/PluginService/Health" => well(r#"{"status":2,"message":"cold"}"#),
        _ => status("12", &[]),
    });
    assert_eq!(own.await, (PluginStatus::Degraded, "cold".to_owned()));
    assert_eq!(by(|_| status("12", &[])).await.0, PluginStatus::Unhealthy);
    assert_eq!(by(|_| status("14", &[])).await.0, PluginStatus::Offline);
    assert_eq!(by(|_| status("5", &[])).await.0, PluginStatus::Unhealthy);
    let nobody = Server::answering(|_| well("0")).await.url();
    assert_eq!(connect(config(), &nobody).health().await.status, PluginStatus::Offline);
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Ask {
    #[prost(uint64, tag = "1")]
    #[serde(default)]
    net: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Answer {
    #[prost(uint64, tag = "1")]
    #[serde(default)]
    gross: u64,
}

async fn tax(call: Call<Ask>) -> Result<Reply<Answer>, BoxError> {
    assert!(call.timeout().is_some_and(|timeout| timeout <= Duration::from_secs(30)));
    match call.body().net {
        0 => Err("nothing to tax: 0 < 1 & ü".into()),
        1 => Err(tonic::Status::failed_precondition("no rates").into()),
        net => {
            let reply = Reply::new(Answer { gross: net * 122 / 100 });
            let reply = reply.with_metadata("tenant", &call.headers()["x-tenant"]);
            Ok(reply.with_metadata("trace", &call.metadata()["trace"]))
        }
    }
}

/// Calls a plugin of ours in each way in which it can be called.
async fn calls<S>(service: S)
where
    S: Service<Call<Ask>, Response = Reply<Answer>, Error = Error> + Clone,
{
    let asked = Call::new(Ask { net: 100 })
        .with_id("r-1")
        .with_header("X-Tenant", "blue")
        .with_metadata("trace", "ü");
    let reply = service.clone().oneshot(asked).await.unwrap();
    assert_eq!((reply.body().gross, reply.request_id()), (122, "r-1"));
    assert_eq!((&*reply.metadata()["tenant"], &*reply.metadata()["trace"]), ("blue", "ü"));
    let failed = |net| service.clone().oneshot(Call::new(Ask { net }));
    let error = failed(0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin, "{error}");
    assert!(error.to_string().contains("nothing to tax: 0 < 1 & ü"), "{error}");
    let status = failed(1).await.unwrap_err().downcast::<tonic::Status>().unwrap();
    assert_eq!((status.code(), status.message()), (tonic::Code::FailedPrecondition, "no rates"));
}

#[tokio::test]
async fn a_plugin_of_ours_is_called_in_both_flavours_at_once() {
    let info = PluginInfo::new("tax", "1.0.0").with_capability("vat").with_metadata("a", "b");
    let health = || async { HealthStatus::new(PluginStatus::Degraded).with_message("cold") };
    let plugin = serve::grpc(service_fn(tax)).both().info(info.clone()).health(health);
    let server = Server::new(plugin).await;
    let member = Member::new(server.url().parse::<Endpoint>().unwrap());
    let json = GrpcTransport::<Ask, Answer>::new().connect(&member);
    within(calls(json.clone())).await;
    let native = GrpcTransport::<Ask, Answer, Native>::native().connect(&member);
    within(calls(native.clone())).await;
    assert_eq!((json.info().await.unwrap(), native.info().await.unwrap()), (info.clone(), info));
    for health in [json.health().await, native.health().await] {
        assert_eq!(health.status, PluginStatus::Healthy, "of the standard: it serves");
    }
    // A plugin that is served in one flavour has no other.
    let server = Server::new(serve::grpc(service_fn(tax))).await;
    let member = Member::new(server.url().parse::<Endpoint>().unwrap());
    let native = GrpcTransport::<Ask, Answer, Native>::native().connect(&member);
    let error = within(native.oneshot(Call::new(Ask { net: 1 }))).await.unwrap_err();
    assert!(error.to_string().contains("/plugin.PluginService/Execute"), "{error}");
}

#[tokio::test]
async fn the_guards_of_a_plugin_refuse_with_a_time_to_come_back() {
    let double = service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.body() * 2)));
    let plugin = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_minute(1).burst(1)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(double);
    let server = Server::new(serve::grpc(plugin)).await;
    let service = server.service(config());
    assert_eq!(call(&service, 1).await.unwrap(), 2);
    let error = call(&service, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::RateLimited, Code::RATELIMIT_1501), "{error}");
    assert!(!error.is_refused() && error.retry_after().is_some(), "{error}");
}

#[tokio::test]
async fn a_plugin_bounds_its_messages_and_answers_nothing_else() {
    let double = service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.body() * 2)));
    let plugin = serve::grpc(double).max_request_bytes(3).max_response_bytes(3);
    let server = Server::new(plugin).await;
    let service = server.service(config());
    for (number, part) in [(1_000, "max_request_bytes"), (500, "max_response_bytes")] {
        let error = call(&service, number).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Plugin, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let text: GrpcService<String, u64> =
        GrpcTransport::new().connect(&Member::new(server.url().parse::<Endpoint>().unwrap()));
    let error = within(text.oneshot(Call::new("x".to_owned()))).await.unwrap_err();
    assert!(error.to_string().contains("invalid request: this is no call"), "{error}");
}

#[tokio::test]
async fn tonic_calls_a_plugin_of_ours_and_is_called() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let ill = || async { HealthStatus::unhealthy("no rates") };
    let double = service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.body() * 2)));
    let plugin = serve::grpc(double).info(PluginInfo::new("tax", "1.0.0")).health(ill);
    let server = Server::new(plugin).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.address));
    let mut client = HealthClient::new(channel.unwrap().connect_lazy());
    for service in ["", "tax", "PluginService", "plugin.PluginService"] {
        let request = HealthCheckRequest { service: service.into() };
        assert_eq!(within(client.check(request)).await.unwrap().into_inner().status, 2);
    }
    let other = HealthCheckRequest { service: "other".into() };
    let status = within(client.check(other.clone())).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    let mut watch = within(client.watch(other)).await.unwrap().into_inner();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status, 3);

    let (reporter, health) = tonic_health::server::health_reporter();
    let server = Server::new(tonic::service::Routes::new(health).prepare()).await;
    let service = server.service(config());
    assert_eq!(within(service.health()).await.status, PluginStatus::Healthy);
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert_eq!(within(service.health()).await.status, PluginStatus::Unhealthy);
}

#[tokio::test]
async fn new_settings_hold_for_the_next_call_on_the_same_connection() {
    let (server, _) = recording().await;
    let transport = GrpcTransport::<u64, u64>::new();
    let member = Member::new(server.url().parse::<Endpoint>().unwrap());
    let service = transport.connect(&member);
    call(&service, 1).await.unwrap();
    let handle = transport.handle();
    assert!(handle.update(&config().with_max_response_bytes(0)).is_err());
    assert_eq!((handle.config(), handle.connections()), (config(), 1));
    handle.update(&config().with_max_response_bytes(1).with_max_request_bytes(2)).unwrap();
    assert!(call(&service, 5).await.unwrap_err().to_string().contains("more than 1 bytes"));
    assert!(call(&service, 100).await.unwrap_err().to_string().contains("at most 2"));
    assert_eq!(
        (server.made(), handle.stats().failed, handle.stats().ignored),
        (1, Some(1), Some(1))
    );
}

#[test]
fn without_a_runtime_there_is_an_error_not_a_panic() {
    let mut service = connect(config(), "grpc://127.0.0.1:9");
    let future = pin!(service.call(Call::new(1)));
    let error = futures::executor::block_on(future).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
}

#[test]
fn connections_of_a_runtime_that_has_ended_are_not_used() {
    let servers =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (server, _) = servers.block_on(recording());
    let service = server.service(config());
    for number in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = Call::new(number).idempotent();
        let reply = runtime.block_on(within(service.clone().oneshot(asked)));
        assert_eq!(reply.unwrap().into_body(), number * 2);
    }
    servers.block_on(async { drop(server) });
}

#[test]
fn services_and_futures_go_anywhere() {
    struct NotEvenDebug(#[allow(dead_code)] std::cell::Cell<u8>);
    fn is_fit<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    is_fit::<GrpcTransport<NotEvenDebug, NotEvenDebug>>();
    is_fit::<GrpcService<NotEvenDebug, NotEvenDebug, Native>>();
    fn is_sendable<T: Send + 'static>() {}
    is_sendable::<GrpcFuture<NotEvenDebug>>();
}
