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
    sync::lock,
    time::{self, Instant},
};

pub(super) type HttpClient = Client<TcpConnector, Outgoing>;

/// How long after one failed nothing is sent again to the same endpoint, and how long after
/// connections died those that took their place are the endpoint's: if fresh connections fail too, it
/// is not the connections.
const RESEND_PAUSE: Duration = Duration::from_secs(1);
/// Nothing was sent again in vain.
const NEVER: i64 = i64::MIN;

/// A client whose idle connections can be let go.
pub(super) struct Pool {
    client: ArcSwap<HttpClient>,
    config: Arc<HttpConfig>,
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
    pub(super) fn new(config: Arc<HttpConfig>, runtime: Option<Handle>) -> Self {
        Self {
            client: ArcSwap::from_pointee(client(&config, runtime.as_ref())),
            config,
            runtime,
            resent_in_vain: AtomicI64::new(NEVER),
            emptied: Mutex::new(None),
        }
    }

    pub(super) fn config(&self) -> &HttpConfig {
        &self.config
    }

    /// Where the connections live, unless with their callers.
    pub(super) fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref()
    }

    pub(super) fn client(&self) -> Arc<HttpClient> {
        self.client.load_full()
    }

    /// Lets go of the connections that `used` keeps, once: a call that finds another client there comes
    /// after one that did. Exchanges in progress end as they would.
    ///
    /// Answers whether they may have died while they were idle. Those of one client may die together,
    /// but if those that take their place die within a second as well, it is not for their age.
    pub(super) fn empty(&self, used: &Arc<HttpClient>, now: Instant) -> bool {
        let mut emptied = lock(&self.emptied);
        if Arc::ptr_eq(used, &self.client.load()) {
            self.client.store(Arc::new(client(&self.config, self.runtime.as_ref())));
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

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.config).finish_non_exhaustive()
    }
}

fn client(config: &HttpConfig, runtime: Option<&Handle>) -> HttpClient {
    let connector = TcpConnector::new().connect_timeout(config.connect_timeout).without_addresses();
    let connector = match runtime {
        Some(runtime) => connector.runtime(runtime.clone()),
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

/// Spawns on a runtime while it runs, else on the caller's.
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
