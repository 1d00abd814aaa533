use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{
    circuit::{Circuit, Shared},
    counts::Counts,
    machine::Ended,
    word::Ticket,
};
use crate::{outcome::Outcome, sync::Lease, time};

/// The right to make one call. Settles exactly once: with the call's outcome or, when dropped, as
/// the config says of cancelled calls, so that a cancelled probe gives its place back.
pub(super) struct Admitted {
    /// `None` once it is settled, and for a call that was refused.
    lease: Option<Arc<Lease<Circuit, Counts>>>,
    ticket: Ticket,
    /// By the clock of the circuit, and one more, when the call first had to wait; 0 while it had not,
    /// `NOT_TIMED` if nobody wants to know.
    began: u64,
}

const NOT_TIMED: u64 = u64::MAX;

impl Admitted {
    /// Nothing to settle.
    #[inline]
    pub(super) fn nothing() -> Self {
        Self { lease: None, ticket: Ticket::NONE, began: 0 }
    }

    #[inline]
    pub(super) fn new(shared: &Shared, ticket: Ticket) -> Self {
        Self { lease: Some(shared.take()), ticket, began: 0 }
    }

    /// Whether its circuit is still in the generation that let it through.
    pub(super) fn is_current(&self) -> bool {
        let generation = |lease: &Arc<Lease<_, _>>| Circuit::word(lease.core()).generation();
        self.lease.as_ref().map(generation) == Some(self.ticket.generation())
    }

    /// The call is on its way, and not done at once.
    #[inline]
    pub(super) fn has_to_wait(&mut self) {
        if self.began == 0 {
            self.note_begin();
        }
    }

    #[inline(never)]
    fn note_begin(&mut self) {
        self.began = NOT_TIMED;
        if let Some(lease) = &self.lease {
            let circuit = lease.core();
            let is_timed = |after: u64| after != 0 && after != u64::MAX;
            if is_timed(circuit.slow_after()) || is_timed(circuit.cancelled_after()) {
                self.began = circuit.clock.nanos() + 1;
            }
        }
    }

    /// Whether the call took at least `after` nanoseconds. Reads a clock only if that matters.
    fn took(&self, circuit: &Circuit, after: u64) -> bool {
        match (after, self.began) {
            (u64::MAX, _) | (_, 0) => false,
            (0, _) => true,
            (_, NOT_TIMED) => false,
            (after, began) => (circuit.clock.nanos() + 1).saturating_sub(began) >= after,
        }
    }

    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let circuit = lease.core();
        let slow = self.began != 0 && self.took(circuit, circuit.slow_after());
        let only_counts = circuit.word_relaxed().only_counts(self.ticket);
        if outcome == Outcome::Success && !slow && only_counts {
            if lease.local().count_good() {
                Self::look(lease);
            }
        } else {
            Self::settle_slowly(lease, self.ticket, outcome, slow);
        }
    }

    /// Gives a place back that was not used: no call, so nothing to count.
    pub(super) fn give_back(mut self) {
        if let Some(lease) = self.lease.take() {
            let shared = Shared::of(lease);
            let ticket = self.ticket;
            Circuit::apply(&shared, |machine, now| machine.settle(ticket, None, now));
        }
    }

    /// Moves good calls into the window, and plans when to do so next.
    #[cold]
    #[inline(never)]
    fn look(lease: Arc<Lease<Circuit, Counts>>) {
        let shared = Shared::of(lease.clone());
        let circuit = lease.core();
        match circuit.bucket_length() {
            None => lease.local().plan(None),
            Some(length) => {
                lease.local().plan(Some(circuit.nanos() / length));
                Circuit::apply(&shared, |machine, now| machine.look(1, now));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_slowly(
        lease: Arc<Lease<Circuit, Counts>>,
        ticket: Ticket,
        outcome: Outcome,
        slow: bool,
    ) {
        let shared = Shared::of(lease.clone());
        let counts = lease.local();
        let slow = slow || outcome == Outcome::Slow;
        let failed = |retry_after| Some(Ended { failed: true, slow, retry_after });
        let ended = match outcome {
            Outcome::Success | Outcome::Slow => {
                counts.good_otherwise.fetch_add(1, Ordering::Relaxed);
                Some(Ended { failed: false, slow, retry_after: None })
            }
            Outcome::Failure => failed(None),
            Outcome::Overload { retry_after } => failed(retry_after),
            Outcome::Ignored => {
                counts.ignored.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        if ended.is_some_and(|ended| ended.failed) {
            counts.failures.fetch_add(1, Ordering::Relaxed);
            lease.core().last_failure.store(time::stamp(time::now()), Ordering::Relaxed);
        }
        if slow {
            counts.slow.fetch_add(1, Ordering::Relaxed);
        }
        Circuit::apply(&shared, |machine, now| machine.settle(ticket, ended, now));
    }

    #[cold]
    fn abandon(&mut self) {
        let outcome = match &self.lease {
            Some(lease) if self.took(lease.core(), lease.core().cancelled_after()) => {
                Outcome::Failure
            }
            _ => Outcome::Ignored,
        };
        self.settle(outcome);
    }
}

impl Drop for Admitted {
    #[inline]
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.abandon();
        }
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("probe", &self.ticket.is_probe()).finish_non_exhaustive()
    }
}
