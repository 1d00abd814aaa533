//! What calls cost that are not explained: nothing is allocated for them.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::ready,
    sync::Arc,
};

use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, LeastRequest,
    balance::{BalanceConfig, Decision, Explain},
    connect_fn, discover,
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// Safety: all is left to the system's allocator.
#[allow(unsafe_code, reason = "there is no other way to see allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The last allocations of a thread come after its locals.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

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
    let mut allocations = async |is_explained: bool| {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        stack.ready().await.unwrap().call(()).await.unwrap();
        let before = COUNT.get();
        for _ in 0..1_000 {
            let answer = stack.ready().now_or_never().unwrap().unwrap().call(());
            assert_eq!(answer.now_or_never().unwrap().unwrap().0.is_some(), is_explained);
        }
        COUNT.get() - before
    };
    assert_eq!(allocations(false).await, 0);
    handle.update(&BalanceConfig::default().with_explain(1.0)).unwrap();
    assert!(allocations(true).await >= 1_000, "they are counted");
    handle.update(&BalanceConfig::default()).unwrap();
    assert_eq!(allocations(false).await, 0);
}
