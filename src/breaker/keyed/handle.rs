use std::{fmt, sync::Arc};

use super::keys::Keys;
use crate::{
    breaker::{CircuitBreakerConfig, circuit::Shared, handle::stats},
    error::Error,
    telemetry::Stats,
};

/// Handle for all circuits of a [`KeyedCircuitBreakerLayer`](super::KeyedCircuitBreakerLayer). Cheap to
/// clone.
///
/// For the circuit of one key, see
/// [`KeyedCircuitBreakerLayer::handle_for`](super::KeyedCircuitBreakerLayer::handle_for).
///
/// ```
/// use tower_upstream::{CircuitBreakerConfig, CircuitBreakerLayer};
/// let circuits = CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant).handle();
/// circuits.update(&CircuitBreakerConfig::consecutive(3))?;
/// assert!(circuits.is_empty());
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyedCircuitBreakerHandle {
    keys: Arc<Keys>,
}

impl KeyedCircuitBreakerHandle {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// Returns how many keys have a circuit of their own.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether no key has a circuit of its own.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many keys may have a circuit of their own.
    pub fn max_keys(&self) -> usize {
        self.keys.most()
    }

    /// Returns the sum of what all circuits have counted. Looks at each of them; what a circuit had
    /// counted that has made room for another is not in the sum.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let circuits = CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant).handle();
    /// assert_eq!(circuits.stats().refused, Some(0));
    /// ```
    pub fn stats(&self) -> Stats {
        let of_each = self.keys.all().into_iter().map(|kept| stats(&Shared::of(kept)));
        let of_each: Vec<Stats> = of_each.collect();
        let sum = |count: fn(&Stats) -> Option<u64>| of_each.iter().map(count).sum();
        Stats {
            admitted: sum(|stats| stats.admitted),
            refused: sum(|stats| stats.refused),
            succeeded: sum(|stats| stats.succeeded),
            failed: sum(|stats| stats.failed),
            ignored: sum(|stats| stats.ignored),
            slow: sum(|stats| stats.slow),
            ..Stats::default()
        }
    }

    /// Changes the settings of all circuits, and of those to come; see
    /// [`CircuitBreakerHandle::update`](crate::breaker::CircuitBreakerHandle::update).
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        self.keys.circuits().update(config)
    }
}

impl fmt::Debug for KeyedCircuitBreakerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}
