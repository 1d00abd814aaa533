//! What follows from a rule: the word, then vetoes, waiters and the timer, then listeners.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use super::{
    CircuitBreakerConfig, CircuitState,
    circuit::{Circuit, Kept, Shared},
    core::World,
    machine::{Machine, Now, counts::Counts},
    transition::Change,
};
use crate::{
    guard::{Configured, Newest},
    member::Member,
    sync::lock,
    time,
};

/// In nanoseconds. See [`Circuit::may_be_over`].
const EARLY: u64 = 1_000_000;

impl World for Shared {
    fn now(&self, generation: u64) -> Now {
        Now {
            nanos: time::nanos(time::now().saturating_duration_since(self.core().base)),
            good: self.sum(Counts::good),
            generation,
            overdue: Circuit::overdue(self, generation),
        }
    }

    fn publish(&self, machine: &mut Machine, change: Change, now: Now) {
        if machine.begins_to_watch(now) {
            self.each(Counts::look_soon);
        }
        if change.turned {
            let circuit = self.core();
            machine.random = circuit.circuits().random.fraction();
            self.each(|counts| counts.turn(change.generation));
            let until = time::stamp(circuit.at(machine.until()));
            circuit.until.store(until, Ordering::Relaxed);
            let wait = machine.until().saturating_sub(now.nanos).saturating_sub(EARLY);
            let surely = circuit.clock.nanos().saturating_add(wait);
            circuit.surely_open_until.store(surely, Ordering::Relaxed);
        }
    }

    fn note(&self, machine: &Machine, change: Change) {
        let circuit = self.core();
        let at = circuit.at(machine.turned_at());
        circuit.circuits().told.note(circuit.subject(), change, at);
    }
}

impl Circuit {
    /// Runs a rule, and has the world follow; listeners are told outside of all locks.
    #[inline(never)]
    pub(super) fn apply<R>(this: &Shared, rule: impl FnOnce(&mut Machine, Now) -> R) -> R {
        let circuit = this.core();
        let (result, change) = circuit.core.apply(this, rule);
        if change.shows() {
            Self::show(this);
        }
        if change.turned {
            circuit.circuits().told.deliver(circuit.subject(), change);
        }
        result
    }

    /// Makes vetoes, the timer and waiters follow. Whichever comes last shows the last state, in whatever
    /// order transitions got here.
    fn show(this: &Shared) {
        let circuit = this.core();
        let mut shown = lock(&circuit.shown);
        let (state, generation, is_full, due) = circuit.core.read(|machine| {
            (machine.state(), machine.generation(), machine.is_full(), machine.due())
        });
        let turned = std::mem::replace(&mut shown.generation, generation) != generation;
        let due = due.map(|due| circuit.at(due));
        if let Some(timer) = &circuit.circuits().timer {
            let before = std::mem::replace(&mut shown.timer, due);
            if before != due {
                let next = due.map(|due| (due, Arc::downgrade(&this.take())));
                timer.set(circuit.number(), before, next);
            }
        }
        if let Some(bound) = &circuit.bound {
            match (state, due) {
                (CircuitState::Open, Some(until)) if turned => bound.open.raise_until(until),
                (CircuitState::Open, _) => {}
                (CircuitState::ForcedOpen, _) => bound.open.raise(),
                _ => bound.open.clear(),
            }
            match due.filter(|_| state == CircuitState::HalfOpen && is_full) {
                // Not for good: the probes may not be polled any more, and a circuit that the balancer
                // skips is not asked.
                Some(end) => bound.busy.raise_until(end),
                None => bound.busy.clear(),
            }
        }
        drop(shown);
        // What waits and asks once more in vain shall not wake itself by that.
        if turned || !is_full {
            circuit.waiting.wake_all();
        }
    }
}

/// New settings, from this moment on.
impl Configured<CircuitBreakerConfig> for Kept {
    fn apply(self: Arc<Self>, newest: &Newest<CircuitBreakerConfig>) {
        let this = Shared::of(self);
        Circuit::apply(&this, |machine, now| {
            machine.update(newest.get(), now);
            this.core().set_times(machine.config());
        });
        // All look at the clock with their next call, and find their stride anew; and what was no
        // reason to look may be one now.
        this.each(Counts::look_soon);
        this.core().alarm.set(0);
    }

    fn member(&self) -> Option<&Arc<Member>> {
        self.core().bound.as_ref().map(|bound| bound.open.member())
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let before = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner).timer.take();
        if let (Some(timer), Some(_)) = (&self.circuits().timer, before) {
            timer.set(self.number(), before, None);
        }
    }
}
