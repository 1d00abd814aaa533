//! `SocketTransport` against plugins of which every byte is known.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod socket;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use socket::{Connection, PATIENCE, Plugin, answer, connect, new_path, new_unix, until};
use tokio::{io::AsyncReadExt, time::sleep};
use tower::{Service, ServiceExt};
use tower_upstream::{
    Call, Error, Reply,
    error::{Code, Kind},
    plugin::PluginStatus,
    transport::{SocketConfig, SocketFuture, SocketService, SocketTransport},
};

type Tax = SocketService<u64, u64>;

fn config() -> SocketConfig {
    SocketConfig::default()
}

async fn call(service: &Tax, number: u64) -> Result<u64, Error> {
    service.clone().oneshot(Call::new(number)).await.map(Reply::into_body)
}

/// A plugin that keeps what it is sent, and answers it.
async fn recording(address: &str) -> (Plugin, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lines = seen.clone();
    let serve = move |mut connection: Connection| {
        let lines = lines.clone();
        async move {
            while let Some(line) = connection.next().await {
                let right = answer(&line);
                lines.lock().unwrap().push(line);
                connection.send(&right).await;
            }
        }
    };
    (Plugin::at(address, serve).await, seen)
}

#[tokio::test(start_paused = true)]
async fn the_messages_are_byte_for_byte_those_of_go() {
    let (plugin, seen) = recording(&new_unix()).await;
    let service = plugin.service(config().with_ping_after(Duration::from_secs(10)));
    let asked = Call::new(10)
        .with_id("r-7")
        .with_header("X-Tenant", "blue")
        .with_metadata("trace", "t-9")
        .with_timeout(Duration::from_millis(1_500));
    let reply = service.clone().oneshot(asked).await.unwrap();
    assert_eq!((*reply.body(), reply.request_id(), reply.endpoint()), (20, "r-7", Some("tax-1")));
    // Without a timeout the plugin is told how long the answer is waited for.
    service.clone().oneshot(Call::new(1).with_id("<é>")).await.unwrap();
    let long = Call::new(1).with_id("r-9").with_timeout(Duration::from_secs(90));
    service.clone().oneshot(long).await.unwrap();
    sleep(Duration::from_secs(20)).await;
    service.info().await.unwrap();
    let mut lines = std::mem::take(&mut *seen.lock().unwrap());
    let info = lines.pop().unwrap();
    assert!(info.starts_with(r#"{"type":"info","request_id":"req_"#), "{info}");
    assert!(info.ends_with(r#"","data":null,"timeout_ms":5000}"#), "{info}");
    assert_eq!(
        lines,
        [
            r#"{"type":"execute","request_id":"r-7","data":10,"headers":{"X-Tenant":"blue"},"timeout_ms":1500,"metadata":{"trace":"t-9"}}"#,
            r#"{"type":"execute","request_id":"\u003cé\u003e","data":1,"timeout_ms":30000}"#,
            r#"{"type":"execute","request_id":"r-9","data":1,"timeout_ms":30000}"#,
            r#"{"type":"ping","request_id":"health-check","data":null}"#,
        ]
    );
    assert_eq!(plugin.connections(), 1);
}

/// What a call comes to that is answered with `text`, of which `ID` is its id, in parts of `part` bytes.
async fn answered(text: &'static str, part: usize) -> Result<Reply<u64>, Error> {
    let plugin = Plugin::unix(move |mut connection| async move {
        let text = text.replace("\"ID\"", "\"r-1\"");
        while connection.next().await.is_some() {
            for part in text.as_bytes().chunks(part) {
                connection.send(std::str::from_utf8(part).unwrap()).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let plugin = plugin.await;
    let service = plugin.service(config());
    tokio::time::timeout(PATIENCE, service.oneshot(Call::new(7).with_id("r-1"))).await.unwrap()
}

#[tokio::test]
async fn answers_are_read_as_leniently_as_go_reads_them() {
    for (text, number) in [
        (r#"{"type":"execute","request_id":"ID","success":true,"data":5}"#, 5),
        ("\n {\"REQUEST_ID\":\"ID\",\"Success\":true,\n\"data\":5,\"unknown\":[{}]}\r\n", 5),
        (r#"{"request_id":"ID","success":true,"data":null,"error":null,"headers":{"a":"b"}}"#, 0),
        (r#"{"request_id":"ID","success":true,"data":5,"error":"ignored"}"#, 5),
    ] {
        for part in [1, 7, 1_000] {
            assert_eq!(*answered(text, part).await.unwrap().body(), number, "{text}");
        }
    }
    let text = r#"{"request_id":"ID","success":true,"data":5,"metadata":{"ms":"4"}}"#;
    assert_eq!(answered(text, 1_000).await.unwrap().metadata()["ms"], "4");
}

#[tokio::test]
async fn what_is_no_right_answer_is_an_error() {
    for (text, kind, code, part) in [
        (
            r#"{"request_id":"ID","success":false,"error":"no rate table"}"#,
            Kind::Plugin,
            Code::PLUGIN_1206,
            "remote execution failed: no rate table",
        ),
        (
            r#"{"request_id":"ID","success":false,"error":"[AUTH_1101] who are you"}"#,
            Kind::Plugin,
            Code::AUTH_1101,
            "remote execution failed: who are you",
        ),
        (r#"{"request_id":"ID"}"#, Kind::Plugin, Code::PLUGIN_1206, "remote execution failed"),
        (
            r#"{"request_id":"ID","success":false,"error":"[RATELIMIT_1501] x","status":429,"retry_after_ms":1500}"#,
            Kind::RateLimited,
            Code::RATELIMIT_1501,
            "retry after 1.",
        ),
        (
            r#"{"request_id":"ID","success":false,"error":"[CIRCUIT_1401] wait","status":503}"#,
            Kind::Transport,
            Code::CIRCUIT_1401,
            "remote execution failed: wait",
        ),
        (
            r#"{"request_id":"other","success":true,"data":5}"#,
            Kind::Transport,
            Code::RPC_2003,
            "response request ID mismatch: `other` instead of `r-1`",
        ),
        (
            r#"{"success":true,"data":5}"#,
            Kind::Transport,
            Code::RPC_2003,
            "response request ID mismatch",
        ),
        (
            r#"{"request_id":"ID","success":true}"#,
            Kind::Transport,
            Code::TRANSPORT_1303,
            "failed to decode response: it has no `data`",
        ),
        (
            r#"{"request_id":"ID","success":true,"data":"five"}"#,
            Kind::Transport,
            Code::RPC_2005,
            "failed to decode response",
        ),
        (
            r#"{"request_id":"ID","success":true,"data":}"#,
            Kind::Transport,
            Code::TRANSPORT_1303,
            "failed to decode response",
        ),
        ("null\n", Kind::Transport, Code::TRANSPORT_1303, "it is no JSON object"),
    ] {
        let error = answered(text, 1_000).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, code), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.is_unsent() && !error.is_refused(), "{error}");
        assert_eq!(error.endpoint(), Some("tax-1"));
    }
}

#[tokio::test]
async fn connections_are_used_again_by_all_clones_unless_none_is_kept() {
    for (keep, expected) in [(1, 1), (0, 3)] {
        let plugin = Plugin::good().await;
        let service = plugin.service(config().with_max_idle_connections(keep));
        for number in 0..3 {
            assert_eq!(call(&service, number).await.unwrap(), number * 2);
        }
        assert_eq!(plugin.connections(), expected);
        until("the others close", || plugin.open() == keep).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_asked_for_a_sign_of_life_only_after_a_while() {
    // One that answers calls, and pings with a delay.
    let plugin = Plugin::unix(|mut connection: Connection| async move {
        while let Some(line) = connection.next().await {
            if line.contains("ping") && connection.number == 0 {
                sleep(Duration::from_secs(2)).await;
            }
            connection.send(&answer(&line)).await;
        }
    })
    .await;
    let service = plugin.service(config());
    call(&service, 1).await.unwrap();
    sleep(Duration::from_secs(29)).await;
    call(&service, 1).await.unwrap();
    assert_eq!(plugin.connections(), 1);
    // No sign within a second: another connection.
    sleep(Duration::from_secs(31)).await;
    assert_eq!(call(&service, 2).await.unwrap(), 4);
    assert_eq!(plugin.connections(), 2);
    sleep(Duration::from_secs(31)).await;
    call(&service, 3).await.unwrap();
    assert_eq!(plugin.connections(), 2);
    // And none at all after `idle_timeout`.
    sleep(Duration::from_secs(91)).await;
    call(&service, 4).await.unwrap();
    assert_eq!(plugin.connections(), 3);
    until("the others close", || plugin.open() == 1).await;
}

/// A plugin whose first connection dies at the second call, once that has come.
async fn dying() -> Plugin {
    Plugin::unix(|mut connection: Connection| async move {
        if connection.number > 0 {
            return connection.answer_all().await;
        }
        let line = connection.next().await.unwrap();
        connection.send(&answer(&line)).await;
        connection.next().await;
    })
    .await
}

#[tokio::test]
async fn a_connection_that_dies_in_use_is_not_the_plugins_fault_and_idempotent_calls_go_on() {
    let plugin = dying().await;
    let transport = SocketTransport::<u64, u64>::new();
    let endpoint = plugin.address.parse::<tower_upstream::Endpoint>().unwrap();
    let service = tower_upstream::connect::Connect::connect(
        &transport,
        &tower_upstream::member::Member::new(endpoint),
    );
    call(&service, 1).await.unwrap();
    let error = call(&service, 2).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
    let stats = transport.handle().stats();
    assert_eq!((stats.failed, stats.ignored), (Some(0), Some(1)));

    let plugin = dying().await;
    let service = plugin.service(config());
    call(&service, 1).await.unwrap();
    let reply = service.clone().oneshot(Call::new(2).idempotent()).await.unwrap();
    assert_eq!((reply.into_body(), plugin.connections()), (4, 2));
}

thread_local! {
    static AT_THE_CAP: std::cell::RefCell<Option<SocketService<u64, Parsed>>> =
        const { std::cell::RefCell::new(None) };
}

/// Whether another call could have begun while this was read.
struct Parsed(bool);

impl<'de> serde::Deserialize<'de> for Parsed {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from)?;
        let service = AT_THE_CAP.with_borrow(Clone::clone);
        Ok(Self(service.is_some_and(|mut service| service.ready().now_or_never().is_some())))
    }
}

#[tokio::test]
async fn a_connection_is_in_use_until_its_answer_is_read() {
    let plugin = Plugin::good().await;
    let service = connect::<u64, Parsed>(config().with_max_connections(1), &plugin.address);
    AT_THE_CAP.set(Some(service.clone()));
    let reply = service.clone().oneshot(Call::new(1)).await.unwrap();
    assert!(!reply.into_body().0);
    AT_THE_CAP.set(None);
    assert!(service.clone().ready().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_said_unasked_ends_a_connection_before_a_call_takes_it() {
    // After its answer; a line end alone says nothing.
    for (unasked, connections) in
        [("\n\r\n \n", 1), ("{", 2), ("{\"request_id\":\"x\"}\n", 2), ("x", 2)]
    {
        for after in [0, 10, 40] {
            let plugin = Plugin::unix(move |mut connection: Connection| async move {
                let line = connection.next().await.unwrap();
                connection.send(&answer(&line)).await;
                sleep(Duration::from_secs(after)).await;
                connection.send(unasked).await;
                connection.answer_all().await;
            })
            .await;
            let service = plugin.service(config());
            assert_eq!(call(&service, 1).await.unwrap(), 2);
            sleep(Duration::from_secs(after + 1)).await;
            assert_eq!(call(&service, 2).await.unwrap(), 4, "{unasked:?} after {after} s");
            assert_eq!(plugin.connections(), connections, "{unasked:?} after {after} s");
        }
    }
    // Or instead of a sign of life, or with it.
    for (sign, connections) in
        [("{\"success\":true}\n", 1), ("{\"request_id\":\"r\"}\n", 2), ("{}{", 2), ("{", 2)]
    {
        let plugin = Plugin::unix(move |mut connection: Connection| async move {
            while let Some(line) = connection.next().await {
                let is_ping = line.contains("ping");
                connection
                    .send(if is_ping { sign.to_owned() } else { answer(&line) }.as_str())
                    .await;
            }
        })
        .await;
        let service = plugin.service(config());
        assert_eq!(call(&service, 1).await.unwrap(), 2);
        sleep(Duration::from_secs(31)).await;
        assert_eq!(call(&service, 2).await.unwrap(), 4, "{sign}");
        assert_eq!(plugin.connections(), connections, "{sign}");
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_process_of_another_user_or_through_a_link() {
    let (plugin, seen) = recording(&new_unix()).await;
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let error = call(&plugin.service(config().with_allowed_uids([own + 1])), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Connection, Code::SECURITY_1801));
    assert!(error.is_unsent() && error.to_string().contains("allowed_uids"), "{error}");
    assert!(seen.lock().unwrap().is_empty());
    for allowed in [
        config().with_allowed_uids([own]),
        config().with_allowed_uids([own + 1]).with_allow_any_user(true),
    ] {
        assert_eq!(call(&plugin.service(allowed), 1).await.unwrap(), 2);
    }

    let link = new_path();
    std::os::unix::fs::symlink(plugin.address.strip_prefix("unix:").unwrap(), &link).unwrap();
    let service = connect::<u64, u64>(config(), &format!("unix:{}", link.display()));
    let error = call(&service, 1).await.unwrap_err();
    assert_eq!((error.code(), error.is_unsent()), (Code::SECURITY_1804, true), "{error}");
    std::fs::remove_file(link).unwrap();
}

#[tokio::test]
async fn another_host_is_not_called_unless_it_may_be() {
    let service = connect::<u64, u64>(config(), "tcp://192.0.2.1:9");
    let error = call(&service, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    assert!(error.to_string().contains("allow_remote"), "{error}");
    for address in ["http://a:1", "unix:/a/../b"] {
        let error = call(&connect(config(), address), 1).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    }
}

/// An address of this host that others can reach. No packet is sent.
fn reachable() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().unwrap().ip();
    (!address.is_loopback()).then_some(address)
}

#[tokio::test]
async fn another_host_is_called_if_it_may_be() {
    let Some(host) = reachable() else {
        println!("SKIP: this host has no address but its loopback");
        return;
    };
    let (plugin, seen) = recording(&format!("tcp://{host}:0")).await;
    let error = call(&plugin.service(config()), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    assert!(plugin.connections() == 0 && seen.lock().unwrap().is_empty());
    assert_eq!(call(&plugin.service(config().with_allow_remote(true)), 1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_connection_proves_the_token_first() {
    let (plugin, seen) = recording("tcp://127.0.0.1:0").await;
    let service = plugin.service(config().with_token("s3cret").with_max_idle_connections(0));
    call(&service, 1).await.unwrap();
    call(&service, 2).await.unwrap();
    let lines = seen.lock().unwrap().clone();
    let proof = r#"{"type":"auth","request_id":"auth","data":"s3cret"}"#;
    assert_eq!((lines.len(), lines[0].as_str(), lines[2].as_str()), (4, proof, proof));

    let refusing = Plugin::unix(|mut connection| async move {
        connection.next().await;
        connection.send("{\"request_id\":\"auth\",\"error\":\"not authorized\"}").await;
    })
    .await;
    let service = refusing.service(config().with_token("wr0ng"));
    let error = call(&service, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Connection, Code::RPC_2002), "{error}");
    let shown = format!("{error} {error:?} {service:?}");
    assert!(error.is_unsent() && !shown.contains("wr0ng"), "{shown}");

    // One that says nothing has the time to connect, and no more.
    let silent =
        Plugin::unix(|mut connection| async move { while connection.next().await.is_some() {} })
            .await;
    let error = call(&silent.service(config().with_token("x")), 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    assert!(error.to_string().contains("within 5s (`connect_timeout`)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_unsent_until_its_last_byte_is_written() {
    let long = "x".repeat(4 << 20);
    let call = |service: SocketService<String, u64>| service.oneshot(Call::new(long.clone()));
    // Never read.
    let plugin = Plugin::unix(|connection| async move {
        sleep(Duration::from_secs(60)).await;
        drop(connection);
    })
    .await;
    let error = call(connect(config(), &plugin.address)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    // Half of it is read.
    let plugin = Plugin::unix(|mut connection| async move {
        connection.stream.read_exact(&mut vec![0; 2 << 20]).await.unwrap();
    })
    .await;
    let error = call(connect(config(), &plugin.address)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    // The plugin says at once that it is too long.
    let plugin = Plugin::unix(|mut connection| async move {
        connection.stream.read_exact(&mut [0; 1_024]).await.unwrap();
        connection.send("{\"success\":false,\"error\":\"too long for me\"}\n").await;
    })
    .await;
    let error = call(connect(config(), &plugin.address)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin, "{error}");
    assert!(error.to_string().contains("too long for me"), "{error}");
}

/// Polls a future so many times, then drops it.
struct Polled<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for Polled<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            self.future = None;
        }
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        let polled = future.as_mut().poll(cx).map(Some);
        self.left -= 1;
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_dropped_at_any_point_and_the_next_gets_its_own_answer() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let plugin = Plugin::unix(|mut connection: Connection| async move {
        while let Some(line) = connection.next().await {
            let right = answer(&line);
            for part in right.as_bytes().chunks(20) {
                sleep(Duration::from_millis(5)).await;
                connection.send(std::str::from_utf8(part).unwrap()).await;
            }
        }
    })
    .await;
    let service = plugin.service(config().with_token("x").with_max_connections(1));
    let before = alive();
    let mut points = 0;
    for polls in 0.. {
        // On a new connection, and on one that is idle.
        for warm in [false, true] {
            let service = plugin.service(config().with_token("x").with_max_connections(1));
            if warm {
                call(&service, 5).await.unwrap();
            }
            let future = Some(Box::pin(service.clone().oneshot(Call::new(1))));
            let whole = Polled { future, left: polls }.await.is_some();
            points = if whole && !warm { polls } else { points };
            assert_eq!(call(&service, 2).await.unwrap(), 4, "dropped after {polls} polls");
            assert!(service.health().await.status.is_usable());
        }
        if points > 0 {
            break;
        }
    }
    assert!(points > 5, "only {points} points");
    drop(service);
    until("all connections close", || plugin.open() == 0).await;
    until("all tasks end", || alive() == before).await;
}

#[tokio::test]
async fn health_is_what_the_plugin_says_or_how_it_answers() {
    let health = |text: &'static str| async move {
        let plugin = Plugin::unix(move |mut connection| async move {
            let line = connection.next().await.unwrap();
            let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&asked["type"], &asked["timeout_ms"]), (&"health".into(), &5_000.into()));
            connection.send(&text.replace("\"ID\"", &asked["request_id"].to_string())).await;
        })
        .await;
        let health = plugin.service(config()).health().await;
        assert_eq!(health.metadata["transport"], "unix");
        assert_eq!(format!("unix:{}", health.metadata["socket_path"]), plugin.address);
        assert!(health.last_check.is_some());
        (health.status, health.message)
    };
    use PluginStatus::{Degraded, Healthy, Unhealthy};
    for (text, status, message) in [
        (r#"{"request_id":"ID","success":true}"#, Healthy, "OK"),
        (
            r#"{"request_id":"ID","success":false,"error":"cold"}"#,
            Degraded,
            "Health check returned error: cold",
        ),
        (
            r#"{"request_id":"ID","success":true,"data":{"status":2,"message":"cold"}}"#,
            Degraded,
            "cold",
        ),
        (
            r#"{"request_id":"ID","success":false,"data":{"status":"unhealthy","message":"ill"}}"#,
            Unhealthy,
            "ill",
        ),
        ("rubbish", Unhealthy, "Health check failed: "),
    ] {
        let found = health(text).await;
        assert_eq!(found.0, status, "{text}");
        assert!(found.1.starts_with(message), "{}", found.1);
    }
    let gone = connect::<u64, u64>(config(), &new_unix()).health().await;
    assert_eq!(gone.status, Unhealthy);
    assert!(gone.message.starts_with("Failed to get connection: "), "{}", gone.message);
    assert!(gone.message.contains("socket path does not exist"), "{}", gone.message);
}

#[tokio::test]
async fn the_description_is_asked_for_once() {
    let (plugin, seen) = recording(&new_unix()).await;
    let service = plugin.service(config());
    assert!(seen.lock().unwrap().is_empty());
    for _ in 0..3 {
        let info = service.clone().info().await.unwrap();
        assert_eq!((info.name.as_str(), info.version.as_str()), ("double", "1.0.0"));
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn new_settings_hold_for_the_next_call_and_for_connections_if_they_are_about_them() {
    let plugin = Plugin::good().await;
    let transport = SocketTransport::<u64, u64>::new();
    let endpoint = plugin.address.parse::<tower_upstream::Endpoint>().unwrap();
    let member = tower_upstream::member::Member::new(endpoint);
    let service = tower_upstream::connect::Connect::connect(&transport, &member);
    call(&service, 1).await.unwrap();
    let handle = transport.handle();
    assert!(handle.update(&config().with_max_message_bytes(0)).is_err());
    assert_eq!(handle.config(), config());
    handle.update(&config().with_max_message_bytes(10)).unwrap();
    let error = call(&service, 1).await.unwrap_err();
    assert!(error.to_string().contains("10 bytes (`max_message_bytes`)"), "{error}");
    assert_eq!((handle.stats().failed, plugin.connections()), (Some(1), 1));
    handle.update(&config()).unwrap();
    for (number, changed) in [
        config().with_token("x"),
        config().with_allowed_uids([0]),
        config().with_allow_any_user(true),
        config().with_allow_remote(true),
    ]
    .into_iter()
    .enumerate()
    {
        call(&service, 1).await.unwrap();
        assert_eq!((handle.connections(), plugin.connections()), (1, number + 2));
        handle.update(&changed).unwrap();
        until("the idle connection closes", || plugin.open() == 0).await;
        handle.update(&config()).unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_too_late_or_cannot_be_written_is_not_sent() {
    let service = connect::<u64, u64>(config(), &new_unix());
    let late = Call::new(1).with_timeout(Duration::ZERO);
    let error = service.oneshot(late).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    let bad = std::collections::BTreeMap::from([((1, 2), 3)]);
    let service = connect::<_, u64>(config(), &new_unix());
    let error = service.oneshot(Call::new(bad)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
}

#[test]
fn without_a_runtime_there_is_an_error_not_a_panic() {
    let mut service = connect::<u64, u64>(config(), &new_unix());
    let future = pin!(service.call(Call::new(1)));
    let error = futures::executor::block_on(future).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
}

#[test]
fn connections_of_a_runtime_that_has_ended_are_not_used() {
    let plugin_runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let plugin = plugin_runtime.block_on(Plugin::good());
    let service = plugin.service(config());
    for number in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(call(&service, number)).unwrap(), number * 2);
    }
}

#[test]
fn services_and_futures_go_anywhere() {
    struct NotEvenDebug(#[allow(dead_code)] std::cell::Cell<u8>);
    fn is_fit<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    is_fit::<SocketTransport<NotEvenDebug, NotEvenDebug>>();
    is_fit::<SocketService<NotEvenDebug, NotEvenDebug>>();
    fn is_sendable<T: Send + 'static>() {}
    is_sendable::<SocketFuture<NotEvenDebug>>();
}
