//! One endpoint has no other.
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, Call, FailoverLayer, LeastRequest, discover, stack::check,
    transport::HttpTransport,
};

fn main() {
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .service(HttpTransport::<u64, u64>::new());
    check::<Call<u64>, _>(stack);
}
