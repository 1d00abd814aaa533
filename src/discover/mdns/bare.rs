//! Instances of which no pair of a TXT record was heard, as arithmetic. Each has such a record (RFC 6763 §6), without which
//! it would be another one: by its name instead of its `id`, without its `protocol`. The daemon tells of it as soon as it
//! can be reached; the record may come in a packet of its own.

use std::{collections::BTreeMap, time::Duration};

use crate::time::{self, Instant};

/// How long the record is waited for. Then it is one without pairs.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// By their full names; `T` is what was told last.
#[derive(Debug)]
pub(super) struct Bare<T> {
    all: BTreeMap<String, Held<T>>,
    max: usize,
}

#[derive(Debug)]
enum Held<T> {
    Until(Instant, T),
    /// It was waited for, and has none.
    Over,
}

impl<T> Bare<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { all: BTreeMap::new(), max }
    }

    /// Holds what was told back, or returns it, if its record was waited for or there is no room.
    pub(super) fn hold(&mut self, full: &str, told: T, now: Instant) -> Option<T> {
        let has_room = self.all.len() < self.max;
        match self.all.get_mut(full) {
            Some(Held::Until(_, before)) => *before = told,
            None if has_room => {
                self.all.insert(full.to_owned(), Held::Until(time::later(now, WAIT), told));
            }
            _ => return Some(told),
        }
        None
    }

    /// Its record was heard, or it has left.
    pub(super) fn forget(&mut self, full: &str) {
        self.all.remove(full);
    }

    /// When something is over next.
    pub(super) fn due(&self) -> Option<Instant> {
        let until = |of: &Held<T>| if let Held::Until(until, _) = of { Some(*until) } else { None };
        self.all.values().filter_map(until).min()
    }

    /// What was held back for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<T> {
        let mut over = Vec::new();
        for held in self.all.values_mut() {
            if matches!(held, Held::Until(until, _) if *until <= now) {
                if let Held::Until(_, told) = std::mem::replace(held, Held::Over) {
                    over.push(told);
                }
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_without_pairs_is_held_back_once_for_a_second() {
        let start = time::now();
        let after = |millis| time::later(start, Duration::from_millis(millis));
        let mut bare = Bare::new(2);
        assert_eq!((bare.hold("a", 1, start), bare.due()), (None, Some(after(1_000))));
        // The last that was told counts, and the time goes on.
        assert_eq!(bare.hold("a", 2, after(900)), None);
        assert_eq!(bare.hold("b", 3, after(900)), None);
        assert_eq!(bare.hold("c", 4, after(900)), Some(4), "there is no room");
        assert!(bare.take_due(after(999)).is_empty());
        bare.forget("b");
        assert_eq!((bare.take_due(after(1_000)), bare.due()), (vec![2], None));
        // It has none, and changes.
        assert_eq!(bare.hold("a", 5, after(2_000)), Some(5));
        bare.forget("a");
        assert_eq!((bare.hold("a", 6, after(3_000)), bare.due()), (None, Some(after(4_000))));
    }
}
