//! What calls cost that are not explained: nothing is allocated for them.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/allocations.rs"]
mod allocations;

use std::{future::ready, sync::Arc};

use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, LeastRequest,
    balance::{BalanceConfig, Decision, Explain},
    connect_fn, discover,
};

#[derive(Default)]
struct Answer(Option<Arc<Decision>>);

impl Explain for Answer {
    fn explain(&mut self, decision: Arc<Decision>) {
        self.0 = Some(decision);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_not_explained_allocate_nothing() {
    let endpoints = discover::fixed(["a:1", "b:1", "c:1"]).unwrap();
    let layer = BalanceLayer::new(endpoints, LeastRequest::new()).explained(0.0);
    let handle = layer.handle();
    let mut stack = layer.layer(connect_fn(|_: &Endpoint| {
        service_fn(|(): ()| ready(Ok::<_, BoxError>(Answer::default())))
    }));
    let mut allocated = async |is_explained: bool| {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        stack.ready().await.unwrap().call(()).await.unwrap();
        let before = allocations::count();
        for _ in 0..1_000 {
            let answer = stack.ready().now_or_never().unwrap().unwrap().call(());
            assert_eq!(answer.now_or_never().unwrap().unwrap().0.is_some(), is_explained);
        }
        allocations::count() - before
    };
    assert_eq!(allocated(false).await, 0);
    handle.update(&BalanceConfig::default().with_explain(1.0)).unwrap();
    assert!(allocated(true).await >= 1_000, "they are counted");
    handle.update(&BalanceConfig::default()).unwrap();
    assert_eq!(allocated(false).await, 0);
}
