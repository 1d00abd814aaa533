//! Calls that wait for a limit: what they hold meanwhile, and when it is too late to make them.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;

use support::{Answer, Ask, Farm, Inner, Probe, Readiness, ms, secs, settle};
use tokio::{
    sync::Semaphore,
    time::{Instant, advance, sleep},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    limit::{ConcurrencyLimit, ConcurrencyLimitLayer as TowersLimit, GlobalConcurrencyLimitLayer},
};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, ConcurrencyLimitLayer, Endpoint, Error, FailoverLayer,
    LeastRequest, Quota, RateLimitLayer,
    balance::RoundRobin,
    connect::{Connect, EachLayer},
    connect_fn, discover,
    error::Kind,
    member::Member,
};

fn one_a_second() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_second(1).burst(1))
}

fn one_below(inner: &Arc<Inner>) -> ConcurrencyLimit<Probe> {
    ConcurrencyLimit::new(inner.service(), 1)
}

/// Two calls on one value that is kept: the second must not wait for what the value itself holds.
async fn second_call_of_a_kept_value<S>(mut kept: S) -> (Result<String, Error>, Instant)
where
    S: Service<Ask, Response = String, Error = Error>,
{
    kept.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    let second = kept.ready().await.unwrap().call(Ask::new(2)).await;
    (second, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn the_second_call_of_a_kept_service_gets_its_token_and_the_place_below() {
    let start = Instant::now();
    let inner = Inner::new("a:1");
    let kept = one_a_second().wait(secs(30)).layer(one_below(&inner));
    let (second, end) = second_call_of_a_kept_value(kept).await;
    assert_eq!(second.unwrap(), "a:1");
    assert!(end - start >= secs(1) && end - start <= ms(1_003), "{:?}", end - start);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_leaves_the_place_below_to_another_stack() {
    let inner = Inner::new("a:1");
    let below = one_below(&inner);
    // Two limits, of which one is spent, over the same place.
    let mut waits = one_a_second().wait(secs(30)).layer(below.clone());
    let other = one_a_second().layer(below);
    waits.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    let mut second = task::spawn(waits.ready().await.unwrap().call(Ask::new(2)));
    assert_pending!(second.poll());
    let start = Instant::now();
    other.oneshot(Ask::new(3)).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_place_leaves_the_place_below_to_another_stack() {
    let inner = Inner::new("a:1");
    let below = one_below(&inner);
    let layer = ConcurrencyLimitLayer::new(1);
    let elsewhere = layer.handle().take().unwrap();
    let mut kept = layer.wait(secs(30)).layer(below.clone());
    let mut waits = task::spawn(kept.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(waits.poll());
    below.oneshot(Ask::new(2)).await.unwrap();
    drop(elsewhere);
    waits.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_leaves_nothing_readied_where_a_clone_can_be_made() {
    let inner = Inner::new("a:1");
    let rate = one_a_second();
    rate.handle().take(1).unwrap();
    // Its turn would come too late; or there is no room to wait.
    let mut too_late = rate.wait(ms(10)).layer(inner.service());
    let layer = ConcurrencyLimitLayer::new(1);
    let _elsewhere = layer.handle().take().unwrap();
    let mut no_time = layer.wait(ms(0)).layer(inner.service());
    let refused = too_late.ready().await.unwrap().call(Ask::new(1));
    assert_eq!(inner.readied(), 0);
    assert_eq!(refused.await.unwrap_err().kind(), Kind::RateLimited);
    let refused = no_time.ready().await.unwrap().call(Ask::new(1));
    assert_eq!(inner.readied(), 0);
    assert_eq!(refused.await.unwrap_err().kind(), Kind::Overloaded);
    // The modes that only refuse do not need a clone, and keep what is ready.
    let rate = one_a_second();
    rate.handle().take(1).unwrap();
    let mut refuses = rate.layer(inner.service());
    refuses.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
    assert_eq!(inner.readied(), 1);
    drop(refuses);
    assert_eq!((inner.readied(), inner.calls()), (0, 0));
}

/// Its turn had come, and while it asked for readiness the token went to one outside the line.
#[tokio::test(start_paused = true)]
async fn one_whose_token_was_taken_gives_back_its_readiness_again() {
    let inner = Inner::new("a:1");
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1));
    let handle = layer.handle();
    handle.take(1).unwrap();
    let mut kept = layer.wait(secs(30)).layer(inner.service());
    let mut waits = task::spawn(kept.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(waits.poll());
    inner.is(Readiness::Pending);
    advance(ms(1_002)).await;
    assert_pending!(waits.poll());
    handle.take(1).unwrap();
    inner.is(Readiness::Ready);
    assert_pending!(waits.poll());
    assert_eq!((inner.readied(), inner.calls()), (0, 0));
    waits.await.unwrap();
    assert_eq!((inner.readied(), inner.calls()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_whose_token_was_taken_gives_back_what_the_inner_has_reserved_so_far() {
    let (inner, places) = (Inner::new("a:1"), Arc::new(Semaphore::new(1)));
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1));
    let handle = layer.handle();
    handle.take(1).unwrap();
    let below = GlobalConcurrencyLimitLayer::with_semaphore(places.clone());
    let mut kept = layer.wait(secs(30)).layer(below.layer(inner.service()));
    let mut waits = task::spawn(kept.ready().await.unwrap().call(Ask::new(1)));
    assert_pending!(waits.poll());
    inner.is(Readiness::Pending);
    advance(ms(1_002)).await;
    assert_pending!(waits.poll());
    assert_eq!(places.available_permits(), 0, "it has its place, and is not ready");
    handle.take(1).unwrap();
    assert_pending!(waits.poll());
    assert_eq!(places.available_permits(), 1, "a place that is of no use is one of others");
    inner.is(Readiness::Ready);
    waits.await.unwrap();
}

/// Below a balancer the limits that refuse wait in `poll_ready`, and have no clone to make.
#[tokio::test(start_paused = true)]
async fn below_a_balancer_the_place_below_is_not_held_while_there_is_no_token() {
    let member = Member::new("a:1".parse::<Endpoint>().unwrap());
    let farm = Farm::default();
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1));
    let below = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(EachLayer::new(TowersLimit::new(1)))
        .service(farm.clone());
    let service = below.connect(&member);
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    let mut waits = task::spawn(service.clone());
    assert_pending!(waits.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx)));
    assert_eq!(farm.get("a:1").readied(), 0);
    assert_eq!(layer.handle_for("a:1").unwrap().remaining(), 0);
    sleep(secs(1)).await;
    assert!(waits.is_woken());
    assert_ready_ok!(waits.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx)));
    assert_eq!(farm.get("a:1").readied(), 1);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_no_token_is_held_while_the_inner_is_not_ready() {
    let member = Member::new("a:1".parse::<Endpoint>().unwrap());
    let farm = Farm::default();
    let layer = RateLimitLayer::new(Quota::per_minute(1).burst(2));
    let service = layer.layer(farm.clone()).connect(&member);
    let inner = farm.get("a:1");
    inner.is(Readiness::Pending);
    let mut waiting: Vec<_> = (0..5).map(|_| task::spawn(service.clone())).collect();
    for one in &mut waiting {
        assert_pending!(one.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx)));
    }
    assert_eq!(layer.handle_for("a:1").unwrap().remaining(), 2);
    // Nobody wakes anybody for a token that none of them can use.
    assert!(waiting.iter().all(|one| !one.is_woken()));
    inner.is(Readiness::Ready);
    assert!(waiting.iter().all(|one| one.is_woken()));
    let mut ready = 0;
    for one in &mut waiting {
        let now = one.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx));
        ready += usize::from(now.is_ready());
    }
    assert_eq!((ready, inner.readied()), (2, 2));
}

/// Its service gets ready in its own time, above a balancer and below one.
#[tokio::test(start_paused = true)]
async fn a_call_that_may_wait_is_not_hurried_once_it_has_its_place() {
    for below in [false, true] {
        let (farm, layer) = (Farm::default(), ConcurrencyLimitLayer::new(1));
        let (inner, limit) = (farm.get("a:1"), layer.clone().wait(secs(30)));
        let service = match below {
            false => limit.layer(inner.service()),
            true => limit.layer(farm).connect(&Member::new("a:1".parse::<Endpoint>().unwrap())),
        };
        let places = || match below {
            false => (*layer.handle()).clone(),
            true => layer.handle_for("a:1").unwrap(),
        };
        let elsewhere = places().take().unwrap();
        let [mut second, mut third] = [2, 3].map(|number| {
            let mut service = service.clone();
            let ready = async move { service.ready().await.unwrap().call(Ask::new(number)).await };
            task::spawn(Box::pin(ready))
        });
        assert_pending!(second.poll());
        inner.is(Readiness::Pending);
        drop(elsewhere);
        assert_pending!(second.poll());
        sleep(secs(20)).await;
        // One that comes looks for those that are late.
        inner.is(Readiness::Ready);
        assert_pending!(third.poll());
        second.await.unwrap();
        third.await.unwrap();
        let numbers: Vec<_> = inner.asks().iter().map(|ask| ask.number).collect();
        assert_eq!((numbers, places().in_flight()), (vec![2, 3], 0), "{below}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_below_a_balancer_whose_calls_wait_has_them_wait_for_their_endpoint() {
    let (farm, limit) = (Farm::default(), ConcurrencyLimitLayer::new(1));
    let a = farm.get("a:1");
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0));
    let set = balance.handle();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(balance.with_fail_fast_after(ms(100)))
        .layer(limit.clone().wait(secs(2)))
        .service(farm.clone());
    a.answers(Answer::ByHand);
    let call = |number| tokio::spawn(service.clone().oneshot(Ask::once(number)));
    let first = call(1);
    settle().await;
    assert_eq!(call(2).await.unwrap().unwrap(), "b:1");
    let start = Instant::now();
    let [waits, other] = [call(3), call(4)];
    sleep(secs(1)).await;
    // The fourth had its turn at the other, and this one waits though that is free.
    assert_eq!(other.await.unwrap().unwrap(), "b:1");
    assert_eq!((a.calls(), limit.handle_for("a:1").unwrap().waiting()), (1, 1));
    a.finish(0, true);
    settle().await;
    assert_eq!((a.calls(), start.elapsed() < ms(1_010)), (2, true));
    // One that waits too long is refused, and so goes to the other for free.
    let refused = call(5);
    assert_eq!(refused.await.unwrap().unwrap(), "b:1");
    assert!((secs(3)..secs(4)).contains(&start.elapsed()), "{:?}", start.elapsed());
    a.finish(1, true);
    assert_eq!(first.await.unwrap().unwrap(), "a:1");
    assert_eq!(waits.await.unwrap().unwrap(), "a:1");
    assert!(set.members().iter().all(|member| member.failures() == 0 && member.in_flight() == 0));
}

/// Without a runtime there is no time to look again, and a call that gives back its place tells it.
#[test]
fn below_a_balancer_a_call_waits_for_a_place_without_a_runtime() {
    let (inner, layer) = (Inner::new("a:1"), ConcurrencyLimitLayer::new(1));
    let connector = connect_fn({
        let inner = inner.clone();
        move |_: &Endpoint| inner.service()
    });
    let service = layer.layer(connector).connect(&Member::new("a:1".parse::<Endpoint>().unwrap()));
    let elsewhere = layer.handle_for("a:1").unwrap().take().unwrap();
    let mut waits = task::spawn(service);
    for _ in 0..2 {
        assert_pending!(waits.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx)));
    }
    drop(elsewhere);
    assert!(waits.is_woken());
    assert_ready_ok!(waits.enter(|cx, mut it| Service::<Ask>::poll_ready(&mut *it, cx)));
}

// Deadlines.

fn assert_too_late(error: &Error) {
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.is_unsent() && error.is_timeout() && !error.is_refused(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_has_passed_is_not_made_though_all_is_free() {
    let inner = Inner::new("a:1");
    let rate = RateLimitLayer::new(Quota::per_minute(1).burst(5));
    let places = ConcurrencyLimitLayer::new(5);
    let mut tokens = rate.clone().wait(secs(10)).layer(inner.service());
    let mut place = places.clone().wait(secs(10)).layer(inner.service());
    sleep(secs(1)).await;
    for late in [ms(0), ms(1), secs(1)] {
        let ask = Ask::new(1).until(Instant::now() - late);
        let call = tokens.ready().await.unwrap().call(ask.clone());
        assert_eq!(inner.readied(), 0);
        assert_too_late(&call.await.unwrap_err());
        assert_too_late(&place.ready().await.unwrap().call(ask).await.unwrap_err());
    }
    assert_eq!((inner.calls(), rate.handle().remaining()), (0, 5));
    assert_eq!(places.handle().in_flight(), 0);
    // Where there is none, the refusal says when there is; and it is not made either.
    let spent = one_a_second();
    spent.handle().take(1).unwrap();
    let mut spent = spent.wait(secs(10)).layer(inner.service());
    let ask = Ask::new(1).until(Instant::now());
    let refused = spent.ready().await.unwrap().call(ask).await.unwrap_err();
    assert_eq!((refused.kind(), inner.calls()), (Kind::RateLimited, 0));
    // In time it is, to the last moment.
    let ask = Ask::new(1).until(Instant::now() + ms(1));
    tokens.ready().await.unwrap().call(ask.clone()).await.unwrap();
    place.ready().await.unwrap().call(ask).await.unwrap();
}

/// Its task was not polled for long, and its turn came after all.
#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_comes_too_late_is_not_made() {
    let inner = Inner::new("a:1");
    let rate = RateLimitLayer::new(Quota::per_second(1).burst(1));
    rate.handle().take(1).unwrap();
    let places = ConcurrencyLimitLayer::new(1);
    let elsewhere = places.handle().take().unwrap();
    let mut tokens = rate.clone().wait(secs(10)).layer(inner.service());
    let mut place = places.clone().wait(secs(10)).layer(inner.service());
    let ask = Ask::new(1).until(Instant::now() + ms(1_500));
    let mut for_a_token = task::spawn(tokens.ready().await.unwrap().call(ask.clone()));
    let mut for_a_place = task::spawn(place.ready().await.unwrap().call(ask));
    assert_pending!(for_a_token.poll());
    assert_pending!(for_a_place.poll());
    drop(elsewhere);
    assert!(for_a_place.is_woken());
    advance(secs(5)).await;
    assert_too_late(&assert_ready!(for_a_token.poll()).unwrap_err());
    assert_too_late(&assert_ready!(for_a_place.poll()).unwrap_err());
    assert_eq!((inner.calls(), inner.readied()), (0, 0));
    // What it was to have is there for others.
    assert_eq!((rate.handle().remaining(), places.handle().in_flight()), (1, 0));
}

/// It had its place, and its deadline passed while the inner service was not ready.
#[tokio::test(start_paused = true)]
async fn a_call_for_which_the_inner_is_ready_too_late_is_not_made() {
    let inner = Inner::new("a:1");
    let rate = RateLimitLayer::new(Quota::per_second(1).burst(1));
    rate.handle().take(1).unwrap();
    let places = ConcurrencyLimitLayer::new(1);
    let elsewhere = places.handle().take().unwrap();
    let mut tokens = rate.wait(secs(10)).layer(inner.service());
    let mut place = places.clone().wait(secs(10)).layer(inner.service());
    let ask = Ask::new(1).until(Instant::now() + ms(1_500));
    let mut for_a_token = task::spawn(tokens.ready().await.unwrap().call(ask.clone()));
    let mut for_a_place = task::spawn(place.ready().await.unwrap().call(ask));
    inner.is(Readiness::Pending);
    assert_pending!(for_a_place.poll());
    drop(elsewhere);
    assert_pending!(for_a_token.poll());
    advance(ms(1_100)).await;
    assert_pending!(for_a_token.poll());
    assert_pending!(for_a_place.poll());
    advance(ms(401)).await;
    inner.is(Readiness::Ready);
    assert_too_late(&assert_ready!(for_a_token.poll()).unwrap_err());
    assert_too_late(&assert_ready!(for_a_place.poll()).unwrap_err());
    assert_eq!((inner.calls(), places.handle().in_flight()), (0, 0));
}

/// Through a balancer and back: what came too late is nobody's failure.
#[tokio::test(start_paused = true)]
async fn a_call_that_came_too_late_is_held_against_no_endpoint() {
    let farm = Farm::default();
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(RateLimitLayer::new(Quota::per_minute(2)).wait(secs(30)))
        .service(farm.clone());
    let set = balance.handle();
    balance.clone().oneshot(Ask::new(1)).await.unwrap();
    farm.answers(Answer::Good);
    settle().await;
    let ask = Ask::new(2).until(Instant::now());
    let late = balance.clone().oneshot(ask).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Timeout);
    assert!(set.members().iter().all(|member| member.failures() == 0 && member.in_flight() == 0));
    let _: BoxError = late.into();
}
