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
    /// For each value of the top bits of a hash, what lies there.
    lines: Box<[Line]>,
    /// For each of these the number of the first point at or after its lowest hash.
    starts: Box<[u32]>,
    /// Bits of a hash below those.
    shift: u32,
}

/// A cache line of the index: the first points at or after the lowest hash with some top bits. All but few lookups
/// read nothing else.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    /// The bits of each that follow the top bits. The point after the last one with these top bits counts as if it
    /// had the highest, and so do places that are left.
    heads: [u16; IN_LINE],
    /// The owner of each, or [`ELSEWHERE`].
    owners: [u16; IN_LINE],
}

const IN_LINE: usize = 16;
const ELSEWHERE: u16 = u16::MAX;
/// Points that a line is meant for: of random ones, so that more than it has places for come once in a hundred lines.
const MEANT: usize = 8;
/// Lines of the index at most: 128 MiB, for 256 MiB of points.
const MAX_LINES: usize = 1 << 21;

impl Ring {
    /// Creates a ring of `points`, in any order, each with the index of its owner. `bits` is the width of
    /// the hashes: 32 or 64.
    ///
    /// Of equal points that of the lowest index is the first.
    pub(super) fn of(mut points: Vec<(u64, u32)>, bits: u32) -> Self {
        points.sort_unstable();
        points.truncate(u32::MAX as usize);
        let count = points.len().div_ceil(MEANT).next_power_of_two().min(MAX_LINES);
        let shift = bits - count.trailing_zeros();
        let (mut lines, mut starts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut start = 0;
        for top in 0..count as u64 {
            let of_top = |of: &&(u64, u32)| top_of(of.0, shift) == top;
            let len = points[start..].iter().take_while(of_top).count();
            lines.push(Line::of(&points, start, len, shift));
            starts.push(start as u32);
            start += len;
        }
        Self { points: points.into(), lines: lines.into(), starts: starts.into(), shift }
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
        let line = self.lines.get(top_of(hash, self.shift) as usize);
        match line.and_then(|line| line.owner(head_of(hash, self.shift))) {
            Some(owner) => Some(owner.into()),
            None => self.walk(hash).next(),
        }
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
        let start = self.starts.get(top_of(hash, self.shift) as usize);
        let Some(start) = start.map(|&start| start as usize) else { return 0 };
        let after = self.points.get(start..).unwrap_or_default();
        start + after.iter().take_while(|&&(point, _)| point < hash).count()
    }
}

impl Line {
    /// That of `len` points from `start` on.
    fn of(points: &[(u64, u32)], start: usize, len: usize, shift: u32) -> Self {
        let mut line = Self { heads: [u16::MAX; IN_LINE], owners: [ELSEWHERE; IN_LINE] };
        let after = points.get(start + len).or(points.first());
        let last = after.map(|&(_, owner)| (u16::MAX, owner));
        let here = points[start..start + len].iter();
        let all = here.map(|&(hash, owner)| (head_of(hash, shift), owner)).chain(last);
        for ((head, owner), (into, of)) in all.zip(line.heads.iter_mut().zip(&mut line.owners)) {
            (*into, *of) = (head, u16::try_from(owner).unwrap_or(ELSEWHERE));
        }
        line
    }

    /// `None` if there are too many points, or it takes more bits to tell.
    #[inline]
    fn owner(&self, head: u16) -> Option<u16> {
        // All of them at once, rather than one after the other.
        let at = self.heads.iter().map(|&of| u16::from(of < head)).sum::<u16>();
        let is_beyond = self.heads.get(usize::from(at)).is_some_and(|&of| of > head);
        let owner = self.owners.get(usize::from(at)).copied();
        owner.filter(|&owner| is_beyond && owner != ELSEWHERE)
    }
}

#[inline]
fn top_of(hash: u64, shift: u32) -> u64 {
    hash.checked_shr(shift).unwrap_or(0)
}

#[inline]
fn head_of(hash: u64, shift: u32) -> u16 {
    // Without the top bits, from the highest bit on; of narrow hashes there are fewer.
    ((hash << (64 - shift)) >> 48) as u16
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
            hashes in proptest::collection::vec(
                prop_oneof![any::<u64>(), 0..64_u64, (0..64_u64).prop_map(|hash| hash << 32)],
                0..200,
            ),
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
