//! Plugins served over Unix and TCP sockets, called by clients of which every byte is known, and by our
//! own transport.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod socket;

use std::{
    collections::HashMap,
    convert::Infallible,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use socket::{connect, new_path, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Call, ConcurrencyLimitLayer, Error, Quota, RateLimitLayer, Reply,
    error::{Code, Kind},
    plugin::{HealthStatus, PluginInfo, PluginStatus},
    serve::{self, BridgeConfig, SocketServer},
    transport::{SocketConfig, SocketService},
};

/// Twice the number, after so many milliseconds as that is above 100.
async fn double(call: Call<u64>) -> Result<Reply<u64>, std::io::Error> {
    let number = *call.body();
    match number {
        0 => Err(std::io::Error::other("nothing to double")),
        1 => Err(std::io::Error::other("")),
        7 => panic!("the plugin of a user panics"),
        _ => {
            sleep(Duration::from_millis(number.saturating_sub(100))).await;
            let told = format!("{:?} {:?}", call.headers(), call.metadata());
            let reply = Reply::new(number * 2).with_metadata("told", told);
            Ok(reply.with_metadata("timeout", format!("{:?}", call.deadline().is_some())))
        }
    }
}

/// A server that runs until this is dropped or stopped.
struct Running {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

fn run(server: SocketServer) -> Running {
    let (stop, stopped) = oneshot::channel();
    let address = server.address();
    let task = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    Running { address, stop: Some(stop), task }
}

impl Running {
    fn path(&self) -> &str {
        self.address.strip_prefix("unix:").unwrap()
    }

    fn service(&self) -> SocketService<u64, u64> {
        connect(SocketConfig::default(), &self.address)
    }

    fn stop(&mut self) {
        drop(self.stop.take());
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }
}

fn path() -> String {
    new_path().display().to_string()
}

async fn unix(config: BridgeConfig) -> Running {
    run(serve::unix(service_fn(double), path()).config(config).listen().await.unwrap())
}

fn config() -> BridgeConfig {
    BridgeConfig::default()
}

/// What comes back for `text` until the connection ends or is silent for a while.
async fn said(stream: &mut UnixStream, text: &str) -> String {
    let _ = stream.write_all(text.as_bytes()).await;
    heard(stream).await
}

async fn heard(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let reading = async { while stream.read_buf(&mut answer).await.unwrap_or(0) > 0 {} };
    let _ = timeout(Duration::from_millis(50), reading).await;
    String::from_utf8(answer).unwrap()
}

/// Whether the other end has closed.
async fn is_closed(stream: &mut UnixStream) -> bool {
    matches!(
        timeout(Duration::from_millis(50), stream.read(&mut [0; 64])).await,
        Ok(Ok(0) | Err(_))
    )
}

async fn call(service: &SocketService<u64, u64>, number: u64) -> Result<Reply<u64>, Error> {
    service.clone().oneshot(Call::new(number)).await
}

#[tokio::test(start_paused = true)]
async fn the_answers_are_byte_for_byte_those_of_go() {
    let info = PluginInfo::new("tax", "2.1.0").with_capability("vat");
    let doubled = service_fn(async |call: Call<u64>| match call.into_body() {
        0 => Err(std::io::Error::other("no rate table")),
        number => Ok(Reply::new(number * 2)),
    });
    let server = run(serve::unix(doubled, path()).info(info).listen().await.unwrap());
    let mut stream = server.raw().await;
    for (asked, told) in [
        (
            r#"{"type":"ping","request_id":"health-check","data":null}"#,
            r#"{"type":"ping","request_id":"health-check","success":true}"#,
        ),
        (
            r#"{"type":"info","request_id":"req_1758362400000000456","data":null,"timeout_ms":5000}"#,
            r#"{"type":"info","request_id":"req_1758362400000000456","success":true,"data":{"name":"tax","version":"2.1.0","capabilities":["vat"]}}"#,
        ),
        (
            r#"{"type":"execute","request_id":"r-7","data":10,"headers":{"X-Tenant":"blue"},"timeout_ms":1500}"#,
            r#"{"type":"execute","request_id":"r-7","success":true,"data":20}"#,
        ),
        (
            r#"{"type":"execute","request_id":"r-7","data":0}"#,
            r#"{"type":"execute","request_id":"r-7","success":false,"error":"no rate table"}"#,
        ),
        (
            r#"{"TYPE":"execute","Request_Id":"r-8","x":1}"#,
            r#"{"type":"execute","request_id":"r-8","success":false,"error":"no rate table"}"#,
        ),
        (
            r#"{"type":"dance","request_id":"r-9"}"#,
            r#"{"type":"dance","request_id":"r-9","success":false,"error":"unknown message type `dance`"}"#,
        ),
    ] {
        assert_eq!(said(&mut stream, asked).await, format!("{told}\n"), "{asked}");
    }
    let health = said(&mut stream, r#"{"type":"health","request_id":"h"}"#).await;
    let start = r#"{"type":"health","request_id":"h","success":true,"data":{"status":1,"message":"OK","last_check":""#;
    assert!(health.starts_with(start), "{health}");
}

#[tokio::test(start_paused = true)]
async fn our_own_transport_gets_all_that_there_is() {
    let unix = unix(config()).await;
    let tcp = run(serve::tcp(service_fn(double), "127.0.0.1:0").listen().await.unwrap());
    let bridge = run(serve::bridge(service_fn(double), config()).listen().await.unwrap());
    for server in [&unix, &tcp, &bridge] {
        let asked = Call::new(21)
            .with_id("r-1")
            .with_header("X-Tenant", "blue")
            .with_metadata("trace", "t-9");
        let reply = server.service().oneshot(asked).await.unwrap();
        assert_eq!((*reply.body(), reply.request_id()), (42, "r-1"));
        assert_eq!(reply.metadata()["told"], r#"{"X-Tenant": "blue"} {"trace": "t-9"}"#);
        assert_eq!(reply.metadata()["timeout"], "true");
        for (number, text) in [(0, "nothing to double"), (1, "does not say why")] {
            let error = call(&server.service(), number).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Plugin, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(server.service().health().await.status, PluginStatus::Healthy);
    }
    let ill = serve::unix(service_fn(double), path())
        .health(|| async { HealthStatus::unhealthy("no database").with_metadata("tables", "0") });
    let ill = run(ill.listen().await.unwrap());
    let health = ill.service().health().await;
    assert_eq!((health.status, health.message.as_str()), (PluginStatus::Unhealthy, "no database"));
    assert_eq!(health.metadata["tables"], "0");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_when_to_come_back() {
    let limited = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(1)))
        .service(service_fn(double));
    let server = run(serve::unix(limited, path()).listen().await.unwrap());
    let service = server.service();
    call(&service, 2).await.unwrap();
    let error = call(&service, 3).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::RateLimited, Code::RATELIMIT_1501), "{error}");
    assert!(!error.is_refused() && error.retry_after().is_some_and(|wait| wait > Duration::ZERO));
    let mut stream = server.raw().await;
    let text = said(&mut stream, r#"{"type":"execute","request_id":"r","data":4}"#).await;
    assert!(text.contains(r#""error":"[RATELIMIT_1501] rate limit exceeded","status":429,"#));
    assert!(text.contains(r#""retry_after_ms":"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_call_is_told_so_and_what_is_no_message_ends_the_connection() {
    let server = unix(config().with_max_message_bytes(100)).await;
    let mut stream = server.raw().await;
    for data in ["\"x\"", "{}", "-1"] {
        let asked = format!(r#"{{"type":"execute","request_id":"r","data":{data}}}"#);
        let text = said(&mut stream, &asked).await;
        assert!(text.contains(r#""request_id":"r","success":false,"error":"this is no call: "#));
    }
    let long = format!(r#"{{"type":"execute","data":"{}"}}"#, "x".repeat(200));
    for (bytes, problem) in [
        ("GET / HTTP/1.1\r\n\r\n", "it is no JSON object"),
        ("[]", "it is no JSON object"),
        (r#"{"type":7}"#, "this is no message"),
        (r#"{"type":}"#, "this is no message"),
        (&long, "more than 100 bytes"),
        (&"{".repeat(200), "more than 100 bytes"),
    ] {
        let mut stream = server.raw().await;
        let text = said(&mut stream, bytes).await;
        assert!(text.starts_with(r#"{"type":"error","request_id":"","success":false,"error":""#));
        assert!(text.contains(problem), "{text}");
        assert!(is_closed(&mut stream).await, "{bytes}");
    }
    // What is wrong is not repeated as a whole.
    let server = unix(config()).await;
    let mut stream = server.raw().await;
    let text = said(&mut stream, &format!(r#"{{"timeout_ms":"{}"}}"#, "x".repeat(100_000))).await;
    assert!(text.contains("this is no message") && text.len() < 2_000, "{} bytes", text.len());
    let server = unix(config().with_max_message_bytes(100)).await;
    // Our transport is told so even while it writes.
    let service: SocketService<String, u64> = connect(SocketConfig::default(), &server.address);
    let error = service.oneshot(Call::new("x".repeat(4 << 20))).await.unwrap_err();
    assert!(error.to_string().contains("more than 100 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn only_those_who_prove_the_token_are_answered() {
    let secured = config().with_require_auth(true).with_token("s3cret");
    let server = unix(secured.clone()).await;
    let proof = |token: &str| format!(r#"{{"type":"auth","request_id":"auth","data":"{token}"}}"#);
    let refusal = |operation| {
        format!(
            "{{\"type\":\"{operation}\",\"request_id\":\"auth\",\"success\":false,\"error\":\"not authorized\"}}\n"
        )
    };
    for wrong in ["", "s3cre", "s3creu", "s3crett"] {
        let mut stream = server.raw().await;
        assert_eq!(said(&mut stream, &proof(wrong)).await, refusal("auth"));
        assert!(is_closed(&mut stream).await);
    }
    for operation in ["execute", "ping", "info", "health"] {
        let mut stream = server.raw().await;
        let asked = format!(r#"{{"type":"{operation}","request_id":"auth","data":"s3cret"}}"#);
        assert_eq!(said(&mut stream, &asked).await, refusal(operation));
        assert!(is_closed(&mut stream).await);
    }
    let mut stream = server.raw().await;
    assert!(said(&mut stream, &proof("s3cret")).await.contains(r#""success":true"#));
    let ping = r#"{"type":"ping","request_id":"p"}"#;
    assert!(said(&mut stream, ping).await.contains(r#""success":true"#));

    // The next message has as long as any other.
    sleep(Duration::from_secs(25)).await;
    assert!(said(&mut stream, ping).await.contains(r#""success":true"#));
    let mut stream = server.raw().await;
    assert!(said(&mut stream, &proof("s3cret")).await.contains(r#""success":true"#));
    sleep(Duration::from_secs(25)).await;
    assert!(said(&mut stream, ping).await.contains(r#""success":true"#));

    // Nobody makes a plugin keep a long message before it is known.
    let mut stream = server.raw().await;
    let text = said(&mut stream, &proof(&"x".repeat(2_000))).await;
    assert!(text.contains("more than 1024 bytes") && is_closed(&mut stream).await, "{text}");
    // Nor wait for one.
    let mut stream = server.raw().await;
    stream.write_all(b"{").await.unwrap();
    sleep(Duration::from_millis(9_900)).await;
    assert!(!is_closed(&mut stream).await);
    sleep(Duration::from_millis(100)).await;
    assert!(is_closed(&mut stream).await);

    let with = |token: &str| connect(SocketConfig::default().with_token(token), &server.address);
    assert_eq!(call(&with("s3cret"), 2).await.unwrap().into_body(), 4);
    let error = call(&with("wrong"), 2).await.unwrap_err();
    assert_eq!((error.code(), error.is_unsent()), (Code::RPC_2002, true), "{error}");
    let error = call(&server.service(), 2).await.unwrap_err();
    assert!(error.to_string().contains("not authorized"), "{error}");
    // A token whose proof is as long as it may be.
    let long = "x".repeat(1_024 - proof("").len());
    let with_long = |buffer| {
        let config = secured.clone().with_token(long.as_str()).with_handshake_buffer(buffer);
        serve::unix(service_fn(double), path()).config(config).listen()
    };
    let error = with_long(1_023).await.unwrap_err();
    assert!(error.to_string().contains("proof of the `token` has 1024 bytes"), "{error}");
    let just = run(with_long(1_024).await.unwrap());
    let config = SocketConfig::default().with_token(long.as_str());
    assert_eq!(call(&connect(config, &just.address), 2).await.unwrap().into_body(), 4);
    // A plugin that asks for no token takes any.
    let open = unix(BridgeConfig::default()).await;
    let any = connect(SocketConfig::default().with_token("any"), &open.address);
    assert_eq!(call(&any, 2).await.unwrap().into_body(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_connection_too_many_waits_until_another_closes() {
    let server = unix(config().with_max_channels(2)).await;
    let ping = r#"{"type":"ping","request_id":"p"}"#;
    let (mut one, mut two) = (server.raw().await, server.raw().await);
    assert!(!said(&mut one, ping).await.is_empty() && !said(&mut two, ping).await.is_empty());
    // The clock goes on meanwhile, so nothing spins.
    let mut three = server.raw().await;
    assert_eq!(said(&mut three, ping).await, "");
    drop(one);
    assert!(heard(&mut three).await.contains(r#""success":true"#));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_silent_or_slow_is_not_waited_for() {
    let server = unix(config().with_channel_timeout(Duration::from_secs(5))).await;
    let ping = r#"{"type":"ping","request_id":"p"}"#;
    // Any message extends it.
    let mut stream = server.raw().await;
    for _ in 0..5 {
        assert!(!said(&mut stream, ping).await.is_empty());
        sleep(Duration::from_secs(4)).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert!(is_closed(&mut stream).await);
    // Half a message does not.
    let mut stream = server.raw().await;
    assert!(!said(&mut stream, ping).await.is_empty());
    for part in ["{", "\"type\"", ":"] {
        stream.write_all(part.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    assert!(is_closed(&mut stream).await);
    // The work of the plugin does not count.
    let mut stream = server.raw().await;
    let work = r#"{"type":"execute","request_id":"r","data":60000}"#;
    stream.write_all(work.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(heard(&mut stream).await.contains(r#""data":120000"#));

    // An answer that is not read is given up.
    let dropped = Arc::new(AtomicUsize::new(0));
    let long =
        service_fn(async |_: Call<u64>| Ok::<_, Infallible>(Reply::new("x".repeat(8 << 20))));
    let server = serve::unix(long, path()).config(config().with_max_channels(1));
    let server = run(server.listen().await.unwrap());
    let mut stream = server.raw().await;
    stream.write_all(br#"{"type":"execute","request_id":"r","data":2}"#).await.unwrap();
    sleep(Duration::from_secs(31)).await;
    assert!(!said(&mut server.raw().await, ping).await.is_empty(), "its place is still taken");
    drop((stream, dropped));
}

#[tokio::test(start_paused = true)]
async fn other_hosts_and_other_users_are_kept_out() {
    let ping = "{\"type\":\"ping\",\"request_id\":\"p\"}";
    for (subnets, is_let_in) in
        [(&["10.0.0.0/8"][..], false), (&["10.0.0.0/8", "127.0.0.0/8"], true)]
    {
        let server = serve::bridge(
            service_fn(double),
            config().with_allowed_subnets(subnets.iter().copied()),
        );
        let server = run(server.listen().await.unwrap());
        let mut stream =
            TcpStream::connect(server.address.strip_prefix("tcp://").unwrap()).await.unwrap();
        let _ = stream.write_all(ping.as_bytes()).await;
        let read = timeout(Duration::from_millis(50), stream.read(&mut [0; 99])).await;
        assert_eq!(matches!(read, Ok(Ok(1..))), is_let_in, "{subnets:?}");
    }
    for (host, may, is_right) in [
        ("0.0.0.0", config(), false),
        ("0.0.0.0", config().with_allow_remote(true), false),
        ("0.0.0.0", config().with_allow_remote(true).with_require_auth(true).with_token("x"), true),
        ("::1", config(), true),
    ] {
        let listening = serve::bridge(service_fn(double), may.with_listen_address(host)).listen();
        let listening = listening.await;
        // A host may have no IPv6.
        let is_right = is_right && (host != "::1" || listening.is_ok());
        assert_eq!(listening.is_ok(), is_right, "{host}");
        if let Err(error) = listening.map(drop) {
            assert_eq!(error.kind(), Kind::InvalidConfig, "{error}");
        }
    }
    let own = std::fs::metadata("/proc/self").unwrap().uid();
    for (config, is_let_in, mode) in [
        (config(), true, 0o600),
        (config().with_allowed_uids([own + 1]), false, 0o666),
        (config().with_allowed_uids([own + 1, own]), true, 0o666),
        (config().with_allow_any_user(true), true, 0o666),
    ] {
        let server = unix(config).await;
        let found = std::fs::metadata(server.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode);
        assert_eq!(!said(&mut server.raw().await, ping).await.is_empty(), is_let_in);
    }
    let wrong = serve::unix(service_fn(double), path()).config(config().with_max_channels(0));
    assert!(wrong.listen().await.unwrap_err().to_string().contains("max_channels"));
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_was_left_behind_is_replaced_and_nothing_else() {
    let path = path();
    let listen = || serve::unix(service_fn(double), path.clone()).listen();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server = run(listen().await.unwrap());
    assert_eq!(call(&server.service(), 2).await.unwrap().into_body(), 4);
    let error = listen().await.unwrap_err();
    assert!(error.to_string().contains("another process listens there"), "{error}");
    assert_eq!(call(&server.service(), 2).await.unwrap().into_body(), 4);
    server.stop();
    (&mut server.task).await.unwrap();
    assert!(!std::fs::exists(&path).unwrap());
    // One that another has made in the meantime stays.
    let server = listen().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    drop(server);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let error = listen().await.unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    // Nor is a link followed.
    let link = new_path().display().to_string();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(serve::unix(service_fn(double), link.clone()).listen().await.is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(serve::unix(service_fn(double), link.clone()).listen().await.is_err());
    assert!(!std::fs::exists(&path).unwrap(), "something was made where the link leads");
    std::fs::remove_file(&link).unwrap();
    for path in ["relative.sock", "", "/tmp/../x.sock"] {
        assert!(serve::unix(service_fn(double), path).listen().await.is_err(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_wait_until_the_plugin_is_ready_and_health_does_not() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let counted = service_fn(move |call: Call<u64>| {
        let (now, peak) = (now.clone(), peak.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, SeqCst);
            Ok::<_, Infallible>(Reply::new(call.body() * 2))
        }
    });
    let limited = tower::limit::ConcurrencyLimit::new(counted, 2);
    let server = run(serve::unix(limited, path()).listen().await.unwrap());
    let service = server.service();
    let start = tokio::time::Instant::now();
    let calls = join_all((0..6).map(|number| call(&service, number)));
    let health = async {
        sleep(Duration::from_millis(10)).await;
        (service.health().await.status, start.elapsed())
    };
    let (replies, (status, after)) = tokio::join!(calls, health);
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.unwrap().into_body(), number as u64 * 2);
    }
    assert_eq!((most.load(SeqCst), start.elapsed().as_secs()), (2, 3));
    assert_eq!(status, PluginStatus::Healthy);
    assert!(after < Duration::from_secs(1), "{after:?}");
    // A guard that refuses does not wait.
    let refusing = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1)).service_fn(double);
    let server = run(serve::unix(refusing, path()).listen().await.unwrap());
    let service = server.service();
    let (one, two) = tokio::join!(call(&service, 1_000), call(&service, 1_000));
    let codes = [one, two].map(|result| result.err().map(|error| error.code()));
    assert_eq!(codes.iter().flatten().collect::<Vec<_>>(), [&Code::RATELIMIT_1502]);
}

#[tokio::test(start_paused = true)]
async fn to_stop_is_to_answer_what_has_begun_and_to_take_no_more() {
    let mut server = unix(config()).await;
    let (service, mut idle) = (server.service(), server.raw().await);
    let long = {
        let service = service.clone();
        tokio::spawn(async move { call(&service, 5_000).await })
    };
    sleep(Duration::from_secs(1)).await;
    server.stop();
    sleep(Duration::from_millis(1)).await;
    assert!(is_closed(&mut idle).await && !std::fs::exists(server.path()).unwrap());
    let error = call(&server.service(), 2).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    assert!(!server.task.is_finished());
    assert_eq!(long.await.unwrap().unwrap().into_body(), 10_000);
    server.task.await.unwrap();

    // What has come is answered, though nothing has read it yet.
    let mut server = unix(config()).await;
    let mut stream = server.raw().await;
    let work = r#"{"type":"execute","request_id":"r","data":200}"#;
    assert!(said(&mut stream, work.replace("200", "2").as_str()).await.contains(r#""data":4"#));
    assert_eq!(stream.try_write(work.as_bytes()).unwrap(), work.len());
    server.stop();
    sleep(Duration::from_secs(1)).await;
    assert!(heard(&mut stream).await.contains(r#""data":400"#));
    assert!(is_closed(&mut stream).await);
    server.task.await.unwrap();

    // So is what was sent on connections that nothing has accepted yet, however many there may be at once.
    let listen = || serve::unix(service_fn(double), path()).config(config().with_max_channels(2));
    let on_tcp = serve::bridge(service_fn(double), config().with_max_channels(2));
    for server in [listen().listen().await.unwrap(), on_tcp.listen().await.unwrap()] {
        let service = connect(SocketConfig::default(), &server.address());
        let calls: Vec<_> = (2..7)
            .map(|number| {
                let service = service.clone();
                tokio::spawn(async move { call(&service, number * 100).await })
            })
            .collect();
        sleep(Duration::from_millis(10)).await;
        server.run_until(async {}).await;
        for (call, number) in calls.into_iter().zip(2..) {
            assert_eq!(call.await.unwrap().unwrap().into_body(), number * 200);
        }
    }

    // What is sent later is not, so one that goes on to send does not keep the plugin from ending.
    let mut server = unix(config()).await;
    let mut stream = server.raw().await;
    let many = work.repeat(20);
    stream.write_all(many.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    let (mut reads, mut writes) = stream.into_split();
    let writing = tokio::spawn(async move {
        while writes.write_all(work.as_bytes()).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    });
    server.stop();
    let start = tokio::time::Instant::now();
    server.task.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    writing.await.unwrap();
    let mut answers = Vec::new();
    while reads.read_buf(&mut answers).await.unwrap_or(0) > 0 {}
    let answers = answers.iter().filter(|byte| **byte == b'\n').count();
    assert!((20..25).contains(&answers), "{answers}");

    // Not for ever.
    let mut server = unix(config().with_drain_timeout(Duration::from_secs(3))).await;
    let service = server.service();
    let long = tokio::spawn(async move { call(&service, 25_000).await });
    sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    server.stop();
    server.task.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
    let error = long.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_with_its_caller_but_one_that_only_stops_talking_is_answered() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let slow = service_fn(move |call: Call<u64>| {
        let count = count.clone();
        async move {
            count.fetch_add(1, SeqCst);
            let _counted = Counted(count);
            sleep(Duration::from_secs(*call.body())).await;
            Ok::<_, Infallible>(Reply::new(7))
        }
    });
    let server = run(serve::unix(slow, path()).listen().await.unwrap());
    let service = server.service();
    let called = tokio::spawn(async move { call(&service, 20).await });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.load(SeqCst), 1);
    called.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(running.load(SeqCst), 0);

    // However long its message is: also where the last read was full.
    for length in [1_000, 1_023, 1_024, 1_025, 2_048, 4_096, 65_536] {
        for ahead in ["", r#"{"type":"ping"}"#] {
            let mut stream = server.raw().await;
            let asked = r#"{"type":"execute","request_id":"r","headers":{"pad":""},"data":20}"#;
            let pad = format!("\"{}\"}}", "x".repeat(length - asked.len()));
            let asked = format!("{}{ahead}", asked.replace("\"\"}", &pad));
            stream.write_all(asked.as_bytes()).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(running.load(SeqCst), 1, "{length}");
            drop(stream);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(running.load(SeqCst), 0, "{length}, then {ahead}");
        }
    }

    let mut stream = server.raw().await;
    stream.write_all(br#"{"type":"execute","request_id":"r","data":2}"#).await.unwrap();
    stream.shutdown().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let answer = heard(&mut stream).await;
    assert!(answer.contains(r#""success":true,"data":7"#), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn one_call_that_panics_ends_its_connection_alone() {
    let server = unix(config()).await;
    let service = server.service();
    let long = {
        let service = service.clone();
        tokio::spawn(async move { call(&service, 1_000).await })
    };
    sleep(Duration::from_millis(1)).await;
    let error = call(&service, 7).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
    assert_eq!(long.await.unwrap().unwrap().into_body(), 2_000);
    assert_eq!(call(&service, 2).await.unwrap().into_body(), 4);
}

#[tokio::test]
async fn many_callers_get_their_own_answers() {
    let server = unix(config()).await;
    let service = server.service();
    let calls = (2..7).chain(8..100).map(|number| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut sum = HashMap::new();
            for _ in 0..20 {
                let reply = call(&service, number).await.unwrap();
                *sum.entry(reply.into_body()).or_insert(0) += 1;
            }
            assert_eq!(sum, HashMap::from([(number * 2, 20)]));
        })
    });
    join_all(calls).await.into_iter().for_each(|done| done.unwrap());
    drop(service);
    until("all done", || true).await;
}
