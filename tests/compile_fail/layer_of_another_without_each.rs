//! Below a balancer, a layer of another crate needs an `EachLayer`.
use std::time::Duration;

use tower::{ServiceBuilder, timeout::TimeoutLayer};
use tower_upstream::{
    BalanceLayer, Call, LeastRequest, discover, stack::check, transport::HttpTransport,
};

fn main() {
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(HttpTransport::<u64, u64>::new());
    check::<Call<u64>, _>(stack);
}
