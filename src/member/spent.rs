//! When a member that is spent by its own rate limit has a token again.

use std::sync::atomic::Ordering;

use super::member::{Member, NEVER};
use crate::time::{self, Instant};

/// A hint for calls that wait, not a veto: a limit that is spent for a moment bars no one, so the set need not
/// know.
impl Member {
    /// Notes that a limit of it has no token before `at`.
    pub(crate) fn note_spent_until(&self, at: Instant) {
        // Relaxed: a hint, which nothing else goes by.
        self.spent_until.store(time::stamp(at).max(NEVER + 1), Ordering::Relaxed);
    }

    /// Notes that a token came back.
    pub(crate) fn note_token(&self) {
        self.spent_until.store(NEVER, Ordering::Relaxed);
    }

    /// Returns until when a limit of it had no token when a call last asked; it may be over.
    pub(crate) fn spent_until(&self) -> Option<Instant> {
        match self.spent_until.load(Ordering::Relaxed) {
            NEVER => None,
            stamp => Some(time::at_stamp(stamp)),
        }
    }
}
