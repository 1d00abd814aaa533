//! The settings of one layer, which may change while its services run, and what happened to calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::course::Attempts;

/// A call that goes well reads the two flags. Only one that fails or waits for a limit reads the rest.
#[derive(Debug)]
pub(super) struct LiveAttempts {
    repeats: AtomicBool,
    limits: AtomicBool,
    attempts: ArcSwap<Attempts>,
    pub(super) counts: FailoverCounts,
}

/// What happened to calls that did not go well at once. Relaxed throughout: these are only counted.
#[derive(Debug, Default)]
pub(super) struct FailoverCounts {
    pub(super) retries: AtomicU64,
    pub(super) moved: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) late: AtomicU64,
}

impl LiveAttempts {
    pub(super) fn new(attempts: Attempts) -> Self {
        let live = Self {
            repeats: AtomicBool::new(false),
            limits: AtomicBool::new(false),
            attempts: ArcSwap::from_pointee(attempts.clone()),
            counts: FailoverCounts::default(),
        };
        live.update(attempts);
        live
    }

    pub(super) fn update(&self, attempts: Attempts) {
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
    pub(super) fn repeats(&self) -> bool {
        self.repeats.load(Ordering::Relaxed)
    }

    /// Whether attempts or calls have a time limit.
    #[inline]
    pub(super) fn limits(&self) -> bool {
        self.limits.load(Ordering::Relaxed)
    }

    pub(super) fn attempts(&self) -> Attempts {
        Attempts::clone(&self.attempts.load())
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
