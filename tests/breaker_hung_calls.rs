//! Calls that hang are seen while they hang, where a rule looks at how many calls are slow.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{future::pending, sync::Arc};

use support::{Answer, Ask, Farm, Inner, Probe, ms, secs, seen, settle};
use tokio::time::sleep;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Error,
    balance::{BalanceLayer, RoundRobin},
    breaker::{
        Cancelled, CircuitBreaker, CircuitBreakerHandle, CircuitHandle, CircuitState, Window,
    },
    discover,
    error::Kind,
};

/// Half of at least twenty calls are slow.
fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::default()
        .with_failures(0)
        .with_slow_ratio(0.5)
        .with_slow_after(ms(200))
        .with_open_jitter(0.0)
}

struct Alone {
    inner: Arc<Inner>,
    service: CircuitBreaker<Probe>,
    handle: CircuitBreakerHandle,
}

type Call = task::Spawn<futures::future::BoxFuture<'static, Result<String, Error>>>;

fn alone(config: CircuitBreakerConfig) -> Alone {
    let layer = CircuitBreakerLayer::new(config);
    let inner = Inner::new("a:1");
    Alone { service: layer.layer(inner.service()), handle: layer.handle(), inner }
}

impl Alone {
    /// Calls that are on their way.
    fn begin(&self, answer: Answer, times: usize) -> Vec<Call> {
        self.inner.answers(answer);
        let begin = |_| {
            let call = self.service.clone().oneshot(Ask::new(1));
            let mut call: Call = task::spawn(Box::pin(call));
            assert_pending!(call.poll());
            call
        };
        (0..times).map(begin).collect()
    }

    async fn good(&self, times: usize) {
        self.inner.answers(Answer::Good);
        for _ in 0..times {
            self.service.clone().oneshot(Ask::new(1)).await.unwrap();
        }
    }

    /// Calls and slow calls of the window.
    fn window(&self) -> (u64, u64) {
        let window = seen(&self.handle).window;
        (window.calls, window.slow)
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_open_the_circuit_for_whoever_looks() {
    let looks: [fn(&CircuitHandle) -> CircuitState; 2] =
        [CircuitHandle::state, |handle| seen(handle).state];
    for look in looks {
        let it = alone(config());
        let hung = it.begin(Answer::Never, 30);
        sleep(ms(199)).await;
        assert_eq!(look(&it.handle), CircuitState::Closed);
        // At most a fifteenth late.
        sleep(ms(16)).await;
        assert_eq!(look(&it.handle), CircuitState::Open);
        sleep(ms(785)).await;
        assert_eq!((look(&it.handle), it.window()), (CircuitState::Open, (30, 30)));
        drop(hung);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_open_the_circuit_for_whoever_calls() {
    for is_ready_before in [false, true] {
        let it = alone(config());
        let _hung = it.begin(Answer::Never, 30);
        let mut next = it.service.clone();
        if is_ready_before {
            next.ready().await.unwrap();
        }
        sleep(secs(1)).await;
        if !is_ready_before {
            next.ready().await.unwrap();
        }
        let refused = next.call(Ask::new(1)).await.unwrap_err();
        assert_eq!((refused.kind(), it.inner.calls()), (Kind::CircuitOpen, 30));
        assert!(refused.retry_after().is_some());
        assert_eq!(seen(&it.handle).opened, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_hang_are_a_share_of_all() {
    for (good, hung, state) in [
        (20, 19, CircuitState::Closed),
        (20, 20, CircuitState::Open),
        (0, 19, CircuitState::Closed),
        (0, 20, CircuitState::Open),
    ] {
        let windows = [Window::Calls(100), Window::Time(secs(10))];
        for window in windows {
            let it = alone(config().with_window(window));
            it.good(good).await;
            let _hung = it.begin(Answer::Never, hung);
            sleep(secs(1)).await;
            assert_eq!(it.handle.state(), state, "{good} good, {hung} hung");
            assert_eq!(it.window(), ((good + hung) as u64, hung as u64));
        }
    }
    // The last that is missing may be a good one.
    let it = alone(config());
    let _hung = it.begin(Answer::Never, 19);
    sleep(secs(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Closed);
    it.good(1).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hung_is_counted_once() {
    let it = alone(config().with_slow_ratio(1.0).with_failure_ratio(None));
    it.good(1).await;
    let mut calls = it.begin(Answer::GoodAfter(secs(1)), 10);
    calls.extend(it.begin(Answer::FailsAfter(secs(1)), 10));
    sleep(ms(500)).await;
    assert_eq!((it.window(), seen(&it.handle).slow), ((21, 20), 0));
    sleep(ms(501)).await;
    for (done, call) in calls.iter_mut().enumerate() {
        assert!(call.poll().is_ready());
        let slow = seen(&it.handle).slow;
        assert_eq!((it.window(), slow), ((21, 20), done as u64 + 1));
    }
    drop(calls);
    assert_eq!(seen(&it.handle).admitted, 21);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_time_was_never_slow() {
    let it = alone(config());
    for _ in 0..20 {
        let calls = it.begin(Answer::GoodAfter(ms(150)), 10);
        sleep(ms(151)).await;
        for mut call in calls {
            assert!(call.poll().is_ready());
        }
    }
    let stats = seen(&it.handle);
    assert_eq!((stats.state, stats.slow, stats.window.slow), (CircuitState::Closed, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_says_nothing_is_counted_no_longer() {
    // One that is dropped, where that says nothing.
    let it = alone(config().with_cancelled(Cancelled::Ignored));
    let hung = it.begin(Answer::Never, 10);
    sleep(secs(1)).await;
    assert_eq!(it.window(), (10, 10));
    drop(hung);
    assert_eq!((it.window(), seen(&it.handle).ignored), ((0, 0), 10));
    // One that is dropped, where it has failed: a failure that was slow.
    let it = alone(config());
    let hung = it.begin(Answer::Never, 10);
    sleep(secs(1)).await;
    drop(hung);
    let stats = seen(&it.handle);
    assert_eq!((it.window(), stats.failed, stats.slow), ((10, 10), 10, 10));
    // One that panics, too.
    let layer = CircuitBreakerLayer::new(config());
    let service = layer.layer(service_fn(async |()| {
        sleep(secs(1)).await;
        if true {
            panic!("the inner service panics");
        }
        Ok::<_, BoxError>(())
    }));
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    sleep(ms(500)).await;
    let window = |layer: &CircuitBreakerLayer| seen(&layer.handle()).window;
    assert_eq!((window(&layer).slow, window(&layer).failures), (10, 0));
    for call in calls {
        assert!(call.await.unwrap_err().is_panic());
    }
    let window = window(&layer);
    assert_eq!((window.calls, window.slow, window.failures), (10, 10, 10));
}

#[tokio::test(start_paused = true)]
async fn calls_that_hung_before_a_transition_touch_nothing_after_it() {
    let it = alone(config().with_successes(1));
    let before = it.begin(Answer::Never, 30);
    sleep(secs(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    sleep(secs(5)).await;
    it.good(1).await;
    assert_eq!((it.handle.state(), it.window()), (CircuitState::Closed, (0, 0)));
    // They still hang, and those of now are counted apart from them.
    let now = it.begin(Answer::Never, 10);
    sleep(secs(1)).await;
    assert_eq!(it.window(), (10, 10));
    drop(before);
    assert_eq!((it.handle.state(), it.window()), (CircuitState::Closed, (10, 10)));
    it.handle.reset();
    assert_eq!(it.window(), (0, 0));
    drop(now);
    assert_eq!(it.window(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn where_no_rule_asks_nobody_counts() {
    let it = alone(config().with_slow_ratio(None));
    let _hung = it.begin(Answer::Never, 30);
    sleep(secs(60)).await;
    assert_eq!((it.handle.state(), it.window()), (CircuitState::Closed, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_calls_that_hang() {
    let it = alone(config());
    let mut hung = it.begin(Answer::Never, 30);
    sleep(secs(1)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    assert!(hung.iter_mut().all(|call| !call.is_woken()));
}

#[tokio::test(start_paused = true)]
async fn new_settings_find_the_calls_that_hang() {
    let long = config().with_slow_after(secs(60));
    let it = alone(long.clone());
    let mut hung = it.begin(Answer::Never, 10);
    sleep(secs(30)).await;
    assert_eq!(it.window(), (0, 0));
    // Another time counts for those that are on their way.
    it.handle.update(&config()).unwrap();
    sleep(secs(5)).await;
    assert_eq!(it.window(), (10, 10));
    it.handle.update(&long).unwrap();
    assert_eq!(it.window(), (0, 0));
    // Switched off nothing counts; switched on, what was counted before and is not gone.
    it.handle.update(&config().with_slow_ratio(None)).unwrap();
    assert_eq!(it.window(), (0, 0));
    hung.truncate(7);
    let late = it.begin(Answer::Never, 5);
    it.handle.update(&config().with_slow_ratio(0.9)).unwrap();
    sleep(secs(120)).await;
    // Of those three that went while it was off nothing is left; five began unseen.
    assert_eq!(it.window(), (7, 7));
    drop((hung, late));
    sleep(secs(60)).await;
    assert_eq!(it.window(), (0, 0));
    // And with a time set anew, those that open it are found without a new call.
    let it = alone(long);
    let _hung = it.begin(Answer::Never, 30);
    sleep(secs(1)).await;
    it.handle.update(&config()).unwrap();
    sleep(secs(5)).await;
    let refused = it.service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn one_that_only_measures_says_what_it_would_have_done() {
    for by_hand in [false, true] {
        let it = alone(config().with_metrics_only(!by_hand));
        if by_hand {
            it.handle.metrics_only();
        }
        let _hung = it.begin(Answer::Never, 30);
        sleep(secs(1)).await;
        it.good(1).await;
        let stats = seen(&it.handle);
        assert_eq!((stats.state, stats.would_have_opened), (CircuitState::MetricsOnly, 1));
        assert_eq!(it.window(), (31, 30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_has_a_time_of_its_own() {
    let it = alone(config().with_half_open_for(secs(10)).with_max_open_for(secs(5)));
    let hung = it.begin(Answer::Never, 30);
    sleep(secs(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
    drop(hung);
    sleep(secs(5)).await;
    let _probes = it.begin(Answer::Never, 2);
    sleep(secs(9)).await;
    assert_eq!((it.handle.state(), it.window()), (CircuitState::HalfOpen, (0, 0)));
    sleep(secs(1)).await;
    assert_eq!(it.handle.state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_an_endpoint_that_hangs_is_passed_over() {
    let farm = Farm::default();
    ["a:1", "b:1"].iter().for_each(|key| drop(farm.get(key)));
    let layer = CircuitBreakerLayer::new(config());
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::new()))
        .layer(layer.clone())
        .service(farm.clone());
    farm.get("a:1").answers(Answer::Never);
    for _ in 0..40 {
        tokio::spawn(service.clone().oneshot(Ask::new(1)));
        settle().await;
    }
    assert_eq!(farm.get("a:1").calls(), 20);
    sleep(secs(1)).await;
    for _ in 0..20 {
        assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "b:1");
    }
    let [a, b] = ["a:1", "b:1"].map(|key| layer.handle_for(key).unwrap().state());
    assert_eq!((a, b), (CircuitState::Open, CircuitState::Closed));
    assert_eq!((farm.get("a:1").calls(), farm.violations()), (20, 0));
}

#[tokio::test(start_paused = true)]
async fn each_key_has_calls_of_its_own_that_hang() {
    let layer = CircuitBreakerLayer::new(config()).by_key(|(key, _): &(u32, bool)| *key);
    let service = layer.layer(service_fn(async |(_, hangs): (u32, bool)| {
        if hangs {
            pending::<()>().await;
        }
        Ok::<_, BoxError>(())
    }));
    for _ in 0..30 {
        tokio::spawn(service.clone().oneshot((1, true)));
        tokio::spawn(service.clone().oneshot((2, false)));
    }
    sleep(secs(1)).await;
    service.clone().oneshot((2, false)).await.unwrap();
    let refused = service.clone().oneshot((1, false)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::CircuitOpen);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_stream_whose_head_came_in_time_does_not_hang() {
    use futures::stream;
    use http_body_util::StreamBody;
    use tower_upstream::http::HttpClassify;

    type Frame = Result<http_body::Frame<bytes::Bytes>, BoxError>;
    let layer = CircuitBreakerLayer::new(config()).until_body_end(HttpClassify);
    let service = layer.layer(service_fn(async |()| {
        sleep(ms(100)).await;
        let body = StreamBody::new(stream::pending::<Frame>());
        Ok::<_, BoxError>(http::Response::new(body))
    }));
    let calls = (0..30).map(|_| service.clone().oneshot(()));
    let streams: Vec<_> = futures::future::join_all(calls).await;
    assert!(streams.iter().all(Result::is_ok));
    sleep(secs(60)).await;
    let stats = seen(&layer.handle());
    assert_eq!((stats.state, stats.window.calls), (CircuitState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_is_full_of_calls_that_hang_makes_nobody_wait() {
    let layer = CircuitBreakerLayer::new(config());
    let inner = Inner::new("a:1");
    inner.answers(Answer::Never);
    let full = tower::limit::ConcurrencyLimit::new(inner.service(), 30);
    let service = layer.layer(full);
    let calls = |times| (0..times).map(|_| tokio::spawn(service.clone().oneshot(Ask::new(1))));
    let _hung: Vec<_> = calls(30).collect();
    settle().await;
    let mut waits = task::spawn(service.clone().oneshot(Ask::new(1)));
    assert_pending!(waits.poll());
    sleep(secs(1)).await;
    let refused = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((refused.kind(), inner.calls()), (Kind::CircuitOpen, 30));
}
