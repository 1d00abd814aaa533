//! What one group of threads counts of a circuit.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only their own threads write. All Relaxed: they are totals, and publish nothing.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Good calls of the generation that let them through. What the window is told of as a sum.
    good: AtomicU64,
    /// At how many of them somebody looks at the clock, and moves them into the window.
    look_at: AtomicU64,
    /// The last bucket that was looked at, and how many good calls there were when it began.
    bucket: AtomicU64,
    bucket_began: AtomicU64,
    /// Good calls that were told of one by one: slow ones, and those of older generations.
    pub(super) good_otherwise: AtomicU64,
    pub(super) slow: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// A bucket is looked at about so many times, however many calls it gets: good calls that are not in
/// the window yet are at most one in so many of a bucket.
const LOOKS_PER_BUCKET: u64 = 64;
const LONGEST_STRIDE: u64 = 255;

impl Counts {
    /// Counts a good call; whether it is time to look at the clock.
    #[inline]
    pub(super) fn count_good(&self) -> bool {
        self.good.fetch_add(1, Ordering::Relaxed) >= self.look_at.load(Ordering::Relaxed)
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    pub(super) fn all_good(&self) -> u64 {
        self.good() + self.good_otherwise.load(Ordering::Relaxed)
    }

    /// When to look next, having looked now, in the bucket with this number; `None` if nobody needs
    /// to know when a good call was.
    pub(super) fn plan(&self, bucket: Option<u64>) {
        let good = self.good();
        let Some(bucket) = bucket else {
            self.look_at.store(u64::MAX, Ordering::Relaxed);
            return;
        };
        if self.bucket.swap(bucket, Ordering::Relaxed) != bucket {
            self.bucket_began.store(good, Ordering::Relaxed);
        }
        let in_bucket = good.saturating_sub(self.bucket_began.load(Ordering::Relaxed));
        let stride = (in_bucket / LOOKS_PER_BUCKET).min(LONGEST_STRIDE);
        self.look_at.store(good + stride, Ordering::Relaxed);
    }

    /// The next good call looks. A sum of nothing.
    pub(super) fn look_soon(&self) -> u64 {
        self.look_at.store(0, Ordering::Relaxed);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_a_low_rate_every_call_looks_and_at_a_high_one_few() {
        let counts = Counts::default();
        let looks = |calls: u64, bucket| {
            let looks = (0..calls).filter(|_| {
                let looks = counts.count_good();
                if looks {
                    counts.plan(Some(bucket));
                }
                looks
            });
            looks.count()
        };
        assert_eq!(looks(64, 1), 64);
        assert_eq!(looks(64, 2), 64);
        let many = looks(1_000_000, 3);
        assert!((3_900..4_600).contains(&many), "{many}");
        counts.plan(None);
        assert_eq!(looks(1_000, 3), 0);
        counts.look_soon();
        assert_eq!(looks(1, 4), 1);
        assert_eq!(counts.good(), 1_001_129);
    }
}
