//! The share of calls that fail of late.

use std::sync::atomic::{AtomicU64, Ordering};

/// An average over about the last eight calls, which fades with time, so that an endpoint that gets no calls is
/// thought better of. The bits of a float above, the millisecond of the last call below.
#[derive(Debug, Default)]
pub(super) struct Failing(AtomicU64);

const CALLS: f32 = 8.0;
const FADES_IN_MILLIS: f32 = 10_000.0;

fn share(word: u64, now: u32) -> f32 {
    let share = f32::from_bits((word >> 32) as u32);
    share * (-(now.wrapping_sub(word as u32) as f32) / FADES_IN_MILLIS).exp()
}

fn millis(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

// Relaxed: an estimate.
impl Failing {
    pub(super) fn share(&self, now: u64) -> f64 {
        match self.0.load(Ordering::Relaxed) {
            0 => 0.0,
            word => f64::from(share(word, millis(now))),
        }
    }

    pub(super) fn failed(&self, now: u64) {
        self.note(1.0, millis(now));
    }

    /// Costs nothing while none fails.
    pub(super) fn succeeded(&self, now: u64) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.note(0.0, millis(now));
        }
    }

    fn note(&self, failed: f32, now: u32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let before = share(word, now);
            let after = before + (failed - before) / CALLS;
            Some(if after < 1e-3 { 0 } else { u64::from(after.to_bits()) << 32 | u64::from(now) })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_with_failures_and_falls_with_successes_and_time() {
        let failing = Failing::default();
        failing.succeeded(0);
        assert_eq!(failing.share(0), 0.0);
        (0..40).for_each(|_| failing.failed(0));
        assert!(failing.share(0) > 0.99);
        assert!((0.36..0.38).contains(&failing.share(10_000_000_000)));
        (0..8).for_each(|_| failing.succeeded(0));
        assert!((0.3..0.4).contains(&failing.share(0)));
        (0..100).for_each(|_| failing.succeeded(0));
        assert_eq!(failing.share(0), 0.0);
    }
}
