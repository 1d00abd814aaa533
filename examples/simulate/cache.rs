//! What a server remembers: the keys that were asked for last.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// How much each server remembers, and how long it takes to learn what it does not know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) keys: usize,
    pub(crate) miss: Duration,
    /// Until then it takes no time, so that a simulation begins with caches that are filled.
    pub(crate) filled_at: Duration,
}

/// The keys of one server, of which it forgets the one that was not asked for longest.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// For each key since when it is known, and its last turn.
    keys: HashMap<u64, (Duration, u64)>,
    by_turn: BTreeMap<u64, u64>,
    turn: u64,
}

impl Known {
    /// How long it takes to answer `key` from `now` on, which takes `hit` if that is known; `None` if it is.
    ///
    /// What comes while a key is being learnt waits for that.
    pub(crate) fn miss(&mut self, cache: &Cache, key: u64, now: Duration) -> Option<Duration> {
        self.turn += 1;
        let known = self.keys.get_mut(&key);
        let since = match known {
            Some((since, turn)) => {
                self.by_turn.remove(turn);
                *turn = self.turn;
                *since
            }
            None => {
                let since = if now < cache.filled_at { now } else { now + cache.miss };
                self.keys.insert(key, (since, self.turn));
                since
            }
        };
        self.by_turn.insert(self.turn, key);
        if self.keys.len() > cache.keys {
            if let Some((_, forgotten)) = self.by_turn.pop_first() {
                self.keys.remove(&forgotten);
            }
        }
        since.checked_sub(now).filter(|wait| !wait.is_zero())
    }
}
