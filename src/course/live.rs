//! The settings of one layer, which may change while its services run.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    attempts::Attempts,
    counts::Counts,
    hedge::{Hedge, SharedPace},
};

/// A call that goes well reads the modes. Only one that fails or waits for a limit reads the rest.
#[derive(Debug)]
pub(crate) struct LiveAttempts {
    modes: AtomicU64,
    attempts: ArcSwap<Attempts>,
    pub(crate) counts: Counts,
    pace: SharedPace,
}

/// What calls do besides, a bit each.
pub(crate) mod modes {
    /// A copy of a request may be of use.
    pub(crate) const COPIES: u64 = 1;
    /// Attempts or calls have a time limit, or are hedged after a while.
    pub(crate) const LIMITS: u64 = 2;
    /// Each call is counted, whatever comes of it.
    pub(crate) const COUNTS: u64 = 4;
    /// From here on the bits are free for what a call knows of itself.
    pub(crate) const FREE: u64 = 8;
}
use modes::{COPIES, COUNTS, LIMITS};

impl LiveAttempts {
    pub(crate) fn new(attempts: Attempts) -> Self {
        let live = Self {
            modes: AtomicU64::new(0),
            attempts: ArcSwap::default(),
            counts: Counts::default(),
            pace: SharedPace::new(),
        };
        live.update(attempts);
        live
    }

    pub(crate) fn update(&self, attempts: Attempts) {
        let attempts = attempts.clamped();
        self.set(COPIES, attempts.use_copies());
        let Attempts { timeout, overall, hedge, .. } = attempts;
        self.set(LIMITS, timeout.is_some() || overall.is_some() || hedge.is_some());
        self.attempts.store(attempts.into());
    }

    /// Counts each call from now on, whatever comes of it.
    pub(crate) fn count_calls(&self) {
        self.set(COUNTS, true);
    }

    fn set(&self, mode: u64, on: bool) {
        // Relaxed, here and below: a call that meets old and new settings makes a copy that it does not
        // need, or has none, as one had that began a moment before.
        if on {
            self.modes.fetch_or(mode, Ordering::Relaxed);
        } else {
            self.modes.fetch_and(!mode, Ordering::Relaxed);
        }
    }

    /// All of the [`modes`].
    #[inline]
    pub(crate) fn modes(&self) -> u64 {
        self.modes.load(Ordering::Relaxed)
    }

    #[inline]
    fn has(&self, mode: u64) -> bool {
        self.modes() & mode != 0
    }

    /// Whether a copy of a request may be of use.
    #[cfg(feature = "tower")]
    #[inline]
    pub(crate) fn uses_copies(&self) -> bool {
        self.has(COPIES)
    }

    /// Whether attempts or calls have a time limit, or are hedged after a while.
    #[inline]
    pub(crate) fn limits(&self) -> bool {
        self.has(LIMITS)
    }

    /// Whether each call is counted, whatever comes of it.
    #[inline]
    pub(crate) fn counts_calls(&self) -> bool {
        self.has(COUNTS)
    }

    /// How long a call has no answer that is hedged; `None` while that is not known.
    pub(crate) fn hedge_delay(&self, hedge: Hedge) -> Option<Duration> {
        self.pace.delay(hedge)
    }

    /// Learns what a call took, from its first attempt up to its end: so it is longer than the delay if it was
    /// hedged, as it would have been without, and the quantile does not follow its own effect.
    ///
    /// One that was cut short, by its caller's deadline say, can only teach a longer delay: or else a caller
    /// that gives its calls little time would have those of all others hedged that soon.
    pub(crate) fn learn(&self, hedge: Option<Hedge>, took: Duration, is_over: bool) {
        if let Some(Hedge::Quantile(quantile)) = hedge {
            self.pace.record(took, (!is_over).then_some(quantile));
        }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::clone(&self.attempts.load())
    }
}
