//! What one caller does costs the others nothing: its haste, its leaving, its silence, its wrong requests.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, ms, secs, seen, settle};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer,
    Endpoint, Error, FailoverLayer, Quota, RateLimitLayer,
    balance::{BalanceLayer, RoundRobin},
    breaker::CircuitState,
    budget::{Budget, BudgetConfig, ConcurrentBudget, ThrottleBudget},
    connect::Connect,
    connect_fn, discover,
    error::Kind,
    failover::{FailoverHandle, Hedge},
    retry::{RetryConfig, RetryPolicy},
};

fn throttle() -> Budget {
    let mut config = ThrottleBudget::default();
    config.max_tokens = 10;
    Budget::with_config(BudgetConfig::Throttle(config))
}

/// So many retries at once.
fn at_once(retries: u32) -> Budget {
    let mut config = ConcurrentBudget::default();
    (config.percent, config.min) = (0.0, retries);
    Budget::with_config(BudgetConfig::Concurrent(config))
}

fn turns<const N: usize>(keys: [&str; N]) -> BalanceLayer<discover::Fixed, RoundRobin> {
    BalanceLayer::new(discover::fixed(keys).unwrap(), RoundRobin::starting_at(0))
}

/// Endpoints that are there before the first call, so that all get what is said to the farm.
fn farm<const N: usize>(keys: [&str; N]) -> Farm {
    let farm = Farm::default();
    keys.iter().for_each(|key| drop(farm.get(key)));
    farm
}

fn once() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(1).with_open_jitter(0.0)
}

/// Endpoints that never answer.
fn silent() -> impl Connect<
    Service: Service<Call<u32>, Response = (), Error = BoxError, Future: Send>
                 + Clone
                 + Send
                 + Sync
                 + 'static,
> {
    connect_fn(|_: &Endpoint| service_fn(|_: Call<u32>| pending::<Result<(), BoxError>>()))
}

// A caller in a hurry.

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_spends_no_token_of_a_throttle() {
    // Its own limit, and whether a failure counts.
    for (own, counts) in [(Some(1), false), (Some(100), true), (None, true)] {
        let budget = throttle();
        let service = ServiceBuilder::new()
            .layer(
                FailoverLayer::new(Attempts::up_to(2).with_timeout(ms(100)))
                    .with_budget(budget.clone()),
            )
            .layer(turns(["a:1", "b:1"]))
            .service(silent());
        let before = budget.available();
        for _ in 0..5 {
            let call = Call::new(0).idempotent();
            let call = match own {
                Some(own) => call.with_attempt_timeout(ms(own)),
                None => call,
            };
            service.clone().oneshot(call).await.unwrap_err();
        }
        assert_eq!(budget.available() < before, counts, "{own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_of_a_caller_in_a_hurry_blames_no_endpoint_and_spends_nothing() {
    let (budget, breaker) = (throttle(), CircuitBreakerLayer::new(once()));
    let attempts = Attempts::up_to(2).with_timeout(ms(100)).hedge(ms(2));
    let balance = turns(["a:1", "b:1"]);
    let set = balance.handle();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(attempts).with_budget(budget.clone()))
        .layer(balance)
        .layer(breaker.clone())
        .service(silent());
    let before = budget.available();
    for _ in 0..5 {
        let call = Call::new(0).idempotent().with_attempt_timeout(ms(10));
        assert!(service.clone().oneshot(call).await.unwrap_err().attempts() == 2);
    }
    for key in ["a:1", "b:1"] {
        let circuit = breaker.handle_for(key).unwrap();
        assert_eq!((circuit.state(), seen(&circuit).failed), (CircuitState::Closed, 0), "{key}");
    }
    assert!(set.members().iter().all(|member| member.failures() == 0));
    assert_eq!(budget.available(), before);
}

/// Calls that are hedged after a quantile of what others took.
fn hedged(
    overall: Option<Duration>,
) -> (
    Farm,
    FailoverHandle,
    impl Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static,
) {
    let farm = farm(["a:1", "b:1"]);
    let mut attempts = Attempts::up_to(2).hedge(Hedge::Quantile(0.9));
    attempts.overall = overall;
    let layer = FailoverLayer::new(attempts).with_budget(Budget::unlimited());
    let handle = layer.handle();
    let service =
        ServiceBuilder::new().layer(layer).layer(turns(["a:1", "b:1"])).service(farm.clone());
    (farm, handle, service)
}

#[tokio::test(start_paused = true)]
async fn deadlines_of_one_caller_do_not_teach_when_the_calls_of_others_are_hedged() {
    let (farm, handle, service) = hedged(None);
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    farm.answers(Answer::GoodAfter(ms(100)));
    for _ in 0..60 {
        service.clone().oneshot(Ask::new(0)).await.unwrap();
    }
    // One in a hurry makes ten times as many.
    for _ in 0..600 {
        let ask = Ask::new(0).until(Instant::now() + ms(5));
        assert!(service.clone().oneshot(ask).await.unwrap_err().is_timeout());
    }
    let before = handle.hedges();
    for _ in 0..20 {
        service.clone().oneshot(Ask::new(0)).await.unwrap();
    }
    assert_eq!(handle.hedges(), before, "a call that takes as long as ever is hedged");
}

#[tokio::test(start_paused = true)]
async fn before_anything_is_known_deadlines_teach_nothing() {
    let (farm, handle, service) = hedged(None);
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    farm.answers(Answer::GoodAfter(ms(100)));
    for _ in 0..100 {
        let ask = Ask::new(0).until(Instant::now() + ms(5));
        assert!(service.clone().oneshot(ask).await.unwrap_err().is_timeout());
    }
    for _ in 0..20 {
        service.clone().oneshot(Ask::new(0)).await.unwrap();
    }
    assert_eq!(handle.hedges(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_cut_short_after_the_delay_teaches_a_longer_one() {
    for overall in [None, Some(ms(80))] {
        let (farm, handle, service) = hedged(overall);
        service.clone().oneshot(Ask::new(0)).await.unwrap();
        farm.answers(Answer::GoodAfter(ms(10)));
        for _ in 0..60 {
            service.clone().oneshot(Ask::new(0)).await.unwrap();
        }
        sleep(ms(200)).await;
        farm.answers(Answer::Never);
        for _ in 0..60 {
            let deadline = Instant::now() + ms(80);
            let ask = if overall.is_none() { Ask::new(0).until(deadline) } else { Ask::new(0) };
            assert!(service.clone().oneshot(ask).await.unwrap_err().is_timeout());
        }
        sleep(ms(200)).await;
        let before = handle.hedges();
        assert!(before > 0);
        farm.answers(Answer::GoodAfter(ms(40)));
        for _ in 0..20 {
            service.clone().oneshot(Ask::new(0)).await.unwrap();
        }
        assert_eq!(handle.hedges(), before, "{overall:?}");
    }
}

/// A call fails, which opens the circuit, and some time passes.
async fn until_half_open<S>(service: &S, endpoint: &Inner)
where
    S: Service<Ask, Response = String, Error = Error> + Clone,
{
    endpoint.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(0)).await.unwrap_err();
    sleep(secs(6)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_too_late_take_no_probe_place_and_decide_nothing() {
    let breaker = CircuitBreakerLayer::new(once().with_probes(1).with_successes(2));
    let farm = Farm::default();
    let a = farm.get("a:1");
    let service = ServiceBuilder::new()
        .layer(breaker.clone())
        .layer(FailoverLayer::new(Attempts::up_to(1)))
        .layer(turns(["a:1"]))
        .service(farm.clone());
    until_half_open(&service, &a).await;
    for _ in 0..100 {
        let late = Ask::new(0).until(Instant::now());
        assert!(service.clone().oneshot(late).await.unwrap_err().is_timeout());
        assert_eq!(breaker.handle().state(), CircuitState::HalfOpen);
    }
    a.answers(Answer::Good);
    for _ in 0..2 {
        service.clone().oneshot(Ask::new(0)).await.unwrap();
    }
    assert_eq!(breaker.handle().state(), CircuitState::Closed);
    assert_eq!(a.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_callers_do_wrong_decides_nothing_of_a_half_open_circuit() {
    for below in [false, true] {
        let breaker = CircuitBreakerLayer::new(once().with_probes(1).with_successes(2));
        let (none, farm) = (CircuitBreakerLayer::manual(), Farm::default());
        let a = farm.get("a:1");
        let (above, each) = if below { (&none, &breaker) } else { (&breaker, &none) };
        let service = ServiceBuilder::new()
            .layer(above.clone())
            .layer(turns(["a:1"]).with_fail_fast_after(ms(10)))
            .layer(each.clone())
            .service(farm.clone());
        let send = || service.clone().oneshot(Ask::new(0));
        until_half_open(&service, &a).await;
        a.answers(Answer::CallersFault);
        for _ in 0..50 {
            send().await.unwrap_err();
            settle().await;
        }
        assert_eq!(a.calls(), 51, "each got the place of the one before");
        a.answers(Answer::Good);
        for _ in 0..3 {
            send().await.unwrap();
            settle().await;
        }
        let circuit =
            if below { breaker.handle_for("a:1").unwrap() } else { (*breaker.handle()).clone() };
        assert_eq!((circuit.state(), seen(&circuit).failed), (CircuitState::Closed, 1));
    }
}

// A caller that polls no more, or keeps what is over.

/// The only place of the only endpoint, which a first call has until it ends.
async fn one_place() -> (
    impl Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static,
    ConcurrencyLimitLayer,
    Arc<Inner>,
    JoinHandle<Result<String, Error>>,
) {
    let (farm, limit) = (Farm::default(), ConcurrencyLimitLayer::new(1));
    let a = farm.get("a:1");
    let balance = turns(["a:1"]).with_fail_fast_after(secs(60));
    let service = ServiceBuilder::new().layer(balance).layer(limit.clone()).service(farm);
    a.answers(Answer::ByHand);
    let first = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    settle().await;
    (service, limit, a, first)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_polled_no_more_keeps_the_place_of_an_endpoint_for_a_moment_only() {
    let (service, limit, a, first) = one_place().await;
    let mut silent = task::spawn(service.clone().oneshot(Ask::new(2)));
    assert_pending!(silent.poll());
    a.answers(Answer::Good);
    a.finish(0, true);
    first.await.unwrap().unwrap();
    // The place is kept for the second, which is told so, and does not come.
    assert!(silent.is_woken());
    let start = Instant::now();
    service.clone().oneshot(Ask::new(3)).await.unwrap();
    assert!(start.elapsed() < secs(1), "{:?}", start.elapsed());
    for number in 0..50 {
        service.clone().oneshot(Ask::new(number)).await.unwrap();
    }
    // Whenever it comes, it gets one as others do.
    while silent.is_woken() && silent.poll().is_pending() {}
    drop(silent);
    assert_eq!(limit.handle_for("a:1").unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_quarter_of_a_second_to_come_for_its_place() {
    for (late, gets_it) in [(240, 2), (260, 3)] {
        let (service, _, a, first) = one_place().await;
        let [mut second, mut third] =
            [2, 3].map(|number| task::spawn(service.clone().oneshot(Ask::new(number))));
        assert_pending!(second.poll());
        assert_pending!(third.poll());
        a.finish(0, true);
        first.await.unwrap().unwrap();
        sleep(ms(late)).await;
        assert_pending!(third.poll());
        assert_pending!(second.poll());
        assert_eq!(a.asks().last().unwrap().number, gets_it, "{late}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_moves_up_in_line_looks_sooner_whether_those_before_it_come() {
    let (service, _, a, first) = one_place().await;
    let [mut silent, mut leaves] =
        [2, 3].map(|number| task::spawn(service.clone().oneshot(Ask::new(number))));
    assert_pending!(silent.poll());
    assert_pending!(leaves.poll());
    let last = tokio::spawn(service.clone().oneshot(Ask::new(4)));
    settle().await;
    drop(leaves);
    settle().await;
    let start = Instant::now();
    a.answers(Answer::Good);
    a.finish(0, true);
    first.await.unwrap().unwrap();
    last.await.unwrap().unwrap();
    assert!((ms(250)..=ms(510)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_late_for_its_place_waits_in_line_anew() {
    let (service, limit, a, first) = one_place().await;
    let mut late = task::spawn(service.clone().oneshot(Ask::new(2)));
    assert_pending!(late.poll());
    a.finish(0, true);
    first.await.unwrap().unwrap();
    sleep(secs(1)).await;
    let third = tokio::spawn(service.clone().oneshot(Ask::new(3)));
    settle().await;
    assert_eq!(a.calls(), 2, "the third has its place");
    assert_pending!(late.poll());
    a.finish(1, true);
    third.await.unwrap().unwrap();
    assert!(late.is_woken());
    assert_pending!(late.poll());
    a.finish(2, true);
    assert_ready!(late.poll()).unwrap();
    assert_eq!(limit.handle_for("a:1").unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_many_that_are_polled_no_more_each_delays_the_others_a_moment() {
    let (service, limit, a, first) = one_place().await;
    let silent: Vec<_> = (0..5)
        .map(|number| {
            let mut call = task::spawn(service.clone().oneshot(Ask::new(number)));
            assert_pending!(call.poll());
            call
        })
        .collect();
    // One behind them is polled, and comes to its turn though no other call arrives.
    let (call, polls) = support::counted(service.clone().oneshot(Ask::new(9)));
    let behind = tokio::spawn(call);
    settle().await;
    a.answers(Answer::Good);
    a.finish(0, true);
    first.await.unwrap().unwrap();
    let start = Instant::now();
    behind.await.unwrap().unwrap();
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    assert!(polls.load(SeqCst) < 50, "{polls:?}");
    drop(silent);
    assert_eq!(limit.handle_for("a:1").unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_kept_after_its_end_holds_nothing() {
    for good in [true, false] {
        let (farm, budget) = (farm(["a:1", "b:1"]), at_once(1));
        let (above, below) = (ConcurrencyLimitLayer::new(1), ConcurrencyLimitLayer::new(1));
        let waits = ConcurrencyLimitLayer::new(1).wait(secs(1));
        let breaker = CircuitBreakerLayer::new(once());
        let service = ServiceBuilder::new()
            .layer(above.clone())
            .layer(waits.clone())
            .layer(FailoverLayer::new(Attempts::up_to(2)).with_budget(budget.clone()))
            .layer(turns(["a:1", "b:1"]))
            .layer(below.clone())
            .layer(breaker.clone())
            .service(farm.clone());
        farm.answers(if good { Answer::Good } else { Answer::Fails });
        if good {
            farm.get("a:1").answers(Answer::Fails);
        }
        let mut kept = task::spawn(service.clone().oneshot(Ask::new(1)));
        let ended = loop {
            if let std::task::Poll::Ready(ended) = kept.poll() {
                break ended;
            }
            settle().await;
        };
        assert_eq!(ended.is_ok(), good);
        let places = [above.handle().in_flight(), waits.handle().in_flight()];
        assert_eq!(places, [0, 0]);
        for key in ["a:1", "b:1"] {
            assert_eq!(below.handle_for(key).unwrap().in_flight(), 0, "{key}");
        }
        assert_eq!(budget.available(), 1);
        drop(kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_retry_that_is_kept_after_its_end_does_not_run() {
    for good in [true, false] {
        let mut config = ConcurrentBudget::default();
        (config.percent, config.min) = (100.0, 0);
        let budget = Budget::with_config(BudgetConfig::Concurrent(config));
        let tries = Arc::new(AtomicUsize::new(0));
        let service = ServiceBuilder::new()
            .layer(RetryPolicy::new(RetryConfig::up_to(2)).with_budget(budget.clone()))
            .service(service_fn(move |_: Ask| {
                let fails = tries.fetch_add(1, SeqCst) == 0 || !good;
                async move { if fails { Err(BoxError::from("broken")) } else { Ok(()) } }
            }));
        let mut kept = task::spawn(service.oneshot(Ask::new(1)));
        assert_pending!(kept.poll());
        assert_eq!(budget.available(), 0, "one runs, and its retry waits");
        sleep(secs(10)).await;
        assert_eq!(assert_ready!(kept.poll()).is_ok(), good);
        assert_eq!(budget.available(), 0, "none runs of which one could be sent again");
        let other = budget.running();
        assert_eq!(budget.available(), 1);
        drop((other, kept));
    }
}

// A caller whose code is wrong.

#[tokio::test(start_paused = true)]
async fn a_copy_that_panics_takes_its_call_along_and_nothing_else() {
    let (farm, budget) = (farm(["a:1", "b:1", "c:1"]), at_once(1));
    let limit = ConcurrencyLimitLayer::new(1);
    let copies = Arc::new(AtomicUsize::new(0));
    let layer = FailoverLayer::new(Attempts::up_to(3)).with_budget(budget.clone()).with_replay(
        move |ask: &Ask| {
            assert!(ask.number == 0 || copies.fetch_add(1, SeqCst) % 2 == 0, "no second copy");
            Some(ask.clone())
        },
    );
    let service = ServiceBuilder::new()
        .layer(limit.clone())
        .layer(layer)
        .layer(turns(["a:1", "b:1", "c:1"]))
        .service(farm.clone());
    farm.answers(Answer::Fails);
    for _ in 0..5 {
        let call = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        assert!(call.await.unwrap_err().is_panic());
        assert_eq!((limit.handle().in_flight(), budget.available(), farm.running()), (0, 1, 0));
    }
    farm.answers(Answer::Good);
    service.clone().oneshot(Ask::new(0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_spends_no_budget() {
    let (farm, budget) = (farm(["a:1", "b:1"]), Budget::new(0.0, 0, 3));
    let layer = FailoverLayer::new(Attempts::up_to(3)).with_budget(budget.clone());
    let service = ServiceBuilder::new()
        .layer(layer.with_replay(|_: &Ask| None::<Ask>))
        .layer(turns(["a:1", "b:1"]))
        .service(farm.clone());
    farm.answers(Answer::Fails);
    for _ in 0..10 {
        let error = service.clone().oneshot(Ask::new(0)).await.unwrap_err();
        assert!(error.to_string().contains("cannot be copied"), "{error}");
    }
    assert_eq!((budget.available(), budget.stats().refused), (3, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_key_or_a_cost_that_panics_takes_no_token_and_leaves_no_key() {
    let per_key = RateLimitLayer::new(Quota::per_second(1).burst(2))
        .by_key(|ask: &Ask| {
            assert!(ask.number != 13, "no key");
            ask.number
        })
        .with_cost(|ask: &Ask| {
            assert!(ask.idempotent, "no cost");
            1
        });
    let circuits = CircuitBreakerLayer::new(once()).by_key(|ask: &Ask| {
        assert!(ask.number != 14, "no key");
        Some(ask.number.to_string())
    });
    let farm = Farm::default();
    let service = ServiceBuilder::new()
        .layer(circuits)
        .layer(per_key.clone())
        .service(farm.get("a:1").service());
    for ask in [Ask::new(13), Ask::new(14), Ask::once(1)] {
        let call = tokio::spawn(service.clone().oneshot(ask.clone()));
        assert!(call.await.unwrap_err().is_panic(), "{ask:?}");
    }
    assert_eq!(farm.calls(), 0);
    // All of its tokens are there; its circuit is open, since its call panicked.
    for number in [2, 2] {
        service.clone().oneshot(Ask::new(number)).await.unwrap();
    }
    assert_eq!(per_key.handle().remaining(&1_u32), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_can_never_have_so_many_tokens_holds_up_no_other() {
    let limit = RateLimitLayer::new(Quota::per_second(10).burst(5))
        .with_cost(|ask: &Ask| ask.number)
        .wait(secs(10));
    let farm = Farm::default();
    let service = limit.layer(farm.get("a:1").service());
    service.clone().oneshot(Ask::new(5)).await.unwrap();
    for number in [6, 1_000, u32::MAX] {
        let error = service.clone().oneshot(Ask::new(number)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
    }
    let start = Instant::now();
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    assert!((ms(99)..=ms(103)).contains(&start.elapsed()), "{:?}", start.elapsed());
    // Nor one of which nothing is taken, which waits for none.
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    assert!(start.elapsed() <= ms(103));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_thousands_of_years_is_as_none() {
    let farm = farm(["a:1", "b:1"]);
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(1).burst(1)).wait(Duration::MAX))
        .layer(ConcurrencyLimitLayer::new(1).wait(Duration::MAX))
        .layer(FailoverLayer::new(Attempts::up_to(2).with_timeout(ms(50)).hedge(ms(20))))
        .layer(turns(["a:1", "b:1"]))
        .service(farm.clone());
    for years in [30, 300, 3_000, 100_000] {
        let Some(far) = Instant::now().checked_add(secs(years * 365 * 86_400)) else { continue };
        farm.answers(Answer::Good);
        farm.get("a:1").answers(Answer::Never);
        for _ in 0..2 {
            service.clone().oneshot(Ask::new(0).until(far)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_that_leave_at_once_leave_nothing() {
    let farm = farm(["a:1", "b:1"]);
    let budget = at_once(3);
    let (above, below) =
        (ConcurrencyLimitLayer::new(5_000).wait(secs(60)), ConcurrencyLimitLayer::new(20));
    let breaker = CircuitBreakerLayer::new(once());
    let balance = turns(["a:1", "b:1"]).with_fail_fast_after(secs(60));
    let set = balance.handle();
    let service = ServiceBuilder::new()
        .layer(above.clone())
        .layer(FailoverLayer::new(Attempts::up_to(2).hedge(ms(5))).with_budget(budget.clone()))
        .layer(balance)
        .layer(below.clone())
        .layer(breaker.clone())
        .service(farm.clone());
    farm.answers(Answer::Never);
    let calls: Vec<_> =
        (0..10_000).map(|number| tokio::spawn(service.clone().oneshot(Ask::new(number)))).collect();
    sleep(ms(50)).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    for call in calls {
        // Those that found no place in line were refused.
        let _ = call.await;
    }
    assert_eq!((above.handle().in_flight(), above.handle().waiting()), (0, 0));
    for key in ["a:1", "b:1"] {
        let places = below.handle_for(key).unwrap();
        assert_eq!((places.in_flight(), places.waiting()), (0, 0));
        assert_eq!(breaker.handle_for(key).unwrap().state(), CircuitState::Closed);
    }
    assert!(set.members().iter().all(|member| member.in_flight() == 0 && member.failures() == 0));
    assert_eq!((farm.running(), farm.readied(), budget.available()), (0, 0, 3));
    farm.answers(Answer::Good);
    service.oneshot(Ask::new(0)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_a_throttle_is_empty_each_call_is_made_once() {
    let (farm, budget) = (farm(["a:1", "b:1"]), throttle());
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)).with_budget(budget.clone()))
        .layer(turns(["a:1", "b:1"]))
        .service(farm.clone());
    farm.answers(Answer::Fails);
    while budget.available() > 0 {
        service.clone().oneshot(Ask::new(0)).await.unwrap_err();
    }
    let before = farm.calls();
    for _ in 0..20 {
        service.clone().oneshot(Ask::new(0)).await.unwrap_err();
    }
    assert!((20..=21).contains(&(farm.calls() - before)));
    // What goes well fills it again, and what was asked for comes back.
    farm.answers(Answer::Good);
    for _ in 0..200 {
        service.clone().oneshot(Ask::new(0)).await.unwrap();
    }
    assert!(budget.available() > 0);
}
