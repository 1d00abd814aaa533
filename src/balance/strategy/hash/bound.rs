//! How much each candidate may have, and where a key goes on to.

use super::{
    super::candidates::Candidates,
    bounded_by::BoundedBy,
    lookup::Lookup,
    portions::Portions,
    scheme::HashScheme,
    total::{Total, load},
};
use crate::rules::hash::BoundedLoad;

/// A bound, and what it is a bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) factor: BoundedLoad,
    pub(super) by: BoundedBy,
    pub(super) scheme: HashScheme,
}

/// A key, and the candidate that it goes to, which is free.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) lookup: &'a Lookup,
    pub(super) hash: u64,
    pub(super) first: usize,
}

impl Bound {
    /// The candidate that a key goes to: its own, or another one that is free if that has more than its share.
    #[inline]
    pub(super) fn choose(
        self,
        place: Place<'_>,
        candidates: &Candidates<'_>,
        total: &Total,
        portions: &Portions,
    ) -> usize {
        let first = place.first;
        let load = candidates.get(first).map_or(0.0, |first| load(self.by, first.member()));
        let is_measured = self.by == BoundedBy::Occupancy;
        // Averages are made only while they are read.
        let sum = if is_measured { total.get(candidates) } else { 0.0 };
        // Nothing is above what each may have at least.
        if load <= 1.0 {
            return first;
        }
        let sum = if is_measured { sum } else { total.get(candidates) };
        if load <= self.room(sum, portions, first) {
            return first;
        }
        self.spilled(place, candidates, total, portions)
    }

    /// What the candidate at `index` may have.
    fn room(self, sum: f64, portions: &Portions, index: usize) -> f64 {
        let (share, endpoints) = (portions.of(index), portions.endpoints);
        match (self.by, self.scheme) {
            (BoundedBy::InFlight, HashScheme::Skipper { .. }) => {
                self.factor.mean(sum as u64, endpoints)
            }
            (BoundedBy::InFlight, _) => f64::from(self.factor.slots(sum as u64, share)),
            (BoundedBy::Occupancy, HashScheme::Skipper { .. }) => {
                self.factor.room(sum, 1.0 / endpoints as f64)
            }
            (BoundedBy::Occupancy, _) => self.factor.room(sum, share),
        }
    }

    /// The part that the candidate at `index` has of what it may have.
    pub(super) fn part(
        self,
        index: usize,
        candidates: &Candidates<'_>,
        sum: f64,
        portions: &Portions,
    ) -> f64 {
        let of = candidates.get(index);
        of.map_or(f64::INFINITY, |of| load(self.by, of.member()) / self.room(sum, portions, index))
    }

    #[cold]
    fn spilled(
        self,
        Place { lookup, hash, first }: Place<'_>,
        candidates: &Candidates<'_>,
        total: &Total,
        portions: &Portions,
    ) -> usize {
        let (sum, len) = (total.renewed(candidates), candidates.len());
        let overload = |index: usize| {
            if index != first && !candidates.is_free(index) {
                return f64::INFINITY;
            }
            self.part(index, candidates, sum, portions)
        };
        if let HashScheme::Skipper { .. } = self.scheme {
            let mut along = lookup.walk(hash).into_iter().flatten();
            let has_room = |index: &usize| overload(*index) <= 1.0;
            return if has_room(&first) { first } else { along.find(has_room).unwrap_or(first) };
        }
        BoundedLoad::choose(hash, first, len, overload)
    }
}
