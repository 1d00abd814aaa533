use std::{fmt, marker::PhantomData, sync::Arc};

use tokio::runtime::Handle;

use super::{config::GrpcConfig, handle::GrpcTransportHandle, peer::Peer, service::GrpcService};
use crate::{
    auth::Credentials,
    connect::Connect,
    dial::Tls,
    grpc::{Flavour, Json, Native},
    guard::Family,
    member::Member,
    transport::counts::Counts,
};

/// Connects to plugins that speak gRPC.
///
/// The address of an endpoint is `grpc://host:port`, `http://host:port` or `host:port`; with TLS (feature
/// `tls`) `grpc-tls://host:port`, `grpcs://…` or `https://…`; over a Unix socket
/// `grpc+unix://%2Frun%2Ftax.sock`, where the process at the other end must belong to one of
/// [`allowed_uids`](GrpcConfig::allowed_uids), or nothing is sent. One connection of HTTP/2 carries all calls to a
/// member. It is made on first use. While there are calls on it, it is probed after 310 s without traffic, and closed if
/// the answer takes 10 s: servers of gRPC go away from clients that probe more often than every 5 min. If it has
/// answered nothing for a second when a call gives up, the next calls make a new one. Clones share the settings.
///
/// # What is sent
/// A unary call of `/PluginService/Execute`, whose message is the JSON of the request ([`Json`]); or of
/// `/plugin.PluginService/Execute`, whose message is one of Protocol Buffers ([`Native`], made by
/// [`native`](GrpcTransport::native)). The metadata is `x-request-id`, the headers of the
/// [`Call`](crate::Call), except those that gRPC sets itself, and `x-metadata-bin`: the metadata of the call,
/// as a JSON object. A header whose name ends with `-bin` may hold any text, others visible ASCII.
/// `grpc-timeout` is the time that is left to the call, or
/// [`request_timeout`](GrpcConfig::request_timeout) if that is shorter.
///
/// # What comes back
/// A [`Reply`](crate::Reply) if the status is `OK`; its request id and its metadata are the `x-request-id` and
/// `x-metadata-bin` of the answer. Otherwise an [`Error`](crate::Error) that names the endpoint:
///
/// | what happened | kind | |
/// |---|---|---|
/// | `UNAVAILABLE` | `Transport` | may be sent to another endpoint, if idempotent; with its pushback or `RetryInfo` |
/// | `RESOURCE_EXHAUSTED` | `RateLimited` | a limit of the plugin, so not a refusal; with its pushback or `RetryInfo` |
/// | `DEADLINE_EXCEEDED` | `Timeout` | |
/// | `INTERNAL`, `DATA_LOSS` | `Service` | |
/// | `CANCELLED` | `Service` | does not count against the endpoint |
/// | any other status | `Plugin` | the plugin answered, so the call is not sent again |
/// | an answer that is not of gRPC, or too long a message | `Transport` | code `TRANSPORT_1302` |
/// | a message that is longer than [`max_request_bytes`](GrpcConfig::max_request_bytes) | `InvalidRequest` | unsent |
/// | no connection | `Connection`, or `Timeout` after `connect_timeout` | unsent |
/// | HTTP/2 refused the request, or the endpoint went away before it looked at it | `Connection` | unsent |
/// | the connection broke | `Connection` | if it had been used before, it does not count against the endpoint |
/// | `request_timeout` | `Timeout` | unsent while nothing was written |
/// | deadline of the call | `Timeout` | likewise; does not count against the endpoint |
/// | credentials that could be [read on the way](Credentials::allow_plaintext) | `InvalidConfig` | unsent; code `AUTH_1105` |
/// | an address or a header that cannot be used | `InvalidConfig` | unsent |
///
/// A status of the plugin is in the error: [`downcast`](crate::Error::downcast) to a `tonic::Status` takes it
/// out. `UNKNOWN` is an answer here, since that is what servers make of an error that is no status.
///
/// # Connections that died
/// As with [`HttpTransport`](crate::transport::HttpTransport#connections-that-died): a call that fails on a
/// connection that had been used before is sent once more on a new one, if it is
/// [`idempotent`](crate::Call::idempotent) or nothing of it was written. Connections are only made for calls,
/// so there is no time during which calls fail because of an earlier failure: the first call after a plugin
/// is back reaches it.
///
/// # Example
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_upstream::transport::GrpcTransport;
///
/// #[derive(Serialize)]
/// struct TaxRequest { net: u64, country: String }
/// #[derive(Default, Deserialize)]
/// struct TaxReply { gross: u64 }
///
/// let transport = GrpcTransport::<TaxRequest, TaxReply>::new();
/// # let _ = transport;
/// ```
pub struct GrpcTransport<Req, Res, F = Json> {
    family: Arc<Family<Peer, GrpcConfig>>,
    counts: Arc<Counts>,
    tls: Arc<Tls>,
    credentials: Credentials,
    runtime: Option<Handle>,
    types: PhantomData<fn(Req, F) -> Res>,
}

impl<Req, Res> GrpcTransport<Req, Res> {
    /// Creates a transport for plugins whose messages are JSON, with the default settings.
    pub fn new() -> Self {
        Self::with_config(GrpcConfig::default())
    }

    /// Creates a transport for plugins whose messages are JSON. Values out of range are clamped; see
    /// [`GrpcConfig`].
    pub fn with_config(config: GrpcConfig) -> Self {
        Self::of(config)
    }
}

impl<Req, Res> GrpcTransport<Req, Res, Native> {
    /// Creates a transport for plugins whose messages are Protocol Buffers, with the default settings.
    pub fn native() -> Self {
        Self::native_with_config(GrpcConfig::default())
    }

    /// Creates a transport for plugins whose messages are Protocol Buffers. Values out of range are clamped;
    /// see [`GrpcConfig`].
    pub fn native_with_config(config: GrpcConfig) -> Self {
        Self::of(config)
    }
}

impl<Req, Res, F> GrpcTransport<Req, Res, F> {
    fn of(config: GrpcConfig) -> Self {
        let family = Arc::new(Family::new(config.clamped()));
        let (counts, tls) = Default::default();
        let credentials = Credentials::none();
        Self { family, counts, tls, credentials, runtime: None, types: PhantomData }
    }

    /// Sets what calls without [credentials](crate::Call::with_credentials) of their own show to be let in,
    /// and what [`GrpcService::health`] and [`GrpcService::info`] show.
    ///
    /// They are metadata, by the keys of the Go plugin manager; see [`Credentials`]. Default: none.
    ///
    /// ```
    /// use tower_upstream::{auth::Credentials, transport::GrpcTransport};
    ///
    /// let transport = GrpcTransport::<u64, u64>::new()
    ///     .with_credentials(Credentials::bearer("abc.def"));
    /// # let _ = transport;
    /// ```
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the runtime of the connections and their tasks, whichever runtime calls come from; see
    /// [`HttpTransport::with_runtime`](crate::transport::HttpTransport::with_runtime).
    ///
    /// ```
    /// # use tower_upstream::transport::GrpcTransport;
    /// # #[tokio::main] async fn main() {
    /// let runtime = tokio::runtime::Handle::current();
    /// let transport = GrpcTransport::<u64, u64>::new().with_runtime(runtime);
    /// # let _ = transport;
    /// # }
    /// ```
    #[must_use]
    pub fn with_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Returns a handle to the settings and counts of this transport and its clones.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::transport::GrpcTransport;
    ///
    /// let transport = GrpcTransport::<u64, u64>::new();
    /// let handle = transport.handle();
    /// handle.update(&handle.config().with_request_timeout(Duration::from_secs(3)))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn handle(&self) -> GrpcTransportHandle {
        GrpcTransportHandle::new(self.family.clone(), self.counts.clone())
    }
}

impl<Req, Res, F: Flavour> Connect for GrpcTransport<Req, Res, F> {
    type Service = GrpcService<Req, Res, F>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let peer = self.family.of_member(member, |config| {
            Peer::new(member.clone(), config.clone(), self.tls.clone(), self.runtime.clone())
        });
        GrpcService::new(member, peer, self.counts.clone(), self.credentials.clone())
    }
}

impl<Req, Res> Default for GrpcTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res, F> Clone for GrpcTransport<Req, Res, F> {
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

impl<Req, Res, F> fmt::Debug for GrpcTransport<Req, Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcTransport").field("config", &self.family.settings()).finish()
    }
}
