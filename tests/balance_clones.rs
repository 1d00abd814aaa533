//! What a clone of a balancer keeps between its calls, and what it must not keep.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use support::{Answer, Ask, Farm, Probe, Readiness, secs, settle};
use tokio::time::sleep;
use tokio_test::{assert_pending, task};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Endpoint, LeastRequest,
    balance::{Balance, BalanceLayer, RoundRobin, Strategy},
    discover::Memory,
    member::Reason,
};

type Clone = Balance<Probe, LeastRequest>;

fn over<P: Strategy + std::clone::Clone>(
    keys: impl IntoIterator<Item = String>,
    strategy: P,
) -> (Balance<Probe, P>, Farm, Memory) {
    let (farm, endpoints) = (Farm::default(), Memory::new(keys).unwrap());
    let layer = BalanceLayer::new(endpoints.clone(), strategy);
    (ServiceBuilder::new().layer(layer).service(farm.clone()), farm, endpoints)
}

fn keys(count: u16) -> impl Iterator<Item = String> {
    (1..=count).map(|port| format!("a:{port}"))
}

/// Calls this very clone, several times.
async fn call(clone: &mut Clone, times: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let key = clone.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn services(farm: &Farm, key: &str) -> usize {
    farm.get(key).services.load(SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clones_at_rest_keep_no_service_of_a_member_that_left() {
    let (service, farm, endpoints) = over(keys(3), LeastRequest::new());
    let mut clones = vec![service.clone(); 1_000];
    for (number, clone) in clones.iter_mut().enumerate() {
        call(clone, 1 + number % 4).await;
    }
    assert_eq!(services(&farm, "a:2"), 1);
    assert!(endpoints.remove("a:2"));
    sleep(secs(1)).await;
    assert_eq!((services(&farm, "a:1"), services(&farm, "a:2")), (1, 0));
    // Nor of one that moved, or is connected again.
    endpoints.replace([Endpoint::new("a:1").unwrap()]).unwrap();
    settle().await;
    farm.get("a:1").is(Readiness::Dead);
    let mut other = task::spawn(service.clone().oneshot(Ask::new(1)));
    assert_pending!(other.poll());
    farm.get("a:1").is(Readiness::Ready);
    other.await.unwrap();
    sleep(secs(1)).await;
    assert_eq!((services(&farm, "a:1"), services(&farm, "a:3")), (1, 0));
    assert_eq!(farm.get("a:1").connects.load(SeqCst), 2);
    for clone in &mut clones {
        assert_eq!(call(clone, 2).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_sees_all_that_changes_between_its_calls() {
    let (mut clone, _, endpoints) = over(keys(3), LeastRequest::new());
    assert_eq!(call(&mut clone, 200).await.len(), 3);
    endpoints.remove("a:3");
    settle().await;
    assert_eq!(call(&mut clone, 200).await.keys().collect::<Vec<_>>(), ["a:1", "a:2"]);
    endpoints.insert("a:4").unwrap();
    settle().await;
    let counts = call(&mut clone, 600).await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["a:1", "a:2", "a:4"]);
    // One that went on with the list of before would find the new one only where the old is gone.
    assert!(counts["a:4"] > 130, "a third of 600, or nearly: {counts:?}");
    let member = clone.handle().members()[0].clone();
    let veto = member.veto(Reason::Disabled);
    veto.raise();
    settle().await;
    assert_eq!(call(&mut clone, 200).await.keys().collect::<Vec<_>>(), ["a:2", "a:4"]);
    veto.clear();
    settle().await;
    assert_eq!(call(&mut clone, 200).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_turn_whatever_they_saw_last() {
    let (service, ..) = over(keys(4), RoundRobin::starting_at(0));
    let mut clones = [service.clone(), service.clone(), service];
    let mut counts = BTreeMap::new();
    for turn in 0..400 {
        let clone = clones[turn % 3].ready().await.unwrap();
        *counts.entry(clone.call(Ask::new(1)).await.unwrap()).or_insert(0) += 1;
    }
    assert!(counts.values().all(|&n| n == 100), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_runs_keeps_the_service_of_its_member_until_it_ends() {
    let (mut clone, farm, endpoints) = over(keys(1), LeastRequest::new());
    call(&mut clone, 2).await;
    let member = clone.handle().members()[0].clone();
    farm.answers(Answer::GoodAfter(secs(30)));
    let mut running = task::spawn(clone.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(running.poll());
    endpoints.remove("a:1");
    sleep(secs(1)).await;
    assert_eq!((services(&farm, "a:1"), member.in_flight()), (1, 1));
    assert_eq!(running.await.unwrap(), "a:1");
    assert_eq!((services(&farm, "a:1"), member.in_flight()), (0, 0));
}
