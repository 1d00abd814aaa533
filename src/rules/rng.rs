use crate::sync::{fraction, scale, wyrand};

/// A generator of random numbers that a seed determines. Not for secrets.
///
/// wyrand, from the wyhash family by Wang Yi: one addition and one multiplication per number, a period of
/// 2^64. Every rule of this module that draws takes numbers from here, so that one seed reproduces all
/// choices.
///
/// ```
/// use tower_upstream::rules::Rng;
/// let (mut one, mut other) = (Rng::new(7), Rng::new(7));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(one.below(6) < 6 && one.fraction() < 1.0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Creates a generator. Any seed is a good one.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns a number from the whole range.
    pub fn next_u64(&mut self) -> u64 {
        let (state, number) = wyrand(self.state);
        self.state = state;
        number
    }

    /// Returns a number below `bound`, or 0 if that is 0. The bias is below `bound / 2^32`.
    pub fn below(&mut self, bound: u32) -> u32 {
        scale((self.next_u64() >> 32) as u32, bound)
    }

    /// Returns an index below `len`; `None` if that is 0.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        let product = u128::from(self.next_u64()) * len as u128;
        (len > 0).then_some((product >> 64) as usize)
    }

    /// Returns a number from 0 up to, but not including, 1.
    pub fn fraction(&mut self) -> f64 {
        fraction(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_draws_evenly() {
        for seed in [0, 1, 2, u64::MAX] {
            let (mut rng, mut counts) = (Rng::new(seed), [0_u32; 5]);
            for _ in 0..100_000 {
                counts[rng.index(5).unwrap()] += 1;
            }
            assert!(counts.iter().all(|count| (19_300..20_700).contains(count)), "{counts:?}");
            assert_eq!((rng.index(0), rng.below(0)), (None, 0));
        }
    }
}
