//! Looks at a few of the candidates, and takes the best of them.

use std::sync::Arc;

use super::{
    candidates::{Candidate, Candidates},
    note::Note,
};
use crate::{
    member::Member,
    rules::{AliasTable, Choices, Rng, fewest, full_scan},
    sync::{random, random_below, scale},
};

/// How many candidates a choice looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    At(Choices),
    AtAll,
}

impl Look {
    pub(super) const TWO: Self = Self::At(Choices::TWO);

    pub(super) fn at(choices: u32) -> Self {
        Self::At(Choices::new(choices).unwrap_or_default())
    }

    /// The number of candidates if two of several are to be compared, or 0. Of none, two are sought as well:
    /// that is the quickest way to find none.
    pub(super) fn two_of(self, len: usize) -> u32 {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if self == Self::TWO && len != 1 { len.max(2) } else { 0 }
    }
}

impl Default for Look {
    fn default() -> Self {
        Self::TWO
    }
}

/// The cheaper one of two that are drawn of `len`, which are more than one.
#[inline(always)]
pub(super) fn better_of_two<T: Cost>(
    candidates: Candidates<'_>,
    len: u32,
    cost: impl Fn(Candidate<'_>) -> T,
    note: &impl Note,
) -> Option<usize> {
    better(candidates, draw_two(random(), len), cost, note)
}

/// What two candidates are compared by.
pub(super) trait Cost: PartialOrd + Into<f64> + Copy {}

impl<T: PartialOrd + Into<f64> + Copy> Cost for T {}

/// The better one of two whose lines are read at once, not one after the other.
#[inline(always)]
pub(super) fn better<T: Cost>(
    candidates: Candidates<'_>,
    (one, two): (usize, usize),
    cost: impl Fn(Candidate<'_>) -> T,
    note: &impl Note,
) -> Option<usize> {
    let (first, second) = (candidates.get(one)?, candidates.get(two)?);
    if candidates.are_free(first, second) {
        return Some(cheaper((one, cost(first)), (two, cost(second)), note));
    }
    better_that_is_free(candidates, (one, two), cost, note)
}

#[inline(always)]
fn cheaper<T: Cost>(one: (usize, T), two: (usize, T), note: &impl Note) -> usize {
    note.cost(one.0, one.1);
    note.cost(two.0, two.1);
    if two.1 < one.1 { two.0 } else { one.0 }
}

/// One of the two is barred, or was tried.
#[cold]
#[inline(never)]
fn better_that_is_free<T: Cost>(
    candidates: Candidates<'_>,
    (one, two): (usize, usize),
    cost: impl Fn(Candidate<'_>) -> T,
    note: &impl Note,
) -> Option<usize> {
    match (candidates.is_free(one), candidates.is_free(two)) {
        (true, true) => {
            let (first, second) = (candidates.get(one)?, candidates.get(two)?);
            Some(cheaper((one, cost(first)), (two, cost(second)), note))
        }
        (true, false) => Some(one),
        (false, true) => Some(two),
        (false, false) => candidates.free_from(one).next(),
    }
}

/// Two different indices below `len`, which is more than one.
#[inline]
fn draw_two(random: u64, len: u32) -> (usize, usize) {
    let one = scale(random as u32, len);
    let other = scale((random >> 32) as u32, len - 1);
    (one as usize, (other + u32::from(other >= one)) as usize)
}

/// A table that draws by weight; `None` if all weigh the same.
pub(super) fn uneven(members: &[Arc<Member>]) -> Option<AliasTable> {
    let weights: Vec<_> = members.iter().map(|member| f64::from(member.weight())).collect();
    let first = weights.first()?;
    if weights.iter().all(|weight| weight == first) { None } else { AliasTable::new(&weights) }
}

/// The one of least cost among those looked at. `draw` draws an index.
pub(super) fn least<N: Note>(
    candidates: &Candidates<'_>,
    look: Look,
    mut draw: impl FnMut() -> usize,
    cost: impl Fn(Candidate<'_>) -> f64,
    note: &N,
) -> Option<usize> {
    let (len, mut last) = (candidates.len(), usize::MAX);
    let drawn = match look {
        Look::AtAll => None,
        Look::At(choices) => Some((0..choices.get()).map(move |_| {
            last = another(len, last, &mut draw);
            last
        })),
    };
    least_of(candidates, drawn, cost, note)
}

/// The one of least cost among those that are drawn, or among all.
fn least_of<N: Note>(
    candidates: &Candidates<'_>,
    drawn: Option<impl Iterator<Item = usize>>,
    cost: impl Fn(Candidate<'_>) -> f64,
    note: &N,
) -> Option<usize> {
    let cost = |index: usize| match candidates.get(index) {
        Some(candidate) if candidates.is_free(index) => {
            let cost = cost(candidate);
            note.cost(index, cost);
            cost
        }
        _ => f64::NAN,
    };
    let best = match drawn {
        None => full_scan((0..candidates.len()).map(cost), &mut Rng::new(random())),
        Some(drawn) => fewest(drawn, cost),
    }?;
    if !candidates.is_free(best) {
        return any_free(candidates);
    }
    if N::TELLS {
        // Last, so that it is told of many that cost the same.
        cost(best);
    }
    Some(best)
}

/// Draws another one than the last, if there is one.
#[inline]
pub(super) fn another(len: usize, last: usize, mut draw: impl FnMut() -> usize) -> usize {
    let mut drawn = draw();
    // One of much weight may be drawn again and again.
    for _ in 0..2 {
        if drawn != last {
            return drawn;
        }
        drawn = draw();
    }
    if drawn == last { any_other(len, last) } else { drawn }
}

/// A random index below `len` other than `one`, if there is one: not always its neighbour.
fn any_other(len: usize, one: usize) -> usize {
    (one + 1 + any(len.saturating_sub(1))).checked_rem(len).unwrap_or(0)
}

/// The cheapest one of some that are drawn by weight. One of much weight is often drawn each time: then it is
/// compared with any other, which nothing has drawn, and whose cost so counts twice.
pub(super) fn least_by_weight(
    candidates: Candidates<'_>,
    choices: Choices,
    mut draw: impl FnMut() -> usize,
    cost: impl Fn(Candidate<'_>) -> f64,
    note: &impl Note,
) -> Option<usize> {
    let one = draw();
    let mut others = (1..choices.get()).map(|_| draw());
    match others.find(|&index| index != one) {
        Some(two) if choices == Choices::TWO => better(candidates, (one, two), cost, note),
        Some(two) => least_of(&candidates, Some([one, two].into_iter().chain(others)), cost, note),
        None => {
            let other = any_other(candidates.len(), one);
            if !(candidates.is_free(one) && candidates.is_free(other)) {
                return better(candidates, (one, other), cost, note);
            }
            let (first, second) = (candidates.get(one)?, candidates.get(other)?);
            Some(cheaper((one, cost(first)), (other, 2.0 * cost(second)), note))
        }
    }
}

/// A random index below `len`, or 0.
#[inline]
pub(super) fn any(len: usize) -> usize {
    random_below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
}

/// The first one that is free from a random one on, so that the neighbour of one that is barred does not
/// always get its calls.
#[cold]
pub(super) fn any_free(candidates: &Candidates<'_>) -> Option<usize> {
    candidates.free_from(any(candidates.len())).next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_two_are_different_and_in_range(random: u64, len in 2_u32..10_000) {
            let (one, two) = draw_two(random, len);
            prop_assert!(one < len as usize && two < len as usize && one != two);
        }
    }

    #[test]
    fn every_pair_is_drawn_as_often() {
        let mut seen = [[0_u32; 4]; 4];
        for _ in 0..120_000 {
            let (one, two) = draw_two(random(), 4);
            seen[one][two] += 1;
        }
        for (one, row) in seen.iter().enumerate() {
            for (two, &count) in row.iter().enumerate() {
                let expected = if one == two { 0..=0 } else { 9_000..=11_000 };
                assert!(expected.contains(&count), "{one} {two}: {count}");
            }
        }
    }

    #[test]
    fn two_that_are_drawn_are_two() {
        assert!((0..20).all(|_| another(3, 2, || 2) != 2));
        assert_eq!(another(1, 0, || 0), 0);
        assert_eq!(another(3, usize::MAX, || 2), 2);
    }

    #[test]
    fn one_choice_is_none_and_many_are_ten() {
        assert_eq!((Look::at(1), Look::at(99)), (Look::default(), Look::at(10)));
        assert_eq!([0, 1, 2].map(|len| Look::default().two_of(len)), [2, 0, 2]);
        assert_eq!((Look::at(3).two_of(9), Look::AtAll.two_of(9)), (0, 0));
    }
}
