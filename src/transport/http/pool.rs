//! The connections to one endpoint.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use hyper::rt::Executor;
use hyper_util::{client::legacy::Client, rt::TokioTimer};
use tokio::runtime::Handle;

use super::{config::HttpConfig, outgoing::Outgoing};
use crate::{
    dial::{TcpConnector, is_running},
    guard::{Configured, Newest},
    member::Member,
    sync::lock,
    time::{self, Instant},
};

pub(super) type HttpClient = Client<TcpConnector, Outgoing>;

/// How long after one failed nothing is sent again to the same endpoint, and how long after
/// connections died those that took their place count against the endpoint: if fresh connections fail
/// too, it is not the connections.
const RESEND_PAUSE: Duration = Duration::from_secs(1);
/// Nothing was sent again in vain.
const NEVER: i64 = i64::MIN;

/// A client, and the settings that it was made with. A call goes by one of these from start to end.
#[derive(Debug)]
pub(super) struct Line {
    client: Arc<HttpClient>,
    pub(super) config: Arc<HttpConfig>,
}

impl Line {
    pub(super) fn client(&self) -> &HttpClient {
        &self.client
    }
}

/// The client of one endpoint, which can be replaced: to let go of idle connections, and for new
/// settings.
pub(super) struct Pool {
    member: Arc<Member>,
    line: ArcSwap<Line>,
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
    pub(super) fn new(
        member: Arc<Member>,
        config: Arc<HttpConfig>,
        runtime: Option<Handle>,
    ) -> Self {
        let client = Arc::new(client(&config, runtime.as_ref()));
        Self {
            member,
            line: ArcSwap::from_pointee(Line { client, config }),
            runtime,
            resent_in_vain: AtomicI64::new(NEVER),
            emptied: Mutex::new(None),
        }
    }

    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(super) fn line(&self) -> Arc<Line> {
        self.line.load_full()
    }

    /// Lets go of the idle connections of `used`, once: a call that finds another client there comes
    /// after one that did. Exchanges in progress end as they would.
    ///
    /// Returns whether they may have died while they were idle. Those of one client may die together,
    /// but if those that take their place die within a second as well, it is not because of their age.
    pub(super) fn empty(&self, used: &Line, now: Instant) -> bool {
        let mut emptied = lock(&self.emptied);
        let line = self.line.load();
        if Arc::ptr_eq(&used.client, &line.client) {
            self.replace(line.config.clone());
            let since = emptied.map(|emptied| now.saturating_duration_since(emptied.at));
            let were_idle = since.is_none_or(|since| since >= RESEND_PAUSE);
            *emptied = Some(Emptied { at: now, were_idle });
        }
        emptied.is_none_or(|emptied| emptied.were_idle)
    }

    /// Makes a new client. Under the lock.
    fn replace(&self, config: Arc<HttpConfig>) {
        let client = Arc::new(client(&config, self.runtime.as_ref()));
        self.line.store(Arc::new(Line { client, config }));
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
        let (line, config) = (self.line.load(), newest.get());
        if config.connects_like(&line.config) {
            self.line.store(Arc::new(Line { client: line.client.clone(), config }));
        } else {
            self.replace(config);
        }
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("line", &self.line.load()).finish_non_exhaustive()
    }
}

fn client(config: &HttpConfig, runtime: Option<&Handle>) -> HttpClient {
    let connector = TcpConnector::new().connect_timeout(config.connect_timeout).without_addresses();
    let connector = match runtime {
        Some(runtime) => connector.with_runtime(runtime.clone()),
        None => connector,
    };
    Client::builder(Spawner(runtime.cloned()))
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.idle_timeout)
        .pool_max_idle_per_host(config.max_idle_connections)
        .http1_max_buf_size(config.max_header_bytes)
        // Go writes `X-Request-Id`, and some servers compare bytes.
        .http1_title_case_headers(true)
        .build(connector)
}

/// Spawns on a runtime while it runs, otherwise on the caller's.
#[derive(Clone)]
struct Spawner(Option<Handle>);

impl<F> Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        // Rare: once for each connection.
        let given = self.0.as_ref().filter(|given| is_running(given));
        if let Some(runtime) = given.cloned().or_else(|| Handle::try_current().ok()) {
            drop(runtime.spawn(future));
        }
    }
}
