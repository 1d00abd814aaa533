use std::{
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;

use super::median::Median;
use crate::{
    sync::lock,
    time::{Clock, Instant},
};

/// What the members of a set share. They tell the task of the set that something changed, or ends sooner
/// than the task wakes; and they know each other.
#[derive(Default)]
pub(crate) struct Signal {
    changed: AtomicBool,
    /// How many failures in a row of one member it is told of; 0 is never.
    row: AtomicU32,
    /// It is told of the next failure, whichever that is.
    awaits_failure: AtomicBool,
    task: AtomicWaker,
    /// When the task wakes by itself; `None` while it looks for that.
    wakes_at: Mutex<Option<Instant>>,
    /// One for all members, so that a choice reads it once. Made with the first of them.
    clock: OnceLock<Clock>,
    /// Of the latencies of its members.
    pub(super) median: Median,
}

impl Signal {
    pub(super) fn clock(&self) -> Clock {
        self.clock.get_or_init(Clock::new).clone()
    }

    pub(crate) fn notify(&self) {
        // Release with the Acquire in `take`: the task sees what was changed before.
        self.changed.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether something changed since the last time this was asked.
    pub(crate) fn take(&self) -> bool {
        self.changed.swap(false, Ordering::Acquire)
    }

    /// Tells of so many failures in a row from now on.
    pub(crate) fn set_row(&self, failures: u32) {
        // Relaxed: a failure more or less that is told of.
        self.row.store(failures, Ordering::Relaxed);
    }

    /// Tells of the next failure of any member.
    pub(crate) fn await_failure(&self) {
        self.awaits_failure.store(true, Ordering::Relaxed);
    }

    pub(crate) fn awaits_failure(&self) -> bool {
        self.awaits_failure.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) {
        if self.awaits_failure() && self.awaits_failure.swap(false, Ordering::Relaxed) {
            self.notify();
        }
    }

    pub(super) fn is_row(&self, failures: u32) -> bool {
        let row = self.row.load(Ordering::Relaxed);
        row > 0 && failures >= row
    }

    /// Whom to wake on a change. Register before looking.
    pub(crate) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Wakes the task at `at`, or now if it does not know yet when it wakes.
    pub(super) fn wake_by(&self, at: Instant) {
        let is_known = lock(&self.wakes_at).is_some_and(|known| known <= at);
        if !is_known {
            self.notify();
        }
    }

    /// The task wakes at `at`. `None` before it looks for that, so that whatever comes meanwhile wakes it.
    pub(crate) fn wakes_at(&self, at: Option<Instant>) {
        *lock(&self.wakes_at) = at;
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("changed", &self.changed).finish_non_exhaustive()
    }
}
