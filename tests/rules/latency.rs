//! Peak EWMA.

use std::time::Duration;

use serde_json::Value;
use tower_upstream::rules::{Latency, Load, PeakEwma, Rng, UNKNOWN_COST, fewest, penalty};

use crate::*;

fn after(seconds: &Value) -> Duration {
    Duration::from_secs_f64(float(seconds))
}

fn in_flight(in_flight: u32) -> Load {
    Load { in_flight, ..Load::default() }
}

#[test]
fn peak_ewma() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/peak_ewma.json")) {
        run += 1;
        let (name, expect) = (text(&case["name"]), &case["expect"]);
        match text(&case["kind"]) {
            "ewma" => {
                assert_eq!(case["sample"], 0);
                let rule = PeakEwma::classic().with_decay(after(&case["tau"]));
                let mut of = Latency::seeded(float(&case["previous"]), Duration::ZERO);
                assert_eq!(rule.decay(&mut of, after(&case["elapsed"])), float(expect), "{name}");
            }
            "peak_after_decay" => {
                let (rule, mut of) =
                    (PeakEwma::new().with_decay(after(&case["tau"])), Latency::default());
                let mut now = Duration::ZERO;
                for event in list(&case["events"]) {
                    now = after(&event["t"]);
                    rule.observe(&mut of, after(&event["sample"]), now);
                }
                assert_eq!(rule.latency(&of, now), Some(float(expect) * 1e9), "{name}");
            }
            "envoy_cost" => envoy_cost(&case),
            "tower_timeline" => tower_timeline(&case),
            "share_property" => in_flight_is_inverse_to_latency(&floats(&case["latency"])),
            "penalty" => {
                let cap = number(&expect["cap_s"]);
                let (rule, mut of) = (PeakEwma::new(), Latency::default());
                let fixed = millis(number(&expect["default_penalty_ms"]));
                rule.observe_failure(&mut of, millis(1), fixed, None, Duration::ZERO);
                assert_eq!(rule.latency(&of, Duration::ZERO), Some(5e9));
                rule.observe_failure(
                    &mut of,
                    millis(1),
                    fixed,
                    Some(secs(cap + 9)),
                    Duration::ZERO,
                );
                assert_eq!(rule.latency(&of, Duration::ZERO), Some(cap as f64 * 1e9));
                assert_eq!(rule, PeakEwma::new().with_decay(secs(number(&expect["decay_s"]))));
                assert_eq!(penalty(None), secs(number(&expect["default_rtt_s"])));
            }
            "p2c_share_at_least" => {
                let (good, bad) = (number(&case["good_ms"]), number(&case["bad_effective_ms"]));
                let share = share_of_good([good, bad], number(&case["rounds"]));
                assert!(share >= float(&case["expect_share_of_good_at_least"]), "{name}: {share}");
            }
            "inflight_share" => in_flight_is_by_weight(&case),
            "rule" => rule_of(name, expect),
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 22);
}

/// Envoy counts in milliseconds; a host without requests has a latency by default, which is a seed here.
fn envoy_cost(case: &Value) {
    let known = [&case["rtt_ms"], &case["default_rtt_ms"]].into_iter().find_map(Value::as_f64);
    let of = Latency::seeded(known.unwrap_or(0.0), Duration::ZERO);
    let active = number(&case["active"]) as u32;
    let cost = PeakEwma::classic().cost(&of, in_flight(active), Duration::ZERO);
    // Its own penalty is a setting there, and Finagle's here.
    let cost =
        if cost >= UNKNOWN_COST { cost - UNKNOWN_COST + float(&case["penalty"]) } else { cost };
    assert_eq!(cost, float(&case["expect"]), "{case}");
}

fn tower_timeline(case: &Value) {
    let rule = PeakEwma::classic().with_decay(millis(number(&case["tau_ms"])));
    let mut of = Latency::seeded(float(&case["default_rtt_ms"]) * 1e6, Duration::ZERO);
    let mut calls = 0;
    for step in list(&case["steps"]) {
        let now = millis(number(&step["t_ms"]));
        match step["event"].as_str() {
            Some("call A" | "call B") => calls += 1,
            Some(completes) => {
                assert!(completes.ends_with("completes (200 ms)"));
                calls -= 1;
                rule.observe(&mut of, millis(200), now);
            }
            None => {}
        }
        rule.decay(&mut of, now);
        let cost = rule.cost(&of, in_flight(calls), now) / 1e6;
        if let Some(expect) = step["expect_cost_ms"].as_f64() {
            assert_eq!(cost, expect, "{step}");
        }
        if let Some(between) = step["expect_between_ms"].as_array() {
            assert!(float(&between[0]) < cost && cost < float(&between[1]), "{step}: {cost}");
        }
        if let Some(least) = step["expect_cost_above_ms"].as_f64() {
            assert!(cost > least, "{step}: {cost}");
        }
        if let Some(most) = step["expect_cost_below_ms"].as_f64() {
            assert!(cost < most, "{step}: {cost}");
        }
    }
}

/// Requests that are always replaced, each to the cheaper of two: how many are in flight at each server,
/// on average, goes with the inverse of its latency.
fn in_flight_is_inverse_to_latency(latency: &[f64]) {
    const TOGETHER: usize = 140;
    let (rule, mut rng) = (PeakEwma::classic(), Rng::new(5));
    let mut known: Vec<_> =
        latency.iter().map(|of| Latency::seeded(of * 1e6, Duration::ZERO)).collect();
    let (mut active, mut ends) = (vec![0; latency.len()], Vec::new());
    let mut sums = vec![0_u64; latency.len()];
    for tick in 0..20_000_u64 {
        let now = Duration::from_micros(tick * 10);
        ends.retain(|&(end, index): &(Duration, usize)| {
            if end <= now {
                active[index] -= 1;
                rule.observe(&mut known[index], Duration::from_secs_f64(latency[index] / 1e3), now);
            }
            end > now
        });
        while ends.len() < TOGETHER {
            let draws = [0; 2].map(|_| rng.index(latency.len()).unwrap());
            let cost = |index: usize| rule.cost(&known[index], in_flight(active[index]), now);
            let index = fewest(draws, cost).unwrap();
            active[index] += 1;
            ends.push((now + Duration::from_secs_f64(latency[index] / 1e3), index));
        }
        active.iter().zip(&mut sums).for_each(|(&active, sum)| *sum += u64::from(active));
    }
    let total: f64 = latency.iter().map(|of| 1.0 / of).sum();
    for (sum, latency) in sums.iter().zip(latency) {
        let share = *sum as f64 / (20_000 * TOGETHER) as f64;
        assert!(near(share, 1.0 / latency / total, 0.03), "{sums:?}");
    }
}

/// Calls one after the other, each to the cheaper of the two servers.
fn share_of_good(latency: [u64; 2], rounds: u64) -> f64 {
    let (rule, mut now) = (PeakEwma::new(), Duration::ZERO);
    let mut known = [Latency::default(); 2];
    let mut good = 0;
    for _ in 0..rounds {
        let index = fewest([0, 1], |index| rule.cost(&known[index], Load::default(), now)).unwrap();
        let took = millis(latency[index]);
        now += took;
        rule.observe(&mut known[index], took, now);
        good += u64::from(index == 0);
    }
    good as f64 / rounds as f64
}

/// Nothing completes: what is in flight goes with the weights.
fn in_flight_is_by_weight(case: &Value) {
    let (weights, rounds) = (floats(&case["weights"]), number(&case["rounds"]));
    let (rule, of) = (PeakEwma::new(), Latency::seeded(1e6, Duration::ZERO));
    let mut active = vec![0; weights.len()];
    for _ in 0..rounds {
        let cost = |index: usize| {
            let load = Load { in_flight: active[index], weight: weights[index], ..Load::default() };
            rule.cost(&of, load, Duration::ZERO)
        };
        let index = fewest(0..weights.len(), cost).unwrap();
        active[index] += 1;
    }
    for (active, expect) in active.iter().zip(floats(&case["expect_share"])) {
        assert!(near(f64::from(*active) / rounds as f64, expect, float(&case["tolerance"])));
    }
}

fn rule_of(name: &str, expect: &Value) {
    let (rule, mut of, now) = (PeakEwma::classic(), Latency::default(), Duration::ZERO);
    if name.starts_with("Finagle: a node with no latency") {
        let penalty = float(&expect["penalty"]);
        assert_eq!(penalty, UNKNOWN_COST);
        assert_eq!(
            [0, 1, 7].map(|n| rule.cost(&of, in_flight(n), now)),
            [0.0, penalty + 1.0, penalty + 7.0]
        );
    } else if name.starts_with("Finagle: load = cost*(pending+1)") {
        let decay = secs(number(&expect["decay_default_s"]));
        rule.observe(&mut of, secs(1), now);
        assert_eq!(rule.cost(&of, in_flight(2), now), 3e9);
        assert_eq!(rule.decay(&mut of, decay), 1e9 * (-1.0_f64).exp());
        rule.observe(&mut of, secs(2), decay);
        assert_eq!(rule.latency(&of, decay), Some(2e9));
    } else {
        assert_eq!(name, "brpc: 64 failures in a row stay under the punish cap");
        let (rule, most) = (PeakEwma::new(), penalty(Some(f64::INFINITY)));
        for at in (0..64).map(millis) {
            let penalty = penalty(rule.latency(&of, at));
            rule.observe_failure(&mut of, millis(1), penalty, None, at);
        }
        assert_eq!((most, rule.latency(&of, millis(63))), (secs(5), Some(5e9)));
    }
}
