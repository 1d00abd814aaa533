//! What all candidates have together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{super::candidates::Candidates, bounded_by::BoundedBy};
use crate::member::Member;

/// The sum over all candidates, as the task of the set last made it: a choice reads a word.
///
/// The task makes it while choices read it, and sleeps until one does otherwise.
#[derive(Debug)]
pub(super) struct Total {
    of: BoundedBy,
    /// The bits of a float.
    sum: AtomicU64,
    /// One of the three below.
    state: AtomicU8,
    /// Sums in a row that none has read.
    unread: AtomicU32,
}

const ASLEEP: u8 = 0;
const MADE: u8 = 1;
const READ: u8 = 2;

/// Candidates of which a choice may make the sum itself: it takes less than to find another one of them.
const FEW: usize = 64;

impl Total {
    pub(super) fn new(of: BoundedBy, members: &[Arc<Member>]) -> Self {
        let sum = members.iter().map(|member| load(of, member)).sum::<f64>();
        Self {
            of,
            sum: AtomicU64::new(sum.to_bits()),
            state: AtomicU8::new(ASLEEP),
            unread: AtomicU32::new(0),
        }
    }

    /// How often the sum is made, and how long after it was read last.
    fn steps(&self) -> (Duration, u32) {
        match self.of {
            BoundedBy::InFlight => (Duration::from_millis(1), 100),
            // Until the averages have faded.
            BoundedBy::Occupancy => (Duration::from_millis(50), 200),
        }
    }

    /// Makes the sum, and tells when to make it again.
    pub(super) fn look(&self, members: &[Arc<Member>]) -> Option<Duration> {
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            return None;
        }
        let now = members.first().map_or(0, |member| member.clock().nanos());
        let sum = members.iter().map(|member| match self.of {
            BoundedBy::InFlight => f64::from(member.in_flight()),
            BoundedBy::Occupancy => member.look_at_work(now),
        });
        self.store(sum.sum());
        // Relaxed: only the task counts.
        let unread = match self.state.swap(MADE, Ordering::Relaxed) {
            READ => 0,
            _ => self.unread.load(Ordering::Relaxed) + 1,
        };
        self.unread.store(unread, Ordering::Relaxed);
        let (step, enough) = self.steps();
        // One that reads it now finds it asleep, and wakes the task, or is seen here.
        let sleeps = || {
            let (relaxed, state) = (Ordering::Relaxed, &self.state);
            state.compare_exchange(MADE, ASLEEP, relaxed, relaxed).is_ok()
        };
        (unread < enough || !sleeps()).then_some(step)
    }

    #[inline]
    pub(super) fn get(&self, candidates: &Candidates<'_>) -> f64 {
        if self.state.load(Ordering::Relaxed) != READ {
            self.note(candidates);
        }
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }

    #[cold]
    fn note(&self, candidates: &Candidates<'_>) {
        if self.state.swap(READ, Ordering::Relaxed) == ASLEEP {
            self.make(candidates);
            if let Some(first) = candidates.get(0) {
                first.member().watch();
            }
        }
    }

    /// What it is now, if that takes a few steps on average: a choice is about to act by it, and calls that come
    /// all at once are more than the task knew.
    pub(super) fn renewed(&self, candidates: &Candidates<'_>) -> f64 {
        let len = candidates.len();
        let is_drawn = || (u128::from(candidates.random()) * (len / FEW) as u128) >> 64 == 0;
        match self.of == BoundedBy::InFlight && (len <= FEW || is_drawn()) {
            true => self.made(candidates),
            false => f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }

    /// What it is now.
    pub(super) fn made(&self, candidates: &Candidates<'_>) -> f64 {
        self.make(candidates);
        f64::from_bits(self.sum.load(Ordering::Relaxed))
    }

    fn make(&self, candidates: &Candidates<'_>) {
        let all = (0..candidates.len()).filter_map(|index| candidates.get(index));
        self.store(all.map(|candidate| load(self.of, candidate.member())).sum());
    }

    fn store(&self, sum: f64) {
        self.sum.store(sum.to_bits(), Ordering::Relaxed);
    }
}

/// What one has.
#[inline]
pub(super) fn load(of: BoundedBy, member: &Member) -> f64 {
    match of {
        BoundedBy::InFlight => f64::from(member.in_flight()),
        BoundedBy::Occupancy => member.occupancy(),
    }
}
