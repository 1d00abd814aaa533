use super::mt19937::Mt19937;
use crate::error::{Error, Kind};

/// Bound to what one endpoint may have, as a multiple of its share: a key whose endpoint has more goes on.
///
/// Without one, the endpoint of a hot key has as much as that brings. Sources: Mirrokni, Thorup and
/// Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016); numbers and order are those of Envoy.
///
/// ```
/// use tower_upstream::rules::hash::BoundedLoad;
/// let bound = BoundedLoad::new(1.5);
/// // 99 calls are in flight; this endpoint has a quarter of the weight.
/// assert_eq!(bound.slots(99, 0.25), 38);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundedLoad {
    percent: f64,
}

impl Default for BoundedLoad {
    /// 1.5 times the share.
    fn default() -> Self {
        Self { percent: 150.0 }
    }
}

impl BoundedLoad {
    /// Creates a bound of `factor` times the share. Below 1, and not a number, are taken for 1.
    pub fn new(factor: f64) -> Self {
        let (percent, whole) = (factor * 100.0, (factor * 100.0).round());
        // 1.1 times 100 is a little above 110, and would have more slots than 110 percent.
        let percent = if whole / 100.0 == factor { whole } else { percent };
        Self { percent: percent.max(100.0) }
    }

    /// Creates the bound of a `hash_balance_factor` of Envoy, or `hash-balance-factor` of HAProxy: a percentage;
    /// `None` for 0, which is no bound.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) if it is from 1 to 99.
    ///
    /// ```
    /// use tower_upstream::rules::hash::BoundedLoad;
    /// assert_eq!(BoundedLoad::of_percent(150)?, Some(BoundedLoad::new(1.5)));
    /// assert_eq!(BoundedLoad::of_percent(0)?, None);
    /// assert!(BoundedLoad::of_percent(99).is_err());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn of_percent(percent: u32) -> Result<Option<Self>, Error> {
        match percent {
            0 => Ok(None),
            1..100 => Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                "the balance factor of a hash is {percent} percent, but must be at least 100, or 0 for none"
            ))),
            _ => Ok(Some(Self { percent: f64::from(percent) })),
        }
    }

    /// Returns the factor.
    ///
    /// ```
    /// use tower_upstream::rules::hash::BoundedLoad;
    /// assert_eq!(BoundedLoad::default().factor(), 1.5);
    /// ```
    pub fn factor(&self) -> f64 {
        self.percent / 100.0
    }

    /// Returns how many calls an endpoint with `share` of the weight may have, while all have `active` calls in
    /// flight: at least 1.
    #[inline]
    pub fn slots(&self, active: u64, share: f64) -> u32 {
        let all = ((active as f64 + 1.0) * self.percent / 100.0).ceil();
        (all * share).ceil().max(1.0) as u32
    }

    /// Returns how much work an endpoint with `share` of the weight may have, while all have so many `seconds` of
    /// it for each second: at least 1.
    ///
    /// The same as [`slots`](Self::slots), of an average rather than of calls at one moment.
    ///
    /// ```
    /// use tower_upstream::rules::hash::BoundedLoad;
    /// assert_eq!(BoundedLoad::new(1.5).room(40.0, 0.125), 7.5);
    /// assert_eq!(BoundedLoad::new(1.5).room(0.1, 0.125), 1.0);
    /// ```
    #[inline]
    pub fn room(&self, seconds: f64, share: f64) -> f64 {
        (seconds * self.factor() * share).max(1.0)
    }

    /// Returns what one of `endpoints` may have in Skipper: the factor times the mean of `active` calls and
    /// one more. One with more is passed by, along the [ring](super::Ring::walk).
    ///
    /// ```
    /// use tower_upstream::rules::hash::BoundedLoad;
    /// assert_eq!(BoundedLoad::new(1.25).mean(7, 2), 5.0);
    /// ```
    pub fn mean(&self, active: u64, endpoints: usize) -> f64 {
        (active as f64 + 1.0) / endpoints.max(1) as f64 * self.factor()
    }

    /// Returns which of `endpoints` a key goes to whose own is `first`.
    ///
    /// `overload` tells how much of its slots an endpoint has in use: `first` is kept up to 1. Otherwise it is
    /// the first in the [order of the key](ProbeOrder) that has room, or the least overloaded if none has.
    ///
    /// ```
    /// use tower_upstream::rules::hash::BoundedLoad;
    /// let overload = |index: usize| [0.5, 0.5, 2.0, 0.5, 0.5][index];
    /// assert_eq!(BoundedLoad::choose(2, 2, 5, overload), 1);
    /// ```
    pub fn choose(
        hash: u64,
        first: usize,
        endpoints: usize,
        overload: impl Fn(usize) -> f64,
    ) -> usize {
        let mut least = (overload(first), first);
        if least.0 <= 1.0 {
            return first;
        }
        for other in ProbeOrder::new(hash, endpoints).filter(|&other| other != first) {
            let overload = overload(other);
            if overload <= 1.0 {
                return other;
            }
            if overload < least.0 {
                least = (overload, other);
            }
        }
        least.1
    }
}

/// The order in which a key looks for another endpoint: that of Envoy, a shuffle that the hash determines.
///
/// So a key goes on to the same endpoint each time, and the keys of one endpoint to different ones. The first few
/// take as much memory as they are; from the 33rd on it is four bytes for each endpoint.
///
/// ```
/// use tower_upstream::rules::hash::ProbeOrder;
/// assert_eq!(ProbeOrder::new(2, 5).collect::<Vec<_>>(), [2, 1, 0, 4, 3]);
/// ```
pub struct ProbeOrder {
    numbers: Box<Mt19937>,
    len: u32,
    at: u32,
    moved: Moved,
}

/// What stands at places other than its own, of those that were swapped.
enum Moved {
    Few(Vec<(u32, u32)>),
    All(Box<[u32]>),
}

/// So many are looked through.
const FEW: usize = 32;

impl Moved {
    /// Puts what stands at `other` behind all that was looked at, and returns it.
    fn take(&mut self, at: u32, other: u32, len: u32) -> u32 {
        let few = match self {
            Self::All(places) => {
                places.swap(at as usize, other as usize);
                return places[at as usize];
            }
            Self::Few(few) => few,
        };
        let of = |place| few.iter().find(|(at, _)| *at == place).map_or(place, |&(_, of)| of);
        let (here, there) = (of(at), of(other));
        // What is behind is not looked at again.
        few.retain(|&(place, _)| place != other && place != at);
        if other != at {
            few.push((other, here));
        }
        if few.len() > FEW {
            let mut places: Box<[u32]> = (0..len).collect();
            few.iter().for_each(|&(place, of)| places[place as usize] = of);
            *self = Self::All(places);
        }
        there
    }
}

impl ProbeOrder {
    /// Creates the order of `endpoints`, of which there are at most 2³²-1, for a hash.
    pub fn new(hash: u64, endpoints: usize) -> Self {
        let numbers = Box::new(Mt19937::new(hash as u32));
        let len = u32::try_from(endpoints).unwrap_or(u32::MAX);
        Self { numbers, len, at: 0, moved: Moved::Few(Vec::new()) }
    }

    fn below(&mut self, bound: u32) -> u32 {
        let width = (1_u64 << 32) / u64::from(bound);
        loop {
            let drawn = u64::from(self.numbers.next_u32()) / width;
            if drawn < u64::from(bound) {
                return drawn as u32;
            }
        }
    }
}

impl Iterator for ProbeOrder {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let left = self.len.checked_sub(self.at).filter(|left| *left > 0)?;
        let other = self.at + self.below(left);
        let there = self.moved.take(self.at, other, self.len);
        self.at += 1;
        Some(there as usize)
    }
}

impl std::fmt::Debug for ProbeOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeOrder").field("left", &(self.len - self.at)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As it is where all are shuffled in memory.
        #[test]
        fn an_order_is_that_of_a_whole_shuffle(hash: u64, endpoints in 1_usize..300) {
            let mut numbers = ProbeOrder::new(hash, endpoints);
            let mut places: Vec<_> = (0..endpoints).collect();
            for at in 0..endpoints {
                let other = at + numbers.below((endpoints - at) as u32) as usize;
                places.swap(at, other);
            }
            prop_assert_eq!(ProbeOrder::new(hash, endpoints).collect::<Vec<_>>(), places);
        }

        #[test]
        fn a_factor_is_its_percentage(percent in 100_u32..100_000, active in 0..10_000_u32) {
            let bound = BoundedLoad::new(f64::from(percent) / 100.0);
            prop_assert_eq!(Some(bound), BoundedLoad::of_percent(percent).unwrap());
            let all = (u64::from(active) + 1) * u64::from(percent);
            prop_assert_eq!(u64::from(bound.slots(active.into(), 1.0)), all.div_ceil(100));
        }

        #[test]
        fn whatever_is_asked_there_is_a_bound(
            factor in prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), -1.0..3.0],
            active in prop_oneof![any::<u64>(), 0..1_000_u64],
            share in prop_oneof![any::<f64>(), 0.0..1.0],
            seconds in prop_oneof![any::<f64>(), 0.0..1_000.0],
            endpoints: usize,
        ) {
            let bound = BoundedLoad::new(factor);
            prop_assert!(bound.factor() >= 1.0);
            prop_assert!(bound.slots(active, share) >= 1);
            prop_assert!(bound.room(seconds, share) >= 1.0);
            prop_assert!(bound.mean(active, endpoints) > 0.0);
        }

        /// All that are in flight have a place, where each is as much of them as its share: so one has room.
        #[test]
        fn all_slots_are_more_than_all_calls(
            active in 0..100_000_u64,
            weights in prop::collection::vec(1..1_000_u32, 1..50),
            factor in 1.0..3.0,
        ) {
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            let slots = |weight: &u32| u64::from(BoundedLoad::new(factor).slots(active, f64::from(*weight) / total));
            prop_assert!(weights.iter().map(slots).sum::<u64>() > active);
        }

        #[test]
        fn the_first_with_room_has_it_or_the_least_overloaded(
            hash: u64,
            overloads in prop::collection::vec(prop_oneof![0.0..3.0, Just(f64::INFINITY)], 1..20),
            first: prop::sample::Index,
        ) {
            let first = first.index(overloads.len());
            let found = BoundedLoad::choose(hash, first, overloads.len(), |index| overloads[index]);
            let others = ProbeOrder::new(hash, overloads.len()).filter(|&other| other != first);
            let mut order = std::iter::once(first).chain(others);
            match order.find(|&index| overloads[index] <= 1.0) {
                Some(has_room) => prop_assert_eq!(found, has_room),
                None => prop_assert!(overloads.iter().all(|&of| of >= overloads[found])),
            }
        }
    }
}
