//! How long to wait before a backend is asked again that failed: one rule for all of them.

use std::time::Duration;

use crate::{
    backoff::{Backoff, Jitter},
    time::Instant,
};

/// Longest wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Without a failure for so long, the next one is the first again.
const STABLE: Duration = Duration::from_secs(60);

/// The failures of one thing that is tried again and again.
#[derive(Debug, Clone, Default)]
pub(super) struct Retries {
    failures: u32,
    /// Since when there was no failure.
    well_since: Option<Instant>,
}

impl Retries {
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.well_since.get_or_insert(now);
    }

    /// Tells how long to wait: at most `max`. `random` is from 0 up to 1.
    pub(super) fn failed(&mut self, max: Duration, random: f64, now: Instant) -> Duration {
        let well_since = self.well_since.take();
        if well_since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let first = FIRST_WAIT.min(max);
        Backoff { first, multiplier: 2.0, max, jitter: Jitter::Full }.wait(
            self.failures,
            None,
            random,
        )
    }
}
