use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    endpoint::without_user,
    error::{Error, Kind},
    wire,
};

/// Settings of an [`HttpTransport`](super::HttpTransport).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds.
///
/// # Bounds
/// [`validate`](Self::validate) names every value that is out of range. A transport clamps it: a duration
/// or size of zero becomes the default, and a duration is at most thirty years.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::transport::HttpConfig;
///
/// let config = HttpConfig::default().with_request_timeout(Duration::from_secs(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Longest time of one exchange, from the first attempt to connect to the last byte of the response.
    ///
    /// The deadline of a call may end it earlier. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Longest time to resolve the host and to connect to it. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub connect_timeout: Duration,
    /// Longest time that a connection is kept without use. Default: 90 s.
    #[serde(with = "crate::duration::serde")]
    pub idle_timeout: Duration,
    /// Most connections that are kept without use, for each member.
    ///
    /// With 0, every call makes a new connection. Default: 64.
    pub max_idle_connections: usize,
    /// Most bytes of the body of a response, before and after it is decompressed.
    ///
    /// More is an error, and is not read. Default: 16 MiB.
    pub max_response_bytes: usize,
    /// Most bytes of the head of a response, from 8 KiB to 16 MiB. Default: 64 KiB.
    pub max_header_bytes: usize,
    /// Whether to ask for responses compressed with gzip.
    ///
    /// A compressed response is decompressed in any case. Default: `true`.
    pub compression: bool,
    /// Path or URL that [`HttpService::health`](super::HttpService::health) gets.
    ///
    /// A path with a leading `/` starts at the root of the host, one without at the endpoint. A whole
    /// URL is used unchanged, and must not contain a user name. Default: empty, which is `health` below
    /// the endpoint.
    pub health_path: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            max_idle_connections: 64,
            max_response_bytes: wire::MAX_BODY,
            max_header_bytes: 64 << 10,
            compression: true,
            health_path: String::new(),
        }
    }
}

const HEADER_BYTES: std::ops::RangeInclusive<usize> = 8 << 10..=16 << 20;

impl HttpConfig {
    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub const fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets [`max_idle_connections`](Self::max_idle_connections).
    #[must_use]
    pub const fn with_max_idle_connections(mut self, max: usize) -> Self {
        self.max_idle_connections = max;
        self
    }

    /// Sets [`max_response_bytes`](Self::max_response_bytes).
    #[must_use]
    pub const fn with_max_response_bytes(mut self, max: usize) -> Self {
        self.max_response_bytes = max;
        self
    }

    /// Sets [`max_header_bytes`](Self::max_header_bytes).
    #[must_use]
    pub const fn with_max_header_bytes(mut self, max: usize) -> Self {
        self.max_header_bytes = max;
        self
    }

    /// Sets [`compression`](Self::compression).
    #[must_use]
    pub const fn with_compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`health_path`](Self::health_path).
    #[must_use]
    pub fn with_health_path(mut self, path: impl Into<String>) -> Self {
        self.health_path = path.into();
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. A
    /// transport clamps them instead; but a `health_path` with a user name is not requested, and its
    /// member is reported as unhealthy.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in [
            ("request_timeout", self.request_timeout),
            ("connect_timeout", self.connect_timeout),
            ("idle_timeout", self.idle_timeout),
        ] {
            if value.is_zero() {
                mistakes.push(format!("`{name}` is zero, but must be longer"));
            }
        }
        if self.max_response_bytes == 0 {
            mistakes.push("`max_response_bytes` is 0, but must be more".to_owned());
        }
        if !HEADER_BYTES.contains(&self.max_header_bytes) {
            mistakes.push(format!(
                "`max_header_bytes` is {}, but must be from {} to {}",
                self.max_header_bytes,
                HEADER_BYTES.start(),
                HEADER_BYTES.end()
            ));
        }
        if has_user(&self.health_path) {
            mistakes.push(format!(
                "`health_path` is `{}`, but must not hold a user name",
                without_user(&self.health_path)
            ));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("http: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(86_400 * 365 * 30);
        let default = Self::default();
        for (duration, default) in [
            (&mut self.request_timeout, default.request_timeout),
            (&mut self.connect_timeout, default.connect_timeout),
            (&mut self.idle_timeout, default.idle_timeout),
        ] {
            *duration = if duration.is_zero() { default } else { (*duration).min(FOR_EVER) };
        }
        for (size, default) in [
            (&mut self.max_response_bytes, default.max_response_bytes),
            (&mut self.max_header_bytes, default.max_header_bytes),
        ] {
            if *size == 0 {
                *size = default;
            }
        }
        self.max_header_bytes =
            self.max_header_bytes.clamp(*HEADER_BYTES.start(), *HEADER_BYTES.end());
        self
    }

    /// Whether a client that was made with `other` serves this as well.
    pub(super) fn connects_like(&self, other: &Self) -> bool {
        let of_client = |config: &Self| {
            let Self { connect_timeout, idle_timeout, .. } = *config;
            (connect_timeout, idle_timeout, config.max_idle_connections, config.max_header_bytes)
        };
        of_client(self) == of_client(other)
    }
}

/// Whether the authority of a URL holds more than a host and a port.
pub(super) fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Leaves out a secret that was written into `health_path`.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_idle_connections", &self.max_idle_connections)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("max_header_bytes", &self.max_header_bytes)
            .field("compression", &self.compression)
            .field("health_path", &without_user(&self.health_path))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_refused_and_never_shown() {
        let with = |path: &str| HttpConfig { health_path: path.into(), ..HttpConfig::default() };
        let config = with("http://user:secret@a/health");
        let text = format!("{} {config:?}", config.validate().unwrap_err());
        assert!(text.contains("user name") && text.contains("a/health"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        for path in ["/a@b", "http://a/b@c", "http://a?b@c", "a@b"] {
            assert!(with(path).validate().is_ok(), "{path}");
        }
    }

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = HttpConfig::default()
            .with_request_timeout(Duration::ZERO)
            .with_connect_timeout(Duration::ZERO)
            .with_idle_timeout(Duration::ZERO)
            .with_max_response_bytes(0)
            .with_max_header_bytes(usize::MAX);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "request_timeout",
            "connect_timeout",
            "idle_timeout",
            "max_response_bytes",
            "max_header_bytes",
        ] {
            assert!(text.contains(name), "{text}");
        }
        assert!(absurd.clamped().validate().is_ok());
        assert!(HttpConfig::default().validate().is_ok());
    }
}
