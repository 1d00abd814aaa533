//! gRPC's retry throttling (gRFC A6).

use super::tokens::{TOKEN, thousandths};
use crate::sync::{
    Padded,
    atomic::{AtomicU64, Ordering},
};

/// It starts full. A failure costs a token, a success brings a part of one, and there are retries
/// while it is more than half full.
pub(super) struct Throttle {
    /// In thousandths.
    max: AtomicU64,
    ratio: AtomicU64,
    tokens: Padded<AtomicU64>,
}

impl Throttle {
    pub(super) fn new(max_tokens: u32, token_ratio: f64) -> Self {
        let throttle = Self {
            max: AtomicU64::new(0),
            ratio: AtomicU64::new(0),
            tokens: Padded(AtomicU64::new(0)),
        };
        throttle.set(max_tokens, token_ratio);
        throttle.fill();
        throttle
    }

    /// Other numbers, for the tokens that there are.
    pub(super) fn set(&self, max_tokens: u32, token_ratio: f64) {
        let max = u64::from(max_tokens.clamp(1, 1_000)) * TOKEN;
        // Relaxed, here and below: tokens are only counted.
        self.max.store(max, Ordering::Relaxed);
        self.ratio.store(thousandths(token_ratio).max(1), Ordering::Relaxed);
        self.tokens.fetch_min(max, Ordering::Relaxed);
    }

    pub(super) fn fill(&self) {
        self.tokens.store(self.max(), Ordering::Relaxed);
    }

    #[inline]
    fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn success(&self) {
        if self.tokens.load(Ordering::Relaxed) < self.max() {
            let ratio = self.ratio.load(Ordering::Relaxed);
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
                Some((tokens + ratio).min(self.max()))
            });
        }
    }

    pub(super) fn failure(&self) {
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            Some(tokens.saturating_sub(TOKEN))
        });
    }

    pub(super) fn allows(&self) -> bool {
        self.tokens.load(Ordering::Relaxed) * 2 > self.max()
    }

    /// How many failures in a row would be repeated.
    pub(super) fn available(&self) -> u32 {
        // Each costs a token first, and must leave more than half.
        let above = (self.tokens.load(Ordering::Relaxed) * 2).saturating_sub(self.max() + 1);
        u32::try_from(above / (2 * TOKEN)).unwrap_or(u32::MAX)
    }

    #[cfg(test)]
    pub(super) fn tokens(&self) -> f64 {
        self.tokens.load(Ordering::Relaxed) as f64 / TOKEN as f64
    }

    #[cfg(all(test, any(upstream_loom, all(feature = "http", feature = "tower"))))]
    pub(super) fn hold(&self, tokens: f64) {
        self.tokens.store((tokens * TOKEN as f64) as u64, Ordering::Relaxed);
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use super::*;
    use loom::thread;

    #[test]
    fn loom_no_failure_and_no_success_is_lost() {
        loom::model(|| {
            let throttle = Arc::new(Throttle::new(4, 0.5));
            throttle.hold(3.0);
            let other = throttle.clone();
            let thread = thread::spawn(move || other.failure());
            throttle.success();
            thread.join().unwrap();
            assert_eq!(throttle.tokens.load(Ordering::Relaxed), 2_500);
        });
    }
}

#[cfg(all(test, not(upstream_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absurd_values_are_clamped() {
        let throttle = Throttle::new(0, f64::NAN);
        assert_eq!((throttle.max(), throttle.ratio.load(Ordering::Relaxed)), (1_000, 1));
        assert_eq!(Throttle::new(u32::MAX, 0.1).max(), 1_000_000);
    }

    proptest! {
        #[test]
        fn a_throttle_is_a_number_between_zero_and_its_most(
            max in 1_u32..50,
            ratio in 1_u32..3_000,
            events in prop::collection::vec(any::<bool>(), 0..300),
        ) {
            let throttle = Throttle::new(max, f64::from(ratio) / 1_000.0);
            let mut tokens = i64::from(max) * 1_000;
            for good in events {
                let before = throttle.available();
                if good {
                    throttle.success();
                    tokens = (tokens + i64::from(ratio)).min(i64::from(max) * 1_000);
                } else {
                    throttle.failure();
                    tokens = (tokens - 1_000).max(0);
                    prop_assert_eq!(throttle.allows(), before > 0);
                }
                prop_assert_eq!((throttle.tokens() * 1_000.0).round() as i64, tokens);
                prop_assert_eq!(throttle.allows(), tokens * 2 > i64::from(max) * 1_000);
            }
        }
    }
}
