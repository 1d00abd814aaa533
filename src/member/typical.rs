//! What calls take as a rule: neither the peak, nor a mean that a few slow calls move.

use std::sync::atomic::{AtomicU64, Ordering};

/// In nanoseconds; 0 is unknown. One word and no clock: each sample moves it by a small part towards itself
/// (Ma, Muthukrishnan, Sandler, "Frugal Streaming for Estimating Quantiles", 2013), down by half as much again
/// as up, so that it rests where two of five calls take less.
///
/// A little below the median, since a failure counts as a multiple of this: with the median itself, an
/// endpoint that is well again waits for its first call somewhat longer, which is too long for the share that it
/// shall have five seconds later.
#[derive(Debug, Default)]
pub(super) struct Typical(AtomicU64);

fn next(typical: u64, sample: u64) -> u64 {
    let step = typical / 64 + 1;
    if typical == 0 {
        sample
    } else if sample > typical {
        (typical + step).min(sample)
    } else {
        typical.saturating_sub(step + step / 2).max(sample)
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
    fn two_of_five_take_less() {
        let mut rng = Rng::new(1);
        let samples = (0..2_000).map(|_| (100 + rng.next_u64() % 100) * MS);
        let typical = after(samples);
        assert!((133.0..147.0).contains(&typical), "{typical}");
    }
}
