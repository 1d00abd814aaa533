use std::fmt;

/// A circle of points, each of which an endpoint owns: a key goes to the first point at or after its hash.
///
/// An endpoint that joins or leaves moves only the keys that it gets or had. [`Ring::envoy`] and its siblings
/// place the points where other systems do. A lookup takes one step on average, whatever the size.
///
/// ```
/// use tower_upstream::rules::hash::{Ring, RingSize, xxh64};
/// let ring = Ring::envoy(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)], RingSize::default());
/// let owner = ring.get(xxh64(b"user-1", 0));
/// assert!(owner.is_some_and(|index| index < 2));
/// assert_eq!(ring.walk(xxh64(b"user-1", 0)).next(), owner);
/// ```
#[derive(Clone)]
pub struct Ring {
    points: Box<[(u64, u32)]>,
    /// For each value of the top bits of a hash, the first point at or after the lowest hash with it.
    starts: Box<[u32]>,
    shift: u32,
}

/// Buckets of the index at most: 16 MiB.
const MAX_BUCKETS: usize = 1 << 22;

impl Ring {
    /// Creates a ring of `points`, in any order, each with the index of its owner. `bits` is the width of
    /// the hashes: 32 or 64.
    ///
    /// Of equal points that of the lowest index is the first.
    pub(super) fn of(mut points: Vec<(u64, u32)>, bits: u32) -> Self {
        points.sort_unstable();
        points.truncate(u32::MAX as usize);
        let buckets = points.len().next_power_of_two().min(MAX_BUCKETS);
        let shift = bits - buckets.trailing_zeros();
        let mut starts = Vec::with_capacity(buckets);
        for (at, &(hash, _)) in points.iter().enumerate() {
            // What lies in buckets up to this one begins here.
            let bucket = hash.checked_shr(shift).unwrap_or(0) as usize;
            while starts.len() <= bucket {
                starts.push(at as u32);
            }
        }
        starts.resize(buckets.max(starts.len()), points.len() as u32);
        Self { points: points.into(), starts: starts.into(), shift }
    }

    /// Returns the owner of the first point at or after `hash`, or of the first of all; `None` if there is
    /// none.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// assert_eq!(Ring::nginx(&[("a:80", 1)]).get(7), Some(0));
    /// assert_eq!(Ring::nginx::<&str>(&[]).get(7), None);
    /// ```
    #[inline]
    pub fn get(&self, hash: u64) -> Option<usize> {
        let at = self.position(hash);
        self.points.get(at).or_else(|| self.points.first()).map(|&(_, owner)| owner as usize)
    }

    /// Returns the owners of all points, from the first at or after `hash` on and around. Owners come again.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// let ring = Ring::nginx(&[("a:80", 1), ("b:80", 1)]);
    /// let first = ring.get(7);
    /// assert_eq!(ring.walk(7).find(|&index| Some(index) != first), first.map(|index| 1 - index));
    /// ```
    pub fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let (before, after) = self.points.split_at(self.position(hash));
        after.iter().chain(before).map(|&(_, owner)| owner as usize)
    }

    /// Returns the points in order, each with the index of its owner.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Ring;
    /// assert_eq!(Ring::nginx(&[("a:80", 1)]).points().len(), 160);
    /// ```
    pub fn points(&self) -> &[(u64, u32)] {
        &self.points
    }

    #[inline]
    fn position(&self, hash: u64) -> usize {
        let bucket = hash.checked_shr(self.shift).unwrap_or(0) as usize;
        let Some(&start) = self.starts.get(bucket) else { return self.points.len() };
        let after = self.points.get(start as usize..).unwrap_or_default();
        start as usize + after.iter().take_while(|&&(point, _)| point < hash).count()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("points", &self.points.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_goes_to_the_first_point_at_or_after_it(
            hashes in proptest::collection::vec(any::<u64>(), 0..80),
            narrow in any::<bool>(),
            key in any::<u64>(),
        ) {
            let narrowed = |hash: u64| if narrow { hash >> 32 } else { hash };
            let points: Vec<_> = hashes.iter().map(|&hash| narrowed(hash)).zip(0..).collect();
            let ring = Ring::of(points.clone(), if narrow { 32 } else { 64 });
            for key in [narrowed(key), 0, narrowed(u64::MAX)].into_iter().chain(points.iter().map(|of| of.0)) {
                let after = points.iter().filter(|(point, _)| *point >= key).min();
                let expected = after.or_else(|| points.iter().min());
                prop_assert_eq!(ring.get(key), expected.map(|&(_, owner)| owner as usize));
                prop_assert_eq!(ring.walk(key).next(), ring.get(key));
                prop_assert_eq!(ring.walk(key).count(), points.len());
            }
        }
    }
}
