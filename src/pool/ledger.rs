//! Which connection goes to which caller: the rules, without a clock, a task or a lock.

use std::collections::VecDeque;

use super::{
    after::After,
    deaths::Deaths,
    kept::{Idle, Kept, Pooled},
    limits::Limits,
};
use crate::time::{Instant, later};

#[derive(Debug)]
struct Waiter<C, E, W> {
    ticket: u64,
    /// `None` once it was woken, until it looks.
    waker: Option<W>,
    got: Option<Result<Kept<C>, E>>,
}

/// What each connection and each waiter of one pool has. `W` wakes a waiter.
///
/// The line is served in its order, but for those that were woken and did not look since: their tasks
/// may not be polled for long.
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
    /// Whether the next connection may carry many calls at once: the newest does.
    shares: bool,
    epoch: u64,
    deaths: Deaths,
}

impl<C: Pooled, E, W> Ledger<C, E, W> {
    /// `may_share`: whether connections may carry many calls at once, which the first will tell.
    pub(super) fn new(limits: Limits, may_share: bool) -> Self {
        Self {
            limits,
            idle: VecDeque::new(),
            line: VecDeque::new(),
            waiting: 0,
            next_ticket: 0,
            live: 0,
            dialing: 0,
            shares: may_share,
            epoch: 0,
            deaths: Deaths::default(),
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

    /// How often the pool let go of its connections.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn deaths(&mut self) -> &mut Deaths {
        &mut self.deaths
    }

    /// Whether a call would probably not wait for another one to end.
    pub(super) fn has_room(&mut self, after: &mut After<C, E, W>) -> bool {
        if self.places() > 0 || self.idle.iter().any(|idle| idle.kept.connection.is_open()) {
            return true;
        }
        // They hold places, of which nothing else may tell.
        self.close(after, |_| true);
        false
    }

    fn places(&self) -> usize {
        self.limits.max.map_or(usize::MAX, |max| max.saturating_sub(self.live))
    }

    /// The connection that was used last, of those that may be used again.
    pub(super) fn take(&mut self, now: Instant, after: &mut After<C, E, W>) -> Option<Kept<C>> {
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

    /// What there is for the waiter with `ticket`, which then is in the line no more; or for one that
    /// has none yet, which gets a place at the end of the line if there is nothing.
    pub(super) fn look(
        &mut self,
        ticket: &mut Option<u64>,
        waker: W,
        now: Instant,
        after: &mut After<C, E, W>,
    ) -> Option<Result<Kept<C>, E>> {
        let Some(at) = ticket.and_then(|ticket| self.position(ticket)) else {
            let taken = self.take(now, after);
            if taken.is_some() {
                after.unneeded = Some(waker);
                return taken.map(Ok);
            }
            *ticket = Some(self.next_ticket);
            let waiter = Waiter { ticket: self.next_ticket, waker: Some(waker), got: None };
            self.line.push_back(waiter);
            self.next_ticket += 1;
            self.waiting += 1;
            return None;
        };
        if self.line[at].got.is_none() {
            after.unneeded = self.line[at].waker.replace(waker);
            return None;
        }
        after.unneeded = Some(waker);
        *ticket = None;
        self.out_of_line(at).and_then(|waiter| waiter.got)
    }

    /// The waiter goes. What it got goes to the next.
    pub(super) fn leave(&mut self, ticket: u64, now: Instant, after: &mut After<C, E, W>) {
        let Some(waiter) = self.position(ticket).and_then(|at| self.out_of_line(at)) else {
            return;
        };
        after.unneeded = waiter.waker;
        match waiter.got {
            Some(Ok(kept)) => self.hand_on(kept, now, after),
            Some(Err(error)) => after.unheard = Some(error),
            None => self.waiting -= 1,
        }
        self.nudge(after);
    }

    fn out_of_line(&mut self, at: usize) -> Option<Waiter<C, E, W>> {
        let waiter = self.line.remove(at);
        // Most pools have a line but once, for their first connection.
        if self.line.is_empty() {
            self.line = VecDeque::new();
        }
        waiter
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.line.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()
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

    /// Has those that wait look whether connections are to be made, which is their tasks' work. All of
    /// them: the first may not be polled for long, and whichever is makes them for all.
    fn nudge(&mut self, after: &mut After<C, E, W>) {
        if self.lacking() > 0 && self.places() > 0 {
            let waiting = self.line.iter_mut().filter(|waiter| waiter.got.is_none());
            after.woken.extend(waiting.filter_map(|waiter| waiter.waker.take()));
        }
    }

    /// A connection was made that was begun in `epoch`, or why not.
    pub(super) fn dialed(
        &mut self,
        made: Result<C, E>,
        epoch: u64,
        now: Instant,
        draw: f64,
        after: &mut After<C, E, W>,
    ) {
        self.dialing -= 1;
        // Where none could be made, those that wait are not to hear it one after another.
        self.shares = made.as_ref().is_ok_and(|connection| connection.share().is_some());
        match made {
            Ok(connection) => {
                let retires = self.limits.retires(now, draw);
                self.hand_on(Kept::new(connection, epoch, now, retires), now, after);
            }
            Err(error) => after.unheard = self.give(Err(error), after).and_then(Result::err),
        }
        self.nudge(after);
    }

    /// One that was being made never will be.
    pub(super) fn dial_lost(&mut self) {
        self.dialing -= 1;
    }

    /// A place is free: its connection is closed.
    pub(super) fn closed(&mut self, after: &mut After<C, E, W>) {
        self.live -= 1;
        after.has_room |= self.limits.max.is_some();
        self.close(after, |idle| !idle.kept.connection.is_open());
        self.nudge(after);
    }

    /// A call is over, and its connection may carry another.
    pub(super) fn put(&mut self, mut kept: Kept<C>, now: Instant, after: &mut After<C, E, W>) {
        (kept.since, kept.was_used) = (now, true);
        // Of a connection that is shared, the pool has a handle already.
        if self.shares && kept.share().is_some() {
            if let Some(mut idle) = self.idle.pop_back() {
                idle.until = self.idle_until(&idle.kept, now);
                self.idle.push_back(idle);
            }
            after.closed.push(kept);
        } else {
            self.hand_on(kept, now, after);
        }
    }

    /// To the first that waits; to all of them, if it can be shared; or to those that are idle.
    fn hand_on(&mut self, kept: Kept<C>, now: Instant, after: &mut After<C, E, W>) {
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
        if self.idle.capacity() == 0 {
            // Most have but one.
            self.idle.reserve_exact(1);
        }
        self.idle.push_back(Idle { kept, until });
        after.has_room |= self.limits.max.is_some();
    }

    /// To the first that waits, or back if none does.
    fn give(
        &mut self,
        got: Result<Kept<C>, E>,
        after: &mut After<C, E, W>,
    ) -> Option<Result<Kept<C>, E>> {
        let mut waiting = self.line.iter_mut().filter(|waiter| waiter.got.is_none());
        let Some(first) = waiting.next() else { return Some(got) };
        let looks = |waiter: &Waiter<C, E, W>| waiter.waker.is_some();
        let waiter = match looks(first) {
            true => first,
            false => waiting.find(|waiter| looks(waiter)).unwrap_or(first),
        };
        waiter.got = Some(got);
        self.waiting -= 1;
        after.woken.extend(waiter.waker.take());
        None
    }

    fn idle_until(&self, kept: &Kept<C>, now: Instant) -> Instant {
        kept.idle_until(now, self.limits.idle_timeout)
    }

    fn close(&mut self, after: &mut After<C, E, W>, is_to: impl Fn(&Idle<C>) -> bool) {
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
    pub(super) fn sweep(&mut self, now: Instant, after: &mut After<C, E, W>) -> Option<Instant> {
        self.close(after, |idle| !idle.is_usable(now));
        // One that comes back later is idle for as long as any, unless its other end closes it before.
        let next = self.idle.iter().map(|idle| match idle.until > now {
            true => idle.until,
            // It is busy.
            false => self.idle_until(&idle.kept, now),
        });
        let next = next.min();
        let next = next.unwrap_or_else(|| later(now, self.limits.idle_timeout));
        (self.live > 0).then_some(next)
    }

    /// Lets go of the idle connections, and of those in use once they come back.
    pub(super) fn empty(&mut self, after: &mut After<C, E, W>) {
        self.epoch += 1;
        self.close(after, |_| true);
    }

    /// Goes by other limits. Connections that are open stay; fewer may be kept when they come back.
    pub(super) fn set_limits(&mut self, limits: Limits, after: &mut After<C, E, W>) {
        self.limits = limits;
        after.has_room = true;
        while self.idle.len() > limits.max_idle {
            after.closed.extend(self.idle.pop_front().map(|idle| idle.kept));
        }
        self.nudge(after);
    }

    #[cfg(test)]
    pub(super) fn kill(&self, kill: impl Fn(&C)) {
        self.idle.iter().for_each(|idle| kill(&idle.kept.connection));
    }
}
