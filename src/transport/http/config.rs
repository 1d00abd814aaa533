use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire;

/// How to reach plugins over HTTP.
///
/// A duration or size of zero is the default; an absurdly long duration is thirty years. In a
/// file, durations are text such as `"1m30s"`, or nanoseconds.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::transport::HttpConfig;
///
/// let mut config = HttpConfig::default();
/// config.request_timeout = Duration::from_secs(10);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// How long one exchange may take, from the first attempt to connect to the last byte of the
    /// answer. Default 30 s. The deadline of a call bounds it further.
    #[serde(with = "wire::duration_config")]
    pub request_timeout: Duration,
    /// How long finding and connecting to the host may take. Default 5 s.
    #[serde(with = "wire::duration_config")]
    pub connect_timeout: Duration,
    /// How long a connection is kept without use. Default 90 s.
    #[serde(with = "wire::duration_config")]
    pub idle_timeout: Duration,
    /// How many connections are kept without use, for each member. Default 64. Zero keeps none,
    /// so that every call connects anew.
    pub max_idle_connections: usize,
    /// How many bytes the body of an answer may have, before and after it is decompressed. Default
    /// 16 MiB. More is an error, and is not read.
    pub max_response_bytes: usize,
    /// How many bytes the head of an answer may have. Default 64 KiB, from 8 KiB to 16 MiB.
    pub max_header_bytes: usize,
    /// Whether to ask for answers compressed by gzip. Default true. One that comes without asking
    /// is decompressed anyway.
    pub compression: bool,
    /// What [`HttpService::health`](super::HttpService::health) asks. Empty, the default, is
    /// `health` below the endpoint. A path with a leading `/` starts at the root of the host, one
    /// without at the endpoint; a whole URL is used as it is.
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

impl HttpConfig {
    pub(super) fn clamped(mut self) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(86_400 * 365 * 30);
        let default = Self::default();
        for (duration, default) in [
            (&mut self.request_timeout, default.request_timeout),
            (&mut self.connect_timeout, default.connect_timeout),
            (&mut self.idle_timeout, default.idle_timeout),
        ] {
            *duration = if duration.is_zero() {
                default
            } else {
                (*duration).min(FOR_EVER)
            };
        }
        for (size, default) in [
            (&mut self.max_response_bytes, default.max_response_bytes),
            (&mut self.max_header_bytes, default.max_header_bytes),
        ] {
            if *size == 0 {
                *size = default;
            }
        }
        self.max_header_bytes = self.max_header_bytes.clamp(8 << 10, 16 << 20);
        self
    }
}
