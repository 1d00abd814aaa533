//! A reverse proxy over any number of upstreams: HTTP/1.1 and HTTP/2 without TLS, streams both ways,
//! server-sent events, WebSockets.
//!
//! ```text
//! cargo run --release --features http --example reverse_proxy -- \
//!     --listen 127.0.0.1:3000 --upstream http://10.0.0.1:8080 --upstream http://10.0.0.2:8080
//! ```
//! `--trust 10.0.0.0/8` names a network of proxies before this one, whose `X-Forwarded-For` is believed.
//! It stops on SIGTERM and Ctrl-C, once the requests that it has are answered.

use std::{io::Write, net::SocketAddr, process::exit, time::Duration};

use axum::{
    Router,
    extract::ConnectInfo,
    serve::{Listener, ListenerExt},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest,
    breaker::Cancelled,
    connect_fn,
    dial::TcpConnector,
    discover,
    http::{
        AnswerLayer, ClientIp, HttpClassify, OriginLayer, ReplayBody, ReplayBodyLayer,
        ReverseProxyLayer, TrackLayer,
    },
    serve,
};

fn proxy(upstreams: &[String], trusted: &[String]) -> Result<Router, Error> {
    let client_ip =
        ClientIp::new(|request| request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()));
    let breaker = CircuitBreakerConfig::default()
        // A client that leaves says nothing about the upstream, however long its upload took.
        .with_cancelled(Cancelled::Ignored)
        // Shorter than a request waits below: if all circuits are open, it waits for the first that closes.
        .with_open_for(Duration::from_millis(200))
        .with_max_open_for(Duration::from_secs(1));
    let client: Client<_, ReplayBody> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let stack = ServiceBuilder::new()
        .layer(AnswerLayer::new())
        .layer(ReverseProxyLayer::new(client_ip.trust(trusted)?))
        // The first 64 KiB of a body are kept, so that a small upload can be sent again.
        .layer(ReplayBodyLayer::new())
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(
            BalanceLayer::new(discover::fixed(upstreams)?, LeastRequest::new())
                .with_fail_fast_after(Duration::from_secs(5)),
        )
        // Streams and WebSockets count as load until they end.
        .layer(TrackLayer::new())
        .layer(CircuitBreakerLayer::new(breaker).until_body_end(HttpClassify))
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    Ok(Router::new().fallback_service(stack))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (mut listen, mut upstreams, mut trusted) = ("127.0.0.1:0".to_owned(), vec![], vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--listen", Some(address)) => listen = address,
            ("--upstream", Some(url)) => upstreams.push(url),
            ("--trust", Some(network)) => trusted.push(network),
            _ => usage(),
        }
    }
    if upstreams.is_empty() {
        usage();
    }
    let app = proxy(&upstreams, &trusted)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(listen).await?.tap_io(|stream| drop(stream.set_nodelay(true)));
    println!("listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, app).with_graceful_shutdown(serve::terminated()).await?)
}

fn usage() -> ! {
    eprintln!("usage: reverse_proxy [--listen ADDR] [--trust NETWORK].. --upstream URL..");
    exit(2)
}
