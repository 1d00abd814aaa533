//! What an operator says of an endpoint by its key, and what the endpoints have counted.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::collections::BTreeMap;

use support::{Answer, Ask, Farm, Probe, ms, secs, settle};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, Endpoint,
    balance::{Balance, BalanceHandle, RoundRobin},
    discover::Memory,
    error::Kind,
    member::Reason,
};

type Set = Balance<Probe, RoundRobin>;

async fn over(keys: &[&str]) -> (Set, Farm, Memory) {
    let (farm, endpoints) = (Farm::default(), Memory::new(keys.iter().copied()).unwrap());
    let layer = BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0));
    let mut balance = ServiceBuilder::new().layer(layer).service(farm.clone());
    balance.ready().await.unwrap();
    (balance, farm, endpoints)
}

async fn counts(balance: &Set, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(balance.clone().oneshot(Ask::new(1)).await.unwrap()).or_default() += 1;
    }
    counts
}

async fn keys(balance: &Set) -> Vec<String> {
    counts(balance, 30).await.into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn each_word_holds_until_its_opposite_and_survives_a_rebuild() {
    type Word = fn(&BalanceHandle, &str) -> bool;
    let words: [(Reason, Word, Word); 3] = [
        (Reason::Disabled, BalanceHandle::disable, BalanceHandle::enable),
        (Reason::Draining, BalanceHandle::drain, BalanceHandle::enable),
        (Reason::Ejected, BalanceHandle::eject, BalanceHandle::uneject),
    ];
    let (balance, _, endpoints) = over(&["a:1", "b:1", "c:1"]).await;
    let handle = balance.handle();
    for (reason, word, opposite) in words {
        assert!(word(&handle, "b:1") && !word(&handle, "x:1"));
        // At once: no task has run since.
        assert_eq!(keys(&balance).await, ["a:1", "c:1"]);
        let b = handle.members()[1].clone();
        assert_eq!(b.reasons().collect::<Vec<_>>(), [reason]);
        // Another word of discovery about it, and another set.
        let tagged = Endpoint::new("b:1").unwrap().with_tag("new");
        let all = |b: Endpoint| {
            ["a:1", "c:1", "d:1"].map(|key| key.parse().unwrap()).into_iter().chain([b])
        };
        endpoints.replace(all(tagged)).unwrap();
        settle().await;
        assert_eq!(keys(&balance).await, ["a:1", "c:1", "d:1"]);
        assert!(opposite(&handle, "b:1"));
        settle().await;
        assert_eq!(keys(&balance).await, ["a:1", "b:1", "c:1", "d:1"]);
        // It ends when the endpoint leaves.
        word(&handle, "b:1");
        assert!(endpoints.remove("b:1"));
        settle().await;
        assert!(!word(&handle, "b:1"));
        endpoints.replace(["a:1", "b:1", "c:1"].map(|key| key.parse().unwrap())).unwrap();
        settle().await;
        assert_eq!(keys(&balance).await, ["a:1", "b:1", "c:1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_is_called_in_a_panic_and_others_are_not() {
    let (balance, ..) = over(&["a:1", "b:1"]).await;
    let handle = balance.handle();
    assert!(handle.eject("a:1") && handle.eject("b:1"));
    settle().await;
    assert!(handle.is_health_ignored());
    assert_eq!(keys(&balance).await, ["a:1", "b:1"]);
    assert!(handle.disable("a:1"));
    settle().await;
    assert_eq!(keys(&balance).await, ["b:1"]);
    assert!(handle.drain("b:1"));
    sleep(secs(2)).await;
    let error = balance.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AllEndpointsDown);
}

#[tokio::test(start_paused = true)]
async fn a_weight_is_that_of_the_operator_until_it_is_reset() {
    let (balance, _, endpoints) = over(&["a:1", "b:1"]).await;
    let handle = balance.handle();
    assert!(handle.set_weight("b:1", 0) && !handle.set_weight("x:1", 2));
    settle().await;
    assert_eq!(keys(&balance).await, ["a:1"]);
    let discovered = Endpoint::new("b:1").unwrap().with_weight(5);
    endpoints.replace(["a:1".parse().unwrap(), discovered]).unwrap();
    settle().await;
    assert_eq!(keys(&balance).await, ["a:1"]);
    assert!(handle.reset_weight("b:1"));
    settle().await;
    assert_eq!(handle.members()[1].weight(), 5);
    assert_eq!(keys(&balance).await, ["a:1", "b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_finishes_what_it_has() {
    let (balance, farm, _) = over(&["a:1"]).await;
    farm.get("a:1").answers(Answer::GoodAfter(secs(5)));
    let mut call = task::spawn(balance.clone().oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    assert!(balance.handle().drain("a:1"));
    settle().await;
    assert_eq!(call.await.unwrap(), "a:1");
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_counted() {
    let (balance, farm, _) = over(&["a:1"]).await;
    let a = farm.get("a:1");
    let call = async || balance.clone().oneshot(Ask::new(1)).await.is_ok();
    let stats = || balance.handle().member_stats().remove(0);
    assert!(stats().last_used.is_none());
    for answer in [Answer::GoodAfter(ms(20)), Answer::Good, Answer::Fails, Answer::CallersFault] {
        a.answers(answer);
        call().await;
    }
    a.answers(Answer::Never);
    let mut given_up = task::spawn(balance.clone().oneshot(Ask::new(1)));
    assert_pending!(given_up.poll());
    drop(given_up);
    let mut goes_on = task::spawn(balance.clone().oneshot(Ask::new(1)));
    assert_pending!(goes_on.poll());
    advance(secs(1)).await;
    let stats = stats();
    assert_eq!((stats.total_requests, stats.active_connections), (6, 1));
    assert_eq!((stats.successful_requests, stats.failed_requests), (2, 1));
    assert_eq!((stats.health_score, stats.enabled, stats.weight), (95, true, 1));
    assert!(stats.last_used.is_some() && stats.average_latency >= ms(20));
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn the_json_of_it_is_that_of_the_go_plugin_manager() {
    let (balance, ..) = over(&["a:1"]).await;
    let json = serde_json::to_value(balance.handle().member_stats()).unwrap();
    let expected = serde_json::json!([{
        "plugin_name": "a:1", "weight": 1, "priority": 0, "enabled": true, "active_connections": 0,
        "total_requests": 0, "successful_requests": 0, "failed_requests": 0, "average_latency": 0,
        "health_score": 100, "last_used": 0,
    }]);
    assert_eq!(json, expected);
}
