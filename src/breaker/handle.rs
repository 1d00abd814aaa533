use std::{fmt, sync::atomic::Ordering};

use super::{
    CircuitBreakerConfig, CircuitState,
    circuit::{Circuit, Shared},
    machine::{Machine, Now, counts::Counts},
};
use crate::{error::Error, time::Instant};

/// Looks at one circuit, and controls it. Cheap to clone, and never waits for more than a few
/// instructions of another thread: usable from `Drop` and from an admin page.
///
/// A state that was set manually stays until [`auto`](Self::auto) or [`reset`](Self::reset).
///
/// # Example
/// ```
/// use tower_upstream::breaker::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitState};
///
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
/// let handle = layer.handle();
/// handle.force_open();
/// assert_eq!(handle.state(), CircuitState::ForcedOpen);
/// handle.auto();
/// assert_eq!(handle.state(), CircuitState::Closed);
/// ```
#[derive(Clone)]
pub struct CircuitBreakerHandle {
    shared: Shared,
    /// Whether this is the circuit of a layer, whose settings are those of all its circuits.
    of_layer: bool,
}

/// Counters of a circuit.
///
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let stats = CircuitBreakerLayer::default().handle().stats();
/// assert_eq!((stats.requests, stats.refused, stats.window.calls), (0, 0, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreakerStats {
    /// Its state.
    pub state: CircuitState,
    /// Calls that were let through and have finished.
    pub requests: u64,
    /// Those that went well.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that say nothing: cancelled, or refused further down.
    pub ignored: u64,
    /// Those of the successes and failures that were slow. Counted only where a rule needs it, and only
    /// when they have ended; where a call goes on with its body, when the head has come.
    pub slow: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Failures in a row just now.
    pub failures_in_a_row: u32,
    /// What the rules look at just now. Empty where none does.
    pub window: WindowStats,
    /// How often it opened.
    pub opened: u64,
    /// How often it would have, while it only measured.
    pub would_have_opened: u64,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
    /// When the clock brings the next transition: an open circuit becomes half-open, or a half-open
    /// one that does not decide opens again.
    pub next_transition: Option<Instant>,
}

/// Counters of the window of a circuit.
///
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let window = CircuitBreakerLayer::default().handle().stats().window;
/// assert_eq!(window.failures as f64 / window.calls.max(1) as f64, 0.0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowStats {
    /// Calls in it, with those in flight that are slow already.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow, or are slow and still in flight.
    pub slow: u64,
}

impl CircuitBreakerHandle {
    pub(super) fn new(shared: Shared, of_layer: bool) -> Self {
        Self { shared, of_layer }
    }

    /// Returns the state. An open circuit whose time has come is half-open; one whose calls hang, where
    /// [`slow_ratio`](CircuitBreakerConfig::slow_ratio) is on, is open.
    pub fn state(&self) -> CircuitState {
        let word = self.shared.core().word();
        if word.is_passing() {
            return word.state();
        }
        self.look(|machine, _| machine.state())
    }

    /// Looks at the machine, once what time has brought has had its effect.
    fn look<R>(&self, look: impl FnOnce(&mut Machine, Now) -> R) -> R {
        if let Some(timer) = self.shared.core().policy().timer() {
            timer.ensure_running();
        }
        Circuit::apply(&self.shared, |machine, now| {
            machine.tick(now);
            look(machine, now)
        })
    }

    /// What the circuit has seen. The counts are not of one instant.
    pub fn stats(&self) -> CircuitBreakerStats {
        let circuit = self.shared.core();
        let sum = |count: fn(&Counts) -> u64| self.shared.sum(count);
        // Relaxed: totals.
        let failures = sum(|counts| counts.failures.load(Ordering::Relaxed));
        let ignored = sum(|counts| counts.ignored.load(Ordering::Relaxed));
        let successes = sum(Counts::all_good);
        let (state, tally, in_a_row, opened, would_have_opened) = self.look(|machine, now| {
            let tally = machine.tally(now);
            let (opened, would) = (machine.opened, machine.would_have_opened);
            (machine.state(), tally, machine.in_a_row(), opened, would)
        });
        CircuitBreakerStats {
            state,
            requests: successes + failures + ignored,
            successes,
            failures,
            ignored,
            slow: sum(|counts| counts.slow.load(Ordering::Relaxed)),
            refused: sum(|counts| counts.refused.load(Ordering::Relaxed)),
            failures_in_a_row: in_a_row,
            window: WindowStats { calls: tally.calls, failures: tally.failures, slow: tally.slow },
            opened,
            would_have_opened,
            last_failure: circuit.last_failure(),
            next_transition: circuit.due(),
        }
    }

    /// Gives new settings, in place: what was counted stays as far as it fits, and so does the
    /// state. From [`CircuitBreakerLayer::handle`](super::CircuitBreakerLayer::handle) they are for
    /// all circuits of the layer, those of endpoints and keys and those to come included; from
    /// [`handle_for`](super::CircuitBreakerLayer::handle_for) for this endpoint alone.
    ///
    /// A window of another kind starts empty. An open circuit stays open until the time it had.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes at once; then nothing changes.
    pub fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        if self.of_layer {
            return self.shared.core().policy().update(config, &self.shared);
        }
        config.validate()?;
        let version = self.shared.core().version();
        Circuit::update(&self.shared, &config.clone().clamped(), version);
        Ok(())
    }

    /// Refuses every call from now on.
    pub fn force_open(&self) {
        self.force(CircuitState::ForcedOpen);
    }

    /// Lets every call through from now on, and counts only totals.
    pub fn disable(&self) {
        self.force(CircuitState::Disabled);
    }

    /// Lets every call through from now on and counts as ever, so that
    /// [`would_have_opened`](CircuitBreakerStats::would_have_opened) tells what it would have done.
    ///
    /// Of this circuit alone. For those of all endpoints or keys:
    /// [`CircuitBreakerConfig::metrics_only`].
    pub fn metrics_only(&self) {
        self.force(CircuitState::MetricsOnly);
    }

    fn force(&self, state: CircuitState) {
        Circuit::apply(&self.shared, |machine, now| machine.force(state, now));
    }

    /// Ends a state that was set manually: closes the circuit and forgets its failures. Does nothing otherwise.
    pub fn auto(&self) {
        Circuit::apply(&self.shared, |machine, now| {
            if machine.is_by_hand() {
                machine.reset(now);
            }
        });
    }

    /// Closes the circuit, with nothing held against it. Totals stay.
    pub fn reset(&self) {
        Circuit::apply(&self.shared, Machine::reset);
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not by `state`, which would have transitions happen.
        let state = self.shared.core().word().state();
        f.debug_struct("CircuitBreakerHandle").field("state", &state).finish_non_exhaustive()
    }
}
