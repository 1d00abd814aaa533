//! What new settings and states that a handle sets do.

use super::*;

#[test]
fn what_begins_late_counts_from_then_on() {
    let ten_good_in_a_second = |circuit: &mut Circuit| {
        circuit.now += SECOND;
        circuit.good += 10;
        circuit.tally().calls
    };
    let mut circuit = Circuit::new(CircuitBreakerConfig::default());
    circuit.now = 100 * SECOND;
    circuit.apply(Machine::reset);
    assert_eq!(ten_good_in_a_second(&mut circuit), 10);
    // A window of another kind begins with nothing, not even with what it was not told of yet.
    let calls = CircuitBreakerConfig::default().with_window(Window::Calls(100));
    let mut circuit = Circuit::new(calls);
    (circuit.now, circuit.good) = (100 * SECOND, 5);
    circuit.apply(|machine, now| machine.update(CircuitBreakerConfig::default(), now));
    assert_eq!(circuit.tally(), Tally::default());
    assert_eq!(ten_good_in_a_second(&mut circuit), 10);
}

#[test]
fn measuring_begins_anew_each_time() {
    let mut circuit = Circuit::new(CircuitBreakerConfig::consecutive(1));
    for times in 1..4 {
        circuit.apply(|machine, now| machine.force(CircuitState::MetricsOnly, now));
        circuit.calls(BAD, 2);
        assert_eq!(circuit.machine.would_have_opened, times);
        circuit.apply(Machine::reset);
    }
}

#[test]
fn new_settings_keep_what_was_counted() {
    let config = CircuitBreakerConfig::default()
        .with_failures(0)
        .with_window(Window::Calls(10))
        .with_min_calls(8)
        .with_open_jitter(0.0);
    let mut circuit = Circuit::new(config.clone());
    for ended in [BAD, BAD, BAD, GOOD, GOOD, GOOD] {
        circuit.call(Some(ended));
    }
    circuit.apply(|machine, now| {
        machine.update(config.clone().with_window(Window::Calls(20)).with_min_calls(7), now)
    });
    let held = circuit.tally();
    assert_eq!((held.calls, held.failures), (6, 3));
    let mut smaller = Circuit::new(config.clone());
    smaller.calls(BAD, 2);
    smaller.calls(GOOD, 5);
    smaller.apply(|machine, now| {
        machine.update(config.clone().with_window(Window::Calls(6)), now);
    });
    assert_eq!((smaller.tally().calls, smaller.tally().failures), (6, 1));
    circuit.call(Some(BAD));
    assert_eq!(circuit.state(), CircuitState::Open);
    // Open until the time it had, whatever `open_for` is now; switched off, it lets all pass.
    let until = circuit.machine.until();
    circuit.apply(|machine, now| {
        machine.update(config.clone().with_open_for(Duration::from_secs(50)), now)
    });
    assert_eq!((circuit.machine.until(), circuit.state()), (until, CircuitState::Open));
    circuit.apply(|machine, now| machine.update(config.clone().with_enabled(false), now));
    assert_eq!(circuit.state(), CircuitState::Disabled);
    circuit.apply(|machine, now| machine.update(config.clone(), now));
    assert_eq!(circuit.state(), CircuitState::Closed);
    // What is forced stays.
    circuit.apply(|machine, now| machine.force(CircuitState::ForcedOpen, now));
    circuit.apply(|machine, now| machine.update(config.with_enabled(false), now));
    assert_eq!(circuit.state(), CircuitState::ForcedOpen);
}
