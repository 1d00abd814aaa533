use std::time::Duration;

use super::hedge::Hedge;
use crate::{
    backoff::{self, Backoff, Jitter},
    error::{Error, Kind},
    replay::{CallOptions, MAX_ATTEMPTS, MIN_LIMIT},
};

/// Number of attempts of a call, their time limits, and the waits between them.
///
/// A `retry` section of the Go plugin manager is read as a
/// [`RetryConfig`](crate::retry::RetryConfig), which becomes this by `into()`.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::failover::Attempts;
/// let attempts = Attempts::up_to(3)
///     .with_timeout(Duration::from_millis(500))
///     .with_overall(Duration::from_secs(2));
/// assert!(attempts.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct Attempts {
    /// Number of attempts in all, from 1 to 64. Default: 3.
    pub max: u32,
    /// Time limit of each attempt, from 1 ms. An attempt that takes longer is a failure of its
    /// endpoint. Default: none.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub timeout: Option<Duration>,
    /// Time limit of the call with all its attempts and waits, from 1 ms. The deadline of a request
    /// counts too. An attempt that ends because of it counts as cancelled. Default: none.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub overall: Option<Duration>,
    /// First wait before an attempt, before jitter: 0, or from 1 ms to an hour. The first attempt at
    /// another endpoint does not wait. Default: 50 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub backoff: Duration,
    /// Longest wait before an attempt: 0, or from 1 ms to an hour. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_backoff: Duration,
    /// Factor by which each wait is longer than the one before it, from 1 to 100. Default: 2.
    pub multiplier: f64,
    /// How much of a wait is random. Default: [`Jitter::Full`].
    pub jitter: Jitter,
    /// Longest wait that an endpoint may ask for: 0, or from 1 ms to an hour. If it asks for a longer
    /// one, it gets no further attempt, and the caller gets its answer. Other endpoints are tried
    /// without this wait. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_retry_after: Duration,
    /// Longest time, from 1 ms, that a call waits for an endpoint if there is none, or none that can be
    /// used: until discovery reports one, or one is healthy again. It waits no longer than its deadline,
    /// and only if its request can be copied. Default: none; the call fails as soon as the balancer
    /// says so.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub wait_for_endpoint: Option<Duration>,
    /// When a call without an answer is also sent to another endpoint. See [`hedge`](Self::hedge). Default:
    /// never.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::hedge::read"))]
    pub hedge: Option<Hedge>,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(Attempts);

impl Default for Attempts {
    fn default() -> Self {
        Self::up_to(3)
    }
}

impl Attempts {
    /// Makes at most `max` attempts, without time limits.
    pub const fn up_to(max: u32) -> Self {
        Self {
            max,
            timeout: None,
            overall: None,
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(10),
            multiplier: 2.0,
            jitter: Jitter::Full,
            max_retry_after: Duration::from_secs(5),
            wait_for_endpoint: None,
            hedge: None,
        }
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets [`overall`](Self::overall).
    #[must_use]
    pub const fn with_overall(mut self, overall: Duration) -> Self {
        self.overall = Some(overall);
        self
    }

    /// Sets [`backoff`](Self::backoff) and [`max_backoff`](Self::max_backoff).
    #[must_use]
    pub const fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff = first;
        self.max_backoff = max;
        self
    }

    /// Sets [`multiplier`](Self::multiplier).
    #[must_use]
    pub const fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`max_retry_after`](Self::max_retry_after).
    #[must_use]
    pub const fn with_max_retry_after(mut self, max: Duration) -> Self {
        self.max_retry_after = max;
        self
    }

    /// Sets [`wait_for_endpoint`](Self::wait_for_endpoint).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::Attempts;
    /// let attempts = Attempts::up_to(3).with_wait_for_endpoint(Duration::from_secs(10));
    /// assert!(attempts.validate().is_ok());
    /// ```
    #[must_use]
    pub const fn with_wait_for_endpoint(mut self, longest: Duration) -> Self {
        self.wait_for_endpoint = Some(longest);
        self
    }

    /// Sends a call that has no answer after a while to another endpoint as well, and takes the answer that
    /// comes first.
    ///
    /// `after` is a fixed time, or a [quantile](Hedge::Quantile) of what calls took lately. A hedge is one of
    /// the [`max`](Self::max) attempts, so there is none with `max` 1, and the retry budget pays for it. At
    /// most one runs beside the other attempt. See [the module](crate::failover#hedging).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Attempts, failover::Hedge};
    /// let fixed = Attempts::up_to(2).hedge(Duration::from_millis(50));
    /// let adaptive = Attempts::up_to(2).hedge(Hedge::Quantile(0.95));
    /// assert!(fixed.validate().is_ok() && adaptive.validate().is_ok());
    /// ```
    #[must_use]
    #[doc(alias = "with_hedge")]
    pub fn hedge(mut self, after: impl Into<Hedge>) -> Self {
        self.hedge = Some(after.into());
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. A layer made with such values uses the nearest
    /// valid ones instead; an update with them is refused.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if !(1..=MAX_ATTEMPTS).contains(&self.max) {
            mistakes.push(format!("`max` is {}, but must be from 1 to {MAX_ATTEMPTS}", self.max));
        }
        mistakes.extend(limit_mistake("timeout", self.timeout));
        mistakes.extend(limit_mistake("overall", self.overall));
        mistakes.extend(limit_mistake("wait_for_endpoint", self.wait_for_endpoint));
        if let (Some(timeout), Some(overall)) = (self.timeout, self.overall) {
            if timeout > overall {
                mistakes.push(format!(
                    "`timeout` is {timeout:?}, but must not be longer than `overall`, {overall:?}"
                ));
            }
        }
        mistakes.extend(self.waits().mistakes(["backoff", "max_backoff"]));
        mistakes.extend(backoff::mistake("max_retry_after", self.max_retry_after));
        mistakes.extend(self.hedge.and_then(Hedge::mistake));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("failover: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(crate) fn clamped(self) -> Self {
        let Backoff { first: backoff, max: max_backoff, multiplier, jitter } =
            self.waits().clamped();
        let at_least = |limit: Option<Duration>| limit.map(|limit| limit.max(MIN_LIMIT));
        Self {
            max: self.max.clamp(1, MAX_ATTEMPTS),
            timeout: at_least(self.timeout),
            overall: at_least(self.overall),
            backoff,
            max_backoff,
            multiplier,
            jitter,
            max_retry_after: backoff::sane(self.max_retry_after),
            wait_for_endpoint: at_least(self.wait_for_endpoint),
            hedge: self.hedge.map(Hedge::clamped),
        }
    }

    /// Those of a call with options of its own.
    pub(crate) fn with_options(mut self, options: CallOptions) -> Self {
        self.max = options.max_attempts().unwrap_or(self.max);
        self.timeout = options.attempt_timeout().or(self.timeout);
        self
    }

    /// Whether a copy of a request may be of use.
    pub(crate) fn use_copies(&self) -> bool {
        self.max > 1 || self.wait_for_endpoint.is_some()
    }

    /// The waits between attempts.
    pub(crate) fn waits(&self) -> Backoff {
        Backoff {
            first: self.backoff,
            max: self.max_backoff,
            multiplier: self.multiplier,
            jitter: self.jitter,
        }
    }
}

/// What is wrong with a time limit.
pub(crate) fn limit_mistake(name: &str, limit: Option<Duration>) -> Option<String> {
    let short = limit.filter(|&limit| limit < MIN_LIMIT)?;
    Some(format!("`{name}` is {short:?}, but must be at least 1 ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let hours = Duration::from_secs(7_200);
        let absurd = Attempts::up_to(0)
            .with_timeout(Duration::ZERO)
            .with_overall(Duration::ZERO)
            .with_backoff(Duration::MAX, hours)
            .with_multiplier(f64::NAN)
            .with_max_retry_after(Duration::MAX)
            .with_wait_for_endpoint(Duration::ZERO)
            .hedge(Duration::ZERO);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "`max`",
            "`timeout`",
            "`overall`",
            "`backoff` is 1",
            "`max_backoff` is",
            "`multiplier`",
            "`max_retry_after`",
            "`wait_for_endpoint`",
            "`hedge.after`",
            "longer than",
        ] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(absurd.clamped().validate().is_ok());
        assert_eq!(Attempts::default().clamped(), Attempts::default());
    }
}
