//! A body that streams cannot be copied, so a failover would send it once.
use axum::body::Body;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest, connect_fn, dial::TcpConnector,
    discover, http::OriginLayer, stack::check,
};

fn main() {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).require_copies())
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    check::<http::Request<Body>, _>(stack);
}
