//! Envoy's retry budget: so many retries at once.

use crate::sync::{
    Padded,
    atomic::{AtomicU64, Ordering},
};

/// A share of the calls that run, and never less than a few.
pub(super) struct Concurrent {
    /// Thousandths of a percent.
    share: AtomicU64,
    min: AtomicU64,
    running: Padded<AtomicU64>,
    retrying: Padded<AtomicU64>,
}

impl Concurrent {
    pub(super) fn new(percent: f64, min: u32) -> Self {
        let rule = Self {
            share: AtomicU64::new(0),
            min: AtomicU64::new(0),
            running: Padded(AtomicU64::new(0)),
            retrying: Padded(AtomicU64::new(0)),
        };
        rule.set(percent, min);
        rule
    }

    /// Other numbers, for what runs.
    pub(super) fn set(&self, percent: f64, min: u32) {
        let percent = if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) };
        // Relaxed, here and below: these are only counted.
        self.share.store((percent * 1_000.0).round() as u64, Ordering::Relaxed);
        self.min.store(min.into(), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn begin(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn end(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> bool {
        let limit = self.limit(self.running.load(Ordering::Relaxed));
        let taken = self.retrying.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retrying| {
            (retrying < limit).then_some(retrying + 1)
        });
        taken.is_ok()
    }

    pub(super) fn give_back(&self) {
        self.retrying.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn available(&self) -> u32 {
        let limit = self.limit(self.running.load(Ordering::Relaxed));
        let free = limit.saturating_sub(self.retrying.load(Ordering::Relaxed));
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// How many retries there may be at once beside so many calls.
    fn limit(&self, running: u64) -> u64 {
        let share = running.saturating_mul(self.share.load(Ordering::Relaxed)) / 100_000;
        self.min.load(Ordering::Relaxed).max(share)
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use loom::thread;

    #[test]
    fn loom_of_two_who_want_the_last_place_one_gets_it() {
        loom::model(|| {
            let rule = Arc::new(Concurrent::new(0.0, 1));
            let other = rule.clone();
            let theirs = thread::spawn(move || other.take());
            let ours = rule.take();
            assert!(ours ^ theirs.join().unwrap());
            rule.give_back();
            assert_eq!(rule.available(), 1);
        });
    }
}

#[cfg(all(test, not(upstream_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absurd_values_are_clamped() {
        assert_eq!(Concurrent::new(f64::NAN, 2).limit(1_000), 2);
        assert_eq!(Concurrent::new(-5.0, 0).limit(1_000), 0);
        assert_eq!(Concurrent::new(1e9, 0).limit(1_000), 1_000);
    }

    proptest! {
        #[test]
        fn there_are_never_more_retries_than_the_limit_at_their_start(
            percent in 0_u32..=100,
            min in 0_u32..5,
            events in prop::collection::vec(0_u8..4, 0..300),
        ) {
            let rule = Concurrent::new(percent.into(), min);
            let (mut running, mut retrying) = (0_u64, 0_u64);
            for event in events {
                match event {
                    0 => { rule.begin(); running += 1 }
                    1 if running > 0 => { rule.end(); running -= 1 }
                    2 => {
                        let room = retrying < u64::from(min)
                            || (retrying + 1) * 100 <= running * u64::from(percent);
                        prop_assert_eq!(rule.take(), room);
                        retrying += u64::from(room);
                    }
                    3 if retrying > 0 => { rule.give_back(); retrying -= 1 }
                    _ => {}
                }
            }
        }
    }
}
