use std::time::Duration;

use super::super::watch::WatchConfig;

/// Which addresses of a name to use.
///
/// ```
/// use tower_upstream::discover::{DnsConfig, IpFamily};
/// let config = DnsConfig::default().with_family(IpFamily::V4);
/// assert_ne!(config.family, IpFamily::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum IpFamily {
    /// IPv4 and IPv6. The default.
    #[default]
    Both,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// Settings of a [`Dns`](super::Dns).
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::DnsConfig;
///
/// let config = DnsConfig::default().with_max_ttl(Duration::from_secs(30));
/// assert_eq!(config.min_ttl, Duration::from_secs(1));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct DnsConfig {
    /// Shortest time after which a name is resolved again, however short the TTL of its records is. At least
    /// 1 s. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub min_ttl: Duration,
    /// Longest time after which a name is resolved again, however long the TTL of its records is.
    /// Default: 5 min.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_ttl: Duration,
    /// Time for one resolution with all its queries, from 100 ms. Default: 15 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub timeout: Duration,
    /// Which addresses to use. Default: both.
    pub family: IpFamily,
    /// Which answers to doubt. A name that does not exist counts as an answer without endpoints.
    pub watch: WatchConfig,
}

const MIN_TTL: Duration = Duration::from_secs(1);
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            min_ttl: MIN_TTL,
            max_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(15),
            family: IpFamily::Both,
            watch: WatchConfig::default(),
        }
    }
}

impl DnsConfig {
    /// Sets [`min_ttl`](Self::min_ttl).
    #[must_use]
    pub fn with_min_ttl(mut self, ttl: Duration) -> Self {
        self.min_ttl = ttl;
        self
    }

    /// Sets [`max_ttl`](Self::max_ttl).
    #[must_use]
    pub fn with_max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = ttl;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`family`](Self::family).
    #[must_use]
    pub fn with_family(mut self, family: IpFamily) -> Self {
        self.family = family;
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
        self.min_ttl = self.min_ttl.max(MIN_TTL);
        self.max_ttl = self.max_ttl.max(self.min_ttl);
        self.timeout = self.timeout.max(MIN_TIMEOUT);
        self
    }

    /// When to resolve again. The bounds are in order.
    pub(super) fn wait(&self, ttl: Duration) -> Duration {
        ttl.clamp(self.min_ttl, self.max_ttl)
    }
}
