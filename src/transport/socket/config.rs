use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    auth::Secret,
    error::{Error, Kind},
    time, wire,
};

/// Settings of a [`SocketTransport`](super::SocketTransport).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds; `connection_timeout` is another name
/// of `connect_timeout`, as in Go.
///
/// # Bounds
/// [`validate`](Self::validate) names every value that is out of range. A transport clamps it: a duration
/// or size of zero becomes the default, and a duration is at most thirty years.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::transport::SocketConfig;
///
/// let config = SocketConfig::default().with_request_timeout(Duration::from_secs(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SocketConfig {
    /// Longest time of one exchange, from the first attempt to connect to the last byte of the answer.
    ///
    /// The deadline of a call may end it earlier. The plugin is told the shorter of both. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Longest time to connect, with the proof of the `token`. Default: 5 s.
    #[serde(with = "crate::duration::serde", alias = "connection_timeout")]
    pub connect_timeout: Duration,
    /// Longest time that a connection may have been without use when a call takes it.
    ///
    /// One that is older is closed. Default: 90 s.
    #[serde(with = "crate::duration::serde")]
    pub idle_timeout: Duration,
    /// Time without use after which a connection is asked for a sign of life before a call takes it.
    ///
    /// If there is none within 1 s, the call gets a new connection. A plugin that closed the connection is
    /// noticed without this. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub ping_after: Duration,
    /// Most connections that are kept without use, for each member.
    ///
    /// With 0, every call makes a new connection. Default: 64.
    pub max_idle_connections: usize,
    /// Most connections to each member, in use or not.
    ///
    /// While all are in use, the service is not ready, so a balancer takes another member. Default: 0,
    /// which is no limit.
    pub max_connections: usize,
    /// Most bytes of an answer. More is an error, and is not read. Default: 16 MiB.
    pub max_message_bytes: usize,
    /// Users whose processes may be behind a Unix socket; the operating system tells before a byte is sent.
    ///
    /// Default: empty, which is the user of this process, and root.
    pub allowed_uids: Vec<u32>,
    /// Whether a process of any user may be behind a Unix socket. Default: `false`.
    pub allow_any_user: bool,
    /// Whether a `tcp` address may lead to another host.
    ///
    /// What is sent there, and the `token`, can be read on the way: there is no TLS. Default: `false`.
    pub allow_remote: bool,
    /// Token that is sent as the first message of each connection.
    ///
    /// Default: empty, which sends no such message.
    #[serde(skip_serializing)]
    pub token: Secret,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            ping_after: Duration::from_secs(30),
            max_idle_connections: 64,
            max_connections: 0,
            max_message_bytes: wire::MAX_BODY,
            allowed_uids: Vec::new(),
            allow_any_user: false,
            allow_remote: false,
            token: Secret::default(),
        }
    }
}

impl SocketConfig {
    /// Creates the settings that the Go plugin manager gives a plugin without a `connection` section: at
    /// most 10 connections, of which 5 are kept, for 30 s; 10 s to connect, and 30 s for a call.
    ///
    /// ```
    /// use tower_upstream::transport::SocketConfig;
    /// let config = SocketConfig::go();
    /// assert_eq!((config.max_connections, config.max_idle_connections), (10, 5));
    /// ```
    pub fn go() -> Self {
        Self::default()
            .with_max_connections(10)
            .with_max_idle_connections(5)
            .with_idle_timeout(Duration::from_secs(30))
            .with_connect_timeout(Duration::from_secs(10))
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub const fn with_request_timeout(mut self, duration: Duration) -> Self {
        self.request_timeout = duration;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub const fn with_connect_timeout(mut self, duration: Duration) -> Self {
        self.connect_timeout = duration;
        self
    }

    /// Sets [`idle_timeout`](Self::idle_timeout).
    #[must_use]
    pub const fn with_idle_timeout(mut self, duration: Duration) -> Self {
        self.idle_timeout = duration;
        self
    }

    /// Sets [`ping_after`](Self::ping_after).
    #[must_use]
    pub const fn with_ping_after(mut self, duration: Duration) -> Self {
        self.ping_after = duration;
        self
    }

    /// Sets [`max_idle_connections`](Self::max_idle_connections).
    #[must_use]
    pub const fn with_max_idle_connections(mut self, most: usize) -> Self {
        self.max_idle_connections = most;
        self
    }

    /// Sets [`max_connections`](Self::max_connections).
    #[must_use]
    pub const fn with_max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Sets [`max_message_bytes`](Self::max_message_bytes).
    #[must_use]
    pub const fn with_max_message_bytes(mut self, most: usize) -> Self {
        self.max_message_bytes = most;
        self
    }

    /// Sets [`allowed_uids`](Self::allowed_uids).
    #[must_use]
    pub fn with_allowed_uids(mut self, uids: impl IntoIterator<Item = u32>) -> Self {
        self.allowed_uids = uids.into_iter().collect();
        self
    }

    /// Sets [`allow_any_user`](Self::allow_any_user).
    #[must_use]
    pub const fn with_allow_any_user(mut self, allow: bool) -> Self {
        self.allow_any_user = allow;
        self
    }

    /// Sets [`allow_remote`](Self::allow_remote).
    #[must_use]
    pub const fn with_allow_remote(mut self, allow: bool) -> Self {
        self.allow_remote = allow;
        self
    }

    /// Sets [`token`](Self::token).
    #[must_use]
    pub fn with_token(mut self, token: impl Into<Secret>) -> Self {
        self.token = token.into();
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. A
    /// transport clamps them instead.
    pub fn validate(&self) -> Result<(), Error> {
        let zeros = [
            ("request_timeout", self.request_timeout.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("ping_after", self.ping_after.is_zero()),
            ("max_message_bytes", self.max_message_bytes == 0),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let mistakes: Vec<_> =
            zeros.map(|(name, _)| format!("`{name}` is zero, but must be more")).collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("socket: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        let default = Self::default();
        for (duration, default) in [
            (&mut self.request_timeout, default.request_timeout),
            (&mut self.connect_timeout, default.connect_timeout),
            (&mut self.idle_timeout, default.idle_timeout),
            (&mut self.ping_after, default.ping_after),
        ] {
            *duration = if duration.is_zero() { default } else { (*duration).min(time::FAR) };
        }
        if self.max_message_bytes == 0 {
            self.max_message_bytes = default.max_message_bytes;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = SocketConfig::default()
            .with_request_timeout(Duration::ZERO)
            .with_connect_timeout(Duration::ZERO)
            .with_idle_timeout(Duration::ZERO)
            .with_ping_after(Duration::ZERO)
            .with_max_message_bytes(0);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "request_timeout",
            "connect_timeout",
            "idle_timeout",
            "ping_after",
            "max_message_bytes",
        ] {
            assert!(text.contains(name), "{text}");
        }
        assert_eq!(absurd.clamped(), SocketConfig::default());
        assert!(
            SocketConfig::default().validate().is_ok() && SocketConfig::go().validate().is_ok()
        );
    }

    #[test]
    fn a_file_is_read_and_a_token_is_never_written() {
        let text = r#"{"connection_timeout":"2s","allowed_uids":[0,1000],"token":"s3cret"}"#;
        let config: SocketConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(2));
        assert_eq!(config.allowed_uids, [0, 1_000]);
        assert_eq!(config.token, Secret::from("s3cret"));
        let shown = format!("{} {config:?}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(serde_json::from_str::<SocketConfig>(r#"{"tokn":"x"}"#).is_err());
    }
}
