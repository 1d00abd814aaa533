//! A bank of tokens that calls and time fill. No clock but for a retry.

use super::tokens::{MANY, TOKEN, rate, thousandths};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Each call puts in a part of a token, `floor` tokens come in each second, and each retry takes one.
pub(super) struct Bank {
    /// What a call puts in, and how much there is room for, in thousandths.
    deposit: AtomicU64,
    capacity: AtomicU64,
    /// Nanoseconds for one token of the floor; 0 for none.
    floor_interval: AtomicU64,
    tokens: AtomicU64,
    /// Up to when the floor was paid out.
    paid_until: AtomicU64,
}

impl Bank {
    /// Begins full.
    pub(super) fn new(ratio: f64, floor: f64, capacity: u32) -> Self {
        let bank = Self {
            deposit: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            floor_interval: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            paid_until: AtomicU64::new(0),
        };
        bank.set(ratio, floor, capacity, 0);
        bank.fill(None);
        bank
    }

    /// Other numbers, for the tokens that there are.
    pub(super) fn set(&self, ratio: f64, floor: f64, capacity: u32, now: u64) {
        self.pay_floor(now);
        // Relaxed, here and below: tokens are only counted, and whatever meets some old and some new
        // numbers counts by one or the other.
        self.paid_until.store(now, Ordering::Relaxed);
        self.deposit.store(thousandths(ratio), Ordering::Relaxed);
        self.capacity.store(u64::from(capacity.clamp(1, MANY)) * TOKEN, Ordering::Relaxed);
        let floor = rate(floor);
        let interval = if floor > 0.0 { (1e9 / floor) as u64 } else { 0 };
        self.floor_interval.store(interval, Ordering::Relaxed);
    }

    /// Begins with so many tokens; full by default.
    pub(super) fn fill(&self, tokens: Option<u32>) {
        let tokens = tokens.map_or(u64::MAX, |tokens| u64::from(tokens) * TOKEN);
        self.tokens.store(tokens.min(self.capacity()), Ordering::Relaxed);
    }

    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn deposit(&self) {
        // Two calls that both see room may overfill by less than ten tokens each; `withdraw` cuts
        // that off.
        if self.tokens.load(Ordering::Relaxed) < self.capacity() {
            self.tokens.fetch_add(self.deposit.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(super) fn withdraw(&self, now: u64) -> bool {
        self.pay_floor(now);
        let taken = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            tokens.min(self.capacity()).checked_sub(TOKEN)
        });
        taken.is_ok()
    }

    pub(super) fn available(&self, now: u64) -> u32 {
        self.pay_floor(now);
        let tokens = self.tokens.load(Ordering::Relaxed).min(self.capacity());
        u32::try_from(tokens / TOKEN).unwrap_or(u32::MAX)
    }

    fn pay_floor(&self, now: u64) {
        let interval = self.floor_interval.load(Ordering::Relaxed);
        // The thread that moves the mark pays for exactly the time by which it moves it.
        let due = |until: u64| now.saturating_sub(until).checked_div(interval).unwrap_or(0);
        let moved = self.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            (due(until) > 0).then(|| until + due(until) * interval)
        });
        if let Ok(until) = moved {
            let paid = due(until).saturating_mul(TOKEN);
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
                Some(tokens.saturating_add(paid).min(self.capacity()))
            });
        }
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use loom::thread;

    #[test]
    fn loom_of_two_who_want_the_last_token_one_gets_it() {
        loom::model(|| {
            let bank = Arc::new(Bank::new(1.0, 0.0, 1));
            let other = bank.clone();
            let theirs = thread::spawn(move || other.withdraw(0));
            let ours = bank.withdraw(0);
            assert!(ours ^ theirs.join().unwrap());
        });
    }

    #[test]
    fn loom_the_floor_is_paid_once() {
        loom::model(|| {
            let bank = Arc::new(Bank::new(0.0, 1.0, 2));
            assert!(bank.withdraw(0) && bank.withdraw(0));
            let other = bank.clone();
            let theirs = thread::spawn(move || other.withdraw(1_000_000_000));
            let ours = bank.withdraw(1_000_000_000);
            // What comes while the other pays may find nothing yet; nothing is found twice.
            let got = u32::from(ours) + u32::from(theirs.join().unwrap());
            assert_eq!(got + bank.available(1_000_000_000), 1);
        });
    }
}

#[cfg(all(test, not(upstream_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_floor_is_paid_once_and_no_more_than_fits() {
        let bank = Bank::new(0.0, 10.0, 3);
        while bank.withdraw(0) {}
        assert_eq!(bank.available(SECOND / 4), 2);
        assert_eq!(bank.available(SECOND / 4), 2);
        assert_eq!(bank.available(SECOND * 3 / 10), 3);
        assert_eq!(bank.available(3_600 * SECOND), 3);
    }

    #[test]
    fn the_floor_may_be_less_than_one_a_second() {
        let bank = Bank::new(0.0, 0.25, 3);
        while bank.withdraw(0) {}
        assert_eq!([3, 4, 7, 8].map(|s| bank.available(s * SECOND)), [0, 1, 1, 2]);
    }

    #[test]
    fn it_may_begin_below_full_and_not_above() {
        let bank = Bank::new(1.0, 0.0, 3);
        for (start, tokens) in [(Some(0), 0), (Some(2), 2), (Some(9), 3), (None, 3)] {
            bank.fill(start);
            assert_eq!(bank.available(0), tokens, "{start:?}");
        }
    }

    #[test]
    fn other_numbers_keep_the_tokens_and_pay_no_floor_for_the_past() {
        let bank = Bank::new(0.0, 0.0, 10);
        (0..4).for_each(|_| assert!(bank.withdraw(0)));
        bank.set(0.0, 1.0, 100, 100 * SECOND);
        assert_eq!(bank.available(100 * SECOND), 6);
        assert_eq!(bank.available(102 * SECOND), 8);
        // Half a second of the old floor is lost, no more.
        bank.set(1.0, 10.0, 7, 102 * SECOND + SECOND / 2);
        assert_eq!(bank.available(102 * SECOND + SECOND / 2), 7);
        (0..7).for_each(|_| assert!(bank.withdraw(102 * SECOND)));
        bank.deposit();
        assert_eq!(bank.available(102 * SECOND), 1);
    }

    #[test]
    fn absurd_values_are_clamped() {
        assert_eq!(Bank::new(f64::NAN, f64::NAN, 0).available(0), 1);
        assert_eq!(Bank::new(f64::INFINITY, 0.0, u32::MAX).available(0), 1_000_000);
    }

    #[test]
    fn retries_are_a_share_of_the_calls_exactly() {
        // 0.6 is where a share that is kept as a whole number of calls per retry goes wrong.
        for (ratio, retries) in [(0.2, 200), (0.6, 600), (0.9, 900), (1.0, 1_000)] {
            let bank = Bank::new(ratio, 0.0, 10);
            while bank.withdraw(0) {}
            let made = (0..1_000).filter(|_| {
                bank.deposit();
                bank.withdraw(0)
            });
            assert_eq!(made.count(), retries, "{ratio}");
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_a_count_with_a_lid(
            thousandth in 0_u32..2_000,
            floor in 0_u32..50,
            capacity in 1_u32..20,
            steps in prop::collection::vec((0_u8..2, 0_u64..300), 1..200),
        ) {
            let bank = Bank::new(f64::from(thousandth) / 1_000.0, floor.into(), capacity);
            let (mut tokens, mut now, mut paid) = (u64::from(capacity) * 1_000, 0_u64, 0_u64);
            for (what, wait_ms) in steps {
                now += wait_ms * 1_000_000;
                if what == 0 {
                    bank.deposit();
                    if tokens < u64::from(capacity) * 1_000 {
                        tokens += u64::from(thousandth);
                    }
                    continue;
                }
                // A token each time a whole interval has passed.
                if let Some(interval) = SECOND.checked_div(u64::from(floor)) {
                    while paid + interval <= now {
                        (paid, tokens) = (paid + interval, tokens + 1_000);
                    }
                }
                tokens = tokens.min(u64::from(capacity) * 1_000);
                prop_assert_eq!(bank.withdraw(now), tokens >= 1_000);
                tokens -= if tokens >= 1_000 { 1_000 } else { 0 };
            }
        }
    }
}
