//! Guards that have a name: their errors bear it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    BalanceLayer, Endpoint, Error, LeastRequest, connect_fn,
    discover::Memory,
    error::{Code, Kind},
};

/// A service that never gets ready.
#[derive(Clone)]
struct Never;

impl Service<u32> for Never {
    type Response = u32;
    type Error = Error;
    type Future = Ready<Result<u32, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Pending
    }

    fn call(&mut self, number: u32) -> Self::Future {
        ready(Ok(number))
    }
}

#[tokio::test(start_paused = true)]
async fn a_balancer_says_its_name_when_it_has_no_endpoint() {
    let endpoints = Memory::new([] as [&str; 0]).unwrap();
    let layer = BalanceLayer::new(endpoints.clone(), LeastRequest::new())
        .with_fail_fast_after(Duration::from_secs(1));
    let never = connect_fn(|_: &Endpoint| Never);
    let (named, unnamed) = (layer.clone().named("tax").layer(never), layer.layer(never));
    let error = named.clone().oneshot(7).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::NoEndpoints, Code::LOADBALANCER_1701));
    assert_eq!(error.guard(), Some("tax"));
    assert!(error.to_string().starts_with("[LOADBALANCER_1701] `tax`: no endpoints"), "{error}");
    assert_eq!(unnamed.oneshot(7).await.unwrap_err().guard(), None);

    endpoints.insert("a:1").unwrap();
    // The task of the set publishes it.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let error = named.oneshot(7).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::AllEndpointsDown, Code::LOADBALANCER_1702));
    let said = "[LOADBALANCER_1702] `tax`: none of 1 endpoints got ready";
    assert!(error.to_string().starts_with(said), "{error}");
    assert_eq!(error.summary(), "[LOADBALANCER_1702] `tax`: all endpoints are down");
}
