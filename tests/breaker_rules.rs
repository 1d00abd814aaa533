//! Which rules open a circuit, what closes it, and who is told.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use support::{Answer, Ask, Farm, Inner, Probe, ms, secs, seen, settle};
use tokio::time::{sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    buffer::BufferLayer,
    layer::{layer_fn, util::Identity},
    service_fn,
};
use tower_upstream::{
    Attempts, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, FailoverLayer, Outcome,
    balance::{BalanceLayer, RoundRobin},
    breaker::{Cancelled, CircuitBreaker, CircuitBreakerHandle, CircuitState, Window},
    connect::EachLayer,
    discover,
    error::Kind,
    telemetry::{Event, EventKind, Events},
};

/// Ratios alone, and nothing at random.
fn ratio(window: Window) -> CircuitBreakerConfig {
    CircuitBreakerConfig::default().with_failures(0).with_window(window).with_open_jitter(0.0)
}

struct Alone {
    inner: Arc<Inner>,
    service: CircuitBreaker<Probe>,
    handle: CircuitBreakerHandle,
}

fn alone(config: CircuitBreakerConfig) -> Alone {
    let layer = CircuitBreakerLayer::new(config);
    let inner = Inner::new("a:1");
    Alone { service: layer.layer(inner.service()), handle: layer.handle(), inner }
}

impl Alone {
    async fn calls(&self, answer: Answer, times: usize) {
        self.inner.answers(answer);
        for _ in 0..times {
            let _ = self.service.clone().oneshot(Ask::new(1)).await;
        }
    }

    /// How many failures in a row open it from here.
    async fn failures_to_open(&self) -> usize {
        self.inner.answers(Answer::Fails);
        for failures in 1.. {
            self.calls(Answer::Fails, 1).await;
            if self.handle.state() == CircuitState::Open {
                return failures;
            }
        }
        unreachable!()
    }

    fn window(&self) -> (u64, u64) {
        let window = seen(&self.handle).window;
        (window.calls, window.failures)
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_slides_however_many_went_before() {
    for before in [0, 100, 10_000, 100_000] {
        let it = alone(ratio(Window::Calls(100)));
        it.calls(Answer::Good, before).await;
        let expected = if before == 0 { 20 } else { 50 };
        assert_eq!(it.failures_to_open().await, expected, "after {before}");
        assert_eq!(seen(&it.handle).window.failures, expected as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_slides_in_tenths() {
    let it = alone(ratio(Window::Time(secs(10))));
    it.calls(Answer::Good, 30).await;
    sleep(secs(5)).await;
    it.calls(Answer::Fails, 29).await;
    assert_eq!((it.handle.state(), it.window()), (CircuitState::Closed, (59, 29)));
    // The good ones leave the window first, and the next call finds that most have failed.
    sleep(secs(5)).await;
    assert_eq!((it.handle.state(), it.window()), (CircuitState::Closed, (29, 29)));
    it.calls(Answer::Good, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn at_a_high_rate_a_window_of_time_still_holds_every_call() {
    let it = alone(ratio(Window::Time(secs(10))));
    for _ in 0..25 {
        it.calls(Answer::Good, 10_000).await;
        sleep(secs(1)).await;
    }
    let (calls, _) = it.window();
    // The current tenth is empty; what is held back is at most 255 calls.
    assert!(calls.abs_diff(90_000) <= 255, "{calls}");
    it.calls(Answer::Fails, 1).await;
    assert!(it.window().0.abs_diff(90_001) <= 255);
}

#[tokio::test(start_paused = true)]
async fn so_few_calls_prove_nothing_but_enough_need_not_fill_the_window() {
    let it = alone(ratio(Window::Calls(1_000)).with_min_calls(10));
    it.calls(Answer::Fails, 9).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    // The tenth call opens it, though it went well.
    it.calls(Answer::Good, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    // Also where no good call was looked at one by one before.
    let it = alone(ratio(Window::Calls(1_000)).with_min_calls(10));
    it.calls(Answer::Good, 2).await;
    it.calls(Answer::Fails, 7).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.calls(Answer::Good, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    // More than a window holds is as many as it holds.
    let it = alone(ratio(Window::Calls(5)).with_min_calls(1_000));
    assert_eq!(it.failures_to_open().await, 5);
}

#[tokio::test(start_paused = true)]
async fn whichever_rule_is_met_first_opens_it() {
    let either = || ratio(Window::Calls(10)).with_min_calls(10).with_failures(3);
    assert_eq!(alone(either()).failures_to_open().await, 3);
    let it = alone(either());
    for _ in 0..5 {
        it.calls(Answer::Good, 1).await;
        it.calls(Answer::Fails, 1).await;
    }
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_though_they_go_well() {
    let slow = ratio(Window::Calls(10)).with_failure_ratio(None).with_cancelled(Cancelled::Ignored);
    let it = alone(slow.with_slow_ratio(0.5).with_slow_after(secs(1)).with_min_calls(4));
    it.calls(Answer::GoodAfter(ms(999)), 4).await;
    it.calls(Answer::GoodAfter(secs(1)), 3).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.calls(Answer::GoodAfter(secs(1)), 1).await;
    let stats = seen(&it.handle);
    assert_eq!((stats.state, stats.slow), (CircuitState::Open, 4));
    assert_eq!((stats.succeeded, stats.failed), (8, 0));
    // Probes that are all slow are no better.
    sleep(secs(5)).await;
    it.calls(Answer::GoodAfter(secs(2)), 3).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    // Nobody looks at a clock where no rule asks.
    let it = alone(ratio(Window::Calls(10)).with_slow_after(secs(1)));
    it.calls(Answer::GoodAfter(secs(1)), 3).await;
    assert_eq!((seen(&it.handle).slow, it.window()), (0, (3, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_say_that_a_call_was_slow() {
    let layer =
        CircuitBreakerLayer::new(ratio(Window::Calls(10)).with_slow_ratio(0.5).with_min_calls(2));
    let layer = layer.with_classify(|_: Result<&u32, &BoxError>| Outcome::Slow);
    let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    for n in 0..2 {
        service.clone().oneshot(n).await.unwrap();
    }
    let stats = seen(&layer.handle());
    assert_eq!((stats.state, stats.slow, stats.succeeded), (CircuitState::Open, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn half_open_has_a_window_of_its_own() {
    let it = alone(ratio(Window::Time(secs(1))).with_successes(3).with_probe_failures(2));
    let to_half_open = async || {
        it.handle.reset();
        it.failures_to_open().await;
        sleep(secs(5)).await;
        assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    };
    // Probes that come seldom do not slide out of it, and hold no place once they have ended.
    to_half_open().await;
    for answer in [Answer::Good, Answer::Fails, Answer::Good, Answer::Fails] {
        it.calls(answer, 1).await;
        assert_eq!(it.handle.state(), CircuitState::HalfOpen);
        sleep(secs(3_600)).await;
    }
    it.calls(Answer::Good, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    to_half_open().await;
    it.calls(Answer::Fails, 2).await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    it.calls(Answer::Fails, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn each_opening_in_a_row_lasts_longer_up_to_a_cap() {
    let it = alone(
        CircuitBreakerConfig::consecutive(1)
            .with_open_for(secs(4))
            .with_open_growth(2.0)
            .with_max_open_for(secs(10))
            .with_open_jitter(0.0)
            .with_successes(1)
            .with_probe_failures(0),
    );
    let open_for = async || {
        it.calls(Answer::Fails, 1).await;
        let refusal = it.service.clone().oneshot(Ask::new(1)).await.unwrap_err();
        let wait = refusal.retry_after().unwrap();
        sleep(wait).await;
        wait.as_secs()
    };
    assert_eq!([open_for().await, open_for().await, open_for().await], [4, 8, 10]);
    it.calls(Answer::Good, 1).await;
    assert_eq!(open_for().await, 4);
    assert_eq!(seen(&it.handle).opened, 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_says_when_to_come_back_is_believed_up_to_the_cap() {
    for (asked, expected) in [(1, 5), (20, 20), (86_400, 60)] {
        let rule =
            move |_: Result<&u32, &BoxError>| Outcome::Overload { retry_after: Some(secs(asked)) };
        let config = CircuitBreakerConfig::consecutive(1).with_open_jitter(0.0);
        let layer = CircuitBreakerLayer::new(config).with_classify(rule);
        let service = layer.layer(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
        service.clone().oneshot(1).await.unwrap();
        let refusal = service.oneshot(1).await.unwrap_err();
        assert_eq!(refusal.retry_after(), Some(secs(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_is_seen_as_the_policy_says() {
    let tries = async |cancelled, patience: Duration| {
        let it = alone(
            CircuitBreakerConfig::consecutive(9).with_cancelled(cancelled).with_slow_after(secs(1)),
        );
        it.inner.answers(Answer::Never);
        for _ in 0..3 {
            let call = it.service.clone().oneshot(Ask::new(1));
            timeout(patience, call).await.unwrap_err();
        }
        // Made, and dropped before anybody polled it: nothing was sent.
        let mut service = it.service.clone();
        let _ = service.ready().await.map(|service| drop(service.call(Ask::new(1))));
        let stats = seen(&it.handle);
        assert_eq!((stats.failed + stats.ignored, stats.refused), (4, 0));
        stats.failed
    };
    assert_eq!(tries(Cancelled::FailureIfSlow, secs(1)).await, 3);
    assert_eq!(tries(Cancelled::FailureIfSlow, ms(999)).await, 0);
    assert_eq!(tries(Cancelled::Failure, ms(1)).await, 3);
    assert_eq!(tries(Cancelled::Ignored, secs(100)).await, 0);
}

/// A service whose calls run in a task of their own, which ends with whoever waits for it.
#[derive(Clone)]
struct InATask<S>(S);

impl<S: Service<Ask, Future: Send + 'static, Response: Send, Error: Send> + 'static> Service<Ask>
    for InATask<S>
where
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(self.0.call(ask));
        Box::pin(async move { tasks.join_next().await.unwrap().unwrap() })
    }
}

/// Failures and calls that say nothing, of three attempts that time out with `around` between.
async fn attempts_that_time_out<L>(around: L) -> (u64, u64)
where
    L: Layer<CircuitBreaker<Probe>> + Clone + Send + Sync + 'static,
    L::Service: Service<Ask, Response = String, Error: Into<BoxError>> + Clone + Send + Sync,
    <L::Service as Service<Ask>>::Future: Send,
    <L::Service as Service<Ask>>::Error: Send,
{
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(9));
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(100))))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::new()))
        .layer(EachLayer::new(around))
        .layer(layer.clone())
        .service(farm);
    for _ in 0..3 {
        assert!(service.clone().oneshot(Ask::new(1)).await.unwrap_err().is_timeout());
        settle().await;
    }
    let stats = seen(&layer.handle_for("a:1").unwrap());
    (stats.failed, stats.ignored)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_has_failed_unless_a_task_of_its_own_is_between() {
    assert_eq!(attempts_that_time_out(Identity::new()).await, (3, 0));
    // The caller polls, and drops, what the worker of this queue has called.
    assert_eq!(attempts_that_time_out(BufferLayer::new(8)).await, (3, 0));
    assert_eq!(attempts_that_time_out(layer_fn(InATask)).await, (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_has_failed() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let service = layer.layer(service_fn(async |n: u32| match n {
        0 => panic!("the service panics"),
        n => Ok::<_, BoxError>(n),
    }));
    for _ in 0..2 {
        assert!(AssertUnwindSafe(service.clone().oneshot(0)).catch_unwind().await.is_err());
    }
    assert_eq!(seen(&layer.handle()).failed, 2);
    assert_eq!(layer.handle().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn measuring_only_it_lets_all_pass_and_says_what_it_would_have_done() {
    let it = alone(ratio(Window::Calls(10)).with_min_calls(4));
    it.handle.metrics_only();
    for _ in 0..3 {
        it.calls(Answer::Fails, 10).await;
        it.calls(Answer::Good, 10).await;
    }
    let stats = seen(&it.handle);
    assert_eq!((stats.state, stats.would_have_opened), (CircuitState::MetricsOnly, 3));
    assert_eq!((stats.opened, stats.refused, stats.admitted), (0, 0, 60));
    assert_eq!(it.window(), (10, 0));
    it.handle.auto();
    assert_eq!(it.failures_to_open().await, 4);
    // A good call may be the one that would have, too.
    it.handle.metrics_only();
    it.calls(Answer::Fails, 3).await;
    it.calls(Answer::Good, 1).await;
    assert_eq!(seen(&it.handle).would_have_opened, 4);
}

#[tokio::test(start_paused = true)]
async fn new_settings_hold_from_the_next_call_on_and_keep_what_was_counted() {
    let (farm, layer, service) = below(&["a:1"], ratio(Window::Calls(10)).with_min_calls(10));
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..5 {
        let _ = service.clone().oneshot(Ask::new(1)).await;
    }
    let endpoint = layer.handle_for("a:1").unwrap();
    let wrong = CircuitBreakerConfig::default().with_probes(0).with_failure_ratio(7.0);
    for handle in [&layer.handle(), &endpoint] {
        let error = handle.update(&wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains("probes") && error.to_string().contains("ratio"));
    }
    let calls = async |times: usize| {
        for _ in 0..times {
            let _ = service.clone().oneshot(Ask::new(1)).await;
        }
        endpoint.state()
    };
    // One endpoint alone, then all of the layer.
    endpoint.update(&ratio(Window::Calls(10)).with_min_calls(7)).unwrap();
    assert_eq!(calls(1).await, CircuitState::Closed);
    assert_eq!(seen(&endpoint).window.calls, 6);
    layer.handle().update(&ratio(Window::Calls(20)).with_min_calls(8)).unwrap();
    assert_eq!(calls(1).await, CircuitState::Closed);
    assert_eq!(calls(1).await, CircuitState::Open);
    assert_eq!(seen(&endpoint).window.calls, 8);
    layer.handle().update(&ratio(Window::Calls(20)).with_enabled(false)).unwrap();
    assert_eq!(calls(100).await, CircuitState::Disabled);
    assert_eq!(layer.fresh().handle().state(), CircuitState::Disabled, "for those to come, too");
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_and_what_counts_can_be_set_anew() {
    let it = alone(ratio(Window::Calls(100)).with_slow_after(secs(60)));
    it.calls(Answer::Good, 100).await;
    // Another kind of window looks at the clock again.
    it.handle.update(&ratio(Window::Time(secs(10)))).unwrap();
    it.calls(Answer::Good, 10).await;
    sleep(secs(20)).await;
    assert!(it.window().0 <= 1, "{:?}", it.window());
    let slow = ratio(Window::Calls(10)).with_slow_ratio(0.5).with_slow_after(secs(1));
    it.handle.update(&slow.with_min_calls(2)).unwrap();
    it.calls(Answer::GoodAfter(secs(1)), 2).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_told_in_order_after_the_state_is_visible_and_outside_of_locks() {
    type Seen = Arc<Mutex<Vec<(CircuitState, CircuitState, CircuitState)>>>;
    let (seen, handle) = (Seen::default(), Arc::new(Mutex::new(None::<CircuitBreakerHandle>)));
    let (list, own) = (seen.clone(), handle.clone());
    let listener = move |event: &Event| {
        let EventKind::Circuit { from, to, .. } = event.kind else { panic!() };
        let handle = own.lock().unwrap().clone().unwrap();
        let now = handle.state();
        list.lock().unwrap().push((from, to, now));
        if to == CircuitState::ForcedOpen {
            handle.metrics_only();
            panic!("a listener panics");
        }
    };
    let events = Events::new();
    events.subscribe(listener).detach();
    let config = CircuitBreakerConfig::consecutive(1).with_successes(1).with_open_jitter(0.0);
    let layer = CircuitBreakerLayer::new(config).with_events(&events);
    *handle.lock().unwrap() = Some(layer.handle());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    inner.answers(Answer::Fails);
    let _ = service.clone().oneshot(Ask::new(1)).await;
    sleep(secs(5)).await;
    inner.answers(Answer::Good);
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    // What changes no state is no transition.
    layer.handle().reset();
    layer.handle().force_open();
    layer.handle().force_open();
    use CircuitState::{Closed, ForcedOpen, HalfOpen, MetricsOnly, Open};
    let expected = [
        (Closed, Open, Open),
        (Open, HalfOpen, HalfOpen),
        (HalfOpen, Closed, Closed),
        (Closed, ForcedOpen, ForcedOpen),
        (ForcedOpen, MetricsOnly, MetricsOnly),
        (MetricsOnly, ForcedOpen, ForcedOpen),
        (ForcedOpen, MetricsOnly, MetricsOnly),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

// Below a balancer, and by key.

type Below = tower_upstream::balance::Balance<CircuitBreaker<Probe>, RoundRobin>;

fn below(keys: &[&str], config: CircuitBreakerConfig) -> (Farm, CircuitBreakerLayer, Below) {
    let farm = Farm::default();
    keys.iter().for_each(|key| drop(farm.get(key)));
    let layer = CircuitBreakerLayer::new(config);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(
            discover::fixed(keys.iter().copied()).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(layer.clone())
        .service(farm.clone());
    (farm, layer, service)
}

/// Fails for multiples of seven.
fn seven(n: u64) -> std::future::Ready<Result<u64, BoxError>> {
    std::future::ready(if n % 7 == 0 { Err("seven".into()) } else { Ok(n) })
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_circuit_of_its_own() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1)).by_key(|n: &u64| *n);
    let service = layer.layer(service_fn(seven));
    for n in [7, 8, 14] {
        let _ = service.clone().oneshot(n).await;
    }
    for (n, refused) in [(7, true), (8, false), (14, true), (9, false)] {
        let refusal = service.clone().oneshot(n).await.err();
        assert_eq!(refusal.is_some_and(|error| error.is_refused()), refused, "{n}");
    }
    assert_eq!(layer.handle_for(&7_u64).unwrap().state(), CircuitState::Open);
    assert!(layer.handle_for(&70_u64).is_none());
    let other = layer.clone().layer(service_fn(seven));
    assert!(other.oneshot(7).await.unwrap_err().is_refused(), "clones share the circuits");
    layer.handle().update(&CircuitBreakerConfig::default().with_enabled(false)).unwrap();
    assert!(!service.oneshot(7).await.unwrap_err().is_refused());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_costs_no_memory_and_no_open_circuit() {
    let config = CircuitBreakerConfig::consecutive(1)
        .with_open_for(secs(3_600))
        .with_max_open_for(secs(3_600));
    let layer = CircuitBreakerLayer::new(config.clone()).by_key(|n: &u64| *n).with_max_keys(50);
    let mut service = layer.layer(service_fn(seven));
    // One that is in use stays, as do those that are open.
    let running = service.ready().await.unwrap().call(1);
    for n in [7, 14, 21] {
        let _ = service.clone().oneshot(n).await;
    }
    // So does one that somebody has set.
    service.clone().oneshot(2).await.unwrap();
    layer.handle_for(&2_u64).unwrap().metrics_only();
    for n in (1_000_000..1_100_000_u64).filter(|n| n % 7 != 0) {
        service.ready().await.unwrap().call(n).await.unwrap();
        assert!(layer.handle().len() <= 50);
    }
    assert_eq!(layer.handle().len(), 50);
    assert!(layer.handle_for(&1_u64).is_some() && layer.handle_for(&1_099_999_u64).is_some());
    assert_eq!(layer.handle_for(&2_u64).unwrap().state(), CircuitState::MetricsOnly);
    for n in [7_u64, 14, 21] {
        assert_eq!(layer.handle_for(&n).unwrap().state(), CircuitState::Open, "{n}");
    }
    drop(running);
    // Where every circuit is open, new keys share one.
    for n in (1..10_000_u64).map(|n| n * 7) {
        let _ = service.clone().oneshot(n).await;
    }
    assert_eq!(layer.handle().len(), 50);
    let refusal = service.clone().oneshot(700_007 * 11).await.unwrap_err();
    assert!(refusal.is_refused(), "the circuit of all others is open");
    // New settings are theirs, too.
    layer.handle().update(&config.with_enabled(false)).unwrap();
    assert!(!service.oneshot(700_007 * 11).await.unwrap_err().is_refused());
}

#[tokio::test(start_paused = true)]
async fn the_key_that_was_used_longest_ago_makes_room() {
    let layer = CircuitBreakerLayer::default().by_key(|n: &u64| *n).with_max_keys(4);
    let service = layer.layer(service_fn(seven));
    for n in [1, 2, 3, 4, 1, 5, 6] {
        service.clone().oneshot(n).await.unwrap();
    }
    let known = |n: &u64| layer.handle_for(n).is_some();
    assert_eq!((1..7).filter(known).collect::<Vec<_>>(), [1, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_a_keyed_circuit_refuses_in_call_and_bars_nobody() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1)).by_key(|_: &Ask| 0);
    let farm = Farm::default();
    for key in ["a:1", "b:1"] {
        farm.get(key).answers(Answer::Fails);
    }
    let set =
        BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::starting_at(0));
    let service = ServiceBuilder::new().layer(set).layer(layer.clone()).service(farm.clone());
    assert!(!service.clone().oneshot(Ask::new(1)).await.unwrap_err().is_refused());
    settle().await;
    for _ in 0..4 {
        let refusal = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
        assert_eq!(refusal.kind(), Kind::CircuitOpen);
    }
    assert!(service.handle().members().iter().all(|member| member.is_eligible()));
    assert_eq!(layer.handle().len(), 1);
}
