//! Calls that go where their key does, through a balancer whose endpoints come, go, fail and are busy.
#![cfg(all(feature = "hash", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Answer, Ask, Farm, ms, secs, settle};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Error, FailoverLayer,
    balance::{
        BalanceConfig, BoundedBy, ConsistentHash, HashScheme, LocalityMode, LocalityWeights,
        OutlierConfig,
    },
    discover::{self, Memory},
    endpoint::{Endpoint, Locality, Status},
    rules::hash::{FadeIn, Maglev, xxh64},
};

fn by_number() -> ConsistentHash<fn(&Ask) -> String> {
    ConsistentHash::by_key(|ask: &Ask| format!("user-{}", ask.number))
}

fn keys(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("h{number:02}:80")).collect()
}

/// Where each of the first 1,000 keys goes.
async fn homes<S>(service: &S) -> Vec<String>
where
    S: Service<Ask, Response = String, Error = Error> + Clone,
{
    let mut homes = Vec::new();
    for number in 0..1_000 {
        homes.push(service.clone().oneshot(Ask::new(number)).await.unwrap());
    }
    homes
}

#[tokio::test(start_paused = true)]
async fn calls_go_where_a_peer_of_another_kind_would_send_them() {
    let (farm, keys) = (Farm::default(), keys(1..11));
    farm.answers(Answer::Good);
    let service =
        BalanceLayer::new(discover::fixed(&keys).unwrap(), by_number()).layer(farm.clone());
    let hosts: Vec<_> = keys.iter().map(|key| (key, 1)).collect();
    let table = Maglev::new(&hosts);
    for (number, home) in homes(&service).await.into_iter().enumerate() {
        let hash = xxh64(format!("user-{number}").as_bytes(), 0);
        assert_eq!(home, keys[table.get(hash).unwrap()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_attempt_goes_to_the_next_endpoint_of_the_key_each_time() {
    let (farm, keys) = (Farm::default(), keys(1..11));
    farm.answers(Answer::Good);
    let config = BalanceConfig::default().with_outlier(OutlierConfig::off());
    for scheme in [HashScheme::default(), HashScheme::Nginx, HashScheme::Rendezvous] {
        let strategy = by_number().with_scheme(scheme);
        let balance =
            BalanceLayer::with_config(discover::fixed(&keys).unwrap(), strategy, config.clone());
        let service = FailoverLayer::new(Attempts::up_to(2)).layer(balance.layer(farm.clone()));
        let home = service.clone().oneshot(Ask::new(7)).await.unwrap();
        farm.get(&home).answers(Answer::Fails);
        let next = service.clone().oneshot(Ask::new(7)).await.unwrap();
        assert_ne!(next, home);
        for _ in 0..10 {
            assert_eq!(service.clone().oneshot(Ask::new(7)).await.unwrap(), next, "{scheme:?}");
        }
        farm.get(&home).answers(Answer::Good);
        assert_eq!(service.oneshot(Ask::new(7)).await.unwrap(), home);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_does_not_bury_its_endpoint_and_the_others_stay_at_home() {
    let (farm, keys) = (Farm::default(), keys(1..6));
    farm.answers(Answer::Good);
    let service =
        BalanceLayer::new(discover::fixed(&keys).unwrap(), by_number()).layer(farm.clone());
    let before = homes(&service).await;
    farm.answers(Answer::GoodAfter(secs(1)));
    let calls: Vec<_> =
        (0..100).map(|_| tokio::spawn(service.clone().oneshot(Ask::new(7)))).collect();
    settle().await;
    let running: Vec<_> = keys.iter().map(|key| farm.get(key).running()).collect();
    assert!(running.iter().all(|running| *running <= 32), "{running:?}: 1.5 times 20, and one");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    farm.answers(Answer::Good);
    assert_eq!(homes(&service).await, before);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_joins_gets_its_keys_over_the_window_without_any_other_change() {
    let (farm, keys) = (Farm::default(), keys(1..11));
    farm.answers(Answer::Good);
    let endpoints = Memory::new(&keys[..9]).unwrap();
    let fade_in = FadeIn { window: secs(30), exponent: 1.0 };
    let balance = BalanceLayer::new(endpoints.clone(), by_number().with_fade_in(fade_in));
    let handle = balance.handle();
    let service = balance.layer(farm.clone());
    let before = homes(&service).await;
    endpoints.insert(keys[9].as_str()).unwrap();
    settle().await;
    let newcomers = |homes: &[String]| homes.iter().filter(|home| **home == keys[9]).count();
    let (rebuilds, mut last) = (handle.rebuilds(), 0);
    for second in 0..31 {
        let homes = homes(&service).await;
        let count = newcomers(&homes);
        assert!(count >= last, "{second}: {count} after {last}");
        if second < 2 {
            assert!(count < 10, "{second}: {count}");
        }
        let strayed =
            homes.iter().zip(&before).filter(|(now, then)| now != then && **now != keys[9]);
        assert!(strayed.count() < 10, "only what such a table moves beside");
        last = count;
        sleep(secs(1) + ms(1)).await;
    }
    assert!((70..130).contains(&last), "{last}");
    assert!(handle.rebuilds() - rebuilds >= 20, "in small steps");
    let rebuilds = handle.rebuilds();
    sleep(secs(60)).await;
    assert_eq!(handle.rebuilds(), rebuilds, "nothing is renewed any more");
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_that_is_work_goes_on_once_that_is_known_and_comes_home() {
    let (farm, keys) = (Farm::default(), keys(1..11));
    farm.answers(Answer::Good);
    let strategy = by_number().with_bounded_by(BoundedBy::Occupancy);
    let service = BalanceLayer::new(discover::fixed(&keys).unwrap(), strategy).layer(farm.clone());
    let home = service.clone().oneshot(Ask::new(7)).await.unwrap();
    farm.answers(Answer::GoodAfter(secs(1)));
    let (mut calls, mut at_home) = (Vec::new(), 0);
    for step in 0..1_000 {
        calls.push(tokio::spawn(service.clone().oneshot(Ask::new(7))));
        sleep(ms(20)).await;
        at_home += if step < 500 { 0 } else { farm.get(&home).running() };
    }
    // On average 1.5 times the mean of 5, and not all of 50.
    assert!((2_500..6_000).contains(&at_home), "{at_home} in 500 looks");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    sleep(secs(10)).await;
    assert_eq!(service.oneshot(Ask::new(7)).await.unwrap(), home, "it comes home");
}

#[tokio::test(start_paused = true)]
async fn zones_have_the_keys_of_their_weight_and_health_and_the_difference_alone_moves() {
    let farm = Farm::default();
    farm.answers(Answer::Good);
    let endpoint = |zone: &str, number: u32| {
        let endpoint = Endpoint::new(format!("{zone}{number}:80")).unwrap();
        endpoint.with_locality(Locality::of_zone(zone))
    };
    let all = ["a", "b", "c"].into_iter().flat_map(|zone| (0..4).map(move |of| (zone, of)));
    for scheme in [HashScheme::default(), HashScheme::Nginx, HashScheme::Rendezvous] {
        let endpoints = Memory::new(all.clone().map(|(zone, of)| endpoint(zone, of))).unwrap();
        let weights = LocalityWeights::from_iter([("a", 2), ("b", 1), ("c", 1)]);
        let config = BalanceConfig::default().with_locality(LocalityMode::Weighted(weights));
        let strategy = by_number().with_scheme(scheme);
        let service =
            BalanceLayer::with_config(endpoints.clone(), strategy, config).layer(farm.clone());
        let of_zone =
            |homes: &[String], zone| homes.iter().filter(|home| home.starts_with(zone)).count();
        let before = homes(&service).await;
        assert_eq!(homes(&service).await, before, "{scheme:?}: a key stays in its zone");
        assert!(
            of_zone(&before, "a").abs_diff(500) < 50 && of_zone(&before, "b").abs_diff(250) < 50
        );

        // Half of zone a is down: with 1.4 times its healthy half it weighs 1.4 rather than 2.
        for of in 0..2 {
            endpoints.insert(endpoint("a", of).with_status(Status::Critical)).unwrap();
        }
        settle().await;
        let after = homes(&service).await;
        assert!(of_zone(&after, "a").abs_diff(412) < 50, "{scheme:?}: {}", of_zone(&after, "a"));
        for (before, after) in before.iter().zip(&after) {
            let was_down = ["a0:80", "a1:80"].contains(&before.as_str());
            let is_moved = before.starts_with('a') && (was_down || !after.starts_with('a'));
            assert!(
                before == after
                    || is_moved
                    || scheme == HashScheme::default() && before.starts_with('a'),
                "{scheme:?}: from {before} to {after}"
            );
        }
        for of in 0..2 {
            endpoints.insert(endpoint("a", of)).unwrap();
        }
        settle().await;
        assert_eq!(homes(&service).await, before, "{scheme:?}: they come back");
    }
}
