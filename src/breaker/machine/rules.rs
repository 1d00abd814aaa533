//! When a circuit opens, for how long, and what it finds out while it is half-open, pure.

use std::time::Duration;

use super::window::Tally;
use crate::{breaker::CircuitBreakerConfig, time::nanos};

/// How a call ended that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) struct Ended {
    pub(in crate::breaker) failed: bool,
    pub(in crate::breaker) slow: bool,
    pub(in crate::breaker) retry_after: Option<Duration>,
}

/// Whether a rule is met.
pub(in crate::breaker) fn trips(
    config: &CircuitBreakerConfig,
    in_a_row: u32,
    tally: Tally,
) -> bool {
    let failures_trip = config.failures > 0
        && in_a_row >= config.failures
        && tally.calls.max(in_a_row.into()) >= u64::from(config.failures_min_calls);
    let reaches = |part: u64, ratio: Option<f64>| {
        ratio.is_some_and(|ratio| part as f64 / tally.calls as f64 >= ratio)
    };
    failures_trip
        || (tally.calls >= config.min_calls()
            && (reaches(tally.failures, config.failure_ratio)
                || reaches(tally.slow, config.slow_ratio)))
}

/// Whether the calls of a half-open circuit went well but took too long.
pub(in crate::breaker) fn is_too_slow(config: &CircuitBreakerConfig, slow: u32, of: u32) -> bool {
    config.slow_ratio.is_some_and(|ratio| f64::from(slow) / f64::from(of) >= ratio)
}

/// How long to stay open, having been opened `again` times since it last closed.
pub(in crate::breaker) fn wait(
    config: &CircuitBreakerConfig,
    again: u32,
    random: f64,
    asked: Option<Duration>,
) -> u64 {
    let most = nanos(config.max_open_for) as f64;
    let grown = nanos(config.open_for) as f64 * config.open_growth.powf(f64::from(again));
    let jitter = 1.0 + config.open_jitter * (2.0 * random - 1.0);
    let own = grown.min(most) * jitter;
    let asked = asked.map_or(0.0, |asked| nanos(asked) as f64);
    own.max(asked).clamp(1e6, most) as u64
}

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
            } else if is_too_slow(config, self.slow, self.good + self.bad) {
                Verdict::Open
            } else {
                Verdict::Close
            }
        }
    }
}
