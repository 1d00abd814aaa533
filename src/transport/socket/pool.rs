//! The connections to one endpoint that are not in use.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::{config::SocketConfig, connection::Connection, place::Place};
use crate::{
    error::Error,
    guard::{Configured, Newest},
    member::Member,
    sync::lock,
    time::{self, Instant},
};

/// Settings, and the right to use a connection where their number is limited. A call goes by one of
/// these from start to end.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) config: SocketConfig,
    /// One permit for each connection in use. A connection is only made where none is idle, so those
    /// that are alive are never more.
    pub(super) permits: Option<Arc<Semaphore>>,
}

impl Terms {
    fn new(config: &SocketConfig) -> Self {
        let most = config.max_connections.min(Semaphore::MAX_PERMITS);
        let permits = (most > 0).then(|| Arc::new(Semaphore::new(most)));
        Self { config: config.clone(), permits }
    }
}

/// The connections to one endpoint that are not in use, the one that was used last at the end.
pub(super) struct Pool {
    member: Arc<Member>,
    place: Result<Place, Error>,
    terms: ArcSwap<Terms>,
    /// Moves on when connections of before, also those in use, are not to be kept. Written under the lock of
    /// `idle`.
    epoch: AtomicU64,
    idle: Mutex<VecDeque<Connection>>,
}

/// What there is for a call.
pub(super) enum Taken {
    /// A connection that was used a moment ago.
    Fresh(Connection),
    /// One that was not used for so long that it should be asked first.
    Stale(Connection),
    Nothing,
}

impl Pool {
    pub(super) fn new(member: Arc<Member>, config: &SocketConfig) -> Self {
        let place = Place::of(member.endpoint().address());
        let terms = ArcSwap::from_pointee(Terms::new(config));
        Self { member, place, terms, epoch: AtomicU64::new(0), idle: Mutex::default() }
    }

    pub(super) fn place(&self) -> Result<&Place, Error> {
        self.place.as_ref().map_err(Error::clone)
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Takes the connection that was used last, and closes those that are dead or too old.
    pub(super) fn take(&self, now: Instant, config: &SocketConfig) -> Taken {
        loop {
            // Not within the condition: the lock would be held on.
            let last = lock(&self.idle).pop_back();
            let Some(mut last) = last else {
                return Taken::Nothing;
            };
            let age = now.saturating_duration_since(last.last_used);
            if age >= config.idle_timeout {
                // The others are older still.
                self.empty();
            } else if !last.is_dead() {
                let stale = age >= config.ping_after;
                return if stale { Taken::Stale(last) } else { Taken::Fresh(last) };
            }
        }
    }

    /// Keeps a connection after an exchange that went well, if there is room for it.
    pub(super) fn give_back(&self, mut connection: Connection) {
        if !connection.messages.is_between() {
            return;
        }
        let (terms, now) = (self.terms.load(), time::now());
        connection.messages.shrink();
        (connection.last_used, connection.was_used) = (now, true);
        let mut idle = lock(&self.idle);
        let is_old = |of: &Connection| {
            now.saturating_duration_since(of.last_used) >= terms.config.idle_timeout
        };
        let old = idle.iter().take_while(|of| is_old(of)).count();
        let rest = idle.len() - old;
        let is_current = connection.epoch == self.epoch.load(Ordering::Relaxed);
        let room = is_current && rest < terms.config.max_idle_connections;
        let closed: Vec<_> = idle.drain(..old).collect();
        let refused = if room {
            idle.push_back(connection);
            None
        } else {
            Some(connection)
        };
        drop(idle);
        // Sockets close outside the lock.
        drop((closed, refused));
    }

    /// Closes all idle connections, and those in use when their calls end.
    pub(super) fn empty(&self) {
        drop(self.begin_anew(|| ()));
    }

    /// Does `change` between the connections of before and those that are made from now on. Returns the idle
    /// ones, to be closed outside the lock.
    fn begin_anew(&self, change: impl FnOnce()) -> VecDeque<Connection> {
        let mut idle = lock(&self.idle);
        change();
        self.epoch.fetch_add(1, Ordering::Release);
        std::mem::take(&mut *idle)
    }

    /// A connection for a call: `stale`, if it is alive, or a new one.
    pub(super) async fn connect(
        self: Arc<Self>,
        terms: Arc<Terms>,
        stale: Option<Connection>,
    ) -> Result<Connection, Error> {
        if let Some(mut stale) = stale {
            if stale.is_alive().await {
                return Ok(stale);
            }
            // They were idle for longer.
            self.empty();
        }
        // Before the terms are compared: a change in between makes this the time of before.
        let epoch = self.epoch.load(Ordering::Acquire);
        let is_current = Arc::ptr_eq(&terms, &self.terms());
        // What is made by terms of before is used once.
        let epoch = if is_current { epoch } else { u64::MAX };
        Connection::open(self.place()?, &terms.config, epoch).await
    }
}

impl Configured<SocketConfig> for Pool {
    /// Connections that were made by other rules close.
    fn apply(self: Arc<Self>, newest: &Newest<SocketConfig>) {
        drop(self.begin_anew(|| self.terms.store(Arc::new(Terms::new(&newest.get())))));
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &lock(&self.idle).len())
            .field("terms", &self.terms.load())
            .finish_non_exhaustive()
    }
}
