//! A client is no connector.
use tower::{ServiceBuilder, service_fn};
use tower_upstream::{BalanceLayer, LeastRequest, discover, stack::check};

fn main() {
    let client = service_fn(async |number: u64| Ok::<_, std::io::Error>(number));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(client);
    check::<u64, _>(stack);
}
