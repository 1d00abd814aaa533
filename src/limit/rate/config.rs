use std::time::Duration;

use super::gcra::{self, Gcra};
use crate::error::{Error, Kind};

/// How many calls in what time, and how many at once.
///
/// Calls come in evenly: of 60 a minute the next one may go a second after the last, unless there
/// are tokens left over from a quiet time, of which `burst` are kept at most.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::Quota;
///
/// const API: Quota = Quota::per_second(1_000).burst(200);
/// let slow = Quota::new(5, Duration::from_secs(3_600)).burst(1);
/// # let _ = (API, slow);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds per call.
    interval: u64,
    burst: u32,
}

/// A year for one call is the slowest.
const MAX_INTERVAL: u64 = 365 * 86_400 * 1_000_000_000;

/// So that sums of times stay far from the end of their range.
const MAX_TOLERANCE: u64 = u64::MAX / 4;

impl Quota {
    /// `calls` in any time of length `per`, and as many at once.
    ///
    /// Zero calls become one, and zero time a nanosecond for each call. The slowest is a call a
    /// year. For no calls at all, take the endpoint out instead.
    pub const fn new(calls: u32, per: Duration) -> Self {
        let calls = if calls == 0 { 1 } else { calls };
        let interval = match gcra::interval(calls, per) {
            None => 1,
            Some(interval) if interval > MAX_INTERVAL => MAX_INTERVAL,
            Some(interval) => interval,
        };
        Self::clamped(interval, calls)
    }

    /// `calls` a second, and as many at once. See [`new`](Self::new).
    pub const fn per_second(calls: u32) -> Self {
        Self::new(calls, Duration::from_secs(1))
    }

    /// `calls` a minute, and as many at once. See [`new`](Self::new).
    pub const fn per_minute(calls: u32) -> Self {
        Self::new(calls, Duration::from_secs(60))
    }

    /// How many calls may come at once after a quiet time. Default: all of the quota. Zero becomes
    /// one.
    #[must_use]
    pub const fn burst(self, burst: u32) -> Self {
        Self::clamped(self.interval, burst)
    }

    const fn clamped(interval: u64, burst: u32) -> Self {
        let most = MAX_TOLERANCE / interval;
        let burst = if burst == 0 {
            1
        } else if burst as u64 > most {
            most as u32
        } else {
            burst
        };
        Self { interval, burst }
    }

    pub(super) fn rule(self) -> Gcra {
        Gcra::new(self.interval, self.burst)
    }
}

/// A [`Quota`] as a config has it.
///
/// ```
/// use tower_upstream::limit::{RateLimitConfig, RateLimitLayer};
///
/// let mut config = RateLimitConfig::default();
/// config.requests_per_second = 0.5;
/// config.burst = 1;
/// config.validate()?;
/// let layer = RateLimitLayer::with_config(&config);
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// How many calls a second; a fraction is fine. Default 10.
    pub requests_per_second: f64,
    /// How many calls at once after a quiet time, from 1. Default 20.
    pub burst: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self { requests_per_second: 10.0, burst: 20 }
    }
}

impl RateLimitConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes at once. A layer built of such a config takes the
    /// nearest sane values instead.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let rate = self.requests_per_second;
        if !(rate > 0.0 && rate <= 1e9) {
            mistakes.push(format!(
                "`requests_per_second` is {rate}, but must be above 0 and at most 1000000000"
            ));
        }
        if self.burst == 0 {
            mistakes.push("`burst` is 0, but must be at least 1".to_owned());
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("rate limit: {}", mistakes.join("; "));
        Err(Error::unsent(Kind::InvalidConfig).message(text))
    }

    /// The quota. What is out of range becomes the nearest sane value: between a call a year and
    /// one a nanosecond.
    pub fn quota(&self) -> Quota {
        // A cast of a float saturates, and a NaN becomes zero.
        let interval = (1e9 / self.requests_per_second).ceil();
        let interval = if self.requests_per_second > 0.0 {
            (interval as u64).clamp(1, MAX_INTERVAL)
        } else {
            MAX_INTERVAL
        };
        Quota::clamped(interval, self.burst)
    }
}

impl From<&RateLimitConfig> for Quota {
    fn from(config: &RateLimitConfig) -> Self {
        config.quota()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_quotas_become_the_nearest_sane_ones() {
        let quota = |interval, burst| Quota { interval, burst };
        assert_eq!(Quota::new(0, Duration::from_secs(1)), quota(1_000_000_000, 1));
        assert_eq!(Quota::new(5, Duration::ZERO), quota(1, 5));
        assert_eq!(Quota::new(1, Duration::MAX), quota(MAX_INTERVAL, 1));
        assert_eq!(Quota::per_minute(6).burst(0), quota(10_000_000_000, 1));
        let wide = Quota::new(1, Duration::MAX).burst(u32::MAX);
        assert_eq!(u64::from(wide.burst), MAX_TOLERANCE / MAX_INTERVAL);
    }

    #[test]
    fn a_config_is_a_quota_and_names_its_mistakes() {
        let config = |requests_per_second, burst| RateLimitConfig { requests_per_second, burst };
        assert_eq!(config(10.0, 20).quota(), Quota::per_second(10).burst(20));
        assert_eq!(config(0.5, 1).quota().interval, 2_000_000_000);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let text = config(rate, 0).validate().unwrap_err().to_string();
            assert!(text.contains("requests_per_second") && text.contains("burst"), "{text}");
            assert!((1..=MAX_INTERVAL).contains(&config(rate, 0).quota().interval));
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_config_is_read_and_unknown_keys_are_named() {
        let config: RateLimitConfig =
            serde_json::from_str(r#"{"requests_per_second": 2}"#).unwrap();
        assert_eq!((config.requests_per_second, config.burst), (2.0, 20));
        let error = serde_json::from_str::<RateLimitConfig>(r#"{"time_window": 1}"#).unwrap_err();
        assert!(error.to_string().contains("time_window"));
    }
}
