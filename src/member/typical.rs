//! What calls take as a rule: neither the peak, nor a mean that a few slow calls move.

use std::sync::atomic::{AtomicU64, Ordering};

/// In nanoseconds; 0 is unknown. One word and no clock: each sample moves it by a small part towards itself
/// (Ma, Muthukrishnan, Sandler, "Frugal Streaming for Estimating Quantiles", 2013), down by twice as much as
/// up, so that it rests where one of three calls takes less.
///
/// That quantile is tuned, not derived. A failure counts as 20 times this, which sets how soon an endpoint that
/// fails is tried again: too soon costs failures, too late the share of one that is well again. In the
/// simulation of an endpoint that fails fast, both limits are met at the third (with 20 seeds of 20, and the
/// most to spare) and at two fifths, but at the median one of ten comes back too late.
#[derive(Debug, Default)]
pub(super) struct Typical(AtomicU64);

fn next(typical: u64, sample: u64) -> u64 {
    let step = typical / 64 + 1;
    if typical == 0 {
        sample
    } else if sample > typical {
        (typical + step).min(sample)
    } else {
        typical.saturating_sub(2 * step).max(sample)
    }
}

// Relaxed, and one of two samples at once may be lost: an estimate.
impl Typical {
    #[inline]
    pub(super) fn note(&self, sample: u64) {
        self.0.store(next(self.0.load(Ordering::Relaxed), sample), Ordering::Relaxed);
    }

    /// `None` before the first sample.
    pub(super) fn nanos(&self) -> Option<f64> {
        Some(self.0.load(Ordering::Relaxed) as f64).filter(|&nanos| nanos > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rng;

    const MS: u64 = 1_000_000;

    fn after(samples: impl Iterator<Item = u64>) -> f64 {
        let typical = Typical::default();
        samples.for_each(|sample| typical.note(sample));
        typical.nanos().unwrap_or_default() / 1e6
    }

    #[test]
    fn it_begins_with_the_first_and_keeps_what_is_always_the_same() {
        assert_eq!(Typical::default().nanos(), None);
        assert_eq!(after([50 * MS; 100].into_iter()), 50.0);
        assert_eq!(after((0..200).map(|call| if call < 100 { 50 * MS } else { 80 * MS })), 80.0);
        assert_eq!(after((0..200).map(|call| if call < 100 { 50 * MS } else { 20 * MS })), 20.0);
    }

    #[test]
    fn a_few_that_are_very_slow_or_very_quick_hardly_move_it() {
        let sample = |call| match call % 50 {
            0 => 10_000 * MS,
            25 => 1,
            _ => 50 * MS,
        };
        let typical = after((1..5_000).map(sample));
        assert!((48.0..52.0).contains(&typical), "{typical}");
    }

    #[test]
    fn one_of_three_takes_less() {
        let (mut rng, typical) = (Rng::new(1), Typical::default());
        let mut after = || {
            typical.note((100 + rng.next_u64() % 100) * MS);
            typical.nanos().unwrap_or_default() / 1e6
        };
        // It moves by a few percent with each.
        let mean = (0..20_000).map(|_| after()).sum::<f64>() / 20_000.0;
        assert!((130.0..137.0).contains(&mean), "{mean}");
    }
}
