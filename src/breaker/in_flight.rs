//! The calls that are on their way, where it matters whether they are slow, and when to look at them.

use std::sync::OnceLock;

use super::{machine::word::Ticket, pending::Pending};
use crate::sync::{
    self, Padded,
    atomic::{AtomicU64, Mutex, Ordering, lock},
};

/// Those of one group of threads. Takes no memory before the first.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<Option<Box<Pending>>>);

impl InFlight {
    /// A call of the generation with this tag had to wait: when it is overdue. Not counted if that
    /// generation is over, which is asked under the lock.
    pub(super) fn enter(
        &self,
        tag: u64,
        slow_after: u64,
        now: u64,
        is_current: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let mut pending = lock(&self.0);
        if !is_current() {
            return None;
        }
        // A new generation begins with the first of its calls, and new settings hold from the next on:
        // so neither has to reach every group of threads.
        let pending = match &mut *pending {
            Some(pending) if pending.tag() == tag => {
                pending.resize(slow_after, now);
                pending
            }
            Some(older) => {
                **older = Pending::new(tag, slow_after, now);
                older
            }
            none => none.insert(Box::new(Pending::new(tag, slow_after, now))),
        };
        Some(pending.enter(now))
    }

    /// A call that entered has ended. Nothing happens if its generation is over.
    pub(super) fn leave(&self, tag: u64, began: u64) {
        if let Some(pending) = lock(&self.0).as_mut().filter(|pending| pending.tag() == tag) {
            pending.leave(began);
        }
    }

    /// How many of this generation are overdue, and when the next of the others is.
    pub(super) fn overdue(&self, tag: u64, slow_after: u64, now: u64) -> (u64, Option<u64>) {
        let mut pending = lock(&self.0);
        match pending.as_mut().filter(|pending| pending.tag() == tag) {
            None => (0, None),
            Some(pending) => {
                pending.resize(slow_after, now);
                (pending.overdue(now), pending.next())
            }
        }
    }
}

/// Those of one circuit, where all threads are one group: in several parts, so that two threads seldom
/// want the same lock at once. Takes no memory before the first.
#[derive(Debug, Default)]
pub(super) struct Parts(OnceLock<Box<[Padded<InFlight>]>>);

impl Parts {
    /// That of a call, which leaves the part that it entered on whatever thread it ends.
    pub(super) fn of(&self, ticket: Ticket) -> &InFlight {
        let parts = self.0.get_or_init(|| {
            let parts = (sync::shards() * PARTS_EACH).next_power_of_two();
            (0..parts).map(|_| Padded(InFlight::default())).collect()
        });
        &parts[ticket.lot() & (parts.len() - 1)]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &InFlight> {
        self.0.get().into_iter().flatten().map(|part| &part.0)
    }
}

/// So many for each thread that may be there: of two calls one in as many meets another.
const PARTS_EACH: usize = 4;

/// The time before which no call can be overdue.
#[derive(Debug)]
pub(super) struct Alarm(AtomicU64);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    // Relaxed throughout: what is overdue is read under the locks of those on their way, and each
    // of them sets the alarm after its lock, while who looks clears it before. So either who looks
    // finds the call, or the call finds the alarm cleared.

    pub(super) fn at(&self) -> Option<u64> {
        let at = self.0.load(Ordering::Relaxed);
        (at != u64::MAX).then_some(at)
    }

    pub(super) fn clear(&self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }

    /// At this time, or earlier.
    pub(super) fn set(&self, at: u64) {
        // Seldom, since an earlier call has set it: so few write what all read.
        if self.0.load(Ordering::Relaxed) > at {
            self.0.fetch_min(at, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    /// A call that enters during a look is found, or has set the alarm.
    #[test]
    fn loom_no_call_that_hangs_is_forgotten() {
        loom::model(|| {
            let shared = Arc::new((InFlight::default(), Alarm::new()));
            let other = shared.clone();
            let looks = thread::spawn(move || {
                let (in_flight, alarm) = &*other;
                alarm.clear();
                if let (_, Some(next)) = in_flight.overdue(0, 15, 2) {
                    alarm.set(next);
                }
            });
            let (in_flight, alarm) = &*shared;
            let due = in_flight.enter(0, 15, 2, || true).unwrap();
            alarm.set(due);
            looks.join().unwrap();
            assert_eq!(alarm.at(), Some(due));
        });
    }

    /// What enters or leaves late changes nothing in a later generation.
    #[test]
    fn loom_a_late_call_is_in_no_later_generation() {
        loom::model(|| {
            let shared = Arc::new((InFlight::default(), AtomicU64::new(0)));
            let enters = |tag: u64, (in_flight, now): &(InFlight, AtomicU64)| {
                in_flight.enter(tag, 15, 0, || now.load(Ordering::Relaxed) == tag).is_some()
            };
            let other = shared.clone();
            let late = thread::spawn(move || {
                enters(0, &other);
                other.0.leave(0, 0);
            });
            shared.1.store(1, Ordering::Relaxed);
            assert!(enters(1, &shared));
            late.join().unwrap();
            assert_eq!(shared.0.overdue(1, 15, 100), (1, None));
        });
    }
}
