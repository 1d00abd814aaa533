//! What a concurrency limit promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use support::{Answer, Ask, Farm, Inner, Probe, Readiness, ms, secs, settle};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    BalanceLayer, ConcurrencyLimitLayer, Error, FailoverLayer, LeastRequest,
    choose::{Choose, Chooses, Chosen, Tried},
    connect::Connect,
    discover,
    error::Kind,
    guard,
    limit::{
        ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitHandle, Permit, Wait, WaitFuture,
    },
    member::Member,
};

type Running = <Probe as Service<Ask>>::Future;

/// Calls are numbered, and end by hand.
fn upstream() -> Arc<Inner> {
    let upstream = Inner::new("a:1");
    upstream.answers(Answer::ByHand);
    upstream
}

/// Calls at once, without polling the response.
fn start<S>(service: &S, number: u32) -> task::Spawn<S::Future>
where
    S: Service<Ask, Error = Error> + Clone,
{
    let mut service = service.clone();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    task::spawn(service.call(Ask::new(number)))
}

fn numbers(upstream: &Inner) -> Vec<u32> {
    upstream.asks().iter().map(|ask| ask.number).collect()
}

fn assert_full(refused: &Error) {
    assert_eq!((refused.kind(), refused.code().as_str()), (Kind::Overloaded, "RATELIMIT_1502"));
    assert!(refused.is_refused() && refused.is_unsent());
    assert_eq!((refused.kind().as_str(), refused.retry_after()), ("OVERLOADED", None));
}

// Refusing.

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_one_more_is_refused_until_one_ends() {
    let upstream = upstream();
    let layer = ConcurrencyLimitLayer::new(2);
    let service = layer.layer(upstream.service());
    let (mut first, mut second) = (start(&service, 0), start(&service, 1));
    assert_pending!(first.poll());
    let refused = assert_ready_err!(start(&service, 2).poll());
    assert_full(&refused);
    assert_eq!(refused.endpoint(), None);
    upstream.finish(0, true);
    assert_ready_ok!(first.poll());
    // The future is still there; its place is not.
    assert_eq!((layer.handle().in_flight(), layer.handle().max()), (1, 2));
    let third = start(&service, 3);
    assert!(assert_ready!(start(&service, 4).poll()).is_err());
    upstream.finish(1, false);
    assert_eq!(assert_ready_err!(second.poll()).kind(), Kind::Service);
    assert_eq!(layer.handle().in_flight(), 1);
    drop(third);
    assert_eq!((layer.handle().in_flight(), numbers(&upstream)), (0, vec![0, 1, 3]));
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_no_place_and_a_call_has_one_from_the_first() {
    let upstream = upstream();
    let layer = ConcurrencyLimitLayer::new(1);
    let service = layer.layer(upstream.service());
    let mut ready: Vec<_> = (0..5).map(|_| service.clone()).collect();
    for service in &mut ready {
        service.ready().await.unwrap();
    }
    assert_eq!(layer.handle().in_flight(), 0);
    // Never polled, and yet begun.
    let call = ready[0].call(Ask::new(0));
    assert_full(&ready[1].call(Ask::new(1)).await.unwrap_err());
    drop(call);
    drop(ready[2].call(Ask::new(2)));
    assert_eq!(numbers(&upstream), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_inner_service_leaks_no_place() {
    let upstream = Inner::new("a:1");
    let layer = ConcurrencyLimitLayer::new(1);
    let service = layer.layer(upstream.service());
    upstream.answers(Answer::Panics);
    for number in 0..3 {
        let mut call = start(&service, number);
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
        drop(call);
        assert_eq!(layer.handle().in_flight(), 0);
    }
    // In `call` itself: the probe panics when it is called unready.
    let mut unready = service.clone();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(unready.call(Ask::new(0))))).is_err());
    assert_eq!(layer.handle().in_flight(), 0);
    // And of one that waited.
    let layer = ConcurrencyLimitLayer::new(1).wait(secs(9));
    let service = layer.layer(upstream.service());
    let permit = layer.handle().take().unwrap();
    let mut call = start(&service, 9);
    assert_pending!(call.poll());
    drop(permit);
    assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
    drop(call);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[test]
fn what_one_layer_value_makes_shares_its_places_and_a_fresh_one_does_not() {
    let layer = ConcurrencyLimitLayer::new(2);
    let upstream = upstream();
    let one = layer.layer(upstream.service());
    let two = layer.clone().layer(upstream.service());
    let waits = layer.clone().wait(secs(1)).layer(upstream.service());
    let other = layer.fresh().layer(upstream.service());
    let _calls = (start(&one, 0), start(&waits, 1));
    assert!(assert_ready!(start(&two, 2).poll()).is_err());
    assert_pending!(start(&other, 3).poll());
    assert_eq!(layer.handle().in_flight(), 2);
}

#[test]
fn threads_never_are_more_than_may() {
    let handle = ConcurrencyLimitLayer::new(3).handle();
    let (inside, most) = (std::sync::atomic::AtomicUsize::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if let Ok(permit) = handle.take() {
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        let mut most = most.lock().unwrap();
                        *most = now.max(*most);
                        drop(most);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                }
            });
        }
    });
    assert!((1..=3).contains(&most.into_inner().unwrap()));
    assert_eq!(handle.in_flight(), 0);
}

// Changing it.

#[test]
fn a_lower_limit_holds_at_once_and_forgets_no_place_twice() {
    let upstream = upstream();
    let layer = ConcurrencyLimitLayer::new(5);
    let (service, handle) = (layer.layer(upstream.service()), layer.handle());
    let mut calls: Vec<_> = (0..5).map(|number| start(&service, number)).collect();
    handle.set_max(2);
    assert_eq!((handle.max(), handle.in_flight()), (2, 5));
    // Those in flight finish. Only the fourth end makes room.
    for left in [4, 3, 2] {
        drop(calls.pop());
        assert_eq!(handle.in_flight(), left);
        assert!(assert_ready!(start(&service, 9).poll()).is_err());
    }
    drop(calls.pop());
    let _call = start(&service, 10);
    assert_eq!(handle.in_flight(), 2);
    // Up and down and up again: the places are as many as the last word said.
    for max in [7, 1, 4] {
        handle.set_max(max);
    }
    let _more = [start(&service, 11), start(&service, 12)];
    assert_full(&handle.take().unwrap_err());
    assert_eq!((handle.in_flight(), handle.max()), (4, 4));
    handle.set_max(0);
    assert_eq!(handle.max(), 1, "zero becomes one");
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_in_who_waits_in_order() {
    let (service, handle, upstream) = waiting(1, secs(60));
    let mut calls: Vec<_> = (0..5).map(|number| start(&service, number)).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    handle.set_max(3);
    assert_eq!((handle.in_flight(), handle.waiting()), (3, 2));
    let woken: Vec<_> = calls.iter().map(|call| call.is_woken()).collect();
    assert_eq!(woken, [false, true, true, false, false]);
    for call in calls.iter_mut().rev() {
        assert_pending!(call.poll());
    }
    assert_eq!(numbers(&upstream), [0, 2, 1], "polled the other way round");
    // A lower one leaves those who wait where they are.
    handle.set_max(1);
    drop(calls.drain(0..2));
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 2));
    drop(calls.remove(0));
    assert_pending!(calls[0].poll());
    assert_eq!((handle.in_flight(), handle.waiting(), numbers(&upstream).len()), (1, 1, 4));
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_calls_and_waiters_and_a_wrong_one_changes_nothing() {
    let (service, handle, _) = waiting(1, secs(60));
    let config = ConcurrencyLimitConfig::default();
    let _in_flight = start(&service, 0);
    let mut waits = [start(&service, 1), start(&service, 2), start(&service, 3)];
    for call in &mut waits {
        assert_pending!(call.poll());
    }
    let error = handle.update(&config.clone().with_max(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert_eq!(handle.max(), 1);
    handle.update(&config.with_max(2).with_pending(2)).unwrap();
    assert_eq!((handle.max(), handle.in_flight(), handle.waiting()), (2, 2, 2));
    assert_full(&assert_ready_err!(start(&service, 4).poll()));
    assert!(waits[0].is_woken());
}

#[tokio::test(start_paused = true)]
async fn an_update_of_the_layer_reaches_all_endpoints_and_those_that_come() {
    let layer = ConcurrencyLimitLayer::new(5);
    let farm = Farm::default();
    let connector = layer.layer(farm.clone());
    let member = |key: &str| Member::new(key.parse::<tower_upstream::Endpoint>().unwrap());
    let (a, b) = (member("a:1"), member("b:1"));
    let _one = connector.connect(&a);
    layer.handle_for("a:1").unwrap().set_max(2);
    let config = ConcurrencyLimitConfig::default().with_max(7);
    layer.handle().update(&config).unwrap();
    let _two = connector.connect(&b);
    let max = |key: &str| layer.handle_for(key).unwrap().max();
    assert_eq!((max("a:1"), max("b:1"), layer.handle().max()), (7, 7, 7));
    layer.handle_for("a:1").unwrap().update(&config.with_max(3)).unwrap();
    assert_eq!((max("a:1"), max("b:1"), layer.handle().max()), (3, 7, 7));
    layer.handle().set_max(9);
    assert_eq!((max("a:1"), max("b:1"), layer.fresh().handle().max()), (3, 7, 7));
    let _again = connector.connect(&a);
    assert_eq!(max("a:1"), 3, "connected anew, it is the same limit");
}

// Waiting.

type Waiting = ConcurrencyLimit<Probe, Wait>;

fn waiting(max: u32, longest: Duration) -> (Waiting, ConcurrencyLimitHandle, Arc<Inner>) {
    let upstream = upstream();
    let layer = ConcurrencyLimitLayer::new(max).wait(longest);
    (layer.layer(upstream.service()), layer.handle(), upstream)
}

#[tokio::test(start_paused = true)]
async fn places_are_handed_on_in_the_order_of_the_calls() {
    let (service, handle, upstream) = waiting(1, secs(60));
    let calls: Vec<_> = (0..20).map(|number| start(&service, number).into_inner()).collect();
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 19));
    // Polled in the opposite order.
    let tasks: Vec<_> = calls.into_iter().rev().map(tokio::spawn).collect();
    for index in 0..20 {
        settle().await;
        assert_eq!(numbers(&upstream).len(), index + 1);
        upstream.finish(index, true);
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(numbers(&upstream), (0..20).collect::<Vec<_>>());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_who_comes_later_takes_a_place_that_was_handed_on() {
    let (service, handle, upstream) = waiting(1, secs(60));
    let first = start(&service, 0);
    let mut second = start(&service, 1);
    assert_pending!(second.poll());
    drop(first);
    assert!(second.is_woken());
    let mut third = start(&service, 2);
    assert_pending!(third.poll());
    assert_full(&handle.take().unwrap_err());
    assert_pending!(second.poll());
    assert_eq!(numbers(&upstream), [0, 1]);
    assert!(!third.is_woken());
}

#[tokio::test(start_paused = true)]
async fn who_is_dropped_hands_its_place_on_and_strands_nobody() {
    for polled in [false, true] {
        for handed_on in [false, true] {
            let (service, handle, upstream) = waiting(1, secs(60));
            let first = start(&service, 0);
            let (mut second, mut third) = (start(&service, 1), start(&service, 2));
            if polled {
                assert_pending!(second.poll());
            }
            assert_pending!(third.poll());
            if handed_on {
                drop(first);
                drop(second);
            } else {
                drop(second);
                drop(first);
            }
            assert!(third.is_woken());
            assert_pending!(third.poll());
            assert_eq!((handle.in_flight(), handle.waiting()), (1, 0));
            assert_eq!(numbers(&upstream), [0, 2]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_in_time_and_is_refused() {
    let (service, handle, upstream) = waiting(1, secs(2));
    let _first = start(&service, 0);
    let began = Instant::now();
    assert_full(&start(&service, 1).await.unwrap_err());
    assert!(began.elapsed() >= secs(2) && began.elapsed() <= secs(2) + ms(2));
    // The deadline, if that is earlier; and not at all if it has passed.
    let mut clone = service.clone();
    let call = clone.ready().await.unwrap().call(Ask::new(2).until(Instant::now() + secs(1)));
    let began = Instant::now();
    assert_full(&call.await.unwrap_err());
    assert!(began.elapsed() >= secs(1) && began.elapsed() <= secs(1) + ms(2));
    let mut call =
        task::spawn(clone.ready().await.unwrap().call(Ask::new(3).until(Instant::now())));
    assert_full(&assert_ready_err!(call.poll()));
    assert_eq!((handle.waiting(), numbers(&upstream)), (0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn waiting_no_time_is_refusing() {
    let (service, handle, _) = waiting(1, Duration::ZERO);
    let _first = start(&service, 0);
    assert_full(&assert_ready_err!(start(&service, 1).poll()));
    assert_eq!(handle.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_may_wait() {
    let config = ConcurrencyLimitConfig::default().with_max(1).with_pending(2);
    let layer = ConcurrencyLimitLayer::with_config(config).wait(secs(1));
    let service = layer.layer(upstream().service());
    let _first = start(&service, 0);
    let second = start(&service, 1);
    let mut third = start(&service, 2);
    assert_full(&assert_ready_err!(start(&service, 3).poll()));
    // One that leaves makes room.
    drop(second);
    let _fourth = start(&service, 4);
    assert!(assert_ready!(start(&service, 5).poll()).is_err());
    // Those whose time is over are in nobody's way, polled or not.
    advance(secs(2)).await;
    let _more = [start(&service, 6), start(&service, 7)];
    assert_eq!(layer.handle().waiting(), 2);
    assert_full(&assert_ready_err!(third.poll()));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_polled_holds_the_others_up_for_its_own_time_only() {
    let (service, handle, upstream) = waiting(1, secs(3));
    let first = start(&service, 0);
    let mut asleep = start(&service, 1);
    let began = Instant::now();
    // A little later, so that its time is longer than that of the one before.
    advance(secs(1)).await;
    let mut next = tokio::spawn(start(&service, 2).into_inner());
    settle().await;
    drop(first);
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 1));
    tokio::select! {
        _ = &mut next => panic!("nobody finishes it"),
        () = tokio::time::sleep_until(began + secs(3) + ms(2)) => {}
    }
    assert_eq!(numbers(&upstream), [0, 2]);
    assert_full(&assert_ready_err!(asleep.poll()));
    upstream.finish(1, true);
    next.await.unwrap().unwrap();
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_watches_one_that_leaves_watches_the_one_before_it() {
    let (service, _, upstream) = waiting(1, secs(10));
    let first = start(&service, 0);
    let mut ready = service.clone();
    assert_ready_ok!(task::spawn(()).enter(|cx, _| ready.poll_ready(cx)));
    let asleep = ready.call(Ask::new(1).until(Instant::now() + secs(4)));
    let mut between = start(&service, 2);
    let mut behind = start(&service, 3);
    assert_pending!(between.poll());
    assert_pending!(behind.poll());
    drop(first);
    drop(between);
    assert!(behind.is_woken());
    assert_pending!(behind.poll());
    advance(secs(4) + ms(2)).await;
    assert!(behind.is_woken(), "the one before has had its time");
    assert_pending!(behind.poll());
    assert_eq!(numbers(&upstream), [0, 3]);
    drop(asleep);
}

#[tokio::test(start_paused = true)]
async fn requests_of_any_type_wait_and_a_closure_tells_their_deadline() {
    struct Job(Instant);
    let began = Instant::now();
    let layer = ConcurrencyLimitLayer::new(1).wait(secs(10));
    let _held = layer.handle().take().unwrap();
    let inner = tower::service_fn(async |_: Job| Ok::<_, std::convert::Infallible>(()));
    let endless = layer.clone().with_deadline(|_: &Job| None).layer(inner);
    assert_full(&endless.oneshot(Job(began)).await.unwrap_err());
    assert!((10_000..=10_002).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let service = layer.with_deadline(|job: &Job| Some(job.0)).layer(inner);
    assert_full(&service.oneshot(Job(began + secs(12))).await.unwrap_err());
    assert!((12_000..=12_002).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_handed_on_in_time_is_kept_by_a_late_poll() {
    let (service, _, upstream) = waiting(1, secs(1));
    let first = start(&service, 0);
    let mut second = start(&service, 1);
    drop(first);
    advance(secs(5)).await;
    assert_pending!(second.poll());
    assert_eq!(numbers(&upstream), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_inner_service_is_made_ready_after_the_turn_came_and_is_given_so_long() {
    let (service, handle, upstream) = waiting(1, secs(2));
    let first = start(&service, 0);
    let mut second = start(&service, 1);
    assert_pending!(second.poll());
    let polls = upstream.polls();
    upstream.is(Readiness::Pending);
    assert_eq!(upstream.polls(), polls, "not asked while there is no place");
    drop(first);
    assert_pending!(second.poll());
    assert_eq!(handle.in_flight(), 1);
    upstream.is(Readiness::Ready);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(numbers(&upstream), [0, 1]);
    // Never ready: refused in time, and nothing is kept.
    let mut third = start(&service, 2);
    assert_pending!(third.poll());
    upstream.is(Readiness::Pending);
    drop(second);
    assert_full(&third.await.unwrap_err());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_is_polled_seldom() {
    let (service, _, upstream) = waiting(1, secs(600));
    let first = start(&service, 0);
    let mut calls: Vec<_> = (1..=3).map(|number| start(&service, number)).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    let polls = upstream.polls();
    advance(secs(500)).await;
    assert!(calls.iter().all(|call| !call.is_woken()));
    drop(first);
    assert_eq!(calls.iter().map(|call| call.is_woken()).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(upstream.polls(), polls);
}

/// Drops a call when it is dropped itself, which is allowed to wakers, and would never end under
/// the lock of the queue.
struct Nosy {
    _call: Mutex<task::Spawn<WaitFuture<Probe, Ask, Running, Permit>>>,
}

impl std::task::Wake for Nosy {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn wakers_are_dropped_outside_the_lock() {
    let (service, handle, _) = waiting(1, secs(10));
    let first = start(&service, 0);
    let nosy = || {
        let _call = Mutex::new(start(&service, 9));
        Waker::from(Arc::new(Nosy { _call }))
    };
    let mut call = Box::pin(start(&service, 1).into_inner());
    for _ in 0..3 {
        // The waker of before is replaced.
        let waker = nosy();
        assert_pending!(call.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    drop(call);
    assert_eq!(handle.waiting(), 0);
    // One that is late, and one that is woken.
    let mut late = Box::pin(start(&service, 1).into_inner());
    assert_pending!(late.as_mut().poll(&mut Context::from_waker(&nosy())));
    advance(secs(20)).await;
    let mut call = Box::pin(start(&service, 2).into_inner());
    assert_pending!(call.as_mut().poll(&mut Context::from_waker(&nosy())));
    // It was passed over, so its own waker is not listed either.
    assert!(late.as_mut().poll(&mut Context::from_waker(&nosy())).is_ready());
    drop(first);
    // The timer still has a waker, and so that waker its call.
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 1));
    drop(call);
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[test]
fn without_a_runtime_nobody_waits() {
    let (service, handle, _) = waiting(1, secs(1));
    let _first = start(&service, 0);
    assert_full(&assert_ready_err!(start(&service, 1).poll()));
    assert_eq!(handle.waiting(), 0);
}

// Below a balancer.

fn below(layer: &ConcurrencyLimitLayer, farm: &Farm, member: &Arc<Member>) -> Below {
    farm.get(member.key()).answers(Answer::ByHand);
    task::spawn(layer.layer(farm.clone()).connect(member))
}

type Below = task::Spawn<ConcurrencyLimit<Probe>>;

fn poll_ready(service: &mut Below) -> Poll<Result<(), Error>> {
    service.enter(|cx, mut service| service.poll_ready(cx))
}

fn member() -> Arc<Member> {
    Member::new("a:1".parse::<tower_upstream::Endpoint>().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_full_member_is_pending_and_places_go_in_order() {
    let (layer, farm, member) = (ConcurrencyLimitLayer::new(1), Farm::default(), member());
    let mut first = below(&layer, &farm, &member);
    let handle = layer.handle_for("a:1").unwrap();
    assert_ready_ok!(poll_ready(&mut first));
    assert_ready_ok!(poll_ready(&mut first));
    assert_eq!(handle.in_flight(), 1);
    let call = first.enter(|_, mut first| first.call(Ask::new(0)));
    let clone = |of: &Below| task::spawn(ConcurrencyLimit::clone(of));
    let (mut second, mut third) = (clone(&first), clone(&first));
    assert_pending!(poll_ready(&mut second));
    assert_pending!(poll_ready(&mut third));
    assert!(member.is_eligible(), "a limit sets no veto");
    drop(call);
    assert!(second.is_woken() && !third.is_woken());
    // It need not come, and then the next does.
    drop(second);
    assert!(third.is_woken());
    assert_ready_ok!(poll_ready(&mut third));
    // Called without being ready, there is no place for it.
    let refused = first.enter(|_, mut first| first.call(Ask::new(1))).await.unwrap_err();
    assert_full(&refused);
    assert_eq!(refused.endpoint(), Some("a:1"));
    drop(third);
    assert_eq!((handle.in_flight(), layer.handle().in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_place_is_held_while_the_inner_service_is_not_ready() {
    let (layer, farm, member) = (ConcurrencyLimitLayer::new(1), Farm::default(), member());
    let (mut one, mut two) = (below(&layer, &farm, &member), below(&layer, &farm, &member));
    let (handle, inner) = (layer.handle_for("a:1").unwrap(), farm.get("a:1"));
    inner.is(Readiness::Pending);
    assert_pending!(poll_ready(&mut one));
    assert_pending!(poll_ready(&mut two));
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    inner.is(Readiness::Ready);
    assert!(one.is_woken() && two.is_woken());
    assert_ready_ok!(poll_ready(&mut two));
    let polls = inner.polls();
    assert_pending!(poll_ready(&mut one));
    assert_eq!(inner.polls(), polls, "not asked while there is no place");
    // What was reserved goes when the inner service is not ready any more.
    inner.is(Readiness::Pending);
    assert_pending!(poll_ready(&mut two));
    assert!(one.is_woken());
    inner.is(Readiness::Ready);
    assert_ready_ok!(poll_ready(&mut one));
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_passed_over_and_each_has_its_own_limit() {
    let farm = Farm::default();
    let layer = ConcurrencyLimitLayer::new(2);
    let service = ServiceBuilder::new()
        .layer(
            BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new())
                .with_fail_fast_after(secs(1)),
        )
        .layer(layer.clone())
        .service(farm.clone());
    ["a:1", "b:1"].iter().for_each(|key| farm.get(key).answers(Answer::GoodAfter(ms(100))));
    let call = |number| tokio::spawn(service.clone().oneshot(Ask::new(number)));
    let calls: Vec<_> = (0..8).map(call).collect();
    let began = Instant::now();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(began.elapsed() >= ms(200) && began.elapsed() < ms(240), "{:?}", began.elapsed());
    for key in ["a:1", "b:1"] {
        assert_eq!(farm.get(key).most_running.load(Ordering::SeqCst), 2);
        assert_eq!(layer.handle_for(key).unwrap().in_flight(), 0);
    }
    // All full, for longer than the balancer waits.
    farm.answers(Answer::Never);
    let stuck: Vec<_> = (0..4).map(call).collect();
    settle().await;
    let error = call(9).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::AllEndpointsDown);
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    assert!(["a:1", "b:1"].iter().all(|key| layer.handle_for(key).unwrap().in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_below_goes_to_another_endpoint() {
    let farm = Farm::default();
    // One that waits refuses in its response, when nobody else may wait.
    let config = ConcurrencyLimitConfig::default().with_max(1).with_pending(0);
    let layer = ConcurrencyLimitLayer::with_config(config).wait(secs(1));
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(tower_upstream::Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .layer(layer.clone())
        .service(farm.clone());
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    let full = layer.handle_for("a:1").unwrap().take().unwrap();
    for number in 1..=10 {
        assert_eq!(service.clone().oneshot(Ask::once(number)).await.unwrap(), "b:1");
    }
    drop(full);
}

#[test]
fn each_member_has_its_limit_and_keeps_it_while_it_lives() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let (layer, farm, member) = (ConcurrencyLimitLayer::new(1), Farm::default(), member());
    let mut one = below(&layer, &farm, &member);
    assert_ready_ok!(poll_ready(&mut one));
    let again = below(&layer, &farm, &member);
    assert_eq!(layer.handle_for("a:1").unwrap().in_flight(), 1);
    drop((one, again));
    assert!(layer.handle_for("a:1").is_none());
}

// Between failover and balance.

#[tokio::test(start_paused = true)]
async fn a_choice_passes_through_in_both_modes() {
    let farm = Farm::default();
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .service(farm.clone());
    let layer = ConcurrencyLimitLayer::new(1);
    let mut refuses = layer.layer(balance.clone());
    let mut waits = layer.clone().wait(secs(1)).layer(balance);
    refuses.ready().await.unwrap();
    let first = refuses.call_avoiding(Ask::new(0), &Tried::default());
    let mut tried = Tried::default();
    tried.insert(first.chosen().unwrap().clone());
    assert!(!first.is_unsent() && refuses.has_untried(&tried) && waits.has_untried(&tried));

    let refused = refuses.call_avoiding(Ask::new(1), &tried);
    assert!(refused.chosen().is_none() && refused.is_unsent());
    assert_full(&refused.await.unwrap_err());

    waits.ready().await.unwrap();
    let mut second = task::spawn(waits.call_avoiding(Ask::new(2), &tried));
    assert_pending!(second.poll());
    assert!(second.chosen().is_none() && second.is_unsent());
    let key = first.await.unwrap();
    assert_ne!(assert_ready_ok!(second.poll()), key);
    assert!(second.chosen().is_some() && !second.is_unsent());
}

#[test]
fn everything_is_send_sync_and_debug() {
    fn is<T: Send + Sync + std::fmt::Debug>(it: &T) -> String {
        format!("{it:?}")
    }
    let layer = ConcurrencyLimitLayer::new(7);
    let permit = layer.handle().take().unwrap();
    let service = layer.clone().wait(secs(1)).layer(());
    for shown in [is(&layer), is(&layer.handle()), is(&service), is(&layer.layer(())), is(&permit)]
    {
        assert!(shown.contains("in_flight: 1") && shown.contains("max: 7"), "{shown}");
    }
    let mut service = layer.layer(upstream().service());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<Ask>::poll_ready(&mut service, &mut cx).is_ready());
    // Named, unboxed, and three words more than the call itself.
    let call: guard::ResponseFuture<Running, Permit> = service.call(Ask::new(0));
    assert!(format!("{call:?}").contains("in_flight: 2"));
    assert!(size_of::<guard::ResponseFuture<Running, Permit>>() <= size_of::<Running>() + 24);
}
