//! One seed reproduces every choice, and all else that a layer leaves to chance.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use support::{Answer, Ask, Farm, secs, settle};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, FailoverLayer, HealthGateLayer,
    Outcome,
    balance::{BalanceConfig, BalanceLayer, OutlierConfig, Random, RoundRobin},
    budget::Budget,
    connect::Connect,
    discover,
    health::{HealthConfig, check_fn},
    member::{Member, Reason},
};

/// One seed gives one run, whatever else the thread draws meanwhile, and another seed another.
async fn check<R: Debug + PartialEq>(run: impl AsyncFn(u64) -> R) {
    let first = run(7).await;
    let others = BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), Random::new());
    others.layer(Farm::default()).oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(run(7).await, first);
    assert_ne!(run(8).await, first);
}

const KEYS: [&str; 5] = ["a:1", "b:1", "c:1", "d:1", "e:1"];

#[tokio::test(start_paused = true)]
async fn the_choices_of_a_balancer_and_how_long_it_ejects() {
    check(async |seed| {
        let farm = Farm::default();
        farm.get("a:1").answers(Answer::Fails);
        farm.get("b:1").answers(Answer::Fails);
        let mut outlier = OutlierConfig::default();
        outlier.max_ejected_percent = 100;
        let config = BalanceConfig::default().with_outlier(outlier);
        let layer =
            BalanceLayer::with_config(discover::fixed(KEYS).unwrap(), Random::new(), config);
        let layer = layer.with_seed(seed);
        let (handle, set, start) = (layer.handle(), layer.layer(farm.clone()), Instant::now());
        for number in 0..100 {
            let _ = set.clone().oneshot(Ask::new(number)).await;
            settle().await;
        }
        let until = |member: &Arc<Member>| Some(member.barred_until(Reason::Ejected)? - start);
        let ejections: Vec<_> = handle.members().iter().map(until).collect();
        assert_eq!(ejections.iter().flatten().count(), 2);
        (KEYS.map(|key| farm.get(key).calls()), ejections)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn how_long_a_failover_waits() {
    check(async |seed| {
        let farm = Farm::default();
        KEYS.iter().for_each(|key| farm.get(key).answers(Answer::Fails));
        let attempts = FailoverLayer::new(Attempts::up_to(8)).with_budget(Budget::new(0.0, 0, 100));
        let endpoints = discover::fixed(KEYS).unwrap();
        let service = ServiceBuilder::new()
            .layer(attempts.with_seed(seed))
            .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
            .service(farm);
        let start = Instant::now();
        let error = service.oneshot(Ask::new(1)).await.unwrap_err();
        assert_eq!(error.attempts(), 8);
        start.elapsed()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn how_long_circuits_are_open() {
    check(async |seed| {
        let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
        let layer = layer.with_seed(seed).named("the name comes later");
        // One of a member that leaves, and the layer's own.
        let member = Member::new(Endpoint::new("a:1").unwrap());
        let gone = layer.layer(Farm::default()).connect(&member);
        drop(gone);
        let circuit = layer.handle();
        let mut opened = Vec::new();
        for _ in 0..3 {
            circuit.try_acquire().unwrap().settle(Outcome::Failure);
            opened.push(circuit.next_transition().unwrap() - Instant::now());
            circuit.reset();
        }
        opened
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_health_is_checked() {
    check(async |seed| {
        let (checks, start) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let seen = checks.clone();
        let check = check_fn(move |endpoint: Arc<Endpoint>| {
            seen.lock().unwrap().push((start.elapsed(), endpoint.key().to_owned()));
            async { true }
        });
        let layer = HealthGateLayer::with_config(check, HealthConfig::default()).with_seed(seed);
        let balance = BalanceLayer::new(discover::fixed(KEYS).unwrap(), RoundRobin::new());
        let handle = layer.handle();
        let set = balance.layer(layer.layer(Farm::default()));
        set.clone().oneshot(Ask::new(1)).await.unwrap();
        sleep(secs(60)).await;
        // All are planned anew.
        handle.update(&HealthConfig::default().with_interval(secs(7))).unwrap();
        sleep(secs(60)).await;
        let checks = checks.lock().unwrap().clone();
        assert!(checks.len() > 50, "{}", checks.len());
        checks
    })
    .await;
}
