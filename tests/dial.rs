//! One connector for TCP, used by transports, health checks and clients of others.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;
mod wire;

use std::{
    error::Error as _,
    iter,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::seen;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpInfo},
    rt::TokioExecutor,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    time::{Instant, timeout},
};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, HttpCheck,
    breaker::{CircuitBreaker, CircuitHandle},
    connect::Connect,
    dial::{ConnectError, TcpConnector},
    error::Kind,
    health::{Check, TcpCheck, Verdict},
    http::ConnectionSlot,
    member::Member,
    transport::{HttpService, HttpTransport},
};

use self::wire::{PATIENCE, Server, answer_all, header, ok, read_request, until};

async fn answering() -> Server {
    Server::new(|mut stream, _| async move { answer_all(&mut stream, &ok(r#"{"data":7}"#)).await })
        .await
}

fn client(connector: TcpConnector) -> Client<TcpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build(connector)
}

#[tokio::test]
async fn a_client_of_hyper_util_takes_it_and_answers_carry_the_slot_of_their_connection() {
    let server = answering().await;
    let client = client(TcpConnector::new());
    let before = Instant::now();
    let mut slots = Vec::new();
    for _ in 0..2 {
        let response = client.get(server.url().parse().unwrap()).await.unwrap();
        let info = response.extensions().get::<HttpInfo>().unwrap();
        assert_eq!(info.remote_addr(), server.address);
        slots.push(response.extensions().get::<ConnectionSlot>().unwrap().clone());
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    let born = slots[0].connected_at().unwrap();
    assert!(born >= before && Some(born) == slots[1].connected_at());
    // What it holds drops with the socket, however many clones of the slot there are.
    let guard = Arc::new(());
    slots[0].hold(guard.clone());
    drop(client);
    until("the guard drops", || Arc::strong_count(&guard) == 1).await;
}

#[tokio::test]
async fn a_host_with_addresses_of_both_families_is_reached_over_the_one_that_answers() {
    let server = answering().await;
    let url = format!("http://localhost:{}", server.address.port());
    let response = client(TcpConnector::new()).get(url.parse().unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// A host that does not answer, since its queue is full of those who wait to be let in.
async fn unanswering() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, listener, waiting)
}

#[tokio::test]
async fn a_timeout_is_recognised_by_its_type() {
    let (address, _listener, _waiting) = unanswering().await;
    let url: Uri = format!("http://{address}").parse().unwrap();
    let limit = Duration::from_millis(300);
    for (connector, is_timeout) in [
        (TcpConnector::new().connect_timeout(limit), true),
        (TcpConnector::new().connect_timeout(Duration::from_nanos(1)), true),
    ] {
        let start = Instant::now();
        let error = connector.clone().oneshot(url.clone()).await.unwrap_err();
        assert_eq!(error.is_timeout(), is_timeout, "{error}");
        assert!(start.elapsed() < PATIENCE);
        // And below a client.
        let error = client(connector).get(url.clone()).await.unwrap_err();
        let ours = iter::successors(error.source(), |&error| error.source())
            .find_map(|error| error.downcast_ref::<ConnectError>())
            .unwrap();
        assert!(ours.is_timeout());
    }
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: Uri = format!("http://{refused}").parse().unwrap();
    let error = TcpConnector::new().oneshot(url).await.unwrap_err();
    assert!(!error.is_timeout() && error.source().is_some());
}

#[tokio::test]
async fn only_http_is_dialled_unless_told_otherwise() {
    let server = answering().await;
    let url: Uri = format!("https://{}", server.address).parse().unwrap();
    assert!(TcpConnector::new().oneshot(url.clone()).await.is_err());
    TcpConnector::new().enforce_http(false).oneshot(url).await.unwrap();
}

/// Addresses of this machine that need a zone: a link-local one, where there is one; and one that
/// does not need its zone, which is a number then.
fn zoned() -> Vec<String> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let addresses = interfaces.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [address, index, _, scope, _, name] = fields[..] else {
            return None;
        };
        let address = std::net::Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        match scope {
            "20" => Some(format!("{address}%25{name}")),
            "10" => Some(format!("{address}%25{}", u32::from_str_radix(index, 16).ok()?)),
            _ => None,
        }
    });
    addresses.collect()
}

#[tokio::test]
async fn an_address_with_a_zone_is_reached_and_the_zone_is_not_sent() {
    for host in zoned() {
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let _server = Server::over(listener, move |mut stream, _| {
            let heads = heads.clone();
            async move {
                while let Some(head) = read_request(&mut stream).await {
                    heads.send(header(&head, "host").unwrap()).unwrap();
                    stream.write_all(ok(r#"{"data":7}"#).as_bytes()).await.unwrap();
                }
            }
        });
        let url = format!("http://[{host}]:{port}");
        let member = Member::new(Endpoint::new(&url).unwrap());
        let service = HttpTransport::<u32, u32>::new().connect(&member);
        assert_eq!(service.oneshot(Call::new(1)).await.unwrap().into_body(), 7, "{host}");
        assert_eq!(
            seen.recv().await.unwrap(),
            format!("[{}]:{port}", host.split('%').next().unwrap())
        );
        let endpoint = Arc::new(Endpoint::new(&url).unwrap());
        assert_eq!(HttpCheck::get("/").check(Some(endpoint.clone())).await, Verdict::Healthy);
        assert_eq!(TcpCheck::new().check(Some(endpoint)).await, Verdict::Healthy);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn short_lived() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn connections_live_on_the_runtime_that_was_given_whichever_calls() {
    let lasting = runtime();
    let server = lasting.block_on(answering());
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let transport = HttpTransport::<u32, u32>::new().with_runtime(lasting.handle().clone());
    let service = transport.connect(&member);
    for _ in 0..5 {
        let call = service.clone().oneshot(Call::new(1));
        assert_eq!(short_lived().block_on(call).unwrap().into_body(), 7);
        // Until the connection is back in the pool.
        lasting.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    }
    // Also from no runtime at all.
    let call = service.oneshot(Call::new(1));
    assert_eq!(futures::executor::block_on(call).unwrap().into_body(), 7);
    let used = server.connections();
    assert!(used <= 2, "{used} connections for six calls");
}

#[test]
fn without_one_connections_live_with_the_call_that_makes_them() {
    let lasting = runtime();
    let server = lasting.block_on(answering());
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let service = HttpTransport::<u32, u32>::new().connect(&member);
    for _ in 0..2 {
        short_lived().block_on(service.clone().oneshot(Call::new(1))).unwrap();
    }
    assert_eq!(server.connections(), 2);
    let error = futures::executor::block_on(service.oneshot(Call::new(1))).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
}

#[test]
fn a_socket_is_made_on_the_runtime_that_was_given() {
    let lasting = runtime();
    let server = lasting.block_on(answering());
    let connector = TcpConnector::new().with_runtime(lasting.handle().clone());
    let url: Uri = server.url().parse().unwrap();
    let connection = short_lived().block_on(connector.clone().oneshot(url.clone())).unwrap();
    let got = lasting.block_on(async {
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(connection).await.unwrap();
        tokio::spawn(driver);
        let request = http::Request::get("/").body(Full::default()).unwrap();
        sender.send_request(request).await.unwrap().status()
    });
    assert_eq!(got, 200);
}

#[test]
fn once_its_runtime_has_ended_a_connector_makes_sockets_where_it_is_called() {
    let (given, mine) = (runtime(), runtime());
    let server = mine.block_on(answering());
    let connector = TcpConnector::new().with_runtime(given.handle().clone());
    let url: Uri = server.url().parse().unwrap();
    drop(given);
    mine.block_on(connector.clone().oneshot(url.clone())).unwrap();
    // With none left there is an error that says so.
    let error = futures::executor::block_on(connector.oneshot(url)).unwrap_err();
    assert!(!error.is_timeout() && error.source().is_some(), "{error}");
}

/// A transport over a circuit that opens at the first failure.
fn guarded(
    server: &Server,
    transport: HttpTransport<u32, u32>,
) -> (CircuitBreaker<HttpService<u32, u32>>, CircuitHandle) {
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let service = breakers.clone().layer(transport).connect(&member);
    (service, breakers.handle_for(member.key()).unwrap())
}

#[test]
fn once_its_runtime_has_ended_a_transport_works_where_it_is_called() {
    for used_before in [false, true] {
        let (given, mine) = (runtime(), runtime());
        let server = mine.block_on(answering());
        let transport = HttpTransport::<u32, u32>::new().with_runtime(given.handle().clone());
        let (service, circuit) = guarded(&server, transport);
        let call = || service.clone().oneshot(Call::new(1));
        if used_before {
            mine.block_on(call()).unwrap();
        }
        drop(given);
        for _ in 0..3 {
            assert_eq!(mine.block_on(call()).unwrap().into_body(), 7);
        }
        let error = futures::executor::block_on(call()).unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
        assert_eq!(seen(&circuit).failed, 0);
    }
}

/// A server that does not answer the second request of its first connection, and how often it was asked
/// there.
async fn falling_silent() -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::new(move |mut stream, number| {
        let count = count.clone();
        async move {
            if number > 0 {
                return answer_all(&mut stream, &ok(r#"{"data":7}"#)).await;
            }
            while read_request(&mut stream).await.is_some() {
                if count.fetch_add(1, SeqCst) == 0 {
                    stream.write_all(ok(r#"{"data":7}"#).as_bytes()).await.unwrap();
                }
            }
        }
    });
    (server.await, asked)
}

#[test]
fn a_connection_that_ends_with_its_runtime_says_nothing_of_the_endpoint() {
    for is_given in [false, true] {
        for idempotent in [false, true] {
            let (home, mine) = (runtime(), runtime());
            let (server, asked) = mine.block_on(falling_silent());
            let mut transport = HttpTransport::<u32, u32>::new();
            if is_given {
                transport = transport.with_runtime(home.handle().clone());
            }
            let (service, circuit) = guarded(&server, transport);
            home.block_on(service.clone().oneshot(Call::new(1))).unwrap();
            // Until the connection is back in the pool.
            home.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
            let call = Call::new(2);
            let call = if idempotent { call.idempotent() } else { call };
            let call = mine.spawn(service.oneshot(call));
            mine.block_on(until("it is asked", || asked.load(SeqCst) == 2));
            drop(home);
            let result = mine.block_on(call).unwrap();
            if idempotent {
                assert_eq!(result.unwrap().into_body(), 7);
            } else {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false));
            }
            assert_eq!(seen(&circuit).failed, 0);
        }
    }
}
