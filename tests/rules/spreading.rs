//! Load over priorities, localities and zones.

use serde_json::Value;
use tower_upstream::rules::{
    Edf, Locality, LocalityWrr, Priorities, Priority, ZonePlan, ZoneRouting, locality_weight, zones,
};

use crate::*;

#[test]
fn envoy_priority_doc_tables() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/envoy_priority_doc_tables.json")) {
        run += 1;
        let (name, expect) = (text(&case["name"]), &case["expect"]);
        let rule = Priorities {
            overprovisioning_percent: number(&case["overprovisioning_percent"]) as u32,
            panic_percent: case["panic_threshold_percent"].as_u64().unwrap_or(0) as u32,
        };
        let of = |&healthy: &u64| Priority::of(100, healthy as u32);
        let priorities: Vec<_> = numbers(&case["healthy_percent"]).iter().map(of).collect();
        let split = rule.split(&priorities);
        assert_eq!(u64::from(split.total), number(&expect["normalized_total"]), "{name}");
        // The document rounds where the code truncates: one row says so in a note.
        let tolerance = u64::from(!case["note"].is_null());
        for (load, expect) in split.healthy.iter().zip(numbers(&expect["load_percent"])) {
            assert!(u64::from(*load).abs_diff(expect) <= tolerance, "{name}: {split:?}");
        }
        if let Some(panic) = expect["panic"].as_array() {
            assert_eq!(serde_json::json!(split.panic), serde_json::json!(panic), "{name}");
        }
        if let Some(health) = expect["per_priority_health"].as_array() {
            assert_eq!(serde_json::json!(split.health), serde_json::json!(health), "{name}");
        }
    }
    assert_eq!(run, 21);
}

/// Three rows of the documents contradict the code: the code is right.
#[test]
fn envoy_rows_that_the_documents_have_wrong() {
    let text = include_str!("../vectors/envoy_priority_doc_tables.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let errors = list(&vectors["known_document_errors"]);
    for case in errors {
        let of = |&healthy: &u64| Priority::of(100, healthy as u32);
        let priorities: Vec<_> = numbers(&case["healthy_percent"]).iter().map(of).collect();
        let rule = Priorities { panic_percent: 0, ..Priorities::default() };
        let split = rule.split(&priorities);
        assert_eq!(case["algorithm_gives"], serde_json::json!(split.healthy));
    }
    assert_eq!(errors.len(), 3);
}

#[test]
fn envoy_locality_wrr() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/envoy_locality_wrr.json")) {
        run += 1;
        let name = text(&case["name"]);
        let overprovisioning = case["overprovisioning_percent"].as_u64().unwrap_or(140) as u32;
        match text(&case["kind"]) {
            "share" => {
                let of = |of: &Value| Locality {
                    weight: number(&of["weight"]) as u32,
                    hosts: 100,
                    available: number(&of["healthy_percent"]) as u32,
                    excluded: 0,
                };
                let localities: Vec<_> = list(&case["localities"]).iter().map(of).collect();
                let weights: Vec<_> =
                    localities.iter().map(|of| locality_weight(of, overprovisioning)).collect();
                let total: f64 = weights.iter().sum();
                for (weight, expect) in weights.iter().zip(floats(&case["expect_percent"])) {
                    let share = 100.0 * weight / total;
                    assert!(
                        near(share, expect, float(&case["tolerance_percent"])),
                        "{name}: {share}"
                    );
                }
            }
            "picks_of_100" => {
                let of = |of: &Value| Locality {
                    weight: number(&of["weight"]) as u32,
                    hosts: number(&of["hosts"]) as u32,
                    available: number(&of["healthy"]) as u32,
                    excluded: 0,
                };
                let localities: Vec<_> = list(&case["localities"]).iter().map(of).collect();
                let mut turns = LocalityWrr::new(&localities, overprovisioning, 0);
                let picks = (0..100).filter_map(|_| turns.pick());
                assert_eq!(counts(localities.len(), picks), numbers(&case["expect"]), "{name}");
            }
            "pick_sequence" => {
                let mut turns = LocalityWrr::new(&healthy(&case["weights"]), overprovisioning, 0);
                for expect in list(&case["expect"]) {
                    assert_eq!(serde_json::json!(turns.pick()), *expect, "{name}");
                }
            }
            "first_pick_counts_over_seeds" => {
                let localities = healthy(&case["weights"]);
                let first = |&seed: &u64| {
                    LocalityWrr::new(&localities, overprovisioning, seed as u32).pick()
                };
                let picks: Vec<_> = numbers(&case["seeds"]).iter().filter_map(first).collect();
                assert_eq!(
                    counts(localities.len(), picks),
                    numbers(&case["expect_counts"]),
                    "{name}"
                );
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 19);
    // Excluded hosts do not lower the availability.
    let excluded = Locality { weight: 1, hosts: 10, available: 5, excluded: 5 };
    assert_eq!(locality_weight(&excluded, 100), 1.0);
    assert!(Edf::new(&[]).is_empty());
}

fn healthy(weights: &Value) -> Vec<Locality> {
    let of =
        |&weight: &u64| Locality { weight: weight as u32, hosts: 1, available: 1, excluded: 0 };
    numbers(weights).iter().map(of).collect()
}

/// Hosts by zone, in the order of names, or with the local zone first.
fn hosts(value: &Value) -> Vec<(String, u64)> {
    let hosts = value.as_object().into_iter().flatten();
    zones(hosts.map(|(zone, hosts)| (Some(zone.clone()), number(hosts)))).unwrap()
}

#[test]
fn envoy_zone_aware() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/envoy_zone_aware.json")) {
        run += 1;
        let name = text(&case["name"]);
        let (local, upstream) = (hosts(&case["local_hosts"]), hosts(&case["upstream_hosts"]));
        let own = case["local_zone"].as_str().unwrap_or("A").to_owned();
        let rule = ZoneRouting {
            min_cluster_size: case["min_cluster_size"].as_u64().unwrap_or(1) as usize,
            force_local_zone: case["force_local_zone_min_size"].as_u64(),
        };
        let number_of_hosts = upstream.iter().map(|(_, hosts)| *hosts as usize).sum();
        let plan = rule.plan(&own, &local, &upstream, number_of_hosts);
        let expect = &case["expect"];
        match (&plan, text(&expect["mode"])) {
            (ZonePlan::Disabled, "disabled") => {}
            (ZonePlan::Direct(zone), "direct") => assert_eq!(upstream[*zone].0, own, "{name}"),
            (ZonePlan::Residual { local_share, residual, .. }, "residual") => {
                if let Some(share) = expect["local_route_of_10000"].as_u64() {
                    assert_eq!(*local_share, share, "{name}");
                    let named: Vec<_> =
                        residual.iter().map(|&(zone, sum)| (&upstream[zone].0, sum)).collect();
                    assert_eq!(
                        expect["residual_cumulative_of_10000"],
                        serde_json::json!(named),
                        "{name}"
                    );
                }
            }
            (plan, mode) => panic!("{name}: {plan:?} is not {mode}"),
        }
        for pick in expect["picks"].as_array().into_iter().flatten() {
            let draw = pick["residual"].as_u64().unwrap_or(0);
            let zone = plan.pick(number(&pick["sample"]), draw).unwrap();
            assert_eq!(pick["zone"], upstream[zone].0, "{name}: {pick}");
        }
    }
    assert_eq!(run, 13);
    assert_eq!(ZoneRouting::default().min_cluster_size, 6);
}
