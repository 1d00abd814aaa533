//! What happened to the calls of one layer. Relaxed throughout: they are only counted.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use super::rule::Reach;
use crate::{
    sync::Padded,
    telemetry::Stats,
    time::{self, Instant},
};

/// What happened to calls that did not go well at once, and, where that is asked for, to all.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Further attempts that the budget paid for.
    retries: AtomicU64,
    /// Further attempts for free.
    moved: AtomicU64,
    /// Further attempts at another endpoint, and when the last of them was decided, as a stamp.
    failovers: AtomicU64,
    last_failover: AtomicI64,
    /// Attempts beside another one, and those of them that gave the answer.
    hedges: AtomicU64,
    hedges_won: AtomicU64,
    /// Calls that were made and did not end well.
    failed: AtomicU64,
    /// Calls that were not made, because they came too late.
    late: AtomicU64,
    all: Padded<All>,
}

/// Counts that calls write which go well.
#[derive(Debug, Default)]
struct All {
    succeeded: AtomicU64,
    cancelled: AtomicU64,
    /// Nanoseconds of those that were not cancelled.
    took: AtomicU64,
}

impl Counts {
    pub(super) fn attempt(&self, paid: bool, reach: Reach) {
        let counter = if paid { &self.retries } else { &self.moved };
        counter.fetch_add(1, Ordering::Relaxed);
        if reach.untried {
            self.last_failover.store(time::stamp(time::now()), Ordering::Relaxed);
            self.failovers.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn hedge(&self) {
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hedge_won(&self) {
        self.hedges_won.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// A call has ended well or not.
    pub(crate) fn ended(&self, well: bool, took: Duration) {
        self.all.succeeded.fetch_add(well.into(), Ordering::Relaxed);
        self.all.took.fetch_add(time::nanos(took), Ordering::Relaxed);
    }

    /// A call was dropped.
    pub(crate) fn cancelled(&self) {
        self.all.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Hedges, and those of them that gave the answer.
    pub(crate) fn hedges(&self) -> (u64, u64) {
        (self.hedges.load(Ordering::Relaxed), self.hedges_won.load(Ordering::Relaxed))
    }

    /// Further attempts at another endpoint, and when the last one was decided.
    pub(crate) fn failovers(&self) -> (u64, Option<Instant>) {
        let failovers = self.failovers.load(Ordering::Relaxed);
        let last = || time::at_stamp(self.last_failover.load(Ordering::Relaxed));
        (failovers, (failovers > 0).then(last))
    }

    /// What calls took that were not cancelled, all together.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.all.took.load(Ordering::Relaxed))
    }

    /// What did not go well.
    pub(crate) fn failures(&self) -> Stats {
        let count = |of: &AtomicU64| Some(of.load(Ordering::Relaxed));
        Stats { failed: count(&self.failed), refused: count(&self.late), ..Stats::default() }
    }

    /// What came of all calls.
    pub(crate) fn stats(&self) -> Stats {
        let count = |of: &AtomicU64| Some(of.load(Ordering::Relaxed));
        let (succeeded, ignored) = (count(&self.all.succeeded), count(&self.all.cancelled));
        let failures = self.failures();
        let admitted = [succeeded, failures.failed, ignored].into_iter().flatten().sum();
        Stats { admitted: Some(admitted), succeeded, ignored, ..failures }
    }
}
