use std::time::Duration;

use super::super::watch::WatchConfig;

/// Settings of a [`Farp`](super::Farp).
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::FarpConfig;
///
/// let config = FarpConfig::default().with_interval(Duration::from_secs(30)).with_manifest(true);
/// assert_eq!(config.timeout, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FarpConfig {
    /// Time from one poll of a seed to the next, 10 % more or less, from 100 ms to a day. A seed may ask for
    /// longer with `Cache-Control` or `Retry-After`, up to 5 min. Default: 10 s.
    #[serde(with = "crate::duration::serde", alias = "poll_interval")]
    pub interval: Duration,
    /// Time that one poll of a seed may take, with redirects and the manifest, from 10 ms. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub timeout: Duration,
    /// Failures in a row after which the endpoint of a seed is removed, at least 1. Default: 3.
    pub fall: u32,
    /// Whether to ask for the manifest too, which tells the weight, the place, the status and the health
    /// check. Default: `false`.
    pub manifest: bool,
    /// Whether a [token](super::Farp::with_token) may be sent in plain text to another host. Default:
    /// `false`.
    pub allow_plaintext: bool,
    /// Which answers to doubt.
    pub watch: WatchConfig,
}

impl Default for FarpConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            fall: 3,
            manifest: false,
            allow_plaintext: false,
            watch: WatchConfig::default(),
        }
    }
}

impl FarpConfig {
    /// Sets [`interval`](Self::interval).
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`fall`](Self::fall).
    #[must_use]
    pub fn with_fall(mut self, failures: u32) -> Self {
        self.fall = failures;
        self
    }

    /// Sets [`manifest`](Self::manifest).
    #[must_use]
    pub fn with_manifest(mut self, manifest: bool) -> Self {
        self.manifest = manifest;
        self
    }

    /// Sets [`allow_plaintext`](Self::allow_plaintext).
    #[must_use]
    pub fn with_allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Sets [`watch`](Self::watch).
    #[must_use]
    pub fn with_watch(mut self, watch: WatchConfig) -> Self {
        self.watch = watch;
        self
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        let [least, most] = [Duration::from_millis(100), Duration::from_secs(86_400)];
        self.interval = self.interval.clamp(least, most);
        self.timeout = self.timeout.clamp(Duration::from_millis(10), most);
        self.fall = self.fall.max(1);
        self
    }
}
