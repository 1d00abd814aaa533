//! Calls that wait for their turn, in the order in which they came.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use super::state::State;
use crate::sync::lock;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Mutex<Waiters>,
    /// How many wait, so that a call that need not wait takes no lock.
    length: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiters {
    /// By the number of the ticket; the waker is there after the first poll.
    by_number: BTreeMap<u64, Option<Waker>>,
    next: u64,
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
}

/// A place in the queue. Dropping it gives the place up, and wakes the next in turn if this was
/// the first.
#[derive(Debug)]
pub(super) struct Ticket {
    state: Arc<State>,
    number: u64,
}

impl Ticket {
    /// Asks `may_wait` whether it is worth it behind so many others, and queues if so.
    pub(super) fn draw<E>(
        state: &Arc<State>,
        may_wait: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut waiters = lock(&state.queue.waiters);
        may_wait(waiters.by_number.len() as u64)?;
        let number = waiters.next;
        waiters.next += 1;
        waiters.by_number.insert(number, None);
        state.queue.length.fetch_add(1, Ordering::Relaxed);
        Ok(Self { state: state.clone(), number })
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether it is this one's turn. If not, `waker` is woken when it is.
    pub(super) fn is_first(&self, waker: &Waker) -> bool {
        let mut waiters = lock(&self.state.queue.waiters);
        let first = waiters.by_number.keys().next() == Some(&self.number);
        if let Some(listed) = waiters.by_number.get_mut(&self.number) {
            match listed {
                Some(listed) => listed.clone_from(waker),
                None => *listed = Some(waker.clone()),
            }
        }
        first
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let next = {
            let mut waiters = lock(&self.state.queue.waiters);
            let first = waiters.by_number.keys().next() == Some(&self.number);
            waiters.by_number.remove(&self.number);
            self.state.queue.length.fetch_sub(1, Ordering::Relaxed);
            let next = waiters.by_number.values().next().filter(|_| first);
            next.and_then(Clone::clone)
        };
        if let Some(next) = next {
            next.wake();
        }
    }
}
