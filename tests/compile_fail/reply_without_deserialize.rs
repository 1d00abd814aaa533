//! A transport reads replies.
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, Call, FailoverLayer, LeastRequest, discover, stack::check,
    transport::HttpTransport,
};

struct TaxReply;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(HttpTransport::<u64, TaxReply>::new());
    check::<Call<u64>, _>(stack);
}
