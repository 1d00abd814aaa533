use std::cell::Cell;

use super::thread_number;

/// A fast random number, from a state of this thread. Not for secrets.
#[inline]
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
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

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(thread_number())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_stays_below_one() {
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&random_fraction())));
        assert!((0..10_000).all(|_| random_below(3) < 3));
    }
}
