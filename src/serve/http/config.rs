use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "tls")]
use crate::dial::ServerTlsConfig;
use crate::error::{Error, Kind};

/// Least bytes of a head that hyper can be told.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// Settings of an HTTP server: [`HttpServe::bind`](super::HttpServe::bind) and
/// [`http_service`](super::http_service).
///
/// What bounds calls is set at [`HttpServe`](super::HttpServe). In a file, durations are text such as
/// `"1m30s"`, or nanoseconds.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::serve::HttpServerConfig;
///
/// let config = HttpServerConfig::default()
///     .with_max_connections(100)
///     .with_header_timeout(Duration::from_secs(3));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct HttpServerConfig {
    /// Most connections at once.
    ///
    /// While there are as many, no other is accepted: it waits in the queue of the operating system.
    /// Default: 1,024.
    pub max_connections: usize,
    /// Longest time for the head of a request, from its first byte, for a TLS handshake, and for a new
    /// connection to send its first byte.
    ///
    /// A part of a head is answered with 408, and the connection ends. Default: 10 s.
    #[serde(with = "crate::duration::serde")]
    pub header_timeout: Duration,
    /// Longest time for the body of a request, from its head, and longest time for which a caller may read
    /// nothing of what it is sent.
    ///
    /// [`HttpServe`](super::HttpServe) answers a slow body with 408; another service gets an error of the
    /// body. A caller that does not read loses its connection. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub body_timeout: Duration,
    /// Longest time that a connection may be without a request.
    ///
    /// More than a client keeps it, so that it is the client that closes. Default: 2 min.
    #[serde(with = "crate::duration::serde")]
    pub idle_timeout: Duration,
    /// Most headers of a request. More are answered with 431. Default: 100.
    pub max_headers: usize,
    /// Most bytes of the head of a request, from 8 KiB. More are answered with 431. Default: 64 KiB.
    pub max_header_bytes: usize,
    /// Longest time for requests to end once the server stops; then they are dropped. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub drain_timeout: Duration,
    /// Users whose processes may connect to a Unix socket.
    ///
    /// The operating system tells the user; others are closed before a byte is read. Default: empty, which
    /// is the user of this process, and root.
    pub allowed_uids: Vec<u32>,
    /// Whether a process of any user may connect to a Unix socket. Default: `false`.
    pub allow_any_user: bool,
    /// TLS. Needs the feature `tls`. Default: none.
    #[cfg(feature = "tls")]
    pub tls: Option<ServerTlsConfig>,
}

crate::written::names_keys!(HttpServerConfig);

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            max_headers: 100,
            max_header_bytes: 64 << 10,
            drain_timeout: Duration::from_secs(30),
            allowed_uids: Vec::new(),
            allow_any_user: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl HttpServerConfig {
    setters! {
        with_max_connections: max_connections = usize;
        with_header_timeout: header_timeout = Duration;
        with_body_timeout: body_timeout = Duration;
        with_idle_timeout: idle_timeout = Duration;
        with_max_headers: max_headers = usize;
        with_max_header_bytes: max_header_bytes = usize;
        with_drain_timeout: drain_timeout = Duration;
        with_allowed_uids: allowed_uids = each u32;
        with_allow_any_user: allow_any_user = bool;
    }

    /// Sets [`tls`](Self::tls).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTlsConfig) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let zeros = [
            ("max_connections", self.max_connections == 0),
            ("header_timeout", self.header_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("max_headers", self.max_headers == 0),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let mut mistakes: Vec<_> =
            zeros.map(|(name, _)| format!("`{name}` is zero, but must be more")).collect();
        if self.max_header_bytes < MIN_HEADER_BYTES {
            mistakes.push(format!(
                "`max_header_bytes` is {}, but must be at least {MIN_HEADER_BYTES}",
                self.max_header_bytes
            ));
        }
        #[cfg(feature = "tls")]
        mistakes.extend(self.tls.as_ref().and_then(ServerTlsConfig::mistake).map(str::to_owned));
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("http server: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named() {
        assert!(HttpServerConfig::default().validate().is_ok());
        let absurd: HttpServerConfig = serde_json::from_str(
            r#"{"max_connections":0,"header_timeout":0,"body_timeout":"0s","idle_timeout":0,"max_headers":0,
                "max_header_bytes":8191}"#,
        )
        .unwrap();
        #[cfg(feature = "tls")]
        let absurd = absurd.with_tls(ServerTlsConfig::default());
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "max_connections",
            "header_timeout",
            "body_timeout",
            "idle_timeout",
            "max_headers",
            "max_header_bytes",
        ] {
            assert!(text.contains(name), "{text}");
        }
        #[cfg(feature = "tls")]
        assert!(text.contains("key_file"), "{text}");
        assert!(serde_json::from_str::<HttpServerConfig>(r#"{"max_connection":1}"#).is_err());
    }
}
