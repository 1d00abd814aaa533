//! A dead connection of HTTP/2 is no dead endpoint, and one that talks nonsense is not dead.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;
mod wire;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use support::seen;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error, LeastRequest,
    connect_fn, dial::TcpConnector, discover, error::Kind, http::OriginLayer,
};

use self::wire::Server;

/// The error of the second request on a connection of HTTP/2, and whether it counts against the
/// endpoint.
async fn second_on(server: Server) -> (Error, bool) {
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build(TcpConnector::new());
    let url = server.url();
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([&*url]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let get = || stack.clone().oneshot(Request::get("/").body(Full::default()).unwrap());
    get().await.unwrap().into_body().collect().await.unwrap();
    let error = get().await.unwrap_err();
    assert_eq!(server.connections(), 1, "{error:?}");
    (error, seen(&breakers.handle_for(&url).unwrap()).failed > 0)
}

#[tokio::test]
async fn a_connection_of_a_real_server_that_dies_says_nothing_of_it() {
    let server = Server::new(|stream, _| async move {
        let asked_again = Arc::new(Notify::new());
        let notify = asked_again.clone();
        let first = Arc::new(AtomicBool::new(true));
        let service = service_fn(move |_: Request<Incoming>| {
            let is_first = first.swap(false, SeqCst);
            let notify = notify.clone();
            async move {
                if !is_first {
                    notify.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"x"))))
            }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(service);
        tokio::select! {
            _ = builder.serve_connection(TokioIo::new(stream), service) => {}
            () = asked_again.notified() => {}
        }
    })
    .await;
    let (error, is_evidence) = second_on(server).await;
    assert_eq!((error.kind(), is_evidence), (Kind::Connection, false), "{error:?}");
}

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;

/// A server that answers the first request of a connection, and `last` to the second.
async fn ending_with(last: &'static [u8]) -> Server {
    Server::new(move |stream, _| async move {
        // The other side may close before the end.
        let _ = answer_one(stream, last).await;
    })
    .await
}

async fn answer_one(mut stream: TcpStream, last: &[u8]) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await?;
    let mut answered = false;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [_, high, low, kind, flags, id @ ..] = head;
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([high, low]))]).await?;
        match kind {
            SETTINGS if flags & 1 == 0 => {
                stream.write_all(&[0, 0, 0, SETTINGS, 1, 0, 0, 0, 0]).await?;
            }
            HEADERS if answered => {
                stream.write_all(last).await?;
                // Until the other side has read it.
                return stream.read_to_end(&mut Vec::new()).await.map(drop);
            }
            HEADERS => {
                answered = true;
                // `:status: 200`, and the end.
                let [a, b, c, d] = id;
                stream.write_all(&[0, 0, 1, HEADERS, 5, a, b, c, d, 0x88]).await?;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_in_peace_says_nothing_of_the_endpoint() {
    // GOAWAY: nothing after stream 1 was processed, NO_ERROR.
    let server = ending_with(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]).await;
    let (error, is_evidence) = second_on(server).await;
    assert_eq!((error.kind(), is_evidence), (Kind::Connection, false), "{error:?}");
}

#[tokio::test]
async fn an_endpoint_that_asks_for_calm_complains_of_this_side() {
    // GOAWAY with ENHANCE_YOUR_CALM.
    let server = ending_with(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 11]).await;
    let (error, is_evidence) = second_on(server).await;
    assert_eq!((error.kind(), is_evidence), (Kind::Connection, false), "{error:?}");
}

#[tokio::test]
async fn a_connection_on_which_one_side_complains_was_alive() {
    for last in [
        // GOAWAY with INTERNAL_ERROR.
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..],
        // DATA on stream 0, of which the client complains.
        &[0, 0, 0, 0, 0, 0, 0, 0, 0],
        // A frame that is too long.
        &[255, 255, 255, 0, 0, 0, 0, 0, 3],
    ] {
        let (error, is_evidence) = second_on(ending_with(last).await).await;
        assert!(is_evidence, "{last:?}: {error:?}");
    }
}
