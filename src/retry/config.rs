use std::time::Duration;

use crate::error::{Error, Kind};

/// How often a call is tried, and the waits between.
///
/// Read from a config, it also takes the names of the Go plugin manager: `max_retries`, which is
/// one less than `attempts`, and `random_jitter`, where `true` is [`Jitter::TenPercent`].
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::retry::{Jitter, RetryConfig};
///
/// let config = RetryConfig::up_to(4)
///     .with_intervals(Duration::from_millis(20), Duration::from_secs(2))
///     .with_jitter(Jitter::Equal)
///     .with_overall(Duration::from_secs(5));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, try_from = "written::Written"))]
#[non_exhaustive]
pub struct RetryConfig {
    /// Attempts in all, from 1 to 64. Default 3.
    pub attempts: u32,
    /// The wait before the first retry: none, or from a millisecond to an hour. One for all causes:
    /// after an overload it is the same, unless the endpoint asks for more with `Retry-After`. The AWS
    /// SDKs, in contrast, begin with 1 s after throttling and with 50 ms otherwise; where an endpoint
    /// throttles and says nothing of when to come back, set more here. Default 50 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub initial_interval: Duration,
    /// The longest wait, likewise. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_interval: Duration,
    /// How many times longer each wait is than the one before, from 1 to 100. Default 2.
    pub multiplier: f64,
    /// What is random about the waits. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// How long the call may take with all its attempts and waits, from a millisecond: a retry
    /// whose wait would end later is not made. What runs is not cut off. The deadline of a request
    /// counts too. Default: no limit. It costs a clock read for each call.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub overall: Option<Duration>,
    /// How much longer than its backoff a wait becomes where the endpoint asks for it, likewise.
    /// Default 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_retry_after: Duration,
}

/// What is random about a wait, so that those who failed together do not come back together.
///
/// ```
/// assert_eq!(tower_upstream::retry::Jitter::default(), tower_upstream::retry::Jitter::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// Nothing. For tests, and for a client that is alone.
    None,
    /// Anything from nothing to the whole wait. Spreads best.
    #[default]
    Full,
    /// From half the wait to the whole.
    Equal,
    /// From the first interval to three times the last wait (AWS's "decorrelated").
    Decorrelated,
    /// A tenth more or less, as the Go plugin manager has it. Spreads little.
    TenPercent,
}

const MAX_ATTEMPTS: u32 = 64;
const MIN_TIME: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

impl Default for RetryConfig {
    fn default() -> Self {
        Self::up_to(3)
    }
}

impl RetryConfig {
    /// At most `attempts` attempts; the rest as by default.
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

    /// The defaults of the Go plugin manager: three retries after 100 ms, 200 ms and 400 ms, at
    /// most 5 s, a tenth more or less.
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
    /// `InvalidConfig` that names all mistakes at once. A policy built of such values takes the
    /// nearest sane ones instead.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let attempts = self.attempts;
        if !(1..=MAX_ATTEMPTS).contains(&attempts) {
            let text = "`attempts` (one more than `max_retries`)";
            mistakes.push(format!("{text} is {attempts}, but must be from 1 to {MAX_ATTEMPTS}"));
        }
        for (name, value) in [
            ("initial_interval", self.initial_interval),
            ("max_interval", self.max_interval),
            ("max_retry_after", self.max_retry_after),
        ] {
            // A number without a unit is nanoseconds, which nobody means here.
            if value > HOUR || (!value.is_zero() && value < MIN_TIME) {
                mistakes
                    .push(format!("`{name}` is {value:?}, but must be 0, or from 1 ms to an hour"));
            }
        }
        if self.initial_interval > self.max_interval {
            mistakes.push("`initial_interval` is longer than `max_interval`".to_owned());
        }
        let multiplier = self.multiplier;
        if !(1.0..=100.0).contains(&multiplier) {
            mistakes.push(format!("`multiplier` is {multiplier}, but must be from 1 to 100"));
        }
        if let Some(overall) = self.overall.filter(|&overall| overall < MIN_TIME) {
            mistakes.push(format!("`overall` is {overall:?}, but must be at least 1 ms"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("retry: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        self.attempts = self.attempts.clamp(1, MAX_ATTEMPTS);
        let sane = |time: Duration| if time.is_zero() { time } else { time.clamp(MIN_TIME, HOUR) };
        self.max_interval = sane(self.max_interval);
        self.initial_interval = sane(self.initial_interval).min(self.max_interval);
        self.max_retry_after = sane(self.max_retry_after);
        let multiplier = if self.multiplier.is_nan() { 1.0 } else { self.multiplier };
        self.multiplier = multiplier.clamp(1.0, 100.0);
        self.overall = self.overall.map(|overall| overall.max(MIN_TIME));
        self
    }
}

#[cfg(feature = "serde")]
mod written {
    use serde::Deserialize;

    use super::*;

    /// A config as it is written, with the names of both worlds.
    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
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
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = RetryConfig::go()
            .with_attempts(0)
            .with_intervals(Duration::MAX, HOUR * 2)
            .with_overall(Duration::ZERO)
            .with_max_retry_after(Duration::MAX);
        for multiplier in [f64::NAN, 0.5, f64::INFINITY] {
            let absurd = absurd.clone().with_multiplier(multiplier);
            let text = absurd.validate().unwrap_err().to_string();
            for name in [
                "`attempts`",
                "`max_retries`",
                "`initial_interval` is 1",
                "`max_interval` is",
                "`multiplier`",
                "`overall`",
                "`max_retry_after`",
                "longer than",
            ] {
                assert!(text.contains(name), "{name}: {text}");
            }
            assert!(absurd.clone().clamped().validate().is_ok());
        }
        // A number without a unit, meant as milliseconds.
        let tiny = RetryConfig::default()
            .with_intervals(Duration::from_nanos(50), Duration::from_nanos(1_000))
            .with_max_retry_after(Duration::from_nanos(5));
        assert!(tiny.validate().unwrap_err().to_string().contains("`initial_interval` is 50ns"));
        assert_eq!(tiny.clamped().initial_interval, MIN_TIME);
        let at_once = RetryConfig::default().with_intervals(Duration::ZERO, Duration::ZERO);
        assert_eq!(at_once.clone().clamped(), at_once);
        for config in [RetryConfig::default(), RetryConfig::go(), at_once] {
            assert!(config.validate().is_ok());
            assert_eq!(config.clone().clamped(), config);
        }
    }
}
