//! The quota of the "standard" retry mode of the AWS SDKs.

use super::config::{Cause, StandardBudget};
use crate::sync::{
    Padded,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// It starts full. A retry is paid for, and one that goes well gets its price back; a call that
/// goes well at once brings one token.
pub(super) struct Standard {
    capacity: AtomicU64,
    cost: AtomicU32,
    overload_cost: AtomicU32,
    tokens: Padded<AtomicU64>,
}

impl Standard {
    pub(super) fn new(config: StandardBudget) -> Self {
        let standard = Self {
            capacity: AtomicU64::new(0),
            cost: AtomicU32::new(0),
            overload_cost: AtomicU32::new(0),
            tokens: Padded(AtomicU64::new(0)),
        };
        standard.set(config);
        standard.fill();
        standard
    }

    /// Other numbers, for the tokens that there are.
    pub(super) fn set(&self, config: StandardBudget) {
        let StandardBudget { capacity, cost, overload_cost } = config.clamped();
        // Relaxed, here and below: tokens are only counted.
        self.capacity.store(capacity.into(), Ordering::Relaxed);
        self.cost.store(cost, Ordering::Relaxed);
        self.overload_cost.store(overload_cost, Ordering::Relaxed);
        self.tokens.fetch_min(capacity.into(), Ordering::Relaxed);
    }

    pub(super) fn fill(&self) {
        self.tokens.store(self.capacity(), Ordering::Relaxed);
    }

    #[inline]
    fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn success(&self) {
        self.give_back(1);
    }

    #[inline]
    pub(super) fn give_back(&self, tokens: u32) {
        if self.tokens.load(Ordering::Relaxed) < self.capacity() {
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some((old + u64::from(tokens)).min(self.capacity()))
            });
        }
    }

    /// What it has cost.
    pub(super) fn withdraw(&self, cause: Cause) -> Option<u32> {
        let cost = match cause {
            Cause::Failure => &self.cost,
            Cause::Overload => &self.overload_cost,
        };
        let cost = cost.load(Ordering::Relaxed);
        let taken = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            tokens.checked_sub(u64::from(cost))
        });
        taken.is_ok().then_some(cost)
    }

    pub(super) fn available(&self) -> u32 {
        let tokens = self.tokens.load(Ordering::Relaxed)
            / u64::from(self.cost.load(Ordering::Relaxed).max(1));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use loom::thread;

    #[test]
    fn loom_of_two_who_can_be_paid_once_one_is() {
        loom::model(|| {
            let config = StandardBudget { capacity: 20, ..StandardBudget::default() };
            let standard = Arc::new(Standard::new(config));
            let other = standard.clone();
            let theirs = thread::spawn(move || other.withdraw(Cause::Failure));
            let ours = standard.withdraw(Cause::Failure);
            assert!(ours.is_some() ^ theirs.join().unwrap().is_some());
            assert_eq!(standard.tokens.load(Ordering::Relaxed), 6);
        });
    }
}

#[cfg(all(test, not(upstream_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thirty_five_retries_and_a_hundred_of_overload() {
        let paid = |cause| {
            let standard = Standard::new(StandardBudget::default());
            std::iter::from_fn(|| standard.withdraw(cause)).count()
        };
        assert_eq!((paid(Cause::Failure), paid(Cause::Overload)), (35, 100));
    }

    proptest! {
        #[test]
        fn a_quota_is_a_count_with_a_lid(
            capacity in 14_u32..200,
            events in prop::collection::vec(0_u8..4, 0..300),
        ) {
            let config = StandardBudget { capacity, ..StandardBudget::default() };
            let standard = Standard::new(config);
            let mut tokens = capacity;
            for event in events {
                match event {
                    0 => {
                        standard.success();
                        tokens = (tokens + 1).min(capacity);
                    }
                    1 => {
                        standard.give_back(14);
                        tokens = (tokens + 14).min(capacity);
                    }
                    2 => {
                        let expect = (tokens >= 14).then_some(14);
                        prop_assert_eq!(standard.withdraw(Cause::Failure), expect);
                        tokens -= expect.unwrap_or(0);
                    }
                    _ => {
                        let expect = (tokens >= 5).then_some(5);
                        prop_assert_eq!(standard.withdraw(Cause::Overload), expect);
                        tokens -= expect.unwrap_or(0);
                    }
                }
                prop_assert_eq!(standard.available(), tokens / 14);
            }
        }
    }
}
