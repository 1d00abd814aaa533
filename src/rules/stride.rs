/// Weighted round robin with a fixed table and one counter, as in gRPC.
///
/// The counter walks over the entries round by round, and skips an entry in as many rounds as its weight is
/// below the largest. A pick needs no lock: it is a function of a number that is increased atomically.
///
/// Source: gRFC A58 and grpc-java's `StaticStrideScheduler`. Weights are scaled so that the largest is
/// 65,535. They are clamped to between a tenth and ten times their mean, so that a pick takes ten rounds at
/// most; what is not above 0 (or is NaN) gets the mean. With fewer than two positive weights, all entries
/// have the same.
///
/// ```
/// use tower_upstream::rules::StaticStride;
/// let stride = StaticStride::new(&[1.0, 2.0, 3.0]).unwrap();
/// let mut sequence = 0;
/// let picks: Vec<_> = (0..6).map(|_| stride.pick(&mut sequence)).collect();
/// assert_eq!(picks.iter().filter(|&&index| index == 2).count(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticStride {
    weights: Vec<u16>,
    /// What moves the rounds of neighbours apart.
    offset: u64,
    is_round_robin: bool,
}

/// Largest weight after scaling.
const MAX: u16 = u16::MAX;

/// How far from the mean a weight may be, as a factor.
const MAX_RATIO: f64 = 10.0;

impl StaticStride {
    /// Creates the table. `None` if there are no weights, or more than 2^32.
    pub fn new(weights: &[f64]) -> Option<Self> {
        u32::try_from(weights.len()).ok().filter(|&len| len > 0)?;
        let positive = || weights.iter().copied().filter(|&weight| is_usable(weight));
        let number = positive().count();
        // Of each a share, so that the sum does not overflow.
        let mean = positive().map(|weight| weight / number as f64).sum::<f64>();
        let largest = positive().fold(0.0, f64::max).min(MAX_RATIO * mean);
        let scale = |weight: f64| (weight / largest * f64::from(MAX)).round();
        let least = (mean / largest / MAX_RATIO * f64::from(MAX)).ceil();
        let scaled = |&weight: &f64| match () {
            () if number < 2 => MAX,
            () if is_usable(weight) => scale(weight).clamp(least.max(1.0), f64::from(MAX)) as u16,
            () => scale(mean) as u16,
        };
        Some(Self {
            weights: weights.iter().map(scaled).collect(),
            offset: u64::from(MAX / 2),
            is_round_robin: number < 2,
        })
    }

    /// Lets all entries begin with the same round, as the older schedulers did. Picks come in bursts then.
    #[must_use]
    pub fn without_offset(mut self) -> Self {
        self.offset = 0;
        self
    }

    /// Picks the next entry, and increases `sequence` as often as needed. Start it with a random number, so
    /// that many clients do not all pick the same first.
    pub fn pick(&self, sequence: &mut u32) -> usize {
        self.pick_with(|| {
            let number = *sequence;
            *sequence = sequence.wrapping_add(1);
            number
        })
    }

    /// Picks the next entry, where `next` counts up by one, around 2^32: an atomic `fetch_add`.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    /// use tower_upstream::rules::StaticStride;
    /// let (stride, sequence) = (StaticStride::new(&[1.0, 1.0]).unwrap(), AtomicU32::new(1));
    /// assert_eq!(stride.pick_with(|| sequence.fetch_add(1, Relaxed)), 1);
    /// ```
    pub fn pick_with(&self, mut next: impl FnMut() -> u32) -> usize {
        let (len, max) = (self.weights.len() as u64, u64::from(MAX));
        loop {
            let sequence = u64::from(next());
            let (round, index) = (sequence / len, (sequence % len) as usize);
            let weight = self.weights.get(index).map_or(max, |&weight| u64::from(weight));
            if (weight * round + self.offset * index as u64) % max >= max - weight {
                return index;
            }
        }
    }

    /// Returns the weights after scaling.
    pub fn weights(&self) -> &[u16] {
        &self.weights
    }

    /// Returns whether all entries get the same, since fewer than two weights are positive.
    pub fn is_round_robin(&self) -> bool {
        self.is_round_robin
    }
}

fn is_usable(weight: f64) -> bool {
    weight > 0.0 && weight.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absurd_weights_do_no_harm() {
        let absurd = [f64::NAN, f64::INFINITY, f64::MAX, f64::MAX, f64::MIN_POSITIVE, -0.0];
        let stride = StaticStride::new(&absurd).unwrap();
        assert_eq!(stride.weights()[2..4], [MAX, MAX]);
        let mut sequence = u32::MAX - 3;
        assert!((0..100).all(|_| stride.pick(&mut sequence) < absurd.len()));
        let tiny = StaticStride::new(&[f64::MIN_POSITIVE; 2]).unwrap();
        assert_eq!(tiny.weights(), [MAX, MAX]);
    }

    proptest! {
        /// In as many rounds as the largest weight has, each entry is picked as often as its own.
        #[test]
        fn each_gets_its_share(weights in prop::collection::vec(0.1_f64..10.0, 1..6), start: u32) {
            let stride = StaticStride::new(&weights).unwrap();
            let (mut sequence, mut counts) = (start / 2, vec![0_u32; weights.len()]);
            for _ in 0..10_000 {
                counts[stride.pick(&mut sequence)] += 1;
            }
            let total: u32 = stride.weights().iter().map(|&weight| u32::from(weight)).sum();
            for (&count, &weight) in counts.iter().zip(stride.weights()) {
                let share = f64::from(weight) / f64::from(total);
                prop_assert!((f64::from(count) / 10_000.0 - share).abs() < 0.002);
            }
        }
    }
}
