//! Calls that wait for their turn, in the order in which they came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use super::state::State;
use crate::{
    sync::atomic::{AtomicUsize, Mutex, Ordering, lock},
    time::{self, Instant},
};

/// How much later than its moment a timer of tokio may fire, and one to spare: those in front are
/// given the time to take their turn first.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// However fast they get their turn: each keeps its request in memory.
pub(super) const MOST_WAITING: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Mutex<Waiters>,
    /// How many wait, so that a call that need not wait takes no lock.
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiters {
    /// By the number of the ticket.
    by_number: BTreeMap<u64, Waiter>,
    /// The same by when they give up: one that is not polled cannot leave by itself.
    by_end: BTreeSet<(Instant, u64)>,
    next: u64,
    /// The tokens that all of them wait for.
    cells: u64,
}

#[derive(Debug)]
struct Waiter {
    until: Instant,
    cells: u64,
    /// There after the first poll.
    waker: Option<Waker>,
}

/// Those who wait before one that comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    pub(super) calls: usize,
    pub(super) cells: u64,
}

impl Queue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: of two calls that come at once either may be the first.
        self.length.load(Ordering::Relaxed) == 0
    }

    pub(super) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    /// Lets the first look again: what it waits for may come sooner, or later.
    pub(super) fn wake_first(&self) {
        if self.is_empty() {
            return;
        }
        let first = {
            let mut waiters = lock(&self.waiters);
            waiters.by_number.values_mut().next().and_then(|first| first.waker.take())
        };
        if let Some(first) = first {
            first.wake();
        }
    }

    fn note_length(&self, waiters: &Waiters) {
        self.length.store(waiters.by_number.len(), Ordering::Relaxed);
    }
}

impl Waiters {
    fn insert(&mut self, cells: u64, until: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.cells = self.cells.saturating_add(cells);
        self.by_number.insert(number, Waiter { until, cells, waker: None });
        self.by_end.insert((until, number));
        number
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.by_number.remove(&number)?;
        self.by_end.remove(&(waiter.until, number));
        self.cells = self.cells.saturating_sub(waiter.cells);
        Some(waiter)
    }

    /// Takes out one whose time is over, unless it is `own`, which is alive and asks.
    fn expire_one(&mut self, now: Instant, own: Option<u64>) -> Option<Waiter> {
        let &(until, number) = self.by_end.first()?;
        if until > now || own == Some(number) {
            return None;
        }
        self.remove(number)
    }
}

/// Where a ticket stands in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the first.
    Now,
    /// Another is before it, which gives up at this time. Look again then, at the latest.
    After(Instant),
    /// It was not polled in its time, so those behind it moved up.
    Missed,
}

/// A place in the queue. Dropping it gives the place up, and wakes the next behind it.
#[derive(Debug)]
pub(super) struct Ticket {
    state: Arc<State>,
    number: u64,
    cells: u64,
    until: Instant,
}

impl Ticket {
    /// Asks `may_wait` whether it may, and whether it is worth it, behind those who wait already, and
    /// queues for `cells` until `until` if so.
    pub(super) fn draw<E>(
        state: &Arc<State>,
        cells: u64,
        until: Instant,
        may_wait: impl FnOnce(Ahead) -> Result<(), E>,
    ) -> Result<Self, E> {
        let (now, until) = (time::now(), time::later(until, TIMER_GRAIN));
        // Before the lock, so that they drop after it: what wakers do is not ours.
        let mut expired = Vec::new();
        let mut waiters = lock(&state.queue.waiters);
        while let Some(waiter) = waiters.expire_one(now, None) {
            expired.push(waiter);
        }
        let ahead = Ahead { calls: waiters.by_number.len(), cells: waiters.cells };
        let drawn = may_wait(ahead).map(|()| waiters.insert(cells, until));
        state.queue.note_length(&waiters);
        drop(waiters);
        Ok(Self { state: state.clone(), number: drawn?, cells, until })
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The tokens that it is for.
    pub(super) fn cells(&self) -> u64 {
        self.cells
    }

    /// When to give up: as drawn, and what timers are late.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Whether it is this one's turn. If not, `waker` is woken when that may have changed, but for
    /// the time of the one before running out.
    pub(super) fn turn(&self, waker: &Waker) -> Turn {
        let now = time::now();
        // As in `draw`; so the waker is cloned here, too.
        let mut expired = Vec::new();
        let mut waker = Some(waker.clone());
        let mut waiters = lock(&self.state.queue.waiters);
        while let Some(waiter) = waiters.expire_one(now, Some(self.number)) {
            expired.push(waiter);
        }
        self.state.queue.note_length(&waiters);
        let Some(listed) = waiters.by_number.get_mut(&self.number) else {
            drop(waiters);
            return Turn::Missed;
        };
        std::mem::swap(&mut listed.waker, &mut waker);
        let before = waiters.by_number.range(..self.number).next_back();
        let turn = before.map_or(Turn::Now, |(_, before)| Turn::After(before.until));
        drop(waiters);
        turn
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (own, next) = {
            let mut waiters = lock(&self.state.queue.waiters);
            let own = waiters.remove(self.number);
            self.state.queue.note_length(&waiters);
            // It is the first now, or has another before it to watch. Its waker is taken, not
            // cloned: it lists itself again when it looks.
            let behind = waiters.by_number.range_mut(self.number..).next();
            let next = behind.and_then(|(_, behind)| behind.waker.take());
            // Who was expired has told nobody; those behind look by themselves.
            (own, next)
        };
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::task::Wake;

    use super::{super::quota::Quota, *};
    use loom::{sync::atomic::AtomicBool, thread};

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Who stands behind one that drops out is the first when it looks, or is woken to look.
    #[test]
    fn loom_a_first_that_drops_out_never_strands_the_second() {
        let until = time::later(time::now(), Duration::from_secs(3_600));
        loom::model(move || {
            let quota = Quota::new(1, Duration::from_secs(3_600)).burst(1);
            let state = Arc::new(State::new(quota.into(), false));
            let draw = || Ticket::draw(&state, 1, until, |_| Ok::<_, ()>(())).unwrap();
            let (first, second) = (draw(), draw());
            let leaves = thread::spawn(move || drop(first));
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            let turn = second.turn(&Waker::from(flag.clone()));
            leaves.join().unwrap();
            assert!(turn == Turn::Now || flag.0.load(Ordering::SeqCst));
            assert_eq!(second.turn(Waker::noop()), Turn::Now);
            assert_eq!(state.queue.len(), 1);
        });
    }
}
