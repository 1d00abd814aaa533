use std::{fmt, marker::PhantomData, sync::Arc};

use tokio::runtime::Handle;

use super::{
    config::HttpConfig, handle::HttpTransportHandle, pool::Pool, request::Target,
    service::HttpService,
};
use crate::{
    auth::Credentials, connect::Connect, dial::Tls, guard::Family, member::Member,
    transport::counts::Counts,
};

/// Connects to plugins that speak JSON over HTTP/1.1, or over HTTP/2 with TLS.
///
/// Each member gets a pool of connections. Connecting happens on first use. Clones share the settings.
///
/// # Connections
/// A call takes the idle connection that was used last. If there is none, one is made, and the call
/// takes whichever is there first: that one, or one that another call gives back. Calls are served in
/// their order. A connection that a call began to make is kept for the next if the call ends before.
///
/// With [`max_connections`](HttpConfig::max_connections), a member that has as many is not ready, so that a
/// balancer takes another. A call that comes all the same waits for its turn, until its deadline. A
/// connection that is older than [`max_connection_age`](HttpConfig::max_connection_age) carries no more
/// calls, so that a name which leads to another host by now is noticed.
///
/// A connection is idle for at most [`idle_timeout`](HttpConfig::idle_timeout), and of HTTP/1 for a second less than
/// the `Keep-Alive: timeout` that the endpoint sends, or for half of it if it is shorter than 2 s: what is sent just as
/// an endpoint closes a connection may not be sent again.
///
/// Connections lead to the endpoint itself: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` are not read, which Go's client
/// does. Where only a proxy leads out, take a client that goes through it, by [`connect_fn`](crate::connect_fn).
///
/// # Unix sockets
/// An endpoint may have an address such as `http+unix://%2Frun%2Ftax.sock/rpc/tax`: HTTP/1.1 over the Unix
/// socket at `/run/tax.sock`. `Host` is `localhost`. The process at the other end must belong to one of
/// [`allowed_uids`](HttpConfig::allowed_uids), or nothing is sent.
///
/// # TLS
/// With the feature `tls`, an endpoint may have an `https` address; [`HttpConfig`] has the settings, as
/// `tls`. An endpoint may choose HTTP/2 then, and one connection carries all calls to it. If it has answered
/// nothing for a second when a call gives up, the next calls make a new one.
///
/// # What is sent
/// A `POST` to the address of the endpoint, exactly as it is written, with one JSON object: `data`,
/// `request_id`, `timeout`, and `headers` and `metadata` if there are any. `timeout` is that of the
/// [`Call`](crate::Call), or [`request_timeout`](HttpConfig::request_timeout) if that is shorter. The headers of the
/// call are sent as HTTP headers too, and replace those of the transport, except those that
/// say how the body is sent (`Host`, `Connection`, `Content-Length` and the like) and those that ask for an answer in
/// another form (`Accept-Encoding`, `Range`, `If-Match` and the like). Redirects are not followed: a `POST`
/// might be done twice, or turn into a `GET`.
///
/// # What comes back
/// A [`Reply`](crate::Reply) if the status is 2xx and the object has no `error`. If `data` is missing, it
/// is the zero value of `Res`. Otherwise an [`Error`](crate::Error) that names the endpoint:
///
/// | what happened | kind | |
/// |---|---|---|
/// | `error` in the object, or a status of 4xx | `Plugin` | the plugin answered, so the call is not sent again |
/// | status 429 | `RateLimited` | a limit of the plugin, so not a refusal; with its `Retry-After` |
/// | a status of 5xx | `Transport` | may be sent to another endpoint, if idempotent; with the `Retry-After` of a 503 |
/// | another status, a response that is not of the protocol, or too long a response | `Transport` | |
/// | the process behind a socket belongs to another user | `Connection` | unsent; code `SECURITY_1801` |
/// | `data` that is no `Res` | `Transport` | code `RPC_2005` |
/// | no connection | `Connection`, or `Timeout` after `connect_timeout` | unsent |
/// | all of [`max_connections`](HttpConfig::max_connections) in use until `request_timeout` | `Timeout` | unsent; does not count against the endpoint |
/// | HTTP/2 refused the request, or the endpoint went away before it looked at it | `Connection` | unsent |
/// | an endpoint whose certificate is not valid for its address | `Connection` | unsent |
/// | an endpoint that does not accept the client certificate, or wants one | `Connection` | unsent |
/// | files of `tls` that cannot be used | `InvalidConfig` | unsent |
/// | connection broke before the head of a response | `Connection` | if it had been used before, it does not count against the endpoint |
/// | response broke off after its head | `Connection` | |
/// | `request_timeout` | `Timeout` | unsent while nothing was written |
/// | deadline of the call | `Timeout` | unsent while nothing was written; does not count against the endpoint |
/// | a request that cannot be written as JSON | `InvalidConfig` | unsent; code `RPC_2005` |
/// | an address or a header that cannot be used | `InvalidConfig` | unsent; code `PLUGIN_1008` for another scheme, `PLUGIN_1004` for another mistake in a URL |
/// | credentials that could be [read on the way](Credentials::allow_plaintext) | `InvalidConfig` | unsent; code `AUTH_1105` |
///
/// # Connections that died
/// A connection may die while it is idle: a proxy forgets it, or the plugin restarts. If a call fails on
/// a connection that had been used before, and before the head of its response, the idle connections to
/// that endpoint are closed. The call is sent once more, on a new connection and within the same time
/// limits, if it is [`idempotent`](crate::Call::idempotent) or nothing of it was written. Otherwise it
/// fails, and does not count against the endpoint, unless the connection that died replaced others that
/// had died less than a second before. A call that fails on a new connection counts against the
/// endpoint, and for one second after that, no call is sent again.
///
/// A 408 that ends a connection of HTTP/1 which had been used before counts as such a death: servers and balancers
/// write it before they close one without calls (RFC 9110 §15.5.9).
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
    family: Arc<Family<Pool, HttpConfig>>,
    counts: Arc<Counts>,
    tls: Arc<Tls>,
    credentials: Credentials,
    runtime: Option<Handle>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> HttpTransport<Req, Res> {
    /// Creates a transport with the default settings.
    pub fn new() -> Self {
        Self::with_config(HttpConfig::default())
    }

    /// Creates a transport with these settings. Values out of range are clamped; see [`HttpConfig`].
    pub fn with_config(config: HttpConfig) -> Self {
        let family = Arc::new(Family::new(config.clamped()));
        let (counts, tls) = Default::default();
        let credentials = Credentials::none();
        Self { family, counts, tls, credentials, runtime: None, types: PhantomData }
    }

    /// Sets the runtime of the connections and their tasks, whichever runtime calls come from.
    ///
    /// A connection works only while its runtime runs. Set this if calls come from runtimes that are
    /// short-lived, or not always driven. The runtime must have timers and I/O enabled. Once it has been
    /// shut down, connections are made on the caller's. A call on a connection that ended with its
    /// runtime fails with [`Kind::Connection`](crate::error::Kind::Connection), or is sent again as after
    /// any connection that died, and does not count against the endpoint. Default: the runtime of the
    /// call that makes a connection.
    ///
    /// ```
    /// # use tower_upstream::transport::HttpTransport;
    /// # #[tokio::main] async fn main() {
    /// let runtime = tokio::runtime::Handle::current();
    /// let transport = HttpTransport::<u64, u64>::new().with_runtime(runtime);
    /// # let _ = transport;
    /// # }
    /// ```
    #[must_use]
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets what calls without [credentials](crate::Call::with_credentials) of their own show to be let in,
    /// and what [`HttpService::health`] and [`HttpService::info`] show.
    ///
    /// Default: none.
    ///
    /// ```
    /// use tower_upstream::{auth::Credentials, transport::HttpTransport};
    ///
    /// let transport = HttpTransport::<u64, u64>::new()
    ///     .with_credentials(Credentials::basic("tax", "s3cret"));
    /// # let _ = transport;
    /// ```
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Returns a handle to the settings and counts of this transport and its clones.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::transport::HttpTransport;
    ///
    /// let transport = HttpTransport::<u64, u64>::new();
    /// let handle = transport.handle();
    /// handle.update(&handle.config().with_request_timeout(Duration::from_secs(3)))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn handle(&self) -> HttpTransportHandle {
        HttpTransportHandle::new(self.family.clone(), self.counts.clone())
    }
}

impl<Req, Res> Connect for HttpTransport<Req, Res> {
    type Service = HttpService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let pool = self.family.of_member(member, |config| {
            let (host, config) = (Target::host(member), config.clone());
            Pool::new(member.clone(), host, config, self.tls.clone(), self.runtime.clone())
        });
        HttpService::new(member, pool, self.counts.clone(), self.credentials.clone())
    }
}

impl<Req, Res> Default for HttpTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for HttpTransport<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            counts: self.counts.clone(),
            tls: self.tls.clone(),
            credentials: self.credentials.clone(),
            runtime: self.runtime.clone(),
            types: PhantomData,
        }
    }
}

impl<Req, Res> fmt::Debug for HttpTransport<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("config", &self.family.settings()).finish()
    }
}
