//! `discover::fixed` may fail.
use tower_upstream::{BalanceLayer, LeastRequest, discover};

fn main() {
    let layer = BalanceLayer::new(discover::fixed(["a:1"]), LeastRequest::new());
    drop(layer);
}
