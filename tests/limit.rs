//! What a rate limit promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    Call, Endpoint, Error, Quota, RateLimitLayer,
    choose::{Choose, Chooses, Chosen, Tried},
    connect::Connect,
    connect_fn,
    error::Kind,
    limit::{RateLimit, Wait},
    member::Member,
};

/// Answers at once, and notes what it was called with. Reserves nothing.
#[derive(Clone, Default)]
struct Upstream {
    calls: Arc<Mutex<Vec<u32>>>,
    polls: Arc<AtomicUsize>,
    shut: Arc<AtomicUsize>,
    ready: bool,
}

impl Upstream {
    fn calls(&self) -> Vec<u32> {
        self.calls.lock().unwrap().clone()
    }
}

impl Service<Call<u32>> for Upstream {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        if self.shut.load(Ordering::Relaxed) > 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u32>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let number = call.into_body();
        self.calls.lock().unwrap().push(number);
        ready(Ok(number))
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn quota() -> Quota {
    Quota::per_second(1).burst(1)
}

async fn call<S>(service: &S, number: u32) -> Result<u32, Error>
where
    S: Service<Call<u32>, Response = u32, Error = Error> + Clone,
{
    service.clone().oneshot(Call::new(number)).await
}

fn member(key: &str) -> Arc<Member> {
    Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key))
}

#[tokio::test(start_paused = true)]
async fn ten_a_second_with_a_burst_of_twenty() {
    let upstream = Upstream::default();
    let service = RateLimitLayer::new(Quota::per_second(10).burst(20)).layer(upstream.clone());
    for number in 0..20 {
        call(&service, number).await.unwrap();
    }
    let refused = call(&service, 20).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code().as_str()), (Kind::RateLimited, "RATELIMIT_1501"));
    assert!(refused.is_refused() && refused.is_unsent());
    assert_eq!(refused.endpoint(), None);
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    advance(Duration::from_millis(100)).await;
    call(&service, 21).await.unwrap();
    assert!(call(&service, 22).await.is_err());
    assert_eq!(upstream.calls().len(), 21);
}

#[tokio::test(start_paused = true)]
async fn coming_back_exactly_when_told_works() {
    let service = RateLimitLayer::new(Quota::per_second(3).burst(1)).layer(Upstream::default());
    call(&service, 0).await.unwrap();
    for number in 1..10 {
        let wait = call(&service, number).await.unwrap_err().retry_after().unwrap();
        advance(wait - Duration::from_nanos(1)).await;
        assert!(call(&service, number).await.is_err());
        advance(Duration::from_nanos(1)).await;
        call(&service, number).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_more_than_180_days_is_told_as_180_days() {
    let day = Duration::from_secs(86_400);
    for (quota, told) in [(179, 179), (180, 180), (181, 180), (365, 180), (1_000, 180)] {
        let quota = Quota::new(1, day * quota);
        let several = [quota, Quota::per_second(1)];
        for layer in [RateLimitLayer::new(quota), RateLimitLayer::new(several)] {
            let service = layer.layer(Upstream::default());
            call(&service, 0).await.unwrap();
            let refused = call(&service, 1).await.unwrap_err();
            assert_eq!(refused.retry_after(), Some(day * told), "{quota:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_layer_value_makes_shares_its_tokens_and_fresh_ones_do_not() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(3));
    let (one, two) = (layer.layer(Upstream::default()), layer.clone().layer(Upstream::default()));
    let other = layer.fresh().layer(Upstream::default());
    call(&one, 0).await.unwrap();
    call(&two, 1).await.unwrap();
    assert_eq!(layer.handle().remaining(), 1);
    call(&one, 2).await.unwrap();
    assert!(call(&two, 3).await.is_err());
    call(&other, 4).await.unwrap();
    advance(SECOND * 100).await;
    assert_eq!(layer.handle().remaining(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_readiness_above_takes_nothing_and_a_refused_one_can_be_called_again() {
    let layer = RateLimitLayer::new(quota());
    let mut service = layer.layer(Upstream::default());
    for _ in 0..3 {
        service.clone().ready().await.unwrap();
    }
    assert_eq!(layer.handle().remaining(), 1);
    service.ready().await.unwrap().call(Call::new(0)).await.unwrap();
    let refused = service.ready().await.unwrap().call(Call::new(1)).await;
    assert!(refused.is_err());
    advance(SECOND).await;
    service.ready().await.unwrap().call(Call::new(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handle_takes_several_or_none_and_says_what_never_fits() {
    let handle = RateLimitLayer::new(Quota::per_second(10).burst(5)).handle();
    handle.take(3).unwrap();
    let refused = handle.take(3).unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    assert_eq!(handle.remaining(), 2);
    let never = handle.take(6).unwrap_err();
    assert_eq!(never.kind(), Kind::InvalidConfig);
    assert!(never.to_string().contains("burst is 5"), "{never}");
    assert!(format!("{handle:?}").contains("remaining: 2"));
}

#[test]
fn threads_never_take_more_than_there_are() {
    let service = RateLimitLayer::new(Quota::new(1, SECOND * 86_400).burst(1_000));
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let handle = service.handle();
                for _ in 0..1_000 {
                    taken.fetch_add(usize::from(handle.take(1).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 1_000);
}

// Below a balancer.

fn below(layer: &RateLimitLayer, member: &Arc<Member>) -> RateLimit<Upstream> {
    layer.layer(connect_fn(|_: &Endpoint| Upstream::default())).connect(member)
}

fn poll_ready(service: &mut task::Spawn<RateLimit<Upstream>>) -> Poll<Result<(), Error>> {
    service.enter(|cx, mut service| service.poll_ready(cx))
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_quota_is_spent_is_pending_until_there_is_a_token() {
    let (layer, member) = (RateLimitLayer::new(quota()), member("a"));
    let mut service = below(&layer, &member);
    service.ready().await.unwrap().call(Call::new(0)).await.unwrap();
    assert!(member.is_eligible(), "a limit sets no veto");
    let mut next = task::spawn(service.clone());
    assert_pending!(poll_ready(&mut next));
    assert!(!next.is_woken());
    advance(SECOND - Duration::from_millis(2)).await;
    assert!(!next.is_woken());
    advance(Duration::from_millis(3)).await;
    assert!(next.is_woken());
    assert_ready_ok!(poll_ready(&mut next));
    next.into_inner().call(Call::new(1)).await.unwrap();
    assert_eq!(layer.handle_for("a").unwrap().remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reserved_token_comes_back_and_wakes_who_waits_for_it() {
    let (layer, member) = (RateLimitLayer::new(quota()), member("a"));
    let mut first = task::spawn(below(&layer, &member));
    let handle = layer.handle_for("a").unwrap();
    assert_ready_ok!(poll_ready(&mut first));
    assert_ready_ok!(poll_ready(&mut first));
    assert_eq!(handle.remaining(), 0);
    let mut second = task::spawn(RateLimit::clone(&first));
    assert_pending!(poll_ready(&mut second));
    let mut gone = task::spawn(RateLimit::clone(&first));
    assert_pending!(poll_ready(&mut gone));
    drop(gone);
    drop(first);
    assert!(second.is_woken());
    assert_ready_ok!(poll_ready(&mut second));
    drop(second);
    assert_eq!(handle.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handle_takes_nothing_that_is_reserved() {
    let layer = RateLimitLayer::new(Quota::new(2, SECOND * 2_000).burst(2));
    let member = member("a");
    let (mut one, mut two) =
        (task::spawn(below(&layer, &member)), task::spawn(below(&layer, &member)));
    let handle = layer.handle_for("a").unwrap();
    assert_ready_ok!(poll_ready(&mut one));
    assert_ready_ok!(poll_ready(&mut two));
    assert_eq!(handle.remaining(), 0);
    // The moment when both that are held are spent and regained.
    assert_eq!(handle.take(2).unwrap_err().retry_after(), Some(SECOND * 2_000));
    assert_eq!(handle.take(1).unwrap_err().retry_after(), Some(SECOND * 1_000));
    drop(two);
    handle.take(1).unwrap();
    assert!(handle.take(1).is_err());
    assert_ready!(task::spawn(one.enter(|_, mut one| one.call(Call::new(1)))).poll()).unwrap();
    assert_eq!(handle.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_wait_takes_nothing_that_is_reserved() {
    let layer = RateLimitLayer::new(quota());
    let member = member("a");
    let mut held = task::spawn(below(&layer, &member));
    assert_ready_ok!(poll_ready(&mut held));
    let connector =
        layer.clone().wait(SECOND * 10).layer(connect_fn(|_: &Endpoint| Upstream::default()));
    let mut waiting = connector.connect(&member);
    let mut call = task::spawn(waiting.ready().await.unwrap().call(Call::new(1)));
    assert_pending!(call.poll());
    assert_ready!(task::spawn(held.enter(|_, mut held| held.call(Call::new(2)))).poll()).unwrap();
    advance(SECOND * 2).await;
    assert_ready_ok!(call.poll());
}

#[tokio::test(start_paused = true)]
async fn a_token_held_for_long_adds_nothing_to_the_burst() {
    let (layer, member) = (RateLimitLayer::new(quota()), member("a"));
    let mut held = below(&layer, &member);
    held.ready().await.unwrap();
    advance(SECOND * 60).await;
    let handle = layer.handle_for("a").unwrap();
    assert_eq!(handle.remaining(), 0);
    held.call(Call::new(0)).await.unwrap();
    let refused = held.call(Call::new(1)).await.unwrap_err();
    assert_eq!(refused.endpoint(), Some("a"), "called without being ready");
}

#[tokio::test(start_paused = true)]
async fn each_member_has_its_quota_and_keeps_it_while_it_lives() {
    let layer = RateLimitLayer::new(quota());
    let (a, b) = (member("a"), member("b"));
    let (mut one, mut two) = (below(&layer, &a), below(&layer, &b));
    one.ready().await.unwrap().call(Call::new(0)).await.unwrap();
    two.ready().await.unwrap().call(Call::new(1)).await.unwrap();
    let again = task::spawn(below(&layer, &a));
    assert_eq!(layer.handle_for("a").unwrap().remaining(), 0);
    drop((one, again));
    assert!(layer.handle_for("a").is_none());
    assert!(layer.handle_for("b").is_some());
    assert_eq!(layer.handle().remaining(), 1);
}

#[test]
fn threads_never_reserve_more_than_there_are() {
    let day = Quota::new(1, SECOND * 86_400).burst(500);
    let layer = RateLimitLayer::new(day);
    let member = member("a");
    let service = below(&layer, &member);
    let passed = AtomicUsize::new(0);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (mut service, passed) = (service.clone(), &passed);
            scope.spawn(move || {
                for round in 0..1_000 {
                    let mut cx = Context::from_waker(std::task::Waker::noop());
                    if service.poll_ready(&mut cx).is_pending() {
                        continue;
                    }
                    if (round + thread) % 3 == 0 {
                        // Not called after all.
                        service = service.clone();
                    } else {
                        let mut call = task::spawn(service.call(Call::new(0)));
                        let answer = assert_ready!(call.poll());
                        passed.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let left = layer.handle_for("a").unwrap().remaining() as usize;
    assert_eq!(passed.into_inner() + left, 500);
    let mut service = service;
    assert!(service.poll_ready(&mut cx).is_ready(), "without a runtime the call refuses");
    assert!(assert_ready!(task::spawn(service.call(Call::new(0))).poll()).is_err() || left > 0);
}

#[test]
fn without_a_runtime_nobody_waits() {
    let (layer, service, _) = waiting(quota(), SECOND);
    assert!(assert_ready!(start(&service, 0).poll()).is_ok());
    let refused = assert_ready!(start(&service, 1).poll()).unwrap_err();
    assert!(refused.is_refused());
    assert_eq!(layer.handle().waiting(), 0);
}

// Waiting.

type Waiting = RateLimit<Upstream, Wait>;

fn waiting(quota: Quota, max: Duration) -> (RateLimitLayer<Wait>, Waiting, Upstream) {
    let upstream = Upstream::default();
    let layer = RateLimitLayer::new(quota).wait(max);
    (layer.clone(), layer.layer(upstream.clone()), upstream)
}

/// Calls at once, without polling the response.
fn start(service: &Waiting, number: u32) -> task::Spawn<<Waiting as Service<Call<u32>>>::Future> {
    let mut service = service.clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    task::spawn(service.call(Call::new(number)))
}

#[tokio::test(start_paused = true)]
async fn turns_are_taken_in_the_order_of_the_calls() {
    let (layer, service, upstream) = waiting(quota(), SECOND * 10);
    let began = Instant::now();
    let calls: Vec<_> = (0..6).map(|number| start(&service, number).into_inner()).collect();
    assert_eq!(layer.handle().waiting(), 5);
    // Polled in the opposite order.
    let tasks: Vec<_> = calls.into_iter().rev().map(tokio::spawn).collect();
    for (index, task) in tasks.into_iter().rev().enumerate() {
        task.await.unwrap().unwrap();
        let waited = began.elapsed();
        let turn = SECOND * index as u32;
        assert!(waited >= turn && waited <= turn + Duration::from_millis(2), "{waited:?}");
    }
    assert_eq!(upstream.calls(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(layer.handle().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_call_queues_behind_those_who_wait() {
    let (_, service, upstream) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    let mut first = start(&service, 1);
    assert_pending!(first.poll());
    advance(SECOND * 5).await;
    let mut second = start(&service, 2);
    assert_pending!(second.poll());
    assert_ready_ok!(first.poll());
    assert!(second.is_woken());
    assert_eq!(upstream.calls(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_drops_out_lets_the_next_move_up() {
    for gone in 0..3 {
        let (layer, service, upstream) = waiting(quota(), SECOND * 10);
        start(&service, 0).await.unwrap();
        let mut calls: Vec<_> = (1..=3).map(|number| start(&service, number)).collect();
        for call in &mut calls {
            assert_pending!(call.poll());
        }
        drop(calls.remove(gone));
        assert_eq!(calls[0].is_woken(), gone == 0);
        let _ = calls[0].poll();
        assert_eq!(layer.handle().waiting(), 2);
        advance(SECOND + Duration::from_millis(1)).await;
        assert_ready_ok!(calls[0].poll());
        assert!(calls[1].is_woken());
        assert_pending!(calls[1].poll());
        advance(SECOND).await;
        assert_ready_ok!(calls[1].poll());
        let expected: Vec<_> = (0..=3).filter(|&number| number != gone as u32 + 1).collect();
        assert_eq!(upstream.calls(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_never_polled_holds_nobody_up_for_ever() {
    let (layer, service, _) = waiting(quota(), SECOND * 3);
    start(&service, 0).await.unwrap();
    let asleep = start(&service, 1);
    let began = Instant::now();
    start(&service, 2).await.unwrap();
    // As long as the one before may wait, and what timers are late.
    assert!((3_000..=3_003).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(layer.handle().waiting(), 0);
    // It comes too late, and takes nobody's turn or token.
    advance(SECOND * 5).await;
    assert_eq!(layer.handle().remaining(), 1);
    assert_eq!(asleep.into_inner().await.unwrap_err().kind(), Kind::RateLimited);
    assert_eq!((layer.handle().remaining(), layer.handle().waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn those_behind_who_are_never_polled_get_their_turn_at_the_rate() {
    let (layer, service, upstream) = waiting(Quota::per_second(1_000).burst(1), SECOND / 20);
    start(&service, 0).await.unwrap();
    let _asleep = (start(&service, 1), start(&service, 2));
    for number in 3..8 {
        sleep(SECOND / 10).await;
        start(&service, number).await.unwrap();
    }
    assert_eq!(upstream.calls(), [0, 3, 4, 5, 6, 7]);
    assert_eq!(layer.handle().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_in_the_middle_who_is_never_polled_delays_those_behind_until_its_end_only() {
    let (_, service, upstream) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    let began = Instant::now();
    let first = tokio::spawn(start(&service, 1).into_inner());
    // With an end of its own: the deadline.
    let mut clone = service.clone();
    let ready = clone.ready().await.unwrap();
    let asleep = ready.call(Call::new(2).with_timeout(SECOND * 4));
    let behind = tokio::spawn(start(&service, 3).into_inner());
    first.await.unwrap().unwrap();
    behind.await.unwrap().unwrap();
    assert!((4_000..=4_003).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(upstream.calls(), [0, 1, 3]);
    drop(asleep);
}

#[tokio::test(start_paused = true)]
async fn who_watches_one_that_leaves_watches_the_one_before_it() {
    let (_, service, upstream) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    let began = Instant::now();
    let mut clone = service.clone();
    let asleep = clone.ready().await.unwrap().call(Call::new(1).with_timeout(SECOND * 4));
    let between = tokio::spawn(start(&service, 2).into_inner());
    let behind = tokio::spawn(start(&service, 3).into_inner());
    sleep(SECOND).await;
    between.abort();
    behind.await.unwrap().unwrap();
    assert!((4_000..=4_003).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(upstream.calls(), [0, 3]);
    drop(asleep);
}

/// A request that is no `Call`, cannot be copied, and knows nothing of deadlines.
struct Job(Instant);

#[tokio::test(start_paused = true)]
async fn requests_of_any_type_wait_and_a_closure_tells_their_deadline() {
    let began = Instant::now();
    let job = |millis: u64| Job(began + Duration::from_millis(millis));
    let layer = RateLimitLayer::new(quota()).wait(SECOND * 10);
    let inner = tower::service_fn(async |_: Job| Ok::<_, Infallible>(()));
    // Without deadlines a call waits for `max`.
    let service = layer.clone().with_deadline(|_: &Job| None).layer(inner);
    service.clone().oneshot(job(0)).await.unwrap();
    service.clone().oneshot(job(0)).await.unwrap();
    assert!((1_000..=1_003).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    let service = layer.with_deadline(|job: &Job| Some(job.0)).layer(inner);
    // No token before then.
    assert_eq!(service.clone().oneshot(job(1_500)).await.unwrap_err().kind(), Kind::RateLimited);
    service.clone().oneshot(job(3_000)).await.unwrap();
    // A token, but too late.
    sleep(SECOND * 2).await;
    let late = service.oneshot(job(3_000)).await.unwrap_err();
    assert!(late.kind() == Kind::Timeout && late.is_unsent());
}

/// Drops a call when it is dropped itself, which is allowed to wakers, and would never end under
/// the lock of the queue.
struct Nosy {
    _call: Mutex<task::Spawn<<Waiting as Service<Call<u32>>>::Future>>,
}

impl std::task::Wake for Nosy {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn wakers_are_dropped_outside_the_lock() {
    let (layer, service, _) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    let nosy = || {
        let _call = Mutex::new(start(&service, 9));
        std::task::Waker::from(Arc::new(Nosy { _call }))
    };
    let mut call = Box::pin(start(&service, 1).into_inner());
    for _ in 0..3 {
        // The waker of before is replaced.
        let waker = nosy();
        assert_pending!(call.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    drop(call);
    assert_eq!(layer.handle().waiting(), 0);
    // And one that has expired.
    let mut call = Box::pin(start(&service, 1).into_inner());
    assert_pending!(call.as_mut().poll(&mut Context::from_waker(&nosy())));
    advance(SECOND * 20).await;
    start(&service, 2).await.unwrap();
    assert_eq!(layer.handle().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_in_time_is_refused_at_once() {
    let (layer, service, upstream) = waiting(quota(), SECOND * 2);
    let began = Instant::now();
    start(&service, 0).await.unwrap();
    let (_one, _two) = (start(&service, 1), start(&service, 2));
    let refused = start(&service, 3).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(SECOND * 3));
    assert!(refused.is_refused());
    assert_eq!((began.elapsed(), layer.handle().waiting()), (Duration::ZERO, 2));
    assert_eq!(upstream.calls(), [0]);
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may_however_fast_it_goes() {
    const MOST: usize = 65_536;
    let (layer, service, _) = waiting(Quota::per_second(100_000).burst(1), SECOND * 60);
    start(&service, 0).await.unwrap();
    let mut calls: Vec<_> = (0..MOST).map(|_| start(&service, 1)).collect();
    assert_eq!(layer.handle().waiting(), MOST);
    let refused = start(&service, 2).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::RateLimited);
    assert!(refused.is_refused() && refused.retry_after().is_some());
    calls.pop();
    assert_pending!(start(&service, 3).poll());
    calls.push(start(&service, 4));
    assert!(start(&service, 5).await.is_err());
    // Those whose time is over make room.
    advance(SECOND * 61).await;
    start(&service, 6).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_a_deadline() {
    let (layer, service, _) = waiting(quota(), SECOND * 60);
    start(&service, 0).await.unwrap();
    let call = Call::new(1).with_timeout(Duration::from_millis(999));
    let refused = service.clone().oneshot(call).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(SECOND));
    let call = Call::new(2).with_timeout(SECOND);
    service.clone().oneshot(call).await.unwrap();
    assert_eq!(layer.handle().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_no_time_is_refusing() {
    let (_, service, _) = waiting(quota(), Duration::ZERO);
    start(&service, 0).await.unwrap();
    let refused = start(&service, 1).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_idle_waiter_is_polled_a_bounded_number_of_times() {
    let (_, service, upstream) = waiting(Quota::new(1, SECOND * 60).burst(1), SECOND * 600);
    start(&service, 0).await.unwrap();
    let before = upstream.polls.load(Ordering::Relaxed);
    let mut calls: Vec<_> = (1..=3).map(|number| start(&service, number)).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    advance(SECOND * 59).await;
    assert!(calls.iter().all(|call| !call.is_woken()));
    advance(SECOND * 2).await;
    assert_eq!(calls.iter().map(|call| call.is_woken()).collect::<Vec<_>>(), [true, false, false]);
    // One poll each to be ready above; none while waiting.
    assert_eq!(upstream.polls.load(Ordering::Relaxed), before + 3);
}

#[tokio::test(start_paused = true)]
async fn the_inner_service_is_made_ready_after_the_turn_came_and_no_token_is_lost_meanwhile() {
    let (layer, service, upstream) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    let mut call = start(&service, 1);
    assert_pending!(call.poll());
    upstream.shut.store(1, Ordering::Relaxed);
    advance(SECOND * 2).await;
    assert_pending!(call.poll());
    assert_eq!(layer.handle().remaining(), 1);
    drop(call);
    assert_eq!((layer.handle().remaining(), layer.handle().waiting()), (1, 0));
    upstream.shut.store(0, Ordering::Relaxed);
    start(&service, 2).await.unwrap();
    assert_eq!(upstream.calls(), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_no_turn() {
    let (layer, service, _) = waiting(quota(), SECOND * 10);
    start(&service, 0).await.unwrap();
    drop(start(&service, 1));
    assert_eq!(layer.handle().waiting(), 0);
    let began = Instant::now();
    start(&service, 2).await.unwrap();
    assert!(began.elapsed() <= SECOND + Duration::from_millis(2));
    // Who need not wait is called at once, and so has its token before the first poll.
    advance(SECOND).await;
    drop(start(&service, 3));
    assert_eq!(layer.handle().remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_go_at_the_rate_in_any_window() {
    let (_, service, upstream) = waiting(Quota::per_second(1_000).burst(10), SECOND);
    let began = Instant::now();
    let tasks: Vec<_> =
        (0..500).map(|number| tokio::spawn(start(&service, number).into_inner())).collect();
    sleep(Duration::from_millis(100)).await;
    let done = upstream.calls().len();
    assert!((105..=110).contains(&done), "{done}");
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(490));
    assert_eq!(upstream.calls(), (0..500).collect::<Vec<_>>());
}

// Between failover and balance.

#[derive(Clone)]
struct Chooser(Arc<Member>);

struct Choosing(Arc<Member>, bool);

impl Service<Call<u32>> for Chooser {
    type Response = bool;
    type Error = Infallible;
    type Future = Choosing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call<u32>) -> Choosing {
        Choosing(self.0.clone(), false)
    }
}

impl Chooses for Chooser {
    fn has_untried(&self, tried: &Tried) -> bool {
        !tried.contains(&self.0)
    }
}

impl Choose<Call<u32>> for Chooser {
    type Choosing = Choosing;

    fn call_avoiding(&mut self, _: Call<u32>, tried: &Tried) -> Choosing {
        Choosing(self.0.clone(), tried.contains(&self.0))
    }
}

impl Future for Choosing {
    type Output = Result<bool, Infallible>;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.1))
    }
}

impl Chosen for Choosing {
    fn chosen(&self) -> Option<&Arc<Member>> {
        Some(&self.0)
    }

    fn is_unsent(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_passes_through_in_both_modes() {
    let member = member("a");
    let mut tried = Tried::default();
    let mut refusing = RateLimitLayer::new(quota()).layer(Chooser(member.clone()));
    let mut waits = RateLimitLayer::new(quota()).wait(SECOND).layer(Chooser(member.clone()));
    assert!(Chooses::has_untried(&waits, &tried) && Chooses::has_untried(&refusing, &tried));
    tried.insert(member.clone());
    assert!(!Chooses::has_untried(&waits, &tried));

    refusing.ready().await.unwrap();
    let choosing = refusing.call_avoiding(Call::new(0), &tried);
    assert!(choosing.chosen().is_some() && !choosing.is_unsent());
    assert!(choosing.await.unwrap(), "told what was tried");
    let refused = refusing.call_avoiding(Call::new(1), &tried);
    assert!(refused.chosen().is_none() && refused.is_unsent());
    assert!(refused.await.is_err());

    waits.ready().await.unwrap();
    waits.call(Call::new(0)).await.unwrap();
    let mut choosing = task::spawn(waits.call_avoiding(Call::new(1), &tried));
    assert_pending!(choosing.poll());
    assert!(choosing.chosen().is_none() && choosing.is_unsent());
    advance(SECOND + Duration::from_millis(1)).await;
    assert!(assert_ready!(choosing.poll()).unwrap());
    assert!(choosing.chosen().is_some() && !choosing.is_unsent());
}

#[test]
fn everything_is_send_sync_and_debug() {
    fn is<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let layer = RateLimitLayer::new(quota());
    let service = layer.clone().wait(SECOND).layer(());
    is(&layer);
    is(&service);
    is(&layer.layer(()));
    assert!(format!("{service:?}").contains("remaining: 1"));
}
