//! What a call takes along: what another attempt needs, and what is counted of it.

use std::{sync::Arc, time::Duration};

use crate::{
    course::{LiveAttempts, Plan, modes},
    sync::Lease,
    time::{self, Instant},
};

/// Whatever another attempt needs.
pub(super) struct Reserve<S, R, C> {
    pub(super) live: Arc<LiveAttempts>,
    pub(super) plan: Arc<Plan<R, C>>,
    /// Never made ready or called itself: the next attempt is made by a clone.
    pub(super) service: S,
}

/// A [`Reserve`], as a call holds it.
pub(super) type InReserve<S, R, C> = Arc<Lease<Reserve<S, R, C>, ()>>;

/// In whole words, beside which nothing is moved: stamps, and flags.
pub(super) struct Ticket<S, R, C> {
    lease: InReserve<S, R, C>,
    /// When the call was first pending, or failed; `NEVER` before.
    began: i64,
    /// The deadline of the request; `NEVER` without one.
    deadline: i64,
    /// The [`modes`] that the call met, and the flags below.
    flags: u64,
}

/// A nanosecond before the first stamp of the process; a small number, which an instruction has room for.
const NEVER: i64 = -1;

/// The budget counts the call as running.
const RUNS: u64 = modes::FREE;
/// The call is not idempotent.
const ONCE: u64 = modes::FREE << 1;
const COUNTED: u64 = modes::COUNTS | RUNS;

impl<S, R, C> Ticket<S, R, C> {
    #[inline(always)]
    pub(super) fn new(
        lease: InReserve<S, R, C>,
        modes: u64,
        idempotent: bool,
        deadline: Option<Instant>,
    ) -> Self {
        let mut ticket = Self {
            lease,
            began: NEVER,
            deadline: deadline.map_or(NEVER, time::stamp),
            flags: if idempotent { modes } else { modes | ONCE },
        };
        if ticket.reserve().plan.budget.counts_calls() {
            ticket.run();
        }
        ticket
    }

    #[cold]
    fn run(&mut self) {
        self.reserve().plan.budget.begin_call();
        self.flags |= RUNS;
    }

    #[inline]
    pub(super) fn reserve(&self) -> &Reserve<S, R, C> {
        self.lease.core()
    }

    #[inline]
    pub(super) fn is_idempotent(&self) -> bool {
        self.flags & ONCE == 0
    }

    #[inline]
    pub(super) fn has_deadline(&self) -> bool {
        self.deadline != NEVER
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.has_deadline().then(|| time::at_stamp(self.deadline))
    }

    /// The call is pending.
    #[inline]
    pub(super) fn pend(&mut self) {
        if self.began == NEVER {
            self.began = time::stamp(time::now());
        }
    }

    /// When the call was first pending, or now.
    pub(super) fn start(&mut self) -> Instant {
        self.pend();
        time::at_stamp(self.began)
    }

    /// The call has ended, though this is kept.
    #[inline]
    pub(super) fn end(&mut self, well: bool) {
        if self.flags & COUNTED != 0 {
            self.end_counted(Some(well));
        }
    }

    /// `well` is `None` if the call was dropped.
    #[cold]
    #[inline(never)]
    fn end_counted(&mut self, well: Option<bool>) {
        let Reserve { live, plan, .. } = self.reserve();
        if self.flags & RUNS != 0 {
            plan.budget.end_call();
        }
        let took = || match self.began {
            NEVER => Duration::ZERO,
            began => time::now().saturating_duration_since(time::at_stamp(began)),
        };
        match well {
            _ if self.flags & modes::COUNTS == 0 => {}
            Some(well) => live.counts.ended(well, took()),
            None => live.counts.cancelled(),
        }
        self.flags &= !COUNTED;
    }
}

impl<S, R, C> Drop for Ticket<S, R, C> {
    #[inline]
    fn drop(&mut self) {
        if self.flags & COUNTED != 0 {
            self.end_counted(None);
        }
    }
}
