//! A timeout of tower does not say which endpoint a call used.
use std::time::Duration;

use tower::{ServiceBuilder, timeout::TimeoutLayer};
use tower_upstream::{
    Attempts, BalanceLayer, Call, FailoverLayer, LeastRequest, discover, stack::check,
    transport::HttpTransport,
};

fn main() {
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(HttpTransport::<u64, u64>::new());
    check::<Call<u64>, _>(stack);
}
