//! The connections of a transport: how many, for how long, and whose turn it is. The settings are those of
//! a `connection` section as Go programs have it.
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
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::{advance, timeout},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, Endpoint, Error, LeastRequest, Reply,
    connect::Connect,
    discover,
    error::Kind,
    member::Member,
    telemetry::Stats,
    transport::{
        HttpConfig, HttpService, HttpTransport, HttpTransportHandle, SocketConfig, SocketService,
        SocketTransport, SocketTransportHandle,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A transport, and how a plugin answers it.
trait Transport: Connect<Service = Self::To> + Clone + Send + Sync + 'static {
    type To: Service<Call<u8>, Response = Reply<u8>, Error = Error, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static;
    type Handle: Handle;

    const SCHEME: &str;

    fn of(section: Value) -> (Self, Self::Handle);

    fn answer(id: &str) -> String;
}

trait Handle {
    fn connections(&self) -> usize;
    fn stats(&self) -> Stats;
    fn update(&self, section: Value);
}

macro_rules! transport {
    ($transport:ident, $service:ident, $config:ident, $handle:ident, $scheme:literal, $answer:expr) => {
        impl Transport for $transport<u8, u8> {
            type To = $service<u8, u8>;
            type Handle = $handle;

            const SCHEME: &str = $scheme;

            fn of(section: Value) -> (Self, $handle) {
                let config: $config = serde_json::from_value(section).unwrap();
                config.validate().unwrap();
                let transport = Self::with_config(config);
                let handle = transport.handle();
                (transport, handle)
            }

            fn answer(id: &str) -> String {
                $answer(id)
            }
        }

        impl Handle for $handle {
            fn connections(&self) -> usize {
                self.connections()
            }

            fn stats(&self) -> Stats {
                self.stats()
            }

            fn update(&self, section: Value) {
                self.update(&serde_json::from_value(section).unwrap()).unwrap();
            }
        }
    };
}

transport!(HttpTransport, HttpService, HttpConfig, HttpTransportHandle, "http", |_: &str| {
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"data\":7}".to_owned()
});
transport!(
    SocketTransport,
    SocketService,
    SocketConfig,
    SocketTransportHandle,
    "tcp",
    |id: &str| { format!("{{\"request_id\":\"{id}\",\"success\":true,\"data\":7}}\n") }
);

/// A test for each transport.
macro_rules! each {
    ($($(#[$on:meta])* $name:ident;)*) => {
        mod http {
            $(#[tokio::test$(($on))*]
            async fn $name() {
                super::$name::<super::HttpTransport<u8, u8>>().await;
            })*
        }

        mod socket {
            $(#[tokio::test$(($on))*]
            async fn $name() {
                super::$name::<super::SocketTransport<u8, u8>>().await;
            })*
        }
    };
}

each! {
    there_are_as_many_as_the_most_and_those_that_wait_get_their_turn;
    at_the_most_it_is_not_ready_and_is_again_when_a_call_ends;
    a_balancer_takes_another_member;
    #[start_paused = true]
    those_that_wait_do_so_until_their_deadline_and_blame_nobody;
    #[start_paused = true]
    an_idle_connection_closes_after_its_time;
    #[start_paused = true]
    a_connection_that_is_too_old_carries_no_more_calls;
    connections_are_kept_up_to_a_number_and_only_if_they_may_be;
    a_call_that_goes_leaves_its_turn_and_the_connection_that_it_began_to_make;
    a_call_that_is_not_polled_keeps_no_other_waiting;
    one_that_died_while_it_was_idle_takes_no_place;
    those_that_were_made_with_other_settings_are_let_go;
    nothing_is_left_when_the_last_service_goes;
    those_that_wait_hear_that_no_connection_can_be_made;
    #[start_paused = true]
    the_times_to_connect_and_to_answer_are_those_of_the_section;
}

/// A plugin that answers 7 as often as it may.
struct Plugin {
    address: SocketAddr,
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
    answers: Semaphore,
    /// Closes the connections.
    hang_up: Notify,
}

impl Plugin {
    async fn start<T: Transport>(answers: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plugin = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            hang_up: Notify::new(),
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
                    tokio::select! {
                        () = plugin.serve(stream, T::answer) => {}
                        () = plugin.hang_up.notified() => {}
                    }
                    plugin.open.fetch_sub(1, SeqCst);
                });
            }
        });
        plugin
    }

    async fn serve(&self, mut stream: TcpStream, answer: fn(&str) -> String) {
        let mut bytes = Vec::new();
        loop {
            // What is asked is an object without others, or ends with it.
            while !bytes.trim_ascii_end().ends_with(b"}") {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
            let text = String::from_utf8(std::mem::take(&mut bytes)).unwrap();
            let (_, id) = text.split_once("\"request_id\":\"").unwrap();
            let (id, _) = id.split_once('"').unwrap();
            self.asked.fetch_add(1, SeqCst);
            // Or the other side goes meanwhile.
            tokio::select! {
                answer = self.answers.acquire() => answer.unwrap().forget(),
                _ = stream.read_u8() => return,
            }
            if stream.write_all(answer(id).as_bytes()).await.is_err() {
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

fn connect<T: Transport>(plugin: &Plugin, section: Value) -> (T::To, T::Handle) {
    let (transport, handle) = T::of(section);
    let endpoint = Endpoint::new(address::<T>(plugin.address)).unwrap();
    (transport.connect(&Member::new(endpoint)), handle)
}

fn address<T: Transport>(address: SocketAddr) -> String {
    format!("{}://{address}", T::SCHEME)
}

async fn call<S>(service: &S) -> Result<u8, Error>
where
    S: Service<Call<u8>, Response = Reply<u8>, Error = Error> + Clone,
{
    let call = service.clone().oneshot(Call::new(1));
    timeout(PATIENCE, call).await.expect("it hangs").map(|reply| reply.into_body())
}

/// A call that does not ask whether there is room.
async fn pushed<S>(service: &S, call: Call<u8>) -> Result<u8, Error>
where
    S: Service<Call<u8>, Response = Reply<u8>, Error = Error> + Clone,
{
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

async fn there_are_as_many_as_the_most_and_those_that_wait_get_their_turn<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (service, handle) = connect::<T>(&plugin, json!({ "max_connections": 3 }));
    let calls: Vec<_> = (0..200).map(|_| service.clone().call(Call::new(1)).boxed()).collect();
    let calls = tokio::spawn(join_all(calls));
    until(|| plugin.open() == 3).await;
    plugin.answers.add_permits(200);
    let answers = timeout(PATIENCE, calls).await.expect("some wait for ever").unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap().into_body() == 7));
    assert_eq!((plugin.most.load(SeqCst), plugin.accepted(), handle.connections()), (3, 3, 3));
}

async fn at_the_most_it_is_not_ready_and_is_again_when_a_call_ends<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (mut service, handle) = connect::<T>(&plugin, json!({ "max_connections": 1 }));
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

async fn a_balancer_takes_another_member<T: Transport>() {
    let (stuck, free) = (Plugin::start::<T>(0).await, Plugin::start::<T>(1_000).await);
    let addresses = [&stuck, &free].map(|plugin| address::<T>(plugin.address));
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(addresses).unwrap(), LeastRequest::new()))
        .service(T::of(json!({ "max_connections": 1 })).0);
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

async fn those_that_wait_do_so_until_their_deadline_and_blame_nobody<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (service, handle) = connect::<T>(&plugin, json!({ "max_connections": 1 }));
    let mut holds = service.clone();
    let _first = tokio::spawn(holds.call(Call::new(1)));
    until(|| plugin.open() == 1).await;
    handle.update(json!({ "max_connections": 1, "request_timeout": "10s" }));
    let deadline = Call::new(1).with_timeout(Duration::from_secs(2));
    for (call, part) in [(deadline, "deadline"), (Call::new(1), "max_connections")] {
        let error = pushed(&service, call).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let stats = handle.stats();
    assert_eq!((stats.failed, stats.ignored), (Some(0), Some(2)));
}

async fn an_idle_connection_closes_after_its_time<T: Transport>() {
    let plugin = Plugin::start::<T>(10).await;
    let idle = Duration::from_secs(5);
    let (service, handle) = connect::<T>(&plugin, json!({ "idle_timeout": 5_000_000_000_u64 }));
    for _ in 0..3 {
        assert_eq!(call(&service).await.unwrap(), 7);
        advance(idle - Duration::from_millis(100)).await;
    }
    assert_eq!((plugin.accepted(), plugin.open()), (1, 1));
    advance(Duration::from_millis(200)).await;
    until(|| handle.connections() == 0 && plugin.open() == 0).await;
}

async fn a_connection_that_is_too_old_carries_no_more_calls<T: Transport>() {
    let plugin = Plugin::start::<T>(10).await;
    let (service, _handle) = connect::<T>(&plugin, json!({ "max_connection_age": "1m" }));
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

async fn connections_are_kept_up_to_a_number_and_only_if_they_may_be<T: Transport>() {
    let all_at_once = |service: T::To, plugin: Arc<Plugin>| async move {
        let calls: Vec<_> = (0..6).map(|_| service.clone().oneshot(Call::new(1)).boxed()).collect();
        let calls = tokio::spawn(join_all(calls));
        until(|| plugin.open() == 6).await;
        plugin.answers.add_permits(6);
        assert!(calls.await.unwrap().iter().all(Result::is_ok));
    };
    for (kept, section) in [
        (6, json!({})),
        (2, json!({ "max_idle_connections": 2 })),
        (0, json!({ "max_idle_connections": 0 })),
        (0, json!({ "keep_alive": false })),
    ] {
        let plugin = Plugin::start::<T>(0).await;
        let (service, handle) = connect::<T>(&plugin, section);
        all_at_once(service.clone(), plugin.clone()).await;
        until(|| plugin.open() == kept && handle.connections() == kept).await;
        plugin.answers.add_permits(1);
        assert_eq!(call(&service).await.unwrap(), 7);
        assert_eq!(plugin.accepted(), if kept == 0 { 7 } else { 6 });
    }
}

async fn a_call_that_goes_leaves_its_turn_and_the_connection_that_it_began_to_make<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (service, handle) = connect::<T>(&plugin, json!({ "max_connections": 1 }));
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
    until(|| plugin.open() == 0).await;
    plugin.answers.add_permits(1);
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((plugin.accepted(), plugin.most.load(SeqCst)), (2, 1));
}

async fn a_call_that_is_not_polled_keeps_no_other_waiting<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (service, _handle) = connect::<T>(&plugin, json!({ "max_connections": 1 }));
    let mut holds = service.clone();
    let holds = tokio::spawn(async move { holds.call(Call::new(1)).await });
    until(|| plugin.open() == 1).await;
    let mut parked = pushed(&service, Call::new(1)).boxed();
    assert!((&mut parked).now_or_never().is_none());
    let mut next = tokio_test::task::spawn(pushed(&service, Call::new(1)));
    assert!(next.poll().is_pending());
    // Its connection closes, so another may be made: the one in front does not.
    holds.abort();
    until(|| next.is_woken() && plugin.open() == 0).await;
    plugin.answers.add_permits(1);
    assert_eq!(timeout(PATIENCE, next).await.expect("it waits for the other").unwrap(), 7);
    plugin.answers.add_permits(1);
    assert_eq!(timeout(PATIENCE, parked).await.unwrap().unwrap(), 7);
}

/// At the cap, and nothing but the connection itself knows.
async fn one_that_died_while_it_was_idle_takes_no_place<T: Transport>() {
    let plugin = Plugin::start::<T>(10).await;
    let (mut service, handle) = connect::<T>(&plugin, json!({ "max_connections": 1 }));
    assert_eq!(call(&service).await.unwrap(), 7);
    plugin.hang_up.notify_waiters();
    until(|| plugin.open() == 0).await;
    // The runtime hears of it with the plugin's own event, or after it.
    tokio::task::yield_now().await;
    timeout(PATIENCE, service.ready()).await.expect("a dead one holds the place").unwrap();
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((plugin.accepted(), handle.connections()), (2, 1));
}

async fn those_that_were_made_with_other_settings_are_let_go<T: Transport>() {
    let plugin = Plugin::start::<T>(1).await;
    let (service, handle) = connect::<T>(&plugin, json!({}));
    assert_eq!(call(&service).await.unwrap(), 7);
    // About calls: it is kept.
    handle.update(json!({ "request_timeout": "10s" }));
    let mut calls = service.clone();
    let in_use = tokio::spawn(async move { calls.call(Call::new(1)).await });
    until(|| plugin.asked.load(SeqCst) == 2).await;
    assert_eq!(plugin.accepted(), 1);
    // About connections: not even that which is in use.
    handle.update(json!({ "connection_timeout": "1s" }));
    plugin.answers.add_permits(1);
    in_use.await.unwrap().unwrap();
    until(|| plugin.open() == 0 && handle.connections() == 0).await;
    plugin.answers.add_permits(1);
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!(plugin.accepted(), 2);
}

async fn nothing_is_left_when_the_last_service_goes<T: Transport>() {
    let plugin = Plugin::start::<T>(10).await;
    let (service, handle) = connect::<T>(&plugin, json!({}));
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((handle.connections(), plugin.open()), (1, 1));
    drop(service);
    until(|| plugin.open() == 0).await;
    assert_eq!(handle.connections(), 0);
}

async fn those_that_wait_hear_that_no_connection_can_be_made<T: Transport>() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(address::<T>(listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let (transport, _handle) = T::of(json!({ "max_connections": 2 }));
    let service = transport.connect(&Member::new(endpoint));
    let calls = (0..50).map(|_| pushed(&service, Call::new(1)));
    for answer in timeout(PATIENCE, join_all(calls)).await.expect("some hang") {
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    }
}

async fn the_times_to_connect_and_to_answer_are_those_of_the_section<T: Transport>() {
    let plugin = Plugin::start::<T>(0).await;
    let (service, _handle) = connect::<T>(&plugin, json!({ "request_timeout": "7s" }));
    let error = call(&service).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
    assert!(error.to_string().contains("7s (`request_timeout`)"), "{error}");
    // The queue of one that does not accept is full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let place = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(place)).await {
        waiting.push(stream.unwrap());
    }
    let (transport, _handle) = T::of(json!({ "connection_timeout": "3s" }));
    let endpoint = Endpoint::new(address::<T>(place)).unwrap();
    let error = call(&transport.connect(&Member::new(endpoint))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true), "{error}");
    assert!(error.to_string().contains("3s (`connect_timeout`)"), "{error}");
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
    let zero = r#"{"max_connections": 0}"#;
    macro_rules! is_read {
        ($config:ident) => {{
            let read = |text: &str| serde_json::from_str::<$config>(text).unwrap();
            assert_eq!(read(section), $config::go());
            assert_eq!(read(zero).max_connections, None);
            assert!(read(zero).with_max_connections(0).validate().is_err());
            let written = serde_json::to_string(&$config::go()).unwrap();
            assert_eq!(read(&written), $config::go());
        }};
    }
    is_read!(HttpConfig);
    is_read!(SocketConfig);
}
