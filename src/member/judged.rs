//! What a set learns of a member, to judge it by: how its calls end, and that a check passes.

use std::sync::atomic::Ordering;

use super::{member::Member, reason::bit};
use crate::rules::{CallEnd, Calls};

impl Member {
    /// Counts how a call ended, which is in flight still. One that was refused as one too many is no failure in
    /// a row.
    pub(super) fn count(&self, end: CallEnd) {
        match end {
            // What is left of those that were begun.
            CallEnd::Succeeded => {}
            CallEnd::Failed => self.count_failure(true),
            CallEnd::Throttled => self.count_failure(false),
            CallEnd::Ignored => self.ended.neutral(),
        }
    }

    fn count_failure(&self, is_in_row: bool) {
        // Before it is counted: it is in flight yet, so it would be taken off twice.
        self.score.failed(self.ended_calls().successes);
        let row = self.ended.failed(self.load().begun(), is_in_row);
        self.signal.failed();
        if self.signal.is_row(row) && !self.has_circuit() {
            self.note(true);
        }
    }

    /// Returns how many calls failed since the last that succeeded, or since [`reset_row`](Self::reset_row).
    pub(crate) fn failures_in_a_row(&self) -> u32 {
        self.ended.row()
    }

    pub(crate) fn reset_row(&self) {
        self.ended.reset_row();
    }

    /// Returns how all calls ended that have, except those that are no evidence.
    pub(crate) fn ended_calls(&self) -> Calls {
        self.ended.calls(self.load().begun())
    }

    /// Notes that an active check passed, for a set that waits for one.
    pub(crate) fn check_passed(&self) {
        // Relaxed: the note publishes it.
        if self.awaits_check.swap(false, Ordering::Relaxed) {
            self.note(true);
        }
    }

    pub(crate) fn await_check(&self, awaits: bool) {
        self.awaits_check.store(awaits, Ordering::Relaxed);
    }

    pub(crate) fn awaits_check(&self) -> bool {
        self.awaits_check.load(Ordering::Relaxed)
    }

    /// Whether a circuit breaker stands below the balancer.
    pub(crate) fn has_circuit(&self) -> bool {
        self.taken.load(Ordering::Relaxed) & bit::CIRCUIT_OPEN != 0
    }
}
