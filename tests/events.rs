//! What failover, retry and balance tell of, in which order, and under which name.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use support::{Answer, Ask, Farm, Inner, Readiness, ms, secs, settle};
use tokio::time::Instant;
use tower::{Layer, ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, Outcome,
    backoff::Jitter,
    balance::{BalanceConfig, OutlierConfig, RoundRobin},
    budget::Budget,
    connect_fn,
    discover::{self, Memory},
    error::Kind,
    member::Reason,
    retry::{RetryConfig, RetryPolicy},
    telemetry::{Event, EventKind, Events},
};

/// What was told, in its order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Event>>>);

impl Told {
    fn new() -> (Events, Self) {
        let (events, told) = (Events::new(), Self::default());
        let heard = told.clone();
        events.subscribe(move |event| heard.0.lock().unwrap().push(event.clone())).detach();
        (events, told)
    }

    /// Takes what was told since, each with its endpoint.
    fn take(&self) -> Vec<String> {
        self.events().iter().map(line).collect()
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn line(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::Attempt { number, after, .. } => format!("attempt {number} after {after:?}"),
        EventKind::Wait { number, delay, .. } => format!("wait {delay:?} for {number}"),
        EventKind::Members { total, .. } => format!("members {total}"),
        EventKind::HealthIgnored { ignored, .. } => format!("health ignored {ignored}"),
        EventKind::Ejection { ejected, lasts, .. } => format!("ejected {ejected} {lasts:?}"),
        EventKind::Reconnect { delay, .. } => format!("reconnect {}", !delay.is_zero()),
        kind => kind.as_str().to_owned(),
    };
    match &event.endpoint {
        Some(endpoint) => format!("{endpoint}: {what}"),
        None => what,
    }
}

fn config(attempts: u32) -> RetryConfig {
    RetryConfig::up_to(attempts).with_intervals(ms(100), secs(1)).with_jitter(Jitter::None)
}

fn set(endpoints: &[&str]) -> BalanceLayer<discover::Fixed, RoundRobin> {
    let endpoints = discover::fixed(endpoints.iter().copied()).unwrap();
    BalanceLayer::new(endpoints, RoundRobin::starting_at(0))
}

#[tokio::test(start_paused = true)]
async fn failover_tells_of_attempts_waits_and_a_budget_that_is_empty() {
    let (events, told) = Told::new();
    let farm = Farm::default();
    for key in ["a:1", "b:1"] {
        farm.get(key).answers(Answer::Fails);
    }
    let layer = FailoverLayer::new(Attempts::from(config(4)))
        .with_budget(Budget::new(0.0, 0, 2))
        .named("tax")
        .with_events(&events);
    let stack = layer.layer(set(&["a:1", "b:1"]).layer(farm.clone()));
    let start = Instant::now();
    stack.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let heard = told.events();
    assert_eq!(
        heard.iter().map(line).collect::<Vec<_>>(),
        [
            "a:1: attempt 2 after Some(Service)",
            "b:1: wait 100ms for 3",
            "b:1: attempt 3 after Some(Service)",
            "a:1: budget_empty",
        ]
    );
    assert!(heard.iter().all(|event| event.layer.as_deref() == Some("tax")));
    let begun = heard.iter().map(|event| event.at - start).collect::<Vec<_>>();
    assert!(begun[1] < ms(5) && begun[2] >= ms(100), "an attempt begins after its wait: {begun:?}");
    // What goes well at once is no event.
    farm.get("a:1").answers(Answer::Good);
    farm.get("b:1").answers(Answer::Good);
    stack.oneshot(Ask::new(1)).await.unwrap();
    assert!(told.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_for_free_is_told_with_the_number_of_the_one_it_replaces() {
    let (events, told) = Told::new();
    let failover =
        FailoverLayer::new(Attempts::up_to(2)).with_budget(Budget::none()).with_events(&events);
    let handle = failover.handle();
    // The first one refuses in `call`, without a veto, and the connection to the second is dead at first.
    let (open, closed) = (CircuitBreakerLayer::default(), CircuitBreakerLayer::default());
    open.handle().force_open();
    let dead = Arc::new(AtomicBool::new(true));
    let stack = failover.layer(set(&["a:1", "b:1", "c:1"]).layer(connect_fn(
        move |endpoint: &Endpoint| {
            let (key, dead) = (endpoint.key().to_owned(), dead.clone());
            let guard = if key == "a:1" { &open } else { &closed };
            guard.layer(service_fn(move |_: Ask| {
                let reset = key == "b:1" && dead.swap(false, SeqCst);
                ready(if reset { Err(Error::connection("reset by peer")) } else { Ok(()) })
            }))
        },
    )));
    stack.clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(
        told.take(),
        ["a:1: attempt 1 after Some(CircuitOpen)", "b:1: attempt 1 after Some(Connection)"]
    );
    assert_eq!((handle.retries(), handle.moved()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_while_it_waits_never_begins() {
    let (events, told) = Told::new();
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let policy = RetryPolicy::new(config(3)).with_events(&events);
    let service = RetryLayer::new(policy).layer(inner.service());
    let call = tokio::time::timeout(ms(50), service.oneshot(Ask::new(1)));
    call.await.unwrap_err();
    assert_eq!(told.take(), ["wait 100ms for 2"]);
}

#[tokio::test(start_paused = true)]
async fn retry_tells_the_same_words_as_failover() {
    let (events, told) = Told::new();
    let inner = Inner::new("a");
    inner.answers(Answer::FailsAfter(ms(10)));
    let policy = RetryPolicy::new(config(4))
        .with_budget(Budget::new(0.0, 0, 2))
        .named("tax")
        .with_events(&events);
    let handle = policy.handle();
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(60)))
        .service(inner.service());
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let heard = told.events();
    assert_eq!(
        heard.iter().map(line).collect::<Vec<_>>(),
        [
            "wait 100ms for 2",
            "attempt 2 after Some(Service)",
            "wait 200ms for 3",
            "attempt 3 after Some(Service)",
            "budget_empty",
        ]
    );
    assert!(heard.iter().all(|event| event.layer.as_deref() == Some("tax")));
    assert_eq!((handle.retries(), handle.moved(), handle.stats().failed), (2, 0, Some(1)));
    inner.answers(Answer::Good);
    service.oneshot(Ask::new(1)).await.unwrap();
    assert!(told.take().is_empty());
    assert_eq!(handle.stats().failed, Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_has_no_kind() {
    let (events, told) = Told::new();
    let inner = Inner::new("a");
    let all_bad = |_: Result<&String, &tower_upstream::BoxError>| Outcome::Failure;
    let policy = RetryPolicy::new(config(2)).with_classify(all_bad).with_events(&events);
    RetryLayer::new(policy).layer(inner.service()).oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(told.take(), ["wait 100ms for 2", "attempt 2 after None"]);
}

#[tokio::test(start_paused = true)]
async fn retries_change_while_services_run_and_a_call_keeps_what_it_met() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let policy = RetryPolicy::new(config(3)).with_budget(Budget::unlimited());
    let handle = policy.handle();
    let service = RetryLayer::new(policy).layer(inner.service());
    let under_way = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    tokio::time::sleep(ms(50)).await;
    handle.update(&config(1)).unwrap();
    assert_eq!(handle.config(), config(1));
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 2);
    under_way.await.unwrap().unwrap_err();
    assert_eq!(inner.calls(), 4, "the call that had failed goes on");
    // A limit for the whole call holds for calls that begin after it was set.
    inner.answers(Answer::FailsAfter(ms(10)));
    handle.update(&config(3)).unwrap();
    let under_way = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    tokio::time::sleep(ms(5)).await;
    handle.update(&config(3).with_overall(ms(50))).unwrap();
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 6);
    under_way.await.unwrap().unwrap_err();
    assert_eq!(inner.calls(), 8);
    // A mistake changes nothing.
    let error = handle.update(&config(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert_eq!(handle.config(), config(3).with_overall(ms(50)));
}

#[tokio::test(start_paused = true)]
async fn a_set_tells_of_its_members_and_when_it_ignores_health() {
    let (events, told) = Told::new();
    let farm = Farm::default();
    let source = Memory::new(["a:1", "b:1"]).unwrap();
    let layer = BalanceLayer::with_config(
        source.clone(),
        RoundRobin::starting_at(0),
        BalanceConfig::default().with_panic_threshold(60),
    )
    .named("tax")
    .with_events(&events);
    let handle = layer.handle();
    let set = layer.layer(farm.clone());
    // A listener may ask the handle, and finds what it was told of.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, seen_by) = (handle.clone(), seen.clone());
    let listening = events.subscribe(move |event| {
        if let EventKind::Members { total, .. } = event.kind {
            seen_by.lock().unwrap().push((total, asked.members().len()));
        }
    });
    set.clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(told.take(), ["members 2"]);
    // Calls, and what is said again, are no events.
    set.clone().oneshot(Ask::new(1)).await.unwrap();
    source.replace(["a:1", "b:1"].map(|key| Endpoint::new(key).unwrap())).unwrap();
    settle().await;
    assert!(told.take().is_empty());

    let gate = handle.members()[0].veto(Reason::Unhealthy);
    gate.raise();
    settle().await;
    assert_eq!(told.take(), ["health ignored true"]);
    assert!(handle.is_health_ignored());
    assert_eq!((handle.eligible(), handle.candidates()), (1, 2));
    gate.clear();
    settle().await;
    assert_eq!(told.take(), ["health ignored false"]);
    assert!(!handle.is_health_ignored());

    source.replace(["a:1", "c:1", "d:1"].map(|key| Endpoint::new(key).unwrap())).unwrap();
    settle().await;
    let heard = told.events();
    assert_eq!(heard.iter().map(line).collect::<Vec<_>>(), ["members 3"]);
    assert_eq!((heard[0].layer.as_deref(), &heard[0].endpoint), (Some("tax"), &None));
    // The same number of others.
    source.replace(["a:1", "c:1", "e:1"].map(|key| Endpoint::new(key).unwrap())).unwrap();
    settle().await;
    assert_eq!(told.take(), ["members 3"]);
    assert_eq!(*seen.lock().unwrap(), [(2, 2), (3, 3), (3, 3)]);
    drop(listening);
}

#[tokio::test(start_paused = true)]
async fn a_set_tells_that_it_connects_again() {
    let (events, told) = Told::new();
    let farm = Farm::default();
    let inner = farm.get("a:1");
    let set = set(&["a:1", "b:1"]).with_events(&events).layer(farm.clone());
    set.clone().oneshot(Ask::new(1)).await.unwrap();
    told.take();
    inner.is(Readiness::Dead);
    for _ in 0..4 {
        set.clone().oneshot(Ask::new(1)).await.unwrap();
        settle().await;
    }
    let heard = told.take();
    assert_eq!(
        heard,
        ["a:1: reconnect false", "a:1: reconnect true"],
        "at once, then after a wait"
    );
}

#[tokio::test(start_paused = true)]
async fn a_set_counts_what_its_members_did_and_those_that_left() {
    let farm = Farm::default();
    let source = Memory::new(["a:1", "b:1"]).unwrap();
    let layer = BalanceLayer::new(source.clone(), RoundRobin::starting_at(0));
    let handle = layer.handle();
    let stats = handle.stats();
    assert_eq!((stats.admitted, stats.failed, stats.in_flight), (Some(0), Some(0), Some(0)));
    assert_eq!((stats.refused, stats.succeeded), (None, None));
    let set = layer.layer(farm.clone());
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").answers(Answer::GoodAfter(secs(1)));
    set.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let running = tokio::spawn(set.clone().oneshot(Ask::new(1)));
    settle().await;
    let counts = || {
        let stats = handle.stats();
        (stats.admitted.unwrap(), stats.failed.unwrap(), stats.in_flight.unwrap())
    };
    assert_eq!(counts(), (1, 1, 1));
    running.await.unwrap().unwrap();
    assert_eq!(counts(), (2, 1, 0));
    source.replace([Endpoint::new("b:1").unwrap()]).unwrap();
    settle().await;
    assert_eq!((counts(), handle.members().len()), ((2, 1, 0), 1));
    let error = handle.update(&BalanceConfig::default().with_panic_threshold(101)).unwrap_err();
    assert_eq!((error.kind(), handle.config()), (Kind::InvalidConfig, BalanceConfig::default()));
}

#[tokio::test(start_paused = true)]
async fn a_balancer_tells_of_ejections_and_of_their_end_once_each() {
    let (events, told) = Told::new();
    let farm = Farm::default();
    let mut outlier = OutlierConfig::default();
    outlier.jitter_percent = 0;
    let source = discover::fixed(["a:1", "b:1", "c:1"]).unwrap();
    let config = BalanceConfig::default().with_outlier(outlier);
    let layer =
        BalanceLayer::with_config(source, RoundRobin::starting_at(0), config).with_events(&events);
    let handle = layer.handle();
    let set = layer.layer(farm.clone());
    farm.get("a:1").answers(Answer::Fails);
    for number in 0..30 {
        let _ = set.clone().oneshot(Ask::new(number)).await;
        settle().await;
    }
    assert_eq!(told.take(), ["members 3", "a:1: ejected true Some(30s)"]);
    tokio::time::sleep(secs(31)).await;
    assert_eq!(told.take(), ["a:1: ejected false None"], "on probation");
    farm.get("a:1").answers(Answer::Good);
    for number in 0..9 {
        set.clone().oneshot(Ask::new(number)).await.unwrap();
        settle().await;
    }
    assert!(handle.eject("b:1"));
    settle().await;
    assert_eq!(told.take(), ["b:1: ejected true None"], "by an operator");
    assert!(handle.uneject("b:1"));
    settle().await;
    assert_eq!(told.take(), ["b:1: ejected false None"]);
}
