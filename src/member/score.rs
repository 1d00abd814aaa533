//! How well a member does, of 100 points.

use std::sync::atomic::{AtomicU64, Ordering};

const FULL: u64 = 100;

/// The points that a member has lost, and how many calls had succeeded by then: each success since has brought
/// one back. So only failures write it.
#[derive(Debug, Default)]
pub(super) struct Score(AtomicU64);

impl Score {
    const PER_FAILURE: u64 = 5;

    /// A call failed, when so many had succeeded.
    pub(super) fn failed(&self, succeeded: u64) {
        // Relaxed: one word, and nothing else goes by it.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let lost = (lost(word, succeeded) + Self::PER_FAILURE).min(FULL);
            Some(succeeded << 8 | lost)
        });
    }

    /// The points when so many calls have succeeded.
    pub(super) fn after(&self, succeeded: u64) -> u8 {
        (FULL - lost(self.0.load(Ordering::Relaxed), succeeded)) as u8
    }
}

fn lost(word: u64, succeeded: u64) -> u64 {
    (word & 0xff).saturating_sub(succeeded.saturating_sub(word >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_costs_five_points_and_a_success_brings_one_back() {
        let score = Score::default();
        assert_eq!((score.after(0), score.after(1_000)), (100, 100));
        score.failed(1_000);
        score.failed(1_000);
        assert_eq!((score.after(1_000), score.after(1_003), score.after(1_099)), (90, 93, 100));
        score.failed(1_003);
        assert_eq!(score.after(1_003), 88);
        (0..50).for_each(|_| score.failed(1_003));
        assert_eq!((score.after(1_003), score.after(1_013)), (0, 10));
    }
}
