//! Where an error goes before it becomes a response.

use std::{error::Error as StdError, fmt, sync::Arc};

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
                tracing::debug!(%error, sources = %Sources(error), "a call was turned away");
            }
            None => tracing::warn!(%error, sources = %Sources(error), "a call failed"),
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").field("logs", &self.listener.is_none()).finish()
    }
}

/// The sources of an error, from the nearest on.
struct Sources<'a>(&'a Error);

impl fmt::Display for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = std::iter::successors(self.0.source(), |&source| source.source());
        for (index, source) in sources.enumerate() {
            let between = if index == 0 { "" } else { ": " };
            write!(f, "{between}{source}")?;
        }
        Ok(())
    }
}
