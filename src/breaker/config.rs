use std::time::Duration;

use crate::error::{Error, Kind};

/// When a circuit opens, for how long, and what closes it.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::breaker::CircuitBreakerConfig;
///
/// let config = CircuitBreakerConfig::default()
///     .with_failures(3)
///     .with_open_for(Duration::from_secs(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreakerConfig {
    /// Whether it ever opens. A disabled one lets every call through, and counts. Default `true`.
    pub enabled: bool,
    /// Failures in a row that open it, from 1 to 65,535. Default 5.
    pub failures: u32,
    /// Calls that must have finished since it closed before it opens. Default 0: no minimum.
    pub min_calls: u32,
    /// How long it stays open, from a millisecond to a day. Default 5 s.
    pub open_for: Duration,
    /// Calls at once while half-open, from 1 to 65,535. Default 4.
    pub probes: u32,
    /// Good calls while half-open that close it, from 1 to 65,535. Default 2.
    pub successes: u32,
    /// After which a probe counts as failed though it has not finished, from a millisecond to a
    /// day. The call itself goes on. Default 30 s.
    pub probe_timeout: Duration,
}

const MIN_TIME: Duration = Duration::from_millis(1);
const MAX_TIME: Duration = Duration::from_secs(86_400);
const MAX_COUNT: u32 = u16::MAX as u32;

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            failures: 5,
            min_calls: 0,
            open_for: Duration::from_secs(5),
            probes: 4,
            successes: 2,
            probe_timeout: Duration::from_secs(30),
        }
    }
}

impl CircuitBreakerConfig {
    /// The defaults of the Go plugin manager: five failures of at least three calls, 30 s, and two
    /// probes.
    pub fn go() -> Self {
        Self { min_calls: 3, open_for: Duration::from_secs(30), probes: 2, ..Self::default() }
    }

    /// Sets [`enabled`](Self::enabled).
    #[must_use]
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets [`failures`](Self::failures).
    #[must_use]
    pub fn with_failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// Sets [`min_calls`](Self::min_calls).
    #[must_use]
    pub fn with_min_calls(mut self, min_calls: u32) -> Self {
        self.min_calls = min_calls;
        self
    }

    /// Sets [`open_for`](Self::open_for).
    #[must_use]
    pub fn with_open_for(mut self, open_for: Duration) -> Self {
        self.open_for = open_for;
        self
    }

    /// Sets [`probes`](Self::probes).
    #[must_use]
    pub fn with_probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Sets [`successes`](Self::successes).
    #[must_use]
    pub fn with_successes(mut self, successes: u32) -> Self {
        self.successes = successes;
        self
    }

    /// Sets [`probe_timeout`](Self::probe_timeout).
    #[must_use]
    pub fn with_probe_timeout(mut self, probe_timeout: Duration) -> Self {
        self.probe_timeout = probe_timeout;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes at once. A layer built of such a config takes the
    /// nearest sane values instead.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in
            [("failures", self.failures), ("probes", self.probes), ("successes", self.successes)]
        {
            if !(1..=MAX_COUNT).contains(&value) {
                mistakes.push(format!("`{name}` is {value}, but must be from 1 to {MAX_COUNT}"));
            }
        }
        for (name, value) in [("open_for", self.open_for), ("probe_timeout", self.probe_timeout)] {
            if !(MIN_TIME..=MAX_TIME).contains(&value) {
                mistakes.push(format!("`{name}` is {value:?}, but must be from 1 ms to a day"));
            }
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(Error::unsent(Kind::InvalidConfig)
            .message(format!("circuit breaker: {}", mistakes.join("; "))))
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        for count in [&mut self.failures, &mut self.probes, &mut self.successes] {
            *count = (*count).clamp(1, MAX_COUNT);
        }
        for time in [&mut self.open_for, &mut self.probe_timeout] {
            *time = (*time).clamp(MIN_TIME, MAX_TIME);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = CircuitBreakerConfig::default()
            .with_failures(0)
            .with_probes(100_000)
            .with_successes(0)
            .with_open_for(Duration::ZERO)
            .with_probe_timeout(Duration::MAX);
        let text = absurd.validate().unwrap_err().to_string();
        for name in ["failures", "probes", "successes", "open_for", "probe_timeout"] {
            assert!(text.contains(name), "{text}");
        }
        assert!(absurd.clamped().validate().is_ok());
        assert!(CircuitBreakerConfig::go().validate().is_ok());
    }
}
