//! The machine: what it promises, against a naive model, and against the cases of others.

mod hand;
mod model;
mod steps;
mod vectors;

use std::time::Duration;

use super::{Machine, Now, counts::Pace, rules::Ended, window::Tally, word::Ticket};
use crate::breaker::{CircuitBreakerConfig, CircuitState, Window};

const SECOND: u64 = 1_000_000_000;
const GOOD: Ended = Ended { failed: false, slow: false, retry_after: None };
const BAD: Ended = Ended { failed: true, slow: false, retry_after: None };

/// A machine with a clock, which tells of good calls as a circuit does: as a sum, where it may.
struct Circuit {
    machine: Machine,
    now: u64,
    good: u64,
    overdue: u64,
    places: Vec<Ticket>,
    refused: u64,
}

impl Circuit {
    fn new(config: CircuitBreakerConfig) -> Self {
        config.validate().unwrap();
        let machine = Machine::new(config);
        Self { machine, now: 0, good: 0, overdue: 0, places: Vec::new(), refused: 0 }
    }

    /// Runs a rule, with what a circuit does before and after.
    fn apply<R>(&mut self, rule: impl FnOnce(&mut Machine, Now) -> R) -> R {
        let before = self.machine.generation();
        let now =
            Now { nanos: self.now, good: self.good, generation: before, overdue: self.overdue };
        let result = rule(&mut self.machine, now);
        if self.machine.generation() != before {
            (self.good, self.overdue) = (0, 0);
        }
        self.machine.begins_to_watch(now);
        result
    }

    fn admit(&mut self) -> Option<Ticket> {
        let would = self.apply(Machine::would_admit);
        let ticket = self.apply(Machine::admit);
        assert_eq!(ticket.is_some(), would);
        ticket
    }

    /// Whether there was a place.
    fn acquire(&mut self) -> bool {
        let place = self.admit();
        self.refused += u64::from(place.is_none());
        self.places.extend(place);
        place.is_some()
    }

    /// One call from start to end; whether it was let through.
    fn call(&mut self, ended: Option<Ended>) -> bool {
        let Some(ticket) = self.places.pop().or_else(|| self.admit()) else {
            self.refused += 1;
            return false;
        };
        self.ends(ticket, ended);
        true
    }

    fn calls(&mut self, ended: Ended, times: usize) {
        for _ in 0..times {
            assert!(self.call(Some(ended)));
        }
    }

    fn ends(&mut self, ticket: Ticket, ended: Option<Ended>) {
        let is_current = ticket.is_of(self.machine.generation());
        if ended == Some(GOOD) && !ticket.is_probe() && !ticket.is_judged() && is_current {
            self.good += 1;
            if self.apply(|machine, now| machine.pace(now)) == Pace::Each {
                self.look();
            }
        } else {
            self.apply(|machine, now| machine.settle(ticket, ended, now));
        }
    }

    /// The head of a call is there, which goes on.
    fn goes_on(&mut self, mut ticket: Ticket, slow: bool) -> Ticket {
        let good = Ended { slow, ..GOOD };
        self.apply(|machine, now| machine.settle(ticket, Some(good), now));
        ticket.judge();
        ticket
    }

    fn look(&mut self) {
        self.apply(|machine, now| machine.look(1, now));
    }

    fn tally(&mut self) -> Tally {
        self.apply(Machine::tally)
    }

    fn state(&mut self) -> CircuitState {
        self.apply(Machine::tick);
        self.machine.state()
    }
}

#[test]
fn the_wait_grows_up_to_its_cap_and_closing_starts_anew() {
    let config = CircuitBreakerConfig::consecutive(1)
        .with_open_for(Duration::from_secs(10))
        .with_open_growth(2.0)
        .with_max_open_for(Duration::from_secs(30))
        .with_open_jitter(0.0)
        .with_successes(1)
        .with_probe_failures(0);
    let mut circuit = Circuit::new(config);
    let opens_for = |circuit: &mut Circuit, ended| {
        assert!(circuit.call(Some(ended)));
        let wait = circuit.machine.until() - circuit.now;
        circuit.now += wait;
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        wait / SECOND
    };
    let waits: Vec<_> = (0..4).map(|_| opens_for(&mut circuit, BAD)).collect();
    assert_eq!(waits, [10, 20, 30, 30]);
    assert!(circuit.call(Some(GOOD)));
    assert_eq!(opens_for(&mut circuit, BAD), 10);
    // A failure that says when to come back lengthens it, up to the cap, and shortens nothing.
    for (asked, expected) in [(25, 25), (86_400, 30), (1, 30)] {
        let asked = Some(Duration::from_secs(asked));
        assert_eq!(opens_for(&mut circuit, Ended { retry_after: asked, ..BAD }), expected);
    }
}

#[test]
fn jitter_goes_both_ways() {
    let config = CircuitBreakerConfig::consecutive(1).with_open_jitter(0.2);
    for (random, millis) in [(0.0, 4_000), (0.5, 5_000), (0.75, 5_500)] {
        let now = Now { nanos: 0, good: 0, generation: 0, overdue: 0 };
        let mut machine = Machine::new(config.clone());
        machine.random = random;
        let ticket = machine.admit(now).unwrap();
        machine.settle(ticket, Some(BAD), now);
        assert_eq!(machine.until() / 1_000_000, millis);
    }
}

#[test]
fn jitter_is_there_at_the_cap_too_and_leaves_a_millisecond() {
    let config = |open_for, jitter| {
        CircuitBreakerConfig::consecutive(1)
            .with_open_for(Duration::from_millis(open_for))
            .with_open_growth(100.0)
            .with_max_open_for(Duration::from_secs(10))
            .with_open_jitter(jitter)
    };
    for (config, millis) in [(config(9_000, 0.2), 8_000), (config(1, 1.0), 1)] {
        let mut machine = Machine::new(config);
        machine.random = 0.0;
        let now = Now { nanos: 0, good: 0, generation: 0, overdue: 0 };
        machine.trip(now);
        machine.trip(now);
        assert_eq!(machine.until() / 1_000_000, millis);
    }
}

#[test]
fn good_calls_are_looked_at_one_by_one_only_while_one_of_them_may_open_it() {
    let config =
        CircuitBreakerConfig::default().with_failures(3).with_failure_ratio(1.0).with_min_calls(4);
    let mut circuit = Circuit::new(config.clone().with_window(Window::Calls(10)));
    let pace = |circuit: &mut Circuit| circuit.apply(|machine, now| machine.pace(now));
    assert_eq!(pace(&mut circuit), Pace::Never);
    circuit.call(Some(BAD));
    assert_eq!(pace(&mut circuit), Pace::Each);
    circuit.call(Some(GOOD));
    circuit.call(Some(BAD));
    assert_eq!(pace(&mut circuit), Pace::Each);
    circuit.call(Some(GOOD));
    assert_eq!(pace(&mut circuit), Pace::Never, "there are enough");
    circuit.apply(|machine, now| machine.force(CircuitState::MetricsOnly, now));
    circuit.call(Some(BAD));
    assert_eq!(pace(&mut circuit), Pace::Each);
    circuit.apply(Machine::reset);
    circuit.calls(BAD, 3);
    assert_eq!((circuit.state(), pace(&mut circuit)), (CircuitState::Open, Pace::Never));
    // A window of time asks when they were, but not of each.
    let mut circuit = Circuit::new(config.with_window(Window::Time(Duration::from_secs(10))));
    circuit.now = 7 * SECOND;
    assert_eq!(pace(&mut circuit), Pace::Bucket(7));
}

#[test]
fn good_calls_of_before_are_in_no_window_of_after() {
    let mut circuit = Circuit::new(CircuitBreakerConfig::default());
    circuit.calls(GOOD, 5);
    let held = circuit.apply(|machine, now| {
        machine.force(CircuitState::MetricsOnly, now);
        machine.tally(now).calls
    });
    assert_eq!(held, 0);
    // Nor of what only counts totals.
    circuit.apply(|machine, now| machine.force(CircuitState::Disabled, now));
    circuit.call(Some(BAD));
    circuit.calls(GOOD, 5);
    circuit.look();
    assert_eq!(circuit.tally(), Tally::default());
}

#[test]
fn another_generation_of_the_same_state_keeps_what_was_counted() {
    let mut circuit = Circuit::new(CircuitBreakerConfig::default());
    circuit.calls(GOOD, 5);
    circuit.apply(Machine::renew);
    circuit.calls(GOOD, 2);
    assert_eq!((circuit.tally().calls, circuit.state()), (7, CircuitState::Closed));
}

#[test]
fn good_calls_that_nobody_looked_at_were_evenly_before_but_for_ones_own() {
    let held_later = |end: fn(&mut Circuit)| {
        let mut circuit = Circuit::new(CircuitBreakerConfig::default());
        (circuit.now, circuit.good) = (9 * SECOND, 2);
        end(&mut circuit);
        circuit.now = 15 * SECOND;
        circuit.tally().calls
    };
    assert_eq!(held_later(|circuit| circuit.calls(BAD, 1)), 2);
    assert_eq!(held_later(Circuit::look), 2);
    assert_eq!(held_later(|circuit| _ = circuit.tally()), 1);
}

#[test]
fn time_alone_opens_nothing() {
    let mut circuit = Circuit::new(CircuitBreakerConfig::default().with_min_calls(1));
    circuit.calls(GOOD, 4);
    circuit.look();
    circuit.now = 5 * SECOND;
    circuit.calls(BAD, 3);
    circuit.now = 10 * SECOND;
    circuit.look();
    circuit.call(None);
    let tally = circuit.tally();
    assert_eq!((circuit.state(), tally.calls, tally.failures), (CircuitState::Closed, 3, 3));
    circuit.calls(BAD, 1);
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[test]
fn calls_that_hang_are_looked_at_when_there_are_more_of_them() {
    let config = CircuitBreakerConfig::default().with_slow_ratio(0.5).with_min_calls(4);
    let mut circuit = Circuit::new(config);
    circuit.calls(GOOD, 6);
    circuit.overdue = 5;
    let tally = Tally { calls: 11, failures: 0, slow: 5 };
    assert_eq!((circuit.state(), circuit.tally()), (CircuitState::Closed, tally));
    // The good ones leave the window: time alone, which opens nothing.
    circuit.now = 15 * SECOND;
    let tally = Tally { calls: 5, failures: 0, slow: 5 };
    assert_eq!((circuit.state(), circuit.tally()), (CircuitState::Closed, tally));
    circuit.overdue = 6;
    assert_eq!(circuit.state(), CircuitState::Open);
    // What opened it can be looked at.
    assert_eq!(circuit.tally(), Tally { calls: 6, failures: 0, slow: 6 });
    circuit.now = circuit.machine.until();
    assert_eq!((circuit.state(), circuit.tally()), (CircuitState::HalfOpen, Tally::default()));
}

#[test]
fn a_good_call_that_makes_the_window_count_is_looked_at_where_others_hang() {
    let config = CircuitBreakerConfig::default().with_slow_ratio(0.5).with_min_calls(4);
    let mut circuit = Circuit::new(config.with_window(Window::Calls(10)));
    circuit.overdue = 3;
    assert_eq!(circuit.state(), CircuitState::Closed);
    assert_eq!(circuit.apply(|machine, now| machine.pace(now)), Pace::Each);
    circuit.call(Some(GOOD));
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[test]
fn calls_that_hang_would_have_opened_one_that_only_measures() {
    let config = CircuitBreakerConfig::default().with_slow_ratio(0.5).with_min_calls(4);
    let mut circuit = Circuit::new(config.with_metrics_only(true));
    for (overdue, times) in [(3, 0), (4, 1), (5, 1)] {
        circuit.overdue = overdue;
        assert_eq!(circuit.state(), CircuitState::MetricsOnly);
        assert_eq!(circuit.machine.would_have_opened, times);
    }
}
