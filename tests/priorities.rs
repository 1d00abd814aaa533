//! How load is split over priorities, how it comes back, what a panic may call, and what a burst of changes
//! costs.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{Ask, Farm, ms, secs, settle};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    BalanceLayer, Endpoint, LeastRequest,
    balance::{Balance, BalanceConfig, BalanceHandle},
    discover::Memory,
    endpoint::Status,
    error::Kind,
    member::{Reason, Veto},
    rules::PanicMode,
};

fn endpoint(key: &str, priority: u32) -> Endpoint {
    Endpoint::new(key).unwrap().with_priority(priority)
}

fn set(
    farm: &Farm,
    source: &Memory,
    config: BalanceConfig,
) -> (Balance<support::Probe, LeastRequest>, BalanceHandle) {
    let layer = BalanceLayer::with_config(source.clone(), LeastRequest::new(), config);
    let handle = layer.handle();
    (layer.layer(farm.clone()), handle)
}

/// Of each endpoint, in percent of 1,000 calls.
async fn load(set: &Balance<support::Probe, LeastRequest>) -> BTreeMap<String, u32> {
    let mut load = BTreeMap::new();
    for number in 0..1_000 {
        let key = set.clone().oneshot(Ask::new(number)).await.unwrap();
        *load.entry(key).or_insert(0) += 1;
    }
    load.values_mut().for_each(|calls| *calls = (*calls + 5) / 10);
    load
}

fn ill(handle: &BalanceHandle, key: &str) -> Veto {
    let member = handle.members().into_iter().find(|member| member.key() == key).unwrap();
    let veto = member.veto(Reason::Unhealthy);
    veto.raise();
    veto
}

fn is_about(of: u32, expected: u32) -> bool {
    of.abs_diff(expected) <= 6
}

#[tokio::test(start_paused = true)]
async fn a_priority_that_is_half_ill_keeps_70_percent_of_the_load() {
    let farm = Farm::default();
    let source = Memory::new([endpoint("a:1", 0), endpoint("b:1", 0), endpoint("c:1", 1)]).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    assert_eq!(load(&set).await.get("c:1"), None);
    let _ill = ill(&handle, "a:1");
    settle().await;
    let half = load(&set).await;
    assert!(is_about(half["b:1"], 70) && is_about(half["c:1"], 30), "{half:?}");
    assert_eq!((handle.candidates(), handle.is_health_ignored()), (2, false));
    handle.update(&BalanceConfig::default().with_overprovisioning_percent(200)).unwrap();
    settle().await;
    tokio::time::sleep(secs(20)).await;
    assert_eq!(load(&set).await.get("c:1"), None);
}

#[tokio::test(start_paused = true)]
async fn load_comes_back_after_a_delay_and_a_quarter_in_each_second() {
    let farm = Farm::default();
    let source = Memory::new([endpoint("a:1", 0), endpoint("b:1", 1)]).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    load(&set).await;
    let ill_once = ill(&handle, "a:1");
    settle().await;
    assert_eq!(load(&set).await.get("a:1"), None);
    drop(ill_once);
    tokio::time::sleep(secs(9)).await;
    assert_eq!(load(&set).await.get("a:1"), None, "not yet");
    tokio::time::sleep(ms(3_000)).await;
    let some = load(&set).await;
    assert!((30..=65).contains(&some["a:1"]), "{some:?}");
    tokio::time::sleep(secs(5)).await;
    assert_eq!(load(&set).await.get("b:1"), None, "all of it");

    let at_once = BalanceConfig::default().with_fail_back(secs(0), 0);
    handle.update(&at_once).unwrap();
    drop(ill(&handle, "a:1"));
    settle().await;
    assert_eq!(load(&set).await.get("b:1"), None);
}

#[tokio::test(start_paused = true)]
async fn in_a_total_panic_load_is_split_by_hosts_or_fails() {
    let farm = Farm::default();
    let source = Memory::new(
        [("a:1", 0), ("b:1", 1), ("c:1", 1), ("d:1", 1)].map(|(key, of)| endpoint(key, of)),
    )
    .unwrap();
    let config = BalanceConfig::default().with_fail_fast_after(ms(50));
    let (set, handle) = set(&farm, &source, config.clone());
    load(&set).await;
    let _ill = ["a:1", "b:1", "c:1"].map(|key| ill(&handle, key));
    settle().await;
    let panic = load(&set).await;
    assert!(is_about(panic["a:1"], 25), "{panic:?}");
    assert!(handle.is_health_ignored());

    handle.update(&config.clone().with_panic_mode(PanicMode::Fail)).unwrap();
    settle().await;
    let error = set.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AllEndpointsDown);

    handle.update(&config.with_panic_mode(PanicMode::LastKnownGood)).unwrap();
    settle().await;
    assert_eq!(load(&set).await.len(), 4, "all were well once");
}

#[tokio::test(start_paused = true)]
async fn those_that_warn_get_what_the_others_cannot_carry() {
    let farm = Farm::default();
    let warns = |key| endpoint(key, 0).with_status(Status::Warning);
    let source =
        Memory::new([endpoint("a:1", 0), warns("b:1"), warns("c:1"), warns("d:1")]).unwrap();
    let (set, _) = set(&farm, &source, BalanceConfig::default());
    let load = load(&set).await;
    assert!(is_about(load["a:1"], 35), "{load:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_is_one_rebuild_if_it_is_gathered() {
    for (debounce, expected) in [(ms(0), 20..=40), (ms(100), 1..=2)] {
        let farm = Farm::default();
        let source = Memory::new([endpoint("a:1", 0)]).unwrap();
        let (set, handle) = set(&farm, &source, BalanceConfig::default().with_debounce(debounce));
        set.clone().oneshot(Ask::new(1)).await.unwrap();
        settle().await;
        let before = handle.rebuilds();
        for number in 0..20 {
            source.replace([endpoint("a:1", 0), endpoint(&format!("b{number}:1"), 0)]).unwrap();
            tokio::time::sleep(ms(1)).await;
        }
        tokio::time::sleep(ms(200)).await;
        let rebuilds = handle.rebuilds() - before;
        assert!(expected.contains(&rebuilds), "{debounce:?}: {rebuilds}");
        assert!(handle.members().iter().any(|member| member.key() == "b19:1"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever changes: each healthy member of the priority that carries the load gets calls.
    #[test]
    fn a_rebuild_never_leaves_a_healthy_member_without_traffic(
        steps in prop::collection::vec(prop::collection::vec((0_u8..8, any::<bool>()), 1..8), 1..6),
        debounce in prop::sample::select(vec![0_u64, 5]),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let farm = Farm::default();
            let source = Memory::new([endpoint("x:1", 0)]).unwrap();
            let config = BalanceConfig::default().with_debounce(ms(debounce));
            let (set, handle) = set(&farm, &source, config);
            for step in steps {
                let mut of: BTreeMap<_, _> = step.into_iter().collect();
                of.entry(0).or_insert(true);
                let endpoints = of.iter().map(|(host, well)| {
                    let status = if *well { Status::Passing } else { Status::Critical };
                    endpoint(&format!("h{host}:1"), 0).with_status(status)
                });
                source.replace(endpoints).unwrap();
                set.clone().oneshot(Ask::new(1)).await.unwrap();
                tokio::time::sleep(ms(10)).await;
                let load = load(&set).await;
                for member in handle.members().iter().filter(|member| member.is_eligible()) {
                    assert!(load.contains_key(member.key()), "{}: {load:?}", member.key());
                }
                assert_eq!(handle.members().len(), of.len());
            }
        });
    }
}
