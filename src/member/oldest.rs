//! The age of the oldest call in flight, from two batches of calls: pure words, and the atomics around them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Calls in two batches: the old one is closed and drains, the new one collects what begins meanwhile and
/// becomes the old one then. No call of the old batch began after `closed`, so what that tells is never more
/// than the age of the oldest call, and exact while there is one batch of one.
///
/// `closed` in the upper half of the word; below a bit for which batch is the old one, and two counts.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Oldest {
    word: AtomicU64,
    /// When the last call of the new batch began.
    last: AtomicU32,
}

/// A unit of time: 2^16 ns. The age of a call is known for 78 hours, and begins anew then.
const UNIT: u32 = 16;
const COUNT: u64 = (1 << 15) - 1;
const SECOND: u64 = 1 << 31;

/// The batch that a call is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batch {
    First,
    Second,
}

impl Batch {
    fn one(self) -> u64 {
        match self {
            Self::First => 1,
            Self::Second => 1 << 15,
        }
    }

    fn count(self, word: u64) -> u64 {
        (word / self.one()) & COUNT
    }

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// The old one.
    fn old(word: u64) -> Self {
        if word & SECOND == 0 { Self::First } else { Self::Second }
    }
}

fn closed(word: u64) -> u32 {
    (word >> 32) as u32
}

fn close(word: u64, old: Batch, at: u32) -> u64 {
    let second = if old == Batch::Second { SECOND } else { 0 };
    u64::from(at) << 32 | second | word & (SECOND - 1)
}

/// A call begins: the next word, and its batch. `None` beyond what can be counted.
fn enter(word: u64, now: u32) -> Option<(u64, Batch)> {
    let old = Batch::old(word);
    if old.count(word) == 0 {
        return Some((close(word, old, now) + old.one(), old));
    }
    let new = old.other();
    (new.count(word) < COUNT).then(|| (word + new.one(), new))
}

/// A call of `batch` ends, where the last one of the new batch began at `last`.
fn leave(word: u64, batch: Batch, last: u32) -> u64 {
    let (word, old) = (word - batch.one(), Batch::old(word));
    let drained = old.count(word) == 0 && old.other().count(word) > 0;
    if drained { close(word, old.other(), last) } else { word }
}

// Relaxed everywhere: a load is an estimate by nature. That `last` is of another moment than the word
// makes an age too small by the time between two calls.
impl Oldest {
    /// A call begins; `None` if it is not counted. All times are in nanoseconds.
    pub(super) fn enter(&self, now: u64) -> Option<Batch> {
        let (now, mut batch) = ((now >> UNIT) as u32, None);
        self.last.store(now, Ordering::Relaxed);
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (word, of) = enter(word, now)?;
            batch = Some(of);
            Some(word)
        });
        batch
    }

    pub(super) fn leave(&self, batch: Batch) {
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(leave(word, batch, self.last.load(Ordering::Relaxed)))
        });
    }

    /// The age of the oldest call, or a little less; zero if there is none.
    #[inline]
    pub(super) fn age(&self, now: u64) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        if Batch::old(word).count(word) == 0 {
            return 0;
        }
        let age = ((now >> UNIT) as u32).wrapping_sub(closed(word)) as i32;
        u64::from(age.max(0).unsigned_abs()) << UNIT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1 << UNIT;

    #[test]
    fn a_lone_call_is_as_old_as_it_is() {
        let oldest = Oldest::default();
        assert_eq!(oldest.age(7 * MS), 0);
        let first = oldest.enter(10 * MS).unwrap();
        let second = oldest.enter(20 * MS).unwrap();
        assert_eq!(oldest.age(30 * MS), 20 * MS);
        oldest.leave(first);
        assert_eq!(oldest.age(30 * MS), 10 * MS);
        oldest.leave(second);
        assert_eq!(
            (oldest.age(40 * MS), oldest.word.load(Ordering::Relaxed) & (SECOND - 1)),
            (0, 0)
        );
    }

    #[test]
    fn a_call_that_hangs_ages_whatever_else_is_called() {
        let oldest = Oldest::default();
        let _hangs = oldest.enter(MS).unwrap();
        for now in 1..1_000 {
            let quick = oldest.enter(now * MS).unwrap();
            oldest.leave(quick);
            assert_eq!(oldest.age(now * MS), (now - 1) * MS);
        }
    }

    #[test]
    fn what_is_too_much_to_count_is_not_counted() {
        let oldest = Oldest::default();
        assert!((0..=COUNT).all(|_| oldest.enter(MS).is_some()));
        assert_eq!(oldest.enter(MS), None);
        assert_eq!(oldest.age(3 * MS), 2 * MS);
    }

    proptest! {
        /// The model keeps all that is in flight.
        #[test]
        fn it_is_never_older_than_the_oldest(
            steps in prop::collection::vec((0_u64..50, prop::option::of(any::<prop::sample::Index>())), 1..200),
        ) {
            let (oldest, mut now, mut model) = (Oldest::default(), 0, Vec::<(u64, Batch)>::new());
            for (wait, ends) in steps {
                now += wait * MS;
                match ends {
                    Some(ends) if !model.is_empty() => {
                        let (_, batch) = model.remove(ends.index(model.len()));
                        oldest.leave(batch);
                    }
                    _ => model.push((now, oldest.enter(now).unwrap())),
                }
                let true_age = model.iter().map(|&(began, _)| now - began).max().unwrap_or(0);
                prop_assert!(oldest.age(now) <= true_age);
            }
        }
    }
}
