use std::sync::Arc;

use super::{Event, EventKind, Events};

/// The name of a layer, and where its events go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reporter {
    name: Option<Arc<str>>,
    events: Option<Events>,
}

impl Reporter {
    pub(crate) fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    pub(crate) fn with_events(self, events: &Events) -> Self {
        Self { events: Some(events.clone()), ..self }
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Tells listeners, if there are any. Never under a lock.
    #[cold]
    pub(crate) fn emit(&self, endpoint: Option<&Arc<str>>, kind: impl FnOnce() -> EventKind) {
        if let Some(events) = &self.events {
            let event = || Event::new(kind()).of_layer(self.name()).of_endpoint(endpoint);
            events.emit(event);
        }
    }
}
