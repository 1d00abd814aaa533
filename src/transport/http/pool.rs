//! The connections to one endpoint, and what is known of those that died.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::Uri;
use tokio::{
    runtime::Handle,
    time::{error::Elapsed, timeout},
};

use super::{
    config::HttpConfig,
    connection::{Connections, Dialing, HttpConnection, Lease, Waiting},
};
use crate::{
    dial::{ConnectError, Tls, is_running},
    guard::{Configured, Newest},
    member::Member,
    pool,
    sync::lock,
    time::{self, Instant},
};

/// How long after one failed nothing is sent again to the same endpoint, and how long after
/// connections died those that took their place count against the endpoint: if fresh connections fail
/// too, it is not the connections.
const RESEND_PAUSE: Duration = Duration::from_secs(1);
/// Nothing was sent again in vain.
const NEVER: i64 = i64::MIN;

pub(in crate::transport) struct Pool {
    member: Arc<Member>,
    /// A URL of the host that it connects to. Without a host if the address cannot be used.
    host: Uri,
    config: ArcSwap<HttpConfig>,
    connections: Arc<Connections>,
    tls: Arc<Tls>,
    /// Where the connections live, unless with their callers.
    runtime: Option<Handle>,
    /// The stamp of the last call that was sent again in vain, or `NEVER`.
    resent_in_vain: AtomicI64,
    emptied: Mutex<Option<Emptied>>,
}

/// The last time that a connection died which had been used before.
#[derive(Clone, Copy)]
struct Emptied {
    at: Instant,
    /// Whether that says nothing of the endpoint.
    were_idle: bool,
}

impl Pool {
    pub(in crate::transport) fn new(
        member: Arc<Member>,
        host: Uri,
        config: Arc<HttpConfig>,
        tls: Arc<Tls>,
        runtime: Option<Handle>,
    ) -> Self {
        Self {
            member,
            host,
            connections: pool::Pool::new(config.limits()),
            config: ArcSwap::new(config),
            tls,
            runtime,
            resent_in_vain: AtomicI64::new(NEVER),
            emptied: Mutex::new(None),
        }
    }

    /// The pool for `url`: this one, or one for a single call if that is on another host.
    pub(super) fn reaching(self: &Arc<Self>, url: &Uri) -> Arc<Self> {
        if (url.scheme(), url.authority()) == (self.host.scheme(), self.host.authority()) {
            return self.clone();
        }
        let (member, tls, runtime) = (self.member.clone(), self.tls.clone(), self.runtime.clone());
        Arc::new(Self::new(member, url.clone(), self.config(), tls, runtime))
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

    /// Makes a connection, in a task.
    pub(super) fn dial(&self, dialing: Dialing) {
        let (url, config, tls) = (self.host.clone(), self.config(), self.tls.clone());
        self.spawn(async move {
            let limit = config.connect_timeout;
            let make = HttpConnection::make(url, &config, &tls, dialing.place());
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

    /// Lets go of the idle connections, once for all that died together: a call whose connection is of
    /// an older `epoch` comes after one that did. Exchanges in progress end as they would.
    ///
    /// Returns whether they may have died while they were idle. Those of one epoch may die together,
    /// but if those that take their place die within a second as well, it is not because of their age.
    pub(super) fn empty(&self, epoch: u64, now: Instant) -> bool {
        let mut emptied = lock(&self.emptied);
        if self.connections.empty(Some(epoch)) {
            let since = emptied.map(|emptied| now.saturating_duration_since(emptied.at));
            let were_idle = since.is_none_or(|since| since >= RESEND_PAUSE);
            *emptied = Some(Emptied { at: now, were_idle });
        }
        emptied.is_none_or(|emptied| emptied.were_idle)
    }

    /// Whether a fresh connection may do better.
    pub(super) fn may_resend(&self, now: Instant) -> bool {
        // Relaxed: each is a value of its own.
        match self.resent_in_vain.load(Ordering::Relaxed) {
            NEVER => true,
            stamp => now.saturating_duration_since(time::at_stamp(stamp)) >= RESEND_PAUSE,
        }
    }

    pub(super) fn resent_in_vain(&self, now: Instant) {
        self.resent_in_vain.store(time::stamp(now).max(NEVER + 1), Ordering::Relaxed);
    }
}

impl Configured<HttpConfig> for Pool {
    /// Connections are kept, unless the new settings are about them.
    fn apply(self: Arc<Self>, newest: &Newest<HttpConfig>) {
        let _alone = lock(&self.emptied);
        let config = newest.get();
        let before = self.config.swap(config.clone());
        self.connections.set_limits(config.limits());
        if !config.connects_like(&before) {
            self.connections.empty(None);
        }
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
