use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::thread_number;

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// A fast random number, from a state of this thread. Not for secrets.
#[inline]
pub(crate) fn random() -> u64 {
    STATE
        .try_with(|state| {
            let (next, number) = wyrand(state.get());
            state.set(next);
            number
        })
        .unwrap_or(0)
}

/// One step of wyrand, from the wyhash family by Wang Yi (public domain): the next state, and a number.
#[inline(always)]
pub(crate) fn wyrand(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0xa076_1d64_78bd_642f);
    let product = u128::from(next).wrapping_mul(u128::from(next ^ 0xe703_7ed1_a0b4_28db));
    (next, (product >> 64) as u64 ^ product as u64)
}

/// A number below `bound`, without a division (Lemire, "Fast random integer generation in an
/// interval", 2019). The bias is below `bound / 2^32`.
#[inline]
pub(crate) fn random_below(bound: u32) -> u32 {
    scale(random() as u32, bound)
}

/// Maps the whole range of `random` onto `0..bound`.
#[inline]
pub(crate) fn scale(random: u32, bound: u32) -> u32 {
    ((u64::from(random) * u64::from(bound)) >> 32) as u32
}

/// Between zero and one, one excluded.
pub(crate) fn random_fraction() -> f64 {
    fraction(random())
}

/// Maps the whole range of `random` onto zero to one, one excluded.
#[inline]
pub(crate) fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// The number with which one of this weight takes part where the highest wins: each wins as often as its weight is
/// of all, and a change of one moves as few as can be. Source: Schindelhauer and Schomaker, "Weighted Distributed
/// Hash Tables" (2005).
pub(crate) fn weighed(random: u64, weight: f64) -> f64 {
    // Above 0 and below 1, so that the logarithm is a number.
    let fraction = ((random >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    weight / -fraction.ln()
}

/// Numbers that a seed determines, for any number of threads.
#[derive(Debug)]
pub(crate) struct Seed(AtomicU64);

impl Seed {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Within `draw`, the random numbers of this thread are those of the seed: in each scope others, and the
    /// same ones in the same order of scopes.
    pub(crate) fn scope<T>(&self, draw: impl FnOnce() -> T) -> T {
        /// Restores the thread's own state, also where `draw` panics.
        struct Restore(u64);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = STATE.try_with(|state| state.set(self.0));
            }
        }
        // Relaxed: each scope gets a number of its own, and nothing else hangs on it. The step is odd, so
        // that they come round after all there are.
        let (_, state) = wyrand(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed));
        let _restore = STATE.try_with(|own| Restore(own.replace(state)));
        draw()
    }
}

/// Where a layer has its random numbers from: the thread, or a seed. Clones share the seed's.
#[derive(Debug, Clone, Default)]
pub(crate) struct RandomSource(Option<Arc<Seed>>);

impl RandomSource {
    pub(crate) fn of(seed: Option<u64>) -> Self {
        Self(seed.map(|seed| Arc::new(Seed::new(seed))))
    }

    /// Within `draw`, the random numbers of this thread are those of the source.
    pub(crate) fn scope<T>(&self, draw: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(seed) => seed.scope(draw),
            None => draw(),
        }
    }

    /// Between zero and one, one excluded.
    pub(crate) fn fraction(&self) -> f64 {
        self.scope(random_fraction)
    }
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(thread_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_draws_from_the_seed_and_leaves_the_thread_its_own() {
        let (one, other) = (Seed::new(7), Seed::new(7));
        let drawn = one.scope(|| [random(), random()]);
        assert_ne!(random(), random());
        assert_eq!(other.scope(|| [random(), random()]), drawn);
        assert_ne!(other.scope(|| [random(), random()]), drawn);
        STATE.set(5);
        assert!(std::panic::catch_unwind(|| one.scope(|| panic!("of a strategy"))).is_err());
        assert_eq!(STATE.get(), 5);
    }

    #[test]
    fn a_fraction_stays_below_one() {
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&random_fraction())));
        assert!((0..10_000).all(|_| random_below(3) < 3));
    }
}
