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
        Self { percent: (factor * 100.0).max(100.0) }
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
/// So a key goes on to the same endpoint each time, and the keys of one endpoint to different ones.
///
/// ```
/// use tower_upstream::rules::hash::ProbeOrder;
/// assert_eq!(ProbeOrder::new(2, 5).collect::<Vec<_>>(), [2, 1, 0, 4, 3]);
/// ```
pub struct ProbeOrder {
    numbers: Box<Mt19937>,
    len: u32,
    at: u32,
    /// What stands at places other than its own, of those that were swapped.
    moved: Vec<(u32, u32)>,
}

impl ProbeOrder {
    /// Creates the order of `endpoints`, of which there are at most 2³²-1, for a hash.
    pub fn new(hash: u64, endpoints: usize) -> Self {
        let numbers = Box::new(Mt19937::new(hash as u32));
        Self {
            numbers,
            len: u32::try_from(endpoints).unwrap_or(u32::MAX),
            at: 0,
            moved: Vec::new(),
        }
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
        let of = |moved: &[(u32, u32)], place| {
            moved.iter().find(|(at, _)| *at == place).map_or(place, |&(_, value)| value)
        };
        let (here, there) = (of(&self.moved, self.at), of(&self.moved, other));
        // What is behind is not looked at again.
        let at = self.at;
        self.moved.retain(|&(place, _)| place != other && place != at);
        if other != at {
            self.moved.push((other, here));
        }
        self.at += 1;
        Some(there as usize)
    }
}

impl std::fmt::Debug for ProbeOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeOrder").field("left", &(self.len - self.at)).finish_non_exhaustive()
    }
}
