use std::time::Duration;

use crate::error::{Error, Kind};

/// How many attempts a call gets, how long they may take, and the waits between them.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::failover::Attempts;
/// let attempts = Attempts::up_to(3)
///     .timeout(Duration::from_millis(500))
///     .overall(Duration::from_secs(2));
/// assert!(attempts.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Attempts {
    /// Attempts in all, from 1 to 64. Default 3.
    pub max: u32,
    /// How long each attempt may take, from a millisecond. An attempt that takes longer is a failure of
    /// its endpoint. Default: as long as the call.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub timeout: Option<Duration>,
    /// How long the call may take with all its attempts and waits, from a millisecond. The deadline
    /// of a request counts too. An attempt that it ends counts as cancelled. Default: no limit.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub overall: Option<Duration>,
    /// The longest wait before the third attempt; doubled for each further one. Default 50 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub backoff: Duration,
    /// The longest wait of all, at most an hour. Default 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_backoff: Duration,
    /// The longest wait that an endpoint may ask for, at most an hour: one that asks for more gets
    /// no further attempt, and the caller its answer. Where another endpoint is left, that one is
    /// tried instead, without this wait. Default 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_retry_after: Duration,
}

const MAX_ATTEMPTS: u32 = 64;
const MIN_TIME: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

impl Default for Attempts {
    fn default() -> Self {
        Self::up_to(3)
    }
}

impl Attempts {
    /// At most `max` attempts, without time limits.
    pub const fn up_to(max: u32) -> Self {
        Self {
            max,
            timeout: None,
            overall: None,
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(5),
        }
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets [`overall`](Self::overall).
    #[must_use]
    pub const fn overall(mut self, overall: Duration) -> Self {
        self.overall = Some(overall);
        self
    }

    /// Sets [`backoff`](Self::backoff) and [`max_backoff`](Self::max_backoff).
    #[must_use]
    pub const fn backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff = first;
        self.max_backoff = max;
        self
    }

    /// Sets [`max_retry_after`](Self::max_retry_after).
    #[must_use]
    pub const fn max_retry_after(mut self, max: Duration) -> Self {
        self.max_retry_after = max;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes at once. A layer built of such values takes the
    /// nearest sane ones instead.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if !(1..=MAX_ATTEMPTS).contains(&self.max) {
            mistakes.push(format!("`max` is {}, but must be from 1 to {MAX_ATTEMPTS}", self.max));
        }
        for (name, value) in [("timeout", self.timeout), ("overall", self.overall)] {
            if let Some(value) = value.filter(|&value| value < MIN_TIME) {
                mistakes.push(format!("`{name}` is {value:?}, but must be at least 1 ms"));
            }
        }
        for (name, value) in [
            ("backoff", self.backoff),
            ("max_backoff", self.max_backoff),
            ("max_retry_after", self.max_retry_after),
        ] {
            if value > HOUR {
                mistakes.push(format!("`{name}` is {value:?}, but must be at most an hour"));
            }
        }
        if self.backoff > self.max_backoff {
            mistakes.push("`backoff` is longer than `max_backoff`".to_owned());
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("failover: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        self.max = self.max.clamp(1, MAX_ATTEMPTS);
        self.timeout = self.timeout.map(|timeout| timeout.max(MIN_TIME));
        self.overall = self.overall.map(|overall| overall.max(MIN_TIME));
        self.max_backoff = self.max_backoff.min(HOUR);
        self.backoff = self.backoff.min(self.max_backoff);
        self.max_retry_after = self.max_retry_after.min(HOUR);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = Attempts::up_to(0)
            .timeout(Duration::ZERO)
            .overall(Duration::ZERO)
            .backoff(Duration::MAX, HOUR * 2)
            .max_retry_after(Duration::MAX);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "`max`",
            "`timeout`",
            "`overall`",
            "`backoff` is 1",
            "`max_backoff` is",
            "`max_retry_after`",
            "longer than",
        ] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(absurd.clamped().validate().is_ok());
    }
}
