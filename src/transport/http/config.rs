use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::speaks::Speaks;
#[cfg(feature = "tls")]
use crate::dial::TlsConfig;
use crate::{
    endpoint::without_user,
    pool::{Limits, unless_zero},
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
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct HttpConfig {
    /// Longest time of one exchange, from the first attempt to connect to the last byte of the response.
    ///
    /// The deadline of a call may end it earlier. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Longest time to resolve the host and to connect to it. Default: 5 s.
    #[serde(with = "crate::duration::serde", alias = "connection_timeout")]
    pub connect_timeout: Duration,
    /// Longest time that a connection is kept without use. Default: 90 s.
    #[serde(with = "crate::duration::serde")]
    pub idle_timeout: Duration,
    /// Most connections that are kept without use, for each member.
    ///
    /// With 0, every call makes a new connection. Default: 64.
    pub max_idle_connections: usize,
    /// Most connections that are open or being made, for each member.
    ///
    /// A member that has as many is not ready, so that a balancer takes another. In a file, 0 means none as
    /// well. Default: none.
    #[serde(deserialize_with = "unless_zero")]
    pub max_connections: Option<usize>,
    /// Age beyond which a connection carries no more calls.
    ///
    /// A tenth of it at most, by chance, is left out for each connection, so that those made together do
    /// not end together. It is what notices that a name leads to another host by now. Default: 10 min.
    #[serde(with = "crate::duration::option")]
    pub max_connection_age: Option<Duration>,
    /// Whether connections are kept for other calls.
    ///
    /// With `false`, every call makes a new connection and closes it. Default: `true`.
    pub keep_alive: bool,
    /// Most bytes of the body of a response, before and after it is decompressed.
    ///
    /// More is an error, and is not read. Default: 16 MiB.
    pub max_response_bytes: usize,
    /// Most bytes of the head of a response, from 8 KiB to 16 MiB. Default: 64 KiB.
    pub max_header_bytes: usize,
    /// Whether not to ask for responses compressed with gzip.
    ///
    /// A compressed response is decompressed in any case. Default: `false`.
    pub disable_compression: bool,
    /// Path or URL that [`HttpService::health`](super::HttpService::health) gets.
    ///
    /// A path with a leading `/` starts at the root of the host, one without at the endpoint. A whole
    /// URL is used unchanged, and must not contain a user name. Default: empty, which is `health` below
    /// the endpoint.
    pub health_path: String,
    /// Users whose processes may be behind a Unix socket; the operating system tells before a byte is sent.
    ///
    /// Default: empty, which is the user of this process, and root.
    pub allowed_uids: Vec<u32>,
    /// Whether a process of any user may be behind a Unix socket. Default: `false`.
    pub allow_any_user: bool,
    /// TLS, for members with an `https` address. Needs the feature `tls`.
    #[cfg(feature = "tls")]
    pub tls: TlsConfig,
    /// Known to the transport, and to no file.
    #[serde(skip)]
    pub(in crate::transport) speaks: Speaks,
}

crate::written::names_keys!(HttpConfig);

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            max_idle_connections: 64,
            max_connections: None,
            max_connection_age: Some(MAX_AGE),
            keep_alive: true,
            max_response_bytes: wire::MAX_BODY,
            max_header_bytes: 64 << 10,
            disable_compression: false,
            health_path: String::new(),
            allowed_uids: Vec::new(),
            allow_any_user: false,
            #[cfg(feature = "tls")]
            tls: TlsConfig::default(),
            speaks: Speaks::Http,
        }
    }
}

/// What an age of zero becomes as well.
pub(super) const MAX_AGE: Duration = Duration::from_secs(600);

impl HttpConfig {
    /// Returns the defaults of the Go plugin manager's `connection` section: 10 connections, of which 5
    /// are kept for 30 s without use, with 10 s to connect and 30 s for an exchange.
    ///
    /// In Go, `max_connections` bounds the idle connections only.
    ///
    /// ```
    /// use tower_upstream::transport::HttpConfig;
    /// assert_eq!(HttpConfig::go().max_connections, Some(10));
    /// ```
    pub fn go() -> Self {
        Self {
            max_connections: Some(10),
            max_idle_connections: 5,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            ..Self::default()
        }
    }

    setters! {
        with_request_timeout: request_timeout = Duration;
        with_connect_timeout: connect_timeout = Duration;
        with_idle_timeout: idle_timeout = Duration;
        with_max_idle_connections: max_idle_connections = usize;
        with_max_response_bytes: max_response_bytes = usize;
        with_max_header_bytes: max_header_bytes = usize;
        with_max_connections: max_connections = impl Into<Option<usize>>;
        with_max_connection_age: max_connection_age = impl Into<Option<Duration>>;
        with_keep_alive: keep_alive = bool;
        with_disable_compression: disable_compression = bool;
        with_health_path: health_path = impl Into<String>;
        with_allowed_uids: allowed_uids = each u32;
        with_allow_any_user: allow_any_user = bool;
    }

    /// Sets [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: TlsConfig) -> Self {
        self.tls = tls;
        self
    }

    /// What bounds the connections to one member.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max: self.max_connections,
            max_idle: if self.keep_alive { self.max_idle_connections } else { 0 },
            idle_timeout: self.idle_timeout,
            max_age: self.max_connection_age,
        }
    }

    /// Whether a connection that was made with `other` serves this as well.
    pub(super) fn connects_like(&self, other: &Self) -> bool {
        let of_connection = |config: &Self| (config.connect_timeout, config.max_header_bytes);
        #[cfg(feature = "tls")]
        if self.tls != other.tls {
            return false;
        }
        let users = |config: &Self| (config.allowed_uids.clone(), config.allow_any_user);
        of_connection(self) == of_connection(other)
            && self.limits() == other.limits()
            && users(self) == users(other)
    }
}

/// Leaves out a secret that was written into `health_path`.
impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("HttpConfig");
        debug
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_idle_connections", &self.max_idle_connections)
            .field("max_connections", &self.max_connections)
            .field("max_connection_age", &self.max_connection_age)
            .field("keep_alive", &self.keep_alive)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("max_header_bytes", &self.max_header_bytes)
            .field("disable_compression", &self.disable_compression)
            .field("health_path", &without_user(&self.health_path))
            .field("allowed_uids", &self.allowed_uids)
            .field("allow_any_user", &self.allow_any_user);
        #[cfg(feature = "tls")]
        debug.field("tls", &self.tls);
        debug.finish()
    }
}
