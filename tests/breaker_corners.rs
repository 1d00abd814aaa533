//! What a circuit must not do: hang, starve, forget or accuse, when it is used oddly.
#![cfg(all(feature = "test-util", feature = "http"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::HashSet,
    convert::Infallible,
    future::{Ready, pending},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::{Answer, Ask, Farm, ms, secs, seen};
use tokio::{
    runtime,
    time::{sleep, timeout},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error, Outcome,
    balance::{BalanceLayer, RoundRobin},
    breaker::{CircuitHandle, CircuitState},
    connect::Connect,
    discover,
    http::HttpClassify,
    member::Member,
    telemetry::{Event, Events},
};

fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(3)
        .with_open_for(secs(5))
        .with_open_growth(1.0)
        .with_open_jitter(0.0)
        .with_probes(2)
        .with_successes(2)
        .with_probe_failures(0)
}

/// Does as it is asked.
async fn obey<T>((_, good): (T, bool)) -> Result<(), BoxError> {
    if good { Ok(()) } else { Err("bad".into()) }
}

fn obedient(
    layer: &CircuitBreakerLayer,
) -> impl Service<((), bool), Response = (), Error = Error> + Clone {
    layer.layer(service_fn(obey))
}

const GOOD: ((), bool) = ((), true);
const BAD: ((), bool) = ((), false);

fn alone() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Nobody drives the timers of a runtime between two calls.
#[test]
fn an_open_circuit_needs_no_runtime_that_is_driven() {
    let layer = CircuitBreakerLayer::new(config().with_open_for(ms(20)));
    let (service, here) = (obedient(&layer), alone());
    for _ in 0..3 {
        here.block_on(service.clone().oneshot(BAD)).unwrap_err();
    }
    assert!(here.block_on(service.clone().oneshot(GOOD)).unwrap_err().is_refused());
    while seen(&layer.handle()).next_transition.is_some_and(|at| at > tokio::time::Instant::now()) {
        std::thread::yield_now();
    }
    here.block_on(service.clone().oneshot(GOOD)).unwrap();
    // Nor one with a time driver, to be opened in.
    layer.handle().reset();
    let without_timers = runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        without_timers.block_on(service.clone().oneshot(BAD)).unwrap_err();
    }
    assert_eq!(seen(&layer.handle()).opened, 2);
}

#[tokio::test(start_paused = true)]
async fn new_settings_leave_no_half_open_circuit_undecided() {
    let layer = CircuitBreakerLayer::new(config().with_successes(3).with_probe_failures(1));
    let service = obedient(&layer);
    for _ in 0..3 {
        service.clone().oneshot(BAD).await.unwrap_err();
    }
    sleep(secs(6)).await;
    for _ in 0..2 {
        service.clone().oneshot(GOOD).await.unwrap();
    }
    let fewer = config().with_successes(1).with_probe_failures(0);
    layer.handle().update(&fewer).unwrap();
    service.oneshot(GOOD).await.unwrap();
    assert_eq!(layer.handle().state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn probes_that_hang_hold_it_for_a_set_time_whatever_comes_after_them() {
    let layer =
        CircuitBreakerLayer::new(config().with_half_open_for(secs(10)).with_slow_after(secs(60)));
    let service = layer.layer(service_fn(async |bad: bool| {
        if bad { Err::<(), BoxError>("bad".into()) } else { pending().await }
    }));
    for _ in 0..3 {
        service.clone().oneshot(true).await.unwrap_err();
    }
    sleep(secs(6)).await;
    let stuck = tokio::spawn(service.clone().oneshot(false));
    for _ in 0..2 {
        let _ = timeout(secs(9), service.clone().oneshot(false)).await;
    }
    assert_eq!(seen(&layer.handle()).opened, 2);
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn open_circuits_of_long_ago_make_room_for_new_keys() {
    let layer =
        CircuitBreakerLayer::new(config()).by_key(|ask: &(u32, bool)| ask.0).with_max_keys(16);
    let service = layer.layer(service_fn(obey));
    let fails = async |keys: std::ops::Range<u32>| {
        for key in keys.flat_map(|key| [key; 3]) {
            let _ = service.clone().oneshot((key, false)).await;
        }
    };
    fails(0..16).await;
    // Just now all are open, and what comes shares one.
    fails(1_000..1_001).await;
    assert_eq!(layer.handle_for_others().state(), CircuitState::Open);
    assert!(service.clone().oneshot((2_000, true)).await.unwrap_err().is_refused());
    sleep(secs(6)).await;
    service.clone().oneshot((2_000, true)).await.unwrap();
    assert!(layer.handle_for(&2_000).is_some());
    // Those that are switched off keep no place, either.
    let off = layer.fresh().with_max_keys(1);
    off.handle().update(&config().with_enabled(false)).unwrap();
    let service = off.layer(service_fn(obey));
    for key in 0..5 {
        service.clone().oneshot((key, true)).await.unwrap();
    }
    assert!(off.handle_for(&4).is_some() && off.handle().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_layer_reach_its_keys() {
    let layer = CircuitBreakerLayer::new(config());
    let handle = layer.handle();
    let layer = layer.by_key(|ask: &(u32, bool)| ask.0);
    let service = layer.layer(service_fn(obey));
    service.clone().oneshot((1, true)).await.unwrap();
    handle.update(&config().with_failures(1)).unwrap();
    let _ = service.clone().oneshot((1, false)).await;
    assert_eq!(layer.handle_for(&1).unwrap().state(), CircuitState::Open);
}

#[test]
fn of_two_settings_that_come_at_once_one_wins_everywhere() {
    let here = alone();
    for _ in 0..200 {
        let layer = CircuitBreakerLayer::new(config()).by_key(|ask: &(u32, bool)| ask.0);
        let service = layer.layer(service_fn(obey));
        let call = |key| here.block_on(service.clone().oneshot((key, true))).unwrap();
        (0..20).for_each(call);
        std::thread::scope(|scope| {
            for on in [true, false] {
                let layer = &layer;
                scope.spawn(move || layer.handle().update(&config().with_enabled(on)).unwrap());
            }
        });
        call(20);
        let state = |key| layer.handle_for(&key).unwrap().state();
        assert_eq!((0..=20).map(state).collect::<HashSet<_>>().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_set_by_hand_survives_new_settings() {
    let layer = CircuitBreakerLayer::new(config());
    let handle = layer.handle();
    handle.disable();
    for on in [false, true] {
        handle.update(&config().with_enabled(on)).unwrap();
        assert_eq!(handle.state(), CircuitState::Disabled);
    }
    handle.auto();
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_by_config_is_one_at_every_endpoint() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let layer = CircuitBreakerLayer::new(config().with_metrics_only(true));
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0));
    let service = ServiceBuilder::new().layer(set).layer(layer.clone()).service(farm.clone());
    for _ in 0..10 {
        assert!(!service.clone().oneshot(Ask::new(1)).await.unwrap_err().is_refused());
    }
    let endpoint = layer.handle_for("a:1").unwrap();
    assert_eq!(seen(&endpoint).would_have_opened, 1);
    layer.handle().update(&config()).unwrap();
    for _ in 0..3 {
        let _ = service.clone().oneshot(Ask::new(1)).await;
    }
    assert_eq!(endpoint.state(), CircuitState::Open);
}

/// Four threads, and one of them tells the listener of what the others did.
#[test]
fn a_listener_never_sees_the_state_of_before() {
    type Handles = Arc<OnceLock<Vec<CircuitHandle>>>;
    let (wrong, handles) = (Arc::new(AtomicUsize::new(0)), Handles::default());
    let (count, known) = (wrong.clone(), handles.clone());
    let events = Events::new();
    let listener = move |event: &Event| {
        let key = event.endpoint.clone().unwrap();
        let index: usize = key.trim_start_matches('m').trim_end_matches(":1").parse().unwrap();
        let state = known.get().unwrap()[index].state();
        count.fetch_add(usize::from(state == CircuitState::Closed), SeqCst);
    };
    events.subscribe(listener).detach();
    let layer = CircuitBreakerLayer::new(config()).with_events(&events);
    let connector = layer.layer(Farm::default());
    let member = |index| Member::new(Endpoint::new(format!("m{index}:1")).unwrap());
    let members: Vec<_> = (0..2_000).map(member).collect();
    let here = alone();
    let _inside = here.enter();
    let services: Vec<_> = members.iter().map(|member| connector.connect(member)).collect();
    let all = members.iter().map(|member| layer.handle_for(member.key()).unwrap()).collect();
    handles.set(all).ok().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mine = handles.get().unwrap().iter().skip(thread).step_by(4);
            scope.spawn(move || mine.for_each(CircuitHandle::force_open));
        }
    });
    drop(services);
    assert_eq!(wrong.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_before_it_has_a_future_has_failed() {
    #[derive(Clone)]
    struct Panics;

    impl Service<()> for Panics {
        type Response = ();
        type Error = BoxError;
        type Future = Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            panic!("the service panics")
        }
    }

    let layer = CircuitBreakerLayer::new(config());
    let service = layer.layer(Panics);
    for _ in 0..3 {
        assert!(tokio::spawn(service.clone().oneshot(())).await.unwrap_err().is_panic());
    }
    assert_eq!(layer.handle().state(), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_is_not_slow() {
    let says_nothing = |_: Result<&(), &BoxError>| Outcome::Ignored;
    let config = config().with_slow_ratio(0.9).with_slow_after(secs(1));
    let layer = CircuitBreakerLayer::new(config).with_classify(says_nothing);
    let service = layer.layer(service_fn(async |()| {
        sleep(secs(2)).await;
        Ok::<_, BoxError>(())
    }));
    service.oneshot(()).await.unwrap();
    assert_eq!(seen(&layer.handle()).slow, 0);
}

// Bodies.

/// A head after `head`, and data each second.
fn events(
    layer: &CircuitBreakerLayer<tower_upstream::http::AtBodyEnd<HttpClassify>>,
    head: Duration,
    frames: usize,
) -> impl Service<
    (),
    Response = http::Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>,
    Error = Error,
> + Clone {
    layer.layer(service_fn(move |()| async move {
        sleep(head).await;
        let frames = stream::iter(0..frames).then(|_| async {
            sleep(secs(1)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"event")))
        });
        Ok::<_, Infallible>(http::Response::new(StreamBody::new(Box::pin(frames))))
    }))
}

#[tokio::test(start_paused = true)]
async fn whether_a_stream_was_slow_is_known_with_its_head() {
    let config = config().with_slow_ratio(0.5).with_min_calls(2).with_slow_after(secs(2));
    for (head, slow) in [(ms(10), 0), (secs(3), 2)] {
        let layer = CircuitBreakerLayer::new(config.clone()).until_body_end(HttpClassify);
        let service = events(&layer, head, 6);
        for _ in 0..2 {
            let response = service.clone().oneshot(()).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        assert_eq!(seen(&layer.handle()).slow, slow);
    }
}

#[tokio::test(start_paused = true)]
async fn who_closes_a_long_stream_accuses_nobody() {
    let layer = CircuitBreakerLayer::default().until_body_end(HttpClassify);
    let service = events(&layer, ms(1), 1_000);
    for _ in 0..5 {
        let mut body = service.clone().oneshot(()).await.unwrap().into_body();
        for _ in 0..60 {
            body.frame().await.unwrap().unwrap();
        }
    }
    let stats = seen(&layer.handle());
    assert_eq!((stats.state, stats.ignored), (CircuitState::Closed, 5));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_in_the_head_is_all_there_is() {
    let layer = CircuitBreakerLayer::new(config()).until_body_end(HttpClassify);
    let service = layer.layer(service_fn(async |()| {
        let body = StreamBody::new(stream::iter(Vec::<Result<Frame<Bytes>, Infallible>>::new()));
        let head = http::Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(head.header("grpc-status", "0").body(body).unwrap())
    }));
    service.oneshot(()).await.unwrap().into_body().collect().await.unwrap();
    let stats = seen(&layer.handle());
    assert_eq!((stats.succeeded, stats.failed), (1, 0));
}
