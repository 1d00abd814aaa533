//! Which end a call came to, and what each end says: the same for breakers and for members.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use support::{Answer, Ask, Farm, ms, secs, seen, settle};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest, Outcome,
    balance::RoundRobin,
    breaker::{Cancelled, CircuitHandle, CircuitState},
    budget::Budget,
    choose::{Choose, Chooses, Tried},
    connect::EachLayer,
    connect_fn, discover,
    error::Kind,
    member::Member,
};

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(5))
}

fn failures(handle: &CircuitHandle) -> (u64, u64) {
    let stats = seen(handle);
    (stats.failed, stats.ignored)
}

/// What the only member makes of one call that `end` ends.
async fn one_call(
    attempts: Attempts,
    ask: Ask,
    answer: Answer,
) -> (Result<String, Error>, Arc<Member>, CircuitHandle) {
    let farm = Farm::default();
    farm.get("a:1").answers(answer);
    let breaker = breaker();
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(breaker.layer(farm.clone()));
    let handle = set.handle();
    let member = || handle.members()[0].clone();
    let result = FailoverLayer::new(attempts).layer(set.clone()).oneshot(ask).await;
    assert_eq!(member().in_flight(), 0);
    (result, member(), breaker.handle_for("a:1").unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_passed_over_after_the_breakers_own_number_of_attempts() {
    let farm = Farm::default();
    farm.get("bad:1").answers(Answer::Never);
    farm.get("good:1");
    let breaker = breaker();
    let set = BalanceLayer::new(
        discover::fixed(["bad:1", "good:1"]).unwrap(),
        RoundRobin::starting_at(0),
    )
    .layer(breaker.layer(farm.clone()));
    let handle = set.handle();
    let attempts = Attempts::up_to(2).with_timeout(ms(100));
    let stack = FailoverLayer::new(attempts).with_budget(Budget::unlimited()).layer(set);
    let mut late = 0;
    for number in 0..100 {
        let start = Instant::now();
        assert_eq!(stack.clone().oneshot(Ask::new(number)).await.unwrap(), "good:1");
        late += u32::from(start.elapsed() >= ms(100));
    }
    assert_eq!(late, 5);
    assert_eq!(breaker.handle_for("bad:1").unwrap().state(), CircuitState::Open);
    let bad = handle.members().iter().find(|member| member.key() == "bad:1").unwrap().clone();
    assert_eq!((bad.failures(), bad.in_flight()), (5, 0));
    assert!(bad.latency().unwrap() >= secs(1), "failing late is no better than failing fast");
}

#[tokio::test(start_paused = true)]
async fn each_end_has_one_meaning_for_breaker_and_member() {
    let limit = || Instant::now() + ms(30);
    let never = Answer::Never;
    // The attempt's own timeout: the endpoint's failure.
    let (result, member, circuit) =
        one_call(Attempts::up_to(1).with_timeout(ms(30)), Ask::new(1), never).await;
    assert!(result.unwrap_err().is_timeout());
    assert_eq!((member.failures(), failures(&circuit)), (1, (1, 0)));
    // The caller's deadline, and the limit of the whole call: cancelled.
    for (attempts, ask) in [
        (Attempts::up_to(1), Ask::new(1).until(limit())),
        (Attempts::up_to(1).with_overall(ms(30)), Ask::new(1)),
    ] {
        let (result, member, circuit) = one_call(attempts, ask, never).await;
        let error = result.unwrap_err();
        assert!(error.is_timeout() && !error.is_unsent());
        assert_eq!((member.failures(), failures(&circuit)), (0, (0, 1)));
    }
    // Where both are due, the one that ends the attempt is the one that comes first.
    let (_, member, _) =
        one_call(Attempts::up_to(1).with_timeout(ms(31)), Ask::new(1).until(limit()), never).await;
    assert_eq!(member.failures(), 0, "the deadline cut the attempt short");
    let (_, member, _) =
        one_call(Attempts::up_to(1).with_timeout(ms(29)), Ask::new(1).until(limit()), never).await;
    assert_eq!(member.failures(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_ends_that_are_both_over_when_somebody_looks_the_earlier_one_was_first() {
    for (attempt, deadline, failures) in [(20, 30, 1), (30, 20, 0), (20, 20, 0)] {
        let farm = Farm::default();
        farm.get("a:1").answers(Answer::Never);
        let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
            .layer(farm.clone());
        let mut stack =
            FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(attempt))).layer(set.clone());
        stack.ready().await.unwrap();
        let ask = Ask::new(1).until(Instant::now() + ms(deadline));
        let mut call = tokio_test::task::spawn(stack.call(ask));
        assert!(call.poll().is_pending());
        // Nothing was polled while both passed.
        tokio::time::advance(ms(100)).await;
        let error = tokio_test::assert_ready!(call.poll()).unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(set.handle().members()[0].failures(), failures, "{attempt} {deadline}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_calls_with_a_deadline_are_as_five_that_are_dropped() {
    for by_deadline in [true, false] {
        let farm = Farm::default();
        farm.get("a:1").answers(Answer::Never);
        let breaker = breaker();
        let stack = ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(3)))
            .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
            .layer(breaker.clone())
            .service(farm.clone());
        for number in 0..5 {
            let ask = Ask::new(number);
            if by_deadline {
                let ask = ask.until(Instant::now() + ms(3));
                stack.clone().oneshot(ask).await.unwrap_err();
            } else {
                timeout(ms(3), stack.clone().oneshot(ask)).await.unwrap_err();
            }
        }
        let circuit = breaker.handle_for("a:1").unwrap();
        assert_eq!((circuit.state(), failures(&circuit)), (CircuitState::Closed, (0, 5)));
    }
}

#[tokio::test(start_paused = true)]
async fn past_slow_after_the_policy_for_cancelled_calls_decides() {
    for (cancelled, expected) in
        [(Cancelled::FailureIfSlow, 1), (Cancelled::Ignored, 0), (Cancelled::Failure, 1)]
    {
        let farm = Farm::default();
        farm.get("a:1").answers(Answer::Never);
        let config =
            CircuitBreakerConfig::consecutive(5).with_slow_after(ms(200)).with_cancelled(cancelled);
        let breaker = CircuitBreakerLayer::new(config);
        let stack = ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(1)))
            .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
            .layer(breaker.clone())
            .service(farm);
        stack.oneshot(Ask::new(1).until(Instant::now() + ms(250))).await.unwrap_err();
        assert_eq!(failures(&breaker.handle_for("a:1").unwrap()).0, expected, "{cancelled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_above_the_balancer_counts_the_attempts_that_timed_out() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let above = breaker();
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(farm.clone());
    let stack =
        FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))).layer(above.layer(set.clone()));
    for number in 0..5 {
        stack.clone().oneshot(Ask::new(number)).await.unwrap_err();
    }
    assert_eq!(above.handle().state(), CircuitState::Open);
    // Above the failover, a call that its deadline ended is one that was cancelled.
    let outer = breaker();
    let stack = outer.layer(FailoverLayer::new(Attempts::up_to(1)).layer(set));
    for number in 0..5 {
        let ask = Ask::new(number).until(Instant::now() + ms(5));
        stack.clone().oneshot(ask).await.unwrap_err();
    }
    assert_eq!(failures(&outer.handle()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_stack_inside_the_endpoint_that_times_out_is_only_cancelled() {
    // Each endpoint of the outer stack is a balanced stack of its own.
    let farm = Farm::default();
    farm.get("inner:1").answers(Answer::Never);
    let (outer, inner) = (breaker(), breaker());
    let set = BalanceLayer::new(discover::fixed(["inner:1"]).unwrap(), LeastRequest::new())
        .layer(inner.layer(farm.clone()));
    let members = set.handle();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))))
        .layer(BalanceLayer::new(discover::fixed(["outer:1"]).unwrap(), LeastRequest::new()))
        .layer(outer.clone())
        .service(connect_fn(move |_: &Endpoint| set.clone()));
    stack.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(failures(&outer.handle_for("outer:1").unwrap()), (1, 0));
    assert_eq!(failures(&inner.handle_for("inner:1").unwrap()), (0, 1));
    assert_eq!(members.members()[0].failures(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_its_own_inside_the_endpoint_sees_a_call_that_was_dropped() {
    // It belongs to no member, and may stand before something else than the endpoint.
    let (farm, inside) = (Farm::default(), breaker());
    farm.get("a:1").answers(Answer::Never);
    let (layer, inner) = (inside.clone(), farm.get("a:1"));
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(connect_fn(move |_: &Endpoint| layer.layer(inner.service())));
    stack.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(failures(&inside.handle()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_reached_the_endpoint_says_nothing_about_it() {
    let farm = Farm::default();
    farm.get("a:1").is(support::Readiness::Pending);
    let breaker = breaker();
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(breaker.layer(farm.clone()));
    let handle = set.handle();
    let stack = FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))).layer(set);
    let error = stack.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert!(error.is_timeout() && error.is_unsent());
    assert_eq!(handle.members()[0].failures(), 0);
    assert_eq!(failures(&breaker.handle_for("a:1").unwrap()).0, 0);
}

/// Runs each call in a task of its own, which is aborted when the call is dropped.
#[derive(Clone)]
struct Spawned<S>(S);

impl<S> Service<Ask> for Spawned<S>
where
    S: Service<Ask, Error: Into<BoxError> + Send, Response: Send, Future: Send> + Clone + Send,
    S: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let mut tasks = tokio::task::JoinSet::new();
        let service = self.0.clone();
        tasks.spawn(async move { service.oneshot(ask).await.map_err(Into::into) });
        Box::pin(async move { tasks.join_next().await.unwrap().unwrap() })
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_task_of_its_own_an_attempt_that_timed_out_is_cancelled() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let breaker = breaker();
    let behind = EachLayer::new(tower::layer::layer_fn(Spawned)).layer(breaker.layer(farm.clone()));
    let set =
        BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()).layer(behind);
    let stack = FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))).layer(set.clone());
    stack.oneshot(Ask::new(1)).await.unwrap_err();
    settle().await;
    let member = set.handle().members()[0].clone();
    assert_eq!(member.failures(), 1, "the member is this side of the task");
    assert_eq!(failures(&breaker.handle_for("a:1").unwrap()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_came_too_late_is_never_handed_on() {
    let farm = Farm::default();
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(farm.clone());
    let handle = set.handle();
    let mut stack = FailoverLayer::new(Attempts::up_to(3)).layer(set);
    stack.ready().await.unwrap().call(Ask::new(0)).await.unwrap();
    for late in [Instant::now(), Instant::now() - ms(1)] {
        let error = stack.ready().await.unwrap().call(Ask::new(1).until(late)).await.unwrap_err();
        assert!(error.is_timeout() && error.is_unsent() && !error.is_refused(), "{error:?}");
    }
    assert_eq!((farm.calls(), handle.members()[0].calls()), (1, 1));
    // Nor does it count for a breaker above.
    let outer = breaker();
    let stack = outer.layer(stack);
    for number in 0..5 {
        stack.clone().oneshot(Ask::new(number).until(Instant::now())).await.unwrap_err();
    }
    assert_eq!((outer.handle().state(), farm.calls()), (CircuitState::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_between_two_attempts_sends_no_further_one() {
    let farm = Farm::default();
    for key in ["a:1", "b:1", "c:1"] {
        farm.get(key).answers(Answer::FailsAfter(ms(4)));
    }
    let stack = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(3).with_backoff(secs(1), secs(1)))
                .with_classify(|_: Result<&String, &Error>| Outcome::Failure),
        )
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .service(farm.clone());
    let error = stack.oneshot(Ask::new(1).until(Instant::now() + ms(6))).await.unwrap_err();
    assert!([Kind::Timeout, Kind::RetryExhausted].contains(&error.kind()), "{error}");
    assert_eq!((farm.calls(), farm.running()), (2, 0));
    assert!(farm.all().iter().all(|inner| inner.violations.load(SeqCst) == 0));
}

#[tokio::test(start_paused = true)]
async fn the_scope_of_one_attempt_ends_with_it() {
    // An attempt times out at one endpoint; the next call to it is dropped by its caller.
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let breaker = breaker();
    let member_service = breaker.layer(farm.clone());
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(member_service);
    let stack = FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(10))).layer(set);
    stack.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let mut stack = stack;
    drop(timeout(ms(1), stack.ready().await.unwrap().call(Ask::new(2))).await);
    assert_eq!(failures(&breaker.handle_for("a:1").unwrap()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_says_why_the_call_was_not_sent_again() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").answers(Answer::Fails);
    let set =
        BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::starting_at(0))
            .layer(farm.clone());
    let error = |layer: FailoverLayer| {
        let stack = layer.layer(set.clone());
        async move { stack.oneshot(Ask::new(1)).await.unwrap_err().to_string() }
    };
    let spent = error(FailoverLayer::new(Attempts::up_to(3)).with_budget(Budget::none())).await;
    assert!(spent.contains("budget is spent"), "{spent}");
    let all = error(FailoverLayer::new(Attempts::up_to(2))).await;
    assert!(!all.contains("not sent again"), "{all}");
    let uncopied = FailoverLayer::new(Attempts::up_to(3)).with_replay(|_: &Ask| None);
    let uncopied = uncopied.layer(set.clone()).oneshot(Ask::new(1)).await.unwrap_err().to_string();
    // A closure that copies nothing says that nothing is safe to repeat.
    assert!(uncopied.contains("broken"), "{uncopied}");
}

/// A layer between failover and balancer that reserves something in `poll_ready`.
struct Reserving<S> {
    inner: S,
    reserved: Arc<AtomicUsize>,
    ready: bool,
}

impl<S> Reserving<S> {
    fn release(&mut self) {
        if std::mem::take(&mut self.ready) {
            self.reserved.fetch_sub(1, SeqCst);
        }
    }
}

impl<S: Clone> Clone for Reserving<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), reserved: self.reserved.clone(), ready: false }
    }
}

impl<S> Drop for Reserving<S> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<S: Service<Ask>> Service<Ask> for Reserving<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        std::task::ready!(self.inner.poll_ready(cx))?;
        if !std::mem::replace(&mut self.ready, true) {
            self.reserved.fetch_add(1, SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> S::Future {
        self.release();
        self.inner.call(ask)
    }
}

impl<S: Chooses> Chooses for Reserving<S> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }
}

impl<S: Choose<Ask>> Choose<Ask> for Reserving<S> {
    type Choosing = S::Choosing;

    fn call_avoiding(&mut self, ask: Ask, tried: &Tried) -> S::Choosing {
        self.release();
        self.inner.call_avoiding(ask, tried)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_came_too_late_gives_back_what_readiness_reserved() {
    let farm = Farm::default();
    let reserved = Arc::new(AtomicUsize::new(0));
    let inner = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .layer(farm.clone());
    let reserving = Reserving { inner, reserved: reserved.clone(), ready: false };
    let mut kept = FailoverLayer::new(Attempts::up_to(2)).layer(reserving);
    kept.ready().await.unwrap();
    assert_eq!(reserved.load(SeqCst), 1);
    let late = kept.call(Ask::new(1).until(Instant::now()));
    assert_eq!(reserved.load(SeqCst), 0, "neither the service nor the future keeps it");
    assert!(late.await.unwrap_err().is_timeout());
    kept.ready().await.unwrap().call(Ask::new(2)).await.unwrap();
    assert_eq!((reserved.load(SeqCst), farm.calls()), (0, 1));
}
