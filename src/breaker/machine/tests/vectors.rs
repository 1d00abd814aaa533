//! The cases of resilience4j and gobreaker.

use serde_json::Value;

use super::*;

// resilience4j.

fn state(name: &str) -> CircuitState {
    match name {
        "CLOSED" => CircuitState::Closed,
        "OPEN" => CircuitState::Open,
        "HALF_OPEN" => CircuitState::HalfOpen,
        "FORCED_OPEN" => CircuitState::ForcedOpen,
        "DISABLED" => CircuitState::Disabled,
        "METRICS_ONLY" => CircuitState::MetricsOnly,
        other => panic!("no state `{other}`"),
    }
}

/// Its suite's config: half of the last 20 s failed or slow, of five calls; four places, of which
/// fewer than half may fail.
fn resilience4j() -> CircuitBreakerConfig {
    CircuitBreakerConfig::default()
        .with_failures(0)
        .with_failure_ratio(0.5)
        .with_slow_ratio(0.5)
        .with_slow_after(Duration::from_secs(4))
        .with_window(Window::Time(Duration::from_secs(20)))
        .with_min_calls(5)
        .with_open_for(Duration::from_secs(5))
        .with_open_growth(1.0)
        .with_open_jitter(0.0)
        .with_probes(4)
        .with_successes(3)
        .with_probe_failures(1)
        .with_half_open_for(Duration::from_secs(1))
}

impl Circuit {
    fn outcome(&self, arg: &Value) -> Option<Ended> {
        let (name, seconds) = match arg {
            Value::Array(pair) => (pair[0].as_str().unwrap(), pair[1].as_f64().unwrap()),
            name => (name.as_str().unwrap(), 0.0),
        };
        let slow = seconds >= self.machine.config().slow_after.as_secs_f64();
        match name {
            "S" => Some(Ended { slow, ..GOOD }),
            "F" => Some(Ended { slow, ..BAD }),
            "I" | "X" => None,
            other => panic!("no outcome `{other}`"),
        }
    }

    /// By hand, also into states that only time and calls lead to here.
    fn transition(&mut self, to: CircuitState) {
        match to {
            CircuitState::Open => self.apply(Machine::trip),
            CircuitState::HalfOpen => {
                self.now = self.machine.until();
                assert_eq!(self.state(), CircuitState::HalfOpen);
            }
            other => self.apply(|machine, now| machine.force(other, now)),
        }
    }

    fn step(&mut self, step: &Value) -> Option<bool> {
        match step["op"].as_str().unwrap() {
            "call" => {
                let ended = self.outcome(&step["arg"]);
                self.call(ended);
                None
            }
            "acquire" => {
                let result = self.acquire();
                Some(result)
            }
            "release" => {
                let place = self.places.pop().unwrap();
                self.ends(place, None);
                None
            }
            "advance_s" => {
                self.now += (step["arg"].as_f64().unwrap() * 1e9) as u64;
                None
            }
            "transition" => {
                self.transition(state(step["arg"].as_str().unwrap()));
                None
            }
            other => panic!("no step `{other}`"),
        }
    }
}

/// Where we differ on purpose, what is seen here instead. The reasons are in the docs of
/// [`CircuitBreakerConfig`]: a half-open circuit decides as soon as the result is certain, not with the last of its calls; what is not permitted is a total, not
/// reset by a transition; time alone makes a circuit half-open.
fn differs(case: &str, step: usize, field: &str) -> Option<Value> {
    let seen = match (case, step, field) {
        ("open for 5 s, then half open on the next permission", 5, "not_permitted") => {
            Value::from(2)
        }
        ("half open: F F S F goes back to open at 75 percent", 4, "state") => "OPEN".into(),
        ("half open: slow slow slow fast goes back to open at slow rate 75", _, "state") => {
            "OPEN".into()
        }
        ("half open: an ignored result returns its permit", 7, "state") => "CLOSED".into(),
        ("half open: an ignored result returns its permit", 9, "state") => "CLOSED".into(),
        ("half open: an ignored result returns its permit", 9, "buffered") => 0.into(),
        ("half open: an ignored result returns its permit", 11, "buffered") => 1.into(),
        ("half open: four ignored results change nothing, four successes close", 15, "state") => {
            "CLOSED".into()
        }
        (
            "half open: four ignored results change nothing, four successes close",
            17,
            "buffered",
        ) => 1.into(),
        _ => return None,
    };
    Some(seen)
}

#[test]
fn resilience4j_s_cases() {
    let vectors: Value = serde_json::from_str(include_str!(
        "../../../../tests/vectors/resilience4j_circuit_breaker.json"
    ))
    .unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 19);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let Some(steps) = case["steps"].as_array() else {
            resilience4j_rule(case);
            continue;
        };
        let config = match case["config_override"]["wait_open"].as_str() {
            None => resilience4j(),
            Some("exponential 5 s x1.5") => {
                resilience4j().with_open_growth(1.5).with_window(Window::Calls(5))
            }
            Some(other) => panic!("no config `{other}`"),
        };
        let mut circuit = Circuit::new(config);
        for (index, step) in steps.iter().enumerate() {
            let result = circuit.step(step);
            let expected = &step["expect"];
            // A circuit that is not asked is still open there, and here too: by the machine.
            let state_now = circuit.machine.state();
            let tally = circuit.tally();
            let rate = |part: u64| {
                let least = circuit.machine.config().min_calls();
                let of = tally.calls as f64;
                if tally.calls < least { -1.0 } else { (100.0 * part as f64 / of).round() }
            };
            let seen = |field: &str| -> Value {
                match field {
                    "state" => format!("{state_now:?}").into(),
                    "result" => result.into(),
                    "not_permitted" => circuit.refused.into(),
                    "buffered" => tally.calls.into(),
                    "failed" => tally.failures.into(),
                    "successful" => (tally.calls - tally.failures).into(),
                    "slow" => tally.slow.into(),
                    "failure_rate" => (rate(tally.failures) as i64).into(),
                    "slow_rate" => (rate(tally.slow) as i64).into(),
                    other => panic!("no field `{other}`"),
                }
            };
            for (field, value) in expected.as_object().into_iter().flatten() {
                let value = differs(name, index, field).unwrap_or_else(|| value.clone());
                let value = match field.as_str() {
                    "state" => format!("{:?}", state(value.as_str().unwrap())).into(),
                    _ => value,
                };
                assert_eq!(seen(field), value, "{name}, step {index}, {field}: {step}");
            }
        }
    }
}

/// The cases that are given in words.
fn resilience4j_rule(case: &Value) {
    let mut circuit = Circuit::new(resilience4j());
    match case["name"].as_str().unwrap() {
        // There is no way to ask for it.
        "closed to half open is an illegal transition" => {
            assert!(circuit.call(Some(BAD)));
            assert_eq!(circuit.state(), CircuitState::Closed);
        }
        "transition to the same state is allowed and emits no event" => {
            circuit.apply(|machine, now| machine.force(CircuitState::ForcedOpen, now));
            let generation = circuit.machine.generation();
            circuit.apply(|machine, now| machine.force(CircuitState::ForcedOpen, now));
            assert_eq!(circuit.machine.generation(), generation);
        }
        // Only while a call is out: a half-open circuit that is not called has found out nothing. To close it without a good call is no choice here.
        "half open longer than max_wait_half_open (1 s) moves to OPEN, or to CLOSED if so configured" =>
        {
            circuit.transition(CircuitState::Open);
            circuit.transition(CircuitState::HalfOpen);
            circuit.now += 100 * SECOND;
            assert_eq!(circuit.state(), CircuitState::HalfOpen);
            assert!(circuit.acquire());
            circuit.now += SECOND - 1;
            assert_eq!(circuit.state(), CircuitState::HalfOpen);
            circuit.now += 1;
            assert_eq!(circuit.state(), CircuitState::Open);
        }
        other => panic!("no test for `{other}`"),
    }
}

// gobreaker.

fn gobreaker(case: &Value) -> CircuitBreakerConfig {
    let config = &case["config"];
    let seconds = |name: &str| Duration::from_secs(config[name].as_u64().unwrap());
    let base = CircuitBreakerConfig::go()
        .with_failures_min_calls(0)
        .with_open_for(seconds("timeout_s"))
        .with_max_open_for(Duration::from_secs(90))
        .with_probes(config["max_requests"].as_u64().unwrap() as u32)
        .with_successes(config["max_requests"].as_u64().unwrap() as u32);
    match config["trip"].as_str().unwrap() {
        "consecutive_failures > 5" => base.with_failures(6),
        "valid requests >= 3 and failures/valid >= 0.6" => base
            .with_failures(0)
            .with_failure_ratio(0.6)
            .with_min_calls(3)
            .with_window(Window::Time(seconds("interval_s"))),
        other => panic!("no rule `{other}`"),
    }
}

#[test]
fn gobreaker_s_cases() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/gobreaker.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        match case["steps"].as_array() {
            Some(steps) => gobreaker_steps(case, steps),
            None => gobreaker_rule(name, case),
        }
    }
}

fn gobreaker_steps(case: &Value, steps: &[Value]) {
    let mut circuit = Circuit::new(gobreaker(case));
    // There the counters are all reset each 30 s, here the window slides: at the 31st second the
    // last success is still in it, and the next two failures of four calls are half, not two thirds.
    // From there on the circuit is opened by one failure more.
    let slides = steps.iter().position(|step| {
        step["arg"] == serde_json::json!(["S", "F"]) && step.get("expect_admitted").is_none()
    });
    for (index, step) in steps.iter().enumerate() {
        if step["op"] == "advance_s" {
            circuit.now += (step["arg"].as_f64().unwrap() * 1e9).round() as u64;
        } else {
            let admitted: Vec<_> = step["arg"]
                .as_array()
                .unwrap()
                .iter()
                .map(|arg| {
                    let ended = circuit.outcome(arg);
                    circuit.state();
                    Value::from(circuit.call(ended))
                })
                .collect();
            if let Some(expected) = step["expect_admitted"].as_array() {
                assert_eq!(&admitted, expected, "{step}");
            }
        }
        if Some(index) == slides {
            assert_eq!(circuit.state(), CircuitState::Closed);
            let held = circuit.tally();
            assert_eq!((held.calls, held.failures), (4, 2));
            circuit.call(Some(BAD));
        }
        let seen = circuit.state();
        let expected = &step["expect"];
        if let Some(name) = expected["state"].as_str() {
            assert_eq!(seen, state(name), "{}: {step}", case["name"]);
        }
        if let Some(in_a_row) = expected["consecutive_failures"].as_u64() {
            circuit.tally();
            assert_eq!(u64::from(circuit.machine.in_a_row()), in_a_row, "{step}");
        }
    }
}

fn gobreaker_rule(name: &str, case: &Value) {
    match name {
        "half open admits max_requests at once, the next is refused while the third is still running" =>
        {
            let mut circuit = Circuit::new(gobreaker(case));
            circuit.transition(CircuitState::Open);
            circuit.transition(CircuitState::HalfOpen);
            assert!(circuit.call(Some(GOOD)) && circuit.call(Some(GOOD)));
            let third = circuit.admit().unwrap();
            assert!(circuit.admit().is_none(), "a fourth");
            circuit.ends(third, Some(GOOD));
            assert_eq!(circuit.state(), CircuitState::Closed);
        }
        "rolling window of ten 3 s buckets: trips at 14 failures of 23 (0.6087)" => {
            let config = gobreaker(case);
            let tally = |calls, failures| Tally { calls, failures, slow: 0 };
            assert!(super::super::rules::trips(&config, 0, tally(23, 14)));
            assert!(!super::super::rules::trips(&config, 0, tally(22, 13)));
            let Window::Time(window) = config.window else { panic!("{config:?}") };
            assert_eq!(window / 10, Duration::from_secs(3));
        }
        "a result that started before the counters were reset is ignored (generation)" => {
            let mut circuit = Circuit::new(resilience4j());
            let old = circuit.admit().unwrap();
            circuit.apply(Machine::reset);
            circuit.ends(old, Some(BAD));
            circuit.ends(old, Some(GOOD));
            assert_eq!(circuit.tally().calls, 0);
        }
        // Shown with a service that panics, in tests/breaker.rs: the call ends as a failure.
        "a panic counts as one failure" => {
            let mut circuit = Circuit::new(resilience4j());
            circuit.call(Some(BAD));
            let held = circuit.tally();
            assert_eq!(held.calls, case["expect"]["requests"].as_u64().unwrap());
            assert_eq!(held.failures, case["expect"]["failures"].as_u64().unwrap());
        }
        other => panic!("no test for `{other}`"),
    }
}
