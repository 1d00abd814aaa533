//! Which connection goes to which caller: the rules, without a clock, a task or a lock.

use std::collections::VecDeque;

use super::{
    kept::{Idle, Kept, Pooled},
    limits::Limits,
};
use crate::time::{Instant, later};

#[derive(Debug)]
struct Waiter<C, E, W> {
    ticket: u64,
    waker: W,
    got: Option<Result<Kept<C>, E>>,
}

/// What a waiter finds when it looks.
#[derive(Debug)]
pub(super) enum Found<C, E> {
    Connection(Kept<C>),
    Error(E),
    Nothing,
}

/// What is to be done once the lock is released: that is no work for under it.
#[derive(Debug)]
#[must_use]
pub(super) struct After<C, W> {
    /// To be woken.
    pub(super) woken: Vec<W>,
    /// To be dropped, which closes them.
    pub(super) closed: Vec<Kept<C>>,
    /// Whether a call might find a connection now that would not have before.
    pub(super) has_room: bool,
}

impl<C, W> Default for After<C, W> {
    fn default() -> Self {
        Self { woken: Vec::new(), closed: Vec::new(), has_room: false }
    }
}

/// What each connection and each waiter of one pool has. `W` wakes a waiter.
///
/// The line is served in its order, so those that got something stand before those that wait.
#[derive(Debug)]
pub(super) struct Ledger<C, E, W> {
    limits: Limits,
    /// The one that was used last is at the back.
    idle: VecDeque<Idle<C>>,
    line: VecDeque<Waiter<C, E, W>>,
    /// How many of the line got nothing yet.
    waiting: usize,
    next_ticket: u64,
    /// How many places are taken: by connections that are open, and by those being made.
    live: usize,
    dialing: usize,
    /// Whether the newest connection carries many calls at once.
    shares: bool,
    epoch: u64,
}

impl<C: Pooled, E, W: Clone> Ledger<C, E, W> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            shares: limits.shares,
            limits,
            idle: VecDeque::new(),
            line: VecDeque::new(),
            waiting: 0,
            next_ticket: 0,
            live: 0,
            dialing: 0,
            epoch: 0,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Whether connections are being made.
    pub(super) fn is_dialing(&self) -> bool {
        self.dialing > 0
    }

    /// Whether a call would probably not wait for another one to end.
    pub(super) fn has_room(&self) -> bool {
        self.places() > 0 || self.idle.iter().any(|idle| idle.kept.connection.is_open())
    }

    fn places(&self) -> usize {
        self.limits.max.map_or(usize::MAX, |max| max.saturating_sub(self.live))
    }

    /// The connection that was used last, of those that may be used again.
    pub(super) fn take(&mut self, now: Instant, after: &mut After<C, W>) -> Option<Kept<C>> {
        while let Some(mut idle) = self.idle.pop_back() {
            if !idle.is_usable(now) {
                after.closed.push(idle.kept);
                continue;
            }
            if let Some(shared) = idle.kept.share() {
                idle.until = self.idle_until(&shared, now);
                self.idle.push_back(idle);
                return Some(shared);
            }
            return Some(idle.kept);
        }
        None
    }

    /// A place at the end of the line.
    pub(super) fn join(&mut self, waker: W) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        self.line.push_back(Waiter { ticket, waker, got: None });
        ticket
    }

    /// What the waiter got, which then is in the line no more.
    pub(super) fn collect(&mut self, ticket: u64, waker: impl FnOnce(&mut W)) -> Found<C, E> {
        let Ok(at) = self.position(ticket) else { return Found::Nothing };
        if self.line[at].got.is_none() {
            waker(&mut self.line[at].waker);
            return Found::Nothing;
        }
        match self.line.remove(at).and_then(|waiter| waiter.got) {
            Some(Ok(kept)) => Found::Connection(kept),
            Some(Err(error)) => Found::Error(error),
            None => Found::Nothing,
        }
    }

    /// The waiter goes. What it got goes to the next.
    pub(super) fn leave(&mut self, ticket: u64, now: Instant) -> After<C, W> {
        let mut after = After::default();
        let Some(waiter) = self.position(ticket).ok().and_then(|at| self.line.remove(at)) else {
            return after;
        };
        match waiter.got {
            Some(Ok(kept)) => self.hand_on(kept, now, &mut after),
            Some(Err(_)) => {}
            None => self.waiting -= 1,
        }
        self.nudge(&mut after);
        after
    }

    fn position(&self, ticket: u64) -> Result<usize, usize> {
        self.line.binary_search_by_key(&ticket, |waiter| waiter.ticket)
    }

    /// How many connections are to be made now. Their places are taken.
    pub(super) fn dials_due(&mut self) -> usize {
        let due = self.lacking().min(self.places());
        self.live += due;
        self.dialing += due;
        due
    }

    /// How many more should be made for those that wait. One is enough for all where it is shared.
    fn lacking(&self) -> usize {
        let wanted = if self.shares { self.waiting.min(1) } else { self.waiting };
        wanted.saturating_sub(self.dialing)
    }

    /// Has the first that waits look whether connections are to be made: that is its task's work.
    fn nudge(&self, after: &mut After<C, W>) {
        if self.lacking() > 0 && self.places() > 0 {
            after.woken.extend(self.first_waiting().map(|at| self.line[at].waker.clone()));
        }
    }

    fn first_waiting(&self) -> Option<usize> {
        (self.waiting > 0).then(|| self.line.len() - self.waiting)
    }

    /// A connection was made, or why not.
    pub(super) fn dialed(
        &mut self,
        made: Result<C, E>,
        now: Instant,
        draw: f64,
    ) -> (After<C, W>, Option<E>) {
        self.dialing -= 1;
        let mut after = After::default();
        match made {
            Ok(connection) => {
                self.shares = connection.share().is_some();
                let retires = self.limits.retires(now, draw);
                self.hand_on(Kept::new(connection, self.epoch, retires), now, &mut after);
                (after, None)
            }
            Err(error) => {
                let unheard = self.give(Err(error), &mut after).and_then(Result::err);
                (after, unheard)
            }
        }
    }

    /// One that was being made never will be.
    pub(super) fn dial_lost(&mut self) {
        self.dialing -= 1;
    }

    /// A place is free: its connection is closed.
    pub(super) fn closed(&mut self) -> After<C, W> {
        self.live -= 1;
        let mut after = After { has_room: self.limits.max.is_some(), ..After::default() };
        self.close(&mut after, |idle| !idle.kept.connection.is_open());
        self.nudge(&mut after);
        after
    }

    /// A call is over, and its connection may carry another.
    pub(super) fn put(&mut self, kept: Kept<C>, now: Instant) -> After<C, W> {
        let mut after = After::default();
        // Of a connection that is shared, the pool has a handle already.
        if self.shares && kept.share().is_some() {
            after.closed.push(kept);
        } else {
            self.hand_on(kept, now, &mut after);
        }
        after
    }

    /// To the first that waits; to all of them, if it can be shared; or to those that are idle.
    fn hand_on(&mut self, kept: Kept<C>, now: Instant, after: &mut After<C, W>) {
        let is_old = kept.is_retired(now) || kept.epoch != self.epoch;
        if is_old || !kept.connection.is_open() {
            after.closed.push(kept);
            return;
        }
        while self.waiting > 0 {
            let Some(shared) = kept.share() else {
                let unwanted = self.give(Ok(kept), after).and_then(Result::ok);
                after.closed.extend(unwanted);
                return;
            };
            let _ = self.give(Ok(shared), after);
        }
        if self.idle.len() >= self.limits.max_idle {
            self.close(after, |idle| !idle.is_usable(now));
        }
        if self.idle.len() >= self.limits.max_idle {
            after.closed.push(kept);
            return;
        }
        let until = self.idle_until(&kept, now);
        self.idle.push_back(Idle { kept, until });
        after.has_room = self.limits.max.is_some();
    }

    /// To the first that waits, or back if none does.
    fn give(
        &mut self,
        got: Result<Kept<C>, E>,
        after: &mut After<C, W>,
    ) -> Option<Result<Kept<C>, E>> {
        let Some(at) = self.first_waiting() else { return Some(got) };
        let waiter = &mut self.line[at];
        waiter.got = Some(got);
        self.waiting -= 1;
        after.woken.push(waiter.waker.clone());
        None
    }

    fn idle_until(&self, kept: &Kept<C>, now: Instant) -> Instant {
        kept.idle_until(later(now, self.limits.idle_timeout))
    }

    fn close(&mut self, after: &mut After<C, W>, is_to: impl Fn(&Idle<C>) -> bool) {
        for _ in 0..self.idle.len() {
            match self.idle.pop_front() {
                Some(idle) if is_to(&idle) => after.closed.push(idle.kept),
                Some(idle) => self.idle.push_back(idle),
                None => {}
            }
        }
    }

    /// Closes those that were idle for too long. Returns when the next is, or `None` if no connection is
    /// left.
    pub(super) fn sweep(&mut self, now: Instant) -> (After<C, W>, Option<Instant>) {
        let mut after = After::default();
        self.close(&mut after, |idle| !idle.is_usable(now));
        // One that comes back later is idle for as long as any.
        let next = self.idle.iter().map(|idle| idle.until).min();
        let next = next.unwrap_or_else(|| later(now, self.limits.idle_timeout));
        (after, (self.live > 0).then_some(next))
    }

    /// Lets go of the idle connections, and of those in use once they come back; only if none did so
    /// since a connection of `epoch` was made, where that is given.
    pub(super) fn empty(&mut self, epoch: Option<u64>) -> Option<After<C, W>> {
        if epoch.is_some_and(|epoch| epoch != self.epoch) {
            return None;
        }
        self.epoch += 1;
        let mut after = After::default();
        self.close(&mut after, |_| true);
        Some(after)
    }

    /// Goes by other limits. Connections that are open stay; fewer may be kept when they come back.
    pub(super) fn set_limits(&mut self, limits: Limits) -> After<C, W> {
        self.limits = limits;
        let mut after = After { has_room: true, ..After::default() };
        while self.idle.len() > limits.max_idle {
            after.closed.extend(self.idle.pop_front().map(|idle| idle.kept));
        }
        self.nudge(&mut after);
        after
    }

    #[cfg(test)]
    pub(super) fn kill(&self, kill: impl Fn(&C)) {
        self.idle.iter().for_each(|idle| kill(&idle.kept.connection));
    }
}
