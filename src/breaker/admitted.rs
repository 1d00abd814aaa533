use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    CircuitState,
    circuit::{Circuit, Counts, Shared},
    state::{Ticket, Word},
};
use crate::{outcome::Outcome, sync::Lease, time};

/// The right to make one call. Settles exactly once: with the call's outcome or, when dropped, as
/// [`Outcome::Ignored`], so that a cancelled probe gives its place back.
pub(super) struct Admitted {
    /// `None` once it is settled, and for a call that was refused.
    lease: Option<Arc<Lease<Circuit, Counts>>>,
    ticket: Ticket,
}

impl Admitted {
    /// Nothing to settle.
    #[inline]
    pub(super) fn nothing() -> Self {
        Self { lease: None, ticket: Ticket(0) }
    }

    #[inline]
    pub(super) fn new(shared: &Shared, ticket: Ticket) -> Self {
        Self { lease: Some(shared.take()), ticket }
    }

    pub(super) fn is_probe(&self) -> bool {
        self.ticket.is_probe() && self.lease.is_some()
    }

    pub(super) fn is_current(&self) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| lease.core().word().generation() == self.ticket.0 & !(1 << 63))
    }

    pub(super) fn probe_timeout(&self) -> Option<Duration> {
        Some(self.lease.as_ref()?.core().policy().config.probe_timeout)
    }

    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let counts = lease.local();
        // Relaxed: totals.
        match outcome {
            Outcome::Success | Outcome::Slow => counts.successes.fetch_add(1, Ordering::Relaxed),
            Outcome::Ignored => counts.ignored.fetch_add(1, Ordering::Relaxed),
            _ => counts.failures.fetch_add(1, Ordering::Relaxed),
        };
        // Relaxed: if the word is changing just now, this call may as well have ended before.
        let quiet = Word(lease.core().word.load(Ordering::Relaxed)).is_quiet();
        if !quiet || outcome.is_failure() {
            Self::settle_slowly(lease, self.ticket, outcome);
        }
    }

    /// Gives a place back that was not used: no call, so nothing to count.
    pub(super) fn give_back(mut self) {
        if let Some(lease) = self.lease.take() {
            Self::settle_slowly(lease, self.ticket, Outcome::Ignored);
        }
    }

    #[cold]
    fn abandon(&mut self) {
        self.settle(Outcome::Ignored);
    }

    #[cold]
    #[inline(never)]
    fn settle_slowly(lease: Arc<Lease<Circuit, Counts>>, ticket: Ticket, outcome: Outcome) {
        let this = Shared::of(lease);
        let circuit = this.core();
        if outcome.is_failure() {
            circuit.last_failure.store(time::stamp(time::now()), Ordering::Relaxed);
        }
        loop {
            let word = circuit.word();
            let calls = || {
                let before = circuit.finished_before.load(Ordering::Relaxed);
                Circuit::finished(&this).saturating_sub(before)
            };
            let next = word.settle(ticket, outcome, calls, &circuit.policy().config);
            let settled = if next == word {
                true
            } else if next.generation() != word.generation() {
                Circuit::turn(&this, word, next)
            } else {
                let replaced = circuit.replace(word, next);
                if replaced && word.state() == CircuitState::HalfOpen {
                    Circuit::show(&this);
                }
                replaced
            };
            if settled {
                return;
            }
        }
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
        f.debug_struct("Admitted").field("probe", &self.is_probe()).finish_non_exhaustive()
    }
}
