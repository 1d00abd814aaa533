//! What one call has: a place, or a number in the queue. Dropping it gives it back.

use std::{fmt, sync::Arc, task::Waker};

use super::{queue::Number, state::State};
use crate::{sync::atomic::lock, time::Instant};

/// A place, or none. Given back when it drops.
#[derive(Default)]
pub struct Place(Option<Arc<State>>);

impl Place {
    /// A place that was taken of `state` just now.
    #[inline]
    pub(super) fn taken(state: Arc<State>) -> Self {
        Self(Some(state))
    }

    #[inline]
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    #[inline]
    pub(super) fn give_back(&mut self) {
        if let Some(state) = self.0.take() {
            state.leave();
        }
    }

    // Out of line, so that a call that is done carries this only once.
    #[inline(never)]
    fn abandon(&mut self) {
        self.give_back();
    }
}

impl Drop for Place {
    #[inline]
    fn drop(&mut self) {
        if self.is_there() {
            self.abandon();
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where one who waits stands.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is its turn.
    Come(Place),
    /// Others are before it, or no place is free. Look again at this time, at the latest.
    Waits(Option<Instant>),
    /// It was not polled in its time, so those behind it moved up.
    Missed,
}

/// One who waits. Dropping it leaves the queue, and gives on the place if it was given one.
pub(super) struct Ticket {
    state: Arc<State>,
    of: Number,
    /// It has its place.
    has_come: bool,
}

impl Ticket {
    pub(super) fn new(state: Arc<State>, of: Number) -> Self {
        Self { state, of, has_come: false }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    pub(super) fn until(&self) -> Instant {
        self.of.until
    }

    /// Whether it is its turn. If not, `waker` is woken when it is.
    pub(super) fn turn(&mut self, waker: &Waker, now: Instant) -> Turn {
        self.state.pass_over_the_late(now, Some(self.of));
        // Wakers are cloned and dropped outside the lock: what they do is not ours.
        let mut waker = Some(waker.clone());
        let mut queue = lock(&self.state.queue);
        if queue.comes(self.of) {
            self.has_come = true;
            drop(queue);
            return Turn::Come(Place::taken(self.state.clone()));
        }
        let waits = queue.listen(self.of, &mut waker);
        let look_at = queue.look_at(self.of);
        drop(queue);
        if waits { Turn::Waits(look_at) } else { Turn::Missed }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.has_come {
            self.state.dismiss(self.of);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.of.number).finish()
    }
}
