//! What a circuit did, and how that is told: in the log, and as an event.

use std::sync::Arc;

use super::CircuitState;
use crate::{
    telemetry::{Event, EventKind, Events},
    time::Instant,
};

/// What a rule did to a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: CircuitState,
    pub(super) to: CircuitState,
    pub(super) generation: u64,
    /// It is in another generation than before.
    pub(super) turned: bool,
}

impl Change {
    /// Whether vetoes and waiters may have to follow.
    pub(super) fn shows(self) -> bool {
        self.turned || self.to == CircuitState::HalfOpen
    }
}

/// What a layer value is given beside its config: what its circuits are told of by, and their seed.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) name: Option<Arc<str>>,
    pub(super) events: Option<Events>,
    pub(super) seed: Option<u64>,
}

/// Which circuit it is: of an endpoint, or of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) endpoint: Option<&'a Arc<str>>,
    pub(super) key: Option<&'a Arc<str>>,
}

impl Told {
    /// Under the lock under which it happened, so that events are in order. A reset of what is closed is
    /// no event.
    pub(super) fn note(&self, of: Subject<'_>, change: Change, at: Instant) {
        let Change { from, to, generation, .. } = change;
        if let Some(events) = self.events.as_ref().filter(|_| from != to) {
            events.note(|| {
                let event = Event::new(EventKind::Circuit { from, to, generation }).at(at);
                event.of_layer(self.name.as_ref()).of_endpoint(of.endpoint).of_key(of.key)
            });
        }
    }

    /// Outside of all locks.
    #[cold]
    pub(super) fn deliver(&self, of: Subject<'_>, Change { from, to, .. }: Change) {
        let layer = self.name.as_deref();
        let (endpoint, key) = (of.endpoint.map(|key| &**key), of.key.map(|key| &**key));
        match to {
            CircuitState::Open | CircuitState::ForcedOpen => {
                tracing::warn!(layer, endpoint, key, %from, %to, "circuit opened");
            }
            CircuitState::Closed if from != to => {
                tracing::info!(layer, endpoint, key, %from, %to, "circuit closed");
            }
            _ => tracing::debug!(layer, endpoint, key, %from, %to, "circuit changed"),
        }
        if let Some(events) = &self.events {
            events.deliver();
        }
    }
}
