use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::balance::select::{SelectRule, Selector};

const OK: u64 = 0;
const SICK: u64 = 1;
const DRAINING: u64 = Reason::Draining.bits();

#[derive(Debug, Clone)]
struct Host {
    word: u64,
    priority: u32,
    weight: u32,
    zone: &'static str,
    hints: Vec<&'static str>,
}

fn host(zone: &'static str, word: u64) -> Host {
    Host { word, priority: 0, weight: 1, zone, hints: Vec::new() }
}

fn hosts(of: &[(&'static str, usize)]) -> Vec<Host> {
    of.iter().flat_map(|&(zone, number)| vec![host(zone, OK); number]).collect()
}

fn selected(mode: &LocalityMode, hosts: &[Host]) -> Selection {
    let candidacy = |host: &Host| Candidacy {
        word: host.word,
        tier: host.priority * 2,
        weight: host.weight,
        was_good: false,
    };
    let endpoint = |host: &Host| {
        let zone = Endpoint::new("a:1").unwrap().with_zone_hints(host.hints.iter().copied());
        let (region, sub_zone) = (String::new(), String::new());
        let locality = crate::endpoint::Locality { region, zone: host.zone.into(), sub_zone };
        Arc::new(zone.with_locality(locality))
    };
    let candidacies: Vec<_> = hosts.iter().map(candidacy).collect();
    let rule = SelectRule::default();
    let mut selection = Selector::default().select(&rule, &candidacies, Duration::ZERO);
    let config = BalanceConfig::default().with_locality(mode.clone());
    spread(&config, &candidacies, hosts.iter().map(endpoint), &mut selection);
    selection
}

/// The load in percent, and the zone of the candidates.
fn loads(mode: &LocalityMode, hosts: &[Host]) -> Vec<(&'static str, u32)> {
    let selection = selected(mode, hosts);
    let load = |share: &Share| {
        let zone = hosts[share.candidates[0] as usize].zone;
        (zone, (share.load * 100.0).round() as u32)
    };
    selection.shares.iter().map(load).collect()
}

fn weighted<const N: usize>(of: [(&str, u32); N]) -> LocalityMode {
    LocalityMode::Weighted(LocalityWeights::from_iter(of))
}

fn aware<const N: usize>(own: &str, callers: [(&str, u64); N]) -> LocalityMode {
    LocalityMode::ZoneAware(ZoneAware::from(own).with_callers(callers).with_min_cluster_size(1))
}

#[test]
fn the_table_of_envoy_for_weights_and_health() {
    for (healthy, x, y) in [(100, 33, 67), (70, 33, 67), (69, 33, 67), (50, 26, 74), (25, 15, 85)] {
        let mut of = hosts(&[("x", healthy), ("y", 100)]);
        of.extend(vec![host("x", SICK); 100 - healthy]);
        // So that the priority can carry all of the load, as it can in the table.
        assert_eq!(loads(&weighted([("x", 1), ("y", 2)]), &of), [("x", x), ("y", y)], "{healthy}");
    }
    let mut of = hosts(&[("y", 100)]);
    of.extend(vec![host("x", SICK); 30]);
    assert_eq!(loads(&weighted([("x", 1), ("y", 2)]), &of), [("y", 100)]);
}

#[test]
fn a_zone_counts_by_its_weight_and_not_by_its_endpoints() {
    let of = hosts(&[("x", 9), ("y", 1)]);
    assert_eq!(loads(&weighted([("x", 1), ("y", 1)]), &of), [("x", 50), ("y", 50)]);
    assert_eq!(loads(&LocalityMode::Off, &of), [("x", 100)], "of both");
}

#[test]
fn a_zone_without_weight_stands_by() {
    let mut of = hosts(&[("x", 1), ("y", 1), ("", 1)]);
    let one = weighted([("y", 1)]);
    let selection = selected(&one, &of);
    assert_eq!(selection.shares[0].candidates, [1]);
    assert_eq!(selection.reserve, [(0, 0), (0, 2)]);
    let others = LocalityMode::Weighted(LocalityWeights::from_iter([("y", 1)]).with_others(3));
    assert_eq!(loads(&others, &of), [("", 43), ("x", 43), ("y", 14)]);
    let unknown = weighted([("", 1)]);
    assert_eq!(loads(&unknown, &of), [("", 100)]);
    of[1].word = SICK;
    assert_eq!(selected(&one, &of).shares[0].candidates, [0, 2], "there is no other");
}

#[test]
fn endpoints_of_weight_0_and_those_that_drain_are_missing_nowhere() {
    let mut of = hosts(&[("x", 4), ("y", 2)]);
    (of[0].weight, of[1].word) = (0, DRAINING);
    let both = weighted([("x", 1), ("y", 1)]);
    assert_eq!(loads(&both, &of), [("x", 50), ("y", 50)]);
    of[1].word = SICK;
    // 1.4 of two thirds.
    assert_eq!(loads(&both, &of), [("x", 48), ("y", 52)]);
    // No zone is left to those that are meant to get nothing.
    (of[2].weight, of[3].weight) = (0, 0);
    assert_eq!(loads(&both, &of), [("y", 100)]);
    of.iter_mut().for_each(|host| host.weight = 0);
    assert_eq!(loads(&both, &of), [("x", 50), ("y", 50)]);
}

#[test]
fn where_health_is_ignored_zones_are() {
    let mut of = vec![host("x", SICK); 4];
    of.push(host("y", OK));
    let panic = selected(&weighted([("x", 1), ("y", 1)]), &of);
    assert_eq!((panic.shares.len(), panic.shares[0].candidates.len()), (1, 5));
}

#[test]
fn each_priority_is_spread_by_itself() {
    let mut of = hosts(&[("x", 2), ("y", 2), ("x", 1), ("y", 1)]);
    (of[0].word, of[2].word) = (SICK, SICK);
    (of[4].priority, of[5].priority) = (1, 1);
    let both = weighted([("x", 1), ("y", 1)]);
    assert_eq!(loads(&both, &of), [("x", 35), ("y", 35), ("x", 15), ("y", 15)]);
    let selection = selected(&both, &of);
    // What the other priority has of a zone makes no difference.
    let mut healthy_enough = of.clone();
    healthy_enough[0].word = OK;
    assert_eq!(loads(&both, &healthy_enough), [("x", 59), ("y", 41)]);
    let mut ids: Vec<_> = selection.shares.iter().map(|share| (share.tier, share.zone)).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert_eq!((ids[0].1, ids[1].1), (ids[2].1, ids[3].1), "a zone is told by its name");
}

#[test]
fn as_much_stays_in_the_own_zone_as_its_endpoints_can_take() {
    // Of Envoy's tests: a small zone, residuals, and a zone with enough.
    let of = hosts(&[("a", 1), ("b", 2), ("c", 2)]);
    let even = [("a", 1), ("b", 1), ("c", 1)];
    assert_eq!(loads(&aware("a", even), &of), [("a", 60), ("b", 20), ("c", 20)]);
    assert_eq!(loads(&aware("b", even), &of), [("b", 100)]);
    let of = hosts(&[("a", 1), ("c", 3), ("d", 3), ("e", 1)]);
    let uneven = [("a", 2), ("b", 2), ("c", 1), ("d", 1)];
    // 37.5 % stay; of the rest c and d get 2,084 of 5,418 each, and e 1,250.
    assert_eq!(loads(&aware("a", uneven), &of), [("a", 38), ("c", 24), ("d", 24), ("e", 14)]);
    let shares = selected(&aware("a", uneven), &of).shares;
    assert_eq!(shares.iter().map(|of| of.is_near).collect::<Vec<_>>(), [true, false, false, false]);
    let crowded = aware("c", [("a", 1), ("c", 9)]);
    assert_eq!(loads(&crowded, &of)[0], ("c", 42), "comes first, with 3,750 of 9,000");
}

#[test]
fn the_own_zone_comes_first_also_in_the_reserve() {
    let mut of = hosts(&[("a", 2), ("b", 2), ("c", 1), ("b", 1)]);
    (of[4].priority, of[5].priority) = (1, 1);
    let selection = selected(&aware("b", [("a", 1), ("b", 1)]), &of);
    assert_eq!(
        selection.shares.iter().map(|of| of.candidates.clone()).collect::<Vec<_>>(),
        [[2, 3]]
    );
    assert_eq!(selection.reserve, [(1, 0), (1, 1), (4, 5), (5, 4)]);
}

#[test]
fn a_zone_that_is_gone_or_ill_sends_its_load_elsewhere() {
    let even = aware("a", [("a", 1), ("b", 1)]);
    let of = hosts(&[("b", 2), ("c", 2)]);
    assert_eq!(loads(&even, &of), [("c", 100)], "b has its callers' load already");
    let mut of = hosts(&[("a", 4), ("b", 4)]);
    assert_eq!(loads(&even, &of), [("a", 100)]);
    of[0].word = SICK;
    of[1].word = SICK;
    // A third of what can be used for half of the callers.
    assert_eq!(loads(&even, &of), [("a", 67), ("b", 33)]);
    of[2].word = SICK;
    of[3].word = SICK;
    of.push(host("c", OK));
    assert_eq!(loads(&even, &of).iter().map(|(_, load)| load).sum::<u32>(), 100);
    assert!(loads(&even, &of).iter().all(|&(zone, _)| zone != "a"));
}

#[test]
fn zones_are_ignored_in_small_sets_and_where_one_is_unknown() {
    let mut of = hosts(&[("a", 3), ("b", 2)]);
    let rule = ZoneAware::from("a").with_callers([("a", 1), ("b", 1)]);
    let whole = |rule: &ZoneAware, of: &[Host]| {
        let selection = selected(&LocalityMode::ZoneAware(rule.clone()), of);
        (
            selection.shares.len() == 1 && selection.shares[0].candidates.len() == of.len(),
            selection.zones_ignored,
        )
    };
    assert_eq!(whole(&rule, &of), (true, false), "of six, by default");
    let rule = rule.with_min_cluster_size(5);
    assert_eq!(whole(&rule, &of), (false, false));
    of[4].zone = "";
    assert_eq!(whole(&rule, &of), (true, true));
    assert_eq!(whole(&ZoneAware::from("a"), &of), (true, false), "not asked for");
}

#[test]
fn a_zone_that_is_large_enough_may_keep_all() {
    let of = hosts(&[("a", 2), ("b", 4)]);
    let rule = ZoneAware::from("a").with_callers([("a", 9), ("b", 1)]);
    let loads = |rule: ZoneAware| loads(&LocalityMode::ZoneAware(rule), &of);
    assert_eq!(loads(rule.clone()), [("a", 37), ("b", 63)]);
    assert_eq!(loads(rule.clone().with_force_local_zone(2)), [("a", 100)]);
    assert_eq!(loads(rule.with_force_local_zone(3)).len(), 2);
    assert_eq!(
        loads(ZoneAware::from("a").with_force_local_zone(1)),
        [("a", 100)],
        "no callers known"
    );
}

#[test]
fn endpoints_count_by_weight_for_the_own_zone() {
    let mut of = hosts(&[("a", 1), ("b", 1)]);
    let even = aware("a", [("a", 1), ("b", 1)]);
    assert_eq!(loads(&even, &of), [("a", 100)]);
    of[1].weight = 3;
    assert_eq!(loads(&even, &of), [("a", 50), ("b", 50)]);
}

#[test]
fn hints_count_only_when_they_are_complete_and_name_the_own_zone() {
    let mut of = hosts(&[("a", 2), ("b", 2)]);
    let hints: [&[_]; 4] = [&["a"], &["b"], &["a", "b"], &["b"]];
    of.iter_mut().zip(hints).for_each(|(host, hints)| host.hints = hints.to_vec());
    let chosen = |zone: &str, of: &[Host]| {
        let selection = selected(&LocalityMode::ZoneAware(zone.into()), of);
        assert_eq!(selection.shares.len(), 1);
        (selection.shares[0].candidates.clone(), selection.zones_ignored)
    };
    assert_eq!(chosen("a", &of), (vec![0, 2], false));
    assert_eq!(chosen("b", &of), (vec![1, 2, 3], false));
    assert_eq!(chosen("c", &of), (vec![0, 1, 2, 3], true), "none names it");
    of[3].hints.clear();
    assert_eq!(chosen("a", &of), (vec![0, 1, 2, 3], true), "one has none");
    of[3].word = SICK;
    assert_eq!(chosen("a", &of), (vec![0, 2], false), "that one cannot be used");
    of.iter_mut().for_each(|host| host.hints.clear());
    assert_eq!(chosen("a", &of), (vec![0, 1, 2], false), "there are no hints to ignore");
}

proptest! {
    #[test]
    fn zones_move_load_within_a_tier_and_leave_nobody_out_that_has_weight(
        of in prop::collection::vec(
            (0_u32..2, prop::sample::select(vec![OK, SICK, DRAINING]), 0_u32..4, 0_usize..4),
            1..16,
        ),
        weights in prop::collection::vec(1_u32..9, 3),
        callers in prop::collection::vec(0_u64..9, 3),
        others in 0_u32..2,
    ) {
        const ZONES: [&str; 4] = ["a", "b", "c", ""];
        let of: Vec<_> = of
            .into_iter()
            .map(|(priority, word, weight, zone)| Host { priority, weight, ..host(ZONES[zone], word) })
            .collect();
        let weights = LocalityWeights::from_iter(ZONES.into_iter().zip(weights)).with_others(others);
        let callers = ZoneAware::from("a").with_callers(ZONES.into_iter().zip(callers));
        let off = selected(&LocalityMode::Off, &of);
        for mode in [
            LocalityMode::Weighted(weights),
            LocalityMode::ZoneAware(callers.with_min_cluster_size(0)),
        ] {
            let on = selected(&mode, &of);
            let load = |of: &Selection, tier| -> f64 {
                of.shares.iter().filter(|of| of.tier == tier).map(|of| of.load).sum()
            };
            for tier in 0..4 {
                prop_assert!((load(&on, tier) - load(&off, tier)).abs() < 1e-9);
            }
            let chosen = |of: &Selection| -> Vec<u32> {
                of.shares.iter().flat_map(|of| of.candidates.iter().copied()).collect()
            };
            let (before, mut now) = (chosen(&off), chosen(&on));
            prop_assert!(now.iter().all(|index| before.contains(index)));
            prop_assert!(on.shares.iter().all(|share| !share.candidates.is_empty() && share.load > 0.0));
            if others == 1 && matches!(mode, LocalityMode::Weighted(_)) {
                now.sort_unstable();
                let mut before = before.clone();
                before.sort_unstable();
                prop_assert_eq!(&now, &before);
            }
            // Each that got calls before gets some, or stands by.
            for index in before.iter().filter(|&&index| of[index as usize].weight > 0) {
                prop_assert!(now.contains(index) || on.reserve.iter().any(|(_, other)| other == index));
            }
            prop_assert!(on.reserve.is_sorted());
        }
    }
}
