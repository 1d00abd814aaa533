//! The client below takes requests with one body, the caller makes them with another.
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::ServiceBuilder;
use tower_upstream::{
    BalanceLayer, Endpoint, LeastRequest, connect_fn, dial::TcpConnector, discover,
    http::OriginLayer, stack::check,
};

fn main() {
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    check::<http::Request<axum::body::Body>, _>(stack);
}
