//! What a circuit breaker has in common with every layer: a name, events, handles, a key; and one without
//! rules.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, ms, secs, seen, settle};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Outcome,
    balance::RoundRobin,
    breaker::{
        Cancelled,
        CircuitState::{self, Closed, ForcedOpen, HalfOpen, Open},
    },
    discover,
    error::Kind,
    telemetry::{Event, EventKind, Events, Subscription},
};

const OPEN_FOR: Duration = secs(5);

/// One failure opens it, for as long each time.
fn config() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(1)
        .with_open_for(OPEN_FOR)
        .with_open_growth(1.0)
        .with_open_jitter(0.0)
        .with_successes(1)
        .with_probe_failures(0)
}

type Told = Arc<Mutex<Vec<Event>>>;

fn listen(events: &Events) -> (Told, Subscription) {
    let told = Told::default();
    let list = told.clone();
    let listening = events.subscribe(move |event: &Event| list.lock().unwrap().push(event.clone()));
    (told, listening)
}

/// To which states, and in which generation.
fn states(told: &Told) -> Vec<(CircuitState, u64)> {
    let state = |event: &Event| match event.kind {
        EventKind::Circuit { to, generation, .. } => (to, generation),
        _ => panic!("{event:?}"),
    };
    told.lock().unwrap().iter().map(state).collect()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn fail(layer: &CircuitBreakerLayer, inner: &Arc<Inner>) {
    inner.answers(Answer::Fails);
    let _ = layer.layer(inner.service()).oneshot(Ask::new(1)).await;
}

// Names.

#[tokio::test(start_paused = true)]
async fn a_refusal_says_the_name_of_the_layer_and_members_inherit_it() {
    let named = CircuitBreakerLayer::new(config()).named("tax");
    let refusal = |layer: &CircuitBreakerLayer| {
        layer.handle().force_open();
        layer.layer(Inner::new("a:1").service()).oneshot(Ask::new(1))
    };
    for layer in [&named, &named.fresh(), &named.clone().with_events(&Events::new())] {
        let error = refusal(layer).await.unwrap_err();
        assert_eq!((error.guard(), error.endpoint()), (Some("tax"), None));
        assert!(error.to_string().contains("`tax`"), "{error}");
    }
    let error = refusal(&CircuitBreakerLayer::new(config())).await.unwrap_err();
    assert_eq!(error.guard(), None);

    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::new());
    let service = ServiceBuilder::new().layer(set).layer(named.clone()).service(farm);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    let error = named.handle_for("a:1").unwrap().try_acquire().unwrap_err();
    assert_eq!((error.guard(), error.endpoint()), (Some("tax"), Some("a:1")));
    assert_eq!(error.retry_after(), Some(OPEN_FOR));

    let layer = named.by_key(|key: &u32| *key);
    let service = layer.layer(service_fn(async |_: u32| Err::<(), BoxError>("bad".into())));
    service.clone().oneshot(7).await.unwrap_err();
    assert_eq!(service.oneshot(7).await.unwrap_err().guard(), Some("tax"));
    let layer = layer.named("tenant");
    let service = layer.layer(service_fn(async |_: u32| Err::<(), BoxError>("bad".into())));
    service.clone().oneshot(7).await.unwrap_err();
    assert_eq!(service.oneshot(7).await.unwrap_err().guard(), Some("tenant"));
}

// Without rules.

#[tokio::test(start_paused = true)]
async fn without_rules_only_a_handle_opens_and_closes_it() {
    let layer = CircuitBreakerLayer::manual();
    let (inner, handle) = (Inner::new("a:1"), layer.handle());
    for _ in 0..200 {
        fail(&layer, &inner).await;
    }
    assert_eq!((handle.state(), seen(&handle).failed), (Closed, 200));
    handle.force_open();
    let refusal = layer.layer(inner.service()).oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((refusal.kind(), refusal.retry_after()), (Kind::CircuitOpen, None));
    sleep(secs(3_600)).await;
    assert_eq!(handle.state(), ForcedOpen);
    handle.auto();
    assert_eq!(handle.state(), Closed);

    // Its settings are valid, and may become others and these again.
    handle.update(&config()).unwrap();
    fail(&layer, &inner).await;
    assert_eq!(handle.state(), Open);
    handle.reset();
    handle.update(&CircuitBreakerConfig::manual()).unwrap();
    fail(&layer, &inner).await;
    assert_eq!((handle.state(), handle.opened()), (Closed, 1));
    // Whatever else they say.
    let rules = CircuitBreakerLayer::new(config().with_manual(true));
    fail(&rules, &inner).await;
    assert_eq!(rules.handle().state(), Closed);
}

// Events.

#[tokio::test(start_paused = true)]
async fn a_listener_may_come_before_the_layer_or_long_after_it_opened() {
    let events = Events::new();
    let layer = CircuitBreakerLayer::new(config()).named("tax").with_events(&events);
    let (inner, start) = (Inner::new("a:1"), Instant::now());
    fail(&layer, &inner).await;
    sleep(secs(1)).await;
    assert_eq!(tasks(), 0, "nothing waits where nothing listens");
    let (late, listening) = listen(&events);
    assert_eq!(tasks(), 1);
    sleep(OPEN_FOR).await;
    assert_eq!(states(&late), [(HalfOpen, 2)], "without traffic");
    let event = late.lock().unwrap()[0].clone();
    assert_eq!((event.at, event.layer.as_deref()), (start + OPEN_FOR, Some("tax")));
    assert_eq!((event.endpoint, event.key), (None, None));

    // The task ends with the last listener, and comes with the next.
    fail(&layer, &inner).await;
    let (another, still) = listen(&events);
    drop(listening);
    settle().await;
    assert_eq!(tasks(), 1);
    drop(still);
    settle().await;
    assert_eq!(tasks(), 0);
    sleep(secs(20)).await;
    assert_eq!((states(&late).len(), states(&another).len()), (2, 0));
    let again = Instant::now();
    let (third, _third) = listen(&events);
    settle().await;
    // It was due long ago.
    assert_eq!(states(&third), [(HalfOpen, 4)]);
    assert!(third.lock().unwrap()[0].at < again);
    assert_eq!(layer.handle().since(), third.lock().unwrap()[0].at);
}

#[tokio::test(start_paused = true)]
async fn every_change_of_state_is_told_to_all_listeners_with_its_generation() {
    let events = Events::new();
    let (one, _one) = listen(&events);
    let layer = CircuitBreakerLayer::new(config()).with_events(&events);
    let (other, _other) = listen(&events);
    let handle = layer.handle();
    handle.force_open();
    handle.force_open();
    handle.auto();
    // A reset counts, and changes no state.
    handle.reset();
    handle.disable();
    assert_eq!(states(&one), [(ForcedOpen, 1), (Closed, 2), (CircuitState::Disabled, 4)]);
    assert_eq!(states(&one), states(&other));
    assert_eq!(tasks(), 0, "what is set manually has no time");
    // Another layer of the same settings tells the same listeners.
    layer.fresh().handle().force_open();
    assert_eq!(states(&one).last(), Some(&(ForcedOpen, 1)));
}

#[tokio::test(start_paused = true)]
async fn endpoints_and_keys_are_told_apart() {
    let events = Events::new();
    let (told, _listening) = listen(&events);
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let set = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::new());
    let layer = CircuitBreakerLayer::new(config()).with_events(&events);
    let service = ServiceBuilder::new().layer(set).layer(layer.clone()).service(farm);
    service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(told.lock().unwrap()[0].endpoint.as_deref(), Some("a:1"));

    let bad = || service_fn(async |_: String| Err::<(), BoxError>("bad".into()));
    let layer = layer.by_key(|name: &String| name.clone());
    let label = |name: &String| format!("user {name}");
    let long = "ä".repeat(100);
    for (labelled, names) in [(false, ["ann", "bob"]), (true, ["eve", &long])] {
        for name in names.map(str::to_owned) {
            let _ = match labelled {
                false => layer.layer(bad()).oneshot(name).await,
                true => layer.clone().with_label(label).layer(bad()).oneshot(name).await,
            };
        }
    }
    let told = told.lock().unwrap();
    let keys: Vec<_> = told[1..].iter().map(|event| event.key.as_deref()).collect();
    // A label is cut, and between two characters.
    let cut = format!("user {}", "ä".repeat(61));
    assert_eq!(keys, [None, None, Some("user eve"), Some(&*cut)]);
}

#[tokio::test(start_paused = true)]
async fn a_label_is_made_once_for_a_circuit_and_outside_of_locks() {
    let count = Arc::new(Mutex::new(0));
    let counts = count.clone();
    let layer = CircuitBreakerLayer::new(config()).by_key(|key: &u32| *key).with_max_keys(1);
    let handles = layer.clone();
    let service = layer
        .with_label(move |key: &u32| {
            *counts.lock().unwrap() += 1;
            // The only lock there is for keys.
            assert!(handles.handle_for(key).is_none());
            key.to_string()
        })
        .layer(service_fn(async |_: u32| Ok::<_, BoxError>(())));
    for key in [1, 1, 1, 2, 2] {
        service.clone().oneshot(key).await.unwrap();
    }
    assert_eq!(*count.lock().unwrap(), 2);
}

// Handles.

#[tokio::test(start_paused = true)]
async fn new_settings_of_a_layer_are_for_all_and_those_of_an_endpoint_for_one() {
    let farm = Farm::default();
    ["a:1", "b:1"].iter().for_each(|key| farm.get(key).answers(Answer::Fails));
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let layer = CircuitBreakerLayer::manual();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .layer(layer.clone())
        .service(farm);
    let both = async || {
        for _ in 0..2 {
            let _ = service.clone().oneshot(Ask::new(1)).await;
        }
        ["a:1", "b:1"].map(|key| layer.handle_for(key).unwrap().state())
    };
    assert_eq!(both().await, [Closed, Closed]);
    layer.handle_for("b:1").unwrap().update(&config()).unwrap();
    assert_eq!(both().await, [Closed, Open]);
    layer.handle().update(&config()).unwrap();
    assert_eq!(both().await, [Open, Open]);
    assert_eq!(layer.handle().state(), Closed, "the layer's own circuit is not used here");
}

#[tokio::test(start_paused = true)]
async fn a_call_outside_of_the_layer_is_admitted_and_judged_like_one_of_its_own() {
    let layer = CircuitBreakerLayer::new(config().with_probes(1));
    let handle = layer.handle();
    let since = handle.since();
    sleep(secs(1)).await;
    let mut call = handle.try_acquire().unwrap();
    call.settle(Outcome::Failure);
    // Only the first time counts.
    call.settle(Outcome::Failure);
    drop(call);
    assert_eq!((handle.state(), seen(&handle).failed), (Open, 1));
    assert_eq!(handle.since(), since + secs(1));
    let refusal = handle.try_acquire().unwrap_err();
    assert_eq!((refusal.kind(), refusal.retry_after()), (Kind::CircuitOpen, Some(OPEN_FOR)));
    sleep(OPEN_FOR + ms(1)).await;
    assert_eq!((handle.state(), handle.since()), (HalfOpen, since + secs(1) + OPEN_FOR));
    // A place that is dropped is free again.
    let place = handle.try_acquire().unwrap();
    assert!(handle.try_acquire().is_err());
    drop(place);
    handle.try_acquire().unwrap().settle(Outcome::Success);
    assert_eq!(handle.state(), Closed);
    let seen = seen(&handle);
    assert_eq!((seen.succeeded, seen.ignored, seen.refused, seen.admitted), (1, 1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_counts_as_the_policy_says() {
    let dropped = async |cancelled, after| {
        let config =
            CircuitBreakerConfig::consecutive(1).with_slow_after(secs(2)).with_cancelled(cancelled);
        let circuit = CircuitBreakerLayer::new(config).handle();
        let permit = circuit.try_acquire().unwrap();
        tokio::time::advance(after).await;
        drop(permit);
        let stats = circuit.stats();
        (stats.failed.unwrap(), stats.ignored.unwrap())
    };
    assert_eq!(dropped(Cancelled::Failure, secs(0)).await, (1, 0));
    assert_eq!(dropped(Cancelled::FailureIfSlow, secs(1)).await, (0, 1));
    assert_eq!(dropped(Cancelled::FailureIfSlow, secs(2)).await, (1, 0));
    assert_eq!(dropped(Cancelled::Ignored, secs(60)).await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_service_inside_can_be_reached_and_a_place_comes_back() {
    let farm = Farm::default();
    let inner = farm.get("a:1");
    let layer = CircuitBreakerLayer::new(config().with_probes(1));
    let member = {
        use tower_upstream::{Endpoint, member::Member};
        Member::new(Endpoint::new("a:1").unwrap())
    };
    let mut service = tower_upstream::connect::Connect::connect(&layer.layer(farm), &member);
    inner.answers(Answer::Fails);
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
    sleep(OPEN_FOR + ms(1)).await;
    service.ready().await.unwrap();
    let handle = layer.handle_for("a:1").unwrap();
    assert!(handle.try_acquire().is_err(), "readiness took the only place");
    let _ = service.get_ref();
    let _ = service.get_mut();
    drop(service.into_inner());
    assert!(handle.try_acquire().is_ok());
}

// Keys.

#[tokio::test(start_paused = true)]
async fn all_circuits_by_key_have_one_handle() {
    let layer = CircuitBreakerLayer::new(config()).by_key(|key: &u32| key % 10).with_max_keys(20);
    let answer = async |key: u32| if key < 10 { Ok(()) } else { Err(BoxError::from("bad")) };
    let service = layer.layer(service_fn(answer));
    for key in [1, 2, 13, 3] {
        let _ = service.clone().oneshot(key).await;
    }
    let handle = layer.handle();
    assert_eq!((handle.len(), handle.max_keys(), handle.is_empty()), (3, 20, false));
    let stats = handle.stats();
    let counts = (stats.admitted, stats.succeeded, stats.failed, stats.refused);
    assert_eq!(counts, (Some(3), Some(2), Some(1), Some(1)));
    handle.update(&CircuitBreakerConfig::default().with_enabled(false)).unwrap();
    let states = [1_u32, 2, 3].map(|key| layer.handle_for(&key).unwrap().state());
    assert_eq!(states, [CircuitState::Disabled; 3]);
    assert!(layer.fresh().handle().is_empty());
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn clients_behind_proxies_have_circuits_of_their_own() {
    use std::net::IpAddr;

    use http::{Request, Response};
    use tower_upstream::http::ClientIp;

    let address = ClientIp::new(|extensions| extensions.get::<IpAddr>().copied());
    let layer = CircuitBreakerLayer::new(config()).by_key(address.clone());
    let service =
        layer.layer(service_fn(async |_: Request<()>| Err::<Response<()>, BoxError>("bad".into())));
    let from = |last: u8| {
        let mut request = Request::new(());
        request.extensions_mut().insert(IpAddr::from([10, 0, 0, last]));
        request
    };
    for (last, refused) in [(1, false), (1, true), (2, false), (2, true)] {
        let error = service.clone().oneshot(from(last)).await.unwrap_err();
        assert_eq!(error.is_refused(), refused, "{last}");
    }
    assert_eq!(layer.handle().len(), 2);
    let key = address.of(&from(1));
    assert!(key.is_some() && layer.handle_for(&key).is_some());
}
