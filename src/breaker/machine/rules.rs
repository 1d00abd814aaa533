//! When a circuit opens, and for how long: arithmetic.

use std::time::Duration;

use super::window::Tally;
use crate::{breaker::CircuitBreakerConfig, time::nanos};

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
