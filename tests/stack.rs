//! One rule for a whole stack.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use support::{Ask, secs};
use tower::{
    Service, ServiceBuilder, ServiceExt, layer::util::Identity, service_fn, timeout::TimeoutLayer,
};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Classify,
    ConcurrencyLimitLayer, Endpoint, FailoverLayer, HealthGateLayer, Outcome, Quota,
    RateLimitLayer,
    balance::RoundRobin,
    boxed::BoxUpstream,
    breaker::CircuitState,
    budget::{Budget, BudgetConfig, ThrottleBudget},
    builder::ServiceBuilderExt,
    connect::{EachLayer, NameEndpointLayer},
    connect_fn, discover,
    fallback::FallbackLayer,
    health::check_fn,
    outcome::{ByAnswer, Repeat, by_answer},
    retry::{RetryConfig, RetryPolicy},
    stack::{Unjudged, WithClassify},
};

/// An answer of 500 and more is a failure; 501 is not worth another attempt.
#[derive(Clone)]
struct ByStatus(Arc<AtomicU32>);

impl<E> Classify<u16, E> for ByStatus {
    fn classify(&self, result: Result<&u16, &E>) -> Outcome {
        self.0.fetch_add(1, SeqCst);
        match result {
            Ok(500..) | Err(_) => Outcome::Failure,
            Ok(_) => Outcome::Success,
        }
    }

    fn repeat(&self, result: Result<&u16, &E>) -> Repeat {
        if let Ok(501) = result { Repeat::No } else { Repeat::Yes }
    }
}

fn throttle() -> Budget {
    Budget::with_config(BudgetConfig::Throttle(ThrottleBudget::default().with_max_tokens(10)))
}

/// Answers 200 from `good:1`, and with the number of the ask from all others.
#[derive(Clone)]
struct Client(bool);

impl Service<Ask> for Client {
    type Response = u16;
    type Error = BoxError;
    type Future = Ready<Result<u16, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        ready(Ok(if self.0 { 200 } else { ask.number as u16 }))
    }
}

fn client(endpoint: &Endpoint) -> Client {
    Client(endpoint.key() == "good:1")
}

#[tokio::test(start_paused = true)]
async fn one_rule_reaches_failover_breaker_budget_and_fallback() {
    let (rule, budget) = (ByStatus(Arc::default()), throttle());
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let failover = FailoverLayer::new(Attempts::up_to(2)).with_budget(budget.clone());
    let handle = failover.handle();
    let endpoints = discover::fixed(["bad:1", "good:1"]).unwrap();
    let layers = (
        RateLimitLayer::new(Quota::per_second(1_000).burst(1_000)),
        ConcurrencyLimitLayer::new(10),
        FallbackLayer::value(299),
        failover,
        BalanceLayer::new(endpoints, RoundRobin::starting_at(0)),
        HealthGateLayer::new(check_fn(|_| async { true })),
        breaker.clone(),
        EachLayer::new(Unjudged(TimeoutLayer::new(secs(1)))),
    );
    let stack =
        ServiceBuilder::new().layer(layers.with_classify(rule.clone())).service(connect_fn(client));
    let call = |status| stack.clone().oneshot(Ask::new(status));
    let bad = breaker.handle_for("bad:1");
    assert!(bad.is_none());
    // Tried elsewhere, and counted by the budget and the circuit.
    assert_eq!(call(503).await.unwrap(), 200);
    assert_eq!(handle.retries(), 1);
    assert_eq!(budget.available(), 4, "a failure takes a token, and a success brings a part of it");
    let bad = breaker.handle_for("bad:1").unwrap();
    assert_eq!(bad.state(), CircuitState::Closed);
    // Not worth another attempt: the fallback answers.
    let mut answered = Vec::new();
    while bad.state() == CircuitState::Closed {
        answered.push(call(501).await.unwrap());
    }
    assert!(answered.contains(&299), "{answered:?}");
    assert_eq!((handle.retries(), handle.stats().failed), (1, Some(1)));
    assert_eq!(budget.available(), 3, "and one that is not worth another attempt takes one, too");
    assert!(rule.0.load(SeqCst) > 6, "each layer asked");
}

#[tokio::test(start_paused = true)]
async fn without_it_they_differ_and_that_is_seen() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(
            discover::fixed(["bad:1", "good:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(breaker.clone().with_classify(ByStatus(Arc::default())))
        .service(connect_fn(client));
    assert_eq!(stack.oneshot(Ask::new(503)).await.unwrap(), 503, "a success for failover");
    assert_eq!(breaker.handle_for("bad:1").unwrap().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn one_rule_reaches_retries_and_their_budget() {
    let (rule, budget) = (ByStatus(Arc::default()), throttle());
    let fresh = budget.available();
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let retry = RetryPolicy::new(RetryConfig::up_to(3)).with_budget(budget.clone());
    let handle = retry.handle();
    let layers = (retry, breaker.clone()).with_classify(rule);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let service = ServiceBuilder::new().layer(layers).service(service_fn(move |ask: Ask| {
        counted.fetch_add(1, SeqCst);
        ready(Ok::<_, BoxError>(ask.number as u16))
    }));
    assert_eq!(service.clone().oneshot(Ask::new(200)).await.unwrap(), 200);
    assert_eq!(service.clone().oneshot(Ask::new(501)).await.unwrap(), 501);
    assert_eq!((calls.load(SeqCst), handle.retries()), (2, 0));
    // The second failure opens the circuit, and the retry after it is refused.
    service.oneshot(Ask::new(503)).await.unwrap_err();
    assert_eq!((calls.load(SeqCst), handle.retries()), (3, 1));
    assert_eq!(breaker.handle().state(), CircuitState::Open);
    assert_eq!((fresh, budget.available()), (4, 2), "two failures cost two tokens");
}

/// What can stand in a group, with the types that it has before and after.
#[test]
fn layers_that_judge_nothing_stay_as_they_are() {
    fn type_of<T>(_: &T) -> &'static str {
        std::any::type_name::<T>()
    }
    let layers = || {
        (
            (RateLimitLayer::new(Quota::per_second(1)).by_key(|ask: &Ask| ask.number),),
            RateLimitLayer::new(Quota::per_second(1)).wait(secs(1)),
            ConcurrencyLimitLayer::new(1).wait(secs(1)),
            NameEndpointLayer::new(),
            BoxUpstream::<Ask, u16>::layer(),
            EachLayer::new(Unjudged(Identity::new())),
        )
    };
    let judged = layers().with_classify(ByStatus(Arc::default()));
    assert_eq!(type_of(&judged), type_of(&layers()));
    let each = EachLayer::new(CircuitBreakerLayer::default()).with_classify(5);
    assert!(type_of(&each).contains("AtResponse<i32>"), "{}", type_of(&each));
}

#[cfg(feature = "http")]
#[test]
fn a_breaker_that_ends_calls_with_their_bodies_still_does() {
    use tower_upstream::{
        breaker::KeyedCircuitBreakerLayer,
        http::{AnswerLayer, AtBodyEnd, HttpClassify, OriginLayer, ReplayBodyLayer, TrackLayer},
    };

    let breaker = CircuitBreakerLayer::default().until_body_end(ByStatus(Arc::default()));
    let others =
        (AnswerLayer::new(), OriginLayer::new(), ReplayBodyLayer::new(), TrackLayer::new());
    let by_key = breaker.clone().by_key(|ask: &Ask| ask.number);
    let (_, breaker, by_key) = (others, breaker, by_key).with_classify(HttpClassify);
    let _: CircuitBreakerLayer<AtBodyEnd<HttpClassify>> = breaker;
    let _: KeyedCircuitBreakerLayer<_, AtBodyEnd<HttpClassify>> = by_key;
}

#[test]
fn a_rule_for_answers_judges_errors_of_any_type_as_the_default_does() {
    let rule =
        by_answer(|status: &u16| if *status < 500 { Outcome::Slow } else { Outcome::Failure });
    for (result, outcome) in [(Ok(200), Outcome::Slow), (Ok(500), Outcome::Failure)] {
        let result: Result<u16, BoxError> = result;
        assert_eq!(rule.classify(result.as_ref()), outcome);
    }
    assert_eq!(rule.classify(Err::<&u16, _>(&())), Outcome::Failure);
    assert_eq!(rule.classify(Err::<&u16, _>(&BoxError::from("broken"))), Outcome::Failure);
    fn is_rule<F>(_: &ByAnswer<F>) {}
    is_rule(&rule);
    assert!(format!("{rule:?}").starts_with("ByAnswer("));
}

#[tokio::test(start_paused = true)]
async fn retries_are_a_method_of_the_builder() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let service =
        ServiceBuilder::new().retries(RetryConfig::up_to(3)).service(service_fn(move |_: Ask| {
            let number = counted.fetch_add(1, SeqCst);
            ready(if number < 2 { Err(BoxError::from("broken")) } else { Ok(number) })
        }));
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn circuits_by_key_judge_by_the_rule_too() {
    let circuits = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1))
        .by_key(|ask: &Ask| ask.number);
    let layers = (FallbackLayer::value(299), circuits.clone());
    let service = ServiceBuilder::new()
        .layer(layers.with_classify(ByStatus(Arc::default())))
        .service(Client(false));
    assert_eq!(service.clone().oneshot(Ask::new(503)).await.unwrap(), 299);
    assert_eq!(circuits.handle_for(&503_u32).unwrap().state(), CircuitState::Open);
    assert_eq!(service.oneshot(Ask::new(404)).await.unwrap(), 404);
    assert_eq!(circuits.handle_for(&404_u32).unwrap().state(), CircuitState::Closed);
}
