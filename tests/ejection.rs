//! What ejection must never do: leave a set without a place for its calls, lose a call that waits, or keep the
//! task of the set busy. And what each of its settings is for.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{Answer, Ask, Farm, Readiness, ms, secs, settle};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, FailoverLayer,
    backoff::Jitter,
    balance::{
        Balance, BalanceConfig, BalanceHandle, OutlierConfig, RoundRobin, SlowStartConfig,
        WeightedRoundRobin,
    },
    budget::Budget,
    discover::{self, Memory},
    member::{Member, Reason, Veto},
};

type Set = Balance<support::Probe, RoundRobin>;

fn outlier() -> OutlierConfig {
    let mut outlier = OutlierConfig::default();
    outlier.jitter_percent = 0;
    outlier
}

fn hosts(count: usize) -> Vec<Endpoint> {
    (0..count).map(|host| Endpoint::new(format!("h{host}:1")).unwrap()).collect()
}

fn set_of(farm: &Farm, endpoints: Vec<Endpoint>, outlier: OutlierConfig) -> (Set, BalanceHandle) {
    let config = BalanceConfig::default().with_outlier(outlier);
    let source = discover::fixed(endpoints).unwrap();
    let layer = BalanceLayer::with_config(source, RoundRobin::starting_at(0), config);
    let handle = layer.handle();
    (layer.layer(farm.clone()), handle)
}

fn set(farm: &Farm, count: usize, outlier: OutlierConfig) -> (Set, BalanceHandle) {
    set_of(farm, hosts(count), outlier)
}

async fn call(set: &Set, times: u32) {
    for number in 0..times {
        let _ = set.clone().oneshot(Ask::new(number)).await;
        settle().await;
    }
}

fn spawn(set: &Set, calls: u32) -> Vec<tokio::task::JoinHandle<Option<String>>> {
    let call = |number| {
        let set = set.clone();
        tokio::spawn(async move { set.oneshot(Ask::new(number)).await.ok() })
    };
    (0..calls).map(call).collect()
}

fn member(handle: &BalanceHandle, key: &str) -> Arc<Member> {
    handle.members().into_iter().find(|member| member.key() == key).unwrap()
}

fn is_ejected(handle: &BalanceHandle, key: &str) -> bool {
    member(handle, key).reasons().any(|reason| reason == Reason::Ejected)
}

fn ejected(handle: &BalanceHandle) -> Vec<String> {
    let members = handle.members().into_iter();
    members.map(|of| of.key().to_owned()).filter(|key| is_ejected(handle, key)).collect()
}

#[tokio::test(start_paused = true)]
async fn one_on_probation_is_no_place_for_the_calls_of_the_last_other() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 2, outlier());
    farm.get("h0:1").answers(Answer::Fails);
    call(&set, 20).await;
    assert_eq!(ejected(&handle), ["h0:1"]);
    tokio::time::sleep(secs(31)).await;
    farm.get("h0:1").answers(Answer::Never);
    let calls = spawn(&set, 2);
    settle().await;
    assert_eq!((ejected(&handle).len(), member(&handle, "h0:1").in_flight()), (0, 1));
    farm.get("h1:1").answers(Answer::Fails);
    call(&set, 20).await;
    assert!(!is_ejected(&handle, "h1:1"));
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_is_on_probation_no_longer() {
    let farm = Farm::default();
    let source = Memory::new(["h0:1", "h1:1"]).unwrap();
    let config = BalanceConfig::default().with_outlier(outlier());
    let layer = BalanceLayer::with_config(source.clone(), RoundRobin::starting_at(0), config);
    let (set, handle) = (layer.layer(farm.clone()), layer.handle());
    farm.get("h0:1").answers(Answer::Fails);
    call(&set, 20).await;
    assert!(is_ejected(&handle, "h0:1"));
    tokio::time::sleep(secs(31)).await;
    for is_gone in [true, false] {
        // Either the other is gone, or its checks fail.
        let ill = member(&handle, "h1:1").veto(Reason::Unhealthy);
        if is_gone {
            source.replace(hosts(1)).unwrap();
        } else {
            ill.raise();
        }
        settle().await;
        farm.get("h0:1").answers(Answer::Never);
        let calls = spawn(&set, 4);
        settle().await;
        assert_eq!(member(&handle, "h0:1").in_flight(), 4, "{is_gone}");
        calls.iter().for_each(|call| call.abort());
        farm.get("h0:1").answers(Answer::Fails);
        call(&set, 20).await;
        assert!(!is_ejected(&handle, "h0:1"), "the last is not ejected again");
        // The same again, for the other way.
        drop(ill);
        source.replace(hosts(2)).unwrap();
        settle().await;
        farm.get("h0:1").answers(Answer::Fails);
        call(&set, 40).await;
        // It was spared, so the next sweep looks again.
        tokio::time::sleep(secs(2)).await;
        assert!(is_ejected(&handle, "h0:1"));
        tokio::time::sleep(secs(95)).await;
        assert!(!is_ejected(&handle, "h0:1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_on_probation_that_hangs_keeps_its_place_for_30_s() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 3, outlier());
    farm.get("h0:1").answers(Answer::Fails);
    call(&set, 30).await;
    tokio::time::sleep(secs(31)).await;
    farm.get("h0:1").answers(Answer::ByHand);
    let calls = spawn(&set, 3);
    settle().await;
    assert_eq!(member(&handle, "h0:1").in_flight(), 1);
    let first = farm.get("h0:1").calls() - 1;
    tokio::time::sleep(secs(29)).await;
    assert!(!member(&handle, "h0:1").is_eligible());
    tokio::time::sleep(secs(2)).await;
    assert!(member(&handle, "h0:1").is_eligible());
    // One at a time still; what the first says is of no matter.
    farm.get("h0:1").answers(Answer::Never);
    let more = spawn(&set, 6);
    settle().await;
    assert_eq!(member(&handle, "h0:1").in_flight(), 2);
    farm.get("h0:1").finish(first, true);
    settle().await;
    assert!(!member(&handle, "h0:1").is_eligible());
    calls.iter().chain(&more).for_each(|call| call.abort());
    settle().await;
    farm.get("h0:1").answers(Answer::Good);
    call(&set, 3).await;
    assert!(spawn(&set, 9).len() == 9 && member(&handle, "h0:1").is_eligible());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_gets_the_place_of_one_that_is_dropped() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 2, outlier());
    farm.get("h0:1").answers(Answer::Fails);
    call(&set, 20).await;
    tokio::time::sleep(secs(31)).await;
    farm.get("h1:1").is(Readiness::Pending);
    farm.get("h0:1").answers(Answer::Never);
    let mut calls = Vec::new();
    while member(&handle, "h0:1").in_flight() == 0 {
        calls = spawn(&set, 1);
        tokio::time::sleep(ms(20)).await;
    }
    farm.get("h0:1").answers(Answer::Good);
    let waits = spawn(&set, 1);
    tokio::time::sleep(ms(50)).await;
    calls.iter().for_each(|call| call.abort());
    tokio::time::sleep(ms(50)).await;
    assert!(waits[0].is_finished());
    assert_eq!(waits.into_iter().next().unwrap().await.unwrap().as_deref(), Some("h0:1"));
}

#[tokio::test(start_paused = true)]
async fn failures_that_eject_none_make_no_snapshots() {
    for factor in [0.0, 1.9] {
        for percent in [0, 10] {
            let farm = Farm::default();
            let mut outlier = outlier();
            (outlier.success_rate_factor, outlier.max_ejected_percent) = (factor, percent);
            let (set, handle) = set(&farm, 4, outlier);
            call(&set, 8).await;
            farm.answers(Answer::Fails);
            let before = handle.rebuilds();
            call(&set, 400).await;
            let made = handle.rebuilds() - before;
            // One that is told of at once, and one for each that fails.
            assert!(made <= if percent == 0 { 1 } else { 6 }, "{factor} {percent}: {made}");
            // In a panic, which calls those that are ejected.
            let ill: Vec<_> =
                handle.members().iter().skip(1).map(|of| of.veto(Reason::Unhealthy)).collect();
            ill.iter().for_each(Veto::raise);
            settle().await;
            assert!(handle.is_health_ignored());
            let before = handle.rebuilds();
            call(&set, 400).await;
            let made = handle.rebuilds() - before;
            assert!(made <= 6, "{factor} {percent}: {made} in a panic");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_spared_is_ejected_by_a_later_sweep_if_it_fails_still() {
    let farm = Farm::default();
    let mut outlier = outlier();
    outlier.success_rate_factor = 0.0;
    let (set, handle) = set(&farm, 4, outlier);
    assert!(member_count(&set, &handle).await == 4 && handle.eject("h3:1"));
    ["h0:1", "h1:1"].into_iter().for_each(|key| farm.get(key).answers(Answer::Fails));
    call(&set, 30).await;
    assert_eq!(ejected(&handle), ["h3:1"]);
    farm.get("h0:1").answers(Answer::Good);
    call(&set, 3).await;
    assert!(handle.uneject("h3:1"));
    tokio::time::sleep(ms(1_100)).await;
    assert_eq!(ejected(&handle), ["h1:1"]);
}

async fn member_count(set: &Set, handle: &BalanceHandle) -> usize {
    call(set, 1).await;
    handle.members().len()
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_goes_to_one_that_can_be_called() {
    let farm = Farm::default();
    let endpoint = |key: &str, priority| Endpoint::new(key).unwrap().with_priority(priority);
    let endpoints =
        vec![endpoint("a:1", 0), endpoint("b:1", 1), endpoint("c:1", 1), endpoint("d:1", 1)];
    let (set, handle) = set_of(&farm, endpoints, outlier());
    call(&set, 1).await;
    assert!(handle.disable("a:1"));
    settle().await;
    farm.get("b:1").answers(Answer::Fails);
    call(&set, 30).await;
    assert_eq!(ejected(&handle), ["b:1"]);
    assert!(handle.enable("a:1"));
    tokio::time::sleep(secs(31)).await;
    assert!(ejected(&handle).is_empty());
    tokio::time::sleep(secs(20)).await;
    farm.get("a:1").answers(Answer::Fails);
    let attempts = Attempts::up_to(2).with_backoff(ms(1), ms(1));
    let stack = FailoverLayer::new(attempts).with_budget(Budget::unlimited()).layer(set);
    for number in 0..40 {
        stack.clone().oneshot(Ask::new(number)).await.unwrap();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_on_probation_is_no_place_for_a_further_attempt() {
    let farm = Farm::default();
    let endpoint = |key: &str, priority| Endpoint::new(key).unwrap().with_priority(priority);
    let (set, handle) =
        set_of(&farm, vec![endpoint("a:1", 0), endpoint("b:1", 1), endpoint("c:1", 1)], outlier());
    call(&set, 1).await;
    assert!(handle.disable("a:1") && handle.disable("c:1"));
    settle().await;
    farm.get("b:1").answers(Answer::Fails);
    assert!(handle.enable("c:1"));
    settle().await;
    call(&set, 30).await;
    assert_eq!(ejected(&handle), ["b:1"]);
    assert!(handle.enable("a:1"));
    tokio::time::sleep(secs(60)).await;
    assert!(ejected(&handle).is_empty(), "on probation");
    farm.get("a:1").answers(Answer::Fails);
    // The other of its priority is well, but has no place at this moment.
    let busy = handle.members().iter().find(|of| of.key() == "c:1").unwrap().veto(Reason::Busy);
    busy.raise();
    let attempts = Attempts::up_to(2).with_backoff(ms(100), ms(100)).with_jitter(Jitter::None);
    let stack = FailoverLayer::new(attempts).with_budget(Budget::unlimited()).layer(set);
    let start = tokio::time::Instant::now();
    stack.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(100), "there is none to go to at once");
}

#[tokio::test(start_paused = true)]
async fn those_that_drain_take_no_part_in_ejection() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 3, outlier());
    farm.get("h0:1").answers(Answer::ByHand);
    let calls = spawn(&set, 18);
    settle().await;
    assert!(handle.drain("h0:1"));
    settle().await;
    for index in 0..6 {
        farm.get("h0:1").finish(index, false);
    }
    settle().await;
    assert!(ejected(&handle).is_empty());
    farm.get("h1:1").answers(Answer::Fails);
    call(&set, 20).await;
    assert_eq!(ejected(&handle), ["h1:1"], "the one that really fails");
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn an_ejection_that_takes_for_ever_is_one() {
    let farm = Farm::default();
    let mut outlier = outlier();
    (outlier.base_ejection, outlier.max_ejection) = (Duration::MAX, Duration::MAX);
    let (set, handle) = set(&farm, 3, outlier);
    farm.get("h0:1").answers(Answer::Fails);
    call(&set, 30).await;
    assert_eq!(ejected(&handle), ["h0:1"]);
}

/// What is ejected after calls of which every second fails on one of so many hosts.
async fn swept(count: usize, outlier: OutlierConfig) -> Vec<String> {
    let farm = Farm::default();
    let (set, handle) = set(&farm, count, outlier);
    let each = u32::try_from(2 * count).unwrap();
    for number in 0..each * 10 {
        let fails = number % each < each / 2;
        farm.get("h1:1").answers(if fails { Answer::Fails } else { Answer::Good });
        let _ = set.clone().oneshot(Ask::new(number)).await;
    }
    settle().await;
    tokio::time::sleep(outlier.interval.mul_f64(0.9)).await;
    assert!(ejected(&handle).is_empty(), "not before the interval is over");
    tokio::time::sleep(outlier.interval.mul_f64(0.2)).await;
    ejected(&handle)
}

#[tokio::test(start_paused = true)]
async fn settings_of_sweeps() {
    let mut base = outlier();
    (base.consecutive_failures, base.success_rate_calls) = (0, 20);
    assert_eq!(swept(5, base).await, ["h1:1"]);
    assert!(swept(4, base).await.is_empty(), "`success_rate_hosts` is 5");
    let with = |change: fn(&mut OutlierConfig)| {
        let mut outlier = base;
        change(&mut outlier);
        outlier
    };
    let four = |of: &mut OutlierConfig| (of.success_rate_hosts, of.success_rate_factor) = (4, 1.7);
    assert_eq!(swept(4, with(four)).await.len(), 1);
    assert!(swept(5, with(|of| of.success_rate_factor = 3.0)).await.is_empty());
    assert!(swept(5, with(|of| of.success_rate_calls = 21)).await.is_empty());
    assert!(swept(5, with(|of| of.success_rate_failures = 11)).await.is_empty(), "10 of 20 failed");
    assert_eq!(swept(5, with(|of| of.success_rate_failures = 10)).await.len(), 1);
    assert_eq!(swept(5, with(|of| of.interval = secs(60))).await.len(), 1);
    let by_percentage = |of: &mut OutlierConfig| {
        (of.success_rate_factor, of.failure_percent, of.failure_percent_calls) = (0.0, 50, 20);
    };
    assert_eq!(swept(5, with(by_percentage)).await.len(), 1);
    let mut few = with(by_percentage);
    assert!(swept(4, few).await.is_empty(), "`failure_percent_hosts` is 5");
    few.failure_percent_hosts = 4;
    assert_eq!(swept(4, few).await.len(), 1);
    few.failure_percent = 51;
    assert!(swept(4, few).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_for_sweeps_of_each_priority() {
    let farm = Farm::default();
    let endpoints = (0..20).map(|host| {
        let endpoint = Endpoint::new(format!("h{host:02}:1")).unwrap();
        endpoint.with_priority(host / 10)
    });
    let mut outlier = outlier();
    (outlier.consecutive_failures, outlier.success_rate_factor) = (0, 0.0);
    (outlier.failure_percent, outlier.failure_percent_calls) = (50, 5);
    let (set, handle) = set_of(&farm, endpoints.collect(), outlier);
    for host in [0, 1, 2, 10, 11, 12] {
        farm.get(&format!("h{host:02}:1")).answers(Answer::Fails);
    }
    call(&set, 1).await;
    for first in [0, 10] {
        for host in 0..20 {
            let key = format!("h{host:02}:1");
            let _ =
                if host / 10 == first / 10 { handle.enable(&key) } else { handle.disable(&key) };
        }
        settle().await;
        for number in 0..100 {
            let _ = set.clone().oneshot(Ask::new(number)).await;
        }
        tokio::time::sleep(ms(1_100)).await;
    }
    let count = |priority| {
        let of = |key: &&String| key[1..3].parse::<u32>().unwrap() / 10 == priority;
        ejected(&handle).iter().filter(of).count()
    };
    assert_eq!([0, 1].map(count), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn how_long_an_ejection_takes() {
    /// Seconds of the first three ejections, without a call that succeeds in between.
    async fn times(change: impl Fn(&mut OutlierConfig)) -> [u64; 3] {
        let farm = Farm::default();
        let mut outlier = outlier();
        change(&mut outlier);
        let (set, handle) = set(&farm, 3, outlier);
        farm.get("h0:1").answers(Answer::Fails);
        let mut times = [0; 3];
        for time in &mut times {
            call(&set, 30).await;
            assert_eq!(ejected(&handle), ["h0:1"]);
            let began = tokio::time::Instant::now();
            while is_ejected(&handle, "h0:1") {
                tokio::time::sleep(ms(100)).await;
            }
            *time = began.elapsed().as_millis().div_ceil(1_000).try_into().unwrap();
        }
        times
    }
    let near = |times: [u64; 3], expected: [u64; 3]| {
        let is_near = |(time, of): (&u64, &u64)| (*of..=of + 1).contains(time);
        assert!(times.iter().zip(&expected).all(is_near), "{times:?} {expected:?}");
    };
    near(times(|_| {}).await, [30, 60, 90]);
    near(times(|of| of.base_ejection = secs(10)).await, [10, 20, 30]);
    near(times(|of| of.max_ejection = secs(40)).await, [30, 40, 40]);
    let jitter = times(|of| of.jitter_percent = 100).await;
    let within = |(time, of): (&u64, u64)| (of..=2 * of + 1).contains(time);
    assert!(jitter.iter().zip([30, 60, 90]).all(within), "{jitter:?}");
    assert!(jitter != [30, 60, 90], "{jitter:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_warms_up_gets_fewer_calls() {
    /// How many of 100 calls for two hosts come to that which joined so long ago.
    async fn share(age: Duration, change: impl Fn(&mut SlowStartConfig)) -> usize {
        let farm = Farm::default();
        let mut slow_start = SlowStartConfig::over(secs(10));
        change(&mut slow_start);
        let config = BalanceConfig::default().with_slow_start(slow_start);
        let source = Memory::new(["h0:1"]).unwrap();
        let layer = BalanceLayer::with_config(source.clone(), WeightedRoundRobin::new(), config);
        let set = layer.layer(farm.clone());
        let _ = set.clone().oneshot(Ask::new(0)).await;
        tokio::time::sleep(secs(60)).await;
        source.replace(hosts(2)).unwrap();
        settle().await;
        tokio::time::sleep(age).await;
        settle().await;
        for number in 0..100 {
            set.clone().oneshot(Ask::new(number)).await.unwrap();
        }
        farm.get("h1:1").calls()
    }
    let is_near = |share: usize, percent: usize| {
        let expected = 100 * percent / (100 + percent);
        assert!(share.abs_diff(expected) <= 1, "{share} instead of {expected}");
    };
    is_near(share(ms(1), |_| {}).await, 10);
    is_near(share(secs(5), |_| {}).await, 50);
    is_near(share(secs(11), |_| {}).await, 100);
    is_near(share(ms(1), |of| of.min_percent = 30).await, 30);
    is_near(share(ms(2_500), |of| of.aggression = 2.0).await, 50);
}
