//! A second attempt of a call, at another endpoint, beside one that takes long.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, Readiness, ms, secs, settle};
use tokio::time::{Instant, sleep};
use tokio_test::task;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, CircuitBreakerConfig, CircuitBreakerLayer, Error, FailoverLayer, Outcome,
    balance::{BalanceHandle, BalanceLayer, Pick, PickFirst, RoundRobin, Seeded},
    budget::{Budget, BudgetConfig, ConcurrentBudget},
    choose::{Choose, Chooses, Tried},
    discover,
    error::Kind,
    failover::{FailoverHandle, Hedge},
    health::HealthGateLayer,
    limit::{ConcurrencyLimitHandle, ConcurrencyLimitLayer},
    member::Reason,
    telemetry::{EventKind, Events, History},
};

/// Calls at a:1, b:1 and so on, in turns, of which a:1 is the first.
struct Chain<S> {
    farm: Farm,
    handle: FailoverHandle,
    set: BalanceHandle,
    service: S,
}

/// The service of a chain.
trait Sends:
    Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static
{
}
impl<S> Sends for S where
    S: Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static
{
}

fn chain_of<const N: usize>(keys: [&str; N], layer: FailoverLayer) -> Chain<impl Sends> {
    let farm = Farm::default();
    keys.iter().for_each(|key| drop(farm.get(key)));
    let endpoints = discover::fixed(keys).unwrap();
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(farm.clone());
    let (handle, set) = (layer.handle(), balance.handle());
    Chain { farm, handle, set, service: layer.layer(balance) }
}

fn chain(attempts: Attempts) -> Chain<impl Sends> {
    chain_of(["a:1", "b:1", "c:1"], FailoverLayer::new(attempts))
}

impl<S: Sends> Chain<S> {
    /// What comes of it, and after which time.
    async fn send(&self, ask: Ask) -> (Result<String, Error>, Duration) {
        let start = Instant::now();
        let result = self.service.clone().oneshot(ask).await;
        (result, start.elapsed())
    }

    fn get(&self, key: &str) -> Arc<Inner> {
        self.farm.get(key)
    }

    fn calls(&self) -> [usize; 3] {
        ["a:1", "b:1", "c:1"].map(|key| self.get(key).calls())
    }

    fn hedges(&self) -> (u64, u64) {
        (self.handle.hedges(), self.handle.hedges_won())
    }
}

fn about(took: Duration, expected: Duration) -> bool {
    (expected..=expected + ms(3)).contains(&took)
}

fn abandoned(inner: &Inner) -> usize {
    inner.abandoned.load(std::sync::atomic::Ordering::SeqCst)
}

// A drop, anywhere.

/// A stack with places above and below the balancer, and a circuit between.
struct Places {
    farm: Farm,
    above: ConcurrencyLimitHandle,
    set: BalanceHandle,
    budget: Budget,
    handle: FailoverHandle,
}

fn places(overall: Duration) -> (Places, impl Sends) {
    let farm = Farm::default();
    let mut config = ConcurrentBudget::default();
    config.min = 2;
    let budget = Budget::with_config(BudgetConfig::Concurrent(config));
    let attempts = Attempts::up_to(3)
        .hedge(ms(3))
        .with_timeout(ms(9))
        .with_overall(overall)
        .with_backoff(ms(2), ms(2));
    let layer = FailoverLayer::new(attempts).with_budget(budget.clone()).named("tax");
    let limit = ConcurrencyLimitLayer::new(2);
    let circuit = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let endpoints = discover::fixed(["a:1", "b:1", "c:1"]).unwrap();
    let (handle, above) = (layer.handle(), limit.handle());
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0))
        .layer(ConcurrencyLimitLayer::new(1).layer(farm.clone()));
    let set = balance.handle();
    let service = layer.layer(limit.layer(circuit.layer(balance)));
    (Places { farm, above, set, budget, handle }, service)
}

/// Whether everything is as it was.
fn came_back(it: &Places) {
    assert_eq!((it.farm.readied(), it.farm.violations()), (0, 0));
    assert_eq!(it.above.in_flight(), 0, "places above the balancer");
    for member in it.set.members().iter() {
        assert_eq!(member.in_flight(), 0, "{}", member.key());
        assert!(member.is_eligible(), "a place below the balancer: {}", member.key());
    }
    assert_eq!(it.budget.available(), 2, "no retry runs any more");
    let summary = it.handle.summary().unwrap();
    assert_eq!(summary.total_requests, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_anywhere_gives_everything_back() {
    use Answer::{FailsAfter, GoodAfter, Never};
    let (mut with_both, mut drops) = (0, 0);
    // Of the first, both are in flight when the time of the call is over.
    for (answers, overall) in [
        [Never, Never, Never],
        [Never, Never, Never],
        [Never, GoodAfter(ms(5)), Never],
        [GoodAfter(ms(7)), Never, Never],
        [FailsAfter(ms(5)), GoodAfter(ms(7)), Never],
        [Never, FailsAfter(ms(2)), GoodAfter(ms(1))],
        [FailsAfter(ms(5)), FailsAfter(ms(5)), Never],
        [FailsAfter(ms(1)), GoodAfter(ms(5)), Never],
    ]
    .into_iter()
    .zip([ms(7)].into_iter().chain(std::iter::repeat(ms(20))))
    {
        for polls in 0.. {
            let (it, mut service) = places(overall);
            service.ready().await.unwrap();
            for (key, answer) in ["a:1", "b:1", "c:1"].into_iter().zip(answers) {
                it.farm.get(key).answers(answer);
            }
            // The very future, which is kept when it is done.
            let mut call = task::spawn(service.call(Ask::new(1)));
            let mut done = false;
            for _ in 0..polls {
                done = call.poll().is_ready();
                if done {
                    break;
                }
                tokio::time::advance(ms(1)).await;
            }
            with_both += usize::from(it.farm.running() == 2);
            assert!(it.farm.running() <= 2, "one more at a time");
            if done {
                // It has ended, and is kept with the attempt that did: the other one is gone all the same.
                assert!(it.farm.running() <= 1, "{answers:?}");
                came_back(&it);
            }
            drop(call);
            assert_eq!(it.farm.running(), 0);
            settle().await;
            came_back(&it);
            drops += 1;
            if done {
                break;
            }
        }
    }
    assert!(with_both >= 20 && drops > 60, "{with_both} of {drops}");
}

// The winner, and the loser.

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_long_goes_to_another_endpoint_too() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.get("a:1").answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!(result.unwrap(), "b:1");
    assert!(about(took, ms(50)), "{took:?}");
    assert_eq!((it.calls(), it.hedges(), it.handle.retries()), ([1, 1, 0], (1, 1), 0));
    assert_eq!(it.get("b:1").asks()[0].attempt, 2);
    // The loser was dropped, and that is no failure.
    assert_eq!((it.farm.running(), abandoned(&it.get("a:1"))), (0, 1));
    for member in it.set.members().iter() {
        let stats = member.stats();
        assert_eq!((member.failures(), stats.failed_requests), (0, 0), "{}", member.key());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_still_win() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.get("a:1").answers(Answer::GoodAfter(ms(80)));
    it.get("b:1").answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!(result.unwrap(), "a:1");
    assert!(about(took, ms(80)), "{took:?}");
    assert_eq!((it.calls(), it.hedges()), ([1, 1, 0], (1, 0)));
    assert_eq!((it.farm.running(), abandoned(&it.get("b:1"))), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_needs_no_hedge_and_a_ready_one_no_timer() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.send(Ask::new(1)).await.0.unwrap();
    it.farm.answers(Answer::GoodAfter(ms(45)));
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!((it.farm.calls(), it.hedges()), (2, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_below_sees_a_loser_as_cancelled() {
    let farm = Farm::default();
    let circuit = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2).hedge(ms(50))))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .layer(circuit.clone())
        .service(farm.clone());
    farm.get("a:1").answers(Answer::Never);
    service.oneshot(Ask::new(1)).await.unwrap();
    let of = |key| circuit.handle_for(key).unwrap().stats();
    assert_eq!((of("a:1").failed, of("a:1").ignored), (Some(0), Some(1)));
    assert_eq!(of("b:1").succeeded, Some(1));
}

// Where there is none.

#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_twice_is_not() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.farm.answers(Answer::GoodAfter(ms(200)));
    for ask in [Ask::once(1), Ask::new(1)] {
        let expected = usize::from(ask.idempotent);
        let before = it.farm.calls();
        it.send(ask).await.0.unwrap();
        assert_eq!(it.farm.calls() - before, 1 + expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_of_one_never_hedges_and_spends_nothing() {
    let budget = Budget::new(0.0, 0, 10);
    let attempts = Attempts::up_to(3).hedge(ms(50));
    let it = chain_of(["a:1"], FailoverLayer::new(attempts).with_budget(budget.clone()));
    it.farm.answers(Answer::GoodAfter(ms(500)));
    assert_eq!(it.send(Ask::new(1)).await.0.unwrap(), "a:1");
    assert_eq!((it.farm.calls(), it.hedges(), budget.available()), (1, (0, 0), 10));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_keeps_to_one_endpoint_does_not_hedge() {
    async fn calls<P>(strategy: P) -> usize
    where
        P: Pick<Ask> + Clone,
    {
        let farm = Farm::default();
        let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
        let budget = Budget::new(0.0, 0, 1);
        let attempts = Attempts::up_to(3).hedge(ms(50));
        let service = FailoverLayer::new(attempts)
            .with_budget(budget.clone())
            .layer(BalanceLayer::new(endpoints, strategy).layer(farm.clone()));
        // Before the first call, there are no endpoints in the farm.
        service.clone().oneshot(Ask::new(0)).await.unwrap();
        farm.answers(Answer::GoodAfter(ms(500)));
        let before = farm.calls();
        service.oneshot(Ask::new(1)).await.unwrap();
        let calls = farm.calls() - before;
        assert_eq!(budget.available() as usize, 2 - calls, "paid for what was made alone");
        calls
    }
    assert_eq!(calls(PickFirst::new()).await, 1);
    assert_eq!(calls(Seeded::new(PickFirst::new(), 1)).await, 1);
    assert_eq!(calls(RoundRobin::default()).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_barred_or_busy_gets_no_hedge() {
    let budget = Budget::new(0.0, 0, 10);
    let attempts = Attempts::up_to(3).hedge(ms(50));
    let it = chain_of(["a:1", "b:1"], FailoverLayer::new(attempts).with_budget(budget.clone()));
    it.send(Ask::new(1)).await.0.unwrap();
    it.send(Ask::new(1)).await.0.unwrap();
    it.farm.answers(Answer::GoodAfter(ms(200)));
    let member = it.set.members().iter().find(|member| member.key() == "b:1").unwrap().clone();
    let veto = member.veto(tower_upstream::member::Reason::Unhealthy);
    veto.raise();
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!((it.hedges(), budget.available()), ((0, 0), 10));
    drop(veto);
    settle().await;
    it.get("b:1").is(Readiness::Pending);
    let calls = it.farm.calls();
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!((it.farm.calls() - calls, it.hedges()), (1, (0, 0)), "it would have to wait");
    assert_eq!(it.farm.readied(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_on_probation_gets_no_hedge() {
    let it = chain_of(["a:1", "b:1"], FailoverLayer::new(Attempts::up_to(3).hedge(ms(50))));
    it.send(Ask::new(1)).await.0.unwrap();
    it.get("b:1").answers(Answer::Fails);
    for _ in 0..10 {
        it.send(Ask::new(1)).await.0.unwrap();
        settle().await;
    }
    assert_eq!(it.set.members()[1].reasons().collect::<Vec<_>>(), [Reason::Ejected]);
    sleep(secs(40)).await;
    it.get("b:1").answers(Answer::Good);
    it.get("a:1").answers(Answer::GoodAfter(ms(200)));
    let before = it.get("b:1").calls();
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), took >= ms(200)), ("a:1", true));
    assert_eq!((it.get("b:1").calls() - before, it.hedges()), (0, (0, 0)));
    // Its own turn ends the probation, and then it is as any other.
    it.send(Ask::new(1)).await.0.unwrap();
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!((it.get("b:1").calls() - before, it.hedges()), (2, (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_has_not_reached_its_endpoint_is_not_hedged() {
    let budget = Budget::new(0.0, 0, 10);
    let attempts = Attempts::up_to(3).hedge(ms(50));
    let it = chain_of(["a:1", "b:1"], FailoverLayer::new(attempts).with_budget(budget.clone()));
    it.send(Ask::new(0)).await.0.unwrap();
    it.farm.answers(Answer::GoodAfter(ms(30)));
    it.farm.is(Readiness::Pending);
    let call = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
    sleep(ms(120)).await;
    it.farm.is(Readiness::Ready);
    call.await.unwrap().unwrap();
    assert_eq!((it.farm.calls(), it.hedges(), budget.available()), (2, (0, 0), 10));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_hedge_was_sent_was_sent() {
    use tower_upstream::{BoxError, Endpoint, connect_fn};
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0));
    let service = FailoverLayer::new(Attempts::up_to(2).hedge(ms(50)).with_overall(ms(80))).layer(
        set.layer(connect_fn(|endpoint: &Endpoint| {
            let fails = endpoint.key() == "a:1";
            tower::service_fn(move |_: Ask| async move {
                if fails {
                    sleep(ms(60)).await;
                    return Err::<(), _>(BoxError::from(Error::unsent("no route")));
                }
                std::future::pending().await
            })
        })),
    );
    let error = service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_budget_pays_and_the_number_of_attempts_is_the_bound() {
    let budget = Budget::new(0.0, 0, 2);
    let attempts = Attempts::up_to(2).hedge(ms(50));
    let it =
        chain_of(["a:1", "b:1", "c:1"], FailoverLayer::new(attempts).with_budget(budget.clone()));
    it.farm.answers(Answer::GoodAfter(ms(500)));
    for left in [1, 0, 0] {
        it.send(Ask::new(1)).await.0.unwrap();
        assert_eq!(budget.available(), left);
    }
    assert_eq!((it.farm.calls(), it.hedges().0), (5, 2), "the third was not paid for");

    let it = chain(Attempts::up_to(1).hedge(ms(50)));
    it.farm.answers(Answer::GoodAfter(ms(500)));
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!(it.farm.calls(), 1, "a hedge is an attempt");
}

#[tokio::test(start_paused = true)]
async fn a_call_puts_its_share_into_the_budget_once_whoever_wins() {
    for (first, hedge) in [
        (Answer::Never, Answer::Good),
        (Answer::GoodAfter(ms(80)), Answer::Never),
        (Answer::FailsAfter(ms(80)), Answer::GoodAfter(ms(80))),
        (Answer::GoodAfter(ms(80)), Answer::Fails),
    ] {
        // A call brings one, and a retry costs one.
        let budget = Budget::new(1.0, 0, 10);
        while budget.available() > 5 {
            assert!(budget.withdraw());
        }
        let attempts = Attempts::up_to(2).hedge(ms(50));
        let layer = FailoverLayer::new(attempts).with_budget(budget.clone());
        let it = chain_of(["a:1", "b:1"], layer);
        it.get("a:1").answers(first);
        it.get("b:1").answers(hedge);
        it.send(Ask::new(1)).await.0.unwrap();
        assert_eq!(budget.available(), 5, "{first:?} {hedge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_above_the_balancer_that_says_no_makes_no_hedge() {
    let farm = Farm::default();
    let layer = FailoverLayer::new(Attempts::up_to(2).hedge(ms(50)));
    let handle = layer.handle();
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(farm.clone());
    farm.get("a:1").answers(Answer::GoodAfter(ms(200)));
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "a:1");
    assert_eq!((farm.calls(), handle.hedges()), (1, 0));
}

/// A layer that knows nothing of hedges, or only says that there may be one.
#[derive(Clone)]
struct Unaware<S> {
    inner: S,
    can_hedge: bool,
}

impl<S: Service<Ask>> Service<Ask> for Unaware<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> S::Future {
        self.inner.call(ask)
    }
}

impl<S: Chooses> Chooses for Unaware<S> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }

    fn can_hedge(&self, tried: &Tried) -> bool {
        self.can_hedge && self.inner.can_hedge(tried)
    }
}

impl<S: Choose<Ask>> Choose<Ask> for Unaware<S> {
    type Choosing = S::Choosing;

    fn call_avoiding(&mut self, ask: Ask, tried: &Tried) -> S::Choosing {
        self.inner.call_avoiding(ask, tried)
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_does_not_hedge_makes_none_and_holds_nothing() {
    for can_hedge in [false, true] {
        let farm = Farm::default();
        let mut config = ConcurrentBudget::default();
        config.min = 1;
        let budget = Budget::with_config(BudgetConfig::Concurrent(config));
        let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
        let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(farm.clone());
        let attempts = Attempts::up_to(3).hedge(ms(50)).with_backoff(ms(0), ms(0));
        let layer = FailoverLayer::new(attempts).with_budget(budget.clone());
        let handle = layer.handle();
        let service = layer.layer(Unaware { inner: set, can_hedge });
        farm.get("a:1").answers(Answer::FailsAfter(ms(200)));
        let call = tokio::spawn(service.oneshot(Ask::new(1)));
        sleep(ms(100)).await;
        assert_eq!((farm.calls(), handle.hedges(), budget.available()), (1, 0, 1));
        assert_eq!(call.await.unwrap().unwrap(), "b:1", "it may fail over still");
        assert_eq!(farm.get("b:1").asks()[0].attempt, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn every_guard_of_this_crate_lets_a_hedge_through() {
    use tower_upstream::{Quota, health::check_upstream, limit::RateLimitLayer};
    let farm = Farm::default();
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(farm.clone());
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2).hedge(ms(50))))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .layer(HealthGateLayer::new(check_upstream(|| async { true })))
        .layer(RateLimitLayer::new(Quota::per_second(100)))
        .layer(RateLimitLayer::new(Quota::per_second(100)).wait(secs(1)))
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(ConcurrencyLimitLayer::new(2).wait(secs(1)))
        .layer(tower_upstream::fallback::FallbackLayer::value("nothing".to_owned()))
        .service(set);
    farm.get("a:1").answers(Answer::Never);
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "b:1");
}

// Failures.

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_does_not_end_the_call_nor_does_the_first() {
    let it = chain(Attempts::up_to(2).hedge(ms(50)));
    it.get("a:1").answers(Answer::GoodAfter(ms(300)));
    it.get("b:1").answers(Answer::Fails);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), about(took, ms(300))), ("a:1", true));
    assert_eq!((it.calls(), it.hedges()), ([1, 1, 0], (1, 0)), "no third attempt of two");

    let it = chain(Attempts::up_to(2).hedge(ms(50)));
    it.get("a:1").answers(Answer::FailsAfter(ms(60)));
    it.get("b:1").answers(Answer::GoodAfter(ms(50)));
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), about(took, ms(100))), ("b:1", true));
    assert_eq!((it.calls(), it.hedges()), ([1, 1, 0], (1, 1)));
}

#[tokio::test(start_paused = true)]
async fn one_more_at_a_time_and_after_both_failed_as_many_as_there_may_be() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.get("a:1").answers(Answer::Never);
    it.get("b:1").answers(Answer::FailsAfter(ms(20)));
    let (result, took) = it.send(Ask::new(1)).await;
    // The second hedge, as long after the first has failed.
    assert_eq!((result.unwrap().as_str(), it.hedges()), ("c:1", (2, 1)));
    assert!(about(took, ms(120)), "{took:?}");

    let it = chain(Attempts::up_to(3).hedge(ms(50)).with_backoff(ms(0), ms(0)));
    it.get("a:1").answers(Answer::FailsAfter(ms(70)));
    it.get("b:1").answers(Answer::FailsAfter(ms(30)));
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), about(took, ms(80))), ("c:1", true));
    assert_eq!((it.calls(), it.hedges(), it.handle.retries()), ([1, 1, 1], (1, 0), 1));

    let it = chain(Attempts::up_to(2).hedge(ms(50)));
    it.farm.answers(Answer::Fails);
    it.get("a:1").answers(Answer::FailsAfter(ms(70)));
    it.get("b:1").answers(Answer::FailsAfter(ms(30)));
    let error = it.send(Ask::new(1)).await.0.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 2));
    let endpoints: Vec<_> = error.history().iter().filter_map(Error::endpoint).collect();
    assert_eq!(endpoints, ["a:1", "b:1"], "in the order in which they failed");
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_did_wrong_ends_the_call_whichever_attempt_says_so() {
    for (first, hedge) in [
        (Answer::ByHand, Answer::CallersFault),
        // The first one is told after the hedge has begun.
        (Answer::CallersFault, Answer::Never),
    ] {
        let it = chain(Attempts::up_to(3).hedge(ms(50)));
        it.get("b:1").answers(hedge);
        it.get("a:1").answers(first);
        let error = it.send(Ask::new(1)).await.0.unwrap_err();
        assert!(!error.is_refused() && error.to_string().contains("the upload"), "{error}");
        assert_eq!((it.farm.running(), it.handle.stats().failed), (0, Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_final_ends_the_call_whichever_attempt_gives_it() {
    let rule = |result: Result<&String, &Error>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Ignored,
    };
    for keys in [["a:1", "b:1"], ["b:1", "a:1"]] {
        let farm = Farm::default();
        let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
        let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(farm.clone());
        let layer = FailoverLayer::new(Attempts::up_to(3).hedge(ms(50))).with_classify(rule);
        farm.get(keys[0]).answers(Answer::FailsAfter(ms(60)));
        farm.get(keys[1]).answers(Answer::GoodAfter(secs(5)));
        let start = Instant::now();
        let error = layer.layer(set).oneshot(Ask::new(1)).await.unwrap_err();
        assert!(start.elapsed() < ms(120), "{error} {:?}", start.elapsed());
        assert_eq!(farm.running(), 0);
    }
}

// Limits of time.

#[tokio::test(start_paused = true)]
async fn each_of_both_has_the_time_of_an_attempt_and_the_call_has_its_own() {
    let it = chain(Attempts::up_to(2).hedge(ms(50)).with_timeout(ms(100)));
    it.farm.answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 2), "{error}");
    assert!(about(took, ms(150)), "{took:?}");
    let failures = it.set.members().iter().map(|member| member.failures()).sum::<u64>();
    assert_eq!(failures, 2, "timeouts are failures of their endpoints");

    let it = chain(Attempts::up_to(2).hedge(ms(50)).with_overall(ms(80)));
    it.farm.answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Timeout);
    assert!(about(took, ms(80)), "{took:?}");
    assert_eq!((it.farm.running(), it.hedges()), (0, (1, 0)));

    // What would begin at the end of the call does not.
    let it = chain(Attempts::up_to(2).hedge(ms(80)).with_overall(ms(80)));
    it.farm.answers(Answer::Never);
    assert_eq!(it.send(Ask::new(1)).await.0.unwrap_err().kind(), Kind::Timeout);
    assert_eq!(it.farm.calls(), 1);

    // The hedge alone is left.
    let it = chain(Attempts::up_to(2).hedge(ms(50)).with_overall(ms(80)));
    it.get("a:1").answers(Answer::FailsAfter(ms(60)));
    it.get("b:1").answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false));
    assert_eq!((error.endpoint(), about(took, ms(80))), (Some("b:1"), true));
    assert_eq!(it.farm.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_a_failure_is_hedged_as_well() {
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.get("a:1").answers(Answer::Fails);
    it.get("b:1").answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), about(took, ms(50))), ("c:1", true));
    assert_eq!((it.hedges(), it.handle.retries()), ((1, 1), 1));

    // Its time begins anew.
    let it = chain(Attempts::up_to(3).hedge(ms(50)));
    it.get("a:1").answers(Answer::FailsAfter(ms(40)));
    it.get("b:1").answers(Answer::Never);
    let (result, took) = it.send(Ask::new(1)).await;
    assert_eq!((result.unwrap().as_str(), about(took, ms(90))), ("c:1", true));
}

// After a quantile.

#[tokio::test(start_paused = true)]
async fn a_quantile_follows_what_calls_took_lately() {
    let it = chain(Attempts::up_to(2).hedge(Hedge::Quantile(0.9)));
    it.send(Ask::new(0)).await.0.unwrap();
    it.farm.answers(Answer::GoodAfter(ms(30)));
    it.get("a:1").answers(Answer::GoodAfter(ms(500)));
    let (_, took) = it.send(Ask::new(1)).await;
    assert!(took <= ms(503) && it.hedges() == (0, 0), "nothing is known yet");
    it.farm.answers(Answer::GoodAfter(ms(20)));
    for _ in 0..40 {
        it.send(Ask::new(1)).await.0.unwrap();
    }
    assert_eq!(it.hedges(), (0, 0));
    sleep(ms(100)).await;
    // A tenth of the calls hang, and are hedged after about 20 ms, again and again.
    for number in 0..300 {
        it.farm.answers(Answer::GoodAfter(ms(20)));
        if number % 10 == 0 {
            it.farm.answers(Answer::Never);
            let call = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
            settle().await;
            it.farm.answers(Answer::GoodAfter(ms(20)));
            let start = Instant::now();
            call.await.unwrap().unwrap();
            assert!((ms(35)..ms(55)).contains(&start.elapsed()), "{number}: {:?}", start.elapsed());
        } else {
            it.send(Ask::new(1)).await.0.unwrap();
        }
    }
    let (hedges, won) = it.hedges();
    assert!((30..=60).contains(&hedges) && won >= 30, "{hedges} {won}");
}

#[tokio::test(start_paused = true)]
async fn a_quantile_does_not_follow_its_own_effect() {
    let it = chain(Attempts::up_to(2).hedge(Hedge::Quantile(0.9)));
    it.send(Ask::new(0)).await.0.unwrap();
    let mut hedges = [0; 2];
    for half in &mut hedges {
        let before = it.hedges().0;
        for number in 0..400 {
            // From 10 to 109 ms, each as often as the others, and hedges win.
            it.farm.answers(Answer::GoodAfter(ms(10 + number * 37 % 100)));
            let call = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
            settle().await;
            it.farm.answers(Answer::Good);
            call.await.unwrap().unwrap();
        }
        *half = it.hedges().0 - before;
    }
    assert!(hedges.iter().all(|hedges| (15..=60).contains(hedges)), "{hedges:?} of 400 each");
}

#[tokio::test(start_paused = true)]
async fn an_update_counts_for_the_next_call() {
    let it = chain(Attempts::up_to(2));
    it.send(Ask::new(0)).await.0.unwrap();
    it.farm.answers(Answer::GoodAfter(ms(200)));
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!(it.hedges(), (0, 0));
    it.handle.update(&Attempts::up_to(2).hedge(ms(50))).unwrap();
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!(it.hedges().0, 1);
    it.handle.update(&Attempts::up_to(2).hedge(Hedge::Quantile(2.0))).unwrap_err();
    it.handle.update(&Attempts::up_to(2)).unwrap();
    it.send(Ask::new(1)).await.0.unwrap();
    assert_eq!(it.hedges().0, 1);
}

// What is told.

#[tokio::test(start_paused = true)]
async fn a_hedge_is_told_with_the_endpoint_that_took_long() {
    let events = Events::new();
    let history = History::new(&events);
    let attempts = Attempts::up_to(2).hedge(ms(50));
    let layer = FailoverLayer::new(attempts).with_events(&events).named("tax");
    let it = chain_of(["a:1", "b:1"], layer);
    it.get("a:1").answers(Answer::Never);
    it.send(Ask::new(1)).await.0.unwrap();
    let all = history.all();
    assert_eq!(all.len(), 1);
    let EventKind::Hedge { number, delay, .. } = all[0].kind else { panic!("{all:?}") };
    assert_eq!((number, delay, all[0].kind.as_str()), (2, ms(50), "hedge"));
    assert_eq!((all[0].endpoint.as_deref(), all[0].layer.as_deref()), (Some("a:1"), Some("tax")));
    let summary = it.handle.summary().unwrap();
    assert_eq!((summary.successful_requests, summary.failovers), (1, 0));
}

// Bodies.

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_body_that_still_streams_is_not_sent_twice_at_once() {
    use http_body_util::{BodyExt, StreamBody};
    use tower_upstream::{BoxError, Endpoint, connect_fn, http::ReplayBody, replay::Replay};

    for (chunk_at, calls) in [(ms(0), 2), (ms(100), 1)] {
        let layer = FailoverLayer::new(Attempts::up_to(2).hedge(ms(50)));
        let handle = layer.handle();
        let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
        let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0));
        let service = layer.layer(set.layer(connect_fn(|_: &Endpoint| {
            tower::service_fn(|request: http::Request<ReplayBody>| async move {
                let body = request.into_body().collect().await?.to_bytes();
                sleep(ms(200)).await;
                Ok::<_, BoxError>(body)
            })
        })));
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            sleep(chunk_at).await;
            let _ = sender.send(());
        });
        let mut receiver = Some(receiver);
        let frames = std::iter::once("hello");
        let mut frames = frames.map(|text| http_body::Frame::data(bytes::Bytes::from(text)));
        let stream = futures_util::stream::poll_fn(move |cx| {
            if let Some(waits) = &mut receiver {
                let _ = std::task::ready!(std::pin::Pin::new(waits).poll(cx));
                receiver = None;
            }
            Poll::Ready(frames.next().map(Ok::<_, BoxError>))
        });
        let request =
            http::Request::put("/").body(ReplayBody::new(StreamBody::new(stream))).unwrap();
        assert!(!request.is_independent());
        assert_eq!(service.oneshot(request).await.unwrap(), "hello");
        assert_eq!(1 + handle.hedges(), calls, "{chunk_at:?}");
    }
}
