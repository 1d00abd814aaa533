//! Turns with weights, and the least loaded.

use std::time::Duration;

use serde_json::Value;
use tower_upstream::rules::{
    AliasTable, Choices, Edf, ReportRule, Reported, Rng, SlowStart, SmoothWrr, StaticStride,
    WarmUp, fewest, full_scan, least_request_weight, reported_weight,
};

use crate::*;

fn edf_picks(edf: &mut Edf, weights: &[f64], number: usize) -> Vec<usize> {
    (0..number).map(|_| edf.pick(|index| weights[index]).unwrap()).collect()
}

fn edf_sequence(weights: &Value, seed: &Value, expect: &Value) {
    let weights = floats(weights);
    let mut edf = Edf::with_picks(&weights, seed.as_u64().unwrap_or(0) as u32);
    let expect = indices(expect);
    assert_eq!(edf_picks(&mut edf, &weights, expect.len()), expect);
}

fn first_picks(weights: &Value, seeds: &Value) -> Vec<u64> {
    let weights = floats(weights);
    let first = |&seed: &u64| Edf::with_picks(&weights, seed as u32).peek().unwrap();
    counts(weights.len(), numbers(seeds).iter().map(first))
}

#[test]
fn envoy_edf_least_request() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/envoy_edf_least_request.json")) {
        run += 1;
        let expect = &case["expect"];
        match text(&case["kind"]) {
            "edf_sequence" => edf_sequence(&case["weights"], &case["seed"], expect),
            "edf_weight_change" => {
                let steps = list(&case["steps"]);
                let mut edf = Edf::new(&floats(&steps[0]["weights"]));
                for step in steps {
                    let expect = indices(&step["expect"]);
                    assert_eq!(
                        edf_picks(&mut edf, &floats(&step["weights"]), expect.len()),
                        expect
                    );
                }
            }
            "first_pick_counts_over_seeds" => {
                let counts = first_picks(&case["weights"], &case["seeds"]);
                assert_eq!(counts, numbers(&case["expect_counts"]));
            }
            "cycle_counts" => {
                assert_eq!(case["weights_rule"], "w[i]=i+1, i in 0..128");
                let weights: Vec<_> = (1..=128).map(f64::from).collect();
                let picks =
                    edf_picks(&mut Edf::new(&weights), &weights, number(&case["picks"]) as usize);
                assert_eq!(counts(128, picks), (1..=128).collect::<Vec<_>>());
            }
            "least_request_weighted" => least_request(&case),
            "weight_value" => {
                let (weight, active) = (float(&case["weight"]), number(&case["active"]));
                assert_eq!(
                    least_request_weight(weight, active, float(&case["bias"])),
                    float(expect)
                );
            }
            "p2c" => {
                let active = floats(&case["active"]);
                let picked = fewest(indices(&case["draws"]), |index| active[index]);
                assert_eq!(picked, Some(number(expect) as usize));
            }
            "full_scan" => {
                let picked = full_scan(floats(&case["active"]), &mut Rng::new(1));
                assert_eq!(picked, Some(number(expect) as usize));
            }
            "full_scan_tie" => {
                let (active, draws) = (floats(&case["active"]), number(&case["draws"]));
                let mut rng = Rng::new(1);
                let picks =
                    (0..draws).map(|_| full_scan(active.iter().copied(), &mut rng).unwrap());
                for (count, share) in
                    counts(active.len(), picks).iter().zip(floats(&case["expect_share"]))
                {
                    assert!(near(*count as f64 / draws as f64, share, float(&case["tolerance"])));
                }
            }
            "share" => {
                let (active, weights) = (numbers(&case["active"]), floats(&case["weights"]));
                let weigh = |index| {
                    least_request_weight(weights[index], active[index], float(&case["bias"]))
                };
                let all: Vec<_> = (0..weights.len()).map(weigh).collect();
                let picks = edf_picks(&mut Edf::new(&all), &all, number(&case["picks"]) as usize);
                let counts = counts(weights.len(), picks);
                for (count, expect) in counts.iter().zip(numbers(&case["expect_counts"])) {
                    assert!(count.abs_diff(expect) <= number(&case["tolerance"]));
                }
            }
            "probability" => {
                let (hosts, mut rng) = (number(&case["hosts"]) as usize, Rng::new(1));
                let (choices, rounds) = (number(&case["choices"]), 100_000);
                let pick = |_| {
                    let draws: Vec<_> = (0..choices).map(|_| rng.index(hosts).unwrap()).collect();
                    fewest(draws, |index| index as f64).unwrap()
                };
                let most_loaded = (0..rounds).map(pick).filter(|&index| index == hosts - 1).count();
                assert!(near(most_loaded as f64 / f64::from(rounds), float(expect), 0.01));
            }
            "rule" if expect == "bias=1.0" => {
                assert_eq!(least_request_weight(1.0, 3, -1.0), least_request_weight(1.0, 3, 1.0));
            }
            "rule" => {
                let (default, clamp) = (number(&expect["default"]), number(&expect["grpc_clamp"]));
                assert_eq!(u64::from(Choices::default().get()), default);
                assert_eq!(Choices::new(number(&expect["reject_below"]) as u32 - 1), None);
                assert_eq!(
                    Choices::new(u32::MAX).map(|choices| u64::from(choices.get())),
                    Some(clamp)
                );
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 23);
}

/// One scheduler goes on over all steps. A first pick of before a step has the weight of then.
fn least_request(case: &Value) {
    let (weights, bias) = (floats(&case["weights"]), float(&case["bias"]));
    let mut edf = Edf::new(&weights);
    for step in list(&case["steps"]) {
        let active = numbers(&step["active"]);
        let expect = indices(&step["expect"]);
        let weight = |index: usize| least_request_weight(weights[index], active[index], bias);
        let picks: Vec<_> = (0..expect.len()).map(|_| edf.pick(weight).unwrap()).collect();
        assert_eq!(picks, expect, "{case}");
    }
}

#[test]
fn envoy_slow_start() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/envoy_slow_start.json")) {
        run += 1;
        let name = text(&case["name"]);
        match text(&case["kind"]) {
            "factor" => {
                let rule = SlowStart {
                    window: Duration::from_secs_f64(float(&case["window_s"])),
                    aggression: float(&case["aggression"]),
                    min_weight_percent: float(&case["min_weight_percent"]),
                };
                let factor = rule.factor(Duration::from_secs_f64(float(&case["elapsed_s"])));
                assert!(near(factor, float(&case["expect_factor"]), 1e-6), "{name}: {factor}");
            }
            "pick_sequence" => {
                edf_sequence(&case["effective_weights"], &Value::Null, &case["expect"])
            }
            "pick_counts" => {
                let weights = floats(&case["effective_weights"]);
                let picks =
                    edf_picks(&mut Edf::new(&weights), &weights, number(&case["picks"]) as usize);
                assert_eq!(counts(weights.len(), picks), numbers(&case["expect_counts"]), "{name}");
            }
            "rule" => slow_start_rule(name),
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 31);
}

fn slow_start_rule(name: &str) {
    let rule = SlowStart { window: secs(10), ..SlowStart::default() };
    let mut host = WarmUp::default();
    match name {
        "enters on add without health check" => {
            host.added(secs(1), false);
            assert!(host.is_warming(&rule, secs(2)));
        }
        "with active HC starts at first passing check" => {
            host.added(secs(1), true);
            assert!(!host.is_warming(&rule, secs(2)));
            host.healthy(secs(3));
            assert_eq!(host.factor(&rule, secs(8)), 0.5);
        }
        "re-enters on every unhealthy to healthy transition" => {
            host.added(secs(1), true);
            for start in [3, 20, 40] {
                host.unhealthy();
                host.healthy(secs(start));
                host.healthy(secs(start + 1));
                assert_eq!(host.factor(&rule, secs(start + 6)), 0.6);
            }
        }
        "leaves early when marked unhealthy" => {
            host.added(secs(1), false);
            host.unhealthy();
            assert!(!host.is_warming(&rule, secs(2)));
        }
        name => panic!("unknown rule {name}"),
    }
}

#[test]
fn nginx_smooth_wrr() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/nginx_smooth_wrr.json")) {
        run += 1;
        let expect = &case["expect"];
        let weights: Vec<_> =
            case["weights"].as_array().into_iter().flatten().map(|of| number(of) as u32).collect();
        let mut turns = SmoothWrr::new(&weights);
        match text(&case["kind"]) {
            "trace" => {
                for (step, pick) in list(&case["trace"]).iter().zip(indices(expect)) {
                    let before = turns.current();
                    let added: Vec<_> = before
                        .iter()
                        .zip(&weights)
                        .map(|(of, &weight)| of + i64::from(weight))
                        .collect();
                    assert_eq!(step["before"], serde_json::json!(added));
                    assert_eq!((turns.pick(), number(&step["pick"])), (Some(pick), pick as u64));
                    assert_eq!(step["after"], serde_json::json!(turns.current()));
                }
            }
            "cycle" => {
                assert_eq!((0..number(&case["picks"])).filter_map(|_| turns.pick()).count(), 7);
                assert_eq!(case["expect_state"], serde_json::json!(turns.current()));
            }
            "sequence" => {
                let expect = indices(expect);
                let picks: Vec<_> = expect.iter().filter_map(|_| turns.pick()).collect();
                assert_eq!(picks, expect);
            }
            "counts" => {
                let picks = (0..number(&case["picks"])).filter_map(|_| turns.pick());
                assert_eq!(counts(weights.len(), picks), numbers(expect));
            }
            "passive_failure" => {
                assert_eq!(
                    passive_failure(3),
                    [&expect["server1"], &expect["server2"]].map(number)
                );
                // The same test with the default of nginx.
                assert_eq!(passive_failure(1), [2, 28]);
            }
            "sequence_lvs" => {
                assert_eq!(lvs(&weights, list(expect).len()), indices(expect));
            }
            "smoothness" => {
                let picks: Vec<_> = (0..14).filter_map(|_| turns.pick()).collect();
                assert_eq!(longest_run(&picks), number(&expect["smooth_max_run_over_two_cycles"]));
                let expanded: Vec<_> = weights
                    .iter()
                    .enumerate()
                    .flat_map(|(index, &n)| vec![index; n as usize])
                    .collect();
                assert_eq!(longest_run(&expanded), number(&expect["expanded_list_max_run"]));
                assert_eq!(longest_run(&lvs(&weights, 14)), 5);
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 14);
}

/// Thirty requests over two servers, of which the first breaks every third connection. What breaks is sent to
/// the next server. Returns what each answered.
fn passive_failure(max_fails: u32) -> [u64; 2] {
    let mut turns = SmoothWrr::new(&[1, 1]).with_max_fails(max_fails, secs(10));
    let (mut answered, mut connections) = ([0, 0], 0);
    for _ in 0..30 {
        let mut tried = [false; 2];
        while let Some(index) = turns.pick_free(secs(1), |index| !tried[index]) {
            tried[index] = true;
            connections += u64::from(index == 0);
            if index == 0 && connections % 3 == 0 {
                turns.failed(index, secs(1));
                continue;
            }
            turns.succeeded(index);
            answered[index] += 1;
            break;
        }
    }
    answered
}

/// The classic weighted round robin of LVS, which is not smooth: for comparison.
fn lvs(weights: &[u32], picks: usize) -> Vec<usize> {
    let step = (1..=weights[0]).rev().find(|step| weights.iter().all(|of| of % step == 0)).unwrap();
    let most = *weights.iter().max().unwrap();
    let (mut index, mut level, mut picked) = (weights.len() - 1, 0, Vec::new());
    while picked.len() < picks {
        index = (index + 1) % weights.len();
        if index == 0 {
            level = if level <= step { most } else { level - step };
        }
        if weights[index] >= level {
            picked.push(index);
        }
    }
    picked
}

fn longest_run(picks: &[usize]) -> u64 {
    picks.chunk_by(|one, next| one == next).map(|run| run.len() as u64).max().unwrap()
}

#[test]
fn grpc_static_stride_wrr() {
    let mut run = 0;
    for case in cases(include_str!("../vectors/grpc_static_stride_wrr.json")) {
        run += 1;
        let expect = &case["expect"];
        let weights: Vec<_> = case["weights"].as_array().into_iter().flatten().map(float).collect();
        let mut sequence = case["start_sequence"].as_i64().unwrap_or(0) as u32;
        let stride = StaticStride::new(&weights);
        match text(&case["kind"]) {
            "counts" => {
                let stride = stride.unwrap();
                let picks = (0..number(&case["picks"])).map(|_| stride.pick(&mut sequence));
                assert_eq!(counts(weights.len(), picks), numbers(&case["expect_counts"]), "{case}");
            }
            "share" => {
                let (stride, picks) = (stride.unwrap(), number(&case["picks"]));
                let all = counts(weights.len(), (0..picks).map(|_| stride.pick(&mut sequence)));
                let total: f64 = weights.iter().sum();
                for (count, weight) in all.iter().zip(&weights) {
                    let share = *count as f64 / picks as f64;
                    assert!(near(share, weight / total, float(&case["tolerance"])), "{case}");
                }
            }
            "sequence" => {
                let stride = stride.unwrap();
                for (pick, after) in
                    indices(expect).iter().zip(numbers(&case["expect_sequence_after_each"]))
                {
                    assert_eq!(stride.pick(&mut sequence), *pick, "{case}");
                    assert_eq!(u64::from(sequence), after, "{case}");
                }
            }
            "sequence_no_offset" => {
                let stride = stride.unwrap().without_offset();
                // From the round before the first, in which all are due.
                sequence = 5 * weights.len() as u32;
                let picks: Vec<_> =
                    list(expect).iter().map(|_| stride.pick(&mut sequence)).collect();
                assert_eq!(picks, indices(expect));
            }
            "error" => assert_eq!(stride, None),
            "uses_round_robin" => assert_eq!(stride.unwrap().is_round_robin(), *expect),
            "orca_weight" => {
                let of = |key: &str| float(&case[key]);
                let penalty = of("error_utilization_penalty");
                let weight = reported_weight(of("qps"), of("utilization"), of("eps"), penalty);
                assert!(near(weight, float(expect), 1e-9), "{case}: {weight}");
            }
            "timeline" => reports_over_time(),
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert_eq!(run, 28);
}

/// Blackout 10 s, expiration 180 s, as the events of the case tell.
fn reports_over_time() {
    let rule = ReportRule::default();
    let mut servers = [Reported::default(); 3];
    let stride = |servers: &mut [Reported; 3], at| {
        let weights = servers.each_mut().map(|server| server.weight(rule, secs(at)));
        (weights, StaticStride::new(&weights).unwrap().is_round_robin())
    };
    servers[0].report(10.0, secs(0));
    servers[1..].iter_mut().for_each(|server| server.report(10.0, secs(1)));
    assert_eq!(stride(&mut servers, 9), ([0.0; 3], true));
    assert_eq!(stride(&mut servers, 10), ([10.0, 0.0, 0.0], true));
    servers.iter_mut().for_each(|server| server.report(10.0, secs(11)));
    assert_eq!(stride(&mut servers, 11), ([10.0; 3], false));
    assert_eq!(stride(&mut servers, 190), ([10.0; 3], false));
    assert_eq!(stride(&mut servers, 191), ([0.0; 3], true));
}

/// All four ways to give turns by weight give the same shares.
#[test]
fn choosers_agree_on_shares() {
    let weights = [1.0, 2.0, 3.0, 6.0];
    let table = AliasTable::new(&weights).unwrap();
    let stride = StaticStride::new(&weights).unwrap();
    let (mut edf, mut smooth) = (Edf::new(&weights), SmoothWrr::new(&[1, 2, 3, 6]));
    let (mut rng, mut sequence) = (Rng::new(3), 0);
    for _ in 0..3 {
        let picks = 12_000;
        let all = [
            counts(4, (0..picks).map(|_| table.pick(rng.next_u64()))),
            counts(4, (0..picks).map(|_| stride.pick(&mut sequence))),
            counts(4, (0..picks).map(|_| edf.pick(|index| weights[index]).unwrap())),
            counts(4, (0..picks).filter_map(|_| smooth.pick())),
        ];
        for (counts, tolerance) in all.iter().zip([300, 3, 1, 0]) {
            for (count, weight) in counts.iter().zip([1_000, 2_000, 3_000, 6_000]) {
                assert!(count.abs_diff(weight) <= tolerance, "{all:?}");
            }
        }
    }
}
