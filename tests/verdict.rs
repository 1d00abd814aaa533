//! One verdict on a call, and one course for whatever sends it again: what failover and retries
//! promise alike.
#![cfg(all(feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, ms, secs, seen};
use tokio::time::{Instant, sleep};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn,
    util::BoxCloneSyncService,
};
use tower_upstream::{
    Attempts, BalanceLayer, Classify, Endpoint, Error, FailoverLayer, Outcome,
    backoff::Jitter,
    balance::RoundRobin,
    budget::{Budget, BudgetConfig, Cause, ShareBudget, ThrottleBudget},
    connect_fn, discover,
    error::Kind,
    outcome::{ErrIsFailure, Repeat},
    replay::ByReplay,
    retry::{RetryConfig, RetryPolicy},
};

type Upstream = BoxCloneSyncService<Ask, u32, Error>;

/// Waits that can be told: 100 ms, 200 ms, 400 ms.
fn config(attempts: u32) -> RetryConfig {
    RetryConfig::up_to(attempts).with_intervals(ms(100), secs(60)).with_jitter(Jitter::None)
}

/// A service that answers with the number of its call, from 1, or as `answer` has it.
fn counting<F>(calls: &Arc<AtomicUsize>, answer: F) -> Upstream
where
    F: Fn(u32) -> Result<u32, Error> + Clone + Send + Sync + 'static,
{
    let calls = calls.clone();
    BoxCloneSyncService::new(service_fn(move |_: Ask| {
        ready(answer(calls.fetch_add(1, SeqCst) as u32 + 1))
    }))
}

fn failover<C>(endpoints: &[&str], layer: FailoverLayer<ByReplay, C>, inner: Upstream) -> Upstream
where
    C: Classify<u32, Error> + Send + Sync + 'static,
{
    let set = BalanceLayer::new(
        discover::fixed(endpoints.iter().copied()).unwrap(),
        RoundRobin::starting_at(0),
    );
    let connect = connect_fn(move |_: &Endpoint| inner.clone());
    BoxCloneSyncService::new(ServiceBuilder::new().layer(layer).layer(set).service(connect))
}

fn retry<C>(policy: RetryPolicy<ByReplay, C>, inner: Upstream) -> Upstream
where
    C: Classify<u32, Error> + Clone + Send + Sync + 'static,
{
    BoxCloneSyncService::new(RetryLayer::new(policy).layer(inner))
}

/// The same client twice: one endpoint below a failover, and below a retry.
fn both<C, F>(
    calls: &Arc<AtomicUsize>,
    config: &RetryConfig,
    classify: C,
    answer: F,
) -> [Upstream; 2]
where
    C: Classify<u32, Error> + Clone + Send + Sync + 'static,
    F: Fn(u32) -> Result<u32, Error> + Clone + Send + Sync + 'static,
{
    let layer = FailoverLayer::new(config.clone().into()).with_classify(classify.clone());
    let policy = RetryPolicy::new(config.clone()).with_classify(classify);
    [
        failover(&["a:1"], layer, counting(calls, answer.clone())),
        retry(policy, counting(calls, answer)),
    ]
}

/// What became of one call, how many attempts it made, and how long they took.
async fn send(service: Upstream, calls: &AtomicUsize) -> (Result<u32, Error>, usize, Duration) {
    calls.store(0, SeqCst);
    let start = Instant::now();
    let result = service.oneshot(Ask::new(1)).await;
    (result, calls.load(SeqCst), start.elapsed())
}

#[track_caller]
fn assert_about(took: Duration, expect: Duration) {
    assert!((expect..=expect + ms(6)).contains(&took), "{took:?}, not {expect:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_section_of_go_holds_for_one_endpoint_and_for_several() {
    let broken = |_| Err(Error::unsent("broken"));
    let calls = Arc::new(AtomicUsize::new(0));
    let go = RetryConfig::go().with_jitter(Jitter::None);
    for service in both(&calls, &go, ErrIsFailure, broken) {
        let (error, calls, took) = send(service, &calls).await;
        assert_eq!((error.unwrap_err().attempts(), calls), (4, 4));
        assert_about(took, ms(100 + 200 + 400));
    }
    // The first other endpoint is tried at once.
    let layer = FailoverLayer::new(go.into());
    let (error, calls, took) =
        send(failover(&["a:1", "b:1"], layer, counting(&calls, broken)), &calls).await;
    assert_eq!((error.unwrap_err().attempts(), calls), (4, 4));
    assert_about(took, ms(100 + 200));
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_retry_section_of_go_drives_failover_over_two_endpoints() {
    let section = serde_json::json!({
        "max_retries": 2,
        "initial_interval": "300ms",
        "max_interval": "5s",
        "multiplier": 4.0,
        "random_jitter": false,
    });
    let config: RetryConfig = serde_json::from_value(section).unwrap();
    let farm = Farm::default();
    for key in ["a:1", "b:1"] {
        farm.get(key).answers(Answer::Fails);
    }
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(config.into()))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .service(farm.clone());
    let start = Instant::now();
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap_err().attempts(), 3);
    assert_about(start.elapsed(), ms(300));
    let mut calls = ["a:1", "b:1"].map(|key| farm.get(key).calls());
    calls.sort_unstable();
    assert_eq!(calls, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_kept_up_to_the_longest_one_and_a_longer_one_ends_the_repeats() {
    let calls = Arc::new(AtomicUsize::new(0));
    let config = config(3).with_max_retry_after(secs(5));
    for (asks, attempts, waits) in
        [(ms(1), 3, ms(300)), (secs(5), 3, secs(10)), (ms(5_001), 1, ms(0))]
    {
        let busy = move |_: Result<&u32, &Error>| Outcome::Overload { retry_after: Some(asks) };
        for service in both(&calls, &config, busy, Ok) {
            // The last answer is handed on as it is.
            let (answer, calls, took) = send(service, &calls).await;
            assert_eq!((answer.unwrap(), calls), (attempts as u32, attempts), "{asks:?}");
            assert_about(took, waits);
        }
    }
}

/// Asks for each call again, after a time of its own.
#[derive(Clone)]
struct Again(Outcome, Duration);

impl Classify<u32, Error> for Again {
    fn classify(&self, _: Result<&u32, &Error>) -> Outcome {
        self.0
    }

    fn repeat(&self, _: Result<&u32, &Error>) -> Repeat {
        Repeat::After(self.1)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_again_comes_after_just_that_time() {
    let calls = Arc::new(AtomicUsize::new(0));
    for outcome in [Outcome::Success, Outcome::Ignored, Outcome::Failure] {
        for (asks, attempts) in [(ms(7), 3), (ms(0), 3), (secs(6), 1)] {
            for service in both(&calls, &config(3), Again(outcome, asks), Ok) {
                let (answer, calls, took) = send(service, &calls).await;
                assert_eq!((answer.unwrap(), calls), (attempts, attempts as usize));
                assert_about(took, asks * (attempts - 1));
            }
        }
    }
}

/// Says no to all, whether or not it failed.
#[derive(Clone)]
struct Never(Outcome);

impl Classify<u32, Error> for Never {
    fn classify(&self, _: Result<&u32, &Error>) -> Outcome {
        self.0
    }

    fn repeat(&self, _: Result<&u32, &Error>) -> Repeat {
        Repeat::No
    }
}

#[tokio::test(start_paused = true)]
async fn no_means_no_and_is_no_success_that_a_budget_rewards() {
    let calls = Arc::new(AtomicUsize::new(0));
    let broken = |_| Err(Error::unsent("broken"));
    for outcome in [Outcome::Success, Outcome::Failure] {
        for service in both(&calls, &config(3), Never(outcome), Ok) {
            assert_eq!(send(service, &calls).await.1, 1, "{outcome:?}");
        }
        for service in both(&calls, &config(3), Never(outcome), broken) {
            assert_eq!(send(service, &calls).await.1, 1, "{outcome:?}");
        }
    }
    // With four tokens of ten there are no retries; a success would bring one more.
    let throttle = ThrottleBudget::default().with_max_tokens(10).with_token_ratio(1.0);
    for outcome in [Outcome::Success, Outcome::Slow] {
        let budget = Budget::with_config(BudgetConfig::Throttle(throttle));
        (0..5).for_each(|_| budget.failure());
        let layer = FailoverLayer::new(config(3).into()).with_budget(budget.clone());
        let policy = RetryPolicy::new(config(3)).with_budget(budget.clone());
        let inner = counting(&calls, Ok);
        let never = Never(outcome);
        let services = [
            failover(&["a:1"], layer.clone().with_classify(never.clone()), inner.clone()),
            retry(policy.clone().with_classify(never), inner.clone()),
        ];
        for service in services {
            send(service, &calls).await.0.unwrap();
            assert_eq!(budget.available(), 0);
        }
        for service in [failover(&["a:1"], layer, inner.clone()), retry(policy, inner)] {
            (0..2).for_each(|_| budget.failure());
            for _ in 0..4 {
                send(service.clone(), &calls).await.0.unwrap();
            }
            assert!(budget.available() > 0, "and these are");
            while budget.available() > 0 {
                budget.failure();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backoff_of_ones_own_is_asked_for_each_wait_by_number_and_cause() {
    let calls = Arc::new(AtomicUsize::new(0));
    // A timeout is an overload.
    let broken = |number: u32| match number {
        2 => Err(Error::from_service(tower::timeout::error::Elapsed::new())),
        _ => Err(Error::unsent("broken")),
    };
    let asked = Arc::<Mutex<Vec<(u32, Cause)>>>::default();
    let own = {
        let asked = asked.clone();
        move |number, cause| {
            asked.lock().unwrap().push((number, cause));
            if cause == Cause::Overload { secs(1) } else { ms(10) * number }
        }
    };
    let layer = FailoverLayer::new(Attempts::up_to(4)).with_backoff(own.clone());
    let policy = RetryPolicy::new(RetryConfig::up_to(4)).with_backoff(own);
    for service in [
        failover(&["a:1"], layer, counting(&calls, broken)),
        retry(policy, counting(&calls, broken)),
    ] {
        let (_, calls, took) = send(service, &calls).await;
        assert_eq!(calls, 4);
        assert_about(took, ms(10 + 1_000 + 30));
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(asked, [(1, Cause::Failure), (2, Cause::Overload), (3, Cause::Failure)]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_absurd_backoff_of_ones_own_is_an_hour() {
    let calls = Arc::new(AtomicUsize::new(0));
    let absurd = |_, _| Duration::MAX;
    let flaky = |number| if number == 1 { Err(Error::unsent("broken")) } else { Ok(number) };
    let layer = FailoverLayer::new(Attempts::up_to(2)).with_backoff(absurd);
    let policy = RetryPolicy::new(RetryConfig::up_to(2)).with_backoff(absurd);
    for service in
        [failover(&["a:1"], layer, counting(&calls, flaky)), retry(policy, counting(&calls, flaky))]
    {
        let (answer, _, took) = send(service, &calls).await;
        assert_eq!(answer.unwrap(), 2);
        assert_about(took, secs(3_600));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_sent_again_for_free_once_and_is_no_failure() {
    let calls = Arc::new(AtomicUsize::new(0));
    let throttle = BudgetConfig::Throttle(ThrottleBudget::default().with_max_tokens(10));
    for dead in [1, 2] {
        let answer = move |number| match number {
            number if number <= dead => Err(Error::connection("reset by peer")),
            number => Ok(number),
        };
        let budgets = [(); 2].map(|()| Budget::with_config(throttle));
        let layer = FailoverLayer::new(config(2).into()).with_budget(budgets[0].clone());
        let policy = RetryPolicy::new(config(2)).with_budget(budgets[1].clone());
        let services = [
            failover(&["a:1"], layer, counting(&calls, answer)),
            retry(policy, counting(&calls, answer)),
        ];
        for (service, budget) in services.into_iter().zip(budgets) {
            let before = budget.available();
            let (answer, _, took) = send(service, &calls).await;
            assert_eq!(answer.unwrap(), dead + 1);
            assert_eq!(
                budget.stats().admitted,
                Some(u64::from(dead - 1)),
                "the second one is a retry"
            );
            assert_eq!(budget.available(), before);
            assert_about(took, ms(100) * (dead - 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_tried_again_below_goes_to_another_endpoint_and_not_to_the_same() {
    let calls = Arc::new(AtomicUsize::new(0));
    let broken = |_| Err(Error::unsent("broken"));
    let below = retry(RetryPolicy::new(config(3)), counting(&calls, broken));
    let above = retry(RetryPolicy::new(config(3)), below.clone());
    let (error, made, _) = send(above, &calls).await;
    assert_eq!((error.unwrap_err().kind(), made), (Kind::RetryExhausted, 3));
    for (endpoints, attempts) in [(&["a:1"][..], 3), (&["a:1", "b:1"], 6)] {
        let above = failover(endpoints, FailoverLayer::new(config(5).into()), below.clone());
        assert_eq!(send(above, &calls).await.1, attempts, "{endpoints:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_says_why_the_call_was_not_sent_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let broken = |_| Err(Error::unsent("broken"));
    let layer = FailoverLayer::new(config(3).into()).with_budget(Budget::none());
    let policy = RetryPolicy::new(config(3)).with_budget(Budget::none());
    for service in [
        failover(&["a:1"], layer, counting(&calls, broken)),
        retry(policy, counting(&calls, broken)),
    ] {
        let (error, calls, _) = send(service, &calls).await;
        let text = error.unwrap_err().to_string();
        assert!(calls == 1 && text.contains("the retry budget is spent"), "{text}");
    }
}

// Settings and counts of a failover.

#[tokio::test(start_paused = true)]
async fn attempts_change_while_services_run_and_a_call_keeps_what_it_met() {
    let inner = Inner::new("a");
    inner.answers(Answer::Fails);
    let layer = FailoverLayer::new(Attempts::from(config(3)));
    let handle = layer.handle();
    let service = layer.with_budget(Budget::unlimited()).layer(
        BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)).layer(
            connect_fn({
                let inner = inner.clone();
                move |_: &Endpoint| inner.service()
            }),
        ),
    );
    let under_way = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(ms(50)).await;
    assert_eq!(inner.calls(), 1);
    handle.update(&Attempts::up_to(1)).unwrap();
    assert_eq!((handle.config().max, service.handle().config().max), (1, 1));
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.calls(), 2);
    assert_eq!(under_way.await.unwrap().unwrap_err().attempts(), 3);
    // A limit that begins, and one that ends.
    inner.answers(Answer::Never);
    handle.update(&Attempts::up_to(1).with_timeout(ms(30))).unwrap();
    let start = Instant::now();
    assert!(service.clone().oneshot(Ask::new(1)).await.unwrap_err().is_timeout());
    assert_about(start.elapsed(), ms(30));
    inner.answers(Answer::GoodAfter(secs(2)));
    let limited = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(ms(10)).await;
    handle.update(&Attempts::up_to(1)).unwrap();
    assert!(limited.await.unwrap().unwrap_err().is_timeout());
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    // A mistake changes nothing.
    let error = handle.update(&Attempts::up_to(0).with_overall(ms(1))).unwrap_err();
    assert!(error.kind() == Kind::InvalidConfig && error.to_string().contains("`max`"), "{error}");
    assert_eq!(handle.config(), Attempts::up_to(1));
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_counted() {
    let calls = Arc::new(AtomicUsize::new(0));
    let budget = Budget::new(0.0, 0, 2);
    let layer = FailoverLayer::new(config(3).into()).with_budget(budget.clone());
    let handle = layer.handle();
    let answer = |number| match number {
        2 => Err(Error::connection("reset by peer")),
        5 => Ok(number),
        _ => Err(Error::unsent("broken")),
    };
    let mut service = failover(&["a:1", "b:1"], layer, counting(&calls, answer));
    // One, two again for free, three: both tokens are spent. Then a call that nothing pays for.
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
    service.ready().await.unwrap().call(Ask::new(1).until(Instant::now())).await.unwrap_err();
    // One that came too late, and is never polled.
    drop(service.ready().await.unwrap().call(Ask::new(1).until(Instant::now())));
    let stats = handle.stats();
    assert_eq!((handle.retries(), handle.moved()), (2, 1));
    assert_eq!((stats.failed, stats.refused, stats.admitted), (Some(2), Some(2), None));
    assert_eq!((budget.stats().admitted, budget.stats().refused), (Some(2), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn the_service_inside_can_be_reached() {
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0))
        .layer(Farm::default());
    let mut service = FailoverLayer::new(Attempts::up_to(2)).layer(set);
    service.get_mut().ready().await.unwrap();
    assert_eq!(service.get_ref().handle().members().len(), 1);
    assert_eq!(service.into_inner().oneshot(Ask::new(1)).await.unwrap(), "a:1");
}

// Budgets.

#[tokio::test(start_paused = true)]
async fn a_share_takes_fractions_a_second_and_may_begin_below_full() {
    let share = ShareBudget::default().with_ratio(0.0).with_floor(0.25).with_capacity(10);
    let budget = Budget::with_config(BudgetConfig::Share(share.with_start(2)));
    assert_eq!([(); 3].map(|()| budget.withdraw()), [true, true, false]);
    sleep(ms(3_999)).await;
    assert!(!budget.withdraw());
    sleep(ms(2)).await;
    assert_eq!([(); 2].map(|()| budget.withdraw()), [true, false]);
    assert_eq!(Budget::with_config(BudgetConfig::Share(share)).available(), 10);
    assert_eq!(Budget::new(0.0, 0.5, 7).available(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_budget_changes_for_all_that_share_it_and_keeps_what_it_can() {
    let share = ShareBudget::default().with_ratio(0.5).with_floor(0.0).with_capacity(10);
    let budget = Budget::with_config(BudgetConfig::Share(share));
    let elsewhere = budget.clone();
    (0..6).for_each(|_| assert!(elsewhere.withdraw()));
    // The same rule: the tokens stay, and none come for the time before.
    sleep(secs(100)).await;
    budget
        .update(&BudgetConfig::Share(share.with_floor(1.0).with_capacity(5).with_start(5)))
        .unwrap();
    assert_eq!(elsewhere.available(), 4);
    sleep(secs(60)).await;
    assert_eq!(elsewhere.available(), 5);
    // Other rules begin as new ones do, and so does another time to live.
    let window = |ttl| BudgetConfig::Share(share.with_floor(2.0).with_ttl(secs(ttl)));
    for (config, available) in [
        (window(10), 20),
        (window(5), 10),
        (BudgetConfig::Unlimited, u32::MAX),
        (BudgetConfig::Throttle(ThrottleBudget::default().with_max_tokens(10)), 4),
        (BudgetConfig::Empty, 0),
        (window(5), 10),
        (window(7), 14),
        (BudgetConfig::Share(share.with_start(3)), 3),
    ] {
        budget.update(&config).unwrap();
        assert_eq!(elsewhere.available(), available, "{config:?}");
        elsewhere.withdraw();
    }
    // What a window has counted stays with its time to live.
    budget.update(&window(7)).unwrap();
    (0..14).for_each(|_| assert!(elsewhere.withdraw()));
    budget.update(&BudgetConfig::Share(share.with_floor(3.0).with_ttl(secs(7)))).unwrap();
    assert_eq!(elsewhere.available(), 7);
    // A mistake changes nothing.
    let error = budget.update(&BudgetConfig::Share(share.with_ratio(11.0))).unwrap_err();
    assert!(
        error.kind() == Kind::InvalidConfig && error.to_string().contains("`ratio`"),
        "{error}"
    );
    assert_eq!(elsewhere.available(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ran_by_another_rule_gives_back_what_it_took() {
    use tower_upstream::budget::{ConcurrentBudget, StandardBudget};

    let concurrent = ConcurrentBudget::default().with_percent(50.0).with_min(0);
    let concurrent = BudgetConfig::Concurrent(concurrent);
    let standard = StandardBudget::default().with_capacity(28);
    let budget = Budget::with_config(concurrent);
    let calls: Vec<_> = (0..4).map(|_| budget.running()).collect();
    let permit = budget.retry(Cause::Failure).unwrap();
    budget.update(&BudgetConfig::Standard(standard)).unwrap();
    let paid = budget.retry(Cause::Failure).unwrap();
    drop((calls, permit));
    budget.update(&concurrent).unwrap();
    paid.succeed();
    assert_eq!(budget.available(), 0);
    let calls: Vec<_> = (0..4).map(|_| budget.running()).collect();
    assert_eq!(budget.available(), 2, "nothing runs that was given back");
    drop(calls);
}

/// A plain 500, a plain 200 and the rest mean the same to whatever counts them.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_status_means_the_same_to_breaker_failover_and_retry() {
    use http::{Request, Response};
    use tower_upstream::{CircuitBreakerConfig, CircuitBreakerLayer, http::HttpClassify};

    for (status, failed) in [(200, false), (404, false), (429, true), (500, true), (503, true)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let client = service_fn(move |_: Request<()>| {
            counted.fetch_add(1, SeqCst);
            ready(Ok::<_, Error>(Response::builder().status(status).body(()).unwrap()))
        });
        let get = || Request::get("http://x/").body(()).unwrap();
        let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1))
            .with_classify(HttpClassify);
        breaker.layer(client.clone()).oneshot(get()).await.unwrap();
        assert_eq!(seen(&breaker.handle()).failed, u64::from(failed), "{status}");

        calls.store(0, SeqCst);
        let policy = RetryPolicy::new(config(2)).with_classify(HttpClassify);
        let answer = RetryLayer::new(policy).layer(client.clone()).oneshot(get()).await;
        assert_eq!(answer.unwrap().status(), status);
        assert_eq!(calls.swap(0, SeqCst), 1 + usize::from(failed), "{status}");

        let set =
            BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::starting_at(0));
        let answer = ServiceBuilder::new()
            .layer(FailoverLayer::new(config(2).into()).with_classify(HttpClassify))
            .layer(set)
            .service(connect_fn(move |_: &Endpoint| client.clone()))
            .oneshot(get())
            .await;
        assert_eq!(answer.unwrap().status(), status);
        assert_eq!(calls.load(SeqCst), 1 + usize::from(failed), "{status}");
    }
}
