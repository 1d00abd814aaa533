//! Calls plugins by JSON over HTTP/1.1, byte for byte as the Go plugin manager does.

mod answer;
mod config;
mod dial;
mod exchange;
mod outgoing;
mod request;
mod service;

use std::{fmt, marker::PhantomData, sync::Arc};

pub use self::{
    config::HttpConfig,
    service::{HttpFuture, HttpService},
};

use crate::{connect::Connect, member::Member};

/// Connects to plugins that speak JSON over HTTP/1.1.
///
/// Each member gets a client with a pool of connections of its own; connecting happens on first
/// use. A clone makes services of the same config.
///
/// # What is sent
/// A `POST` to the address of the endpoint exactly as it is written, with one JSON object: `data`,
/// `request_id`, `timeout`, and `headers` and `metadata` where there are any. The headers of the
/// [`Call`](crate::Call) are HTTP headers too, and win over those of the transport; only `Host`,
/// `Content-Length`, `Transfer-Encoding` and `Trailer` are left to the transport. Redirects are
/// not followed: a `POST` might be done twice, or turn into a `GET`.
///
/// # What comes back
/// A [`Reply`](crate::Reply) where the status is 2xx and the object has no `error`. Missing `data`
/// is the zero value of `Res`. Otherwise an [`Error`](crate::Error) that names the endpoint:
///
/// | what happened | kind | |
/// |---|---|---|
/// | `error` in the object, or a status of 4xx | `Plugin` | the plugin spoke: again brings nothing |
/// | status 429 | `RateLimited` | the plugin's limit, not one of ours: not a refusal; `Retry-After` kept |
/// | a status of 5xx | `Transport` | worth another endpoint, if idempotent; `Retry-After` of a 503 kept |
/// | another status, or not an answer of the protocol, or too much of it | `Transport` | |
/// | no connection | `Connection`, or `Timeout` after `connect_timeout` | unsent |
/// | connection broke later | `Connection` | |
/// | `request_timeout`, or the deadline of the call | `Timeout` | unsent while nothing was written |
/// | an address or a header that cannot be used | `InvalidConfig` | unsent |
///
/// # Example
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_upstream::transport::HttpTransport;
///
/// #[derive(Serialize)]
/// struct TaxRequest { net: u64, country: String }
/// #[derive(Default, Deserialize)]
/// struct TaxReply { gross: u64 }
///
/// let transport = HttpTransport::<TaxRequest, TaxReply>::new();
/// # let _ = transport;
/// ```
pub struct HttpTransport<Req, Res> {
    config: Arc<HttpConfig>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> HttpTransport<Req, Res> {
    /// With the default config.
    pub fn new() -> Self {
        Self::with_config(HttpConfig::default())
    }

    /// With this config. What is out of range is clamped; see [`HttpConfig`].
    pub fn with_config(config: HttpConfig) -> Self {
        Self { config: Arc::new(config.clamped()), types: PhantomData }
    }

    /// The config, as it is used.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }
}

impl<Req, Res> Connect for HttpTransport<Req, Res> {
    type Service = HttpService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        HttpService::new(member, self.config.clone())
    }
}

impl<Req, Res> Default for HttpTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for HttpTransport<Req, Res> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), types: PhantomData }
    }
}

impl<Req, Res> fmt::Debug for HttpTransport<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("config", &self.config).finish()
    }
}
