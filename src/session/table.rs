use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    lru::Lru,
    sessions::{Binding, Home, Homes, Sessions},
};
use crate::{
    key::Key,
    sync::{Padded, lock},
    time::{self, Clock},
};

/// Remembers which endpoint the session of each key belongs to. Clones share one table.
///
/// The key is a closure that returns something hashable, such as a header, or a [`Key`]. A request without a key,
/// by [`key::optional`](crate::key::optional), has no session. A session ends once no call of it has begun for
/// [`session_timeout`](Self::with_session_timeout). The table does not survive a restart; for one that does, see
/// `http::SessionCookieLayer` (feature `sticky`).
///
/// # Bounds
/// At most [`max_sessions`](Self::with_max_sessions) of 56 bytes or so. In a full table, the session with the oldest
/// call makes room, so a caller that makes up keys can end the sessions of others: take keys that callers cannot
/// choose, or limit the calls of each client above. Keys are hashed with a random seed. A call takes a lock for two
/// lookups, which it shares with 1 in 16 sessions.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Call, key, session::SessionTable};
///
/// let by_user = key::optional(|call: &Call<u64>| call.headers().get("x-user").cloned());
/// let sessions = SessionTable::by_key(by_user)
///     .with_session_timeout(Duration::from_secs(600))
///     .with_max_sessions(10_000);
/// assert!(sessions.is_empty());
/// ```
pub struct SessionTable<K> {
    key: K,
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    seed: RandomState,
    clock: Clock,
    shards: Box<[Padded<Mutex<Lru<u64>>>]>,
}

/// Parts of a table, each with a lock of its own.
const SHARDS: usize = 16;

impl Shared {
    fn new(max_sessions: usize) -> Arc<Self> {
        // In a small one, a part could be full while others are empty.
        let shards = if max_sessions < SHARDS * 64 { 1 } else { SHARDS };
        let shard = || Padded(Mutex::new(Lru::new(max_sessions / shards)));
        let (seed, clock) = (RandomState::new(), Clock::new());
        Arc::new(Self { seed, clock, shards: (0..shards).map(|_| shard()).collect() })
    }

    fn shard(&self, session: u64) -> Option<&Mutex<Lru<u64>>> {
        // By the upper bits: a table of the standard library goes by the others.
        let at = (session >> 57) as usize % self.shards.len();
        self.shards.get(at).map(|shard| &shard.0)
    }

    fn get(&self, session: u64, timeout: Duration) -> Option<u64> {
        let shard = self.shard(session)?;
        lock(shard).get(session, self.clock.nanos(), time::nanos(timeout))
    }

    /// Sets the home of a session, unless another call has done so since it was `known`. Returns whether it moves.
    fn replace(&self, session: u64, known: Option<u64>, home: u64, timeout: Duration) -> bool {
        let Some(shard) = self.shard(session) else { return false };
        let (now, lasts) = (self.clock.nanos(), time::nanos(timeout));
        let mut sessions = lock(shard);
        let current = sessions.get(session, now, lasts);
        if current.is_some() && current != known {
            return false;
        }
        sessions.set(session, home, now, lasts);
        known.is_some()
    }

    fn name(&self, endpoint: &str) -> u64 {
        self.seed.hash_one(endpoint)
    }
}

impl<K> SessionTable<K> {
    /// Makes a table of sessions that `key` tells apart.
    pub fn by_key(key: K) -> Self {
        Self { key, shared: Shared::new(100_000), timeout: Duration::from_secs(1_800) }
    }

    /// Sets after which time, in which no call of it has begun, a session ends. Default: 30 minutes.
    #[must_use]
    pub fn with_session_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many sessions are remembered, at least one. Begins with an empty table. Default: 100,000.
    #[must_use]
    pub fn with_max_sessions(mut self, max_sessions: usize) -> Self {
        self.shared = Shared::new(max_sessions);
        self
    }

    /// Returns the number of sessions that are remembered. May count some that have ended.
    pub fn len(&self) -> usize {
        self.shared.shards.iter().map(|shard| lock(&shard.0).len()).sum()
    }

    /// Returns whether no session is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of the key of a request; `None` without a key.
    fn session<Req>(&self, request: &Req) -> Option<u64>
    where
        K: Key<Req>,
    {
        let mut hasher = Touched { hasher: self.shared.seed.build_hasher(), is_touched: false };
        self.key.hash(request, &mut hasher);
        hasher.is_touched.then(|| hasher.finish())
    }
}

impl<K: Send + Sync + 'static> Homes for SessionTable<K> {
    fn homes(&self, endpoint: &str) -> Vec<Home> {
        vec![Home::new(self.shared.name(endpoint))]
    }
}

impl<Req, K> Sessions<Req> for SessionTable<K>
where
    K: Key<Req> + Send + Sync + 'static,
{
    fn home(&self, request: &Req) -> Option<Home> {
        self.shared.get(self.session(request)?, self.timeout).map(Home::new)
    }

    fn bind(&self, request: &Req, endpoint: &Arc<str>, is_home: bool) -> Option<Binding> {
        if is_home {
            return None;
        }
        let session = self.session(request)?;
        let (timeout, home) = (self.timeout, self.shared.name(endpoint));
        let known = self.shared.get(session, timeout);
        if known == Some(home) {
            return None;
        }
        let shared = self.shared.clone();
        Some(Binding::new(move || shared.replace(session, known, home, timeout)))
    }
}

impl<K: Clone> Clone for SessionTable<K> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), shared: self.shared.clone(), timeout: self.timeout }
    }
}

impl<K> fmt::Debug for SessionTable<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTable")
            .field("len", &self.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Tells whether there was anything to hash.
struct Touched<H> {
    hasher: H,
    is_touched: bool,
}

impl<H: Hasher> Hasher for Touched<H> {
    fn write(&mut self, bytes: &[u8]) {
        self.is_touched = true;
        self.hasher.write(bytes);
    }

    fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}
