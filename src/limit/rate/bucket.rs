//! The tokens of one or several quotas, that many take of at once. Time is passed in.

use super::{
    gcra::{Decision, NeverFits},
    live_rules::LiveRules,
    quotas::{MOST, Quotas, Tats},
};
use crate::sync::{
    Padded,
    atomic::{AtomicU64, Mutex, Ordering, lock},
};

/// With one quota a take is one compare-and-swap. Several are taken under a lock, since all of them
/// allow a call or none does; one that is refused takes it in neither case, and writes nothing.
///
/// All loads and stores are relaxed: the numbers are the whole state, and publish nothing else. A
/// call that is decided while [`set`](Self::set) changes the rules may see a mix of both; it is
/// then one call that either rule, or the mix, let pass.
#[derive(Debug)]
pub(super) struct Bucket {
    rules: LiveRules,
    tats: Padded<[AtomicU64; MOST]>,
    /// Held while tokens of several quotas are taken, or the quotas change.
    quotas: Mutex<Quotas>,
}

impl Bucket {
    pub(super) fn new(quotas: Quotas, reserves: bool) -> Self {
        Self {
            rules: LiveRules::new(&quotas.rules(), reserves),
            tats: Padded(std::array::from_fn(|_| AtomicU64::new(0))),
            quotas: Mutex::new(quotas),
        }
    }

    pub(super) fn quotas(&self) -> Quotas {
        *lock(&self.quotas)
    }

    /// Whether there is no quota, so that nothing is taken, and nothing need be locked.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.rules.is_none()
    }

    #[inline]
    pub(super) fn fitting(&self, cells: u32) -> Result<u64, NeverFits> {
        // One always fits.
        if cells <= 1 { Ok(u64::from(cells)) } else { self.rules.load().fitting(cells) }
    }

    /// Takes one token of the only quota. If there is none: the moment from which on there is.
    #[inline(always)]
    pub(super) fn take_one(&self, now: u64) -> Result<(), u64> {
        let tats = &self.tats.0[0];
        let mut tat = tats.load(Ordering::Relaxed);
        loop {
            let new = self.rules.first().decide_one(tat, now)?;
            match tats.compare_exchange_weak(tat, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(seen) => tat = seen,
            }
        }
    }

    /// Whether there is one quota, of which [`take_one`](Self::take_one) takes at one look at the clock,
    /// and no tokens are reserved.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.rules.is_plain()
    }

    /// Whether to look at the clock once more before a refusal; see
    /// [`look_twice`](super::gcra::look_twice).
    #[cold]
    pub(super) fn is_brief(&self) -> bool {
        self.rules.is_brief()
    }

    /// Takes `cells` that fit, or none. If there are none: the nanoseconds until there are.
    #[inline]
    pub(super) fn take(&self, now: u64, cells: u64) -> Result<(), u64> {
        if self.rules.is_one() {
            self.take_of_one(now, cells)
        } else {
            self.take_of_all(now, cells)
        }
    }

    #[inline]
    fn take_of_one(&self, now: u64, cells: u64) -> Result<(), u64> {
        let tats = &self.tats.0[0];
        let mut tat = tats.load(Ordering::Relaxed);
        loop {
            match self.rules.first().decide(tat, now, cells) {
                Decision::Allowed { new_tat } => match tats.compare_exchange_weak(
                    tat,
                    new_tat,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Ok(()),
                    Err(seen) => tat = seen,
                },
                Decision::Refused { retry_after } => return Err(retry_after),
            }
        }
    }

    #[inline(never)]
    fn take_of_all(&self, now: u64, cells: u64) -> Result<(), u64> {
        if self.is_off() {
            return Ok(());
        }
        // Looked at first, so that a refusal takes no lock.
        self.wait_free(now, cells)?;
        let quotas = lock(&self.quotas);
        if self.rules.is_one() {
            return self.take_of_one(now, cells);
        }
        self.wait_free(now, cells).map(|()| self.spend_of_all(&quotas, now, cells))
    }

    /// Spends tokens that were reserved, so that nothing is left to decide.
    pub(super) fn spend(&self, now: u64, cells: u64) {
        if self.rules.is_one() {
            change(&self.tats.0[0], |tat| self.rules.first().after(tat, now, cells));
        } else if !self.is_off() {
            self.spend_of_all(&lock(&self.quotas), now, cells);
        }
    }

    fn spend_of_all(&self, _: &Quotas, now: u64, cells: u64) {
        let rules = self.rules.load();
        if let [rule] = rules.each() {
            // Of one quota others take without the lock.
            return change(&self.tats.0[0], |tat| rule.after(tat, now, cells));
        }
        let after = rules.after(&self.load(), now, cells);
        for (tat, after) in self.tats.0.iter().zip(after) {
            tat.store(after, Ordering::Relaxed);
        }
    }

    /// Nanoseconds until the last of `cells` gets its token.
    pub(super) fn wait(&self, now: u64, cells: u64) -> u64 {
        self.rules.load().wait(&self.load(), now, cells)
    }

    fn wait_free(&self, now: u64, cells: u64) -> Result<(), u64> {
        match self.wait(now, cells) {
            0 => Ok(()),
            wait => Err(wait),
        }
    }

    pub(super) fn remaining(&self, now: u64) -> u32 {
        self.rules.load().remaining(&self.load(), now)
    }

    /// Each quota, the tokens that are left of it, and the nanoseconds until it has all of them.
    #[cfg(feature = "http")]
    pub(super) fn each_remaining(&self, now: u64) -> Vec<super::quotas::Remaining> {
        self.rules.load().each_remaining(&self.quotas(), &self.load(), now)
    }

    /// Other quotas from now on, of which the same share is used.
    pub(super) fn set(&self, quotas: impl FnOnce() -> Quotas, now: u64) {
        let mut current = lock(&self.quotas);
        // Asked under the lock, so that of two changes at once the newer is the last.
        let quotas = quotas();
        let (before, after) = (self.rules.load(), quotas.rules());
        *current = quotas;
        self.rules.store(&after);
        for (index, tats) in self.tats.0.iter().enumerate() {
            change(tats, |tat| {
                let mut only = [0; MOST];
                only[index] = tat;
                after.rescale(&before, &only, now)[index]
            });
        }
    }

    fn load(&self) -> Tats {
        std::array::from_fn(|index| self.tats.0[index].load(Ordering::Relaxed))
    }
}

fn change(number: &AtomicU64, to: impl Fn(u64) -> u64) {
    let _ = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(to(now)));
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::{sync::Arc, time::Duration};

    use super::{super::quota::Quota, *};
    use loom::thread;

    fn burst_of(burst: u32) -> Quota {
        Quota::new(1, Duration::from_secs(3_600)).burst(burst)
    }

    fn two<T: Send + 'static>(quotas: Quotas, take: fn(&Bucket) -> T, check: fn(T, T, &Bucket)) {
        loom::model(move || {
            let bucket = Arc::new(Bucket::new(quotas, false));
            let other = bucket.clone();
            let thread = thread::spawn(move || take(&other));
            let mine = take(&bucket);
            check(mine, thread.join().unwrap(), &bucket);
        });
    }

    #[test]
    fn loom_of_two_takers_of_the_last_token_one_gets_it() {
        let take = |bucket: &Bucket| bucket.take(0, 1).is_ok();
        two(burst_of(1).into(), take, |one, other, _| assert!(one != other));
        two([burst_of(1), burst_of(2)].into(), take, |one, other, bucket| {
            assert!(one != other);
            // The loser has taken nothing of the other quota.
            let (rules, tats) = (bucket.rules.load(), bucket.load());
            let left = [0, 1].map(|index| rules.each()[index].remaining(tats[index], 0));
            assert_eq!(left, [0, 1]);
        });
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
