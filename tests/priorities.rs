//! How load is split over priorities, how it comes back, what a panic may call, and what a burst of changes
//! costs.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{Answer, Ask, Farm, ms, secs, settle};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    BalanceLayer, Endpoint, LeastRequest,
    balance::{Balance, BalanceConfig, BalanceHandle, SlowStartConfig},
    discover::Memory,
    endpoint::Status,
    error::Kind,
    member::{Member, Reason, Veto},
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
async fn a_worse_priority_keeps_no_more_than_it_can_carry() {
    let farm = Farm::default();
    let standby: Vec<_> = (0..10).map(|host| format!("s{host}:1")).collect();
    let all = standby.iter().map(|key| endpoint(key, 1)).chain([endpoint("a:1", 0)]);
    let source = Memory::new(all).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    load(&set).await;
    let ill_once = ill(&handle, "a:1");
    settle().await;
    assert_eq!(load(&set).await.get("a:1"), None);
    drop(ill_once);
    let _ill: Vec<_> = standby[1..].iter().map(|key| ill(&handle, key)).collect();
    settle().await;
    // One of ten, by 1.4.
    let load = load(&set).await;
    assert!(is_about(load["a:1"], 86) && is_about(load["s0:1"], 14), "{load:?}");
}

#[tokio::test(start_paused = true)]
async fn a_priority_that_discovery_drops_gets_its_load_back_slowly() {
    let farm = Farm::default();
    let (first, standby) = (endpoint("a:1", 0), endpoint("b:1", 1));
    let source = Memory::new([first.clone(), standby.clone()]).unwrap();
    let (set, _) = set(&farm, &source, BalanceConfig::default());
    assert_eq!(load(&set).await.get("b:1"), None);
    for _ in 0..3 {
        source.replace([standby.clone()]).unwrap();
        settle().await;
        source.replace([first.clone(), standby.clone()]).unwrap();
        settle().await;
        assert_eq!(load(&set).await.get("a:1"), None);
        tokio::time::sleep(secs(5)).await;
    }
    // A standby of another priority does not end that.
    source.replace([first, standby, endpoint("c:1", 2)]).unwrap();
    settle().await;
    assert_eq!(load(&set).await.get("a:1"), None);
    tokio::time::sleep(secs(15)).await;
    assert_eq!(load(&set).await.get("b:1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_priority_whose_weights_are_all_zero_gets_nothing() {
    let farm = Farm::default();
    let source = Memory::new([endpoint("a:1", 0), endpoint("b:1", 0), endpoint("c:1", 1)]).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    assert_eq!(load(&set).await.get("c:1"), None);
    assert!(handle.set_weight("a:1", 0) && handle.set_weight("b:1", 0));
    settle().await;
    assert_eq!(load(&set).await.into_keys().collect::<Vec<_>>(), ["c:1"]);
    // Nothing else is left.
    let _ill = ill(&handle, "c:1");
    settle().await;
    assert_eq!(load(&set).await.into_keys().collect::<Vec<_>>(), ["a:1", "b:1"]);
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

    // One joins that never was well.
    let keys = [("a:1", 0), ("b:1", 1), ("c:1", 1), ("d:1", 1)].map(|(key, of)| endpoint(key, of));
    let never = endpoint("e:1", 1).with_status(Status::Critical);
    source.replace(keys.into_iter().chain([never])).unwrap();
    for (mode, called) in [(PanicMode::LastKnownGood, 4), (PanicMode::All, 5)] {
        handle.update(&config.clone().with_panic_mode(mode)).unwrap();
        settle().await;
        assert_eq!(load(&set).await.len(), called, "{mode:?}");
    }
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

/// An endpoint as discovery and an operator say of it, in one step.
#[derive(Debug, Clone)]
struct Said {
    host: u8,
    priority: u32,
    weight: u32,
    status: Status,
    /// It fails the calls of this step.
    fails: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let status = prop::sample::select(vec![Status::Passing, Status::Warning, Status::Critical]);
    (0_u8..8, 0_u32..3, 0_u32..4, status, prop::bool::weighted(0.2)).prop_map(
        |(host, priority, weight, status, fails)| Said { host, priority, weight, status, fails },
    )
}

/// Looks where 1,000 calls go. `is_settled`: all load has come back that may.
async fn check(
    set: &Balance<support::Probe, LeastRequest>,
    handle: &BalanceHandle,
    is_settled: bool,
) {
    let (members, panic) = (handle.members(), handle.is_health_ignored());
    let is_well = |member: &Member| member.is_eligible() && member.weight() > 0;
    let by_weight = members.iter().any(|member| is_well(member));
    let before: Vec<_> = members.iter().map(|of| (of.is_eligible(), of.weight())).collect();
    let mut calls = BTreeMap::new();
    for number in 0..1_000 {
        *calls.entry(set.clone().oneshot(Ask::new(number)).await.unwrap()).or_insert(0_u32) += 1;
    }
    // Those that share load, with their weights.
    let mut groups: BTreeMap<_, Vec<(u32, u32)>> = BTreeMap::new();
    let mut priorities: BTreeMap<u32, (u32, u32, u32)> = BTreeMap::new();
    for (member, (eligible, weight)) in members.iter().zip(before) {
        let (of, endpoint) = (calls.get(member.key()).copied().unwrap_or(0), member.endpoint());
        assert!(of == 0 || weight > 0 || !by_weight, "{member:?}: {calls:?}");
        assert!(of == 0 || eligible || panic, "{member:?}: {calls:?}");
        let warns = endpoint.status() == Status::Warning;
        if weight > 0 || !by_weight {
            let (hosts, well, got) = priorities.entry(endpoint.priority()).or_default();
            *hosts += 1;
            *well += u32::from(eligible && !warns);
            *got += of;
            if eligible {
                groups.entry((endpoint.priority(), warns)).or_default().push((weight, of));
            }
        }
    }
    if panic {
        return;
    }
    for group in groups.values() {
        let (weights, of) = group.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let starves = |(weight, got): &(u32, u32)| *got == 0 && of * weight >= 20 * weights.max(1);
        assert!(!group.iter().any(starves), "{groups:?}");
    }
    if let Some((hosts, well, got)) = priorities.values().next().filter(|_| is_settled) {
        assert!(well * 140 < hosts * 100 || *got == 1_000, "{priorities:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever changes, in priorities, weights and health, while some are ejected or warm up and load comes back:
    /// calls go to those that nothing bars and that have a weight, each member of a priority that has load gets
    /// some, and once all has come back the best priority that can carry all has all.
    #[test]
    fn a_rebuild_never_leaves_a_healthy_member_without_traffic(
        steps in prop::collection::vec(prop::collection::vec(said(), 1..8), 1..6),
        debounce in prop::sample::select(vec![0_u64, 5]),
        wait in prop::sample::select(vec![10_u64, 3_000, 60_000]),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let farm = Farm::default();
            let source = Memory::new([endpoint("x:1", 0)]).unwrap();
            let config = BalanceConfig::default()
                .with_debounce(ms(debounce))
                .with_slow_start(SlowStartConfig::over(secs(5)));
            let (set, handle) = set(&farm, &source, config);
            for step in steps {
                let of: BTreeMap<_, _> = step.into_iter().map(|said| (said.host, said)).collect();
                let key = |host| format!("h{host}:1");
                let endpoints = of.values().map(|said| {
                    let of = endpoint(&key(said.host), said.priority).with_weight(said.weight);
                    of.with_status(said.status)
                });
                source.replace(endpoints).unwrap();
                tokio::time::sleep(ms(10)).await;
                for said in of.values() {
                    farm.get(&key(said.host)).answers(if said.fails { Answer::Fails } else { Answer::Good });
                }
                for number in 0..50 {
                    let _ = set.clone().oneshot(Ask::new(number)).await;
                }
                of.values().for_each(|said| farm.get(&key(said.host)).answers(Answer::Good));
                tokio::time::sleep(ms(wait)).await;
                check(&set, &handle, false).await;
                assert_eq!(handle.members().len(), of.len());
            }
            // Nothing is ejected any more, and all load has come back.
            for number in 0..4_000 {
                tokio::time::sleep(ms(100)).await;
                let _ = set.clone().oneshot(Ask::new(number)).await;
            }
            check(&set, &handle, true).await;
        });
    }
}
