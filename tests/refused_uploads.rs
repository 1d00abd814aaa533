//! An endpoint that refuses an upload before it has read it is no endpoint that fails.
#![cfg(all(feature = "http", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{io, net::SocketAddr};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, LeastRequest,
    breaker::CircuitState,
    connect_fn,
    dial::TcpConnector,
    discover,
    error::Kind,
    http::{HttpClassify, OriginLayer},
    transport::HttpTransport,
};

const ANSWER: &[u8] =
    b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlong";
const UPLOAD: usize = 8 << 20;
const CALLS: usize = 6;

/// Reads the head of each request, sends `answer`, and closes, with most of the body unread.
async fn refuses(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(refuse(stream, answer));
        }
    });
    address
}

async fn refuse(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).await?;
        head.extend_from_slice(&bytes[..count]);
    }
    stream.readable().await?;
    stream.write_all(answer).await
}

fn upload() -> BoxBody<Bytes, io::Error> {
    let part = || Ok(Frame::data(Bytes::from_static(&[b'x'; 1 << 16])));
    let parts = (0..UPLOAD >> 16).map(move |_| part());
    BodyExt::boxed(StreamBody::new(futures::stream::iter(parts)))
}

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3))
}

/// What each of several uploads over hyper-util's client leads to, and the circuit after them.
async fn uploads(address: SocketAddr) -> (Vec<Result<u16, Kind>>, CircuitState) {
    let client: Client<_, BoxBody<Bytes, io::Error>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let (circuits, key) = (breaker().until_body_end(HttpClassify), format!("http://{address}"));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([&key]).unwrap(), LeastRequest::new()))
        .layer(circuits.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let mut ends = Vec::new();
    for _ in 0..CALLS {
        let request = Request::post("/").body(upload()).unwrap();
        ends.push(match stack.clone().oneshot(request).await {
            Ok(response) => {
                let status = response.status().as_u16();
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "long");
                Ok(status)
            }
            Err(error) => Err(error.kind()),
        });
    }
    (ends, circuits.handle_for(&key).unwrap().state())
}

/// The same over the transport for plugins.
async fn calls(address: SocketAddr) -> (Vec<Kind>, CircuitState) {
    let (circuits, key) = (breaker(), format!("http://{address}"));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([&key]).unwrap(), LeastRequest::new()))
        .layer(circuits.clone())
        .service(HttpTransport::<String, String>::new());
    let mut ends = Vec::new();
    for _ in 0..CALLS {
        ends.push(stack.clone().oneshot(Call::new("x".repeat(UPLOAD))).await.unwrap_err().kind());
    }
    (ends, circuits.handle_for(&key).unwrap().state())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_an_upload_that_was_not_read_arrives() {
    let address = refuses(ANSWER).await;
    assert_eq!(uploads(address).await, (vec![Ok(413); CALLS], CircuitState::Closed));
    assert_eq!(calls(address).await, (vec![Kind::Plugin; CALLS], CircuitState::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_off_without_an_answer_opens_no_circuit() {
    let address = refuses(b"").await;
    let cut = (vec![Err(Kind::Connection); CALLS], CircuitState::Closed);
    assert_eq!(uploads(address).await, cut);
    assert_eq!(calls(address).await, (vec![Kind::Connection; CALLS], CircuitState::Closed));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_noticed_by_the_next_uploads() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(uploads(gone).await.1, CircuitState::Open);
    assert_eq!(calls(gone).await.1, CircuitState::Open);
}
