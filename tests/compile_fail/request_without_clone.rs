//! A failover copies requests.
use tower::ServiceBuilder;
use tower_upstream::{
    Attempts, BalanceLayer, Call, FailoverLayer, LeastRequest, discover, stack::check,
    transport::HttpTransport,
};

#[derive(serde::Serialize)]
struct TaxRequest;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(HttpTransport::<TaxRequest, u64>::new());
    check::<Call<TaxRequest>, _>(stack);
}
