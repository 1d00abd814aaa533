//! Those who wait for a place, pure: in order, bounded, and none in the way of the others for
//! longer than it may wait itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// `W` is what wakes one who waits.
#[derive(Debug)]
pub(super) struct Queue<W> {
    /// By number, and numbers are given in order.
    waiting: BTreeMap<u64, Waiter<W>>,
    /// The same by when they give up: one that is not polled cannot leave by itself.
    ends: BTreeSet<(Instant, u64)>,
    /// Those who were given a place and have not come for it yet, by when it goes to another.
    called: BTreeSet<(Instant, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    until: Instant,
    /// There after the first poll.
    waker: Option<W>,
}

/// One in the queue: who it is, and when it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) number: u64,
    pub(super) until: Instant,
}

/// Where one stood who leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left<W> {
    Waiting(Option<W>),
    /// It had been given a place, which is free now.
    Called,
    /// It had gone, or been passed over, before.
    Gone,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        let (waiting, next) = (BTreeMap::new(), 0);
        Self { waiting, ends: BTreeSet::new(), called: BTreeSet::new(), next }
    }
}

impl<W> Queue<W> {
    /// How many wait. Those who were called do not.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, until: Instant) -> Number {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, Waiter { until, waker: None });
        self.ends.insert((until, number));
        Number { number, until }
    }

    /// Gives a place to the first, and tells how to wake it.
    pub(super) fn call_first(&mut self) -> Option<W> {
        let (number, waiter) = self.waiting.pop_first()?;
        self.ends.remove(&(waiter.until, number));
        self.called.insert((waiter.until, number));
        waiter.waker
    }

    /// Whether `of` was called. If so it has come, and the place is its own from now on.
    pub(super) fn comes(&mut self, of: Number) -> bool {
        self.called.remove(&(of.until, of.number))
    }

    /// Keeps what wakes one who waits, in exchange for what did before. `false` if it does not wait.
    pub(super) fn listen(&mut self, of: Number, waker: &mut Option<W>) -> bool {
        let Some(waiter) = self.waiting.get_mut(&of.number) else {
            return false;
        };
        std::mem::swap(&mut waiter.waker, waker);
        true
    }

    /// When one who waits should look again though nobody woke it: when the one before it must be
    /// gone, and would hold up the others if it were not.
    pub(super) fn look_at(&self, of: Number) -> Option<Instant> {
        match self.waiting.range(..of.number).next_back() {
            Some((_, before)) => Some(before.until),
            None => self.called.first().map(|&(until, _)| until),
        }
    }

    pub(super) fn leave(&mut self, of: Number) -> Left<W> {
        if let Some(waiter) = self.waiting.remove(&of.number) {
            self.ends.remove(&(of.until, of.number));
            Left::Waiting(waiter.waker)
        } else if self.comes(of) {
            Left::Called
        } else {
            Left::Gone
        }
    }

    /// One whose time is over by `now`, other than `own`, which is alive and asks.
    pub(super) fn overdue(&self, now: Instant, own: Option<Number>) -> Option<Number> {
        let first = |by_end: &BTreeSet<(Instant, u64)>| {
            let others = by_end.iter().map(|&(until, number)| Number { number, until });
            others.take_while(|of| of.until <= now).find(|of| own != Some(*of))
        };
        first(&self.called).or_else(|| first(&self.ends))
    }
}
