use std::{
    fmt,
    ops::Deref,
    sync::{Arc, atomic::Ordering},
};

use super::{
    CircuitBreakerConfig, CircuitState,
    circuit::{Circuit, Circuits, Shared},
    machine::{Machine, Now, counts::Counts},
    permit::Permit,
};
use crate::{
    error::Error,
    guard::{Configured, Newest},
    telemetry::Stats,
    time::Instant,
};

/// Handle for inspecting and controlling one circuit.
///
/// Returned by [`CircuitBreakerLayer::handle_for`](super::CircuitBreakerLayer::handle_for) and
/// [`KeyedCircuitBreakerLayer::handle_for`](super::KeyedCircuitBreakerLayer::handle_for); that of a layer
/// [derefs](CircuitBreakerHandle) to one. Cheap to clone.
///
/// A state that was set manually stays until [`auto`](Self::auto) or [`reset`](Self::reset). No method
/// waits for more than a few instructions of another thread, so all of them may be used in `Drop` and on
/// an admin page.
///
/// # Example
/// ```
/// use tower_upstream::breaker::{CircuitBreakerLayer, CircuitState};
///
/// let handle = CircuitBreakerLayer::default().handle();
/// handle.force_open();
/// assert_eq!(handle.state(), CircuitState::ForcedOpen);
/// handle.auto();
/// assert_eq!(handle.state(), CircuitState::Closed);
/// ```
#[derive(Clone)]
pub struct CircuitHandle {
    shared: Shared,
}

/// Counters of the window of a circuit.
///
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let window = CircuitBreakerLayer::default().handle().window();
/// assert_eq!(window.failures as f64 / window.calls.max(1) as f64, 0.0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowStats {
    /// Calls in the window, including calls in flight that are already slow.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that were slow, or are slow and still in flight.
    pub slow: u64,
}

impl CircuitHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// Returns the state of the circuit.
    ///
    /// An open circuit whose time is over is half-open. Where
    /// [`slow_ratio`](CircuitBreakerConfig::slow_ratio) is on, calls that hang open the circuit here, too.
    pub fn state(&self) -> CircuitState {
        let word = self.shared.core().word();
        if word.is_passing() {
            return word.state();
        }
        self.look(|machine, _| machine.state())
    }

    /// Returns when the circuit came into its state, or was last reset. Of a transition that time brings,
    /// this is when it was due.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let handle = CircuitBreakerLayer::default().handle();
    /// let made = handle.since();
    /// handle.force_open();
    /// assert!(handle.since() >= made);
    /// ```
    pub fn since(&self) -> Instant {
        let turned_at = self.look(|machine, _| machine.turned_at());
        self.shared.core().at(turned_at)
    }

    /// Looks at the machine, once what time has brought has had its effect.
    fn look<R>(&self, look: impl FnOnce(&mut Machine, Now) -> R) -> R {
        if let Some(timer) = &self.shared.core().circuits().timer {
            timer.ensure_running();
        }
        Circuit::apply(&self.shared, |machine, now| {
            machine.tick(now);
            look(machine, now)
        })
    }

    /// Returns what the circuit has counted since it was made, also while its state was set manually. The
    /// counts are not of one instant.
    ///
    /// `slow` counts only while a rule needs it, and only calls that have ended; of a call that goes on
    /// with its body, once its head has come. Calls that wait are not counted.
    pub fn stats(&self) -> Stats {
        stats(&self.shared)
    }

    /// Returns what the rules look at now. Empty if no rule needs a window.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().window().calls, 0);
    /// ```
    pub fn window(&self) -> WindowStats {
        let tally = self.look(|machine, now| machine.tally(now));
        WindowStats { calls: tally.calls, failures: tally.failures, slow: tally.slow }
    }

    /// Returns how many calls have failed in a row.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().failures_in_a_row(), 0);
    /// ```
    pub fn failures_in_a_row(&self) -> u32 {
        self.look(|machine, now| {
            machine.tally(now);
            machine.in_a_row()
        })
    }

    /// Returns how often a rule has opened the circuit.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().opened(), 0);
    /// ```
    pub fn opened(&self) -> u64 {
        self.look(|machine, _| machine.opened)
    }

    /// Returns how often a rule would have opened the circuit while it was
    /// [`MetricsOnly`](CircuitState::MetricsOnly).
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().would_have_opened(), 0);
    /// ```
    pub fn would_have_opened(&self) -> u64 {
        self.look(|machine, _| machine.would_have_opened)
    }

    /// Returns when a call last failed.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().last_failure(), None);
    /// ```
    pub fn last_failure(&self) -> Option<Instant> {
        self.shared.core().last_failure()
    }

    /// Returns when time brings the next transition: an open circuit becomes half-open, or a half-open
    /// one that has not decided opens again.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// assert_eq!(CircuitBreakerLayer::default().handle().next_transition(), None);
    /// ```
    pub fn next_transition(&self) -> Option<Instant> {
        self.look(|machine, _| machine.due()).map(|due| self.shared.core().at(due))
    }

    /// Acquires a permit for one call that does not go through the layer, such as a job or a connection of another
    /// client.
    ///
    /// How long such a call takes is measured only for
    /// [`cancelled`](super::CircuitBreakerConfig::cancelled): [settle](Permit::settle) it as
    /// [`Outcome::Slow`](crate::Outcome::Slow) if it was slow.
    ///
    /// # Errors
    /// A refusal as the layer's own while the circuit is open, or half-open with all places taken.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let handle = CircuitBreakerLayer::default().handle();
    /// handle.try_acquire()?.failure();
    /// assert_eq!(handle.failures_in_a_row(), 1);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn try_acquire(&self) -> Result<Permit, Error> {
        match Circuit::admit(&self.shared) {
            Some(mut ticket) => {
                // It is on its way from here on, for what a dropped call is.
                ticket.begin(self.shared.core().cancelled_since());
                Ok(Permit::new(&self.shared, ticket))
            }
            None => {
                self.shared.local().count_refused();
                Err(self.shared.core().refusal())
            }
        }
    }

    /// Changes the settings of this circuit, until those of the layer are changed. What was counted stays
    /// as by [`CircuitBreakerHandle::update`].
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    ///
    /// ```
    /// # use tower_upstream::{CircuitBreakerConfig, Error, breaker::CircuitHandle};
    /// fn be_strict(endpoint: &CircuitHandle) -> Result<(), Error> {
    ///     endpoint.update(&CircuitBreakerConfig::consecutive(1))
    /// }
    /// # let _ = be_strict;
    /// ```
    pub fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        config.validate()?;
        self.shared.take().apply(&Newest::new(config.clone().clamped()));
        Ok(())
    }

    /// Refuses every call from now on.
    pub fn force_open(&self) {
        self.force(CircuitState::ForcedOpen);
    }

    /// Lets every call pass from now on, and counts only totals.
    pub fn disable(&self) {
        self.force(CircuitState::Disabled);
    }

    /// Lets every call pass from now on and counts as before, so that
    /// [`would_have_opened`](Self::would_have_opened) tells what the rules would have done.
    ///
    /// Changes only this circuit. For those of all endpoints or keys, set
    /// [`CircuitBreakerConfig::metrics_only`].
    pub fn metrics_only(&self) {
        self.force(CircuitState::MetricsOnly);
    }

    fn force(&self, state: CircuitState) {
        Circuit::apply(&self.shared, |machine, now| machine.force(state, now));
    }

    /// Ends a state that was set manually: closes the circuit and forgets its failures. Does nothing if no
    /// state was set manually.
    pub fn auto(&self) {
        Circuit::apply(&self.shared, |machine, now| {
            if machine.is_by_hand() {
                machine.reset(now);
            }
        });
    }

    /// Closes the circuit and forgets its failures. Totals stay.
    pub fn reset(&self) {
        Circuit::apply(&self.shared, Machine::reset);
    }
}

/// Totals, so relaxed.
pub(super) fn stats(shared: &Shared) -> Stats {
    let sum = |count: fn(&Counts) -> u64| shared.sum(count);
    let failed = sum(|counts| counts.failures.load(Ordering::Relaxed));
    let ignored = sum(|counts| counts.ignored.load(Ordering::Relaxed));
    let succeeded = sum(Counts::all_good);
    Stats {
        admitted: Some(succeeded + failed + ignored),
        refused: Some(sum(|counts| counts.refused.load(Ordering::Relaxed))),
        succeeded: Some(succeeded),
        failed: Some(failed),
        ignored: Some(ignored),
        slow: Some(sum(|counts| counts.slow.load(Ordering::Relaxed))),
        ..Stats::default()
    }
}

impl fmt::Debug for CircuitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not by `state`, which would have transitions happen.
        let state = self.shared.core().word().state();
        f.debug_struct("CircuitHandle").field("state", &state).finish_non_exhaustive()
    }
}

/// Handle of a layer, returned by [`CircuitBreakerLayer::handle`](super::CircuitBreakerLayer::handle).
///
/// Inspects and controls the circuit above a balancer, or without one, as [`CircuitHandle`] does;
/// [`update`](Self::update) changes the settings of the layer. Cheap to clone.
///
/// # Example
/// ```
/// use tower_upstream::{CircuitBreakerConfig, CircuitBreakerLayer};
/// let layer = CircuitBreakerLayer::default();
/// layer.handle().update(&CircuitBreakerConfig::consecutive(3))?;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CircuitBreakerHandle {
    own: CircuitHandle,
    circuits: Arc<Circuits>,
}

impl CircuitBreakerHandle {
    pub(super) fn new(own: Shared, circuits: Arc<Circuits>) -> Self {
        Self { own: CircuitHandle::new(own), circuits }
    }

    /// Changes the settings of all circuits of the layer, those of endpoints and keys and those to come
    /// included.
    ///
    /// What was counted stays as far as it fits, and so does the state. A window of another kind starts
    /// empty. An open circuit stays open until the time it had.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        self.circuits.update(config)
    }
}

/// The handle of the circuit above a balancer, or without one.
impl Deref for CircuitBreakerHandle {
    type Target = CircuitHandle;

    fn deref(&self) -> &CircuitHandle {
        &self.own
    }
}
