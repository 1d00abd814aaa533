//! What the name and the events of a gate promise.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Endpoint, Error, HealthGateLayer,
    connect::Connect,
    connect_fn,
    error::Kind,
    health::{HealthConfig, HealthGate, HealthHandle, check_fn, check_upstream},
    member::Member,
    telemetry::{EventKind, Events, Subscription},
};

/// Checks that come only when they are asked for.
fn seldom() -> HealthConfig {
    let long = Duration::from_secs(86_400);
    let config = HealthConfig::default().with_interval(long).with_interval_unhealthy(long);
    config.with_fall(1).with_rise(1)
}

fn layer_over(well: &Arc<AtomicBool>) -> HealthGateLayer {
    let well = well.clone();
    let check = check_upstream(move || {
        let well = well.load(SeqCst);
        async move { if well { Ok(()) } else { Err::<(), BoxError>("ill".into()) } }
    });
    HealthGateLayer::with_config(check, seldom())
}

fn connect(layer: &HealthGateLayer, key: &str) -> HealthGate<()> {
    let endpoint = Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key);
    layer.layer(connect_fn(|_: &Endpoint| ())).connect(&Member::new(endpoint))
}

/// A call through a gate without a balancer.
async fn call(layer: &HealthGateLayer) -> Result<(), Error> {
    layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(()))).oneshot(()).await
}

/// Each event as a line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn of(events: &Events) -> (Self, Subscription) {
        let log = Self::default();
        let lines = log.clone();
        let listens = events.subscribe(move |event| {
            let EventKind::Health { healthy, reason, .. } = &event.kind else {
                unreachable!("{event:?}")
            };
            let [layer, endpoint] = [&event.layer, &event.endpoint].map(|of| of.as_deref());
            let how = reason.as_deref().unwrap_or(if *healthy { "up" } else { "down" });
            let line = format!("{}/{} {how}", layer.unwrap_or("-"), endpoint.unwrap_or("-"));
            lines.0.lock().unwrap().push(line);
        });
        (log, listens)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_gate_says_its_name_and_counts_what_it_refuses() {
    let well = Arc::new(AtomicBool::new(false));
    for name in [None, Some("tax service")] {
        let layer = layer_over(&well);
        let layer = if let Some(name) = name { layer.named(name) } else { layer };
        let client = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(())));
        client.clone().oneshot(()).await.unwrap();
        layer.monitor().force_check().await.unwrap();
        for _ in 0..3 {
            let refused = client.clone().oneshot(()).await.unwrap_err();
            assert_eq!((refused.kind(), refused.guard()), (Kind::Unhealthy, name));
            assert!(refused.is_refused() && refused.is_unsent());
        }
        let counted = name.map(|_| 3);
        assert_eq!(layer.handle().stats().refused, counted);
        assert_eq!(layer.monitor().stats().refused, counted);
        assert_eq!(layer.handle().stats().admitted, None, "a call that passes is not counted");
        assert_eq!(layer.fresh().handle().stats().refused, name.map(|_| 0), "the name is kept");
    }
}

#[test]
fn every_refusal_has_the_name() {
    let well = Arc::new(AtomicBool::new(true));
    let layer = layer_over(&well).named("tax service");
    let refused = futures::executor::block_on(call(&layer)).unwrap_err();
    assert_eq!((refused.kind(), refused.guard()), (Kind::Unavailable, Some("tax service")));
    let misused = HealthGateLayer::new(check_fn(async |_| true)).named("tax service");
    let refused = futures::executor::block_on(call(&misused)).unwrap_err();
    assert_eq!((refused.kind(), refused.guard()), (Kind::InvalidConfig, Some("tax service")));
    assert_eq!(misused.handle().stats().refused, Some(1));
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_gate_is_one_event() {
    let (well, events) = (Arc::new(AtomicBool::new(true)), Events::new());
    let (log, listens) = Log::of(&events);
    let layer = layer_over(&well).named("tax service").with_events(&events);
    let (gates, monitor) = (["a", "b"].map(|key| connect(&layer, key)), layer.monitor());
    let check = async |is: bool| {
        well.store(is, SeqCst);
        monitor.force_check().await.unwrap();
        let mut lines = log.take();
        lines.sort();
        lines
    };
    assert!(check(true).await.is_empty(), "it began so");
    assert_eq!(check(false).await, ["tax service/a ill", "tax service/b ill"]);
    assert!(check(false).await.is_empty(), "it was so");
    assert_eq!(check(true).await, ["tax service/a up", "tax service/b up"]);
    drop(listens);
    assert!(check(false).await.is_empty(), "the subscription has ended");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_layer_keeps_its_events_and_one_above_a_balancer_has_no_endpoint() {
    let (well, events) = (Arc::new(AtomicBool::new(false)), Events::new());
    let (log, _listens) = Log::of(&events);
    let layer = layer_over(&well).with_events(&events).fresh();
    let client = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(())));
    client.clone().oneshot(()).await.unwrap();
    layer.monitor().force_check().await.unwrap();
    assert_eq!(log.take(), ["-/- ill"]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_open_or_shut_a_gate_are_events_too() {
    let (well, events) = (Arc::new(AtomicBool::new(false)), Events::new());
    let (log, _listens) = Log::of(&events);
    let layer = layer_over(&well).with_events(&events);
    let gate = connect(&layer, "a");
    layer.monitor().force_check().await.unwrap();
    assert_eq!(log.take(), ["-/a ill"]);
    layer.handle_for("a").unwrap().update(&seldom().with_enabled(false)).unwrap();
    assert_eq!(log.take(), ["-/a up"], "without checks it is open");
    layer.handle().update(&seldom()).unwrap();
    assert!(log.take().is_empty(), "it begins anew, and as healthy");

    // A check that can never work here.
    let misused = HealthGateLayer::new(check_fn(async |_| true)).with_events(&events);
    assert_eq!(call(&misused).await.unwrap_err().kind(), Kind::InvalidConfig);
    let told = log.take();
    assert!(told.len() == 1 && told[0].contains("needs an endpoint"), "{told:?}");
    drop(gate);
}

/// What an event says is visible before it comes, and no lock is held meanwhile.
#[tokio::test(start_paused = true)]
async fn a_listener_may_use_handles() {
    let (well, events) = (Arc::new(AtomicBool::new(false)), Events::new());
    let layer = layer_over(&well).with_events(&events);
    let gate = connect(&layer, "a");
    let handle: HealthHandle = layer.handle_for("a").unwrap();
    let (seen, monitor) = (Arc::new(Mutex::new(Vec::new())), layer.monitor());
    let (notes, asks) = (seen.clone(), monitor.clone());
    let _listens = events.subscribe(move |event| {
        let (state, healthy) = (handle.state(), asks.healthy().healthy);
        let EventKind::Health { healthy: told, .. } = event.kind else { unreachable!() };
        notes.lock().unwrap().push((told, state.healthy, healthy));
        handle.update(&handle.config().with_fall(2)).unwrap();
    });
    monitor.force_check().await.unwrap();
    well.store(true, SeqCst);
    monitor.force_check().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(false, false, 0), (true, true, 1)]);
    assert_eq!(layer.handle_for("a").unwrap().config().fall, 2);
    drop(gate);
}
