//! Calls plugins by JSON over HTTP/1.1, byte for byte as the Go plugin manager does.

mod answer;
mod config;
mod exchange;
mod failure;
mod outgoing;
mod pool;
mod request;
mod service;
mod timer;

use std::{fmt, marker::PhantomData, sync::Arc};

pub use self::{
    config::HttpConfig,
    service::{HttpFuture, HttpService},
};

use tokio::runtime::Handle;

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
/// | connection broke before the head of an answer | `Connection` | if it had been used before, it does not count against the endpoint |
/// | answer broke off after its head | `Connection` | |
/// | `request_timeout` | `Timeout` | unsent while nothing was written |
/// | the deadline of the call | `Timeout` | the same; does not count against the endpoint |
/// | an address or a header that cannot be used | `InvalidConfig` | unsent |
///
/// # Connections that died
/// A connection may die while it is idle: a proxy forgets it, or the plugin restarts. If a call fails
/// with a connection that had been used before, and before the head of its answer, the idle connections
/// to that endpoint are closed, and the call is sent once more, on a fresh connection and within the
/// same times, if it is [`idempotent`](crate::Call::idempotent) or nothing of it was written. Otherwise
/// it fails, and does not count against the endpoint, unless the connection that died took the place of
/// others that had died less than a second before. A call that fails on a fresh connection counts
/// against the endpoint, and for one second after a repetition failed, none is sent again.
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
    runtime: Option<Handle>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> HttpTransport<Req, Res> {
    /// With the default config.
    pub fn new() -> Self {
        Self::with_config(HttpConfig::default())
    }

    /// With this config. What is out of range is clamped; see [`HttpConfig`].
    pub fn with_config(config: HttpConfig) -> Self {
        Self { config: Arc::new(config.clamped()), runtime: None, types: PhantomData }
    }

    /// Keeps the connections and their tasks on this runtime, whichever runtime calls come from.
    /// Default: the runtime of the call that makes a connection.
    ///
    /// A connection works only while its runtime runs: set this where calls come from runtimes that are
    /// short-lived, or not always driven. It must have timers and I/O enabled. Once `runtime` has been
    /// shut down, connections are made on the caller's. A call whose connection ended with its runtime
    /// fails with [`Kind::Connection`](crate::error::Kind::Connection), or is sent again as after any
    /// connection that died, and does not count against the endpoint.
    ///
    /// ```
    /// # use tower_upstream::transport::HttpTransport;
    /// # #[tokio::main] async fn main() {
    /// let runtime = tokio::runtime::Handle::current();
    /// let transport = HttpTransport::<u64, u64>::new().runtime(runtime);
    /// # let _ = transport;
    /// # }
    /// ```
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The config, as it is used.
    pub fn config(&self) -> &HttpConfig {
        &self.config
    }
}

impl<Req, Res> Connect for HttpTransport<Req, Res> {
    type Service = HttpService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        HttpService::new(member, self.config.clone(), self.runtime.clone())
    }
}

impl<Req, Res> Default for HttpTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for HttpTransport<Req, Res> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), runtime: self.runtime.clone(), types: PhantomData }
    }
}

impl<Req, Res> fmt::Debug for HttpTransport<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("config", &self.config).finish()
    }
}
