//! How much each candidate may have, and where a key goes on to.

use super::{
    super::{candidates::Candidates, note::Note},
    bounded_by::BoundedBy,
    lookup::{Lookup, Shares},
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
    pub(super) shares: &'a Shares,
    pub(super) hash: u64,
    pub(super) first: usize,
}

impl Bound {
    /// The candidate that a key goes to: its own, or another one that is free if that has more than its share.
    #[inline(always)]
    pub(super) fn choose<N: Note>(
        self,
        place: Place<'_>,
        candidates: &Candidates<'_>,
        total: &Total,
        portions: &Portions,
        note: &N,
    ) -> usize {
        let first = place.first;
        let load = candidates.get(first).map_or(0.0, |first| load(self.by, first.member()));
        // Averages are made only while they are read; calls are counted anyway.
        let needs_sum = N::TELLS || self.by == BoundedBy::Occupancy;
        if load <= self.least() && !needs_sum {
            return first;
        }
        let room = self.room(total.get(candidates), portions, first);
        if load <= room {
            note.bound(first, load, room);
            return first;
        }
        self.spilled(place, candidates, total, portions, note)
    }

    /// What each may have at least.
    fn least(self) -> f64 {
        match (self.by, self.scheme) {
            (BoundedBy::InFlight, HashScheme::Skipper { .. }) => 0.0,
            _ => 1.0,
        }
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

    #[cold]
    fn spilled(
        self,
        place: Place<'_>,
        candidates: &Candidates<'_>,
        total: &Total,
        portions: &Portions,
        note: &impl Note,
    ) -> usize {
        let goes_to = |sum| {
            note.anew();
            self.first_with_room(place, candidates, sum, portions, note)
        };
        let chosen = match goes_to(total.renewed(candidates)) {
            (chosen, true) => chosen,
            // Of all that there is each has its share, and some less: there is more than there was.
            _ => goes_to(total.made(candidates)).0,
        };
        if chosen != place.first {
            note.spilled();
        }
        chosen
    }

    /// The first candidate along the way of a key that has room while all have `sum`, and whether it has; if none
    /// has, one of them.
    fn first_with_room(
        self,
        Place { lookup, shares, hash, first }: Place<'_>,
        candidates: &Candidates<'_>,
        sum: f64,
        portions: &Portions,
        note: &impl Note,
    ) -> (usize, bool) {
        let overload = |index: usize| {
            let Some(of) = candidates.get(index) else { return f64::INFINITY };
            if index != first && !candidates.is_free(index) {
                return f64::INFINITY;
            }
            let (load, room) = (load(self.by, of.member()), self.room(sum, portions, index));
            note.bound(index, load, room);
            load / room
        };
        let len = candidates.len();
        // A key that has moved to a newcomer is warm where it was, and nowhere else.
        let warm = || lookup.before(hash, shares, first).filter(|&index| overload(index) <= 1.0);
        let is_full = overload(first) > 1.0;
        if let Some(warm) = is_full.then(warm).flatten() {
            return (warm, true);
        }
        let chosen = match self.scheme {
            HashScheme::Skipper { .. } => {
                let along = lookup.walk(hash).into_iter().flatten().take(len * LOOKS);
                let mut all = std::iter::once(first).chain(along);
                all.find(|&index| overload(index) <= 1.0).unwrap_or(first)
            }
            _ => BoundedLoad::choose(hash, first, len, overload),
        };
        (chosen, overload(chosen) <= 1.0)
    }
}

/// Points of a ring that are looked at, for each candidate: any that has room is among them.
const LOOKS: usize = 64;
