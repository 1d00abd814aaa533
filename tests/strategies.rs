//! What the strategies make of endpoints that are slow, fail at once, hang, come and go.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use support::{Answer, Ask, Farm, ms, secs, settle};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, Error, FailoverLayer, LeastRequest,
    balance::{
        BalanceConfig, HealthBased, LeastLatency, OutlierConfig, PeakEwma, Pick, PickFirst,
        Priority, RoundRobin, Strategy, WeightedRandom, WeightedRoundRobin,
    },
    budget::Budget,
    discover::{self, Memory},
};

type Shares = BTreeMap<String, usize>;

/// Endpoints `a:1` and so on, and their keys.
fn farm(count: u8) -> (Farm, Vec<String>) {
    let farm = Farm::default();
    let keys: Vec<String> = (0..count).map(|n| format!("{}:1", char::from(b'a' + n))).collect();
    keys.iter().for_each(|key| drop(farm.get(key)));
    (farm, keys)
}

/// Makes `calls`, one each millisecond, and tells which endpoints were called.
async fn calls<S>(farm: &Farm, keys: &[String], service: &S, calls: usize) -> Shares
where
    S: Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static,
{
    let before: Vec<_> = keys.iter().map(|key| farm.get(key).calls()).collect();
    for _ in 0..calls {
        tokio::spawn(timeout(secs(5), service.clone().oneshot(Ask::new(1))));
        sleep(ms(1)).await;
    }
    keys.iter()
        .zip(before)
        .map(|(key, before)| (key.clone(), farm.get(key).calls() - before))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_keeps_away_from_one_that_fails_at_once_and_comes_back() {
    let (farm, keys) = farm(10);
    farm.answers(Answer::GoodAfter(ms(50)));
    // The strategy alone: otherwise it would be ejected.
    let config = BalanceConfig::default().with_outlier(OutlierConfig::off());
    let service =
        BalanceLayer::with_config(discover::fixed(&keys).unwrap(), PeakEwma::new(), config)
            .with_seed(1)
            .layer(farm.clone());
    let warm = calls(&farm, &keys, &service, 2_000).await;
    assert!(warm.values().all(|&count| (120..300).contains(&count)), "{warm:?}");
    farm.get("a:1").answers(Answer::FailsAfter(ms(1)));
    let broken = calls(&farm, &keys, &service, 5_000).await;
    assert!(broken["a:1"] < 60, "{broken:?}: a fast failure is a second");
    farm.get("a:1").answers(Answer::GoodAfter(ms(50)));
    calls(&farm, &keys, &service, 15_000).await;
    let well = calls(&farm, &keys, &service, 2_000).await;
    assert!(well["a:1"] > 120, "{well:?}");
}

#[tokio::test(start_paused = true)]
async fn peak_ewma_sees_one_that_hangs_before_it_answers() {
    let (farm, keys) = farm(10);
    farm.answers(Answer::GoodAfter(ms(20)));
    let service = BalanceLayer::new(discover::fixed(&keys).unwrap(), PeakEwma::new())
        .with_seed(2)
        .layer(farm.clone());
    calls(&farm, &keys, &service, 1_000).await;
    farm.get("a:1").answers(Answer::Never);
    let hangs = calls(&farm, &keys, &service, 2_000).await;
    assert!(hangs["a:1"] < 30, "{hangs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_not_flooded() {
    let (farm, keys) = farm(11);
    farm.answers(Answer::GoodAfter(ms(50)));
    let endpoints = Memory::new(&keys[..10]).unwrap();
    let service =
        BalanceLayer::new(endpoints.clone(), PeakEwma::new()).with_seed(3).layer(farm.clone());
    calls(&farm, &keys, &service, 2_000).await;
    endpoints.insert(keys[10].as_str()).unwrap();
    let shares = calls(&farm, &keys, &service, 250).await;
    assert!((5..60).contains(&shares["k:1"]), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn least_latency_and_health_based_follow_what_is_measured() {
    let (farm, keys) = farm(4);
    farm.answers(Answer::GoodAfter(ms(40)));
    farm.get("c:1").answers(Answer::GoodAfter(ms(5)));
    let endpoints = || discover::fixed(&keys).unwrap();
    let strategy = LeastLatency::new().with_full_scan();
    let quickest = BalanceLayer::new(endpoints(), strategy).layer(farm.clone());
    calls(&farm, &keys, &quickest, 200).await;
    assert_eq!(calls(&farm, &keys, &quickest, 100).await["c:1"], 100);
    let softly =
        BalanceLayer::new(endpoints(), HealthBased::new()).with_seed(1).layer(farm.clone());
    calls(&farm, &keys, &softly, 200).await;
    let shares = calls(&farm, &keys, &softly, 4_000).await;
    // Of two, eight of nine: the most that two draws of four can give is half.
    assert!(shares["c:1"] > 1_500 && shares["a:1"] > 100, "{shares:?}");
}

/// The endpoints that were called, in order, while the set changes and calls fail.
async fn sequence<P: Strategy + Pick<Ask> + Clone>(strategy: P, seed: u64) -> Vec<String> {
    let (farm, keys) = farm(6);
    let endpoint = |(tier, key): (usize, &String)| {
        key.parse::<Endpoint>().unwrap().with_priority(tier as u32 / 4).with_weight(1 + tier as u32)
    };
    let endpoints = Memory::new(keys.iter().enumerate().map(endpoint)).unwrap();
    farm.get("b:1").answers(Answer::Fails);
    let service = FailoverLayer::new(Attempts::up_to(6).with_backoff(ms(1), ms(1)))
        .with_budget(Budget::unlimited())
        .layer(BalanceLayer::new(endpoints.clone(), strategy).with_seed(seed).layer(farm.clone()));
    let mut called = Vec::new();
    for step in 0..60 {
        if step == 30 {
            endpoints.remove("a:1");
            settle().await;
        }
        called.push(service.clone().oneshot(Ask::new(1)).await.unwrap());
    }
    called
}

#[tokio::test(start_paused = true)]
async fn one_seed_reproduces_every_choice() {
    async fn check<P: Strategy + Pick<Ask> + Clone>(strategy: P) {
        let first = sequence(strategy.clone(), 7).await;
        assert_eq!(sequence(strategy.clone(), 7).await, first);
    }
    check(LeastRequest::new()).await;
    check(LeastRequest::new().with_bias(1.0)).await;
    check(PeakEwma::new()).await;
    check(WeightedRandom::new()).await;
    check(WeightedRoundRobin::new()).await;
    check(RoundRobin::new()).await;
    check(PickFirst::new()).await;
    check(Priority::new()).await;
    assert_ne!(sequence(LeastRequest::new(), 7).await, sequence(LeastRequest::new(), 8).await);
}

#[tokio::test(start_paused = true)]
async fn weights_that_change_count_at_once_and_the_turn_goes_on() {
    let farm = Farm::default();
    let weighted = |key: &str, weight| key.parse::<Endpoint>().unwrap().with_weight(weight);
    let endpoints = Memory::new([weighted("a:1", 1), weighted("b:1", 1)]).unwrap();
    let service = BalanceLayer::new(endpoints.clone(), WeightedRoundRobin::starting_at(0))
        .layer(farm.clone());
    let mut called = Vec::new();
    for step in 0..12 {
        if step == 4 {
            endpoints.insert(weighted("b:1", 3)).unwrap();
            settle().await;
        }
        called.push(service.clone().oneshot(Ask::new(1)).await.unwrap());
    }
    let count = |of: &[String]| of.iter().filter(|key| *key == "b:1").count();
    assert_eq!((count(&called[..4]), count(&called[4..])), (2, 6), "{called:?}");
    assert_eq!(farm.get("b:1").connects(), 1);
}
