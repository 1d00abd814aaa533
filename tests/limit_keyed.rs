//! What a rate limit by key promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Quota, RateLimitLayer,
    connect::Connect,
    connect_fn,
    error::Kind,
    limit::{KeyedRateLimitLayer, Quotas, RateLimitConfig},
    member::Member,
};

const SECOND: Duration = Duration::from_secs(1);

fn day(burst: u32) -> Quota {
    Quota::new(1, SECOND * 86_400).burst(burst)
}

fn number(call: &Call<u32>) -> u32 {
    *call.body()
}

fn by_number(quotas: impl Into<Quotas>) -> KeyedRateLimitLayer<fn(&Call<u32>) -> u32> {
    let key: fn(&Call<u32>) -> u32 = number;
    RateLimitLayer::new(quotas).by_key(key).with_max_keys(1_000)
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_quota() {
    let layer = by_number(Quota::per_second(10).burst(2));
    let service = layer.layer(service_fn(async |_: Call<u32>| Ok::<_, Infallible>(())));
    let call = |key| service.clone().oneshot(Call::new(key));
    call(1).await.unwrap();
    call(1).await.unwrap();
    let refused = call(1).await.unwrap_err();
    assert_eq!((refused.kind(), refused.retry_after()), (Kind::RateLimited, Some(SECOND / 10)));
    assert!(refused.is_refused());
    call(2).await.unwrap();
    let handle = layer.handle();
    assert_eq!((handle.remaining(&1_u32), handle.remaining(&2_u32)), (0, 1));
    assert_eq!((handle.remaining(&3_u32), handle.len(), handle.is_empty()), (2, 2, false));
    assert_eq!(handle.peek(&1_u32, 2).unwrap(), SECOND / 5);
    advance(SECOND / 10).await;
    call(1).await.unwrap();
    handle.clear(&1_u32);
    handle.take(&1_u32, 2).unwrap();
    assert!(handle.take(&1_u32, 1).is_err());
    advance(SECOND).await;
    assert!(handle.is_empty(), "who owes nothing is forgotten by itself");
    assert_eq!(layer.fresh().handle().remaining(&1_u32), 2);
    assert!(format!("{layer:?} {service:?}").contains("max_keys: 1000"));
}

#[tokio::test(start_paused = true)]
async fn several_quotas_and_costs_hold_for_each_key() {
    let quotas = [Quota::per_second(10), Quota::per_minute(15)];
    let layer = RateLimitLayer::new(quotas)
        .by_key(|call: &Call<(&'static str, u32)>| call.body().0)
        .with_cost(|call: &Call<(&'static str, u32)>| call.body().1);
    let service =
        layer.layer(service_fn(async |_: Call<(&'static str, u32)>| Ok::<_, Infallible>(())));
    let call = |key, cost| service.clone().oneshot(Call::new((key, cost)));
    call("ann", 10).await.unwrap();
    call("ann", 0).await.unwrap();
    assert_eq!(call("ann", 1).await.unwrap_err().retry_after(), Some(SECOND / 10));
    advance(SECOND).await;
    assert_eq!(call("ann", 6).await.unwrap_err().retry_after(), None.or(Some(SECOND * 4 - SECOND)));
    call("ann", 5).await.unwrap();
    call("bob", 10).await.unwrap();
    let never = call("bob", 11).await.unwrap_err();
    assert_eq!(never.kind(), Kind::InvalidConfig);
    assert!(never.to_string().contains("burst is 10"), "{never}");
    // A `str` hashes as a `String` does, and as a `&str`.
    assert_eq!(layer.handle().remaining("ann"), layer.handle().remaining(&String::from("ann")));
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_there_is_one_table_for_all_and_the_refusal_comes_from_the_call() {
    let layer = by_number(day(3));
    let connector = layer
        .layer(connect_fn(|_: &Endpoint| service_fn(async |_: Call<u32>| Ok::<_, Infallible>(()))));
    let member =
        |key: &str| Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key));
    let (a, b) = (member("a"), member("b"));
    let (one, two) = (connector.connect(&a), connector.connect(&b));
    for service in [&one, &two, &one] {
        service.clone().oneshot(Call::new(1)).await.unwrap();
    }
    assert!(two.clone().oneshot(Call::new(1)).await.unwrap_err().is_refused());
    assert!(a.is_eligible() && b.is_eligible());
    two.oneshot(Call::new(2)).await.unwrap();
}

#[test]
fn a_flood_of_keys_takes_no_memory_and_frees_nobody() {
    let layer = by_number(day(5));
    let handle = layer.handle();
    let (bytes, max) = (handle.bytes(), handle.max_keys());
    assert_eq!((bytes, max), (32_000, 1_000));
    handle.take(&0_u32, 5).unwrap();
    for key in 1..=1_000_000_u32 {
        handle.take(&key, 1).unwrap();
        debug_assert!(handle.take(&0_u32, 1).is_err());
    }
    assert!(handle.take(&0_u32, 1).is_err());
    assert_eq!((handle.bytes(), handle.len()), (bytes, 5 * 500));
}

#[test]
fn threads_never_take_more_than_a_key_has() {
    for quotas in [Quotas::from(day(500)), [day(500), day(700)].into()] {
        let layer = by_number(quotas);
        let taken = [const { AtomicUsize::new(0) }; 7];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let handle = layer.handle();
                    for round in 0..7_000_usize {
                        let key = round % 7;
                        let took = handle.take(&(key as u32), 1).is_ok();
                        taken[key].fetch_add(usize::from(took), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.map(AtomicUsize::into_inner), [500; 7]);
    }
}

#[tokio::test(start_paused = true)]
async fn new_settings_keep_the_share_that_each_key_has_used() {
    let handle = by_number(Quota::per_minute(10)).handle();
    handle.take(&1_u32, 5).unwrap();
    handle.set(Quota::per_minute(100)).unwrap();
    assert_eq!((handle.remaining(&1_u32), handle.remaining(&2_u32)), (50, 100));
    let full = handle.set([Quota::per_minute(1), Quota::per_second(1)]).unwrap_err();
    assert_eq!(full.kind(), Kind::InvalidConfig);
    assert_eq!(handle.remaining(&1_u32), 50);
    let mut config = RateLimitConfig::go();
    handle.update(&config).unwrap();
    handle.take(&1_u32, 10_000).unwrap();
    config.burst = 0;
    assert!(handle.update(&config).unwrap_err().to_string().contains("burst"));
    let several = by_number([Quota::per_minute(10), Quota::per_second(10)]).handle();
    several.take(&1_u32, 5).unwrap();
    several.set(Quota::per_minute(20)).unwrap();
    assert_eq!(several.remaining(&1_u32), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// While a key stays in the table it is a limit of its own.
    #[test]
    fn each_key_is_as_a_limit_of_its_own(
        steps in prop::collection::vec((0..5_u32, 0..900_u64, 0..4_u32), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            for quotas in [
                Quotas::from(Quota::per_second(1).burst(3)),
                [Quota::per_second(1).burst(3), Quota::per_minute(20).burst(10)].into(),
            ] {
                let keyed = by_number(quotas).handle();
                let own: Vec<_> =
                    (0..5).map(|_| RateLimitLayer::new(quotas).handle()).collect();
                for &(key, millis, cells) in &steps {
                    advance(Duration::from_millis(millis)).await;
                    let own = &own[key as usize];
                    assert_eq!(keyed.peek(&key, 1).unwrap(), own.peek(1).unwrap());
                    let (ours, theirs) = (keyed.take(&key, cells), own.take(cells));
                    assert_eq!(
                        ours.map_err(|error| (error.kind(), error.retry_after())),
                        theirs.map_err(|error| (error.kind(), error.retry_after()))
                    );
                    assert_eq!(keyed.remaining(&key), own.remaining());
                }
            }
        });
    }
}
