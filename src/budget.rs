//! How many repeated calls an upstream may get, in proportion to the calls it gets anyway.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use crate::{sync::Padded, time::Clock};

/// Thousandths of a token.
const TOKEN: i64 = 1_000;

/// A retry budget: retries may add a share of the load, and a few more at low rates.
///
/// A bucket of tokens, as in gRPC's retry throttling (gRFC A6) with the floor of Finagle's
/// `RetryBudget`. It starts full. Each call puts in `ratio` of a token, `floor` tokens come in
/// each second, and each retry takes one. While the bucket is full, which it is while all goes
/// well, a call only reads it.
///
/// Clones share the tokens: give one to several layers and they share one budget.
///
/// # Example
/// ```
/// use tower_upstream::Budget;
/// let budget = Budget::new(0.2, 0, 2);
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw());
/// (0..5).for_each(|_| budget.deposit());
/// assert!(budget.withdraw());
/// ```
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    /// What a call puts in, and how much the bucket holds, in thousandths.
    deposit: i64,
    capacity: i64,
    /// Nanoseconds for one token of the floor; 0 for none.
    floor_interval: u64,
    clock: Clock,
    tokens: Padded<AtomicI64>,
    /// Up to when the floor was paid out.
    paid_until: AtomicU64,
}

impl Budget {
    /// Retries for `ratio` of the calls (0 to 10), at least `floor` a second (up to 1,000,000), and
    /// up to `capacity` (1 to 1,000,000) at once after a quiet time. Values beyond are clamped.
    pub fn new(ratio: f64, floor: u32, capacity: u32) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 10.0) };
        let capacity = i64::from(capacity.clamp(1, 1_000_000)) * TOKEN;
        Self {
            shared: Arc::new(Shared {
                deposit: (ratio * TOKEN as f64).round() as i64,
                capacity,
                floor_interval: match floor.min(1_000_000) {
                    0 => 0,
                    floor => 1_000_000_000 / u64::from(floor),
                },
                clock: Clock::new(),
                tokens: Padded(AtomicI64::new(capacity)),
                paid_until: AtomicU64::new(0),
            }),
        }
    }

    /// Puts in the share of one call.
    #[inline]
    pub fn deposit(&self) {
        let shared = &*self.shared;
        // Relaxed: tokens are only counted. Two calls that both see room may overfill by less
        // than a token each; `withdraw` cuts that off.
        if shared.tokens.load(Ordering::Relaxed) < shared.capacity {
            shared.tokens.fetch_add(shared.deposit, Ordering::Relaxed);
        }
    }

    /// Takes the token for one retry. `false`: there is none, do not retry.
    pub fn withdraw(&self) -> bool {
        self.pay_floor();
        let shared = &*self.shared;
        let taken = shared.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| {
            let tokens = tokens.min(shared.capacity);
            (tokens >= TOKEN).then_some(tokens - TOKEN)
        });
        taken.is_ok()
    }

    fn pay_floor(&self) {
        let shared = &*self.shared;
        if shared.floor_interval == 0 {
            return;
        }
        let now = shared.clock.nanos();
        // Relaxed: whoever moves the mark pays for exactly the time it moved it by.
        let moved = shared.paid_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            let due = now.saturating_sub(until) / shared.floor_interval;
            (due > 0).then(|| until + due * shared.floor_interval)
        });
        if let Ok(until) = moved {
            let due = now.saturating_sub(until) / shared.floor_interval;
            let tokens = i64::try_from(due).unwrap_or(i64::MAX).saturating_mul(TOKEN);
            let _ = shared.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                Some(old.saturating_add(tokens).min(shared.capacity))
            });
        }
    }

    /// How many retries it would pay for now.
    pub fn available(&self) -> u32 {
        self.pay_floor();
        let tokens = self.shared.tokens.load(Ordering::Relaxed).min(self.shared.capacity);
        u32::try_from(tokens / TOKEN).unwrap_or(0)
    }
}

impl Default for Budget {
    /// A fifth of the calls, at least ten a second, and a hundred after a quiet time.
    fn default() -> Self {
        Self::new(0.2, 10, 100)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("available", &self.available()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_floor_is_paid_once_and_no_more_than_fits() {
        let budget = Budget::new(0.0, 10, 3);
        while budget.withdraw() {}
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(budget.available(), 2);
        assert_eq!(budget.available(), 2);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(budget.available(), 3);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(budget.available(), 3);
    }

    #[test]
    fn absurd_values_are_clamped() {
        let budget = Budget::new(f64::NAN, u32::MAX, 0);
        assert_eq!(budget.available(), 1);
        assert!(Budget::new(f64::INFINITY, 0, u32::MAX).available() == 1_000_000);
    }

    #[test]
    fn retries_are_a_share_of_the_calls() {
        let budget = Budget::new(0.2, 0, 10);
        while budget.withdraw() {}
        let retries = (0..1_000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(retries.count(), 200);
    }
}
