//! A connection that a pool keeps.

use std::time::Duration;

use crate::time::{Instant, later};

/// A connection, or the handle of one.
pub(crate) trait Pooled: Sized {
    /// Whether it may carry one more call.
    fn is_open(&self) -> bool;

    /// Whether it carries calls, of one that carries many at once.
    fn is_busy(&self) -> bool {
        false
    }

    /// How long the other end says that it keeps it without a call.
    fn kept_for(&self) -> Option<Duration> {
        None
    }

    /// One more handle, of a connection that carries many calls at once.
    fn share(&self) -> Option<Self> {
        None
    }
}

/// A connection, with what decides whether it is used again.
#[derive(Debug)]
pub(super) struct Kept<C> {
    pub(super) connection: C,
    /// How often the pool had been emptied when it was made.
    pub(super) epoch: u64,
    /// When it was made, or its last call ended.
    pub(super) since: Instant,
    pub(super) was_used: bool,
    retires: Option<Instant>,
}

impl<C: Pooled> Kept<C> {
    pub(super) fn new(connection: C, epoch: u64, now: Instant, retires: Option<Instant>) -> Self {
        Self { connection, epoch, since: now, was_used: false, retires }
    }

    pub(super) fn share(&self) -> Option<Self> {
        let Self { epoch, since, was_used, retires, .. } = *self;
        let connection = self.connection.share()?;
        Some(Self { connection, epoch, since, was_used, retires })
    }

    /// Whether it is too old to be used again.
    pub(super) fn is_retired(&self, now: Instant) -> bool {
        self.retires.is_some_and(|retires| retires <= now)
    }

    /// Until when it may be idle, if that is for `limit` at most.
    pub(super) fn idle_until(&self, now: Instant, limit: Duration) -> Instant {
        let limit = self.connection.kept_for().map_or(limit, |told| told.min(limit));
        let until = later(now, limit);
        self.retires.map_or(until, |retires| retires.min(until))
    }
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) kept: Kept<C>,
    pub(super) until: Instant,
}

impl<C: Pooled> Idle<C> {
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        let Self { kept, until } = self;
        let is_in_time = now < *until || kept.connection.is_busy() && !kept.is_retired(now);
        is_in_time && kept.connection.is_open()
    }
}
