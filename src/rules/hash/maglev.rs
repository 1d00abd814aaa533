use std::fmt;

use super::{
    filling::{EMPTY, MaglevTurns, fill},
    functions::xxh64,
};
use crate::error::{Error, Kind};

/// A table of endpoints, in which each has its share of the places: a key goes to the one at its hash.
///
/// A lookup is one read. An endpoint that joins or leaves moves, beside the keys that it gets or had, below
/// 1 % of the others while there are more than 100 places for each. Source: Eisenbud and others, "Maglev"
/// (NSDI 2016); places and weights are those of Envoy.
///
/// ```
/// use tower_upstream::rules::hash::{Maglev, xxh64};
/// let table = Maglev::new(&[("10.0.0.1:80", 1), ("10.0.0.2:80", 2)]);
/// let counts = |index| table.slots().iter().filter(|owner| **owner == index).count();
/// assert_eq!((counts(0), counts(1)), (21_846, 43_691));
/// assert!(table.get(xxh64(b"user-1", 0)).is_some());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Maglev {
    slots: Box<[u32]>,
}

impl Maglev {
    /// Number of places, unless another is given.
    pub const DEFAULT_SIZE: usize = 65_537;
    /// Most places, as in Envoy.
    pub const MAX_SIZE: usize = 5_000_011;

    /// Creates the table of Envoy with [`DEFAULT_SIZE`](Self::DEFAULT_SIZE) places: of hosts as they are
    /// written, with weights.
    ///
    /// Hosts of weight 0 have no place. A key is placed by [`xxh64`].
    pub fn new<S: AsRef<str>>(hosts: &[(S, u32)]) -> Self {
        Self::of(hosts, Self::DEFAULT_SIZE)
    }

    /// Creates a table with `size` places.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) if `size` is no prime number from 3 to
    /// [`MAX_SIZE`](Self::MAX_SIZE).
    ///
    /// ```
    /// use tower_upstream::rules::hash::Maglev;
    /// assert_eq!(Maglev::with_size(&[("a:80", 1)], 7)?.slots(), [0; 7]);
    /// assert!(Maglev::with_size(&[("a:80", 1)], 8).is_err());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn with_size<S: AsRef<str>>(hosts: &[(S, u32)], size: usize) -> Result<Self, Error> {
        Self::check_size(size)?;
        Ok(Self::of(hosts, size))
    }

    /// Checks a number of places, as [`with_size`](Self::with_size) does.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names the next prime number.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Maglev;
    /// assert!(Maglev::check_size(65_537).is_ok());
    /// assert!(Maglev::check_size(8).unwrap_err().to_string().contains("such as 11"));
    /// ```
    pub fn check_size(size: usize) -> Result<(), Error> {
        let range = 3..=Self::MAX_SIZE;
        if range.contains(&size) && is_prime(size) {
            return Ok(());
        }
        let near = (size.clamp(3, Self::MAX_SIZE)..=Self::MAX_SIZE).find(|&size| is_prime(size));
        Err(Error::not_sent(Kind::InvalidConfig).message(format!(
            "the size of a Maglev table is {size}, but must be a prime number from 3 to {}, such as {}",
            Self::MAX_SIZE,
            near.unwrap_or(Self::DEFAULT_SIZE)
        )))
    }

    fn of<S: AsRef<str>>(hosts: &[(S, u32)], size: usize) -> Self {
        // The order in which they have their turns does not depend on that in which they are given.
        let mut order: Vec<_> = (0..hosts.len().min(EMPTY as usize)).collect();
        order.sort_by_key(|&index| hosts[index].0.as_ref());
        let walks = order.iter().map(|&index| {
            let bytes = hosts[index].0.as_ref().as_bytes();
            let offset = xxh64(bytes, 0) % size as u64;
            let skip = xxh64(bytes, 1) % (size as u64 - 1) + 1;
            Walk { at: offset as usize, skip: skip as usize, size }
        });
        let weights: Vec<_> = order.iter().map(|&index| hosts[index].1).collect();
        let table = fill(size, walks.collect(), &weights, MaglevTurns::Proportional);
        Self { slots: table.into_iter().map(|at| order[at as usize] as u32).collect() }
    }

    /// Creates a table from an order of all places for each endpoint, with weights; 0 is an endpoint without
    /// places.
    ///
    /// A place beyond the table is skipped, and one that no order has belongs to no endpoint: then the table is
    /// empty.
    ///
    /// ```
    /// use tower_upstream::rules::hash::{Maglev, MaglevTurns};
    /// let orders = [[3, 0, 4, 1, 5, 2, 6], [0, 2, 4, 6, 1, 3, 5], [3, 4, 5, 6, 0, 1, 2]];
    /// let table = Maglev::populate(&orders, &[1, 1, 1], MaglevTurns::default());
    /// assert_eq!(table.slots(), [1, 0, 1, 0, 2, 2, 0]);
    /// ```
    pub fn populate<O: AsRef<[usize]>>(orders: &[O], weights: &[u32], turns: MaglevTurns) -> Self {
        let size = orders.iter().map(|order| order.as_ref().len()).max().unwrap_or(0);
        let in_table = |order: &O| {
            let places: Vec<_> = order.as_ref().iter().copied().filter(|at| *at < size).collect();
            places.into_iter()
        };
        let slots = fill(size, orders.iter().map(in_table).collect(), weights, turns);
        Self { slots: slots.into() }
    }

    /// Returns the endpoint at `hash`, by its index; `None` if there is none.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Maglev;
    /// assert_eq!(Maglev::new(&[("a:80", 1)]).get(7), Some(0));
    /// assert_eq!(Maglev::new::<&str>(&[]).get(7), None);
    /// ```
    #[inline]
    pub fn get(&self, hash: u64) -> Option<usize> {
        let at = hash.checked_rem(self.slots.len() as u64)?;
        self.slots.get(at as usize).map(|&owner| owner as usize)
    }

    /// Returns the endpoint at each place, by its index.
    ///
    /// ```
    /// use tower_upstream::rules::hash::Maglev;
    /// assert_eq!(Maglev::new(&[("a:80", 1)]).slots().len(), 65_537);
    /// ```
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }
}

impl fmt::Debug for Maglev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maglev").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// The order in which an endpoint wants the places: all of them, since their number is prime.
struct Walk {
    at: usize,
    skip: usize,
    size: usize,
}

impl Iterator for Walk {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let at = self.at;
        self.at += self.skip;
        if self.at >= self.size {
            self.at -= self.size;
        }
        Some(at)
    }
}

fn is_prime(number: usize) -> bool {
    number >= 2 && (2..).take_while(|of| of * of <= number).all(|of| number % of != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looked at in each round, the others would take minutes.
    #[test]
    fn one_that_weighs_far_more_takes_no_look_at_the_others_in_each_round() {
        let light = (1..10_000).map(|of| (format!("10.0.{}.{}:80", of / 256, of % 256), 1));
        let heavy = std::iter::once(("10.9.9.9:80".to_owned(), 1_000_000_000));
        let hosts: Vec<_> = heavy.chain(light).collect();
        let table = Maglev::with_size(&hosts, 1_000_003).unwrap();
        let heavy = table.slots().iter().filter(|owner| **owner == 0).count();
        assert_eq!(heavy, 1_000_003 - 9_999, "each of the others has one");
    }
}
