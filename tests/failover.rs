//! What failing over promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    error::Error as _,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use support::{Answer, Ask, Farm, Probe, Readiness, ms, secs, seen, settle};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, Outcome,
    balance::{Balance, BalanceConfig, BalanceHandle, BalanceLayer, RoundRobin},
    budget::{Budget, BudgetConfig, ConcurrentBudget, StandardBudget, ThrottleBudget},
    connect_fn,
    discover::Memory,
    error::Kind,
    failover::Failover,
};

struct Stack<S = Failover<Balance<Probe, RoundRobin>>> {
    farm: Farm,
    endpoints: Memory,
    budget: Budget,
    handle: BalanceHandle,
    service: S,
}

fn farm(count: u8) -> (Farm, Memory) {
    let farm = Farm::default();
    let keys: Vec<String> = (0..count).map(|n| format!("{}:1", char::from(b'a' + n))).collect();
    keys.iter().for_each(|key| drop(farm.get(key)));
    (farm, Memory::new(&keys).unwrap())
}

fn stack(count: u8, attempts: Attempts) -> Stack {
    let (farm, endpoints) = farm(count);
    let budget = Budget::new(0.0, 0, 100);
    let balance =
        BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0)).layer(farm.clone());
    Stack {
        farm,
        endpoints,
        handle: balance.handle(),
        service: FailoverLayer::new(attempts).with_budget(budget.clone()).layer(balance),
        budget,
    }
}

impl<S> Stack<S>
where
    S: Service<Ask, Response = String, Error = Error> + Clone,
{
    async fn send(&self, ask: Ask) -> Result<String, Error> {
        self.service.clone().oneshot(ask).await
    }

    fn in_flight(&self) -> u32 {
        self.handle.members().iter().map(|m| m.in_flight()).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_goes_to_another_endpoint() {
    let it = stack(4, Attempts::up_to(4));
    it.farm.answers(Answer::Fails);
    it.farm.get("d:1").answers(Answer::Good);
    assert_eq!(it.send(Ask::new(1)).await.unwrap(), "d:1");
    let calls: Vec<_> = it.farm.all().iter().map(|inner| inner.calls()).collect();
    assert_eq!(calls, [1, 1, 1, 1]);
    let attempts: Vec<_> = it.farm.all().iter().map(|i| i.asks()[0].attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    assert_eq!((it.budget.available(), it.farm.violations()), (97, 0));
}

#[tokio::test(start_paused = true)]
async fn the_last_error_tells_the_whole_way() {
    let it = stack(3, Attempts::up_to(3).with_backoff(ms(100), secs(1)));
    it.farm.answers(Answer::FailsAfter(ms(20)));
    let start = Instant::now();
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 3));
    assert!(!error.is_refused() && !error.is_unsent());
    let took = error.duration().unwrap();
    assert!(took >= ms(60) && took <= start.elapsed(), "{took:?}");
    assert_eq!(error.history().len(), 3);
    assert!(error.history().iter().all(|e| e.kind() == Kind::Service));
    let mut broken = error.source().unwrap();
    while let Some(deeper) = broken.source() {
        broken = deeper;
    }
    assert_eq!(broken.to_string(), "broken");
    assert!(error.to_string().contains("3 attempts"), "{error}");
    assert_eq!(it.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_keeps_its_own_error() {
    let it = stack(3, Attempts::up_to(1));
    it.farm.answers(Answer::Fails);
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::Service, 1));
    assert_eq!(it.farm.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_attempts_than_endpoints_come_back_after_a_wait() {
    let it = stack(2, Attempts::up_to(5).with_backoff(ms(100), secs(1)));
    it.farm.answers(Answer::Fails);
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.attempts(), it.farm.calls()), (5, 5));
    assert_eq!(it.budget.available(), 96);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_sent_once_unless_it_was_not_sent() {
    let it = stack(3, Attempts::up_to(3));
    it.farm.answers(Answer::Fails);
    it.send(Ask::once(1)).await.unwrap_err();
    assert_eq!((it.farm.calls(), it.budget.available()), (1, 100));
    // Sent, and then abandoned for its time: not again either.
    let it = stack(3, Attempts::up_to(3).with_timeout(ms(50)));
    it.farm.answers(Answer::Never);
    let error = it.send(Ask::once(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false));
    assert_eq!(it.farm.calls(), 1);
    // Nobody was ready in the time of the attempt: nothing was sent, and it may go again.
    let it = stack(1, Attempts::up_to(3).with_timeout(ms(50)).with_backoff(ms(100), ms(100)));
    it.send(Ask::once(0)).await.unwrap();
    it.farm.is(Readiness::Pending);
    let farm = it.farm.clone();
    tokio::spawn(async move {
        sleep(ms(70)).await;
        farm.is(Readiness::Ready);
    });
    it.send(Ask::once(1)).await.unwrap();
    assert_eq!(it.farm.get("a:1").asks()[1].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_stops_it() {
    let it = stack(4, Attempts::up_to(4));
    while it.budget.withdraw() {}
    it.farm.answers(Answer::Fails);
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!((it.farm.calls(), error.attempts()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hung_attempt_goes_elsewhere_in_its_time() {
    let it = stack(2, Attempts::up_to(2).with_timeout(ms(50)));
    it.farm.get("a:1").answers(Answer::Never);
    let start = Instant::now();
    assert_eq!(it.send(Ask::new(1)).await.unwrap(), "b:1");
    assert!((ms(50)..=ms(52)).contains(&start.elapsed()));
    assert_eq!((it.farm.running(), it.in_flight()), (0, 0));
    it.farm.answers(Answer::Never);
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!((error.attempts(), error.history().len()), (2, 2));
    assert!(error.history().iter().all(|e| e.endpoint().is_some()));
    assert_eq!((it.farm.running(), it.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_overall_deadline_ends_it_and_leaves_nothing() {
    for by_request in [false, true] {
        let attempts = Attempts::up_to(5).with_timeout(ms(300)).with_backoff(ms(1), ms(1));
        let it = stack(5, if by_request { attempts } else { attempts.with_overall(secs(1)) });
        it.farm.answers(Answer::Never);
        let start = Instant::now();
        let ask = if by_request { Ask::new(1).until(start + secs(1)) } else { Ask::new(1) };
        // Held on to after it is done, as `join_all` does.
        let mut service = it.service.clone();
        let mut call = task::spawn(service.ready().await.unwrap().call(ask));
        let error = std::future::poll_fn(|cx| call.enter(|_, f| f.poll(cx))).await.unwrap_err();
        assert!((secs(1)..=secs(1) + ms(3)).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert_eq!((error.kind(), error.attempts()), (Kind::Timeout, 4));
        assert_eq!(error.history().len(), 3);
        assert_eq!((it.farm.running(), it.in_flight()), (0, 0), "the attempt runs on");
        let calls = it.farm.calls();
        sleep(secs(60)).await;
        assert_eq!(it.farm.calls(), calls);
        drop(call);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_deadlines_the_earlier_counts() {
    for (overall, deadline) in [(1, 3), (3, 1)] {
        let it = stack(2, Attempts::up_to(2).with_overall(secs(overall)));
        it.farm.answers(Answer::Never);
        let start = Instant::now();
        let ask = Ask::new(1).until(start + secs(deadline));
        let error = it.send(ask).await.unwrap_err();
        assert!((secs(1)..=secs(1) + ms(3)).contains(&start.elapsed()));
        assert_eq!((error.kind(), error.attempts()), (Kind::Timeout, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_that_could_not_end_in_time() {
    let it =
        stack(1, Attempts::up_to(5).with_overall(ms(500)).with_backoff(secs(3_600), secs(3_600)));
    it.farm.answers(Answer::FailsAfter(ms(100)));
    let start = Instant::now();
    let error = it.send(Ask::new(1)).await.unwrap_err();
    // The jitter may be kind enough for one more; the deadline is kept all the same.
    assert!(start.elapsed() <= ms(502), "{:?}", start.elapsed());
    assert!(error.attempts() >= 1);
    assert_eq!(it.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_stops_everything() {
    let it = stack(2, Attempts::up_to(5).with_backoff(secs(1), secs(10)));
    it.farm.answers(Answer::Never);
    let mut call = task::spawn(it.service.clone().oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    settle().await;
    assert_pending!(call.poll());
    assert_eq!((it.farm.running(), it.in_flight()), (1, 1));
    drop(call);
    assert_eq!((it.farm.running(), it.in_flight()), (0, 0));
    // Between two attempts.
    it.farm.answers(Answer::Fails);
    let waits = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
    sleep(ms(1)).await;
    let calls = it.farm.calls();
    waits.abort();
    sleep(secs(60)).await;
    assert!(it.farm.calls() <= calls + 1, "{} after {calls}", it.farm.calls());
    assert_eq!(it.in_flight(), 0);
    // Before its first poll.
    let mut service = it.service.clone();
    drop(service.ready().await.unwrap().call(Ask::new(1)));
    assert_eq!((it.farm.running(), it.in_flight()), (0, 0));
}

// Budgets that look at how attempts end.

fn with_rule(count: u8, attempts: Attempts, rule: BudgetConfig) -> Stack {
    let (farm, endpoints) = farm(count);
    let budget = Budget::with_config(rule);
    let balance =
        BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0)).layer(farm.clone());
    let handle = balance.handle();
    let service = FailoverLayer::new(attempts).with_budget(budget.clone()).layer(balance);
    Stack { farm, endpoints, budget, handle, service }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_sees_every_attempt_but_no_refusal() {
    let mut throttle = ThrottleBudget::default();
    (throttle.max_tokens, throttle.token_ratio) = (10, 1.0);
    let rule = BudgetConfig::Throttle(throttle);
    let it = with_rule(9, Attempts::up_to(9).with_backoff(ms(1), ms(1)), rule);
    it.farm.answers(Answer::Fails);
    it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!((it.farm.calls(), it.budget.available()), (5, 0));
    it.farm.answers(Answer::Good);
    for _ in 0..3 {
        it.send(Ask::new(1)).await.unwrap();
    }
    assert_eq!(it.budget.available(), 2);
    // Whom nobody could choose did not fail.
    for key in (b'a'..=b'i').map(|n| format!("{}:1", char::from(n))) {
        it.endpoints.remove(&key);
    }
    sleep(secs(2)).await;
    assert!(it.send(Ask::new(1)).await.unwrap_err().is_refused());
    assert_eq!(it.budget.available(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_given_back_by_attempts_that_go_well_elsewhere() {
    let mut standard = StandardBudget::default();
    standard.capacity = 28;
    let it = with_rule(2, Attempts::up_to(2), BudgetConfig::Standard(standard));
    it.farm.get("a:1").answers(Answer::Fails);
    for _ in 0..9 {
        assert_eq!(it.send(Ask::new(1)).await.unwrap(), "b:1");
        assert_eq!(it.budget.available(), 2);
    }
    it.farm.answers(Answer::Fails);
    for left in [1, 0, 0] {
        it.send(Ask::new(1)).await.unwrap_err();
        assert_eq!(it.budget.available(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_of_what_runs_is_given_back_however_it_ends() {
    let mut share = ConcurrentBudget::default();
    (share.percent, share.min) = (50.0, 0);
    let it = with_rule(2, Attempts::up_to(3), BudgetConfig::Concurrent(share));
    it.farm.answers(Answer::Never);
    let mut calls: Vec<_> =
        (0..4).map(|_| task::spawn(it.service.clone().oneshot(Ask::new(1)))).collect();
    calls.iter_mut().for_each(|call| assert_pending!(call.poll()));
    settle().await;
    calls.iter_mut().for_each(|call| assert_pending!(call.poll()));
    assert_eq!(it.budget.available(), 2);
    // The fifth may try again, and its second attempt hangs.
    it.farm.get("a:1").answers(Answer::Fails);
    let mut fifth = task::spawn(it.service.clone().oneshot(Ask::new(1)));
    assert_pending!(fifth.poll());
    assert_eq!(it.budget.available(), 1);
    drop(fifth);
    assert_eq!(it.budget.available(), 2);
    drop(calls);
    assert_eq!(it.budget.available(), 0);
    // What is over does not run, though it is kept.
    it.farm.answers(Answer::Good);
    let mut service = it.service.clone();
    let mut over: Vec<_> = Vec::new();
    for _ in 0..4 {
        let mut call = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
        std::future::poll_fn(|cx| call.enter(|_, f| f.poll(cx))).await.unwrap();
        over.push(call);
    }
    assert_eq!(it.budget.available(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_when_the_time_is_over() {
    let mut share = ConcurrentBudget::default();
    (share.percent, share.min) = (0.0, 1);
    let attempts = Attempts::up_to(3).with_overall(ms(50));
    let it = with_rule(2, attempts, BudgetConfig::Concurrent(share));
    it.farm.get("a:1").answers(Answer::Fails);
    it.farm.get("b:1").answers(Answer::Never);
    let mut service = it.service.clone();
    let mut call = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(call.poll());
    assert_eq!((it.farm.calls(), it.budget.available()), (2, 0));
    let error = std::future::poll_fn(|cx| call.enter(|_, f| f.poll(cx))).await.unwrap_err();
    assert_eq!((error.kind(), it.budget.available()), (Kind::Timeout, 1));
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_paid_goes_with_it_past_a_refusal() {
    let standard = StandardBudget::default().with_capacity(28);
    let share = ConcurrentBudget::default().with_percent(0.0).with_min(1);
    // How many retries are left while the retry runs, and when it has gone well.
    for (rule, during, after) in
        [(BudgetConfig::Standard(standard), 1, 2), (BudgetConfig::Concurrent(share), 0, 1)]
    {
        let (mut it, _) = guarded(0, Attempts::up_to(3), Budget::with_config(rule));
        it.endpoints.insert("a:1").unwrap();
        it.endpoints.insert(refusing("b:1")).unwrap();
        it.endpoints.insert("c:1").unwrap();
        it.farm.get("a:1").answers(Answer::Fails);
        it.farm.get("c:1").answers(Answer::GoodAfter(secs(1)));
        let call = tokio::spawn(it.service.ready().await.unwrap().call(Ask::new(1)));
        sleep(ms(500)).await;
        assert_eq!((it.farm.get("a:1").calls(), it.farm.get("c:1").calls()), (1, 1));
        assert_eq!(it.budget.available(), during, "{rule:?}");
        assert_eq!(call.await.unwrap().unwrap(), "c:1");
        assert_eq!(it.budget.available(), after, "{rule:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_mistakes_cost_a_throttle_nothing() {
    let throttle = ThrottleBudget::default().with_max_tokens(10);
    let budget = Budget::with_config(BudgetConfig::Throttle(throttle));
    let (_, endpoints) = farm(1);
    let mistake: Error = "nonsense".parse::<Endpoint>().unwrap_err();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)).with_budget(budget.clone()))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(connect_fn(move |_: &Endpoint| {
            let mistake = mistake.clone();
            tower::service_fn(move |_: Ask| std::future::ready(Err::<String, _>(mistake.clone())))
        }));
    let before = budget.available();
    for _ in 0..10 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    assert_eq!(budget.available(), before);
}

#[tokio::test(start_paused = true)]
async fn a_call_puts_its_share_in_once_when_it_was_sent() {
    let (farm, endpoints) = farm(2);
    let budget = Budget::new(0.25, 0, 100);
    while budget.withdraw() {}
    let circuit = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let service = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(2).with_overall(secs(1)))
                .with_budget(budget.clone()),
        )
        .layer(circuit.clone())
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(farm.clone());
    let send = async |answer, ask: Ask| {
        farm.answers(answer);
        service.clone().oneshot(ask).await.is_ok()
    };
    circuit.handle().force_open();
    for _ in 0..100 {
        assert!(!send(Answer::Good, Ask::new(1)).await);
    }
    assert_eq!(budget.available(), 0, "nothing was sent");
    circuit.handle().auto();
    assert!(send(Answer::Good, Ask::new(1)).await);
    assert!(!send(Answer::Fails, Ask::once(1)).await);
    assert!(!send(Answer::Never, Ask::new(1)).await, "its time is over");
    assert_eq!(budget.available(), 0);
    assert!(send(Answer::Good, Ask::new(1)).await);
    assert_eq!(budget.available(), 1);
    // A retry is no further call: the fourth of the next ones makes it whole.
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(budget.available(), 0);
    for whole in [0, 0, 1] {
        assert!(send(Answer::Good, Ask::new(1)).await);
        assert_eq!(budget.available(), whole);
    }
}

// Refusals.

fn guarded(
    count: u8,
    attempts: Attempts,
    budget: Budget,
) -> (
    Stack<impl Service<Ask, Response = String, Error = Error, Future: Send> + Clone>,
    CircuitBreakerLayer,
) {
    let (farm, endpoints) = farm(count);
    // Refuses in `call`, and says so by no veto, as a keyed guard does.
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let guard = layer.clone();
    let inner = farm.clone();
    let refusing = guard.fresh();
    refusing.handle().force_open();
    let connect = connect_fn(move |endpoint: &Endpoint| {
        let refuses = inner.get(endpoint.key()).asks().is_empty() && endpoint.weight() == 7;
        let guard = if refuses { refusing.clone() } else { guard.fresh() };
        guard.layer(inner.get(endpoint.key()).service())
    });
    let balance = BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0)).layer(connect);
    let service = FailoverLayer::new(attempts).with_budget(budget.clone());
    let stack = Stack {
        farm,
        endpoints,
        handle: balance.handle(),
        service: service.layer(balance),
        budget,
    };
    (stack, layer)
}

fn refusing(key: &str) -> Endpoint {
    Endpoint::new(key).unwrap().with_weight(7)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_below_goes_elsewhere_once_each_and_for_free() {
    // More refusals than attempts, and a request that may be sent only once.
    let (it, _) = guarded(0, Attempts::up_to(2), Budget::new(0.0, 0, 100));
    for key in ["a:1", "b:1", "c:1", "d:1"] {
        it.endpoints.insert(refusing(key)).unwrap();
    }
    it.endpoints.insert("e:1").unwrap();
    assert_eq!(it.send(Ask::once(1)).await.unwrap(), "e:1");
    assert_eq!(it.budget.available(), 100);
    assert_eq!(it.farm.get("e:1").asks()[0].attempt, 1, "refusals are no attempts");
    // All refuse: each is asked once, and it is a refusal in the end.
    it.endpoints.remove("e:1");
    settle().await;
    let error = it.send(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.history().len(), 4, "{error:?}");
    assert!(error.is_unsent() && error.is_refused(), "{error:?}");
    assert_eq!(it.budget.available(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_all_refuse_is_no_failure_for_a_breaker_above() {
    let (it, _) = guarded(0, Attempts::up_to(2), Budget::new(0.0, 0, 100));
    for key in ["a:1", "b:1"] {
        it.endpoints.insert(refusing(key)).unwrap();
    }
    let above = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(1));
    let service = above.layer(it.service.clone());
    for _ in 0..5 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    let stats = seen(&above.handle());
    assert_eq!((stats.failed, stats.ignored), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_above_is_final() {
    let (farm, endpoints) = farm(3);
    let between = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let budget = Budget::new(0.0, 0, 100);
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_budget(budget.clone()))
        .layer(between.clone())
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(farm.clone());
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    between.handle().force_open();
    let error = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CircuitOpen);
    assert!(error.is_refused() && error.history().is_empty());
    assert_eq!((seen(&between.handle()).refused, budget.available()), (1, 100));
    // `Choose` passes through it: attempts go to different endpoints.
    between.handle().auto();
    farm.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let calls: Vec<_> = farm.all().iter().map(|inner| inner.calls()).collect();
    assert_eq!(calls.iter().sum::<usize>(), 4);
    assert!(calls.iter().all(|&n| n >= 1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_to_choose_is_final() {
    let (farm, endpoints) = farm(0);
    let config = BalanceConfig::default().with_fail_fast_after(ms(100));
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::with_config(endpoints, RoundRobin::starting_at(0), config))
        .service(farm);
    let start = Instant::now();
    let error = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_refused()), (Kind::NoEndpoints, true));
    assert!(start.elapsed() <= ms(102));
}

// What is a failure.

#[tokio::test(start_paused = true)]
async fn a_plugins_own_error_is_not_repeated() {
    let (_, endpoints) = farm(3);
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = calls.clone();
    // An error of ours as a transport would give it.
    let config: Error = "nonsense".parse::<Endpoint>().unwrap_err();
    assert_eq!(config.kind(), Kind::InvalidConfig);
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(connect_fn(move |_: &Endpoint| {
            let (counted, error) = (counted.clone(), config.clone());
            tower::service_fn(move |_: Ask| {
                counted.fetch_add(1, SeqCst);
                std::future::ready(Err::<String, _>(error.clone()))
            })
        }));
    let error = service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), calls.load(SeqCst)), (Kind::InvalidConfig, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_are_judged_by_the_rule_and_the_last_one_is_given() {
    let (farm, endpoints) = farm(3);
    let bad = |result: Result<&String, &Error>| match result {
        Ok(key) if key != "c:1" => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    let over = |attempts| {
        ServiceBuilder::new()
            .layer(FailoverLayer::new(attempts).with_classify(bad))
            .layer(BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0)))
            .service(farm.clone())
    };
    let service = over(Attempts::up_to(3));
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "c:1");
    let service = over(Attempts::up_to(2));
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "b:1");
    assert_eq!(service.oneshot(Ask::once(1)).await.unwrap(), "c:1");
}

#[tokio::test(start_paused = true)]
async fn a_busy_endpoint_is_given_the_time_it_asks_for() {
    let (farm, endpoints) = farm(1);
    let overloaded = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = overloaded.clone();
    let rule = move |_: Result<&String, &Error>| match seen.fetch_add(1, SeqCst) {
        0 => Outcome::Overload { retry_after: Some(secs(3)) },
        _ => Outcome::Success,
    };
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(rule))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(farm.clone());
    let start = Instant::now();
    service.oneshot(Ask::new(1)).await.unwrap();
    assert!((secs(3)..=secs(3) + ms(2)).contains(&start.elapsed()));
    assert_eq!(farm.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_day_because_an_endpoint_asks_for_it() {
    for (asked, most, calls) in [(86_400, 5, 1), (6, 5, 1), (6, 6, 2)] {
        let (farm, endpoints) = farm(1);
        let busy =
            move |_: Result<&String, &Error>| Outcome::Overload { retry_after: Some(secs(asked)) };
        let attempts = Attempts::up_to(2).with_max_retry_after(secs(most));
        let service = ServiceBuilder::new()
            .layer(FailoverLayer::new(attempts).with_classify(busy))
            .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
            .service(farm.clone());
        let start = Instant::now();
        // The answer is handed up as it is.
        assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "a:1");
        assert_eq!(farm.calls(), calls);
        let waited = if calls == 1 { 0 } else { asked };
        assert!((secs(waited)..=secs(waited) + ms(2)).contains(&start.elapsed()));
    }
}

#[tokio::test(start_paused = true)]
async fn no_copy_is_made_for_which_there_is_no_use() {
    for (endpoints, attempts, copies) in [(1, 1, 0), (1, 2, 1), (1, 3, 2), (2, 2, 1)] {
        let (farm, endpoints) = farm(endpoints);
        farm.answers(Answer::Fails);
        let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = made.clone();
        let copy = move |ask: &Ask| {
            counted.fetch_add(1, SeqCst);
            Some(ask.clone())
        };
        let service = ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(attempts)).with_replay(copy))
            .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
            .service(farm.clone());
        service.oneshot(Ask::new(1)).await.unwrap_err();
        assert_eq!(farm.calls(), attempts as usize);
        let spare = usize::from(farm.all().len() > 1);
        assert_eq!(made.load(SeqCst), copies + spare, "of {attempts} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_panics_takes_its_call_along_and_nothing_else() {
    let (farm, endpoints) = farm(2);
    let rule = |result: Result<&String, &Error>| match result {
        Ok(key) if key == "a:1" => panic!("the rule of a user panics"),
        _ => Outcome::Success,
    };
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(farm.clone());
    let handle = balance.handle();
    let service = FailoverLayer::new(Attempts::up_to(3)).with_classify(rule).layer(balance);
    let unlucky = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    assert!(unlucky.await.unwrap_err().is_panic());
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "b:1");
    assert!(handle.members().iter().all(|m| m.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_typed_call_tells_the_attempt_and_keeps_its_deadline() {
    let (_, endpoints) = farm(2);
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(connect_fn(|_: &Endpoint| {
            tower::service_fn(|call: Call<u32>| async move {
                match call.attempt() {
                    1 => Err(BoxError::from("broken")),
                    _ => std::future::pending::<Result<u32, BoxError>>().await,
                }
            })
        }));
    let start = Instant::now();
    let call = Call::new(1).idempotent().with_timeout(secs(2));
    let error = service.clone().oneshot(call).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::Timeout, 2));
    assert!((secs(2)..=secs(2) + ms(2)).contains(&start.elapsed()));
    let once = service.oneshot(Call::new(1)).await.unwrap_err();
    assert_eq!((once.kind(), once.attempts()), (Kind::Service, 1));
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_body_that_streams_is_sent_once() {
    use http_body_util::{Full, StreamBody};

    type Streaming =
        StreamBody<futures::stream::Empty<Result<http_body::Frame<bytes::Bytes>, BoxError>>>;
    fn failing<B: 'static>(
        endpoints: Memory,
        calls: Arc<std::sync::atomic::AtomicUsize>,
    ) -> impl Service<http::Request<B>, Response = (), Error = Error> {
        ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(3)))
            .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
            .service(connect_fn(move |_: &Endpoint| {
                let calls = calls.clone();
                tower::service_fn(move |_: http::Request<B>| {
                    calls.fetch_add(1, SeqCst);
                    std::future::ready(Err::<(), BoxError>("broken".into()))
                })
            }))
    }
    let (_, endpoints) = farm(3);
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let streaming: http::Request<Streaming> =
        http::Request::get("http://x/").body(StreamBody::new(futures::stream::empty())).unwrap();
    let error = failing(endpoints.clone(), calls.clone()).oneshot(streaming).await.unwrap_err();
    assert_eq!((error.kind(), calls.swap(0, SeqCst)), (Kind::Service, 1));
    let full = http::Request::get("http://x/").body(Full::new(bytes::Bytes::new())).unwrap();
    failing(endpoints.clone(), calls.clone()).oneshot(full).await.unwrap_err();
    assert_eq!(calls.swap(0, SeqCst), 3);
    let post = http::Request::post("http://x/").body(Full::new(bytes::Bytes::new())).unwrap();
    failing(endpoints, calls.clone()).oneshot(post).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 1);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_pushback_of_grpc_is_heard() {
    use tower_upstream::http::{HttpClassify, Idempotent};

    for (status, pushback, calls, waits) in [
        (200, "-1", 1, 0),
        (200, "soon", 1, 0),
        (503, "-1", 1, 0),
        // Another endpoint at once; then the one that asked, when it asked for it.
        (200, "4000", 3, 4),
        (503, "4000", 3, 4),
        (200, "6000", 2, 0),
    ] {
        let (_, endpoints) = farm(2);
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = sent.clone();
        let throttle = ThrottleBudget::default().with_max_tokens(100);
        let budget = Budget::with_config(BudgetConfig::Throttle(throttle));
        let layer = FailoverLayer::new(Attempts::up_to(3)).with_budget(budget.clone());
        let service = ServiceBuilder::new()
            .layer(layer.with_classify(HttpClassify))
            .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
            .service(connect_fn(move |_: &Endpoint| {
                let counted = counted.clone();
                tower::service_fn(move |_: http::Request<()>| {
                    counted.fetch_add(1, SeqCst);
                    let answer = http::Response::builder()
                        .status(status)
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "14")
                        .header("grpc-retry-pushback-ms", pushback)
                        .body(());
                    std::future::ready(Ok::<_, Error>(answer.unwrap()))
                })
            }));
        let start = Instant::now();
        let request = http::Request::post("http://x/").extension(Idempotent).body(()).unwrap();
        let left = budget.available();
        assert_eq!(service.oneshot(request).await.unwrap().status(), status);
        assert_eq!(sent.load(SeqCst), calls, "{status} {pushback}");
        assert_eq!(left - budget.available(), calls as u32, "each is a failure");
        let took = start.elapsed();
        assert!((secs(waits)..=secs(waits) + ms(2)).contains(&took), "{pushback}: {took:?}");
    }
}
