//! Ejection by success rates.

use serde_json::Value;
use tower_upstream::rules::{
    FailurePercentage, OutlierDetector, OutlierRule, Rng, SuccessRate, Swept, mean_and_stdev,
    next_sweep,
};

use crate::*;

/// The rule of a case: what it does not name is off.
fn rule(config: &Value) -> OutlierRule {
    let percent = |of: &Value| number(&of["enforcement"]) as u32;
    let success = &config["success_rate"];
    let success_rate = (!success.is_null()).then(|| SuccessRate {
        minimum_hosts: number(&success["minimum_hosts"]) as usize,
        request_volume: number(&success["request_volume"]),
        stdev_factor: float(&success["stdev_factor"]) / 1_000.0,
        enforcement_percent: percent(success),
        ..SuccessRate::default()
    });
    let failure = &config["failure_percentage"];
    let failure_percentage = (!failure.is_null()).then(|| FailurePercentage {
        minimum_hosts: number(&failure["minimum_hosts"]) as usize,
        request_volume: number(&failure["request_volume"]),
        threshold: float(&failure["threshold"]),
        at_threshold: false,
        enforcement_percent: percent(failure),
    });
    let max_ejection_percent = number(&config["max_ejection_percent"]) as u32;
    OutlierRule { success_rate, failure_percentage, max_ejection_percent, ..OutlierRule::grpc() }
}

fn called(hosts: &[Value]) -> OutlierDetector<usize> {
    let mut detector = OutlierDetector::new(0..hosts.len());
    for (index, host) in hosts.iter().enumerate() {
        (0..number(&host["success"])).for_each(|_| detector.record(&index, true));
        (0..number(&host["failure"])).for_each(|_| detector.record(&index, false));
    }
    detector
}

#[test]
fn outlier_grpc_a50() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/outlier_grpc_a50.json")) {
        run += 1;
        let name = text(&case["name"]);
        match case["kind"].as_str().unwrap_or("sweep") {
            "sweep" => {
                let mut detector = called(list(&case["hosts"]));
                detector.sweep(&rule(&case["config"]), secs(10), &mut Rng::new(run));
                let ejected: Vec<_> = detector.ejected().copied().collect();
                match case["expect_ejected_count"].as_u64() {
                    Some(count) => assert_eq!(ejected.len() as u64, count, "{name}"),
                    None => assert_eq!(ejected, indices(&case["expect_ejected"]), "{name}"),
                }
            }
            "math" => {
                let (mean, stdev) = mean_and_stdev(&floats(&case["values"])).unwrap();
                let expect = &case["expect"];
                assert_eq!((mean, stdev), (float(&expect["mean"]), float(&expect["stdev"])));
            }
            "timeline" => {
                let by =
                    FailurePercentage { minimum_hosts: 1, request_volume: 1, ..Default::default() };
                let mut rule = OutlierRule { failure_percentage: Some(by), ..OutlierRule::grpc() };
                rule.ejection.base = secs(number(&case["base_ejection_time_s"]));
                rule.ejection.max = secs(number(&case["max_ejection_time_s"]));
                let (mut detector, mut rng) = (OutlierDetector::new(["bad", "good"]), Rng::new(1));
                detector.record(&"bad", false);
                assert_eq!(detector.sweep(&rule, secs(10), &mut rng), [Swept::Ejected("bad")]);
                let late = secs(10) + rule.ejection.max + secs(1);
                assert_eq!(detector.sweep(&rule, late, &mut rng), [Swept::Unejected("bad")]);
            }
            "timer" => {
                let wait = next_sweep(secs(5), secs(9)).as_secs_f64();
                assert!(near(wait, float(&case["expect_next_s"]), float(&case["tolerance_s"])));
            }
            "rule" if case["expect"] == "un-eject all" => {
                let by =
                    FailurePercentage { minimum_hosts: 1, request_volume: 1, ..Default::default() };
                let on = OutlierRule {
                    failure_percentage: Some(by),
                    max_ejection_percent: 100,
                    ..OutlierRule::grpc()
                };
                let (mut detector, mut rng) = (OutlierDetector::new([1, 2, 3]), Rng::new(1));
                (1..3).for_each(|key| detector.record(&key, false));
                detector.sweep(&on, secs(10), &mut rng);
                assert_eq!(detector.ejected().count(), 2);
                let off = OutlierRule::grpc();
                assert!(off.is_off());
                assert_eq!(
                    detector.sweep(&off, secs(11), &mut rng),
                    [Swept::Unejected(1), Swept::Unejected(2)]
                );
            }
            "rule" => {
                assert_eq!(name, "health of endpoint with several addresses");
                let by =
                    FailurePercentage { minimum_hosts: 1, request_volume: 1, ..Default::default() };
                let rule = OutlierRule { failure_percentage: Some(by), ..OutlierRule::grpc() };
                let (two, three) = (vec!["a:1", "a:2"], vec!["a:1", "a:2", "a:3"]);
                let mut detector = OutlierDetector::new([two.clone(), vec!["b:1"]]);
                detector.record(&two, false);
                detector.sweep(&rule, secs(10), &mut Rng::new(1));
                detector.update([two.clone(), vec!["c:1"]]);
                assert!(detector.is_ejected(&two));
                detector.update([three.clone()]);
                assert!(!detector.is_ejected(&three));
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 26);
}
