//! Endpoints that fail are ejected, tried with one call at a time, and warm up.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use support::{Answer, Ask, Farm, ms, secs, settle};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, BoxError, CircuitBreakerLayer, Endpoint, Error, HealthGateLayer, Outcome,
    balance::{Balance, BalanceConfig, BalanceHandle, OutlierConfig, RoundRobin, SlowStartConfig},
    discover,
    health::{HealthConfig, check_fn},
    member::{Member, Reason},
};

type Set = Balance<support::Probe, RoundRobin>;

fn outlier() -> OutlierConfig {
    let mut outlier = OutlierConfig::default();
    outlier.jitter_percent = 0;
    outlier
}

fn set(farm: &Farm, hosts: usize, config: BalanceConfig) -> (Set, BalanceHandle) {
    let keys: Vec<_> = (0..hosts).map(|host| format!("h{host}:1")).collect();
    let source = discover::fixed(keys.iter().map(String::as_str)).unwrap();
    let layer = BalanceLayer::with_config(source, RoundRobin::starting_at(0), config);
    let handle = layer.handle();
    (layer.layer(farm.clone()), handle)
}

/// How many of `calls` came to each endpoint.
async fn shares(set: &Set, calls: u32) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for number in 0..calls {
        let key = match set.clone().oneshot(Ask::new(number)).await {
            Ok(key) => key,
            Err(error) => error.endpoint().unwrap().to_owned(),
        };
        *shares.entry(key).or_insert(0) += 1;
        settle().await;
    }
    shares
}

fn member(handle: &BalanceHandle, key: &str) -> Arc<Member> {
    handle.members().into_iter().find(|member| member.key() == key).unwrap()
}

fn is_ejected(handle: &BalanceHandle, key: &str) -> bool {
    member(handle, key).reasons().any(|reason| reason == Reason::Ejected)
}

fn get(shares: &BTreeMap<String, u32>, key: &str) -> u32 {
    shares.get(key).copied().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn five_failures_in_a_row_eject_and_then_one_call_at_a_time_is_let_through() {
    let farm = Farm::default();
    let config = BalanceConfig::default().with_outlier(outlier());
    let (set, handle) = set(&farm, 3, config);
    farm.get("h0:1").answers(Answer::Fails);
    let before = shares(&set, 60).await;
    assert_eq!(get(&before, "h0:1"), 5, "{before:?}");
    assert!(is_ejected(&handle, "h0:1"));
    tokio::time::sleep(secs(29)).await;
    assert_eq!(get(&shares(&set, 30).await, "h0:1"), 0);

    // On probation: one at a time, and a call that is dropped gives the place back.
    tokio::time::sleep(secs(2)).await;
    assert!(!is_ejected(&handle, "h0:1"));
    farm.get("h0:1").answers(Answer::Never);
    for dropped in [true, false] {
        let calls: Vec<_> =
            (0..12).map(|number| tokio::spawn(set.clone().oneshot(Ask::new(number)))).collect();
        settle().await;
        assert_eq!(member(&handle, "h0:1").in_flight(), 1, "{dropped}");
        for call in calls {
            call.abort();
        }
        settle().await;
    }

    // It fails again: for twice as long.
    farm.get("h0:1").answers(Answer::Fails);
    let again = shares(&set, 30).await;
    assert_eq!(get(&again, "h0:1"), 1, "{again:?}");
    tokio::time::sleep(secs(58)).await;
    assert!(is_ejected(&handle, "h0:1"));
    tokio::time::sleep(secs(3)).await;

    // And one that succeeds ends it.
    farm.get("h0:1").answers(Answer::Good);
    let well = shares(&set, 31).await;
    assert!(get(&well, "h0:1") >= 10, "{well:?}");
    // A slow start follows, where there is one.
    assert_eq!(weights(&handle), [1, 1, 1]);
    let slow_start = SlowStartConfig::over(secs(10));
    handle.update(&BalanceConfig::default().with_slow_start(slow_start)).unwrap();
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 30).await;
    tokio::time::sleep(secs(200)).await;
    farm.get("h0:1").answers(Answer::Good);
    assert_eq!(weights(&handle)[0], 100, "on probation it has no slow start yet");
    shares(&set, 6).await;
    assert_eq!(weights(&handle), [10, 100, 100]);
}

#[tokio::test(start_paused = true)]
async fn after_each_ejection_failures_are_counted_anew() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 3, BalanceConfig::default().with_outlier(outlier()));
    for (ejection, lasts) in [(1, 30), (2, 60), (3, 90)] {
        farm.get("h0:1").answers(Answer::Fails);
        let failing = shares(&set, 60).await;
        assert_eq!(get(&failing, "h0:1"), 5, "{ejection}: {failing:?}");
        assert!(is_ejected(&handle, "h0:1"));
        tokio::time::sleep(secs(lasts)).await;
        assert!(!is_ejected(&handle, "h0:1"), "{ejection}");
        // On probation, until one call succeeds.
        farm.get("h0:1").answers(Answer::Good);
        shares(&set, 3).await;
    }
    // So also where none succeeded in between.
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 30).await;
    assert!(is_ejected(&handle, "h0:1") && handle.uneject("h0:1"));
    settle().await;
    let failing = shares(&set, 60).await;
    assert_eq!(get(&failing, "h0:1"), 5, "{failing:?}");
    handle.uneject("h0:1");
    farm.get("h0:1").answers(Answer::Good);
    settle().await;
    tokio::time::sleep(secs(20)).await;
    // Each 10 s in which it is well make the next one shorter.
    tokio::time::sleep(secs(60)).await;
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 60).await;
    tokio::time::sleep(secs(31)).await;
    assert!(!is_ejected(&handle, "h0:1"));
}

#[tokio::test(start_paused = true)]
async fn overloads_are_no_failures_in_a_row_but_fail_a_call_on_probation() {
    let farm = Farm::default();
    let overloaded = Arc::new(AtomicBool::new(false));
    let is_overloaded = overloaded.clone();
    let source = discover::fixed(["h0:1", "h1:1", "h2:1"]).unwrap();
    let config = BalanceConfig::default().with_outlier(outlier());
    let layer = BalanceLayer::with_config(source, RoundRobin::starting_at(0), config)
        .with_classify(move |result: Result<&String, &BoxError>| match result {
            Ok(key) if key == "h0:1" && is_overloaded.load(SeqCst) => {
                Outcome::Overload { retry_after: None }
            }
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        });
    let handle = layer.handle();
    let set = layer.layer(farm.clone());
    let calls = async |calls| {
        for number in 0..calls {
            let _ = set.clone().oneshot(Ask::new(number)).await;
            settle().await;
        }
    };
    overloaded.store(true, SeqCst);
    calls(90).await;
    assert_eq!(handle.stats().failed, Some(30));
    assert!(!is_ejected(&handle, "h0:1"));
    farm.get("h0:1").answers(Answer::Fails);
    calls(30).await;
    assert!(is_ejected(&handle, "h0:1"));
    tokio::time::sleep(secs(30)).await;
    assert!(!is_ejected(&handle, "h0:1"));
    farm.get("h0:1").answers(Answer::Good);
    calls(3).await;
    assert!(is_ejected(&handle, "h0:1"), "one is enough");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_passes_ends_an_ejection() {
    let farm = Farm::default();
    let source = discover::fixed(["h0:1", "h1:1", "h2:1"]).unwrap();
    let layer = BalanceLayer::new(source, RoundRobin::starting_at(0));
    let handle = layer.handle();
    let every_5_seconds = HealthConfig::default().with_interval(secs(5)).with_jitter(0.0);
    let well = Arc::new(AtomicBool::new(true));
    let is_well = well.clone();
    let check = check_fn(move |_| ready(is_well.load(SeqCst).then_some(()).ok_or("ill")));
    let set = ServiceBuilder::new()
        .layer(layer)
        .layer(HealthGateLayer::with_config(check, every_5_seconds))
        .service(farm.clone());
    let fail = async || {
        farm.get("h0:1").answers(Answer::Fails);
        for number in 0..30 {
            let _ = set.clone().oneshot(Ask::new(number)).await;
            settle().await;
        }
    };
    let has = |reason| member(&handle, "h0:1").reasons().any(|of| of == reason);
    tokio::time::sleep(secs(1)).await;
    fail().await;
    assert!(has(Reason::Ejected));
    tokio::time::sleep(secs(6)).await;
    assert!(!has(Reason::Ejected), "ejected, but healthy");
    // Ejected and unhealthy: the end of the ejection alone brings it not back.
    fail().await;
    well.store(false, SeqCst);
    tokio::time::sleep(secs(20)).await;
    assert!(has(Reason::Ejected) && has(Reason::Unhealthy));
    tokio::time::sleep(secs(60)).await;
    assert!(!has(Reason::Ejected) && has(Reason::Unhealthy), "unhealthy, but not ejected");
    well.store(true, SeqCst);
    tokio::time::sleep(secs(20)).await;
    assert!(member(&handle, "h0:1").is_eligible());
}

#[tokio::test(start_paused = true)]
async fn an_operator_and_the_balancer_eject_alike() {
    let farm = Farm::default();
    let slow_start = SlowStartConfig::over(secs(10));
    let config = BalanceConfig::default().with_outlier(outlier()).with_slow_start(slow_start);
    let (set, handle) = set(&farm, 3, config);
    farm.get("h0:1").answers(Answer::Fails);
    tokio::time::sleep(secs(1)).await;
    shares(&set, 30).await;
    tokio::time::sleep(secs(20)).await;
    assert_eq!(weights(&handle)[1], 100);
    assert!(is_ejected(&handle, "h0:1") && handle.uneject("h0:1"));
    settle().await;
    assert!(!is_ejected(&handle, "h0:1"));
    assert_eq!(weights(&handle), [10, 100, 100], "it warms up");

    // What an operator said is ended by an operator alone, and counts for the limit.
    farm.get("h0:1").answers(Answer::Good);
    assert!(handle.eject("h1:1"));
    tokio::time::sleep(secs(1_000)).await;
    let ill = member(&handle, "h1:1").veto(Reason::Unhealthy);
    ill.raise();
    settle().await;
    drop(ill);
    settle().await;
    assert!(is_ejected(&handle, "h1:1"));
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 60).await;
    assert!(!is_ejected(&handle, "h0:1"));
    assert!(handle.uneject("h1:1") && !is_ejected(&handle, "h1:1"));
    settle().await;
    assert_eq!(weights(&handle), [100, 10, 100]);
    // One at a time on probation, and an operator may end that, too.
    shares(&set, 60).await;
    tokio::time::sleep(secs(31)).await;
    assert!(handle.uneject("h0:1"));
    settle().await;
    farm.get("h0:1").answers(Answer::Never);
    let calls: Vec<_> =
        (0..12).map(|number| tokio::spawn(set.clone().oneshot(Ask::new(number)))).collect();
    settle().await;
    assert!(member(&handle, "h0:1").in_flight() > 1);
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn a_success_between_failures_and_failures_of_callers_eject_nobody() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 2, BalanceConfig::default());
    for round in 0..8 {
        farm.get("h0:1").answers(Answer::Fails);
        shares(&set, 8).await;
        farm.get("h0:1").answers(Answer::Good);
        shares(&set, 2).await;
        assert!(!is_ejected(&handle, "h0:1"), "{round}");
    }
    farm.get("h0:1").answers(Answer::CallersFault);
    shares(&set, 40).await;
    assert!(!is_ejected(&handle, "h0:1"));
}

#[tokio::test(start_paused = true)]
async fn of_each_priority_one_may_be_ejected_and_by_default_no_more() {
    let farm = Farm::default();
    let hosts = (0..6).map(|host| {
        let endpoint = Endpoint::new(format!("h{host}:1")).unwrap();
        endpoint.with_priority(host / 3)
    });
    let source = discover::fixed(hosts).unwrap();
    let layer = BalanceLayer::new(source, RoundRobin::starting_at(0));
    let (set, handle) = (layer.layer(farm.clone()), layer.handle());
    (0..6).for_each(|host| farm.get(&format!("h{host}:1")).answers(Answer::Fails));
    shares(&set, 400).await;
    let ejected = handle.members().iter().map(|m| u32::from(!m.is_eligible())).collect::<Vec<_>>();
    assert_eq!(ejected.chunks(3).map(|of| of.iter().sum()).collect::<Vec<u32>>(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_last_is_never_ejected() {
    let farm = Farm::default();
    let mut half = outlier();
    half.max_ejected_percent = 100;
    let (all, handle) = set(&farm, 3, BalanceConfig::default().with_outlier(half));
    for key in ["h0:1", "h1:1", "h2:1"] {
        farm.get(key).answers(Answer::Fails);
    }
    shares(&all, 90).await;
    let ejected = handle.members().iter().filter(|m| !m.is_eligible()).count();
    assert_eq!(ejected, 2);

    let (off, handle) = set(&farm, 3, BalanceConfig::default().with_outlier(OutlierConfig::off()));
    shares(&off, 90).await;
    assert!(handle.members().iter().all(|member| member.is_eligible()));
}

#[tokio::test(start_paused = true)]
async fn switching_it_off_brings_all_back() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 3, BalanceConfig::default());
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 30).await;
    assert!(is_ejected(&handle, "h0:1"));
    handle.update(&BalanceConfig::default().with_outlier(OutlierConfig::off())).unwrap();
    settle().await;
    assert!(!is_ejected(&handle, "h0:1"));
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_left_to_a_circuit_breaker() {
    let farm = Farm::default();
    let layer =
        BalanceLayer::new(discover::fixed(["h0:1", "h1:1"]).unwrap(), RoundRobin::starting_at(0));
    let handle = layer.handle();
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(CircuitBreakerLayer::default())
        .service(farm.clone());
    farm.get("h0:1").answers(Answer::Fails);
    for number in 0..60 {
        let _: Result<String, Error> = stack.clone().oneshot(Ask::new(number)).await;
        settle().await;
    }
    assert!(!is_ejected(&handle, "h0:1"));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ejects_the_one_with_a_low_success_rate() {
    let farm = Farm::default();
    let mut config = outlier();
    (config.consecutive_failures, config.success_rate_calls) = (0, 10);
    let (all, handle) = set(&farm, 6, BalanceConfig::default().with_outlier(config));
    // Every second call to one fails: never two in a row.
    for number in 0..150 {
        let answer = if number % 12 < 6 { Answer::Fails } else { Answer::Good };
        farm.get("h2:1").answers(answer);
        let _ = all.clone().oneshot(Ask::new(number)).await;
    }
    assert!(!is_ejected(&handle, "h2:1"));
    tokio::time::sleep(ms(1_100)).await;
    let ejected: Vec<_> =
        handle.members().iter().filter(|m| !m.is_eligible()).map(|m| m.key().to_owned()).collect();
    assert_eq!(ejected, ["h2:1"]);

    // The share of failed calls is off by default.
    let farm = Farm::default();
    config.success_rate_factor = 0.0;
    (config.failure_percent, config.failure_percent_calls) = (85, 10);
    let (all, handle) = set(&farm, 6, BalanceConfig::default().with_outlier(config));
    farm.get("h2:1").answers(Answer::Fails);
    shares(&all, 150).await;
    tokio::time::sleep(ms(1_100)).await;
    assert!(is_ejected(&handle, "h2:1"));
}

/// Weighs calls as the strategies do that look at weights.
fn weights(handle: &BalanceHandle) -> Vec<u32> {
    handle.members().iter().map(|member| member.weight()).collect()
}

#[tokio::test(start_paused = true)]
async fn one_that_recovers_warms_up_and_others_that_join_change_nothing() {
    let farm = Farm::default();
    let source = discover::Memory::new(["h0:1", "h1:1", "h2:1"]).unwrap();
    let config = BalanceConfig::default().with_slow_start(SlowStartConfig::over(secs(10)));
    let layer = BalanceLayer::with_config(source.clone(), RoundRobin::starting_at(0), config);
    let handle = layer.handle();
    let set = layer.layer(farm.clone());
    shares(&set, 1).await;
    assert_eq!(weights(&handle), [10, 10, 10]);
    tokio::time::sleep(secs(5)).await;
    assert_eq!(weights(&handle), [50, 50, 50]);
    let four = ["h0:1", "h1:1", "h2:1", "h3:1"].map(|key| Endpoint::new(key).unwrap());
    source.replace(four).unwrap();
    settle().await;
    assert_eq!(weights(&handle), [50, 50, 50, 10]);
    tokio::time::sleep(secs(11)).await;
    assert_eq!(weights(&handle), [100; 4]);
    let ill = member(&handle, "h1:1").veto(Reason::Unhealthy);
    ill.raise();
    settle().await;
    ill.clear();
    settle().await;
    assert_eq!(weights(&handle), [100, 10, 100, 100]);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(weights(&handle), [100, 20, 100, 100]);
    handle.update(&BalanceConfig::default()).unwrap();
    settle().await;
    assert_eq!(weights(&handle), [1; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_service_of_one_that_is_ejected_is_kept() {
    let farm = Farm::default();
    let (set, handle) = set(&farm, 3, BalanceConfig::default());
    farm.get("h0:1").answers(Answer::Fails);
    shares(&set, 30).await;
    assert!(is_ejected(&handle, "h0:1"));
    tokio::time::sleep(secs(100)).await;
    farm.get("h0:1").answers(Answer::Good);
    shares(&set, 10).await;
    assert_eq!(farm.get("h0:1").connects(), 1);
}
