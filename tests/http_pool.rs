//! The connections of an `HttpTransport`: how many, for how long, and whose turn it is.
#![cfg(feature = "http")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{advance, timeout},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, Endpoint, Error, LeastRequest,
    connect::Connect,
    discover,
    error::Kind,
    member::Member,
    transport::{HttpConfig, HttpService, HttpTransport, HttpTransportHandle},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A plugin that answers 7 as often as it may.
struct Plugin {
    address: SocketAddr,
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    answers: Semaphore,
}

impl Plugin {
    async fn start(answers: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plugin = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            answers: Semaphore::new(answers),
        });
        let all = plugin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let plugin = all.clone();
                plugin.accepted.fetch_add(1, SeqCst);
                let open = plugin.open.fetch_add(1, SeqCst) + 1;
                plugin.most.fetch_max(open, SeqCst);
                tokio::spawn(async move {
                    plugin.serve(stream).await;
                    plugin.open.fetch_sub(1, SeqCst);
                });
            }
        });
        plugin
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            // The body is one digit, in an object that ends with a brace.
            while !bytes.ends_with(b"}") {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
            bytes.clear();
            // Or the other side goes meanwhile.
            tokio::select! {
                answer = self.answers.acquire() => answer.unwrap().forget(),
                _ = stream.read_u8() => return,
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"data\":7}";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(SeqCst)
    }
}

fn connect(
    plugin: &Plugin,
    change: impl FnOnce(HttpConfig) -> HttpConfig,
) -> (HttpService<u8, u8>, HttpTransportHandle) {
    let transport = HttpTransport::with_config(change(HttpConfig::default()));
    let endpoint = Endpoint::new(plugin.address.to_string()).unwrap();
    (transport.connect(&Member::new(endpoint)), transport.handle())
}

async fn call(service: &HttpService<u8, u8>) -> Result<u8, Error> {
    let call = service.clone().oneshot(Call::new(1));
    timeout(PATIENCE, call).await.expect("it hangs").map(|reply| reply.into_body())
}

/// A call that does not ask whether there is room.
async fn pushed(service: &HttpService<u8, u8>, call: Call<u8>) -> Result<u8, Error> {
    service.clone().call(call).await.map(|reply| reply.into_body())
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never comes");
}

#[tokio::test]
async fn there_are_as_many_as_the_most_and_those_that_wait_get_their_turn() {
    let plugin = Plugin::start(0).await;
    let (service, handle) = connect(&plugin, |config| config.with_max_connections(3));
    let calls: Vec<_> = (0..200).map(|_| service.clone().call(Call::new(1)).boxed()).collect();
    let calls = tokio::spawn(join_all(calls));
    until(|| plugin.open() == 3).await;
    plugin.answers.add_permits(200);
    let answers = timeout(PATIENCE, calls).await.expect("some wait for ever").unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap().into_body() == 7));
    assert_eq!((plugin.most.load(SeqCst), plugin.accepted(), handle.connections()), (3, 3, 3));
}

#[tokio::test]
async fn at_the_most_it_is_not_ready_and_is_again_when_a_call_ends() {
    let plugin = Plugin::start(0).await;
    let (mut service, handle) = connect(&plugin, |config| config.with_max_connections(1));
    assert!(service.ready().now_or_never().is_some());
    let holds = service.clone();
    let first = tokio::spawn(async move { call(&holds).await.unwrap() });
    until(|| plugin.open() == 1).await;
    assert_eq!(handle.connections(), 1);
    let mut waits = service.clone();
    let waits = tokio::spawn(async move { waits.ready().await.map(|_| ()) });
    assert!(service.ready().now_or_never().is_none());
    plugin.answers.add_permits(1);
    assert_eq!(timeout(PATIENCE, first).await.unwrap().unwrap(), 7);
    timeout(PATIENCE, waits).await.expect("nobody woke it").unwrap().unwrap();
    assert!(service.ready().now_or_never().is_some());
}

#[tokio::test]
async fn a_balancer_takes_another_member() {
    let (stuck, free) = (Plugin::start(0).await, Plugin::start(1_000).await);
    let addresses = [&stuck, &free].map(|plugin| plugin.address.to_string());
    let config = HttpConfig::default().with_max_connections(1);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(addresses).unwrap(), LeastRequest::new()))
        .service(HttpTransport::<u8, u8>::with_config(config));
    let mut calls: Vec<_> =
        (0..20).map(|_| service.clone().oneshot(Call::new(1)).boxed()).collect();
    let all = async {
        // All but the one that the stuck member has.
        while calls.len() > 1 {
            let (answer, _, rest) = futures::future::select_all(calls).await;
            assert_eq!(answer.unwrap().into_body(), 7);
            calls = rest;
        }
    };
    timeout(PATIENCE, all).await.expect("calls wait for the stuck one");
    assert_eq!((stuck.open(), stuck.most.load(SeqCst), free.most.load(SeqCst)), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_do_so_until_their_deadline_and_blame_nobody() {
    let plugin = Plugin::start(0).await;
    let (service, handle) = connect(&plugin, |config| config.with_max_connections(1));
    let mut holds = service.clone();
    let _first = tokio::spawn(holds.call(Call::new(1)));
    until(|| plugin.open() == 1).await;
    let shorter = handle.config().with_request_timeout(Duration::from_secs(10));
    handle.update(&shorter).unwrap();
    let deadline = Call::new(1).with_timeout(Duration::from_secs(2));
    for (call, part) in [(deadline, "deadline"), (Call::new(1), "max_connections")] {
        let error = pushed(&service, call).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let stats = handle.stats();
    assert_eq!((stats.failed, stats.ignored), (Some(0), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_closes_after_its_time() {
    let plugin = Plugin::start(10).await;
    let idle = Duration::from_secs(5);
    let (service, handle) = connect(&plugin, |config| config.with_idle_timeout(idle));
    for _ in 0..3 {
        assert_eq!(call(&service).await.unwrap(), 7);
        advance(idle - Duration::from_millis(100)).await;
    }
    assert_eq!((plugin.accepted(), plugin.open()), (1, 1));
    advance(Duration::from_millis(200)).await;
    until(|| handle.connections() == 0 && plugin.open() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_too_old_carries_no_more_calls() {
    let plugin = Plugin::start(10).await;
    let age = Duration::from_secs(60);
    let (service, _handle) = connect(&plugin, |config| config.with_max_connection_age(age));
    // In use again and again, so never idle for long.
    let mut calls = 0;
    while plugin.accepted() < 2 {
        assert_eq!(call(&service).await.unwrap(), 7);
        calls += 1;
        advance(Duration::from_secs(18)).await;
    }
    assert_eq!(calls, 5, "four in 54 s, and the first of the next connection");
    until(|| plugin.open() == 1).await;
}

#[tokio::test]
async fn connections_are_kept_up_to_a_number_and_only_if_they_may_be() {
    let all_at_once = |service: HttpService<u8, u8>, plugin: Arc<Plugin>| async move {
        let calls: Vec<_> = (0..6).map(|_| service.clone().oneshot(Call::new(1)).boxed()).collect();
        let calls = tokio::spawn(join_all(calls));
        until(|| plugin.open() == 6).await;
        plugin.answers.add_permits(6);
        assert!(calls.await.unwrap().iter().all(Result::is_ok));
    };
    for (kept, change) in [
        (6, (|config| config) as fn(HttpConfig) -> HttpConfig),
        (2, |config| config.with_max_idle_connections(2)),
        (0, |config| config.with_max_idle_connections(0)),
        (0, |config| config.with_keep_alive(false)),
    ] {
        let plugin = Plugin::start(0).await;
        let (service, handle) = connect(&plugin, change);
        all_at_once(service.clone(), plugin.clone()).await;
        until(|| plugin.open() == kept && handle.connections() == kept).await;
        plugin.answers.add_permits(1);
        assert_eq!(call(&service).await.unwrap(), 7);
        assert_eq!(plugin.accepted(), if kept == 0 { 7 } else { 6 });
    }
}

#[tokio::test]
async fn a_call_that_goes_leaves_its_turn_and_the_connection_that_it_began_to_make() {
    let plugin = Plugin::start(0).await;
    let (service, handle) = connect(&plugin, |config| config.with_max_connections(1));
    // Before its first poll, and while it connects.
    drop(service.clone().call(Call::new(1)));
    assert_eq!(handle.connections(), 0);
    let mut connecting = service.clone().call(Call::new(1)).boxed();
    assert!((&mut connecting).now_or_never().is_none());
    drop(connecting);
    until(|| plugin.open() == 1).await;
    // While it waits in the line; in front of it, one that holds the connection.
    let mut holds = service.clone().call(Call::new(1)).boxed();
    assert!((&mut holds).now_or_never().is_none());
    let holds = tokio::spawn(holds);
    let mut waits = service.clone().call(Call::new(1)).boxed();
    let mut next = service.clone().call(Call::new(1)).boxed();
    assert!((&mut waits).now_or_never().is_none() && (&mut next).now_or_never().is_none());
    plugin.answers.add_permits(1);
    holds.await.unwrap().unwrap();
    // It has got the connection, and does not know yet.
    drop(waits);
    plugin.answers.add_permits(1);
    timeout(PATIENCE, next).await.expect("its turn never comes").unwrap();
    assert_eq!(plugin.accepted(), 1);
    // Halfway, which closes the connection; the next makes another.
    let mut halfway = service.clone().call(Call::new(1)).boxed();
    assert!((&mut halfway).now_or_never().is_none());
    drop(halfway);
    plugin.answers.add_permits(1);
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((plugin.accepted(), plugin.most.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn nothing_is_left_when_the_last_service_goes() {
    let plugin = Plugin::start(10).await;
    let (service, handle) = connect(&plugin, |config| config);
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((handle.connections(), plugin.open()), (1, 1));
    drop(service);
    until(|| plugin.open() == 0).await;
    assert_eq!(handle.connections(), 0);
}

#[tokio::test]
async fn those_that_wait_hear_that_no_connection_can_be_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(listener.local_addr().unwrap().to_string()).unwrap();
    drop(listener);
    let config = HttpConfig::default().with_max_connections(2);
    let service: HttpService<u8, u8> =
        HttpTransport::with_config(config).connect(&Member::new(endpoint));
    let calls = (0..50).map(|_| pushed(&service, Call::new(1)));
    for answer in timeout(PATIENCE, join_all(calls)).await.expect("some hang") {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    }
}

#[test]
fn a_connection_section_of_go_is_read() {
    let section = r#"{
        "max_connections": 10,
        "max_idle_connections": 5,
        "idle_timeout": 30000000000,
        "connection_timeout": 10000000000,
        "request_timeout": 30000000000,
        "keep_alive": true,
        "disable_compression": false
    }"#;
    let read = |text: &str| serde_json::from_str::<HttpConfig>(text).unwrap();
    assert_eq!(read(section), HttpConfig::go());
    assert_eq!(read(r#"{"max_connections": 0}"#).max_connections, None);
    let written = serde_json::to_string(&HttpConfig::go()).unwrap();
    assert_eq!(read(&written), HttpConfig::go());
}
