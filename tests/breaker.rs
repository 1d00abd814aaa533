//! What a circuit breaker promises, with services that run and a clock that is paused.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, Probe, Readiness, counted, ms, secs, seen, settle};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error, Outcome,
    balance::{BalanceLayer, RoundRobin},
    breaker::{CircuitBreaker, CircuitBreakerHandle, CircuitState, Window},
    connect::Connect,
    discover,
    error::Kind,
    member::Member,
};

const OPEN_FOR: Duration = secs(5);

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(3)
        .with_open_for(OPEN_FOR)
        .with_open_growth(1.0)
        .with_open_jitter(0.0)
        .with_probes(2)
        .with_successes(2)
        .with_probe_failures(0)
        .with_slow_after(secs(60))
}

/// Until the time of an open circuit is over.
async fn half_open() {
    sleep(OPEN_FOR + ms(1)).await;
}

struct Alone {
    inner: Arc<Inner>,
    service: CircuitBreaker<Probe>,
    handle: CircuitBreakerHandle,
}

fn alone(config: CircuitBreakerConfig) -> Alone {
    let inner = Inner::new("a:1");
    let layer = CircuitBreakerLayer::new(config);
    Alone { service: layer.layer(inner.service()), handle: layer.handle(), inner }
}

impl Alone {
    async fn call(&self) -> Result<String, Error> {
        self.service.clone().oneshot(Ask::new(1)).await
    }

    async fn calls(&self, answer: Answer, times: usize) {
        self.inner.answers(answer);
        for _ in 0..times {
            let _ = self.call().await;
        }
    }

    async fn trip(&self) {
        self.calls(Answer::Fails, 3).await;
        assert_eq!(self.handle.state(), CircuitState::Open);
    }

    /// A probe that is on its way.
    fn begin(&self) -> task::Spawn<impl Future<Output = Result<String, Error>> + use<>> {
        let mut call = task::spawn(self.service.clone().oneshot(Ask::new(1)));
        assert_pending!(call.poll());
        call
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_open_it_and_a_success_starts_anew() {
    let it = alone(config());
    for _ in 0..3 {
        it.calls(Answer::Fails, 2).await;
        it.calls(Answer::Good, 1).await;
    }
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.trip().await;
    let stats = seen(&it.handle);
    assert_eq!((stats.succeeded, stats.failed, stats.refused), (3, 9, 0));
    assert_eq!(stats.last_failure, Some(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_count_only_with_enough_calls_in_the_window() {
    let it = alone(config().with_failures_min_calls(10));
    it.calls(Answer::Good, 4).await;
    it.calls(Answer::Fails, 5).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.calls(Answer::Fails, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    // The calls of the last time count no more, and neither do those of long ago.
    it.handle.reset();
    it.calls(Answer::Fails, 9).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    sleep(secs(11)).await;
    it.calls(Answer::Good, 1).await;
    it.calls(Answer::Fails, 8).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.calls(Answer::Fails, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    // As many failures in a row are enough, however seldom they come and however small the window.
    for window in [Window::Calls(5), Window::Time(secs(1))] {
        let it = alone(config().with_failures_min_calls(10).with_window(window));
        for _ in 0..9 {
            it.calls(Answer::Fails, 1).await;
            sleep(secs(5)).await;
        }
        assert_eq!(it.handle.state(), CircuitState::Closed);
        it.calls(Answer::Fails, 1).await;
        assert_eq!(it.handle.state(), CircuitState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn open_it_refuses_without_touching_the_inner_and_says_when_to_come_back() {
    let mut it = alone(config());
    it.trip().await;
    // Not even a stuck inner can hide the refusal.
    it.inner.is(Readiness::Pending);
    let (polls, calls) = (it.inner.polls(), it.inner.calls());
    advance(Duration::from_nanos(1_234_567_891)).await;
    let mut ready = task::spawn(());
    assert_ready_ok!(ready.enter(|cx, _| Service::<Ask>::poll_ready(&mut it.service, cx)));
    let mut call = task::spawn(it.service.call(Ask::new(1)));
    let error = assert_ready_err!(call.poll());
    assert_eq!(error.kind(), Kind::CircuitOpen);
    assert!(error.is_refused() && error.is_unsent() && error.endpoint().is_none());
    assert_eq!(error.retry_after(), Some(OPEN_FOR - Duration::from_nanos(1_234_567_891)));
    assert_eq!((it.inner.polls(), it.inner.calls()), (polls, calls));
    assert_eq!(seen(&it.handle).refused, 1);
}

#[tokio::test(start_paused = true)]
async fn it_becomes_half_open_in_time_and_without_traffic() {
    let it = alone(config());
    it.trip().await;
    advance(OPEN_FOR - ms(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    advance(ms(1)).await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    settle().await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    assert!(format!("{:?}", it.service).contains("HalfOpen"));
}

#[tokio::test(start_paused = true)]
async fn half_open_it_lets_so_many_calls_pass_at_once() {
    let it = alone(config());
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::ByHand);
    let mut calls: Vec<_> =
        (0..100).map(|_| task::spawn(it.service.clone().oneshot(Ask::new(1)))).collect();
    let refused = calls
        .iter_mut()
        .filter_map(|call| match call.poll() {
            std::task::Poll::Ready(Err(error)) => Some(error.is_refused()),
            _ => None,
        })
        .filter(|&refused| refused)
        .count();
    assert_eq!((refused, it.inner.running()), (98, 2));
}

#[tokio::test(start_paused = true)]
async fn so_many_good_probes_close_it() {
    let it = alone(config().with_successes(3));
    it.trip().await;
    half_open().await;
    it.calls(Answer::Good, 2).await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    it.calls(Answer::Good, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    // Nothing is left over from before.
    it.calls(Answer::Fails, 2).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_it_anew_for_the_whole_time() {
    let it = alone(config());
    it.trip().await;
    sleep(OPEN_FOR + secs(3)).await;
    it.calls(Answer::Good, 1).await;
    it.calls(Answer::Fails, 1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    assert_eq!(it.call().await.unwrap_err().retry_after(), Some(OPEN_FOR));
    sleep(OPEN_FOR - ms(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    sleep(ms(1)).await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_gives_its_place_back() {
    let it = alone(config().with_probes(1));
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::ByHand);
    for _ in 0..10 {
        let call = it.begin();
        assert!(it.call().await.unwrap_err().is_refused());
        drop(call);
        // Also one that was never polled.
        let mut service = it.service.clone();
        let unpolled = service.ready().await.unwrap().call(Ask::new(1));
        assert!(it.call().await.unwrap_err().is_refused());
        drop(unpolled);
    }
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    it.calls(Answer::Good, 2).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    assert_eq!(seen(&it.handle).ignored, 20);
}

#[tokio::test(start_paused = true)]
async fn readiness_alone_holds_no_place_where_it_stands_alone() {
    let it = alone(config().with_probes(1));
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::Good);
    let mut idle = it.service.clone();
    idle.ready().await.unwrap();
    it.call().await.unwrap();
    it.call().await.unwrap();
    assert_eq!(it.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_counts_as_failed_and_may_still_answer() {
    let it = alone(config().with_half_open_for(secs(2)));
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::GoodAfter(secs(10)));
    let hung = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
    sleep(secs(1)).await;
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    sleep(secs(1) + ms(2)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    let failures = seen(&it.handle).failed;
    assert_eq!(hung.await.unwrap().unwrap(), "a:1");
    let stats = seen(&it.handle);
    assert_eq!((stats.failed, stats.succeeded), (failures, 1), "in totals, as what it is");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_polls_is_timed_out_all_the_same() {
    let it = alone(config().with_probes(1).with_half_open_for(secs(2)));
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::Good);
    let mut service = it.service.clone();
    let forgotten = service.ready().await.unwrap().call(Ask::new(1));
    sleep(secs(3)).await;
    assert!(it.call().await.unwrap_err().is_refused());
    assert_eq!(it.handle.state(), CircuitState::Open);
    half_open().await;
    it.call().await.unwrap();
    it.call().await.unwrap();
    assert_eq!(it.handle.state(), CircuitState::Closed);
    drop(forgotten);
}

#[tokio::test(start_paused = true)]
async fn results_of_an_older_generation_change_only_totals() {
    let it = alone(config());
    it.inner.answers(Answer::ByHand);
    let mut before: Vec<_> = (0..6).map(|_| it.begin()).collect();
    it.trip().await;
    // Late failures while it is open do not prolong it, and late successes do not close it.
    sleep(secs(3)).await;
    it.inner.finish(0, false);
    assert_ready_err!(before[0].poll());
    it.inner.finish(1, true);
    assert_ready_ok!(before[1].poll());
    assert_eq!(it.handle.state(), CircuitState::Open);
    sleep(secs(2) + ms(1)).await;
    // Half-open: neither opened nor closed by them, and no place is given back twice.
    it.inner.answers(Answer::ByHand);
    let probes = [it.begin(), it.begin()];
    it.inner.finish(2, false);
    assert_ready_err!(before[2].poll());
    it.inner.finish(3, true);
    assert_ready_ok!(before[3].poll());
    drop(before.pop());
    assert_eq!(it.handle.state(), CircuitState::HalfOpen);
    assert!(it.call().await.unwrap_err().is_refused(), "a third place");
    drop(probes);
    it.calls(Answer::Good, 2).await;
    // Closed: a failure of then is none of now.
    it.calls(Answer::Fails, 2).await;
    it.inner.finish(4, false);
    assert_ready_err!(before[4].poll());
    assert_eq!(it.handle.state(), CircuitState::Closed);
    let stats = seen(&it.handle);
    assert_eq!(stats.admitted, stats.succeeded + stats.failed + stats.ignored);
    assert_eq!((stats.succeeded, stats.failed, stats.ignored), (4, 8, 3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_an_older_half_open_time_gives_back_no_place_of_this_one() {
    let it = alone(config().with_probes(1));
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::ByHand);
    let old = it.begin();
    it.handle.reset();
    it.trip().await;
    half_open().await;
    it.inner.answers(Answer::ByHand);
    let _new = it.begin();
    drop(old);
    assert!(it.call().await.unwrap_err().is_refused());
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_stays() {
    let it = alone(config());
    it.handle.force_open();
    sleep(secs(86_400)).await;
    assert_eq!(it.handle.state(), CircuitState::ForcedOpen);
    let error = it.call().await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (Kind::CircuitOpen, None));
    it.handle.disable();
    it.calls(Answer::Fails, 20).await;
    assert_eq!(it.handle.state(), CircuitState::Disabled);
    assert_eq!(seen(&it.handle).failed, 20);
    it.handle.auto();
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.trip().await;
    it.handle.auto();
    assert_eq!(it.handle.state(), CircuitState::Open, "nothing was forced");
    it.handle.reset();
    it.call().await.unwrap_err();
    assert_eq!(it.handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_never_opens_by_itself() {
    let it = alone(config().with_enabled(false));
    for refused in 0..2 {
        it.calls(Answer::Fails, 20).await;
        assert_eq!(seen(&it.handle).refused, refused);
        it.handle.auto();
        it.calls(Answer::Fails, 20).await;
        assert_eq!(seen(&it.handle).refused, refused, "switched on");
        it.handle.force_open();
        assert!(it.call().await.unwrap_err().is_refused());
        it.handle.reset();
        it.handle.disable();
        it.handle.auto();
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_is_the_layers_and_a_fresh_layer_has_its_own() {
    let layer = CircuitBreakerLayer::new(config());
    let inner = Inner::new("a:1");
    inner.answers(Answer::Fails);
    let services = [layer.layer(inner.service()), layer.clone().layer(inner.service())];
    let fresh = layer.fresh();
    let other = fresh.layer(inner.service());
    for service in [&services[0], &services[1], &services[0]] {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    assert_eq!(layer.handle().state(), CircuitState::Open);
    let refusal = services[1].clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert!(refusal.is_refused());
    assert_eq!(fresh.handle().state(), CircuitState::Closed);
    assert!(!other.oneshot(Ask::new(1)).await.unwrap_err().is_refused());
}

#[tokio::test(start_paused = true)]
async fn a_rule_decides_what_counts_but_never_over_a_refusal() {
    let inner = Inner::new("a:1");
    let answers_are_bad = |result: Result<&String, &BoxError>| match result {
        Ok(_) => Outcome::Failure,
        Err(_) => Outcome::Ignored,
    };
    let layer = CircuitBreakerLayer::new(config()).with_classify(answers_are_bad);
    let service = layer.layer(inner.service());
    inner.answers(Answer::Fails);
    for _ in 0..10 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    assert_eq!(layer.handle().state(), CircuitState::Closed);
    inner.answers(Answer::Good);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert_eq!(layer.handle().state(), CircuitState::Open);
}

// Below a balancer.

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

#[tokio::test(start_paused = true)]
async fn below_a_balancer_each_endpoint_has_a_circuit_and_an_open_one_is_passed_over() {
    let (farm, layer, service) = below(&["a:1", "b:1"], config());
    assert!(layer.handle_for("a:1").is_none(), "not connected yet");
    farm.get("a:1").answers(Answer::Fails);
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(service.clone().oneshot(Ask::new(1)).await.is_err());
        settle().await;
    }
    assert_eq!((failed, farm.get("a:1").calls()), (3, 3));
    let [a, b] = ["a:1", "b:1"].map(|key| layer.handle_for(key).unwrap().state());
    assert_eq!((a, b), (CircuitState::Open, CircuitState::Closed));
    assert_eq!(layer.handle().state(), CircuitState::Closed, "nobody's");
    assert!(layer.handle_for("c:1").is_none());
    // In time it is tried again, by itself.
    farm.get("a:1").answers(Answer::Good);
    half_open().await;
    for _ in 0..4 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert_eq!(farm.get("a:1").calls(), 5);
    assert_eq!(layer.handle_for("a:1").unwrap().state(), CircuitState::Closed);
    let _ = service.handle();
    drop(service);
    settle().await;
    assert!(layer.handle_for("a:1").is_none(), "gone with its service");
    assert_eq!(farm.violations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_below_a_balancer_that_nobody_polls_bars_the_endpoint_for_a_time_only() {
    let config = config().with_probes(1).with_half_open_for(secs(2));
    let (farm, layer, service) = below(&["a:1", "b:1"], config);
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..8 {
        let _ = service.clone().oneshot(Ask::new(1)).await;
        settle().await;
    }
    farm.get("a:1").answers(Answer::Never);
    half_open().await;
    // The probe goes out, is polled once, and then forgotten by whoever holds it.
    let mut calls: Vec<_> =
        (0..2).map(|_| task::spawn(service.clone().oneshot(Ask::new(1)))).collect();
    let pending = calls.iter_mut().map(|call| call.poll().is_pending());
    assert_eq!(pending.filter(|&pending| pending).count(), 1);
    farm.get("a:1").answers(Answer::Good);
    sleep(secs(60)).await;
    for _ in 0..8 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
        sleep(secs(6)).await;
    }
    assert_eq!(layer.handle_for("a:1").unwrap().state(), CircuitState::Closed);
    drop(calls);
}

#[tokio::test(start_paused = true)]
async fn a_place_taken_by_readiness_below_a_balancer_is_given_back() {
    let layer = CircuitBreakerLayer::new(config().with_probes(1));
    let member = Member::new(Endpoint::new("a:1").unwrap());
    let farm = Farm::default();
    let service = layer.layer(farm.clone()).connect(&member);
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    assert!(!member.is_eligible());
    half_open().await;
    let (mut one, mut other) = (service.clone(), service.clone());
    one.ready().await.unwrap();
    assert!(!member.is_eligible(), "its only place is taken");
    let mut waits = task::spawn(other.ready());
    assert_pending!(waits.poll());
    assert!(!waits.is_woken(), "nothing has happened");
    drop(one);
    assert!(waits.is_woken());
    assert_ready!(waits.poll()).unwrap();
    drop(waits);
    // A clone takes no place with it.
    let third = other.clone();
    drop(other);
    assert!(member.is_eligible());
    drop(third);
    farm.get("a:1").answers(Answer::Good);
    for _ in 0..2 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert!(member.is_eligible());
    // No call was cancelled in all this.
    let handle = layer.handle_for("a:1").unwrap();
    assert_eq!((seen(&handle).succeeded, seen(&handle).ignored), (2, 0));
    let error = {
        layer.handle_for("a:1").unwrap().force_open();
        let mut late = service.clone();
        let mut ready = task::spawn(late.ready());
        assert_pending!(ready.poll());
        drop(ready);
        late.call(Ask::new(1)).await.unwrap_err()
    };
    assert_eq!(error.endpoint(), Some("a:1"));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_open_circuit_below_a_balancer_ends_in_time_with_few_polls() {
    let layer = CircuitBreakerLayer::new(config());
    let member = Member::new(Endpoint::new("a:1").unwrap());
    let farm = Farm::default();
    let mut service = layer.layer(farm.clone()).connect(&member);
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    let start = Instant::now();
    let (wait, polls) = counted(async move { service.ready().await.map(drop) });
    wait.await.unwrap();
    assert!((OPEN_FOR..OPEN_FOR + ms(3)).contains(&start.elapsed()));
    assert!(polls.load(SeqCst) <= 4, "{polls:?}");
}

/// One of an endpoint's connections, half-open.
async fn half_open_below(
    layer: &CircuitBreakerLayer,
    farm: &Farm,
) -> (Arc<Member>, CircuitBreaker<Probe>) {
    let member = Member::new(Endpoint::new("a:1").unwrap());
    let service = layer.layer(farm.clone()).connect(&member);
    farm.get("a:1").answers(Answer::Fails);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    half_open().await;
    (member, service)
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_below_a_balancer_calls_with_its_own_place() {
    let (layer, farm) = (CircuitBreakerLayer::new(config().with_probes(1)), Farm::default());
    let (_, service) = half_open_below(&layer, &farm).await;
    farm.get("a:1").answers(Answer::ByHand);
    let (mut ready, mut other) = (service.clone(), service);
    ready.ready().await.unwrap();
    let mut waits = task::spawn(other.ready());
    assert_pending!(waits.poll());
    assert!(!waits.is_woken(), "it rests");
    let call = ready.call(Ask::new(1));
    assert!(!waits.is_woken(), "no place was free in between");
    drop(call);
    assert!(waits.is_woken());
}

#[tokio::test(start_paused = true)]
async fn a_place_of_before_is_worth_nothing_below_a_balancer() {
    let (layer, farm) = (CircuitBreakerLayer::new(config()), Farm::default());
    let (member, mut late) = half_open_below(&layer, &farm).await;
    late.ready().await.unwrap();
    assert!(member.is_eligible(), "there is another place");
    let handle = layer.handle_for("a:1").unwrap();
    handle.force_open();
    assert!(late.call(Ask::new(1)).await.unwrap_err().is_refused());
    let stats = seen(&handle);
    assert_eq!((stats.refused, stats.admitted, farm.get("a:1").calls()), (1, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_one_members_and_not_its_keys() {
    let layer = CircuitBreakerLayer::new(config().with_failures(1));
    let farm = Farm::default();
    let connects = layer.layer(farm.clone());
    let member = || Member::new(Endpoint::new("a:1").unwrap());
    let (before, after) = (member(), member());
    farm.get("a:1").answers(Answer::Fails);
    let first = connects.connect(&before);
    first.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let again = connects.connect(&before);
    assert!(format!("{again:?}").contains("Open"), "the same, only connected anew");
    let other = connects.connect(&after);
    assert!(format!("{other:?}").contains("Closed"));
    assert!(!before.is_eligible() && after.is_eligible());
}

// Without a runtime.

#[test]
fn without_a_runtime_the_clock_alone_reopens_it() {
    let layer = CircuitBreakerLayer::new(config().with_open_for(ms(20)).with_half_open_for(ms(20)));
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let call = || futures::executor::block_on(service.clone().oneshot(Ask::new(1)));
    inner.answers(Answer::Fails);
    for _ in 0..3 {
        call().unwrap_err();
    }
    assert!(call().unwrap_err().is_refused());
    // There is no clock to pause here. This waits for the time, and proves nothing by it.
    inner.answers(Answer::Good);
    while call().is_err() {
        std::thread::yield_now();
    }
    // A probe that has to wait finds no timer, and must not panic for it.
    inner.answers(Answer::ByHand);
    let mut waits = task::spawn(service.clone().oneshot(Ask::new(1)));
    assert_pending!(waits.poll());
    inner.finish(4, true);
    assert_ready_ok!(waits.poll());
    assert_eq!(layer.handle().state(), CircuitState::Closed);
}

#[test]
fn without_a_runtime_one_below_a_balancer_refuses_since_it_cannot_wait() {
    let layer = CircuitBreakerLayer::new(config().with_failures(1));
    let member = Member::new(Endpoint::new("a:1").unwrap());
    let inner = Inner::new("a:1");
    let connect = tower_upstream::connect_fn({
        let inner = inner.clone();
        move |_: &Endpoint| inner.service()
    });
    let service = layer.layer(connect).connect(&member);
    let call = || futures::executor::block_on(service.clone().oneshot(Ask::new(1)));
    inner.answers(Answer::Fails);
    assert!(!call().unwrap_err().is_refused());
    let error = call().unwrap_err();
    assert_eq!((error.kind(), inner.calls()), (Kind::CircuitOpen, 1));
    assert!(error.retry_after().is_some() && error.endpoint() == Some("a:1"));
}

#[test]
fn a_runtime_that_dies_while_it_is_open_does_not_keep_it_open() {
    let layer = CircuitBreakerLayer::new(config());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let paused = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    // Paused in this runtime only for the trip; the next one goes on from its own present.
    let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(async {
        inner.answers(Answer::Fails);
        for _ in 0..3 {
            service.clone().oneshot(Ask::new(1)).await.unwrap_err();
        }
    });
    drop(first);
    paused().block_on(async {
        inner.answers(Answer::Good);
        let refused = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
        sleep(refused.retry_after().unwrap() + ms(1)).await;
        for _ in 0..2 {
            service.clone().oneshot(Ask::new(1)).await.unwrap();
        }
        assert_eq!(layer.handle().state(), CircuitState::Closed);
    });
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_keeps_nothing_alive() {
    let inner = Inner::new("a:1");
    let layer = CircuitBreakerLayer::new(config().with_open_for(secs(86_400)));
    let service = layer.layer(inner.service());
    inner.answers(Answer::Fails);
    for _ in 0..3 {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    }
    drop((service, layer));
    assert_eq!(Arc::strong_count(&inner), 1);
}
