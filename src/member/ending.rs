//! Which end a call came to that is dropped.
//!
//! A guard that drops with its call cannot tell a caller that left from an attempt that took too long:
//! both are a drop. So a layer that gives up an attempt for its timeout says so to what drops meanwhile on
//! this thread, and what belongs to that attempt takes it for a failure of the endpoint. Every other drop
//! is a call that was cancelled: by a deadline, an overall limit, a hedge that won, or the caller.
//!
//! What runs in a task of its own is dropped elsewhere and later, so it sees a call that was cancelled.

use std::{cell::Cell, ptr};

use super::member::Member;

/// How a call that is dropped has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Cancelled,
    /// The endpoint did not answer in the time of the attempt.
    TimedOut,
}

#[derive(Clone, Copy)]
struct Scope {
    member: *const Member,
    /// What the balancer counted of the attempt has dropped: what drops from now on stands above it.
    above: bool,
}

thread_local! {
    static SCOPE: Cell<Option<Scope>> = const { Cell::new(None) };
}

/// Drops what `drop` does as an attempt at `member` that timed out.
pub(crate) fn attempt_timed_out(member: &Member, drop: impl FnOnce()) {
    /// Restores the scope around, also where a destructor panics.
    struct Restore(Option<Scope>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SCOPE.set(self.0);
        }
    }
    let _restore = Restore(SCOPE.replace(Some(Scope { member, above: false })));
    drop();
}

impl Ending {
    /// For what is bound to `member`.
    pub(crate) fn at(member: &Member) -> Self {
        Self::of(SCOPE.get().is_some_and(|scope| ptr::eq(scope.member, member)))
    }

    /// For what the balancer counts of a call to `member`.
    pub(crate) fn of_flight(member: &Member) -> Self {
        let ending = Self::at(member);
        if let (Some(scope), Self::TimedOut) = (SCOPE.get(), ending) {
            SCOPE.set(Some(Scope { above: true, ..scope }));
        }
        ending
    }

    /// For what stands above the balancer, bound to no member.
    pub(crate) fn above() -> Self {
        Self::of(SCOPE.get().is_some_and(|scope| scope.above))
    }

    fn of(timed_out: bool) -> Self {
        if timed_out { Self::TimedOut } else { Self::Cancelled }
    }
}
