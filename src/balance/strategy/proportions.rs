/// Turns in proportion to weights, however far apart these are.
///
/// The weights lie end to end, and each turn is a step of the golden ratio along all of them, around the end:
/// such steps never fall into the same places again, and fill the gaps evenly. So the turns of each are spread
/// out, and it has its share at any time, give or take a few.
#[derive(Debug)]
pub(super) struct Proportions {
    /// Where each weight ends.
    ends: Box<[u64]>,
}

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Proportions {
    pub(super) fn new(weights: &[u32]) -> Self {
        let mut end = 0;
        let ends = weights.iter().map(|&weight| {
            end += u64::from(weight);
            end
        });
        Self { ends: ends.collect() }
    }

    /// Whose turn this is. `None` if there are none.
    #[inline]
    pub(super) fn at(&self, turn: u64) -> Option<usize> {
        let total = u128::from(*self.ends.last()?);
        let place = (u128::from(turn.wrapping_mul(STEP)) * total) >> 64;
        Some(self.ends.partition_point(|&end| u128::from(end) <= place))
    }
}
