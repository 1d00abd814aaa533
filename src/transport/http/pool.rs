//! The connections to one endpoint.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use http::{Uri, uri::Scheme};
use tokio::{
    runtime::Handle,
    time::{error::Elapsed, timeout},
};

use super::{
    config::HttpConfig,
    connection::{Connections, Dialing, HttpConnection, Lease, Waiting},
    request::Page,
};
use crate::{
    auth::Credentials,
    dial::{ConnectError, Tls, is_running},
    error::Error,
    guard::{Configured, Newest},
    member::Member,
    pool,
};

pub(in crate::transport) struct Pool {
    member: Arc<Member>,
    /// A URL of the host that it connects to. Without a host if the address cannot be used.
    host: Uri,
    /// That of an `http+unix` URL.
    socket: Option<Arc<str>>,
    config: ArcSwap<HttpConfig>,
    connections: Arc<Connections>,
    tls: Arc<Tls>,
    /// Where the connections live, unless with their callers.
    runtime: Option<Handle>,
}

impl Pool {
    pub(in crate::transport) fn new(
        member: Arc<Member>,
        host: Uri,
        config: Arc<HttpConfig>,
        tls: Arc<Tls>,
        runtime: Option<Handle>,
    ) -> Self {
        let socket = member.endpoint().address().socket_path().map(Arc::from);
        let is_secure = cfg!(feature = "tls") && host.scheme() == Some(&Scheme::HTTPS);
        let may_share = is_secure || config.speaks.is_grpc();
        Self {
            member,
            host,
            socket,
            connections: pool::Pool::new(config.limits(), may_share),
            config: ArcSwap::new(config),
            tls,
            runtime,
        }
    }

    /// The pool for `page`: this one, or one for a single call if that is on another host or socket.
    pub(super) fn reaching(self: &Arc<Self>, page: &Page) -> Arc<Self> {
        let Page { url, socket, .. } = page;
        let is_here =
            (url.scheme(), url.authority()) == (self.host.scheme(), self.host.authority());
        if is_here && (socket.is_none() || *socket == self.socket) {
            return self.clone();
        }
        let (member, tls, runtime) = (self.member.clone(), self.tls.clone(), self.runtime.clone());
        let other = Self::new(member, url.clone(), self.config(), tls, runtime);
        Arc::new(Self { socket: socket.clone(), ..other })
    }

    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(in crate::transport) fn config(&self) -> Arc<HttpConfig> {
        self.config.load_full()
    }

    /// How many connections are open, or being made.
    #[cfg(feature = "grpc")]
    pub(in crate::transport) fn live(&self) -> usize {
        self.connections.live()
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// A place in the line for a connection.
    pub(super) fn wait(&self) -> Waiting {
        Waiting::new(&self.connections)
    }

    /// The error of a call that shows credentials which could be read on the way.
    pub(super) fn exposed(&self) -> Error {
        Credentials::exposed(&format!("`{}`", self.host.authority().map_or("", |of| of.as_str())))
    }

    /// Makes a connection, in a task.
    pub(super) fn dial(&self, dialing: Dialing) {
        let (url, socket) = (self.host.clone(), self.socket.clone());
        let (config, tls) = (self.config(), self.tls.clone());
        self.spawn(async move {
            let limit = config.connect_timeout;
            let make = HttpConnection::make(url, socket.as_deref(), &config, &tls, dialing.place());
            let made = timeout(limit, make).await;
            let made = made.unwrap_or_else(|_: Elapsed| Err(ConnectError::too_late(limit)));
            dialing.finish(made);
        });
    }

    /// Gives a connection back whose answer was read to its end.
    pub(super) fn give_back(&self, mut lease: Lease) {
        if lease.connection().is_ready() {
            return lease.give_back();
        }
        // It has yet to look up from its last answer; or to write the rest of the request.
        let limit = self.config.load().idle_timeout;
        self.spawn(async move {
            if timeout(limit, lease.connection().ready()).await == Ok(true) {
                lease.give_back();
            }
        });
    }

    /// Spawns on the runtime that was given while it runs, otherwise on the caller's. Rare: it is about
    /// once for each connection.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let given = self.runtime.as_ref().filter(|given| is_running(given));
        if let Some(runtime) = given.cloned().or_else(|| Handle::try_current().ok()) {
            drop(runtime.spawn(task));
        }
    }
}

impl Configured<HttpConfig> for Pool {
    /// Connections are kept, unless the new settings are about them.
    fn apply(self: Arc<Self>, newest: &Newest<HttpConfig>) {
        self.connections.configure(|| {
            let config = newest.get();
            let before = self.config.swap(config.clone());
            (config.limits(), !config.connects_like(&before))
        });
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.config.load())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
