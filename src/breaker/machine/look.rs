//! What there is to see of a circuit.

use super::{
    Machine, Now,
    counts::Pace,
    window::{Tally, Window},
    word::Word,
};
use crate::breaker::{CircuitBreakerConfig, CircuitState};

impl Machine {
    pub(in crate::breaker) fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    pub(in crate::breaker) fn state(&self) -> CircuitState {
        self.state
    }

    pub(in crate::breaker) fn generation(&self) -> u64 {
        self.generation
    }

    pub(in crate::breaker) fn until(&self) -> u64 {
        self.until
    }

    pub(in crate::breaker) fn turned_at(&self) -> u64 {
        self.turned_at
    }

    pub(in crate::breaker) fn is_by_hand(&self) -> bool {
        self.by_hand
    }

    /// Whether it may be forgotten: it is not kept, and it holds nothing against a caller that is
    /// not over.
    pub(in crate::breaker) fn is_forgettable(&self, now: u64) -> bool {
        match self.state {
            CircuitState::Closed | CircuitState::Disabled => !self.by_hand,
            CircuitState::Open => now >= self.until,
            CircuitState::HalfOpen => self.trial.is_idle(),
            _ => false,
        }
    }

    pub(in crate::breaker) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// What calls go by.
    pub(in crate::breaker) fn word(&self) -> Word {
        let word = Word::new(self.state, self.generation);
        if self.config.slow_ratio.is_some() { word.timed() } else { word }
    }

    /// Whether good calls must be looked at one by one from now on.
    pub(in crate::breaker) fn begins_to_watch(&mut self, now: Now) -> bool {
        let watched = self.watches;
        self.watches = self.is_decisive(now);
        self.watches && !watched
    }

    /// Which good calls must look at the clock.
    pub(in crate::breaker) fn pace(&self, now: Now) -> Pace {
        match (&self.window, self.watches) {
            (Some(_), true) => Pace::Each,
            (Some(Window::Time(buckets)), false) => Pace::Bucket(buckets.number(now.nanos)),
            _ => Pace::Never,
        }
    }

    /// Whether the window is told of calls.
    pub(super) fn is_counting(&self) -> bool {
        matches!(self.state, CircuitState::Closed | CircuitState::MetricsOnly)
    }

    /// Whether the next good call may open it: it makes the window count that has failures in it.
    pub(super) fn is_decisive(&mut self, now: Now) -> bool {
        let least = self.config.min_calls();
        self.is_counting() && self.window.is_some() && {
            let tally = self.held(now);
            tally.calls < least && (tally.failures > 0 || tally.slow > 0)
        }
    }

    /// What the rules look at.
    pub(in crate::breaker) fn tally(&mut self, now: Now) -> Tally {
        self.catch_up(now, 0);
        self.held(now)
    }

    /// What the window holds, and the calls that will be in it as slow ones, however they end.
    pub(super) fn held(&mut self, now: Now) -> Tally {
        let overdue = match self.state {
            CircuitState::Open => self.overdue,
            _ if self.is_counting() && now.generation == self.generation => now.overdue,
            _ => 0,
        };
        let tally = self.window.as_mut().map(|window| window.tally(now.nanos)).unwrap_or_default();
        Tally { calls: tally.calls + overdue, slow: tally.slow + overdue, ..tally }
    }

    /// Half-open: whether all places are taken.
    pub(in crate::breaker) fn is_full(&self) -> bool {
        self.trial.is_full(&self.config)
    }

    /// When time alone brings the next transition.
    pub(in crate::breaker) fn due(&self) -> Option<u64> {
        match self.state {
            CircuitState::Open => Some(self.until),
            CircuitState::HalfOpen => self.trial.due(&self.config),
            _ => None,
        }
    }
}
