//! What the world around is told of a circuit.

use std::sync::Arc;

use super::{Circuit, Shared};
use crate::{
    breaker::{CircuitState, core::Change},
    sync::lock,
    time::Instant,
};

/// What the world around was last told.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Of which the vetoes are.
    generation: u64,
    /// The time that the timer has.
    pub(super) timer: Option<Instant>,
}

impl Circuit {
    #[cold]
    pub(super) fn log(&self, Change { from, to, .. }: Change) {
        let endpoint = self.key().map(|key| &**key);
        match to {
            CircuitState::Open | CircuitState::ForcedOpen => {
                tracing::warn!(endpoint, %from, %to, "circuit opened");
            }
            CircuitState::Closed if from != to => {
                tracing::info!(endpoint, %from, %to, "circuit closed");
            }
            _ => tracing::debug!(endpoint, %from, %to, "circuit changed"),
        }
    }

    /// Makes vetoes, the timer and waiters follow. Whoever comes last shows the last state, in whatever order
    /// transitions got here.
    pub(super) fn show(this: &Shared) {
        let circuit = this.core();
        let mut shown = lock(&circuit.shown);
        let (state, generation, is_full, due) = circuit.core.read(|machine| {
            (machine.state(), machine.generation(), machine.is_full(), machine.due())
        });
        let turned = std::mem::replace(&mut shown.generation, generation) != generation;
        let due = due.map(|due| circuit.at(due));
        if let Some(timer) = circuit.policy.timer() {
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
                // Not for good: nobody may poll the probes any more, and nobody asks a circuit
                // that is passed over.
                Some(end) => bound.busy.raise_until(end),
                None => bound.busy.clear(),
            }
        }
        drop(shown);
        // Who waits and asks once more in vain shall not wake itself by that.
        if turned || !is_full {
            circuit.waiting.wake_all();
        }
    }
}
