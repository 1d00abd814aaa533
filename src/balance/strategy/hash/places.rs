//! A table of candidates by the remainder of a hash.

/// Half as wide where there are not too many candidates, so that more of it is in the caches.
#[derive(Debug)]
pub(super) enum Places {
    Narrow(Table<u16>),
    Wide(Table<u32>),
}

#[derive(Debug)]
pub(super) struct Table<T> {
    places: Box<[T]>,
    /// 2^64 by the number of places: two products are quicker than a division.
    inverse: u64,
}

impl FromIterator<u32> for Places {
    fn from_iter<I: IntoIterator<Item = u32>>(places: I) -> Self {
        let wide: Box<[u32]> = places.into_iter().collect();
        match wide.iter().map(|&place| u16::try_from(place).ok()).collect() {
            Some(narrow) => Self::Narrow(Table::new(narrow)),
            None => Self::Wide(Table::new(wide)),
        }
    }
}

impl Places {
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<usize> {
        match self {
            Self::Narrow(table) => table.at(hash).map(usize::from),
            Self::Wide(table) => table.at(hash).map(|place| place as usize),
        }
    }
}

impl<T: Copy> Table<T> {
    fn new(places: Box<[T]>) -> Self {
        let inverse = u64::MAX.checked_div(places.len() as u64).unwrap_or(0);
        Self { places, inverse }
    }

    /// What is at the remainder of `hash`; `None` of an empty table.
    #[inline]
    fn at(&self, hash: u64) -> Option<T> {
        let len = self.places.len() as u64;
        // Rounded down twice, and yet one too low at most.
        let quotient = (u128::from(hash) * u128::from(self.inverse)) >> 64;
        let rest = hash - quotient as u64 * len;
        let at = if rest < len { rest } else { rest - len };
        self.places.get(at as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_as_narrow_as_can_be() {
        assert!(Places::from_iter([]).get(7).is_none());
        for (last, is_narrow) in [(u32::from(u16::MAX), true), (u32::from(u16::MAX) + 1, false)] {
            let places = Places::from_iter([3, last]);
            assert_eq!(matches!(places, Places::Narrow(_)), is_narrow);
            assert_eq!((places.get(6), places.get(7)), (Some(3), Some(last as usize)));
        }
    }

    proptest! {
        #[test]
        fn a_key_is_at_the_remainder_of_its_hash(
            len in prop_oneof![1_u32..70, 65_530_u32..65_545],
            hash: u64,
            multiple: u64,
            off in 0_u64..3,
        ) {
            let places: Places = (0..len).collect();
            let len = u64::from(len);
            // Where a quotient that is a little off shows.
            let edge = (multiple / len * len).wrapping_add(off).wrapping_sub(1);
            for hash in [hash, edge, 0, u64::MAX, u64::MAX - off] {
                prop_assert_eq!(places.get(hash), Some((hash % len) as usize));
            }
        }
    }
}
