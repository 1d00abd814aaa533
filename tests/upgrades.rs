//! A call that upgrades its connection lasts until that closes.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;
mod wire;

use std::sync::Arc;

use support::seen;

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer, Endpoint,
    connect::Connect,
    connect_fn,
    dial::TcpConnector,
    http::{ConnectionSlot, HttpClassify, OriginLayer, TrackLayer},
    member::Member,
};

use self::wire::{Server, read_request, until};

const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
const TUNNEL: &str = "HTTP/1.1 200 Connected\r\n\r\n";

/// Answers with `head`, then echoes until the other side closes.
async fn echoing(head: &'static str) -> Server {
    Server::new(move |mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

fn upgrade() -> Request<Full<Bytes>> {
    Request::get("/chat")
        .header("connection", "upgrade")
        .header("upgrade", "echo")
        .body(Full::default())
        .unwrap()
}

/// Talks over an upgraded connection, and hands it out.
async fn talk<B: Send + 'static>(response: Response<B>) -> hyper::upgrade::Upgraded {
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    io.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
    io.into_inner()
}

/// A member whose calls all three guards count, and those guards.
struct Counted<S> {
    member: Arc<Member>,
    breaker: CircuitBreakerLayer<tower_upstream::http::AtBodyEnd<HttpClassify>>,
    in_flight: Box<dyn Fn() -> usize>,
    service: S,
}

fn counted<C>(
    server: &Server,
    connector: C,
) -> Counted<
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<impl Body<Data = Bytes> + Send + 'static>,
        Error = tower_upstream::Error,
    > + Clone,
>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let limit = ConcurrencyLimitLayer::new(100).until_body_end();
    let breaker =
        CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1)).until_body_end(HttpClassify);
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let stack = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(breaker.clone())
        .layer(TrackLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let service = stack.connect(&member);
    let key = member.key().to_owned();
    let in_flight = move || limit.handle_for(&key).unwrap().in_flight() as usize;
    Counted { member, breaker, in_flight: Box::new(in_flight), service }
}

#[tokio::test]
async fn thirty_upgraded_connections_are_in_flight_until_they_close() {
    for (answer, method) in [(SWITCHED, "GET"), (TUNNEL, "CONNECT")] {
        let server = echoing(answer).await;
        let counted = counted(&server, TcpConnector::new());
        let request = || {
            let mut request = upgrade();
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = match method {
                "CONNECT" => server.address.to_string().parse().unwrap(),
                _ => format!("{}/chat", server.url()).parse().unwrap(),
            };
            request
        };
        let calls = (0..30).map(|_| async {
            talk(counted.service.clone().oneshot(request()).await.unwrap()).await
        });
        let open = join_all(calls).await;
        let breaker = counted.breaker.handle_for(counted.member.key()).unwrap();
        assert_eq!((counted.member.in_flight(), (counted.in_flight)()), (30, 30), "{method}");
        assert_eq!(seen(&breaker).admitted, 0, "{method}: the calls go on");
        drop(open);
        until("they end", || counted.member.in_flight() == 0 && (counted.in_flight)() == 0).await;
        until("they are judged", || seen(&breaker).admitted == 30).await;
        assert_eq!(seen(&breaker).failed, 0, "{method}");
    }
}

#[tokio::test]
async fn one_that_the_other_side_closes_ends_with_the_socket() {
    let server = Server::new(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(SWITCHED.as_bytes()).await.unwrap();
    })
    .await;
    let counted = counted(&server, TcpConnector::new());
    let mut request = upgrade();
    *request.uri_mut() = server.url().parse().unwrap();
    let response = counted.service.clone().oneshot(request).await.unwrap();
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(io.read(&mut [0; 4]).await.unwrap(), 0);
    assert_eq!(counted.member.in_flight(), 1, "this side has not closed it");
    drop(io);
    until("it ends", || counted.member.in_flight() == 0).await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_taken_up_ends() {
    let server = echoing(SWITCHED).await;
    let counted = counted(&server, TcpConnector::new());
    let mut request = upgrade();
    *request.uri_mut() = server.url().parse().unwrap();
    drop(counted.service.clone().oneshot(request).await.unwrap());
    until("it ends", || counted.member.in_flight() == 0 && (counted.in_flight)() == 0).await;
}

#[tokio::test]
async fn with_a_connector_of_another_it_lasts_as_long_as_the_caller_keeps_the_slot() {
    let server = echoing(SWITCHED).await;
    let counted = counted(&server, HttpConnector::new());
    let mut request = upgrade();
    *request.uri_mut() = server.url().parse().unwrap();
    let mut response = counted.service.clone().oneshot(request).await.unwrap();
    let slot = response.extensions_mut().remove::<ConnectionSlot>().unwrap();
    assert_eq!(slot.connected_at(), None);
    let open = talk(response).await;
    assert_eq!((counted.member.in_flight(), (counted.in_flight)()), (1, 1));
    drop(open);
    assert_eq!(counted.member.in_flight(), 1);
    drop(slot);
    assert_eq!((counted.member.in_flight(), (counted.in_flight)()), (0, 0));
    let breaker = counted.breaker.handle_for(counted.member.key()).unwrap();
    assert_eq!((seen(&breaker).admitted, seen(&breaker).failed), (1, 0));
}

#[tokio::test]
async fn upgrades_pass_below_a_balancer_with_its_origin() {
    let server = echoing(SWITCHED).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let service = ServiceBuilder::new()
        .layer(TrackLayer::new())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()))
        .connect(&member);
    let open = talk(service.oneshot(upgrade()).await.unwrap()).await;
    assert_eq!(member.in_flight(), 1);
    drop(open);
    until("it ends", || member.in_flight() == 0).await;
}

#[tokio::test]
async fn an_answer_without_an_upgrade_ends_with_its_body_as_before() {
    let server =
        Server::new(
            |mut stream, _| async move { wire::answer_all(&mut stream, &wire::ok("x")).await },
        )
        .await;
    let counted = counted(&server, TcpConnector::new());
    let mut request = upgrade();
    *request.uri_mut() = server.url().parse().unwrap();
    let response = counted.service.clone().oneshot(request).await.unwrap();
    assert_eq!(counted.member.in_flight(), 1);
    http_body_util::BodyExt::collect(response.into_body()).await.map_err(drop).unwrap();
    assert_eq!((counted.member.in_flight(), (counted.in_flight)()), (0, 0));
}
