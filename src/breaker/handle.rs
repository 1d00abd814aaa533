use std::fmt;

use super::{
    CircuitState,
    circuit::{Circuit, Shared},
};
use crate::time::Instant;

/// Looks at one circuit, and controls it. Cheap to clone, and never blocks: usable from `Drop` and
/// from an admin page.
///
/// What is forced stays so until [`auto`](Self::auto) or [`reset`](Self::reset).
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
}

/// What a circuit has seen.
///
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let stats = CircuitBreakerLayer::default().handle().stats();
/// assert_eq!((stats.requests, stats.refused), (0, 0));
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
    /// Calls that were refused.
    pub refused: u64,
    /// When a call last failed.
    pub last_failure: Option<Instant>,
}

impl CircuitBreakerHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// The state. An open circuit whose time has come is half-open.
    pub fn state(&self) -> CircuitState {
        Circuit::state(&self.shared)
    }

    /// What the circuit has seen. The counts are not of one instant.
    pub fn stats(&self) -> CircuitBreakerStats {
        let (successes, failures) =
            (Circuit::successes(&self.shared), Circuit::failures(&self.shared));
        let ignored = Circuit::ignored(&self.shared);
        CircuitBreakerStats {
            state: self.state(),
            requests: successes + failures + ignored,
            successes,
            failures,
            ignored,
            refused: Circuit::refused(&self.shared),
            last_failure: self.shared.core().last_failure(),
        }
    }

    /// Refuses every call from now on.
    pub fn force_open(&self) {
        Circuit::force(&self.shared, CircuitState::ForcedOpen);
    }

    /// Lets every call through from now on, and still counts.
    pub fn force_closed(&self) {
        Circuit::force(&self.shared, CircuitState::ForcedClosed);
    }

    /// Ends what was forced: closed, with nothing held against it. No effect if nothing was.
    pub fn auto(&self) {
        if matches!(self.state(), CircuitState::ForcedOpen | CircuitState::ForcedClosed) {
            self.reset();
        }
    }

    /// Closes the circuit, with nothing held against it. Totals stay.
    pub fn reset(&self) {
        Circuit::force(&self.shared, CircuitState::Closed);
    }
}

impl fmt::Debug for CircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CircuitBreakerHandle").field(&self.stats()).finish()
    }
}
