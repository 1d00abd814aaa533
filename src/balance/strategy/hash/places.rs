//! A table of candidates by the remainder of a hash.

/// Half as wide where there are not too many candidates, so that more of it is in the caches.
#[derive(Debug)]
pub(super) enum Places {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl FromIterator<u32> for Places {
    fn from_iter<I: IntoIterator<Item = u32>>(places: I) -> Self {
        let wide: Box<[u32]> = places.into_iter().collect();
        match wide.iter().map(|&place| u16::try_from(place).ok()).collect() {
            Some(narrow) => Self::Narrow(narrow),
            None => Self::Wide(wide),
        }
    }
}

impl Places {
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<usize> {
        match self {
            Self::Narrow(places) => at(places, hash).map(usize::from),
            Self::Wide(places) => at(places, hash).map(|place| place as usize),
        }
    }
}

#[inline]
fn at<T: Copy>(places: &[T], hash: u64) -> Option<T> {
    let at = hash.checked_rem(places.len() as u64)?;
    places.get(at as usize).copied()
}

#[cfg(test)]
mod tests {
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
}
