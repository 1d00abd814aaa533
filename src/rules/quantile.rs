use std::time::Duration;

/// Quantiles of durations that are forgotten over time, in bounded memory.
///
/// A log-linear histogram as in HdrHistogram: 16 buckets for each power of two, from 1 µs to 4.6 hours, so a
/// quantile is at most 1/16 too high and never too low. With each half-life the counts are halved, so that
/// it follows what happened lately. Use it for the time after which a call is hedged.
///
/// # Bounds
/// 544 counters of 32 bits. What is shorter or longer counts as the shortest or longest. O(1) per sample,
/// O(buckets) per quantile.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::Quantiles;
/// let (mut took, now) = (Quantiles::new(Duration::from_secs(10)), Duration::ZERO);
/// for millis in 1..=100 {
///     took.record(Duration::from_millis(millis), now);
/// }
/// let p95 = took.quantile(0.95).unwrap();
/// assert!((95..=101).contains(&p95.as_millis()));
/// ```
#[derive(Debug, Clone)]
pub struct Quantiles {
    counts: Box<[u32]>,
    total: u64,
    half_life: Duration,
    halved: Duration,
}

/// Buckets per power of two, as a power of two.
const FINE: u32 = 4;
/// Powers of two, from a microsecond on.
const POWERS: u32 = 34;
const BUCKETS: usize = (POWERS as usize) << FINE;

impl Quantiles {
    /// Creates an estimator without samples. A half-life of zero forgets nothing.
    pub fn new(half_life: Duration) -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0, half_life, halved: Duration::ZERO }
    }

    /// Counts a sample.
    pub fn record(&mut self, sample: Duration, now: Duration) {
        self.forget(now);
        if let Some(count) = self.counts.get_mut(bucket(sample)) {
            if *count == u32::MAX {
                return;
            }
            *count += 1;
            self.total += 1;
        }
    }

    /// Returns the duration that the share `quantile` of the samples do not exceed, which is the upper end of a
    /// bucket. `None` if there are no samples. `quantile` is clamped to 0..=1; NaN is 1.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        // `min` ignores a NaN.
        let rank = (self.total as f64 * quantile.min(1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reached = |&count: &u32| {
            seen += u64::from(count);
            seen >= rank
        };
        self.counts.iter().position(reached).map(upper_end)
    }

    /// Returns how many samples count, after what was forgotten. Ask for a quantile only if they are enough.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Returns whether no sample counts.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Halves the counts for each half-life that has passed.
    pub fn forget(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.halved);
        let Some(halvings) = passed.as_nanos().checked_div(self.half_life.as_nanos()) else {
            return;
        };
        if halvings == 0 {
            return;
        }
        let shift = u32::try_from(halvings).unwrap_or(u32::MAX);
        // From now on if it was long ago: nothing is left then.
        self.halved = if shift >= u32::BITS { now } else { self.halved + self.half_life * shift };
        for count in &mut self.counts {
            *count = count.checked_shr(shift).unwrap_or(0);
        }
        self.total = self.counts.iter().map(|&count| u64::from(count)).sum();
    }
}

/// Below 16 µs each microsecond has its own; then each power of two has 16.
fn bucket(sample: Duration) -> usize {
    // One that does not end with a microsecond belongs to the next, so that none is under-estimated.
    let micros = u64::try_from(sample.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
    let value = micros.saturating_sub(1);
    let power = (u64::BITS - value.leading_zeros()).saturating_sub(FINE + 1);
    let index = (u64::from(power) << FINE) + (value >> power);
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

fn upper_end(bucket: usize) -> Duration {
    let fine = 1 << FINE;
    let power = (bucket / fine).saturating_sub(1);
    let value = (bucket - power * fine) as u64;
    Duration::from_micros((value + 1) << power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for index in 0..BUCKETS {
            let end = upper_end(index);
            assert_eq!(bucket(end), index);
            let next = end + Duration::from_nanos(1);
            assert_eq!(bucket(next), (index + 1).min(BUCKETS - 1));
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
        assert!(upper_end(BUCKETS - 1) > Duration::from_secs(4 * 3_600));
    }

    #[test]
    fn what_happened_lately_counts() {
        let second = Duration::from_secs(1);
        let mut took = Quantiles::new(10 * second);
        assert_eq!(took.quantile(0.5), None);
        (0..1_000).for_each(|_| took.record(second, Duration::ZERO));
        (0..300).for_each(|_| took.record(second / 100, 25 * second));
        assert_eq!(took.len(), 550);
        assert!(took.quantile(0.5).unwrap() < second / 90);
        assert!(took.quantile(f64::NAN).unwrap() >= second);
        took.forget(Duration::MAX);
        assert!(took.is_empty());
        took.record(second, Duration::MAX);
        assert_eq!(took.len(), 1);
    }

    proptest! {
        /// The model sorts all samples.
        #[test]
        fn a_quantile_is_no_less_and_at_most_a_sixteenth_more(
            samples in prop::collection::vec(1_u64..10_000_000_000_000, 1..200),
            quantile in 0.0_f64..1.0,
        ) {
            let mut took = Quantiles::new(Duration::ZERO);
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            samples.iter().for_each(|&nanos| took.record(Duration::from_nanos(nanos), Duration::MAX));
            let rank = (samples.len() as f64 * quantile).ceil().max(1.0) as usize;
            let (exact, told) = (sorted[rank - 1], took.quantile(quantile).unwrap().as_nanos() as u64);
            prop_assert!(exact <= told && told <= exact + exact / 16 + 1_000, "{} {}", exact, told);
        }
    }
}
