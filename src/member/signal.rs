use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::task::AtomicWaker;

use super::{Member, Reason};
use crate::{sync::lock, time::Instant};

/// What the members of a set tell the task of the set: that something changed, and which vetoes
/// end when.
#[derive(Default)]
pub(crate) struct Signal {
    changed: AtomicBool,
    task: AtomicWaker,
    due: Mutex<Dues>,
}

#[derive(Default)]
struct Dues {
    /// By member and bit, so that a veto raised again replaces its end.
    ends: HashMap<(usize, u64), Due>,
    /// The first end that the task knows of.
    known: Option<Instant>,
}

struct Due {
    member: Weak<Member>,
    at: Instant,
}

impl Signal {
    pub(crate) fn notify(&self) {
        // Release with the Acquire in `take`: the task sees what was changed before.
        self.changed.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether something changed since the last time this was asked.
    pub(crate) fn take(&self) -> bool {
        self.changed.swap(false, Ordering::Acquire)
    }

    /// Whom to wake on a change. Register before looking.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }

    pub(super) fn remember(&self, member: &Arc<Member>, bit: u64, at: Instant) {
        let key = (Arc::as_ptr(member) as usize, bit);
        let due = Due { member: Arc::downgrade(member), at };
        let mut dues = lock(&self.due);
        dues.ends.insert(key, due);
        let is_first = dues.known.is_none_or(|known| at < known);
        drop(dues);
        if is_first {
            // The task sleeps until a later end.
            self.notify();
        }
    }

    pub(super) fn forget(&self, member: &Arc<Member>, bit: u64) {
        lock(&self.due).ends.remove(&(Arc::as_ptr(member) as usize, bit));
    }

    /// Clears the vetoes that end by `now`, and tells when the next one does.
    pub(crate) fn clear_due(&self, now: Instant) -> Option<Instant> {
        let mut over = Vec::new();
        let mut next = None;
        let mut dues = lock(&self.due);
        dues.ends.retain(|&(_, bit), due| {
            if due.at <= now {
                // Under the lock: a veto that is raised anew just now is so after this.
                over.extend(due.member.upgrade().inspect(|m| m.set_bits(bit, false)));
                false
            } else {
                next = Some(next.map_or(due.at, |next: Instant| next.min(due.at)));
                due.member.strong_count() > 0
            }
        });
        dues.known = next;
        drop(dues);
        // Members are dropped without the lock.
        drop(over);
        next
    }

    /// When the first veto for `reason` ends.
    pub(crate) fn earliest(&self, reason: Reason) -> Option<Instant> {
        let dues = lock(&self.due);
        let of_reason = dues.ends.iter().filter(|((_, bit), _)| bit & reason.bits() != 0);
        of_reason.map(|(_, due)| due.at).min()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("changed", &self.changed).finish_non_exhaustive()
    }
}
