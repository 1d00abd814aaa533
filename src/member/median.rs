//! The median latency of the members of a set, which says what a failure counts for.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use crate::sync::lock;

type Compute = Box<dyn Fn() -> Option<f64> + Send>;

/// Computes a median when it is asked for, and keeps it for a while.
#[derive(Default)]
pub(super) struct Median {
    compute: Mutex<Option<Compute>>,
    /// The bits of a float; 0 is unknown.
    nanos: AtomicU64,
    /// Until when that is good.
    until: AtomicU64,
}

/// How long a median is kept, in nanoseconds.
const KEPT: u64 = 100_000_000;

impl Median {
    pub(super) fn of(&self, compute: impl Fn() -> Option<f64> + Send + 'static) {
        let before = lock(&self.compute).replace(Box::new(compute));
        // What it holds drops outside the lock.
        drop(before);
    }

    /// In nanoseconds, as is `now`.
    #[cold]
    pub(super) fn get(&self, now: u64) -> Option<f64> {
        // Relaxed: an estimate. A caller that finds another one at work takes the last.
        if now >= self.until.load(Ordering::Relaxed) {
            if let Ok(compute) = self.compute.try_lock() {
                let median = compute.as_ref().and_then(|compute| compute());
                self.nanos.store(median.unwrap_or_default().to_bits(), Ordering::Relaxed);
                self.until.store(now.saturating_add(KEPT), Ordering::Relaxed);
            }
        }
        Some(f64::from_bits(self.nanos.load(Ordering::Relaxed))).filter(|&nanos| nanos > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_kept_for_a_while() {
        let (median, asked) = (Median::default(), Arc::new(AtomicU64::new(0)));
        assert_eq!(median.get(0), None);
        let counter = asked.clone();
        median.of(move || Some(counter.fetch_add(1, Ordering::Relaxed) as f64 + 1.0));
        let at = |now| median.get(now);
        assert_eq!([at(KEPT), at(2 * KEPT - 1), at(2 * KEPT)], [Some(1.0), Some(1.0), Some(2.0)]);
    }
}
