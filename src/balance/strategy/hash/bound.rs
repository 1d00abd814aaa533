//! How much each candidate may have in flight.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{super::candidates::Candidates, lookup::Lookup, scheme::HashScheme};
use crate::rules::hash::BoundedLoad;

/// Candidates up to which all are counted for each choice.
const FEW: usize = 8;

/// The calls in flight of all candidates together.
///
/// One of about as many choices as there are candidates counts them, so that a choice costs the same whatever
/// their number, and reads no clock.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn get(&self, candidates: &Candidates<'_>) -> u64 {
        let len = candidates.len();
        // As in `scale`, but of both halves.
        let is_drawn = || (u128::from(candidates.random()) * len as u128) >> 64 == 0;
        if len > FEW && !is_drawn() {
            return self.0.load(Ordering::Relaxed);
        }
        let all = (0..len).filter_map(|index| candidates.get(index));
        let total = all.map(|candidate| u64::from(candidate.load())).sum();
        self.0.store(total, Ordering::Relaxed);
        total
    }
}

/// The candidate that a key goes to whose own is `first`, which is free: another one that is free, if that has
/// more than its share.
#[inline]
pub(super) fn bounded(
    bound: BoundedLoad,
    scheme: HashScheme,
    (lookup, hash, first): (&Lookup, u64, usize),
    candidates: &Candidates<'_>,
    total: &Total,
    weights: &[f64],
) -> usize {
    let load = |index| candidates.get(index).map_or(0, |candidate| candidate.load());
    // Nothing is above what each may have at least.
    if load(first) <= 1 {
        return first;
    }
    let active = total.get(candidates);
    if let HashScheme::Skipper { .. } = scheme {
        let most = bound.mean(active, candidates.len());
        if f64::from(load(first)) <= most {
            return first;
        }
        let mut others = lookup.walk(hash).into_iter().flatten();
        let has_room =
            |index: &usize| f64::from(load(*index)) <= most && candidates.is_free(*index);
        return others.find(has_room).unwrap_or(first);
    }
    let overload = |index: usize| {
        let share = weights.get(index).copied().unwrap_or(0.0);
        f64::from(load(index)) / f64::from(bound.slots(active, share))
    };
    if overload(first) <= 1.0 {
        return first;
    }
    spilled(hash, first, candidates, overload)
}

#[cold]
fn spilled(
    hash: u64,
    first: usize,
    candidates: &Candidates<'_>,
    overload: impl Fn(usize) -> f64,
) -> usize {
    let free = |index: usize| {
        if index == first || candidates.is_free(index) { overload(index) } else { f64::INFINITY }
    };
    BoundedLoad::choose(hash, first, candidates.len(), free)
}
