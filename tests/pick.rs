//! Choosing here and calling elsewhere: what a choice counts, and what it waits for.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::sync::Arc;

use support::{Ask, Farm, Probe, ms, secs, settle};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, LeastRequest, Outcome,
    balance::{Balance, Picked},
    discover::Memory,
    error::Kind,
    member::{Member, Reason},
};

fn over(keys: &[&str]) -> (Balance<Probe, LeastRequest>, Farm, Memory) {
    let (farm, endpoints) = (Farm::default(), Memory::new(keys.iter().copied()).unwrap());
    let layer = BalanceLayer::new(endpoints.clone(), LeastRequest::new()).named("jobs");
    (ServiceBuilder::new().layer(layer).service(farm.clone()), farm, endpoints)
}

fn member(balance: &Balance<Probe, LeastRequest>) -> Arc<Member> {
    balance.handle().members()[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_choice_is_in_flight_until_it_drops_and_the_next_goes_elsewhere() {
    let (balance, farm, _) = over(&["a:1", "b:1"]);
    let first = balance.ready_pick(&Ask::new(1)).await.unwrap();
    let second = balance.pick(&Ask::new(1)).unwrap();
    assert_ne!(first.endpoint().key(), second.endpoint().key());
    assert_eq!(balance.handle().stats().in_flight, Some(2));
    assert_eq!(first.member().in_flight(), 1);
    // Its service is the one that was connected.
    let key = first.endpoint().key().to_owned();
    assert_eq!(first.service().oneshot(Ask::new(7)).await.unwrap(), key);
    assert_eq!((farm.get(&key).calls(), farm.connects()), (1, 2));
    drop(first);
    second.report(Outcome::Success);
    let stats = balance.handle().stats();
    assert_eq!((stats.in_flight, stats.admitted, stats.failed), (Some(0), Some(2), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_as_the_end_of_a_call_does() {
    let (balance, ..) = over(&["a:1"]);
    let pick = async || balance.ready_pick(&Ask::new(1)).await.unwrap();
    let ends_after = async |millis, end: fn(Picked<Probe>)| {
        let picked = pick().await;
        advance(ms(millis)).await;
        end(picked);
    };
    ends_after(5, |picked| picked.report(Outcome::Ignored)).await;
    let member = member(&balance);
    assert_eq!((member.latency(), member.failures()), (None, 0));
    ends_after(20, |picked| picked.report(Outcome::Success)).await;
    assert_eq!(member.latency(), Some(ms(20)));
    sleep(secs(60)).await;
    // Given up: that is no praise, however soon.
    ends_after(1, drop).await;
    assert_eq!(member.latency(), Some(ms(20)));
    ends_after(30, drop).await;
    assert_eq!((member.latency(), member.failures()), (Some(ms(30)), 0));
    ends_after(1, |picked| picked.report(Outcome::Failure)).await;
    let slow = member.latency().unwrap();
    assert!(slow >= ms(400), "{slow:?}: many times what calls take");
    ends_after(1, |picked| picked.report(Outcome::Overload { retry_after: None })).await;
    assert_eq!((member.failures(), member.calls(), member.in_flight()), (2, 6, 0));
}

#[test]
fn outside_a_runtime_nothing_is_chosen() {
    let (balance, ..) = over(&["a:1"]);
    let error = balance.pick(&Ask::new(1)).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
    let error = futures::executor::block_on(balance.ready_pick(&Ask::new(1))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_set_there_is_none_to_choose_and_ready_pick_waits() {
    let (balance, ..) = over(&["a:1"]);
    let error = balance.pick(&Ask::new(1)).unwrap_err();
    assert_eq!((error.kind(), error.guard()), (Kind::NoEndpoints, Some("jobs")));
    assert!(error.to_string().contains("`ready_pick`"), "{error}");
    // That look began to watch the source.
    settle().await;
    assert_eq!(balance.pick(&Ask::new(1)).unwrap().endpoint().key(), "a:1");
}

#[tokio::test(start_paused = true)]
async fn ready_pick_waits_no_longer_than_fail_fast_after() {
    let (balance, _, endpoints) = over(&[]);
    let start = Instant::now();
    let error = balance.ready_pick(&Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (Kind::NoEndpoints, secs(1)));
    let error = balance.ready_pick(&Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (Kind::NoEndpoints, secs(1)));
    endpoints.replace(["a:1".parse().unwrap()]).unwrap();
    settle().await;
    balance.ready_pick(&Ask::new(1)).await.unwrap().report(Outcome::Success);
}

#[tokio::test(start_paused = true)]
async fn what_bars_an_endpoint_bars_the_choice() {
    let (balance, ..) = over(&["a:1"]);
    drop(balance.ready_pick(&Ask::new(1)).await.unwrap());
    let (open, busy) =
        (member(&balance).veto(Reason::CircuitOpen), member(&balance).veto(Reason::Busy));
    open.raise();
    settle().await;
    assert_eq!(balance.pick(&Ask::new(1)).unwrap_err().kind(), Kind::CircuitOpen);
    let waits = balance.clone();
    let ask = Ask::new(1);
    let mut waits = task::spawn(waits.ready_pick(&ask));
    assert_pending!(waits.poll());
    busy.raise();
    open.clear();
    settle().await;
    // A place that is free again tells no one, so it is looked for.
    let error = balance.pick(&Ask::new(1)).unwrap_err();
    assert!(
        error.kind() == Kind::AllEndpointsDown && error.to_string().contains("busy"),
        "{error}"
    );
    assert_pending!(waits.poll());
    busy.clear();
    let start = Instant::now();
    drop(waits.await.unwrap());
    assert!(start.elapsed() <= ms(10));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_leaves_nothing() {
    let (balance, _, endpoints) = over(&[]);
    let ask = Ask::new(1);
    {
        let mut waits = task::spawn(balance.ready_pick(&ask));
        assert_pending!(waits.poll());
    }
    endpoints.replace(["a:1".parse().unwrap()]).unwrap();
    settle().await;
    let stats = balance.handle().stats();
    assert_eq!((stats.in_flight, stats.admitted), (Some(0), Some(0)));
}
