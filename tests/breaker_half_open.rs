//! What a half-open circuit finds out, and who hears of it, when.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, Probe, ms, secs, settle};
use tokio::{
    runtime::{self, Handle},
    time::{Instant, sleep},
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Outcome,
    balance::{BalanceLayer, RoundRobin},
    breaker::{CircuitBreaker, CircuitState},
    discover,
    telemetry::{Event, EventKind, Events, Subscription},
};

use CircuitState::{Closed, HalfOpen, Open};

const OPEN_FOR: Duration = secs(5);

/// One failure opens it, for as long each time.
fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(1)
        .with_open_for(OPEN_FOR)
        .with_open_growth(1.0)
        .with_open_jitter(0.0)
}

/// A transition of which a listener was told.
#[derive(Debug, Clone, PartialEq)]
struct Transition {
    endpoint: Option<Arc<str>>,
    from: CircuitState,
    to: CircuitState,
    generation: u64,
    at: Instant,
}

type Seen = Arc<Mutex<Vec<Transition>>>;

fn listen(events: &Events, seen: &Seen) -> Subscription {
    let list = seen.clone();
    events.subscribe(move |event: &Event| {
        let EventKind::Circuit { from, to, generation, .. } = event.kind else { panic!() };
        let (endpoint, at) = (event.endpoint.clone(), event.at);
        list.lock().unwrap().push(Transition { endpoint, from, to, generation, at });
    })
}

/// A layer whose transitions are written down.
fn told(config: CircuitBreakerConfig) -> (CircuitBreakerLayer, Seen) {
    let (events, seen) = (Events::new(), Seen::default());
    listen(&events, &seen).detach();
    (CircuitBreakerLayer::new(config).with_events(&events), seen)
}

fn states(seen: &Seen) -> Vec<CircuitState> {
    seen.lock().unwrap().iter().map(|transition| transition.to).collect()
}

fn last(seen: &Seen) -> (CircuitState, Instant) {
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    (last.to, last.at)
}

async fn call(inner: &Inner, service: &CircuitBreaker<Probe>, answer: Answer) {
    inner.answers(answer);
    let _ = service.clone().oneshot(Ask::new(1)).await;
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

const FAST: Answer = Answer::Good;
const SLOW: Answer = Answer::GoodAfter(secs(1));
const BAD: Answer = Answer::Fails;
const SLOW_BAD: Answer = Answer::FailsAfter(secs(1));

#[tokio::test(start_paused = true)]
async fn a_slow_probe_is_a_good_one_and_their_share_decides() {
    for (ratio, probes, state) in [
        (Some(0.9), vec![SLOW, FAST, SLOW], Closed),
        (Some(0.5), vec![SLOW, FAST, FAST], Closed),
        (Some(0.5), vec![SLOW, SLOW], HalfOpen),
        (Some(0.5), vec![SLOW, SLOW, FAST], Open),
        (Some(1.0), vec![SLOW, SLOW, FAST], Closed),
        (Some(1.0), vec![SLOW, SLOW, SLOW], Open),
        (None, vec![SLOW, SLOW, SLOW], Closed),
        // A failure counts among those that ended, and one that was slow among the slow.
        (Some(0.5), vec![BAD, SLOW, FAST, FAST], Closed),
        (Some(0.5), vec![SLOW_BAD, SLOW, FAST, FAST], Open),
        // Failures decide as ever.
        (Some(0.9), vec![BAD, BAD], Open),
        (None, vec![FAST, FAST, BAD, FAST], Closed),
    ] {
        let config = config().with_slow_ratio(ratio).with_slow_after(secs(1));
        let layer = CircuitBreakerLayer::new(config);
        let inner = Inner::new("a:1");
        let service = layer.layer(inner.service());
        call(&inner, &service, BAD).await;
        sleep(OPEN_FOR).await;
        for probe in &probes {
            call(&inner, &service, *probe).await;
        }
        assert_eq!(layer.handle().state(), state, "{ratio:?} {probes:?}");
    }
}

/// Of 200 circuits, each with other calls.
#[tokio::test(start_paused = true)]
async fn where_half_of_all_calls_are_slow_a_ratio_of_nine_tenths_closes_soon() {
    let (mut random, mut all, mut worst) = (1_u64, secs(0), secs(0));
    for _ in 0..200 {
        let config = config().with_open_growth(1.5).with_slow_ratio(0.9).with_slow_after(secs(1));
        let layer = CircuitBreakerLayer::new(config);
        let inner = Inner::new("a:1");
        let service = layer.layer(inner.service());
        call(&inner, &service, BAD).await;
        let start = Instant::now();
        while layer.handle().state() != Closed {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            call(&inner, &service, if random >> 63 == 0 { SLOW } else { FAST }).await;
            sleep(ms(100)).await;
        }
        all += start.elapsed();
        worst = worst.max(start.elapsed());
    }
    assert!(all / 200 < secs(9), "{:?} on average", all / 200);
    assert!(worst < secs(60), "{worst:?} at worst");
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_say_that_a_probe_was_slow() {
    for (ratio, state) in [(None, Closed), (Some(1.0), Open)] {
        let config = config().with_slow_ratio(ratio);
        let rule = |result: Result<&bool, &BoxError>| match result {
            Ok(true) => Outcome::Slow,
            _ => Outcome::Failure,
        };
        let layer = CircuitBreakerLayer::new(config).with_classify(rule);
        let service = layer.layer(service_fn(async |good: bool| Ok::<_, BoxError>(good)));
        service.clone().oneshot(false).await.unwrap();
        sleep(OPEN_FOR).await;
        for _ in 0..3 {
            service.clone().oneshot(true).await.unwrap();
        }
        assert_eq!(layer.handle().state(), state);
    }
}

// Who listens.

#[tokio::test(start_paused = true)]
async fn who_listens_hears_at_its_time_what_time_brings() {
    let (layer, seen) = told(config().with_half_open_for(secs(10)));
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let start = Instant::now();
    call(&inner, &service, BAD).await;
    assert_eq!(last(&seen), (Open, start));
    sleep(OPEN_FOR - ms(2)).await;
    assert_eq!(states(&seen), [Open]);
    sleep(ms(3)).await;
    assert_eq!(last(&seen), (HalfOpen, start + OPEN_FOR));
    // A probe that hangs: from when it began, and when another one ended.
    inner.answers(Answer::Never);
    let hung = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(secs(6)).await;
    call(&inner, &service, FAST).await;
    let moved = Instant::now();
    sleep(secs(9)).await;
    assert_eq!(states(&seen), [Open, HalfOpen]);
    sleep(secs(1) + ms(1)).await;
    assert_eq!(last(&seen), (Open, moved + secs(10)));
    hung.abort();
    sleep(OPEN_FOR).await;
    for _ in 0..3 {
        call(&inner, &service, FAST).await;
    }
    assert_eq!(last(&seen), (Closed, Instant::now()));
    // Nothing comes after that, and what is set by hand has no time.
    layer.handle().force_open();
    sleep(secs(100)).await;
    let expected = [Open, HalfOpen, Open, HalfOpen, Closed, CircuitState::ForcedOpen];
    assert_eq!(states(&seen), expected);
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_is_told_of_at_its_own_time() {
    let farm = Farm::default();
    let keys = ["a:1", "b:1", "c:1"];
    keys.iter().for_each(|key| farm.get(key).answers(BAD));
    let (layer, seen) = told(config());
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(keys).unwrap(), RoundRobin::new()))
        .layer(layer)
        .service(farm);
    let start = Instant::now();
    for _ in keys {
        service.clone().oneshot(Ask::new(1)).await.unwrap_err();
        sleep(secs(1)).await;
    }
    sleep(secs(10)).await;
    let seen = seen.lock().unwrap();
    let half_open: Vec<_> = seen.iter().filter(|seen| seen.to == HalfOpen).collect();
    let mut told: Vec<_> = half_open.iter().map(|seen| seen.endpoint.as_deref().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, keys);
    for (index, transition) in (0..).zip(half_open) {
        assert_eq!(transition.at, start + secs(index) + OPEN_FOR);
    }
}

/// Also where nothing waits for it: the time is when it was due, not when somebody looked.
#[test]
fn without_a_runtime_the_time_of_a_transition_is_when_it_was_due() {
    let (layer, seen) = told(config().with_open_for(ms(5)));
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let handle = layer.handle();
    futures::executor::block_on(call(&inner, &service, BAD));
    let due = handle.next_transition().unwrap();
    while Instant::now() < due + ms(5) {
        std::thread::yield_now();
    }
    assert_eq!(states(&seen), [Open], "nobody looked");
    assert_eq!(handle.state(), HalfOpen);
    assert_eq!(last(&seen), (HalfOpen, due));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_trips_need_one_task() {
    // Of one circuit.
    let (layer, seen) = told(config());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    for _ in 0..10_000 {
        call(&inner, &service, BAD).await;
        assert!(tasks() <= 1);
        layer.handle().reset();
    }
    assert_eq!(seen.lock().unwrap().len(), 20_000);
    // Of many at once.
    let (layer, seen) = told(config());
    let layer = layer.by_key(|key: &u32| *key).with_max_keys(20_000);
    let keyed = layer.layer(service_fn(async |_: u32| Err::<(), BoxError>("bad".into())));
    for key in 0..10_000 {
        keyed.clone().oneshot(key).await.unwrap_err();
    }
    assert!(tasks() <= 2, "{}", tasks());
    sleep(OPEN_FOR + ms(1)).await;
    let heard = states(&seen).iter().filter(|state| **state == HalfOpen).count();
    // Two keys may share a circuit, or find no place of their own.
    assert!(heard > 9_000 && heard == states(&seen).len() / 2, "{heard}");
    assert!(tasks() <= 2);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_layer_and_there_is_none_without_a_listener() {
    let inner = Inner::new("a:1");
    let silent = CircuitBreakerLayer::new(config());
    call(&inner, &silent.layer(inner.service()), BAD).await;
    let (layer, seen) = told(config());
    let service = layer.layer(inner.service());
    assert_eq!(tasks(), 0);
    call(&inner, &service, BAD).await;
    assert_eq!(tasks(), 1);
    drop(layer);
    settle().await;
    assert_eq!(tasks(), 1, "a service is there");
    drop(service);
    settle().await;
    assert_eq!((tasks(), Arc::strong_count(&inner)), (0, 1));
    sleep(secs(10)).await;
    assert_eq!(states(&seen), [Open]);
}

fn paused() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn a_runtime_that_dies_takes_no_news_with_it() {
    for looks in [false, true] {
        let (layer, seen) = told(config());
        let inner = Inner::new("a:1");
        let service = layer.layer(inner.service());
        let first = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        first.block_on(call(&inner, &service, BAD));
        drop(first);
        paused().block_on(async {
            if looks {
                assert_eq!(layer.handle().state(), Open);
            } else {
                layer.handle().reset();
                call(&inner, &service, BAD).await;
            }
            assert_eq!(tasks(), 1);
            sleep(OPEN_FOR + ms(1)).await;
            assert_eq!(last(&seen).0, HalfOpen);
        });
    }
}

#[test]
fn a_runtime_without_timers_is_as_good_as_none() {
    let (layer, seen) = told(config());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let without_timers = runtime::Builder::new_current_thread().build().unwrap();
    without_timers.block_on(async {
        for _ in 0..3 {
            call(&inner, &service, BAD).await;
            tokio::task::yield_now().await;
            assert_eq!(tasks(), 0);
            layer.handle().reset();
        }
    });
    assert_eq!(states(&seen), [Open, Closed].repeat(3));
}

fn timed() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Opens the circuit, and waits until it may be half-open.
async fn opens(layer: &CircuitBreakerLayer, inner: &Arc<Inner>, seen: &Seen) {
    layer.handle().reset();
    call(inner, &layer.layer(inner.service()), BAD).await;
    sleep(OPEN_FOR + ms(1)).await;
    assert_eq!(last(seen).0, HalfOpen);
}

#[test]
fn after_a_runtime_without_timers_one_that_has_some_is_used() {
    let (layer, seen) = told(config());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    for _ in 0..2 {
        let without_timers = runtime::Builder::new_current_thread().build().unwrap();
        without_timers.block_on(async {
            for _ in 0..2 {
                call(&inner, &service, BAD).await;
                tokio::task::yield_now().await;
                layer.handle().reset();
            }
        });
        // Also while that one lives.
        timed().block_on(opens(&layer, &inner, &seen));
    }
}

#[test]
fn a_runtime_that_goes_in_a_panic_of_another_ends_nothing() {
    let (layer, seen) = told(config());
    let inner = Inner::new("a:1");
    let service = layer.layer(inner.service());
    let panics = std::panic::AssertUnwindSafe(|| {
        let runtime = timed();
        runtime.block_on(async {
            call(&inner, &service, BAD).await;
            tokio::task::yield_now().await;
            assert_eq!(tasks(), 1);
        });
        std::panic::panic_any("another's");
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    timed().block_on(opens(&layer, &inner, &seen));
}
