//! The tokens of all keys of one layer value.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::Mutex,
};

use foldhash::{SharedSeed, quality::SeedableRandomState};

use super::{super::rate, table::Table};
use crate::{
    error::{Error, Kind},
    key::{Key, hash_of},
    limit::{
        rate::{Decision, LONGEST_WAIT, LiveRules, MOST, Quotas, Rules, Tats},
        telemetry::{Setup, Telemetry},
    },
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
    telemetry: Telemetry,
}

/// One number for a key where there is one quota, which is the case to be fast in.
enum Tables {
    One(Table<1>),
    Several(Table<MOST>),
}

impl Keys {
    /// For 1 to 2^24 keys.
    pub(super) fn new(quotas: Quotas, max_keys: usize, setup: Setup) -> Self {
        let max_keys = max_keys.clamp(1, 1 << 24);
        let several = quotas.iter().nth(1).is_some();
        // Two seeds: one of the process, and one of this table, from the operating system.
        let seed = RandomState::new().hash_one(max_keys);
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_random()),
            clock: Clock::new(),
            anchor: Anchor::new(),
            rules: LiveRules::new(&quotas.rules(), false),
            quotas: Mutex::new(quotas),
            table: if several {
                Tables::Several(Table::new(max_keys))
            } else {
                Tables::One(Table::new(max_keys))
            },
            max_keys,
            telemetry: Telemetry::new(setup, None),
        }
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
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
        hash_of(key, request, &self.hasher)
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
        let free = |wait: u64| now.saturating_add(wait.min(LONGEST_WAIT));
        let taken = match &self.table {
            Tables::One(table) if self.rules.is_plain() => {
                let rule = self.rules.first();
                table.change(hash, now, |&[tat]| match cells {
                    1 => rule.decide_one(tat, now).map(|new_tat| [new_tat]),
                    _ => match rule.decide(tat, now, cells) {
                        Decision::Allowed { new_tat } => Ok([new_tat]),
                        Decision::Refused { retry_after } => Err(free(retry_after)),
                    },
                })
            }
            _ => self.take_looking_twice(hash, cells, now, || self.clock.nanos()).map_err(free),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(free) => {
                let stamp = self.anchor.stamp_of(free, now);
                Err(self.telemetry.refuse_until(rate::REFUSED, stamp))
            }
        }
    }

    /// Takes of one quota whose burst is brief, of several, or of none. In nanoseconds from `first` on:
    /// when there are tokens.
    #[inline(never)]
    fn take_looking_twice(
        &self,
        hash: u64,
        cells: u64,
        first: u64,
        second: impl FnOnce() -> u64,
    ) -> Result<(), u64> {
        let rules = self.rules.load();
        let take = |now: u64| {
            let decide = |tats: &Tats| rules.decide(tats, now, cells);
            let taken = match &self.table {
                Tables::One(_) if rules.each().is_empty() => Ok(()),
                Tables::One(table) => table.change(hash, now, |owing| {
                    let [first, ..] = decide(&tats_of(*owing))?;
                    Ok([first])
                }),
                Tables::Several(table) => table.change(hash, now, decide),
            };
            taken.map_err(|wait| now.saturating_add(wait))
        };
        let taken = rate::look_twice(first, second, || self.rules.is_brief(), take);
        taken.map_err(|free| free.saturating_sub(first))
    }

    /// How many tokens that is; none where nothing is to be taken.
    #[inline]
    fn fitting(&self, cells: u32) -> Result<Option<u64>, Error> {
        match cells {
            0 => Ok(None),
            1 => Ok(Some(1)),
            _ => match self.rules.load().fitting(cells) {
                Ok(cells) => Ok(Some(cells)),
                Err(never) => Err(self.telemetry.named(rate::never(never))),
            },
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
    pub(super) fn each_remaining(&self, hash: u64) -> Vec<rate::Remaining> {
        let (rules, tats, now) = self.look(hash);
        rules.each_remaining(&self.quotas(), &tats, now)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::rate::Quota;

    #[test]
    fn a_key_is_not_refused_by_an_old_look_at_the_clock() {
        const MILLI: u64 = 1_000_000;
        let quota = Quota::per_second(1_000).burst(5);
        let hour = Quota::new(1_000, Duration::from_secs(3_600));
        for quotas in [quota.into(), [quota, hour].into()] {
            let keys = Keys::new(quotas, 10, Setup::default());
            let hash = keys.hash("key");
            let take = |first, second: fn() -> u64| keys.take_looking_twice(hash, 1, first, second);
            // Others go on at the time of 8 ms, by which the thread that looked at 0 has to go.
            (0..5).for_each(|_| take(8 * MILLI, || 8 * MILLI).unwrap());
            assert_eq!(take(0, || 8 * MILLI), Err(9 * MILLI));
            assert_eq!(take(0, || 9 * MILLI), Ok(()));
            // One that is not refused looks once.
            assert_eq!(take(20 * MILLI, || panic!("a second look")), Ok(()));
        }
        let of = |quota: Quota| Keys::new(quota.into(), 10, Setup::default());
        assert!(!of(quota).rules.is_plain());
        assert!(of(quota.burst(10)).rules.is_plain());
    }
}
