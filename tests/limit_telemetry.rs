//! What limits tell of themselves: the name in refusals, counts, and events.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    convert::Infallible,
    future::{Ready, pending},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    Call, ConcurrencyLimitLayer, Endpoint, Error, Quota, RateLimitLayer,
    connect::Connect,
    connect_fn,
    error::Kind,
    limit::KeyedRateLimitLayer,
    member::Member,
    telemetry::{Event, EventKind, Events, Stats},
};

const SECOND: Duration = Duration::from_secs(1);

fn once() -> Quota {
    Quota::new(1, SECOND * 3_600).burst(1)
}

/// Answers at once.
#[derive(Clone)]
struct Answers;

impl Service<Call<u32>> for Answers {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u32>) -> Self::Future {
        std::future::ready(Ok(call.into_body()))
    }
}

/// A connection that never answers.
#[derive(Clone)]
struct Hangs;

impl Service<Call<u32>> for Hangs {
    type Response = u32;
    type Error = Infallible;
    type Future = std::future::Pending<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<u32>) -> Self::Future {
        pending()
    }
}

fn member() -> Arc<Member> {
    Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key("one"))
}

/// Calls at once, without polling the response.
fn start<S>(service: &S) -> task::Spawn<S::Future>
where
    S: Service<Call<u32>, Error = Error> + Clone,
{
    start_with(service, Call::new(7))
}

fn start_with<S>(service: &S, call: Call<u32>) -> task::Spawn<S::Future>
where
    S: Service<Call<u32>, Error = Error> + Clone,
{
    let mut service = service.clone();
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    task::spawn(service.call(call))
}

/// All that `events` tells.
fn heard(events: &Events) -> Arc<Mutex<Vec<Event>>> {
    let heard = Arc::<Mutex<Vec<Event>>>::default();
    let all = heard.clone();
    events.subscribe(move |event| all.lock().unwrap().push(event.clone())).detach();
    heard
}

/// How many waited, by the events, which are all of this layer and endpoint.
fn queued(heard: &Mutex<Vec<Event>>, layer: &str, endpoint: Option<&str>) -> Vec<usize> {
    let of = |event: &Event| {
        assert_eq!((event.layer.as_deref(), event.endpoint.as_deref()), (Some(layer), endpoint));
        match event.kind {
            EventKind::Queue { waiting, .. } => waiting,
            ref other => panic!("{other:?}"),
        }
    };
    heard.lock().unwrap().iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_named_rate_limit_names_and_counts_its_refusals() {
    let named = RateLimitLayer::new(once()).named("quota");
    let (service, handle) = (named.layer(Answers), named.handle());
    service.clone().oneshot(Call::new(1)).await.unwrap();
    for refused in 1..=3 {
        let error = service.clone().oneshot(Call::new(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.guard()), (Kind::RateLimited, Some("quota")));
        assert!(error.is_refused() && error.endpoint().is_none());
        assert_eq!(error.retry_after(), Some(SECOND * 3_600));
        assert!(error.to_string().contains("`quota`"), "{error}");
        assert_eq!(handle.stats().refused, Some(refused));
    }
    assert_eq!(handle.take(1).unwrap_err().guard(), Some("quota"));
    let never = handle.take(2).unwrap_err();
    assert_eq!((never.kind(), never.guard()), (Kind::InvalidConfig, Some("quota")));
    let stats = handle.stats();
    assert_eq!((stats.refused, stats.waited, stats.waiting), (Some(4), Some(0), Some(0)));
    // Not kept.
    assert_eq!((stats.admitted, stats.in_flight), (None, None));

    // A clone is the same, a fresh one keeps the name.
    assert_eq!(named.clone().handle().stats().refused, Some(4));
    let fresh = named.fresh().handle();
    fresh.take(1).unwrap();
    assert_eq!(fresh.stats().refused, Some(0));
    assert_eq!(fresh.take(1).unwrap_err().guard(), Some("quota"));
    assert_eq!((fresh.stats().refused, handle.stats().refused), (Some(1), Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_a_name_counts_no_refusal() {
    let rate = RateLimitLayer::new(once());
    let service = rate.layer(Answers);
    service.clone().oneshot(Call::new(1)).await.unwrap();
    assert_eq!(service.oneshot(Call::new(1)).await.unwrap_err().guard(), None);
    assert_eq!(rate.handle().stats().refused, None);
    let places = ConcurrencyLimitLayer::new(1).handle();
    let _place = places.take().unwrap();
    assert_eq!(places.take().unwrap_err().guard(), None);
    assert_eq!(places.stats().refused, None);
    let keyed = rate.by_key(|call: &Call<u32>| *call.body()).handle();
    assert_eq!(keyed.stats(), Stats::default());
}

#[tokio::test(start_paused = true)]
async fn a_named_concurrency_limit_names_and_counts_its_refusals() {
    let layer = ConcurrencyLimitLayer::new(1).named("places");
    let (service, handle) = (layer.layer(Hangs), layer.handle());
    let running = start(&service);
    let refused = assert_ready!(start(&service).poll()).unwrap_err();
    assert_eq!((refused.kind(), refused.guard()), (Kind::Overloaded, Some("places")));
    assert_eq!(handle.take().unwrap_err().guard(), Some("places"));
    let stats = handle.stats();
    assert_eq!((stats.refused, stats.in_flight, stats.waiting), (Some(2), Some(1), Some(0)));
    drop(running);
    assert_eq!(handle.stats().in_flight, Some(0));
    let fresh = layer.fresh().handle();
    let _place = fresh.take().unwrap();
    assert_eq!(fresh.take().unwrap_err().guard(), Some("places"));
    assert_eq!((fresh.stats().refused, handle.stats().refused), (Some(1), Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_keyed_limit_takes_the_name_of_its_layer_or_its_own() {
    let key = |call: &Call<u32>| *call.body();
    let of_layer = RateLimitLayer::new(once()).named("tenants").by_key(key).with_max_keys(10);
    let own = KeyedRateLimitLayer::new(once(), key).named("tenants");
    for layer in [of_layer, own] {
        let service = layer.layer(service_fn(async |_: Call<u32>| Ok::<_, Infallible>(())));
        service.clone().oneshot(Call::new(1)).await.unwrap();
        let error = service.clone().oneshot(Call::new(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.guard()), (Kind::RateLimited, Some("tenants")));
        assert_eq!(error.retry_after(), Some(SECOND * 3_600));
        let handle = layer.handle();
        assert_eq!(handle.take(&2_u32, 2).unwrap_err().guard(), Some("tenants"));
        assert_eq!(handle.stats().refused, Some(1));
        assert_eq!((handle.stats().waited, handle.stats().waiting), (None, None));
        let fresh = layer.with_key(key).fresh().handle();
        fresh.take(&1_u32, 1).unwrap();
        assert_eq!(fresh.take(&1_u32, 1).unwrap_err().guard(), Some("tenants"));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_begin_to_wait_for_a_token_are_counted_and_told() {
    let events = Events::new();
    let heard = heard(&events);
    let quota = Quota::per_second(1).burst(1);
    let layer = RateLimitLayer::new(quota).named("turns").with_events(&events).wait(SECOND * 3);
    let (service, handle) = (layer.layer(Answers), layer.handle());
    // Not told: it need not wait.
    start(&service).await.unwrap();
    assert!(heard.lock().unwrap().is_empty());
    let (first, second) = (start(&service), start(&service));
    assert_eq!(queued(&heard, "turns", None), [1, 2]);
    assert_eq!(heard.lock().unwrap()[0].at, Instant::now());
    let stats = handle.stats();
    assert_eq!((stats.waited, stats.waiting, stats.refused), (Some(2), Some(2), Some(0)));
    first.await.unwrap();
    drop(second);
    // It would wait for too long, so it does not begin to.
    let _others: Vec<_> = (0..3).map(|_| start(&service)).collect();
    let refused = assert_ready!(start(&service).poll()).unwrap_err();
    assert_eq!((refused.is_refused(), refused.guard()), (true, Some("turns")));
    let stats = handle.stats();
    assert_eq!((stats.waited, stats.waiting, stats.refused), (Some(5), Some(3), Some(1)));
    assert_eq!(queued(&heard, "turns", None), [1, 2, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_begin_to_wait_for_a_place_are_counted_and_told() {
    let events = Events::new();
    let heard = heard(&events);
    let layer = ConcurrencyLimitLayer::new(1).with_events(&events).named("places").wait(SECOND);
    let (service, handle) = (layer.layer(Hangs), layer.handle());
    let running = start(&service);
    let mut waits = [start(&service), start(&service)];
    assert_eq!(queued(&heard, "places", None), [1, 2]);
    let stats = handle.stats();
    assert_eq!((stats.in_flight, stats.waited, stats.waiting), (Some(1), Some(2), Some(2)));
    waits.iter_mut().for_each(|call| assert_pending!(call.poll()));
    advance(SECOND + Duration::from_millis(2)).await;
    for call in waits {
        let refused = { call }.poll().map(Result::unwrap_err);
        assert_eq!(assert_ready!(refused).guard(), Some("places"));
    }
    let stats = handle.stats();
    assert_eq!((stats.refused, stats.waited, stats.waiting), (Some(2), Some(2), Some(0)));
    drop(running);
    // Events stay with a fresh layer.
    let fresh = layer.fresh();
    let service = fresh.layer(Hangs);
    let _calls = [start(&service), start(&service)];
    assert_eq!(queued(&heard, "places", None), [1, 2, 1]);
    assert_eq!((handle.stats().waited, fresh.handle().stats().waited), (Some(2), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_names_the_limit_and_is_no_refusal() {
    let now = Instant::now();
    let late = || Call::new(7).with_deadline(now);
    let rate = RateLimitLayer::new(once()).named("quota").wait(SECOND);
    let places = ConcurrencyLimitLayer::new(1).named("places").wait(SECOND);
    let of_rate = assert_ready!(start_with(&rate.layer(Answers), late()).poll()).unwrap_err();
    let of_places = assert_ready!(start_with(&places.layer(Answers), late()).poll()).unwrap_err();
    for (error, name) in [(of_rate, "quota"), (of_places, "places")] {
        assert_eq!((error.kind(), error.guard()), (Kind::Timeout, Some(name)));
        assert!(error.is_unsent() && !error.is_refused());
    }
    assert_eq!(rate.handle().stats().refused, Some(0));
    assert_eq!(places.handle().stats().refused, Some(0));
}

#[tokio::test(start_paused = true)]
async fn members_inherit_name_and_events() {
    let events = Events::new();
    let heard = heard(&events);
    let one = member();
    let places = ConcurrencyLimitLayer::new(1).named("places").with_events(&events);
    let of_one = places.layer(connect_fn(|_: &Endpoint| Hangs)).connect(&one);
    let of_member = places.handle_for("one").unwrap();
    let _place = of_member.take().unwrap();
    let refused = of_member.take().unwrap_err();
    assert_eq!((refused.guard(), refused.endpoint()), (Some("places"), Some("one")));
    let mut waits = task::spawn(of_one);
    assert_pending!(waits.enter(|cx, mut service| service.poll_ready(cx)));
    assert_eq!(queued(&heard, "places", Some("one")), [1]);
    let stats = of_member.stats();
    assert_eq!((stats.refused, stats.waited, stats.waiting), (Some(1), Some(1), Some(1)));
    // The layer's own limit is another.
    assert_eq!(places.handle().stats().refused, Some(0));

    let quota = RateLimitLayer::new(once()).named("quota");
    let _of_one = quota.layer(connect_fn(|_: &Endpoint| Hangs)).connect(&one);
    let of_member = quota.handle_for("one").unwrap();
    of_member.take(1).unwrap();
    let refused = of_member.take(1).unwrap_err();
    assert_eq!((refused.guard(), refused.endpoint()), (Some("quota"), Some("one")));
    assert_eq!(refused.retry_after(), Some(SECOND * 3_600));
    assert_eq!(of_member.stats().refused, Some(1));
}

/// No lock is held meanwhile.
#[tokio::test(start_paused = true)]
async fn a_listener_may_use_the_handle() {
    let events = Events::new();
    let layer = ConcurrencyLimitLayer::new(1).with_events(&events).wait(SECOND);
    let (handle, seen) = (layer.handle(), Arc::new(Mutex::new(Vec::new())));
    let by_listener = seen.clone();
    let listening = events.subscribe(move |_| {
        by_listener.lock().unwrap().push((handle.waiting(), handle.stats().waited));
        handle.set_max(2);
    });
    let service = layer.layer(Hangs);
    let _calls = [start(&service), start(&service)];
    assert_eq!(*seen.lock().unwrap(), [(1, Some(1))]);
    assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (2, 0));
    drop(listening);
}
