//! Calls that hang, as a circuit sees them while they hang.
//!
//! Nothing of this is reached where it does not matter whether calls are slow: the word of a circuit
//! says so. Where it does, a call that has to wait is counted in and out, and a call that is let through or
//! looks compares a clock with the alarm, which is set to when the first of them may be overdue.

use super::{
    circuit::{Circuit, Kept, Shared},
    machine::{Machine, word::Ticket},
};

/// So many nanoseconds of a circuit are one of those in which the calls are counted.
const MICRO: u64 = 1_000;

impl Circuit {
    /// A call has had to wait, where one is slow after so many nanoseconds.
    #[inline(never)]
    pub(super) fn enter(lease: &Kept, ticket: Ticket, slow_after: u64, now: u64) {
        let due = lease.local().enter(
            ticket,
            !lease.is_sharded(),
            slow_after.div_ceil(MICRO),
            now / MICRO,
        );
        if let Some(due) = due {
            lease.core().alarm.set(due.saturating_mul(MICRO));
        }
    }

    /// A call has ended that had to wait: whether it was slow.
    #[inline(never)]
    pub(super) fn leave(lease: &Kept, ticket: Ticket) -> bool {
        let now = lease.core().clock.nanos();
        let Some(began) = ticket.began(now) else {
            return false;
        };
        if !ticket.is_probe() {
            lease.local().leave(ticket, !lease.is_sharded(), began);
        }
        (now / MICRO).saturating_sub(began) * MICRO >= lease.core().slow_after()
    }

    /// Whether any call may be overdue that was not at the last look.
    #[inline]
    fn may_be_overdue(&self) -> bool {
        self.alarm.at().is_some_and(|at| self.clock.nanos() >= at)
    }

    /// Whether calls pass of which the word does not say so.
    #[inline(never)]
    pub(super) fn is_passing_now(this: &Shared) -> bool {
        let circuit = this.core();
        (circuit.word().is_timed() && !circuit.may_be_overdue())
            || Self::apply(this, Machine::would_admit)
    }

    /// A place for a call that does not pass by the word, or `None`.
    #[inline(never)]
    pub(super) fn admit_now(this: &Shared) -> Option<Ticket> {
        let circuit = this.core();
        let word = circuit.word();
        if word.is_timed() && !circuit.may_be_overdue() {
            return Some(word.ticket());
        }
        Self::apply(this, Machine::admit)
    }

    /// Whether calls pass without a place of their own, where it matters whether others hang.
    pub(super) fn is_closed_now(this: &Shared) -> bool {
        let circuit = this.core();
        if circuit.word().is_timed() && circuit.may_be_overdue() {
            Self::apply(this, Machine::tick);
        }
        circuit.word().is_timed()
    }

    /// How many calls of this generation are overdue. Asked under the lock of the machine.
    #[inline]
    pub(super) fn overdue(this: &Shared, generation: u64) -> u64 {
        match this.core().slow_after() {
            u64::MAX => 0,
            slow_after => Self::count_overdue(this, generation, slow_after.div_ceil(MICRO)),
        }
    }

    #[inline(never)]
    fn count_overdue(this: &Shared, generation: u64, slow_after: u64) -> u64 {
        let circuit = this.core();
        let now = circuit.clock.nanos() / MICRO;
        // Before the first of them is looked at: see the alarm.
        circuit.alarm.clear();
        this.sum(|counts| {
            let (overdue, next) = counts.overdue(generation, slow_after, now);
            if let Some(next) = next {
                circuit.alarm.set(next.saturating_mul(MICRO));
            }
            overdue
        })
    }
}
