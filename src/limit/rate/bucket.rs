//! The tokens of one or several quotas, that many take of at once. Time is passed in.

use super::{
    gcra::{Decision, NeverFits},
    live_rules::LiveRules,
    quotas::{MOST, Quotas, Rules, Tats},
};
use crate::sync::{
    Padded,
    atomic::{AtomicU64, Mutex, Ordering, lock},
};

/// A lease is so small a part of all that may be leased, and that of the burst.
const LEASES: u64 = 8;

/// With one quota a take is one compare-and-swap. Several are taken under a lock, since all of them
/// allow a call or none does; who is refused takes it in neither case, and writes nothing.
///
/// All loads and stores are relaxed: the numbers are the whole state, and publish nothing else. A
/// call that is decided while [`set`](Self::set) changes the rules may see a mix of both; it is
/// then one call that either rule, or the mix, let pass.
#[derive(Debug)]
pub(in crate::limit) struct Bucket {
    rules: LiveRules,
    /// Whether there are leases; see [`lease`](Self::lease).
    leased: bool,
    /// The tokens of all leases, those that were spent since included.
    lent: AtomicU64,
    tats: Padded<[AtomicU64; MOST]>,
    book: Mutex<Book>,
}

/// What is needed beside the tokens themselves.
#[derive(Debug)]
struct Book {
    quotas: Quotas,
    /// Moves on when the rules change: what was taken before does not come back.
    generation: u64,
    /// All that was ever given back, of each quota.
    refunded: Tats,
}

/// For tokens that may come back. See [`Bucket::refund`].
#[derive(Debug, Clone, Copy)]
pub(in crate::limit) struct Receipt {
    generation: u64,
    /// The states that taking led to, as if nothing had ever been given back.
    positions: Tats,
}

/// Tokens to be spent one by one.
#[derive(Debug, Clone, Copy)]
pub(in crate::limit) struct Lease {
    pub(in crate::limit) tokens: u64,
    /// How many there were at first.
    lent: u64,
    /// From then on they are worth nothing.
    pub(in crate::limit) until: u64,
    pub(in crate::limit) receipt: Receipt,
}

impl Bucket {
    /// With `leased`, as much of each burst as clones may hold is set aside.
    pub(in crate::limit) fn new(quotas: Quotas, leased: bool) -> Self {
        let book = Book { quotas, generation: 0, refunded: [0; MOST] };
        Self {
            rules: LiveRules::new(&rules_of(&quotas, leased)),
            leased,
            lent: AtomicU64::new(0),
            tats: Padded(std::array::from_fn(|_| AtomicU64::new(0))),
            book: Mutex::new(book),
        }
    }

    pub(in crate::limit) fn quotas(&self) -> Quotas {
        lock(&self.book).quotas
    }

    pub(in crate::limit) fn is_leased(&self) -> bool {
        self.leased
    }

    /// Whether there is no quota, so that nothing is taken, and nothing need be locked.
    #[inline]
    pub(in crate::limit) fn is_off(&self) -> bool {
        self.rules.is_none()
    }

    #[inline]
    pub(in crate::limit) fn fitting(&self, cells: u32) -> Result<u64, NeverFits> {
        // One always fits.
        if cells <= 1 { Ok(u64::from(cells)) } else { self.rules.load().fitting(cells) }
    }

    /// Takes one token of the only quota. If there is none: the moment from which on there is.
    #[inline(always)]
    pub(in crate::limit) fn take_one(&self, now: u64) -> Result<(), u64> {
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

    /// Whether there is one quota, and [`take_one`](Self::take_one) at one look at the clock is
    /// enough.
    #[inline]
    pub(in crate::limit) fn has_one_quota(&self) -> bool {
        self.rules.is_plain()
    }

    /// Whether to look at the clock once more before a refusal; see
    /// [`look_twice`](super::gcra::look_twice).
    #[cold]
    pub(in crate::limit) fn is_brief(&self) -> bool {
        self.rules.is_brief()
    }

    /// Takes `cells` that fit, or none. If there are none: the nanoseconds until there are.
    #[inline]
    pub(in crate::limit) fn take(&self, now: u64, cells: u64) -> Result<(), u64> {
        if self.rules.is_one() {
            return self.take_of_one(now, cells).map(drop);
        }
        self.take_of_all(now, cells)
    }

    #[inline]
    fn take_of_one(&self, now: u64, cells: u64) -> Result<u64, u64> {
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
                    Ok(_) => return Ok(new_tat),
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
        self.take_under(&lock(&self.book), now, cells).map(drop)
    }

    /// Takes of all quotas, while others of several wait.
    fn take_under(&self, book: &Book, now: u64, cells: u64) -> Result<Tats, u64> {
        if self.rules.is_one() {
            let mut taken = [0; MOST];
            taken[0] = self.take_of_one(now, cells)?;
            return Ok(taken);
        }
        self.wait_free(now, cells).map(|()| self.spend_under(book, now, cells))
    }

    /// Spends tokens that were reserved, so that nothing is left to decide.
    pub(in crate::limit) fn spend(&self, now: u64, cells: u64) {
        if self.rules.is_one() {
            change(&self.tats.0[0], |tat| self.rules.first().after(tat, now, cells));
        } else if !self.is_off() {
            self.spend_under(&lock(&self.book), now, cells);
        }
    }

    fn spend_under(&self, _: &Book, now: u64, cells: u64) -> Tats {
        let rules = self.rules.load();
        if let [rule] = rules.each() {
            // Of one quota others take without the lock.
            let mut after = [0; MOST];
            after[0] = change(&self.tats.0[0], |tat| rule.after(tat, now, cells)).1;
            return after;
        }
        let after = rules.after(&self.load(), now, cells);
        for (tat, after) in self.tats.0.iter().zip(after) {
            tat.store(after, Ordering::Relaxed);
        }
        after
    }

    /// [`take`](Self::take) for tokens that may come back.
    pub(in crate::limit) fn take_refundable(&self, now: u64, cells: u64) -> Result<Receipt, u64> {
        self.wait_free(now, cells)?;
        let book = lock(&self.book);
        self.take_under(&book, now, cells).map(|taken| book.receipt(taken))
    }

    /// [`spend`](Self::spend) for tokens that may come back.
    pub(in crate::limit) fn spend_refundable(&self, now: u64, cells: u64) -> Receipt {
        let book = lock(&self.book);
        book.receipt(self.spend_under(&book, now, cells))
    }

    /// Gives back `cells` of those that `receipt` is for, as far as the bucket did not get them back
    /// by itself. The last ones, where it is for more; and once only.
    pub(in crate::limit) fn refund(&self, receipt: &Receipt, now: u64, cells: u64) {
        let mut book = lock(&self.book);
        if book.generation != receipt.generation {
            return;
        }
        for (index, rule) in self.rules.load().each().iter().enumerate() {
            let position = receipt.positions[index].saturating_sub(book.refunded[index]);
            let back = rule.refund(position, now, cells);
            book.refunded[index] = book.refunded[index].saturating_add(back);
            change(&self.tats.0[index], |tat| tat.saturating_sub(back));
        }
    }

    /// Takes `cells`, and leases more along with them if it can: what a [`Lease`] is worth is part of
    /// the burst that was set aside, so that whatever window one looks at, the calls in it are those
    /// of the quota at most.
    ///
    /// For let a lease be of `k` tokens and live as long as the bucket takes to refill `k`. The calls
    /// of a window took their tokens in it or in the life of a lease before it; the rule, whose burst
    /// is `k` less than the quota's, lets through `burst - k`, what the window brings, and the `k`
    /// that a lease's life brings. That holds for those that are smaller, too.
    ///
    /// All leases together are an eighth of the burst at most: each is an eighth of what of it is
    /// not lent. So the first gets 1/64 of the burst; `n` clones that lease again and again get
    /// `1 / (7 + n)` of that eighth each.
    pub(in crate::limit) fn lease(&self, now: u64, cells: u64) -> Result<Option<Lease>, u64> {
        let lent = if self.leased && !self.is_off() { self.lend() } else { 0 };
        let rules = self.rules.load();
        let life = rules.each().iter().map(|rule| rule.parts().0.saturating_mul(lent)).min();
        if let (Some(life), true) = (life, lent > cells) {
            if let Ok(receipt) = self.take_refundable(now, lent) {
                let until = now.saturating_add(life);
                return Ok(Some(Lease { tokens: lent - cells, lent, until, receipt }));
            }
        }
        self.lent.fetch_sub(lent, Ordering::Relaxed);
        self.take(now, cells).map(|()| None)
    }

    /// How many tokens may be leased, which are on record from here on.
    fn lend(&self) -> u64 {
        let all = LEASES * lock(&self.book).quotas.lease();
        let part = |lent: u64| all.saturating_sub(lent) / LEASES;
        part(change(&self.lent, |lent| lent + part(lent)).0)
    }

    /// Gives back what is left, once.
    pub(in crate::limit) fn end_lease(&self, lease: &mut Lease, now: u64) {
        self.lent.fetch_sub(std::mem::take(&mut lease.lent), Ordering::Relaxed);
        let tokens = std::mem::take(&mut lease.tokens);
        if tokens > 0 {
            self.refund(&lease.receipt, now, tokens);
        }
    }

    /// Nanoseconds until the last of `cells` gets its token.
    pub(in crate::limit) fn wait(&self, now: u64, cells: u64) -> u64 {
        self.rules.load().wait(&self.load(), now, cells)
    }

    fn wait_free(&self, now: u64, cells: u64) -> Result<(), u64> {
        match self.wait(now, cells) {
            0 => Ok(()),
            wait => Err(wait),
        }
    }

    pub(in crate::limit) fn remaining(&self, now: u64) -> u32 {
        self.rules.load().remaining(&self.load(), now)
    }

    /// Each quota, the tokens that are left of it, and the nanoseconds until it has all of them.
    #[cfg(feature = "http")]
    pub(in crate::limit) fn standing(&self, now: u64) -> Vec<super::quotas::Standing> {
        self.rules.load().standing(&self.quotas(), &self.load(), now)
    }

    /// Other quotas from now on, of which the same share is used.
    pub(in crate::limit) fn set(&self, quotas: Quotas, now: u64) {
        let mut book = lock(&self.book);
        let (before, after) = (self.rules.load(), rules_of(&quotas, self.leased));
        book.quotas = quotas;
        book.generation += 1;
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

/// With what clones may hold of it set aside.
fn rules_of(quotas: &Quotas, leased: bool) -> Rules {
    let aside = if leased { quotas.lease() } else { 0 };
    quotas.iter().map(|quota| quota.rule_without(aside)).collect()
}

/// What it was, and what it came to.
fn change(number: &AtomicU64, to: impl Fn(u64) -> u64) -> (u64, u64) {
    let changed = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(to(now)));
    let (Ok(before) | Err(before)) = changed;
    (before, to(before))
}

impl Book {
    fn receipt(&self, mut taken: Tats) -> Receipt {
        for (position, refunded) in taken.iter_mut().zip(self.refunded) {
            *position = position.saturating_add(refunded);
        }
        Receipt { generation: self.generation, positions: taken }
    }
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
            // Whoever lost has taken nothing of the other quota.
            let (rules, tats) = (bucket.rules.load(), bucket.load());
            let left = [0, 1].map(|index| rules.each()[index].remaining(tats[index], 0));
            assert_eq!(left, [0, 1]);
        });
    }

    #[test]
    fn loom_what_comes_back_is_there_for_one() {
        let take = |bucket: &Bucket| match bucket.take_refundable(0, 1) {
            Ok(receipt) => bucket.refund(&receipt, 0, 1),
            Err(_) => {}
        };
        two(burst_of(1).into(), take, |(), (), bucket| {
            assert_eq!(bucket.remaining(0), 1);
            assert!(bucket.take(0, 1).is_ok() && bucket.take(0, 1).is_err());
        });
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
