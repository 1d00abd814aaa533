use std::time::Duration;

use super::{
    quota::{MAX_INTERVAL, Quota},
    quotas::Quotas,
};
use crate::error::{Error, Kind};

/// Settings of a rate limit, as a config file has them: a [`Quota`], or none.
///
/// The names of the Go plugin manager are read too: `burst_size` is `burst`.
///
/// ```
/// use tower_upstream::limit::{RateLimitConfig, RateLimitLayer};
///
/// let config = RateLimitConfig::default().with_requests_per_second(0.5).with_burst(1);
/// config.validate()?;
/// let layer = RateLimitLayer::with_config(config);
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct RateLimitConfig {
    /// Whether there is a limit. If not, every call passes and takes no token. Default: `true`.
    pub enabled: bool,
    /// Average number of calls in a [`time_window`](Self::time_window), above 0 and at most
    /// 1,000,000,000; may be a fraction. The [burst](Self::burst) comes on top: see
    /// [`Quota`](Quota#bounds) for how many may pass in one window. Default: 10.
    pub requests_per_second: f64,
    /// Number of calls that may come at once after a quiet time, from 1. Default: 20.
    #[cfg_attr(feature = "serde", serde(alias = "burst_size"))]
    pub burst: u32,
    /// Time that `requests_per_second` is for, from 1 ms. Tokens come back evenly over it. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub time_window: Duration,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(RateLimitConfig);

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            requests_per_second: 10.0,
            burst: 20,
            time_window: Duration::from_secs(1),
        }
    }
}

const MIN_WINDOW: Duration = Duration::from_millis(1);

impl RateLimitConfig {
    /// Returns the defaults of the Go plugin manager: the same numbers, but not enabled.
    ///
    /// ```
    /// use tower_upstream::limit::{RateLimitConfig, RateLimitLayer};
    /// let off = RateLimitLayer::with_config(RateLimitConfig::go()).handle();
    /// off.take(1_000)?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn go() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    setters! {
        with_enabled: enabled = bool;
        with_requests_per_second: requests_per_second = f64;
        with_burst: burst = u32;
        with_time_window: time_window = Duration;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once. A layer that is made with such a config
    /// uses the nearest valid values instead.
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
        // A number without a unit is nanoseconds, which is not meant here.
        if self.time_window < MIN_WINDOW {
            let value = self.time_window;
            mistakes.push(format!("`time_window` is {value:?}, but must be at least 1 ms"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("rate limit: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// Returns the quota, enabled or not. Values out of range become the nearest valid ones, from one
    /// call a year to one a nanosecond.
    pub fn quota(&self) -> Quota {
        // A cast of a float saturates, and a NaN becomes zero.
        let interval = (self.time_window.max(MIN_WINDOW).as_secs_f64() * 1e9
            / self.requests_per_second)
            .ceil();
        let interval = if self.requests_per_second > 0.0 {
            (interval as u64).clamp(1, MAX_INTERVAL)
        } else {
            MAX_INTERVAL
        };
        Quota::clamped(interval, self.burst)
    }
}

/// No quota if it is not enabled.
impl From<&RateLimitConfig> for Quotas {
    fn from(config: &RateLimitConfig) -> Self {
        if config.enabled { config.quota().into() } else { Self::none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(requests_per_second: f64, burst: u32) -> RateLimitConfig {
        RateLimitConfig { requests_per_second, burst, ..RateLimitConfig::default() }
    }

    #[test]
    fn a_config_is_a_quota_and_names_its_mistakes() {
        assert_eq!(config(10.0, 20).quota(), Quota::per_second(10).burst(20));
        assert_eq!(config(0.5, 1).quota(), Quota::new(1, Duration::from_secs(2)));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut config = config(rate, 0);
            config.time_window = Duration::from_nanos(60);
            let text = config.validate().unwrap_err().to_string();
            for name in ["requests_per_second", "burst", "time_window"] {
                assert!(text.contains(name), "{text}");
            }
            // Whatever it is, it is a quota.
            assert!(config.quota().rule().burst() >= 1);
        }
    }

    #[test]
    fn the_rate_is_for_the_window_and_what_is_off_is_no_limit() {
        let mut hourly = config(5.0, 2);
        hourly.time_window = Duration::from_secs(3_600);
        let quota = Quota::new(5, hourly.time_window).burst(2);
        assert_eq!(Quotas::from(&hourly), quota.into());
        hourly.enabled = false;
        assert_eq!(Quotas::from(&hourly), Quotas::none());
        assert_eq!(Quotas::from(&RateLimitConfig::go()), Quotas::none());
        assert_eq!(RateLimitConfig::go().quota(), RateLimitConfig::default().quota());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_config_is_read_by_both_sets_of_names_and_unknown_keys_are_named() {
        let read = |text: &str| serde_json::from_str::<RateLimitConfig>(text);
        let ours = read(r#"{"requests_per_second": 2, "burst": 3, "time_window": "1m"}"#).unwrap();
        assert_eq!(ours.quota(), Quota::per_minute(2).burst(3));
        let go =
            r#"{"enabled":true,"requests_per_second":2,"burst_size":3,"time_window":60000000000}"#;
        assert_eq!(read(go).unwrap(), ours);
        assert_eq!(read(&serde_json::to_string(&ours).unwrap()).unwrap(), ours);
        assert!(read(r#"{"burst": 1, "burst_size": 2}"#).is_err());
        let error = read(r#"{"window": 1}"#).unwrap_err();
        assert!(error.to_string().contains("window"));
    }
}
