use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "tls")]
use crate::dial::TlsConfig;
use crate::{
    error::{Error, Kind},
    grpc::frame,
    transport::{
        http::{HttpConfig, Speaks},
        limit::contradiction,
    },
};

/// Settings of a [`GrpcTransport`](super::GrpcTransport).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds; `connection_timeout` is another name of
/// `connect_timeout`, as in Go.
///
/// # Bounds
/// [`validate`](Self::validate) names every value that is out of range. A transport clamps it: a duration
/// or size of zero becomes the default, and a duration is at most thirty years.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::transport::GrpcConfig;
///
/// let config = GrpcConfig::default().with_request_timeout(Duration::from_secs(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GrpcConfig {
    /// Longest time of one call, from the first attempt to connect to the last byte of the answer.
    ///
    /// The deadline of a call may end it earlier. The plugin is told the shorter of both. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Longest time to resolve the host and to connect to it. Default: 5 s.
    #[serde(with = "crate::duration::serde", alias = "connection_timeout")]
    pub connect_timeout: Duration,
    /// Longest time that a connection is kept without use. Default: 5 min.
    #[serde(with = "crate::duration::serde")]
    pub idle_timeout: Duration,
    /// Age beyond which a connection carries no more calls.
    ///
    /// A tenth of it at most, by chance, is left out for each connection. It is what notices that a name
    /// leads to another host by now. Default: 10 min.
    #[serde(with = "crate::duration::option")]
    pub max_connection_age: Option<Duration>,
    /// Most bytes of the message of a request.
    ///
    /// A longer one is not sent; the call fails, and does not count against the endpoint. Default: 4 MiB.
    pub max_request_bytes: usize,
    /// Most bytes of the message of an answer. More is an error, and is not read. Default: 4 MiB.
    pub max_response_bytes: usize,
    /// Service whose health is asked for, by its name in `grpc.health.v1`.
    ///
    /// Default: empty, which is the server as a whole.
    pub health_service: String,
    /// Users whose processes may be behind a Unix socket.
    ///
    /// The operating system tells the user, before anything is sent. Default: empty, which is the user of
    /// this process, and root.
    pub allowed_uids: Vec<u32>,
    /// Whether a process of any user may be behind a Unix socket. Default: `false`.
    pub allow_any_user: bool,
    /// TLS, for members with a `grpc-tls` or `https` address. Needs the feature `tls`.
    #[cfg(feature = "tls")]
    pub tls: TlsConfig,
}

/// As in Go's gRPC.
const MAX_MESSAGE: usize = 4 << 20;

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            max_connection_age: Some(Duration::from_secs(600)),
            max_request_bytes: MAX_MESSAGE,
            max_response_bytes: MAX_MESSAGE,
            health_service: String::new(),
            allowed_uids: Vec::new(),
            allow_any_user: false,
            #[cfg(feature = "tls")]
            tls: TlsConfig::default(),
        }
    }
}

impl GrpcConfig {
    setters! {
        with_request_timeout: request_timeout = Duration;
        with_connect_timeout: connect_timeout = Duration;
        with_idle_timeout: idle_timeout = Duration;
        with_max_connection_age: max_connection_age = impl Into<Option<Duration>>;
        with_max_request_bytes: max_request_bytes = usize;
        with_max_response_bytes: max_response_bytes = usize;
        with_health_service: health_service = impl Into<String>;
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
            ("max_connection_age", self.max_connection_age.is_some_and(|age| age.is_zero())),
            ("max_request_bytes", self.max_request_bytes == 0),
            ("max_response_bytes", self.max_response_bytes == 0),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let mut mistakes: Vec<_> =
            zeros.map(|(name, _)| format!("`{name}` is zero, but must be more")).collect();
        mistakes.extend(contradiction(
            self.request_timeout,
            self.connect_timeout,
            Self::default().connect_timeout,
        ));
        for (name, size) in [
            ("max_request_bytes", self.max_request_bytes),
            ("max_response_bytes", self.max_response_bytes),
        ] {
            if size > LONGEST {
                mistakes.push(format!("`{name}` is {size}, but must be at most {LONGEST}"));
            }
        }
        #[cfg(feature = "tls")]
        mistakes.extend(self.tls.mistake().map(str::to_owned));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("grpc: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        let (default, http) = (Self::default(), self.http());
        self.request_timeout = http.request_timeout;
        self.connect_timeout = http.connect_timeout;
        self.idle_timeout = http.idle_timeout;
        self.max_connection_age = http.max_connection_age;
        for (size, default) in [
            (&mut self.max_request_bytes, default.max_request_bytes),
            (&mut self.max_response_bytes, default.max_response_bytes),
        ] {
            *size = if *size == 0 { default } else { (*size).min(LONGEST) };
        }
        self
    }

    /// What the connections and exchanges go by.
    pub(super) fn http(&self) -> HttpConfig {
        let most = self.max_response_bytes.saturating_add(frame::PREFIX);
        let mut config = HttpConfig::default()
            .with_request_timeout(self.request_timeout)
            .with_connect_timeout(self.connect_timeout)
            .with_idle_timeout(or(self.idle_timeout, Self::default().idle_timeout))
            .with_max_connection_age(self.max_connection_age)
            .with_max_response_bytes(most)
            .with_allowed_uids(self.allowed_uids.iter().copied())
            .with_allow_any_user(self.allow_any_user);
        #[cfg(feature = "tls")]
        {
            config = config.with_tls(self.tls.clone().with_http2(true));
        }
        config.speaks = Speaks::Grpc;
        config.clamped()
    }
}

/// What a length on the wire can say.
const LONGEST: usize = u32::MAX as usize;

fn or(duration: Duration, default: Duration) -> Duration {
    if duration.is_zero() { default } else { duration }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = GrpcConfig::default()
            .with_request_timeout(Duration::ZERO)
            .with_connect_timeout(Duration::ZERO)
            .with_idle_timeout(Duration::ZERO)
            .with_max_connection_age(Duration::ZERO)
            .with_max_request_bytes(0)
            .with_max_response_bytes(0);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "request_timeout",
            "connect_timeout",
            "idle_timeout",
            "max_connection_age",
            "max_request_bytes",
            "max_response_bytes",
        ] {
            assert!(text.contains(name), "{text}");
        }
        assert_eq!(absurd.clamped(), GrpcConfig::default());
        let huge = GrpcConfig::default().with_max_response_bytes(usize::MAX);
        assert!(huge.validate().is_err() && huge.clamped().validate().is_ok());
        assert!(GrpcConfig::default().validate().is_ok());
    }

    #[test]
    fn a_file_is_read_and_an_unknown_key_is_refused() {
        let text =
            r#"{"connection_timeout":"2s","health_service":"tax","max_connection_age":null}"#;
        let config: GrpcConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(2));
        assert_eq!((&*config.health_service, config.max_connection_age), ("tax", None));
        assert!(serde_json::from_str::<GrpcConfig>(r#"{"max_idle_connections":1}"#).is_err());
    }
}
