//! What trying again promises.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    convert::Infallible,
    error::Error as _,
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{Answer, Ask, Inner, Probe, Readiness, ms, secs, seen};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    retry::{Retry, RetryLayer},
    service_fn,
};
use tower_upstream::{
    BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error, Outcome,
    backoff::Jitter,
    breaker::CircuitBreaker,
    budget::{Budget, BudgetConfig, Cause, ConcurrentBudget, StandardBudget, ThrottleBudget},
    error::Kind,
    retry::{RetryConfig, RetryPolicy},
};

fn config(attempts: u32) -> RetryConfig {
    RetryConfig::up_to(attempts).with_intervals(ms(100), secs(1)).with_jitter(Jitter::None)
}

fn budget() -> Budget {
    Budget::new(0.0, 0, 100)
}

fn over(inner: &Arc<Inner>, policy: RetryPolicy) -> Retry<RetryPolicy, Probe> {
    RetryLayer::new(policy).layer(inner.service())
}

/// A service whose errors are ours.
type Guarded = Retry<RetryPolicy, CircuitBreaker<Probe>>;

fn guarded(inner: &Arc<Inner>, policy: RetryPolicy) -> (Guarded, CircuitBreakerLayer) {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(60_000));
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(breaker.clone())
        .service(inner.service());
    (service, breaker)
}

#[track_caller]
fn assert_took(start: Instant, expect: Duration) {
    let took = start.elapsed();
    assert!((expect..=expect + ms(4)).contains(&took), "{took:?}, not {expect:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_tried_so_often_with_growing_waits() {
    let (inner, budget) = (Inner::new("a"), budget());
    inner.answers(Answer::Fails);
    let policy = RetryPolicy::new(config(4)).with_budget(budget.clone());
    let start = Instant::now();
    let error = over(&inner, policy).oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_took(start, ms(100 + 200 + 400));
    let attempts: Vec<_> = inner.asks().iter().map(|ask| ask.attempt).collect();
    assert_eq!(attempts, [0, 2, 3, 4]);
    assert_eq!((budget.available(), inner.violations.load(SeqCst)), (97, 0));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_first_success() {
    let inner = Inner::new("a");
    inner.answers(Answer::FailsAfter(ms(10)));
    let mut call = task::spawn(over(&inner, RetryPolicy::new(config(3))).oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    sleep(ms(20)).await;
    assert_pending!(call.poll());
    inner.answers(Answer::Good);
    sleep(ms(101)).await;
    assert_eq!(assert_ready!(call.poll()).unwrap(), "a");
    assert_eq!(inner.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_error_tells_the_whole_way() {
    let inner = Inner::new("a");
    inner.answers(Answer::FailsAfter(ms(20)));
    for overall in [None, Some(secs(60))] {
        let mut config = config(3);
        config.overall = overall;
        let (service, _) = guarded(&inner, RetryPolicy::new(config));
        let error = service.oneshot(Ask::new(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 3));
        assert_eq!(error.history().len(), 3);
        assert!(!error.is_refused() && !error.is_unsent());
        assert!(error.source().unwrap().source().unwrap().to_string() == "broken");
        assert_eq!(error.duration().is_some(), overall.is_some());
        if let Some(took) = error.duration() {
            assert!((ms(360)..ms(370)).contains(&took), "{took:?}");
        }
    }
    // Where nothing was repeated it is the error itself.
    let (service, _) = guarded(&inner, RetryPolicy::new(config(3)));
    let error = service.oneshot(Ask::once(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::Service, 1));
}

#[tokio::test(start_paused = true)]
async fn ours_in_a_box_is_told_too() {
    let (mut calls, inner) = (0, Error::from_service(BoxError::from("broken")));
    let service = service_fn(move |_: Ask| {
        calls += 1;
        let error = if calls == 1 { "stranger".into() } else { BoxError::from(inner.clone()) };
        ready(Err::<(), _>(error))
    });
    let service = Retry::new(RetryPolicy::new(config(2)), Shared::new(service));
    let error = Error::from_service(service.oneshot(Ask::new(1)).await.unwrap_err());
    assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 2));
    assert!(error.history()[0].to_string().contains("stranger"), "{:?}", error.history());
}

/// A service that clones share.
struct Shared<S>(Arc<Mutex<S>>);

impl<S> Shared<S> {
    fn new(service: S) -> Self {
        Self(Arc::new(Mutex::new(service)))
    }
}

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Service<Req>, Req> Service<Req> for Shared<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.lock().unwrap().poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> S::Future {
        self.0.lock().unwrap().call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_sent_once_unless_it_was_not_sent() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    over(&inner, RetryPolicy::new(config(3))).oneshot(Ask::once(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 1);
    // An error that says that nothing was sent, and is no refusal.
    let unsent = Error::unsent("no connection");
    assert!(unsent.is_unsent() && !unsent.is_refused());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service_fn(move |_: Ask| {
        counted.fetch_add(1, SeqCst);
        ready(Err::<(), _>(unsent.clone()))
    });
    Retry::new(RetryPolicy::new(config(3)), service).oneshot(Ask::once(1)).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_costs_neither_time_nor_budget() {
    let (inner, budget) = (Inner::new("a"), budget());
    let policy = RetryPolicy::new(config(3)).with_budget(budget.clone());
    let (service, breaker) = guarded(&inner, policy);
    breaker.handle().force_open();
    let start = Instant::now();
    let error = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_refused()), (Kind::CircuitOpen, true));
    assert!(error.history().is_empty() && error.attempts() == 0);
    assert_eq!((start.elapsed(), budget.available()), (Duration::ZERO, 100));
    assert_eq!((inner.calls(), seen(&breaker.handle()).refused), (0, 1));
    // The circuit opens between two attempts: that is the end of it.
    breaker.handle().auto();
    inner.answers(Answer::Fails);
    let mut call = task::spawn(service.oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    breaker.handle().force_open();
    sleep(ms(101)).await;
    let error = assert_ready!(call.poll()).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 2));
    assert_eq!((inner.calls(), budget.available()), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn callers_mistakes_are_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mistake = "nonsense".parse::<Endpoint>().unwrap_err();
    assert_eq!(mistake.kind(), Kind::InvalidConfig);
    let counted = calls.clone();
    let service = service_fn(move |_: Ask| {
        counted.fetch_add(1, SeqCst);
        ready(Err::<(), _>(mistake.clone()))
    });
    let policy = RetryPolicy::new(config(3));
    let error = Retry::new(policy.clone(), service.clone()).oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), calls.load(SeqCst)), (Kind::InvalidConfig, 1, 1));
    // Whatever a rule of outcomes says.
    let all_bad = |_: Result<&(), &Error>| Outcome::Failure;
    let policy = policy.with_classify(all_bad);
    Retry::new(policy, service).oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_are_judged_and_the_last_one_is_given() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service =
        service_fn(move |_: Ask| ready(Ok::<_, Infallible>(counted.fetch_add(1, SeqCst) + 1)));
    let below = |least: usize| {
        move |result: Result<&usize, &Infallible>| match result {
            Ok(number) if *number < least => Outcome::Overload { retry_after: Some(secs(2)) },
            _ => Outcome::Success,
        }
    };
    let policy = RetryPolicy::new(config(3));
    let start = Instant::now();
    let three = Retry::new(policy.clone().with_classify(below(3)), service.clone());
    assert_eq!(three.oneshot(Ask::new(1)).await.unwrap(), 3);
    assert_took(start, secs(4));
    calls.store(0, SeqCst);
    let nine = Retry::new(policy.with_classify(below(9)), service);
    assert_eq!(nine.oneshot(Ask::new(1)).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_retry_begins_whose_wait_would_end_too_late() {
    let inner = Inner::new("a");
    inner.answers(Answer::FailsAfter(ms(50)));
    let budget = budget();
    let start = Instant::now();
    // 50 + 100 + 50 + 200 is over the 300 of either.
    let by_request = RetryPolicy::new(config(9)).with_budget(budget.clone());
    over(&inner, by_request).oneshot(Ask::new(1).until(start + ms(300))).await.unwrap_err();
    assert_took(start, ms(200));
    let start = Instant::now();
    let limited = config(9).with_overall(ms(300));
    let by_policy = RetryPolicy::new(limited.clone()).with_budget(budget.clone());
    let mut service = over(&inner, by_policy);
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
    assert_took(start, ms(200));
    // Each call has its own time, and of two deadlines the earlier counts.
    sleep(secs(10)).await;
    for (ask, took) in [(ms(10_000), ms(200)), (ms(120), ms(50))] {
        let start = Instant::now();
        let ask = Ask::new(1).until(start + ask);
        service.ready().await.unwrap().call(ask).await.unwrap_err();
        assert_took(start, took);
    }
    // One retry each, but for the last.
    assert_eq!((inner.calls(), budget.available()), (7, 97));
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_stops_it_before_it_waits() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let policy = RetryPolicy::new(config(3)).with_budget(Budget::none());
    let start = Instant::now();
    over(&inner, policy).oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((inner.calls(), start.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_charged_when_the_retry_is_decided() {
    let (inner, budget) = (Inner::new("a"), budget());
    inner.answers(Answer::Fails);
    let policy = RetryPolicy::new(config(3)).with_budget(budget.clone());
    let mut call = task::spawn(over(&inner, policy).oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    assert_eq!((inner.calls(), budget.available()), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn each_call_puts_its_share_in_once() {
    let inner = Inner::new("a");
    let budget = Budget::new(0.5, 0, 100);
    while budget.withdraw() {}
    let service = over(&inner, RetryPolicy::new(config(3)).with_budget(budget.clone()));
    for _ in 0..4 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert_eq!(budget.available(), 2);
    inner.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    // Two retries spent, and half a token for the call.
    assert_eq!(budget.available(), 0);
    service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 4 + 3 + 2);
    // Not those that a guard turned away.
    while budget.withdraw() {}
    let (service, circuit) =
        guarded(&inner, RetryPolicy::new(config(3)).with_budget(budget.clone()));
    circuit.handle().force_open();
    for _ in 0..100 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    assert_eq!(budget.available(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_what_runs_is_held_through_the_wait() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let mut share = ConcurrentBudget::default();
    (share.percent, share.min) = (50.0, 0);
    let budget = Budget::with_config(BudgetConfig::Concurrent(share));
    let service = over(&inner, RetryPolicy::new(config(2)).with_budget(budget.clone()));
    let mut calls: Vec<_> =
        (0..4).map(|_| task::spawn(service.clone().oneshot(Ask::new(1)))).collect();
    inner.answers(Answer::Never);
    // Four that run; clones that do not run are not counted.
    let idle: Vec<_> = (0..9).map(|_| service.clone()).collect();
    calls.iter_mut().for_each(|call| assert_pending!(call.poll()));
    assert_eq!(budget.available(), 2);
    inner.answers(Answer::Fails);
    let mut failing: Vec<_> =
        (0..4).map(|_| task::spawn(service.clone().oneshot(Ask::new(1)))).collect();
    // 5, 6, 7 and 8 run: 2, 3, 3, 4 retries; each of these waits for one of its own.
    failing.iter_mut().for_each(|call| assert_pending!(call.poll()));
    assert_eq!(budget.available(), 0);
    let mut last = task::spawn(service.clone().oneshot(Ask::new(1)));
    assert_ready!(last.poll()).unwrap_err();
    // A dropped one gives its places back, and one that is over too, though it is kept.
    drop(failing.pop());
    assert_eq!(budget.available(), 0);
    sleep(ms(101)).await;
    failing.iter_mut().for_each(|call| assert_ready!(call.poll()).unwrap_err().to_string().clear());
    assert_eq!(budget.available(), 2);
    drop((calls, idle, failing, last));
    assert_eq!(budget.available(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_given_back_by_retries_that_go_well() {
    let inner = Inner::new("a");
    let mut standard = StandardBudget::default();
    standard.capacity = 28;
    let budget = Budget::with_config(BudgetConfig::Standard(standard));
    let service = over(&inner, RetryPolicy::new(config(2)).with_budget(budget.clone()));
    inner.answers(Answer::ByHand);
    let mut call = task::spawn(service.clone().oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    inner.finish(0, false);
    assert_pending!(call.poll());
    assert_eq!(budget.available(), 1);
    sleep(ms(101)).await;
    assert_pending!(call.poll());
    inner.finish(1, true);
    assert_ready!(call.poll()).unwrap();
    assert_eq!(budget.available(), 2);
    // One that goes wrong does not.
    inner.answers(Answer::Fails);
    service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(budget.available(), 1);
    // A timeout costs less.
    assert!(budget.retry(Cause::Overload).is_some() && budget.retry(Cause::Overload).is_some());
    assert!(budget.retry(Cause::Overload).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_sees_every_attempt() {
    let inner = Inner::new("a");
    let mut throttle = ThrottleBudget::default();
    (throttle.max_tokens, throttle.token_ratio) = (10, 1.0);
    let budget = Budget::with_config(BudgetConfig::Throttle(throttle));
    let service = over(&inner, RetryPolicy::new(config(9)).with_budget(budget.clone()));
    inner.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    // Five failures leave half of ten, and half is not enough.
    assert_eq!((inner.calls(), budget.available()), (5, 0));
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 6);
    inner.answers(Answer::Good);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert_eq!(budget.available(), 1);
}

// Laws.

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_nothing() {
    let inner = Inner::new("a");
    let budget = Budget::with_config(BudgetConfig::Concurrent(ConcurrentBudget::default()));
    let policy = RetryPolicy::new(config(3)).with_budget(budget.clone());
    let mut service = over(&inner, policy);
    let services = inner.services.load(SeqCst);
    // Before its first poll, while it runs, while it waits, while it waits for readiness.
    drop(service.ready().await.unwrap().call(Ask::new(1)));
    for stage in 0..3 {
        inner.is(Readiness::Ready);
        inner.answers(if stage == 0 { Answer::Never } else { Answer::Fails });
        let mut call = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
        assert_pending!(call.poll());
        if stage == 2 {
            inner.is(Readiness::Pending);
            sleep(ms(101)).await;
            assert_pending!(call.poll());
        }
        drop(call);
        assert_eq!((inner.running(), inner.services.load(SeqCst)), (0, services));
        assert_eq!(budget.available(), 3);
    }
    let calls = inner.calls();
    sleep(secs(60)).await;
    assert_eq!((inner.calls(), inner.violations.load(SeqCst)), (calls, 0));
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_budget_and_nothing_of_a_call() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let budget = Budget::new(0.0, 0, 3);
    let service = over(&inner, RetryPolicy::new(config(3)).with_budget(budget.clone()));
    let (one, two) = (service.clone(), service);
    let (one, two) = tokio::join!(one.oneshot(Ask::new(1)), two.oneshot(Ask::new(2)));
    assert!(one.is_err() && two.is_err());
    assert_eq!((inner.calls(), budget.available()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_dies_between_attempts_says_so() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let mut call = task::spawn(over(&inner, RetryPolicy::new(config(3))).oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    inner.is(Readiness::Dead);
    sleep(ms(101)).await;
    assert_eq!(assert_ready!(call.poll()).unwrap_err().to_string(), "dead");
    assert_eq!(inner.calls(), 1);
}

#[test]
fn without_a_runtime_it_does_not_wait() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service_fn(move |_: u8| {
        counted.fetch_add(1, SeqCst);
        ready(Err::<(), _>("broken"))
    });
    let policy = RetryPolicy::new(config(3)).with_replay(|n: &u8| Some(*n));
    futures::executor::block_on(Retry::new(policy, service).oneshot(7)).unwrap_err();
    assert_eq!(calls.load(SeqCst), 3);
}

#[test]
fn it_is_what_a_layer_is() {
    fn shareable<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    let policy = RetryPolicy::new(RetryConfig::go());
    shareable(&policy);
    shareable(&RetryLayer::new(policy.clone()).layer(Inner::new("a").service()));
    let shown = format!("{policy:?}");
    assert!(shown.contains("max: 4") && shown.contains("share"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_typed_call_tells_the_attempt() {
    let service = service_fn(|call: Call<u32>| {
        ready(if call.attempt() < 3 { Err("broken") } else { Ok(call.attempt()) })
    });
    let service = Retry::new(RetryPolicy::new(config(3)), service);
    assert_eq!(service.oneshot(Call::new(7).idempotent()).await, Ok(3));
}

#[cfg(feature = "serde")]
#[test]
fn the_names_of_go_are_read() {
    use serde_json::{from_value, json};

    let go: RetryConfig = from_value(json!({
        "max_retries": 3,
        "initial_interval": "100ms",
        "max_interval": "5s",
        "multiplier": 2.0,
        "random_jitter": true,
    }))
    .unwrap();
    assert_eq!(go, RetryConfig::go());
    let still: RetryConfig = from_value(json!({ "random_jitter": false })).unwrap();
    assert_eq!((still.jitter, still.attempts), (Jitter::None, 3));
    for twice in [
        json!({ "max_retries": 1, "attempts": 2 }),
        json!({ "random_jitter": true, "jitter": "full" }),
        json!({ "max_retries": -1 }),
        json!({ "retries": 1 }),
    ] {
        from_value::<RetryConfig>(twice).unwrap_err();
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_budget_is_read_by_its_rule() {
    use serde_json::{from_value, json, to_value};

    for (written, rule) in [
        (json!({ "rule": "share", "ttl": "10s", "capacity": 50 }), "share"),
        (json!({ "rule": "throttle", "max_tokens": 10 }), "throttle"),
        (json!({ "rule": "standard", "cost": 7 }), "standard"),
        (json!({ "rule": "concurrent", "percent": 10.0 }), "concurrent"),
        (json!({ "rule": "empty" }), "empty"),
        (json!({ "rule": "unlimited" }), "unlimited"),
    ] {
        let config: BudgetConfig = from_value(written).unwrap();
        config.validate().unwrap();
        assert_eq!(from_value::<BudgetConfig>(to_value(config).unwrap()).unwrap(), config);
        let shown = format!("{:?}", Budget::with_config(config));
        assert!(shown.contains(rule), "{shown}");
    }
    for rule in ["share", "throttle", "standard", "concurrent", "empty", "unlimited"] {
        let unknown = from_value::<BudgetConfig>(json!({ "rule": rule, "no_such": 1 }));
        let unknown = unknown.unwrap_err().to_string();
        assert!(unknown.contains("no_such"), "{rule}: {unknown}");
    }
}

/// A status of HTTP does not hide what gRPC asks for.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_pushback_of_never_is_heard_whatever_the_status() {
    for status in [200, 429, 503] {
        let answer = move || {
            ::http::Response::builder()
                .status(status)
                .header("content-type", "application/grpc")
                .header("grpc-status", "14")
                .header("grpc-retry-pushback-ms", "-1")
        };
        assert_eq!(calls_until_the_end(config(3), answer).await, 1, "{status}");
    }
}

/// What of HTTP is tried again, and what is not.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn every_failure_by_status_is_tried_again() {
    for (status, calls) in [(200, 1), (404, 1), (429, 3), (500, 3), (502, 3), (503, 3), (504, 3)] {
        let answer = move || ::http::Response::builder().status(status);
        assert_eq!(calls_until_the_end(config(3), answer).await, calls, "{status}");
    }
}

#[cfg(feature = "http")]
async fn calls_until_the_end(
    config: RetryConfig,
    answer: impl Fn() -> ::http::response::Builder,
) -> usize {
    use tower_upstream::http::{HttpClassify, Idempotent};

    let calls = std::cell::Cell::new(0);
    let service = tower::service_fn(|_: ::http::Request<()>| {
        calls.set(calls.get() + 1);
        ready(Ok::<_, Error>(answer().body(()).unwrap()))
    });
    let request = ::http::Request::post("/").extension(Idempotent).body(()).unwrap();
    let policy = RetryPolicy::new(config).with_classify(HttpClassify);
    // The last answer is handed on as it is.
    let last = RetryLayer::new(policy).layer(service).oneshot(request).await.unwrap();
    assert_eq!(last.status(), answer().body(()).unwrap().status());
    calls.get()
}

/// Over a real client and a real server.
#[cfg(feature = "http")]
mod http {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use hyper_util::{
        client::legacy::{Client, connect::HttpConnector},
        rt::{TokioExecutor, TokioIo},
        service::TowerToHyperService,
    };
    use tokio::net::TcpListener;
    use tower_upstream::http::{HttpClassify, ReplayBody, ReplayBodyLayer};

    use super::*;

    /// What each request brought, by a server that answers 503 to the first `failures`, some of
    /// them before it has read the body.
    async fn server(failures: usize) -> (String, Arc<Mutex<Vec<usize>>>) {
        let seen = Arc::<Mutex<Vec<usize>>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let (noted, count) = (seen.clone(), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (noted, count) = (noted.clone(), count.clone());
                let service = service_fn(move |request: ::http::Request<hyper::body::Incoming>| {
                    let (noted, number) = (noted.clone(), count.fetch_add(1, SeqCst));
                    async move {
                        let mut response = ::http::Response::new(String::new());
                        if number < failures {
                            *response.status_mut() = ::http::StatusCode::SERVICE_UNAVAILABLE;
                        }
                        if number % 2 == 0 && number < failures {
                            return Ok::<_, Infallible>(response);
                        }
                        let bytes = request.into_body().collect().await;
                        noted.lock().unwrap().push(bytes.map_or(0, |b| b.to_bytes().len()));
                        Ok(response)
                    }
                });
                let server = hyper::server::conn::http1::Builder::new();
                let io = TokioIo::new(stream);
                tokio::spawn(server.serve_connection(io, TowerToHyperService::new(service)));
            }
        });
        (address, seen)
    }

    /// A stream of 40 chunks of 1,000 bytes.
    fn upload() -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static {
        StreamBody::new(futures::stream::unfold(0, |sent| async move {
            tokio::task::yield_now().await;
            let chunk = Frame::data(Bytes::from(vec![7; 1_000]));
            (sent < 40).then(|| (Ok::<_, BoxError>(chunk), sent + 1))
        }))
    }

    #[tokio::test]
    async fn an_upload_that_streams_is_sent_again_whole() {
        for (failures, cap, status) in [(3, 64 << 10, 200), (4, 64 << 10, 503), (1, 0, 503)] {
            let (address, seen) = server(failures).await;
            let config = RetryConfig::up_to(4).with_intervals(ms(1), ms(10));
            let client: Client<HttpConnector, ReplayBody> =
                Client::builder(TokioExecutor::new()).build_http();
            let service = ServiceBuilder::new()
                .layer(ReplayBodyLayer::new().with_cap(cap))
                .layer(RetryLayer::new(RetryPolicy::new(config).with_classify(HttpClassify)))
                .service(client);
            let request = ::http::Request::put(&address).body(upload()).unwrap();
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{failures} {cap}");
            if status == 200 {
                assert_eq!(seen.lock().unwrap().last(), Some(&40_000));
            }
        }
    }
}
