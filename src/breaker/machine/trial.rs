//! What a half-open circuit finds out, pure.

use super::{Ended, rules};
use crate::{breaker::CircuitBreakerConfig, time::nanos};

/// The calls of a half-open circuit.
#[derive(Debug, Default)]
pub(in crate::breaker) struct Trial {
    /// Since when calls are out, or when the last of them ended that said something.
    moved: u64,
    in_flight: u32,
    good: u32,
    bad: u32,
    /// Of the good and the bad.
    slow: u32,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) enum Verdict {
    Undecided,
    Close,
    Open,
}

impl Trial {
    /// Whether all places are taken.
    pub(in crate::breaker) fn is_full(&self, config: &CircuitBreakerConfig) -> bool {
        let all = config.successes + config.probe_failures;
        self.in_flight >= config.probes || self.in_flight + self.good + self.bad >= all
    }

    pub(in crate::breaker) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// When calls have been out for too long.
    pub(in crate::breaker) fn due(&self, config: &CircuitBreakerConfig) -> Option<u64> {
        (!self.is_idle()).then(|| self.moved.saturating_add(nanos(config.half_open_for)))
    }

    pub(in crate::breaker) fn admit(&mut self, now: u64) {
        if self.is_idle() {
            self.moved = now;
        }
        self.in_flight += 1;
    }

    /// One that was counted as good has failed after all.
    pub(in crate::breaker) fn fail_after_all(
        &mut self,
        now: u64,
        config: &CircuitBreakerConfig,
    ) -> Verdict {
        self.moved = now;
        self.good = self.good.saturating_sub(1);
        self.fail(config)
    }

    fn fail(&mut self, config: &CircuitBreakerConfig) -> Verdict {
        self.bad += 1;
        if self.bad > config.probe_failures { Verdict::Open } else { Verdict::Undecided }
    }

    /// One of them has ended; `None` if it says nothing.
    pub(in crate::breaker) fn end(
        &mut self,
        ended: Option<Ended>,
        now: u64,
        config: &CircuitBreakerConfig,
    ) -> Verdict {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(Ended { failed, slow, .. }) = ended else {
            return Verdict::Undecided;
        };
        self.moved = now;
        self.slow += u32::from(slow);
        if failed {
            self.fail(config)
        } else {
            self.good += 1;
            if self.good < config.successes {
                Verdict::Undecided
            } else if rules::is_too_slow(config, self.slow, self.good + self.bad) {
                Verdict::Open
            } else {
                Verdict::Close
            }
        }
    }
}
