//! A balancer clones the service of an endpoint for each call.
use std::task::{Context, Poll};

use tower::{Service, ServiceBuilder};
use tower_upstream::{
    BalanceLayer, Call, Endpoint, LeastRequest, connect_fn, discover, stack::check,
};

struct Client;

impl Service<Call<u64>> for Client {
    type Response = u64;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<u64, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u64>) -> Self::Future {
        std::future::ready(Ok(call.into_body()))
    }
}

fn main() {
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(connect_fn(|_: &Endpoint| Client));
    check::<Call<u64>, _>(stack);
}
