//! Where further attempts go: to other tiers, and to what is well before what a panic overlooks. And
//! how often a call that waits is polled.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use support::{Answer, Ask, Farm, Readiness, counted, ms, secs, settle};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest,
    balance::{Balance, BalanceConfig, OutlierConfig, RoundRobin},
    budget::Budget,
    discover::{self, Memory},
    endpoint::Status,
    member::Reason,
};

fn endpoint(key: &str, priority: u32) -> Endpoint {
    key.parse::<Endpoint>().unwrap().with_priority(priority)
}

fn set(farm: &Farm, endpoints: Vec<Endpoint>) -> Balance<support::Probe, LeastRequest> {
    // Where calls go that fail, over and over.
    let config = BalanceConfig::default().with_outlier(OutlierConfig::off());
    BalanceLayer::with_config(discover::fixed(endpoints).unwrap(), LeastRequest::new(), config)
        .layer(farm.clone())
}

/// The keys of the endpoints that one call was tried at, in order.
async fn tried<S>(stack: S) -> (Vec<String>, Result<String, Error>)
where
    S: tower::Service<Ask, Response = String, Error = Error>,
{
    let result = stack.oneshot(Ask::new(1)).await;
    let history = result.as_ref().err().map_or(&[][..], |error| error.history());
    (history.iter().map(|error| error.endpoint().unwrap().to_owned()).collect(), result)
}

fn failover(up_to: u32) -> FailoverLayer {
    FailoverLayer::new(Attempts::up_to(up_to).with_backoff(ms(1), ms(1)))
        .with_budget(Budget::unlimited())
}

#[tokio::test(start_paused = true)]
async fn the_second_attempt_goes_to_the_next_tier() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let stack = failover(3).layer(set(&farm, vec![endpoint("a:1", 0), endpoint("b:1", 1)]));
    assert_eq!(tried(stack).await.1.unwrap(), "b:1");
    assert_eq!((farm.get("a:1").calls(), farm.get("b:1").calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn tiers_are_gone_through_in_order_and_each_endpoint_once() {
    let farm = Farm::default();
    let keys = [("a:1", 5), ("b:1", 0), ("c:1", 2), ("d:1", 2), ("e:1", 0)];
    let endpoints = keys.map(|(key, priority)| {
        farm.get(key).answers(Answer::Fails);
        endpoint(key, priority)
    });
    let stack = failover(5).layer(set(&farm, endpoints.into()));
    let mut seen = BTreeMap::new();
    for _ in 0..50 {
        let (order, _) = tried(stack.clone()).await;
        let priorities: Vec<_> =
            order.iter().map(|key| keys.iter().find(|(of, _)| of == key).unwrap().1).collect();
        assert_eq!(priorities, [0, 0, 2, 2, 5]);
        *seen.entry(order[2].clone()).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "within the next tier any is first: {seen:?}");
    assert!(farm.all().iter().all(|inner| inner.calls() == 50));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_never_goes_to_another_tier() {
    let farm = Farm::default();
    let stack = failover(3).layer(set(&farm, vec![endpoint("a:1", 0), endpoint("b:1", 1)]));
    for _ in 0..100 {
        assert_eq!(stack.clone().oneshot(Ask::new(1)).await.unwrap(), "a:1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_warned_endpoint_is_a_reserve_too() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let endpoints = vec![
        endpoint("a:1", 0).with_status(Status::Passing),
        endpoint("b:1", 0).with_status(Status::Warning),
    ];
    let stack = failover(2).layer(set(&farm, endpoints));
    assert_eq!(stack.oneshot(Ask::new(1)).await.unwrap(), "b:1");
}

#[tokio::test(start_paused = true)]
async fn in_a_panic_further_attempts_take_what_is_well_before_what_is_ill() {
    // Tier 0: all ill. Tier 1: three ill, one well. Nothing is sound, so health is ignored.
    let farm = Farm::default();
    let keys = ["a:1", "b:1", "c:1", "d:1", "e:1", "well:1"];
    let endpoints: Vec<_> =
        keys.iter().map(|key| endpoint(key, u32::from(!["a:1", "b:1"].contains(key)))).collect();
    let set = set(&farm, endpoints);
    let stack = failover(6).layer(set.clone());
    stack.clone().oneshot(Ask::new(0)).await.unwrap();
    let vetoes: Vec<_> = set
        .handle()
        .members()
        .iter()
        .filter(|member| member.key() != "well:1")
        .map(|member| member.veto(Reason::Unhealthy))
        .collect();
    for veto in &vetoes {
        veto.raise();
        farm.get(veto.member().key()).answers(Answer::Fails);
    }
    settle().await;
    for _ in 0..50 {
        let before = farm.calls();
        assert_eq!(stack.clone().oneshot(Ask::new(1)).await.unwrap(), "well:1");
        assert!(
            farm.calls() - before <= 2,
            "one that is ill, by chance, and then the one that is well"
        );
    }
    // With nothing well, the ill of the tier are tried, each once.
    farm.get("well:1").answers(Answer::Fails);
    let (order, _) = tried(failover(4).layer(set)).await;
    assert!(order[..2].contains(&"well:1".to_owned()), "{order:?}: first by chance, of all");
    drop(vetoes);
}

#[tokio::test(start_paused = true)]
async fn what_is_barred_or_has_no_weight_is_no_reserve() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let endpoints = vec![
        endpoint("a:1", 0),
        endpoint("off:1", 1).with_weight(0),
        endpoint("leaving:1", 1).with_draining(true),
        endpoint("open:1", 2),
    ];
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(60_000));
    let set = BalanceLayer::new(discover::fixed(endpoints).unwrap(), LeastRequest::new())
        .layer(breaker.layer(farm.clone()));
    let stack = failover(3).layer(set);
    stack.clone().oneshot(Ask::new(0)).await.unwrap();
    breaker.handle_for("open:1").unwrap().force_open();
    settle().await;
    let calls = farm.get("open:1").calls();
    let (order, _) = tried(stack).await;
    assert_eq!(order, ["a:1", "a:1", "a:1"], "it falls back to what it tried");
    assert_eq!(farm.get("open:1").calls(), calls);
    assert_eq!(farm.get("off:1").calls() + farm.get("leaving:1").calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_waits_for_the_next_tier_rather_than_for_what_was_tried() {
    // The next tier is chosen, and not ready yet.
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").is(Readiness::Pending);
    let stack = failover(2).layer(set(&farm, vec![endpoint("a:1", 0), endpoint("b:1", 1)]));
    let call = tokio::spawn(stack.oneshot(Ask::new(1)));
    tokio::time::sleep(ms(100)).await;
    farm.get("b:1").is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), "b:1");
}

#[tokio::test(start_paused = true)]
async fn while_a_candidate_is_untried_no_other_tier_is_looked_at() {
    // `b` takes a while to be ready; `c` of the next tier is, all the time.
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").is(Readiness::Pending);
    let endpoints = vec![endpoint("a:1", 0), endpoint("b:1", 0), endpoint("c:1", 1)];
    let set = BalanceLayer::new(discover::fixed(endpoints).unwrap(), RoundRobin::starting_at(0))
        .layer(farm.clone());
    let call = tokio::spawn(failover(3).layer(set).oneshot(Ask::new(1)));
    tokio::time::sleep(ms(50)).await;
    farm.get("b:1").is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), "b:1");
    assert_eq!(farm.get("c:1").calls(), 0);
}

// Waiting for a set that is down.

fn patient(farm: &Farm, source: Memory) -> Balance<support::Probe, LeastRequest> {
    let config = BalanceConfig::default().with_fail_fast_after(secs(60)).with_panic_threshold(0);
    BalanceLayer::with_config(source, LeastRequest::new(), config).layer(farm.clone())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_set_that_is_down_is_polled_a_few_times() {
    let farm = Farm::default();
    let source = Memory::new([endpoint("a:1", 0), endpoint("b:1", 0)]).unwrap();
    source.replace([endpoint("a:1", 0)]).unwrap();
    let set = patient(&farm, source.clone());
    set.clone().oneshot(Ask::new(0)).await.unwrap();
    let veto = set.handle().members()[0].veto(Reason::Unhealthy);
    // Ready before the set is down, so that it is the call that waits, not readiness.
    let ready = || async {
        let mut ready = set.clone();
        ready.ready().await.unwrap();
        ready
    };
    let wait = |mut ready: Balance<support::Probe, LeastRequest>| {
        let (call, polls) = counted(async move { ready.call(Ask::new(1)).await });
        (tokio::spawn(call), polls)
    };
    // Barred, and then gone: each is a set that is down.
    let readied = ready().await;
    veto.raise();
    settle().await;
    let (call, polls) = wait(readied);
    tokio::time::sleep(secs(10)).await;
    let before = polls.load(SeqCst);
    assert!(before <= 5, "{before}");
    veto.clear();
    call.await.unwrap().unwrap();
    assert!(polls.load(SeqCst) - before <= 1);

    let readied = ready().await;
    source.replace([]).unwrap();
    settle().await;
    let (call, polls) = wait(readied);
    tokio::time::sleep(secs(10)).await;
    let before = polls.load(SeqCst);
    assert!(before <= 5, "{before}");
    source.replace([endpoint("b:1", 0)]).unwrap();
    call.await.unwrap().unwrap();
    assert!(polls.load(SeqCst) - before <= 1);

    // Readiness that waits rests as well.
    source.replace([]).unwrap();
    settle().await;
    let (call, polls) = counted(set.clone().oneshot(Ask::new(1)));
    let call = tokio::spawn(call);
    tokio::time::sleep(secs(10)).await;
    assert!(polls.load(SeqCst) <= 5, "{}", polls.load(SeqCst));
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_endpoints_that_are_not_ready_is_polled_a_few_times() {
    let farm = Farm::default();
    let source = Memory::new([endpoint("a:1", 0), endpoint("b:1", 0)]).unwrap();
    source.replace([endpoint("a:1", 0), endpoint("b:1", 0)]).unwrap();
    farm.get("a:1").is(Readiness::Pending);
    farm.get("b:1").is(Readiness::Pending);
    let set = patient(&farm, source);
    let (call, polls) = counted(set.clone().oneshot(Ask::new(1)));
    let call = tokio::spawn(call);
    tokio::time::sleep(secs(10)).await;
    assert!(polls.load(SeqCst) <= 6, "{}", polls.load(SeqCst));
    farm.get("b:1").is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), "b:1");
}

#[tokio::test(start_paused = true)]
async fn many_fresh_clients_that_make_one_call_each_spread_over_all() {
    let farm = Farm::default();
    for number in 0..300 {
        let set =
            BalanceLayer::new(discover::fixed(["a:1", "b:1", "c:1"]).unwrap(), RoundRobin::new())
                .layer(farm.clone());
        set.oneshot(Ask::new(number)).await.unwrap();
    }
    for inner in farm.all() {
        assert!((60..=140).contains(&inner.calls()), "{}: {}", inner.key, inner.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_given_is_kept_to() {
    for start in 0..6 {
        let farm = Farm::default();
        let set = ServiceBuilder::new()
            .layer(BalanceLayer::new(
                discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
                RoundRobin::starting_at(start),
            ))
            .service(farm.clone());
        let first = set.clone().oneshot(Ask::new(1)).await.unwrap();
        assert_eq!(first, ["a:1", "b:1", "c:1"][start % 3]);
    }
}
