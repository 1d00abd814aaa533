//! A failover asks requests whether they may be sent again.
use tower::{ServiceBuilder, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest, connect_fn, discover,
    stack::check,
};

#[derive(Clone)]
struct Query;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(connect_fn(|_: &Endpoint| {
            service_fn(async |_: Query| Ok::<_, std::io::Error>(()))
        }));
    check::<Query, _>(stack);
}
