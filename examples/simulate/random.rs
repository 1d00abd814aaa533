//! The random numbers of the simulated world.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator with this number of those that belong to `seed`.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // Mixed, so that neighbouring seeds have nothing in common.
        Self(Self(seed).bits() ^ Self(!number).bits())
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above zero, at most one.
    pub(crate) fn fraction(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Exponential, with mean 1: the gaps of a Poisson process.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.fraction().ln()
    }

    /// Standard normal, by Box and Muller. Always takes two numbers, so that what follows does not depend
    /// on what was drawn.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.fraction().ln()).sqrt();
        radius * (TAU * self.fraction()).cos()
    }
}

/// So that tower's balancer is seeded as well.
impl tower::util::rng::Rng for Random {
    fn next_u64(&mut self) -> u64 {
        self.bits()
    }
}
