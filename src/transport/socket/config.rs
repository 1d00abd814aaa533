use std::{marker::PhantomData, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::super::limit::contradiction;
use crate::{
    auth::Secret,
    error::{Error, Kind},
    pool::{Limits, unless_zero},
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
#[cfg_attr(not(doc), serde(remote = "Self"))]
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
    /// Longest time that a connection is kept without use. Default: 90 s.
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
    /// Most connections that are open or being made, for each member.
    ///
    /// A member that has as many is not ready, so that a balancer takes another. In a file, 0 means none as
    /// well. Default: none.
    #[serde(deserialize_with = "unless_zero")]
    pub max_connections: Option<usize>,
    /// Age beyond which a connection carries no more calls.
    ///
    /// A tenth of it at most, by chance, is left out for each connection, so that those made together do
    /// not end together. Default: 10 min.
    #[serde(with = "crate::duration::option")]
    pub max_connection_age: Option<Duration>,
    /// Whether connections are kept for other calls.
    ///
    /// With `false`, every call makes a new connection and closes it. Default: `true`.
    pub keep_alive: bool,
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
    /// A key of Go's `connection` section. Messages are never compressed.
    #[serde(rename = "disable_compression", skip_serializing, deserialize_with = "nothing")]
    compression: PhantomData<bool>,
}

crate::written::names_keys!(SocketConfig);

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            ping_after: Duration::from_secs(30),
            max_idle_connections: 64,
            max_connections: None,
            max_connection_age: Some(MAX_AGE),
            keep_alive: true,
            max_message_bytes: wire::MAX_BODY,
            allowed_uids: Vec::new(),
            allow_any_user: false,
            allow_remote: false,
            token: Secret::default(),
            compression: PhantomData,
        }
    }
}

const MAX_AGE: Duration = Duration::from_secs(600);

impl SocketConfig {
    /// Returns the defaults of the Go plugin manager's `connection` section: 10 connections, of which 5
    /// are kept for 30 s without use, with 10 s to connect and 30 s for an exchange.
    ///
    /// In Go, `max_connections` bounds the idle connections only. `disable_compression` is read from a
    /// file and has no effect, since messages are never compressed.
    ///
    /// ```
    /// use tower_upstream::transport::SocketConfig;
    /// assert_eq!(SocketConfig::go().max_connections, Some(10));
    /// ```
    pub fn go() -> Self {
        Self::default()
            .with_max_connections(10)
            .with_max_idle_connections(5)
            .with_idle_timeout(Duration::from_secs(30))
            .with_connect_timeout(Duration::from_secs(10))
    }

    setters! {
        with_request_timeout: request_timeout = Duration;
        with_connect_timeout: connect_timeout = Duration;
        with_idle_timeout: idle_timeout = Duration;
        with_ping_after: ping_after = Duration;
        with_max_idle_connections: max_idle_connections = usize;
        with_max_connections: max_connections = impl Into<Option<usize>>;
        with_max_connection_age: max_connection_age = impl Into<Option<Duration>>;
        with_keep_alive: keep_alive = bool;
        with_max_message_bytes: max_message_bytes = usize;
        with_allow_any_user: allow_any_user = bool;
        with_allow_remote: allow_remote = bool;
        with_token: token = impl Into<Secret>;
        with_allowed_uids: allowed_uids = each u32;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. A
    /// transport clamps them instead.
    pub fn validate(&self) -> Result<(), Error> {
        let zero_age = self.max_connection_age.is_some_and(|age| age.is_zero());
        let zeros = [
            ("request_timeout", self.request_timeout.is_zero(), ""),
            ("connect_timeout", self.connect_timeout.is_zero(), ""),
            ("idle_timeout", self.idle_timeout.is_zero(), ""),
            ("ping_after", self.ping_after.is_zero(), ""),
            ("max_connections", self.max_connections == Some(0), ", or none"),
            ("max_connection_age", zero_age, ", or none"),
            ("max_message_bytes", self.max_message_bytes == 0, ""),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero, _)| *is_zero);
        let mut mistakes: Vec<_> =
            zeros.map(|(name, _, or)| format!("`{name}` is zero, but must be more{or}")).collect();
        mistakes.extend(contradiction(
            self.request_timeout,
            self.connect_timeout,
            Self::default().connect_timeout,
        ));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("socket: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        let default = Self::default();
        let clamp = |duration: &mut Duration, default| {
            *duration = if duration.is_zero() { default } else { (*duration).min(time::FAR) };
        };
        clamp(&mut self.request_timeout, default.request_timeout);
        clamp(&mut self.connect_timeout, default.connect_timeout);
        clamp(&mut self.idle_timeout, default.idle_timeout);
        clamp(&mut self.ping_after, default.ping_after);
        if let Some(age) = &mut self.max_connection_age {
            clamp(age, MAX_AGE);
        }
        self.max_connections = self.max_connections.map(|max| max.max(1));
        if self.max_message_bytes == 0 {
            self.max_message_bytes = default.max_message_bytes;
        }
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
        let peers = |config: &Self| (config.allow_any_user, config.allow_remote);
        self.connect_timeout == other.connect_timeout
            && peers(self) == peers(other)
            && self.allowed_uids == other.allowed_uids
            && self.token == other.token
            && self.limits() == other.limits()
    }
}

fn nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PhantomData<bool>, D::Error> {
    bool::deserialize(deserializer).map(|_| PhantomData)
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
