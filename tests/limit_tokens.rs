//! What a rate limit promises of its tokens: several quotas, costs, new settings.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::{
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    Call, Endpoint, Error, Quota, RateLimitLayer,
    connect::Connect,
    connect_fn,
    error::Kind,
    limit::{QuotaHandle, Quotas, RateLimitConfig},
    member::Member,
};

const SECOND: Duration = Duration::from_secs(1);

/// Answers as it is told: at once, late, or not at all.
#[derive(Clone, Default)]
struct Upstream {
    calls: Arc<Mutex<Vec<u32>>>,
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Service<Call<u32>> for Upstream {
    type Response = u32;
    type Error = Broken;
    type Future = Ready<Result<u32, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u32>) -> Self::Future {
        let number = call.into_body();
        self.calls.lock().unwrap().push(number);
        ready(if number == 666 { Err(Broken) } else { Ok(number) })
    }
}

async fn call<S>(service: &S, number: u32) -> Result<u32, Error>
where
    S: Service<Call<u32>, Response = u32, Error = Error> + Clone,
{
    service.clone().oneshot(Call::new(number)).await
}

/// A call costs what it says.
fn body(call: &Call<u32>) -> u32 {
    *call.body()
}

// Several quotas.

#[tokio::test(start_paused = true)]
async fn ten_a_second_and_fifteen_a_minute() {
    let layer = RateLimitLayer::new([Quota::per_second(10), Quota::per_minute(15)]);
    let (service, handle) = (layer.layer(Upstream::default()), layer.handle());
    for number in 0..10 {
        call(&service, number).await.unwrap();
    }
    let refused = call(&service, 10).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(SECOND / 10));
    advance(SECOND).await;
    for number in 0..5 {
        call(&service, number).await.unwrap();
    }
    // Now it is the other that refuses, and the first has lost nothing by it.
    for _ in 0..20 {
        let refused = call(&service, 0).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(SECOND * 3));
    }
    assert_eq!(handle.remaining(), 0);
    handle.set([Quota::per_second(10), Quota::per_minute(15).burst(1_000)]);
    assert_eq!(handle.remaining(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_several_is_told_the_latest_moment() {
    let handle = RateLimitLayer::new([Quota::per_second(1), Quota::per_minute(1)]).handle();
    handle.take(1).unwrap();
    assert_eq!(handle.take(1).unwrap_err().retry_after(), Some(SECOND * 60));
    assert_eq!(handle.peek(1).unwrap(), SECOND * 60);
    assert!(handle.peek(2).unwrap_err().to_string().contains("burst is 1"));
}

#[test]
fn threads_take_all_or_nothing() {
    let day = |burst| Quota::new(1, SECOND * 86_400).burst(burst);
    let layer = RateLimitLayer::new([day(900), day(700), day(800)]);
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let handle = layer.handle();
                for _ in 0..1_000 {
                    taken.fetch_add(usize::from(handle.take(1).is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 700);
    // The others have lost what the second has, and no more.
    layer.handle().set([day(900), day(7_000), day(800)]);
    assert_eq!(layer.handle().remaining(), 0);
    layer.handle().set([day(900)]);
    assert_eq!(layer.handle().remaining(), 200);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_each_endpoint_has_all_of_them() {
    let layer = RateLimitLayer::new([Quota::per_second(2), Quota::per_minute(3)]);
    let member = Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key("a"));
    let service = layer.layer(connect_fn(|_: &Endpoint| Upstream::default())).connect(&member);
    call(&service, 0).await.unwrap();
    call(&service, 1).await.unwrap();
    let mut next = task::spawn(service.clone());
    assert_pending!(next.enter(|cx, mut next| next.poll_ready(cx)));
    advance(SECOND).await;
    assert_ready_ok!(next.enter(|cx, mut next| next.poll_ready(cx)));
    drop(next);
    call(&service, 2).await.unwrap();
    assert_eq!(layer.handle_for("a").unwrap().peek(1).unwrap(), SECOND * 19);
    assert_eq!(layer.handle().remaining(), 2);
}

// Costs.

#[tokio::test(start_paused = true)]
async fn a_call_takes_what_it_costs() {
    let layer = RateLimitLayer::new(Quota::per_second(10)).with_cost(body);
    let upstream = Upstream::default();
    let service = layer.layer(upstream.clone());
    call(&service, 7).await.unwrap();
    for _ in 0..100 {
        call(&service, 0).await.unwrap();
    }
    assert_eq!(layer.handle().remaining(), 3);
    assert_eq!(call(&service, 4).await.unwrap_err().retry_after(), Some(SECOND / 10));
    call(&service, 3).await.unwrap();
    call(&service, 0).await.unwrap();
    let never = call(&service, 11).await.unwrap_err();
    assert_eq!(never.kind(), Kind::InvalidConfig);
    assert!(never.to_string().contains("burst is 10") && never.is_unsent(), "{never}");
    assert_eq!(upstream.calls.lock().unwrap().len(), 103);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order_whatever_they_cost() {
    let upstream = Upstream::default();
    let layer =
        RateLimitLayer::new(Quota::per_second(1).burst(5)).wait(SECOND * 60).with_cost(body);
    let service = layer.layer(upstream.clone());
    call(&service, 5).await.unwrap();
    let began = Instant::now();
    let start = |number| {
        let mut service = service.clone();
        let call = service.call(Call::new(number));
        tokio::spawn(async move {
            let number = call.await.unwrap();
            (number, began.elapsed().as_secs())
        })
    };
    let calls = [start(4), start(1), start(5), start(2)];
    // Never waits, whoever does; and what never fits does not wait either.
    assert_eq!(call(&service, 0).await.unwrap(), 0);
    assert_eq!(call(&service, 6).await.unwrap_err().kind(), Kind::InvalidConfig);
    assert_eq!(layer.handle().waiting(), 4);
    let mut done = Vec::new();
    for call in calls {
        done.push(call.await.unwrap());
    }
    assert_eq!(done, [(4, 4), (1, 5), (5, 10), (2, 12)]);
    assert_eq!(*upstream.calls.lock().unwrap(), [5, 0, 4, 1, 5, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_refused_at_once_for_what_those_before_cost() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(5)).wait(SECOND * 9).with_cost(body);
    let mut service = layer.layer(Upstream::default());
    call(&service, 5).await.unwrap();
    let waiting = service.call(Call::new(5));
    let refused = assert_ready_err!(task::spawn(service.call(Call::new(5))).poll());
    assert_eq!(refused.retry_after(), Some(SECOND * 10));
    let mut fits = task::spawn(service.call(Call::new(4)));
    assert_pending!(fits.poll());
    drop(waiting);
    // It has moved up, and behind it there is room for another.
    let mut behind = task::spawn(service.call(Call::new(5)));
    assert_pending!(behind.poll());
    drop(behind);
    advance(SECOND * 4 + Duration::from_millis(1)).await;
    assert_ready_ok!(fits.poll());
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_a_cost_is_decided_on_in_the_call_and_leaves_nothing() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(5)).with_cost(body);
    let member = Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key("a"));
    let mut service = layer.layer(connect_fn(|_: &Endpoint| Upstream::default())).connect(&member);
    let handle = || layer.handle_for("a").unwrap();
    call(&service, 3).await.unwrap();
    assert_eq!(handle().remaining(), 2);
    let refused = call(&service, 3).await.unwrap_err();
    assert_eq!((refused.endpoint(), refused.retry_after()), (Some("a"), Some(SECOND)));
    assert_eq!(handle().remaining(), 2);
    call(&service, 0).await.unwrap();
    assert_eq!(handle().remaining(), 2);
    service.ready().await.unwrap();
    assert_eq!(handle().remaining(), 1);
    assert_ready_ok!(task::spawn(service.call(Call::new(2))).poll());
    assert_eq!(handle().remaining(), 0);
}

// Clones.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In whatever window: no more calls than the quota admits, however many clones there are.
    #[test]
    fn clones_never_exceed_the_quota(
        burst in prop::sample::select(vec![128_u32, 640]),
        steps in prop::collection::vec(
            (
                0..4_usize,
                prop::sample::select(vec![0_u64, 0, 0, 1, 9, 700]),
                prop::sample::select(vec![1_u32, 1, 700]),
                prop::bool::weighted(0.1),
            ),
            1..60,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        // How many calls passed, and when.
        let calls = runtime.block_on(async {
            let layer = RateLimitLayer::new(Quota::per_second(1_000).burst(burst));
            let make = || layer.layer(Upstream::default());
            let mut clones = [make(), make(), make(), make()];
            let (start, mut calls) = (Instant::now(), Vec::new());
            for (who, millis, times, drops) in steps {
                advance(Duration::from_millis(millis)).await;
                let mut passed = 0;
                for _ in 0..times {
                    let done = clones[who].ready().await.unwrap().call(Call::new(1)).await;
                    passed += u64::from(done.is_ok());
                }
                calls.push((start.elapsed().as_millis() as u64, passed));
                if drops {
                    clones[who] = make();
                }
            }
            calls
        });
        for (first, (from, _)) in calls.iter().enumerate() {
            let mut sum = 0;
            for (to, passed) in &calls[first..] {
                sum += passed;
                let admits = u64::from(burst) + (to - from);
                prop_assert!(sum <= admits, "{sum} calls from {from} to {to} ms");
            }
        }
    }
}

// New settings.

#[tokio::test(start_paused = true)]
async fn new_settings_keep_the_share_that_is_used_here_and_at_every_endpoint() {
    let layer = RateLimitLayer::new(Quota::per_minute(10));
    let connector = layer.layer(connect_fn(|_: &Endpoint| Upstream::default()));
    let member =
        |key: &str| Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key));
    let (a, b, c) = (member("a"), member("b"), member("c"));
    let (one, _two) = (connector.connect(&a), connector.connect(&b));
    call(&one, 0).await.unwrap();
    layer.handle().take(5).unwrap();
    let mut config = RateLimitConfig::default();
    (config.requests_per_second, config.burst) = (100.0, 100);
    config.time_window = SECOND * 60;
    layer.handle().update(&config).unwrap();
    let _three = connector.connect(&c);
    let left = |key: &str| layer.handle_for(key).unwrap().remaining();
    assert_eq!(layer.handle().remaining(), 50);
    assert_eq!((left("a"), left("b"), left("c")), (90, 100, 100));
    layer.handle_for("b").unwrap().set(Quota::per_minute(7));
    assert_eq!((layer.handle().remaining(), left("a"), left("b")), (50, 90, 7));
    config.burst = 0;
    config.requests_per_second = -1.0;
    let text = layer.handle().update(&config).unwrap_err().to_string();
    assert!(text.contains("burst") && text.contains("requests_per_second"), "{text}");
    assert_eq!(layer.fresh().handle().remaining(), 100);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_plan_anew_with_new_settings() {
    let layer = RateLimitLayer::new(Quota::per_minute(1)).wait(SECOND * 600).with_cost(body);
    let mut service = layer.layer(Upstream::default());
    call(&service, 1).await.unwrap();
    let (mut one, mut two) =
        (task::spawn(service.call(Call::new(1))), task::spawn(service.call(Call::new(1))));
    assert_pending!(one.poll());
    assert_pending!(two.poll());
    layer.handle().set(Quota::per_second(2).burst(2));
    assert!(one.is_woken());
    // The bucket was empty, and is: so the first token comes in half a second.
    assert_pending!(one.poll());
    advance(SECOND / 2 + Duration::from_millis(1)).await;
    assert!(one.is_woken());
    assert_ready_ok!(one.poll());
    assert!(two.is_woken());
    assert_pending!(two.poll());
    // One for whom there is no room any more is told.
    let mut big = task::spawn(service.call(Call::new(2)));
    assert_pending!(big.poll());
    drop(two);
    layer.handle().set(Quota::per_second(2).burst(1));
    assert!(big.is_woken());
    assert_eq!(assert_ready_err!(big.poll()).kind(), Kind::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enabled_is_no_limit_until_it_is() {
    let layer = RateLimitLayer::with_config(RateLimitConfig::go());
    let service = layer.layer(Upstream::default());
    for number in 0..100 {
        call(&service, number).await.unwrap();
    }
    assert_eq!(layer.handle().remaining(), u32::MAX);
    layer.handle().update(&RateLimitConfig::default()).unwrap();
    for number in 0..20 {
        call(&service, number).await.unwrap();
    }
    assert!(call(&service, 20).await.is_err());
    layer.handle().set(Quotas::none());
    call(&service, 20).await.unwrap();
}

#[test]
fn of_two_settings_at_once_one_is_the_last_everywhere() {
    let layer = RateLimitLayer::new(Quota::per_minute(1));
    let connector = layer.layer(connect_fn(|_: &Endpoint| Upstream::default()));
    let keys: Vec<_> = (0..30).map(|number| number.to_string()).collect();
    let member =
        |key: &str| Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key));
    let _services: Vec<_> = keys.iter().map(|key| connector.connect(&member(key))).collect();
    let burst = |handle: &QuotaHandle| handle.peek(3).is_ok();
    for _ in 0..300 {
        std::thread::scope(|scope| {
            for burst in [2, 3] {
                let handle = layer.handle();
                scope.spawn(move || handle.set(Quota::per_minute(60).burst(burst)));
            }
        });
        let all = burst(&layer.handle());
        assert!(keys.iter().all(|key| burst(&layer.handle_for(key).unwrap()) == all));
    }
}

#[test]
fn threads_lose_nothing_while_the_settings_change() {
    let day = |burst| Quota::new(1, SECOND * 86_400).burst(burst);
    let layer = RateLimitLayer::new(day(1_000));
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let handle = layer.handle();
                for _ in 0..300 {
                    taken.fetch_add(usize::from(handle.take(1).is_ok()), Ordering::Relaxed);
                }
            });
        }
        // The same settings again: the share stays to the nanosecond.
        scope.spawn(|| (0..300).for_each(|_| layer.handle().set(day(1_000))));
    });
    assert_eq!(taken.into_inner() + layer.handle().remaining() as usize, 1_000);
}
