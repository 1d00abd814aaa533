//! Where an error goes before it becomes a response.

use std::{fmt, sync::Arc};

use crate::error::Error;

type Listener = Arc<dyn Fn(&Error) + Send + Sync>;

/// Logs errors, or gives them to a closure.
#[derive(Clone, Default)]
pub(super) struct Teller {
    listener: Option<Listener>,
}

impl Teller {
    pub(super) fn to(listener: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)) }
    }

    pub(super) fn tell(&self, error: &Error) {
        match &self.listener {
            Some(listener) => listener(error),
            // Refusals come by the thousand, and what a client does wrong is its own affair.
            None if error.is_refused() || error.http_status().is_client_error() => {
                tracing::debug!(%error, guard = error.guard(), "a call was turned away");
            }
            None => tracing::warn!(%error, "a call failed"),
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("logs", &self.listener.is_none()).finish()
    }
}
