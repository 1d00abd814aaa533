//! The windows against naive models, and against the cases of others.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const MILLI: u64 = 1_000_000;

fn window(size: config::Window) -> Window {
    Window::new(size, 0)
}

proptest! {
    /// A ring is a queue of the last so many.
    #[test]
    fn a_ring_holds_the_last_calls(
        size in 1_usize..150,
        calls in prop::collection::vec(
            (0_u64..200, any::<bool>(), any::<bool>(), any::<bool>()), 0..60,
        ),
        resized in 1_usize..150,
    ) {
        let mut ring = Ring::new(size);
        let mut model = VecDeque::new();
        let check = |ring: &Ring, model: &VecDeque<(bool, bool)>| {
            let failures = model.iter().filter(|call| call.0).count() as u64;
            let slow = model.iter().filter(|call| call.1).count() as u64;
            assert_eq!(ring.tally, Tally { calls: model.len() as u64, failures, slow });
        };
        for (good, failed, slow, late) in calls {
            let good = if late { good % 3 } else { good };
            ring.push_good(good);
            ring.push(failed, slow);
            model.extend(std::iter::repeat_n((false, false), good as usize));
            model.push_back((failed, slow));
            model.drain(..model.len().saturating_sub(size));
            check(&ring, &model);
            // A slow one fails after all.
            let newest = model.iter_mut().rev().find(|call| **call == (false, true));
            if late {
                prop_assert_eq!(ring.fail_slow(), newest.is_some());
                newest.into_iter().for_each(|call| call.0 = true);
            }
            check(&ring, &model);
        }
        ring.resize(resized);
        model.drain(..model.len().saturating_sub(resized));
        check(&ring, &model);
        ring.push(true, false);
        model.push_back((true, false));
        model.drain(..model.len().saturating_sub(resized));
        check(&ring, &model);
    }

    /// Buckets hold what is younger than nine tenths, nothing older than the whole, and of what
    /// lies between all of one bucket or none.
    #[test]
    fn buckets_slide(
        steps in prop::collection::vec((0_u64..400, any::<bool>(), any::<bool>()), 1..80),
    ) {
        let mut buckets = Buckets::new(Duration::from_nanos(1_000), 0);
        let (mut now, mut all) = (0, Vec::new());
        for (passed, failed, slow) in steps {
            now += passed;
            buckets.add(1, failed, slow, now);
            all.push((now, failed, slow));
            let inside = all.iter().filter(|call| call.0 / 100 + 10 > now / 100);
            let expected = inside.fold(Tally::default(), |sum, call| Tally {
                calls: sum.calls + 1,
                failures: sum.failures + u64::from(call.1),
                slow: sum.slow + u64::from(call.2),
            });
            prop_assert_eq!(buckets.tally(now), expected);
        }
    }

    /// Whatever is spread, nothing is invented, and nothing lost that is still inside.
    #[test]
    fn what_is_spread_adds_up(
        calls in 0_u64..10_000, from in 0_u64..3_000, passed in 0_u64..5_000,
    ) {
        let mut buckets = Buckets::new(Duration::from_nanos(1_000), from);
        buckets.spread_good(calls, from + passed);
        let held = buckets.tally(from + passed).calls;
        prop_assert!(held <= calls);
        if passed <= 900 {
            prop_assert_eq!(held, calls);
        } else {
            // A whole window of an even stream, to a bucket.
            let even = calls * 900 / passed;
            prop_assert!(held + 1 >= even.min(calls), "{held} of {calls}, at least {even}");
        }
    }
}

#[test]
fn who_comes_late_with_an_older_time_erases_nothing() {
    let mut buckets = Buckets::new(Duration::from_nanos(1_000), 0);
    buckets.add(1, true, false, 2_050);
    buckets.add(1, true, false, 1_049);
    assert_eq!(buckets.tally(2_050).failures, 2);
    buckets.spread_good(3, 1_049);
    assert_eq!((buckets.tally(2_050).calls, buckets.tally(2_050).failures), (5, 2));
    // Nor does it bring anything back.
    buckets.add(1, true, false, 3_550);
    assert_eq!((buckets.tally(2_050).failures, buckets.tally(3_550).failures), (1, 1));
    buckets.resize(Duration::from_nanos(500), 1_049);
    assert_eq!(buckets.tally(3_550).failures, 1);
}

#[test]
fn what_is_spread_over_months_is_spread_over_ten_buckets() {
    let mut buckets = Buckets::new(Duration::from_millis(10), 0);
    let months = 60 * 86_400_000 * MILLI;
    buckets.spread_good(600 * 86_400_000, months);
    assert_eq!(buckets.tally(months).calls, 90);
}

/// So a call costs as much whether ten thousand are in it or none: there is nothing else to look
/// at.
#[test]
fn a_window_of_time_is_ten_sums_whatever_it_holds() {
    let mut it = Buckets::new(Duration::from_nanos(1_000), 0);
    for call in 0..10_000 {
        it.add(1, call % 2 == 0, false, call / 10);
    }
    let Buckets { length: 100, seen: 999, buckets } = &it else {
        panic!("{it:?}");
    };
    assert!(buckets.iter().all(|bucket| bucket.tally.calls == 1_000));
    assert_eq!(size_of_val(&**buckets), 10 * (size_of::<Tally>() + 2 * size_of::<u64>()));
    assert_eq!(it.tally(999), Tally { calls: 10_000, failures: 5_000, slow: 0 });
}

#[test]
fn a_longer_window_keeps_what_it_has() {
    let time = |nanos| config::Window::Time(Duration::from_nanos(nanos));
    for (resized, held) in [(5_000, 3), (1_000, 3), (200, 1)] {
        let mut buckets = window(time(1_000));
        for now in [150, 450, 950] {
            buckets.add(true, true, now);
        }
        buckets.resize(time(resized), 1_000);
        let tally = buckets.tally(1_000);
        assert_eq!((tally.failures, tally.slow), (held, held));
        buckets.resize(config::Window::Calls(3), 1_000);
        assert_eq!(buckets.tally(1_000), Tally::default());
    }
}

#[test]
fn in_a_shorter_window_calls_are_as_old_as_the_end_of_their_bucket() {
    let resized = |calls: &[u64], time, now| {
        let mut buckets = Buckets::new(Duration::from_nanos(1_000), 0);
        calls.iter().for_each(|&call| buckets.add(1, true, false, call));
        buckets.resize(Duration::from_nanos(time), now);
        buckets
    };
    let held = |mut buckets: Buckets, now| buckets.tally(now).failures;
    assert_eq!(held(resized(&[910], 100, 1_000), 1_000), 1);
    assert_eq!(held(resized(&[910], 100, 1_000), 1_099), 1);
    assert_eq!(held(resized(&[910], 100, 1_000), 1_100), 0);
    // No younger than the present.
    assert_eq!(held(resized(&[910], 100, 910), 1_009), 1);
    assert_eq!(held(resized(&[910], 100, 910), 1_010), 0);
    // What is too old takes the place of nothing younger.
    assert_eq!(held(resized(&[950, 1_050], 50, 1_050), 1_050), 1);
    // The same length changes nothing.
    assert_eq!(held(resized(&[150], 1_000, 200), 1_099), 1);
    assert_eq!(held(resized(&[150], 1_000, 200), 1_100), 0);
}

/// The cases of resilience4j and linkerd2-proxy.
#[test]
fn the_vectors() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/sliding_windows.json"))
            .unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let run = cases.iter().map(|case| match case["kind"].as_str().unwrap() {
        "count" => count(case),
        "time" => time(case),
        "linkerd_ring" => linkerd(case),
        "rule" => rule(case),
        other => panic!("no test for the kind `{other}`"),
    });
    assert_eq!(run.count(), 17);
}

fn outcome(text: &str) -> (bool, bool) {
    match text {
        "S" => (false, false),
        "E" => (true, false),
        "SS" => (false, true),
        "SE" => (true, true),
        other => panic!("no outcome `{other}`"),
    }
}

fn compare(tally: Tally, expected: &Value) {
    for (name, value) in [("total", tally.calls), ("failed", tally.failures), ("slow", tally.slow)]
    {
        if let Some(number) = expected[name].as_u64() {
            assert_eq!(value, number, "{name} of {expected}");
        }
    }
    let rates = [("failure_rate", tally.failures), ("slow_rate", tally.slow)];
    for (name, part) in rates {
        if let Some(rate) = expected[name].as_f64() {
            assert!((100.0 * part as f64 / tally.calls as f64 - rate).abs() < 1e-3, "{expected}");
        }
    }
}

fn count(case: &Value) {
    let mut ring = window(config::Window::Calls(case["size"].as_u64().unwrap() as u32));
    let Some(steps) = case["steps"].as_array() else {
        // Given in words: one slow success, one slow failure, three successes.
        for text in ["SS", "SE", "S", "S", "S"] {
            let (failed, slow) = outcome(text);
            ring.add(failed, slow, 0);
        }
        let expected = &case["expect"];
        compare(ring.tally(0), expected);
        let tally = ring.tally(0);
        assert_eq!(tally.calls - tally.failures, expected["successful"].as_u64().unwrap());
        return;
    };
    for step in steps {
        let (failed, slow) = outcome(step["outcome"].as_str().unwrap());
        ring.add(failed, slow, 0);
        compare(ring.tally(0), step);
    }
}

fn time(case: &Value) {
    let size = Duration::from_secs(case["size_s"].as_u64().unwrap());
    let mut buckets = window(config::Window::Time(size));
    let mut now = 0;
    for step in case["steps"].as_array().unwrap() {
        now += (step["advance_s"].as_f64().unwrap() * 1e9) as u64;
        if let Some(text) = step["outcome"].as_str() {
            let (failed, slow) = outcome(text);
            buckets.add(failed, slow, now);
        }
        compare(buckets.tally(now), step);
    }
}

/// There a share of successes below the threshold trips, here a share of failures that reaches
/// it: the smallest step beyond what is left to one.
fn linkerd(case: &Value) {
    let size = Duration::from_secs(case["window_s"].as_u64().unwrap());
    let mut ring = window(config::Window::Time(size));
    let mut now = 0;
    for step in case["steps"].as_array().unwrap() {
        match step["op"].as_str().unwrap() {
            "record" => {
                now = (step["t_s"].as_f64().unwrap() * 1e9) as u64;
                ring.add(!step["ok"].as_bool().unwrap(), false, now);
            }
            "ratio" => {
                let tally = ring.tally(now);
                let good = (tally.calls - tally.failures) as f64 / tally.calls as f64;
                match step["expect"].as_f64() {
                    Some(expected) => assert!((good - expected).abs() < 1e-9, "{step}"),
                    None => assert_eq!(tally.calls, 0),
                }
            }
            "should_trip" => {
                let threshold = step["threshold"].as_f64().unwrap();
                let config = config::CircuitBreakerConfig {
                    failures: 0,
                    failure_ratio: Some((1.0 - threshold + 1e-9).min(1.0)),
                    min_calls: u32::try_from(step["min_requests"].as_u64().unwrap())
                        .unwrap_or(u32::MAX),
                    ..Default::default()
                };
                let trips = super::super::rules::trips(&config, 0, ring.tally(now));
                assert_eq!(trips, step["expect"].as_bool().unwrap(), "{}: {step}", case["name"]);
            }
            other => panic!("no step `{other}`"),
        }
    }
}

fn rule(case: &Value) {
    if let Some(cases) = case["cases"].as_array() {
        for case in cases {
            let given = |unit: &str, scale: u64| Some(case[unit].as_u64()? * scale * MILLI);
            let asked = given("window_s", 1_000).or(given("window_ms", 1)).unwrap();
            let realized = given("realized_s", 1_000).or(given("realized_ms", 1)).unwrap();
            let config = config::CircuitBreakerConfig::default()
                .with_window(config::Window::Time(Duration::from_nanos(asked)))
                .clamped();
            assert_eq!(config.window, config::Window::Time(Duration::from_nanos(realized)));
        }
        return;
    }
    // Sixty days between two calls, with buckets of a millisecond: given in words.
    let mut buckets = window(config::Window::Time(Duration::from_millis(10)));
    let days = 60 * 86_400_000 * MILLI;
    buckets.add(false, false, 0);
    buckets.add(false, false, days);
    buckets.add(false, false, days + MILLI);
    let totals = &case["expect"]["totals"];
    assert_eq!(buckets.tally(days + MILLI).calls, totals[0].as_u64().unwrap());
    buckets.add(false, false, days + 2 * MILLI);
    assert_eq!(buckets.tally(days + 2 * MILLI).calls, totals[1].as_u64().unwrap());
}
