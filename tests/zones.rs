//! How load is spread over zones: by weights, near the caller, by hints; and what that leaves of turns, priorities
//! and further attempts.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use support::{Answer, Ask, Farm, ms, secs, settle};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest,
    balance::{
        Balance, BalanceConfig, BalanceHandle, LocalityMode, LocalityWeights, OutlierConfig, Pick,
        RoundRobin, Seeded, ZoneAware,
    },
    budget::Budget,
    discover::Memory,
    endpoint::{Locality, Status},
    member::{Reason, Veto},
    telemetry::{EventKind, Events},
};

/// `zone` and a number: its key, so that the load of a zone can be told.
fn endpoint(zone: &str, number: usize) -> Endpoint {
    let key = format!("{zone}{number}:1");
    Endpoint::new(key).unwrap().with_locality(Locality::of_zone(zone))
}

fn endpoints(of: &[(&str, usize)]) -> Vec<Endpoint> {
    of.iter().flat_map(|&(zone, number)| (0..number).map(move |of| endpoint(zone, of))).collect()
}

fn ill(endpoint: Endpoint) -> Endpoint {
    endpoint.with_status(Status::Critical)
}

fn config(mode: LocalityMode) -> BalanceConfig {
    let config = BalanceConfig::default().with_fail_back(secs(0), 0);
    config.with_outlier(OutlierConfig::off()).with_locality(mode)
}

fn weighted<const N: usize>(of: [(&str, u32); N]) -> LocalityMode {
    LocalityMode::Weighted(LocalityWeights::from_iter(of))
}

fn near<const N: usize>(own: &str, callers: [(&str, u64); N]) -> LocalityMode {
    LocalityMode::ZoneAware(ZoneAware::from(own).with_callers(callers).with_min_cluster_size(2))
}

type Set = Balance<support::Probe, Seeded<LeastRequest>>;

fn set(farm: &Farm, source: &Memory, mode: LocalityMode) -> (Set, BalanceHandle) {
    let layer = BalanceLayer::with_config(source.clone(), LeastRequest::new(), config(mode));
    let layer = layer.with_seed(7);
    let handle = layer.handle();
    (layer.layer(farm.clone()), handle)
}

/// Calls of each endpoint, of so many.
async fn calls<P>(set: &Balance<support::Probe, P>, number: u32) -> BTreeMap<String, u32>
where
    P: Pick<Ask>,
{
    let mut calls = BTreeMap::new();
    for number in 0..number {
        let key = set.clone().oneshot(Ask::new(number)).await.unwrap();
        *calls.entry(key).or_insert(0) += 1;
    }
    calls
}

/// The load of each of these zones, in percent.
async fn load<const N: usize>(set: &Set, zones: [&str; N]) -> [u32; N] {
    let calls = calls(set, 3_000).await;
    zones.map(|zone| {
        let of_zone = calls.iter().filter(|(key, _)| key.starts_with(zone));
        (of_zone.map(|(_, calls)| calls).sum::<u32>() + 15) / 30
    })
}

fn assert_about<const N: usize>(load: [u32; N], expected: [u32; N]) {
    let is_about = load.iter().zip(expected).all(|(load, expected)| load.abs_diff(expected) <= 3);
    assert!(is_about, "{load:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn zones_get_load_by_their_weight_and_health_as_in_envoy() {
    let farm = Farm::default();
    let source = Memory::new(endpoints(&[("x", 20), ("y", 20)])).unwrap();
    let (set, handle) = set(&farm, &source, weighted([("x", 1), ("y", 2)]));
    for (healthy, x, y) in
        [(20, 33, 67), (14, 33, 67), (13, 31, 69), (10, 26, 74), (5, 15, 85), (0, 0, 100)]
    {
        let mut of = endpoints(&[("x", healthy), ("y", 20)]);
        of.extend((healthy..20).map(|number| ill(endpoint("x", number))));
        source.replace(of).unwrap();
        settle().await;
        assert_about(load(&set, ["x", "y"]).await, [x, y]);
        assert_eq!(handle.candidates(), healthy + 20);
    }
    handle.update(&config(LocalityMode::Off)).unwrap();
    source.replace(endpoints(&[("x", 15), ("y", 5)])).unwrap();
    settle().await;
    assert_about(load(&set, ["x", "y"]).await, [75, 25]);
    let mode = LocalityWeights::from_iter([("x", 1)]);
    handle.update(&config(LocalityMode::Weighted(mode.clone()))).unwrap();
    settle().await;
    assert_about(load(&set, ["x", "y"]).await, [100, 0]);
    handle.update(&config(LocalityMode::Weighted(mode.with_others(3)))).unwrap();
    settle().await;
    assert_about(load(&set, ["x", "y"]).await, [25, 75]);
}

#[tokio::test(start_paused = true)]
async fn calls_stay_in_the_zone_of_the_caller_as_far_as_that_is_fair() {
    let farm = Farm::default();
    let source = Memory::new(endpoints(&[("a", 1), ("b", 2), ("c", 2)])).unwrap();
    let even = [("a", 1), ("b", 1), ("c", 1)];
    let (set, handle) = set(&farm, &source, near("a", even));
    let zones = ["a", "b", "c"];
    assert_about(load(&set, zones).await, [60, 20, 20]);
    assert_eq!(handle.candidates(), 5);

    let mut steps = Vec::from([
        (near("b", even), [0, 100, 0]),
        (near("a", [("a", 1), ("b", 4)]), [100, 0, 0]),
        // Fewer than the default of 6 endpoints.
        (LocalityMode::ZoneAware(ZoneAware::from("a").with_callers(even)), [20, 40, 40]),
        // The caller itself is one.
        (near("a", [("b", 1), ("c", 1)]), [60, 20, 20]),
        (LocalityMode::Off, [20, 40, 40]),
    ]);
    let forced = ZoneAware::from("a").with_callers(even).with_min_cluster_size(2);
    let forced = forced.with_force_local_zone(1);
    steps.push((LocalityMode::ZoneAware(forced), [100, 0, 0]));
    for (mode, expected) in steps {
        handle.update(&config(mode)).unwrap();
        settle().await;
        assert_about(load(&set, zones).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn if_the_zone_of_the_caller_is_gone_its_load_goes_elsewhere_until_it_is_back() {
    let farm = Farm::default();
    let all = endpoints(&[("a", 4), ("b", 4)]);
    let source = Memory::new(all.clone()).unwrap();
    let (set, _) = set(&farm, &source, near("a", [("a", 1), ("b", 1)]));
    let zones = ["a", "b"];
    assert_about(load(&set, zones).await, [100, 0]);
    let half = all.iter().cloned().enumerate();
    source.replace(half.map(|(of, one)| if of < 2 { ill(one) } else { one })).unwrap();
    settle().await;
    assert_about(load(&set, zones).await, [67, 33]);
    source.replace(endpoints(&[("b", 4)])).unwrap();
    settle().await;
    assert_about(load(&set, zones).await, [0, 100]);
    source.replace(all).unwrap();
    settle().await;
    assert_about(load(&set, zones).await, [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn each_priority_is_spread_over_its_zones() {
    let farm = Farm::default();
    let second = |zone| endpoint(zone, 9).with_priority(1);
    let mut of = endpoints(&[("x", 2), ("y", 2)]);
    (of[0], of[2]) = (ill(of[0].clone()), ill(of[2].clone()));
    of.extend([second("x"), second("y")]);
    let source = Memory::new(of).unwrap();
    let (set, handle) = set(&farm, &source, weighted([("x", 1), ("y", 3)]));
    let calls = calls(&set, 4_000).await;
    for (key, expected) in [("x1:1", 700), ("y1:1", 2_100), ("x9:1", 300), ("y9:1", 900)] {
        assert!(calls[key].abs_diff(expected) < 120, "{calls:?}");
    }
    // Too few for zones to count.
    source.replace([ill(endpoint("x", 0)), ill(endpoint("x", 1)), endpoint("y", 0)]).unwrap();
    settle().await;
    assert!(handle.is_health_ignored());
    assert_about(load(&set, ["x", "y"]).await, [67, 33]);
}

#[tokio::test(start_paused = true)]
async fn hints_are_followed_when_they_are_complete_and_the_set_tells_when_they_are_not() {
    let farm = Farm::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (events, heard) = (Events::new(), told.clone());
    let listener = move |event: &tower_upstream::telemetry::Event| {
        if let EventKind::ZonesIgnored { ignored, .. } = event.kind {
            heard.lock().unwrap().push(ignored);
        }
    };
    events.subscribe(listener).detach();
    let hinted = |zone: &str, number, hints: &[&str]| {
        endpoint(zone, number).with_zone_hints(hints.iter().copied())
    };
    let many = (0..9).map(|zone: u32| zone.to_string());
    assert_eq!(endpoint("a", 0).with_zone_hints(many).zone_hints().len(), 8);
    let complete = [hinted("a", 0, &["a"]), hinted("b", 0, &["b"]), hinted("b", 1, &["a", "b"])];
    let source = Memory::new(complete.clone()).unwrap();
    let mode = LocalityMode::ZoneAware("a".into());
    let layer = BalanceLayer::with_config(source.clone(), LeastRequest::new(), config(mode));
    let layer = layer.with_seed(7).with_events(&events);
    let (handle, set) = (layer.handle(), layer.layer(farm.clone()));
    let keys = |calls: &BTreeMap<String, u32>| calls.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&calls(&set, 100).await), ["a0:1", "b1:1"]);
    assert!(told.lock().unwrap().is_empty());

    let [one, two, three] = complete.clone();
    source.replace([one.clone(), two.clone(), three.clone().with_zone_hints([""; 0])]).unwrap();
    settle().await;
    assert_eq!(keys(&calls(&set, 100).await), ["a0:1", "b0:1", "b1:1"]);
    source.replace([one.clone(), two.clone(), endpoint("b", 1)]).unwrap();
    settle().await;
    assert_eq!(*told.lock().unwrap(), [true], "once");

    // The one without a hint cannot be used.
    source.replace([one, two, ill(endpoint("b", 1))]).unwrap();
    settle().await;
    assert_eq!(keys(&calls(&set, 100).await), ["a0:1"]);
    assert_eq!(*told.lock().unwrap(), [true, false]);

    source.replace(complete).unwrap();
    handle.update(&config(LocalityMode::ZoneAware("c".into()))).unwrap();
    settle().await;
    assert_eq!(calls(&set, 100).await.len(), 3, "none names it");
    assert_eq!(*told.lock().unwrap(), [true, false, true]);
    let error = handle.update(&config(LocalityMode::ZoneAware("".into()))).unwrap_err();
    assert!(error.to_string().contains("locality.zone_aware.zone"), "{error}");
    handle.update(&config(LocalityMode::Off)).unwrap();
    settle().await;
    assert_eq!(*told.lock().unwrap(), [true, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn further_attempts_go_to_all_that_are_untried_in_the_own_zone_first() {
    for (mode, first_is_near) in [
        // All first attempts stay, or some do.
        (near("b", [("a", 1), ("b", 1)]), true),
        (near("b", [("b", 9), ("a", 1)]), false),
    ] {
        let farm = Farm::default();
        let of = endpoints(&[("a", 2), ("b", 2)]);
        of.iter().for_each(|of| farm.get(of.key()).answers(Answer::Fails));
        let source = Memory::new(of).unwrap();
        let (set, _) = set(&farm, &source, mode);
        let attempts = Attempts::up_to(4).with_backoff(ms(1), ms(1));
        let stack = FailoverLayer::new(attempts).with_budget(Budget::unlimited()).layer(set);
        let mut far = 0;
        for number in 0..100 {
            let error = stack.clone().oneshot(Ask::new(number)).await.unwrap_err();
            let tried: Vec<_> =
                error.history().iter().map(|of| of.endpoint().unwrap().to_owned()).collect();
            let zones: String = tried.iter().filter_map(|key| key.chars().next()).collect();
            let mut keys = tried.clone();
            keys.sort_unstable();
            assert_eq!(keys, ["a0:1", "a1:1", "b0:1", "b1:1"], "each once");
            assert!(zones == "bbaa" || !first_is_near && zones == "abba", "{zones}");
            far += usize::from(zones == "abba");
        }
        assert!(first_is_near == (far == 0), "{far}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_a_zone_is_busy_calls_go_to_those_that_share_its_load() {
    let farm = Farm::default();
    let source = Memory::new(endpoints(&[("x", 2), ("y", 2), ("z", 1)])).unwrap();
    let (set, handle) = set(&farm, &source, weighted([("x", 9), ("y", 1)]));
    assert_about(load(&set, ["x", "y"]).await, [90, 10]);
    let members = handle.members();
    let of_x = members.iter().filter(|member| member.key().starts_with('x'));
    let busy: Vec<_> = of_x.map(|member| member.veto(Reason::Busy)).collect();
    busy.iter().for_each(Veto::raise);
    assert_about(load(&set, ["y", "z"]).await, [100, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_turn_of_a_zone_goes_on_while_others_come_and_go() {
    let farm = Farm::default();
    let source = Memory::new(endpoints(&[("x", 2), ("y", 2)])).unwrap();
    let mode = weighted([("x", 2), ("y", 3), ("z", 1)]);
    let layer = BalanceLayer::with_config(source.clone(), RoundRobin::new(), config(mode));
    let set = layer.with_seed(7).layer(farm.clone());
    for number in 0..200 {
        calls(&set, 1).await;
        source.replace(endpoints(&[("x", 2), ("y", 2), ("z", number % 2)])).unwrap();
        settle().await;
    }
    for zone in ["x", "y"] {
        let [one, two] = [0, 1].map(|number| farm.get(&format!("{zone}{number}:1")).calls());
        assert!(one.abs_diff(two) <= 1 && one > 20, "{zone}: {one} {two}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever changes: if all zones have a weight, each endpoint gets calls that is healthy and has one.
    #[test]
    fn no_healthy_endpoint_is_without_calls_if_all_zones_have_a_weight(
        steps in prop::collection::vec(
            prop::collection::vec((0_usize..8, any::<bool>(), 0_u32..3), 1..8),
            1..4,
        ),
        weights in prop::collection::vec(1_u32..4, 4),
    ) {
        const ZONES: [&str; 4] = ["a", "b", "c", "d"];
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let farm = Farm::default();
            let source = Memory::new([endpoint("a", 99)]).unwrap();
            let weights = LocalityWeights::from_iter(ZONES.into_iter().zip(weights));
            let (set, handle) = set(&farm, &source, LocalityMode::Weighted(weights));
            for step in steps {
                let of: BTreeMap<_, _> = step.into_iter().map(|(host, is_well, weight)| (host, (is_well, weight))).collect();
                let of = of.into_iter().map(|(host, (is_well, weight))| {
                    let status = if is_well { Status::Passing } else { Status::Critical };
                    endpoint(ZONES[host % 4], host).with_weight(weight).with_status(status)
                });
                source.replace(of).unwrap();
                set.clone().oneshot(Ask::new(1)).await.unwrap();
                settle().await;
                let calls = calls(&set, 1_000).await;
                let is_meant = |of: &&Arc<tower_upstream::member::Member>| of.is_eligible() && of.weight() > 0;
                for member in handle.members().iter().filter(is_meant) {
                    assert!(calls.contains_key(member.key()), "{}: {calls:?}", member.key());
                }
            }
        });
    }
}
