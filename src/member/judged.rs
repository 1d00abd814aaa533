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
        // Once, until the task asks again: a member that is not ejected for it must not wake the task each time.
        if self.signal.is_row(row)
            && !self.has_circuit()
            && !self.is_told.swap(true, Ordering::Relaxed)
        {
            self.note(true);
        }
    }

    /// Returns how many calls failed since the last that succeeded, or since [`reset_row`](Self::reset_row).
    pub(crate) fn failures_in_a_row(&self) -> u32 {
        self.ended.row(self.load().begun())
    }

    pub(crate) fn reset_row(&self) {
        self.ended.reset_row();
        self.ask_for_row();
    }

    /// Asks to be told of failures in a row again.
    pub(crate) fn ask_for_row(&self) {
        // Relaxed: a failure later tells of the same row.
        self.is_told.store(false, Ordering::Relaxed);
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

    /// Asks to be told of a check that passes, or not to be.
    pub(crate) fn ask_for_check(&self, asks: bool) {
        self.awaits_check.store(asks, Ordering::Relaxed);
    }

    /// Whether a check passed since this was asked last, or asked for.
    pub(crate) fn take_check(&self) -> bool {
        !self.awaits_check.swap(true, Ordering::Relaxed)
    }

    /// Whether a circuit breaker stands below the balancer.
    pub(crate) fn has_circuit(&self) -> bool {
        self.taken.load(Ordering::Relaxed) & bit::CIRCUIT_OPEN != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn each_check_that_passes_is_told_of_once() {
        let member = Member::new(Endpoint::new("a:1").unwrap());
        member.check_passed();
        member.ask_for_check(true);
        assert!(!member.take_check(), "before it was asked for");
        for _ in 0..2 {
            member.check_passed();
            assert!(member.take_check() && !member.take_check());
        }
    }
}
