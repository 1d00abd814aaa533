use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, OnceLock,
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
    noted: Mutex<Noted>,
    /// How many failures in a row of one member it is told of; 0 is never.
    row: AtomicU32,
    /// It is to look at the load of the members again.
    is_watched: AtomicBool,
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

/// The members that the task is to look at. All others are as they were.
#[derive(Default)]
struct Noted {
    /// By identity, since a member must not keep itself alive. Each once, until the task takes them.
    members: Vec<Arc<str>>,
    /// Whether it is to look at them now, rather than when it wakes next.
    is_news: bool,
}

impl Signal {
    pub(super) fn clock(&self) -> Clock {
        self.clock.get_or_init(Clock::new).clone()
    }

    /// Something changed that is of no one member.
    pub(crate) fn notify(&self) {
        // Release with the Acquire in `take`: the task sees what was changed before.
        self.changed.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether something changed since the last time this was asked, or members are noted that are news.
    pub(crate) fn take(&self) -> bool {
        self.changed.swap(false, Ordering::Acquire) | lock(&self.noted).is_news
    }

    /// The strategy is to look at the load of the members again.
    #[cfg(feature = "hash")]
    pub(super) fn watch(&self) {
        self.is_watched.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether that is so since the last time this was asked.
    pub(crate) fn take_watch(&self) -> bool {
        // A load first: it is asked each time the task wakes.
        self.is_watched.load(Ordering::Relaxed) && self.is_watched.swap(false, Ordering::Acquire)
    }

    /// The task is to look at `member`. What changed of it was changed before.
    pub(super) fn note(&self, member: &Arc<str>, is_noted: &AtomicBool, is_news: bool) {
        // Release with the Acquire of `Member::look`: the task sees what was changed before, also if the member
        // is noted already.
        let is_new = !is_noted.swap(true, Ordering::AcqRel);
        let mut noted = lock(&self.noted);
        noted.members.extend(is_new.then(|| member.clone()));
        noted.is_news |= is_news;
        drop(noted);
        if is_news {
            self.task.wake();
        }
    }

    /// The members to look at since the last time this was asked.
    pub(crate) fn take_noted(&self) -> Vec<Arc<str>> {
        mem::take(&mut *lock(&self.noted)).members
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

    /// The task to wake on a change. Register before looking.
    pub(crate) fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Whether the task wakes later than `at`, or does not know yet when it wakes.
    pub(super) fn wakes_after(&self, at: Instant) -> bool {
        lock(&self.wakes_at).is_none_or(|known| known > at)
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
