//! The settings of one layer, which may change while its services run, and what happened to calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::attempts::Attempts;
use crate::telemetry::Stats;

/// A call that goes well reads the two flags. Only one that fails or waits for a limit reads the rest.
#[derive(Debug)]
pub(crate) struct LiveAttempts {
    repeats: AtomicBool,
    limits: AtomicBool,
    attempts: ArcSwap<Attempts>,
    pub(crate) counts: Counts,
}

/// What happened to calls that did not go well at once. Relaxed throughout: these are only counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Further attempts that the budget paid for.
    retries: AtomicU64,
    /// Further attempts for free.
    moved: AtomicU64,
    /// Calls that were made and did not end well.
    failed: AtomicU64,
    /// Calls that were not made, because they came too late.
    late: AtomicU64,
}

impl LiveAttempts {
    pub(crate) fn new(attempts: Attempts) -> Self {
        let live = Self {
            repeats: AtomicBool::new(false),
            limits: AtomicBool::new(false),
            attempts: ArcSwap::default(),
            counts: Counts::default(),
        };
        live.update(attempts);
        live
    }

    pub(crate) fn update(&self, attempts: Attempts) {
        let attempts = attempts.clamped();
        let limits = attempts.timeout.is_some() || attempts.overall.is_some();
        // Relaxed: a call that meets old and new settings makes a copy that it does not need, or has
        // none, as one had that began a moment before.
        self.repeats.store(attempts.max > 1, Ordering::Relaxed);
        self.limits.store(limits, Ordering::Relaxed);
        self.attempts.store(attempts.into());
    }

    /// Whether a copy of a request may be of use.
    #[inline]
    pub(crate) fn repeats(&self) -> bool {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Whether attempts or calls have a time limit.
    #[inline]
    pub(crate) fn limits(&self) -> bool {
        self.limits.load(Ordering::Relaxed)
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::clone(&self.attempts.load())
    }
}

impl Counts {
    pub(super) fn attempt(&self, paid: bool) {
        let counter = if paid { &self.retries } else { &self.moved };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let (failed, refused) = (&self.failed, &self.late);
        let count = |of: &AtomicU64| Some(of.load(Ordering::Relaxed));
        Stats { failed: count(failed), refused: count(refused), ..Stats::default() }
    }
}
