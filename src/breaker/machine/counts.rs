//! What one group of threads counts of a circuit.

use super::word::{TAG_SHIFT, Ticket};
use crate::{
    breaker::in_flight::{InFlight, Parts},
    sync::atomic::{AtomicU64, Ordering},
};

/// Counters that only their own threads write, but for a turn of the circuit. The atomics are all
/// Relaxed: they publish nothing.
#[derive(Debug, Default)]
pub(in crate::breaker) struct Counts {
    /// Good calls of this generation, which the window is told of as a sum: their number, and above
    /// [`TAG_SHIFT`] the generation. So one that was let through in another generation is never
    /// among them, whenever it ends.
    good: AtomicU64,
    /// At how many of them a call looks at the clock, and moves them into the window.
    look_at: AtomicU64,
    /// The last bucket that was looked at, and how many good calls there were when it began.
    bucket: AtomicU64,
    bucket_began: AtomicU64,
    /// Good calls that were told of one by one, and those of older generations.
    pub(in crate::breaker) good_otherwise: AtomicU64,
    pub(in crate::breaker) slow: AtomicU64,
    pub(in crate::breaker) failures: AtomicU64,
    pub(in crate::breaker) ignored: AtomicU64,
    pub(in crate::breaker) refused: AtomicU64,
    in_flight: InFlight,
    /// Where the threads are all there are.
    parts: Parts,
}

const COUNT: u64 = (1 << TAG_SHIFT) - 1;
/// Looked at in any case, so that the number never grows into the tag.
const FULL: u64 = COUNT / 2;

/// What became of a good call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) enum Counted {
    Yes,
    /// It is time to look at the clock, too.
    Look,
    /// Not here: it must be told of.
    No,
}

/// A bucket is looked at about so many times, however many calls it gets: good calls that are not in
/// the window yet are at most one in so many of a bucket.
const LOOKS_PER_BUCKET: u64 = 64;
const LONGEST_STRIDE: u64 = 255;

impl Counts {
    /// Counts a good call, unless it is a probe's, which has to be told of, or late.
    #[inline]
    pub(in crate::breaker) fn count_good(&self, ticket: Ticket) -> Counted {
        if ticket.is_probe() {
            return Counted::No;
        }
        let tag = ticket.tag();
        let mut now = self.good.load(Ordering::Relaxed);
        loop {
            let count = now ^ tag;
            if count > COUNT {
                return Counted::No;
            }
            match self.good.compare_exchange_weak(
                now,
                now + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) if count >= self.look_at.load(Ordering::Relaxed) => return Counted::Look,
                Ok(_) => return Counted::Yes,
                Err(seen) => now = seen,
            }
        }
    }

    /// A call had to wait, at this microsecond, where one is slow after so many: when it is overdue.
    /// `None` if it is late: it is of an older generation. `alone` is whether these are the counts of
    /// all threads; it never changes.
    pub(in crate::breaker) fn enter(
        &self,
        ticket: Ticket,
        alone: bool,
        slow_after: u64,
        now: u64,
    ) -> Option<u64> {
        let tag = ticket.tag();
        let is_current = || self.good.load(Ordering::Relaxed) ^ tag <= COUNT;
        self.in_flight(ticket, alone).enter(tag, slow_after, now, is_current)
    }

    /// A call that had to wait has ended.
    pub(in crate::breaker) fn leave(&self, ticket: Ticket, alone: bool, began: u64) {
        self.in_flight(ticket, alone).leave(ticket.tag(), began);
    }

    fn in_flight(&self, ticket: Ticket, alone: bool) -> &InFlight {
        if alone { self.parts.of(ticket) } else { &self.in_flight }
    }

    /// How many calls of a generation are overdue, and when the next of the others is.
    pub(in crate::breaker) fn overdue(
        &self,
        generation: u64,
        slow_after: u64,
        now: u64,
    ) -> (u64, Option<u64>) {
        let tag = Ticket::new(generation).tag();
        let parts = std::iter::once(&self.in_flight).chain(self.parts.all());
        let found = parts.map(|part| part.overdue(tag, slow_after, now));
        found.fold((0, None), |(sum, first): (u64, Option<u64>), (overdue, next)| {
            (sum + overdue, first.into_iter().chain(next).min())
        })
    }

    pub(in crate::breaker) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Good calls of this generation.
    pub(in crate::breaker) fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed) & COUNT
    }

    pub(in crate::breaker) fn all_good(&self) -> u64 {
        self.good() + self.good_otherwise.load(Ordering::Relaxed)
    }

    /// A generation begins. Before the word tells of it, so that a call that is let through by it finds
    /// its tag here.
    pub(in crate::breaker) fn turn(&self, generation: u64) {
        let before = self.good.swap(generation << TAG_SHIFT, Ordering::Relaxed) & COUNT;
        self.good_otherwise.fetch_add(before, Ordering::Relaxed);
        self.bucket_began.store(0, Ordering::Relaxed);
        self.look_soon();
    }

    /// When to look next, having looked now.
    pub(in crate::breaker) fn plan(&self, pace: Pace) {
        let good = self.good();
        let next = match pace {
            Pace::Each => 0,
            Pace::Never => FULL,
            Pace::Bucket(bucket) => {
                if self.bucket.swap(bucket, Ordering::Relaxed) != bucket {
                    self.bucket_began.store(good, Ordering::Relaxed);
                }
                let in_bucket = good.saturating_sub(self.bucket_began.load(Ordering::Relaxed));
                (good + (in_bucket / LOOKS_PER_BUCKET).min(LONGEST_STRIDE)).min(FULL)
            }
        };
        self.look_at.store(next, Ordering::Relaxed);
    }

    /// Whether the number is about to be too large for its place.
    pub(in crate::breaker) fn is_full(&self) -> bool {
        self.good() >= FULL
    }

    /// As if so many calls had gone well that the number must not grow any more.
    #[cfg(test)]
    pub(in crate::breaker) fn fill(&self) {
        self.good.fetch_add(FULL - self.good(), Ordering::Relaxed);
    }

    /// The next good call looks.
    pub(in crate::breaker) fn look_soon(&self) {
        self.look_at.store(0, Ordering::Relaxed);
    }
}

/// Which good calls look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::breaker) enum Pace {
    /// Each may open the circuit.
    Each,
    /// So many in each bucket of the window: the number of this one.
    Bucket(u64),
    /// The time of a good call is not needed.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{CircuitState, machine::word::Word};

    #[test]
    fn at_a_low_rate_every_call_looks_and_at_a_high_one_few() {
        let counts = Counts::default();
        let ticket = Word::new(CircuitState::Closed, 0).ticket();
        let looks = |calls: u64, bucket| {
            let looks = (0..calls).filter(|_| {
                let looks = counts.count_good(ticket) == Counted::Look;
                if looks {
                    counts.plan(Pace::Bucket(bucket));
                }
                looks
            });
            looks.count()
        };
        assert_eq!(looks(64, 1), 64);
        assert_eq!(looks(64, 2), 64);
        let many = looks(1_000_000, 3);
        assert!((3_900..4_600).contains(&many), "{many}");
        counts.plan(Pace::Never);
        assert_eq!(looks(1_000, 3), 0);
        counts.look_soon();
        assert_eq!(looks(1, 4), 1);
        assert_eq!(counts.good(), 1_001_129);
        counts.turn(1);
        assert_eq!((counts.good(), counts.all_good()), (0, 1_001_129));
        assert_eq!(counts.count_good(ticket), Counted::No);
        counts.plan(Pace::Each);
        assert_eq!(counts.count_good(Word::new(CircuitState::Closed, 1).ticket()), Counted::Look);
    }

    #[test]
    fn a_turn_begins_the_stride_anew() {
        let counts = Counts::default();
        let looks = |generation, bucket| {
            let ticket = Word::new(CircuitState::Closed, generation).ticket();
            let looks = (0..100_000).filter(|_| {
                let looks = counts.count_good(ticket) == Counted::Look;
                if looks {
                    counts.plan(Pace::Bucket(bucket));
                }
                looks
            });
            looks.count()
        };
        looks(0, 1);
        looks(0, 2);
        counts.turn(1);
        assert!(looks(1, 2) < 1_000);
        counts.turn(2);
        assert_eq!(counts.count_good(Word::new(CircuitState::Closed, 2).ticket()), Counted::Look);
    }

    #[test]
    fn calls_of_several_parts_are_one_sum() {
        let counts = Counts::default();
        let begin = |micros: u64| {
            let mut ticket = Ticket::new(0);
            ticket.begin_timed(micros * 1_000);
            assert!(counts.enter(ticket, true, 15, micros).is_some());
            (ticket, micros)
        };
        let calls: Vec<_> = (100..200).map(begin).collect();
        assert!(counts.parts.all().count() > 1);
        assert_eq!(counts.overdue(0, 15, 199), (84, Some(200)));
        assert_eq!(counts.overdue(0, 15, 1_000), (100, None));
        assert_eq!(counts.overdue(1, 15, 1_000), (0, None));
        calls.into_iter().for_each(|(ticket, began)| counts.leave(ticket, true, began));
        assert_eq!(counts.overdue(0, 15, 1_000), (0, None));
    }

    #[test]
    fn a_number_that_is_full_is_looked_at() {
        let counts = Counts::default();
        counts.fill();
        counts.plan(Pace::Never);
        let ticket = Word::new(CircuitState::Closed, 0).ticket();
        assert!(counts.is_full() && counts.count_good(ticket) == Counted::Look);
    }
}
