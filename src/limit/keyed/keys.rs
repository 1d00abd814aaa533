//! The tokens of all keys of one layer value.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Mutex,
};

use foldhash::{SharedSeed, quality::SeedableRandomState};

use super::{super::rate, key::Key, table::Table};
use crate::{
    error::{Error, Kind},
    limit::rate::{Decision, LiveRules, MOST, Quotas, Rules, Tats},
    sync::lock,
    time::{Anchor, Clock},
};

pub(super) struct Keys {
    hasher: SeedableRandomState,
    clock: Clock,
    anchor: Anchor,
    rules: LiveRules,
    quotas: Mutex<Quotas>,
    table: Tables,
    max_keys: usize,
}

/// One number for a key where there is one quota, which is the case to be fast in.
enum Tables {
    One(Table<1>),
    Several(Table<MOST>),
}

impl Keys {
    /// For 1 to 2^24 keys.
    pub(super) fn new(quotas: Quotas, max_keys: usize) -> Self {
        let max_keys = max_keys.clamp(1, 1 << 24);
        let several = quotas.iter().nth(1).is_some();
        // Two seeds: one of the process, and one of this table, from the operating system.
        let seed = RandomState::new().hash_one(max_keys);
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            clock: Clock::new(),
            anchor: Anchor::new(),
            rules: LiveRules::new(&quotas.rules()),
            quotas: Mutex::new(quotas),
            table: if several {
                Tables::Several(Table::new(max_keys))
            } else {
                Tables::One(Table::new(max_keys))
            },
            max_keys,
        }
    }

    pub(super) fn quotas(&self) -> Quotas {
        *lock(&self.quotas)
    }

    pub(super) fn max_keys(&self) -> usize {
        self.max_keys
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.table {
            Tables::One(table) => table.bytes(),
            Tables::Several(table) => table.bytes(),
        }
    }

    /// The hash of the key of a request.
    #[inline]
    pub(super) fn hash_of<K: Key<Req>, Req>(&self, key: &K, request: &Req) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.hash(request, &mut hasher);
        hasher.finish()
    }

    pub(super) fn hash(&self, key: &(impl Hash + ?Sized)) -> u64 {
        self.hasher.hash_one(key)
    }

    #[inline]
    pub(super) fn take(&self, hash: u64, cells: u32) -> Result<(), Error> {
        let Some(cells) = self.fitting(cells)? else {
            return Ok(());
        };
        let now = self.clock.nanos();
        let taken = match &self.table {
            Tables::One(table) if self.rules.is_one() => {
                let rule = self.rules.first();
                table.change(hash, now, |&[tat]| match rule.decide(tat, now, cells) {
                    Decision::Allowed { new_tat } => Ok([new_tat]),
                    Decision::Refused { retry_after } => Err(retry_after),
                })
            }
            Tables::One(_) => Ok(()),
            Tables::Several(table) => {
                let rules = self.rules.load();
                table.change(hash, now, |tats| rules.decide(tats, now, cells))
            }
        };
        match taken {
            Ok(()) => Ok(()),
            Err(wait) => Err(Error::refused(Kind::RateLimited).retry_at_stamp(rate::free_at(
                &self.anchor,
                now,
                wait,
            ))),
        }
    }

    /// How many tokens that is; none where nothing is to be taken.
    #[inline]
    fn fitting(&self, cells: u32) -> Result<Option<u64>, Error> {
        match cells {
            0 => Ok(None),
            1 => Ok(Some(1)),
            _ => self.rules.load().fitting(cells).map(Some).map_err(rate::never),
        }
    }

    /// Nanoseconds until so many tokens are there.
    pub(super) fn wait(&self, hash: u64, cells: u32) -> Result<u64, Error> {
        let cells = self.fitting(cells)?.unwrap_or(0);
        let (rules, tats, now) = self.look(hash);
        Ok(if cells == 0 { 0 } else { rules.wait(&tats, now, cells) })
    }

    pub(super) fn remaining(&self, hash: u64) -> u32 {
        let (rules, tats, now) = self.look(hash);
        rules.remaining(&tats, now)
    }

    #[cfg(feature = "http")]
    pub(super) fn standing(&self, hash: u64) -> Vec<rate::Standing> {
        let (rules, tats, now) = self.look(hash);
        rules.standing(&self.quotas(), &tats, now)
    }

    fn look(&self, hash: u64) -> (Rules, Tats, u64) {
        let tats = match &self.table {
            Tables::One(table) => tats_of(table.read(hash)),
            Tables::Several(table) => table.read(hash),
        };
        (self.rules.load(), tats, self.clock.nanos())
    }

    /// How many keys owe something.
    pub(super) fn len(&self) -> usize {
        let now = self.clock.nanos();
        match &self.table {
            Tables::One(table) => table.owing(now),
            Tables::Several(table) => table.owing(now),
        }
    }

    pub(super) fn clear(&self, hash: u64) {
        match &self.table {
            Tables::One(table) => table.clear(hash),
            Tables::Several(table) => table.clear(hash),
        }
    }

    /// Other quotas from now on, if there is room for them.
    pub(super) fn set(&self, quotas: Quotas) -> Result<(), Error> {
        if matches!(self.table, Tables::One(_)) && quotas.iter().nth(1).is_some() {
            return Err(Error::not_sent(Kind::InvalidConfig).message(
                "a keyed limit that was made with one quota has no room for several; \
                 make a new layer, or make it with as many",
            ));
        }
        let mut current = lock(&self.quotas);
        let (before, after) = (self.rules.load(), quotas.rules());
        let now = self.clock.nanos();
        self.rules.store(&after);
        match &self.table {
            Tables::One(table) => table.change_all(|owing| {
                let [first, ..] = after.rescale(&before, &tats_of(owing), now);
                [first]
            }),
            Tables::Several(table) => {
                table.change_all(|owing| after.rescale(&before, &owing, now));
            }
        }
        *current = quotas;
        Ok(())
    }
}

fn tats_of([first]: [u64; 1]) -> Tats {
    let mut tats = [0; MOST];
    tats[0] = first;
    tats
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("quotas", &self.quotas())
            .field("max_keys", &self.max_keys)
            .finish_non_exhaustive()
    }
}
