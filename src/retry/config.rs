use std::time::Duration;

use crate::{
    backoff::{self, Backoff, Jitter},
    course::{Attempts, limit_mistake},
    error::{Error, Kind},
    replay::MAX_ATTEMPTS,
};

/// Number of attempts of a call, and the waits between them.
///
/// Read from a config, it also takes the names of the Go plugin manager: `max_retries`, which is
/// one less than `attempts`, and `random_jitter`, where `true` is [`Jitter::TenPercent`].
///
/// For several endpoints it becomes [`Attempts`] by `into()`.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Attempts, backoff::Jitter, retry::RetryConfig};
///
/// let config = RetryConfig::up_to(4)
///     .with_intervals(Duration::from_millis(20), Duration::from_secs(2))
///     .with_jitter(Jitter::Equal)
///     .with_overall(Duration::from_secs(5));
/// assert!(config.validate().is_ok());
/// assert_eq!(Attempts::from(config).max, 4);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, try_from = "written::Written"))]
#[non_exhaustive]
pub struct RetryConfig {
    /// Number of attempts in all, from 1 to 64. Default: 3.
    pub attempts: u32,
    /// Wait before the first retry: 0, or from 1 ms to an hour. It is the same after an overload,
    /// unless the endpoint asks for a longer one. (The AWS SDKs begin with 1 s after throttling; for
    /// that, see `RetryPolicy::with_backoff`.) Default: 50 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub initial_interval: Duration,
    /// Longest wait before a retry: 0, or from 1 ms to an hour. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_interval: Duration,
    /// Factor by which each wait is longer than the one before it, from 1 to 100. Default: 2.
    pub multiplier: f64,
    /// How much of a wait is random. Default: [`Jitter::Full`].
    pub jitter: Jitter,
    /// Time limit of the call with all its attempts and waits, from 1 ms: a retry whose wait would
    /// end later is not made. A running attempt is not cut off. The deadline of a request counts too.
    /// Costs a clock read for each call. Default: none.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub overall: Option<Duration>,
    /// Longest wait that an endpoint may ask for: 0, or from 1 ms to an hour. If it asks for a longer
    /// one, the call is not sent again, and the caller gets its answer. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_retry_after: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self::up_to(3)
    }
}

impl RetryConfig {
    /// Makes at most `attempts` attempts; the rest is the default.
    pub const fn up_to(attempts: u32) -> Self {
        Self {
            attempts,
            initial_interval: Duration::from_millis(50),
            max_interval: Duration::from_secs(10),
            multiplier: 2.0,
            jitter: Jitter::Full,
            overall: None,
            max_retry_after: Duration::from_secs(5),
        }
    }

    /// Returns the defaults of the Go plugin manager: three retries after 100 ms, 200 ms and 400 ms, at
    /// most 5 s, ten percent more or less.
    pub const fn go() -> Self {
        Self {
            initial_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(5),
            jitter: Jitter::TenPercent,
            ..Self::up_to(4)
        }
    }

    /// Sets [`attempts`](Self::attempts).
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets [`multiplier`](Self::multiplier).
    #[must_use]
    pub const fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets [`initial_interval`](Self::initial_interval) and [`max_interval`](Self::max_interval).
    #[must_use]
    pub const fn with_intervals(mut self, initial: Duration, max: Duration) -> Self {
        self.initial_interval = initial;
        self.max_interval = max;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`overall`](Self::overall).
    #[must_use]
    pub const fn with_overall(mut self, overall: Duration) -> Self {
        self.overall = Some(overall);
        self
    }

    /// Sets [`max_retry_after`](Self::max_retry_after).
    #[must_use]
    pub const fn with_max_retry_after(mut self, max: Duration) -> Self {
        self.max_retry_after = max;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. A policy made with such values uses the nearest
    /// valid ones instead; an update with them is refused.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let attempts = self.attempts;
        if !(1..=MAX_ATTEMPTS).contains(&attempts) {
            mistakes
                .push(format!("`attempts` is {attempts}, but must be from 1 to {MAX_ATTEMPTS}"));
        }
        let waits = Backoff {
            first: self.initial_interval,
            max: self.max_interval,
            multiplier: self.multiplier,
            jitter: self.jitter,
        };
        mistakes.extend(waits.mistakes(["initial_interval", "max_interval"]));
        mistakes.extend(backoff::mistake("max_retry_after", self.max_retry_after));
        mistakes.extend(limit_mistake("overall", self.overall));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("retry: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}

#[cfg(feature = "tower")]
impl RetryConfig {
    /// What `attempts` were made of.
    pub(super) fn of(attempts: Attempts) -> Self {
        Self {
            attempts: attempts.max,
            initial_interval: attempts.backoff,
            max_interval: attempts.max_backoff,
            multiplier: attempts.multiplier,
            jitter: attempts.jitter,
            overall: attempts.overall,
            max_retry_after: attempts.max_retry_after,
        }
    }
}

/// The same for several endpoints: the first other endpoint is tried at once, and the waits are those
/// between further attempts.
impl From<RetryConfig> for Attempts {
    fn from(config: RetryConfig) -> Self {
        let mut attempts = Self::up_to(config.attempts)
            .with_backoff(config.initial_interval, config.max_interval)
            .with_multiplier(config.multiplier)
            .with_jitter(config.jitter)
            .with_max_retry_after(config.max_retry_after);
        attempts.overall = config.overall;
        attempts
    }
}

#[cfg(feature = "serde")]
mod written {
    use serde::Deserialize;

    use super::*;

    /// A config as it is written, with the names of both worlds.
    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields, remote = "Self")]
    pub(super) struct Written {
        attempts: Option<u32>,
        max_retries: Option<u32>,
        #[serde(with = "crate::duration::serde")]
        initial_interval: Duration,
        #[serde(with = "crate::duration::serde")]
        max_interval: Duration,
        multiplier: f64,
        jitter: Option<Jitter>,
        random_jitter: Option<bool>,
        #[serde(with = "crate::duration::option")]
        overall: Option<Duration>,
        #[serde(with = "crate::duration::serde")]
        max_retry_after: Duration,
    }

    crate::written::names_keys_of!(Written);

    impl Default for Written {
        fn default() -> Self {
            let RetryConfig {
                initial_interval,
                max_interval,
                multiplier,
                overall,
                max_retry_after,
                ..
            } = RetryConfig::default();
            Self {
                attempts: None,
                max_retries: None,
                initial_interval,
                max_interval,
                multiplier,
                jitter: None,
                random_jitter: None,
                overall,
                max_retry_after,
            }
        }
    }

    impl TryFrom<Written> for RetryConfig {
        type Error = &'static str;

        fn try_from(written: Written) -> Result<Self, Self::Error> {
            let Self { attempts, jitter, .. } = Self::default();
            Ok(Self {
                attempts: match (written.attempts, written.max_retries) {
                    (Some(_), Some(_)) => return Err("`attempts` and `max_retries` are the same"),
                    (Some(attempts), None) => attempts,
                    (None, Some(retries)) => retries.saturating_add(1),
                    (None, None) => attempts,
                },
                jitter: match (written.jitter, written.random_jitter) {
                    (Some(_), Some(_)) => return Err("`jitter` and `random_jitter` are the same"),
                    (Some(jitter), None) => jitter,
                    (None, Some(true)) => Jitter::TenPercent,
                    (None, Some(false)) => Jitter::None,
                    (None, None) => jitter,
                },
                initial_interval: written.initial_interval,
                max_interval: written.max_interval,
                multiplier: written.multiplier,
                overall: written.overall,
                max_retry_after: written.max_retry_after,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named() {
        let absurd = RetryConfig::go()
            .with_attempts(0)
            .with_intervals(Duration::MAX, Duration::from_secs(7_200))
            .with_overall(Duration::ZERO)
            .with_max_retry_after(Duration::MAX);
        for multiplier in [f64::NAN, 0.5, f64::INFINITY] {
            let absurd = absurd.clone().with_multiplier(multiplier);
            let text = absurd.validate().unwrap_err().to_string();
            for name in [
                "`attempts`",
                "`initial_interval` is 1",
                "`max_interval` is",
                "`multiplier`",
                "`overall`",
                "`max_retry_after`",
                "longer than",
            ] {
                assert!(text.contains(name), "{name}: {text}");
            }
        }
        // A number without a unit, meant as milliseconds.
        let tiny = RetryConfig::default()
            .with_intervals(Duration::from_nanos(50), Duration::from_nanos(1_000))
            .with_max_retry_after(Duration::from_nanos(5));
        assert!(tiny.validate().unwrap_err().to_string().contains("`initial_interval` is 50ns"));
        assert_eq!(Attempts::from(tiny).clamped().backoff, Duration::from_millis(1));
    }

    #[test]
    fn what_is_right_for_one_endpoint_is_right_for_several_and_stays_as_it_is() {
        let at_once = RetryConfig::default().with_intervals(Duration::ZERO, Duration::ZERO);
        let limited = RetryConfig::go().with_overall(Duration::from_secs(3));
        for config in [RetryConfig::default(), RetryConfig::go(), at_once, limited] {
            assert!(config.validate().is_ok());
            let attempts = Attempts::from(config.clone());
            assert!(attempts.validate().is_ok());
            assert_eq!(attempts.clone().clamped(), attempts);
            assert_eq!(attempts.max, config.attempts);
            assert_eq!(attempts.overall, config.overall);
        }
        assert_eq!(Attempts::from(RetryConfig::default()), Attempts::default());
    }
}
