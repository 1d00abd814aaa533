use std::{fmt, marker::PhantomData, sync::Arc};

use super::{
    config::SocketConfig, handle::SocketTransportHandle, pool::Pool, service::SocketService,
};
use crate::{connect::Connect, guard::Family, member::Member, transport::counts::Counts};

/// Connects to plugins that speak messages of JSON over a Unix or TCP socket.
///
/// The address of an endpoint is `unix:/path`, or `tcp://host:port`. Each member gets a pool of
/// connections. Connecting happens on first use. Clones share the settings.
///
/// # Connections
/// A call takes the idle connection that was used last. If there is none, one is made, and the call
/// takes whichever is there first: that one, or one that another call gives back. Calls are served in
/// their order. A connection that a call began to make is kept for the next if the call ends before.
///
/// With [`max_connections`](SocketConfig::max_connections), a member that has as many is not ready, so
/// that a balancer takes another. A call that comes all the same waits for its turn, until its deadline.
///
/// # What is sent
/// One JSON object and a line end: `type`, `request_id` and `data`, then `headers`, `timeout_ms` and
/// `metadata` if there are any. `timeout_ms` is the timeout of the [`Call`](crate::Call), or
/// [`request_timeout`](SocketConfig::request_timeout) if that is shorter. The answer must have the same
/// `request_id`; until it has come, no other message is sent on the connection. The Go plugin manager
/// ignores `metadata`, and sends none.
///
/// # What comes back
/// A [`Reply`](crate::Reply) if `success` is true. If `data` is `null`, it is the zero value of `Res`.
/// Otherwise an [`Error`](crate::Error) that names the endpoint:
///
/// | what happened | kind | |
/// |---|---|---|
/// | `success` is false | `Plugin` | the plugin answered, so the call is not sent again |
/// | the same with `status` 429 | `RateLimited` | a limit of the plugin, so not a refusal; with its `retry_after_ms` |
/// | the same with a `status` of 5xx | `Transport` | may be sent to another endpoint, if idempotent; with its `retry_after_ms` |
/// | an answer that is none, or is too long | `Transport` | code `TRANSPORT_1303`, or `RPC_2003` for `tcp` |
/// | `data` that is no `Res` | `Transport` | code `RPC_2005` |
/// | the answer to another question | `Transport` | code `RPC_2003` |
/// | no connection | `Connection`, or `Timeout` after `connect_timeout` | unsent |
/// | the process at the other end belongs to another user | `Connection` | unsent; code `SECURITY_1801` |
/// | the plugin does not accept the `token` | `Connection` | unsent; code `RPC_2002` |
/// | all of [`max_connections`](SocketConfig::max_connections) in use until `request_timeout` | `Timeout` | unsent; does not count against the endpoint |
/// | the connection broke | `Connection` | unsent while the message was not wholly written |
/// | `request_timeout` | `Timeout` | unsent while the message was not wholly written |
/// | deadline of the call | `Timeout` | likewise; does not count against the endpoint |
/// | a request that cannot be written as JSON | `InvalidConfig` | unsent; code `RPC_2005` |
/// | an address that cannot be used | `InvalidConfig` | unsent; code `PLUGIN_1008` for another scheme |
///
/// # Connections that died
/// A connection is used again only after an answer that was right: never after an error, a timeout, or a
/// call that was dropped. One that the plugin closed, or on which it said anything, while it was idle is
/// closed before it is used. If a call still fails on a connection that had been there before, and
/// nothing of an answer came, the idle connections to that endpoint are closed. The call is sent once
/// more, on a new connection and within the same time limits, if it is
/// [`idempotent`](crate::Call::idempotent) or was not wholly written. Otherwise it fails, and does not
/// count against the endpoint, unless the connection that died replaced others that had died less than a
/// second before. For one second after a call was sent again in vain, no call is sent again.
///
/// # Example
/// ```
/// use serde::{Deserialize, Serialize};
/// use tower_upstream::transport::SocketTransport;
///
/// #[derive(Serialize)]
/// struct TaxRequest { net: u64, country: String }
/// #[derive(Default, Deserialize)]
/// struct TaxReply { gross: u64 }
///
/// let transport = SocketTransport::<TaxRequest, TaxReply>::new();
/// # let _ = transport;
/// ```
pub struct SocketTransport<Req, Res> {
    family: Arc<Family<Pool, SocketConfig>>,
    counts: Arc<Counts>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> SocketTransport<Req, Res> {
    /// Creates a transport with the default settings.
    pub fn new() -> Self {
        Self::with_config(SocketConfig::default())
    }

    /// Creates a transport with these settings. Values out of range are clamped; see [`SocketConfig`].
    pub fn with_config(config: SocketConfig) -> Self {
        let family = Arc::new(Family::new(config.clamped()));
        Self { family, counts: Arc::default(), types: PhantomData }
    }

    /// Returns a handle to the settings and counts of this transport and its clones.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::transport::SocketTransport;
    ///
    /// let transport = SocketTransport::<u64, u64>::new();
    /// let handle = transport.handle();
    /// handle.update(&handle.config().with_request_timeout(Duration::from_secs(3)))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn handle(&self) -> SocketTransportHandle {
        SocketTransportHandle::new(self.family.clone(), self.counts.clone())
    }
}

impl<Req, Res> Connect for SocketTransport<Req, Res> {
    type Service = SocketService<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let pool =
            self.family.of_member(member, |config| Pool::new(member.clone(), config.clone()));
        SocketService::new(member, pool, self.counts.clone())
    }
}

impl<Req, Res> Default for SocketTransport<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res> Clone for SocketTransport<Req, Res> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), counts: self.counts.clone(), types: PhantomData }
    }
}

impl<Req, Res> fmt::Debug for SocketTransport<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketTransport").field("config", &self.family.settings()).finish()
    }
}
