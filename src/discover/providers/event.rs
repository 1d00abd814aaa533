use std::{collections::VecDeque, sync::Arc};

use crate::{
    error::Error,
    time::{self, Instant},
};

/// Something that happened at a [`Provider`](super::Provider).
///
/// ```
/// use tower_upstream::discover::ProviderEvent;
/// fn line(event: &ProviderEvent) -> String {
///     format!("{} {}", event.endpoint.as_deref().unwrap_or("-"), event.kind.as_str())
/// }
/// # let _ = line;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProviderEvent {
    /// What happened.
    pub kind: ProviderEventKind,
    /// Time of the event.
    pub at: Instant,
    /// Key of the endpoint that the event is about.
    pub endpoint: Option<Arc<str>>,
    /// What went wrong.
    pub error: Option<Error>,
}

/// What happened at a provider.
///
/// ```
/// use tower_upstream::discover::ProviderEventKind;
/// assert_eq!(ProviderEventKind::EndpointUp.as_str(), "endpoint_up");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderEventKind {
    /// An endpoint was registered here.
    Registered,
    /// An endpoint that was registered here was changed.
    Updated,
    /// An endpoint that was registered here was deregistered.
    Deregistered,
    /// An endpoint came that may get calls, or may get them again.
    EndpointUp,
    /// An endpoint went, drains, or is critical.
    EndpointDown,
    /// The backend did not do what it was asked for.
    Failed,
}

impl ProviderEventKind {
    /// Returns the name of this kind, as a metric or a log would call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::EndpointUp => "endpoint_up",
            Self::EndpointDown => "endpoint_down",
            Self::Failed => "failed",
        }
    }
}

/// How many are kept.
const MAX_EVENTS: usize = 1_024;

/// The last events, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<ProviderEvent>);

impl Log {
    pub(super) fn note(
        &mut self,
        kind: ProviderEventKind,
        endpoint: Option<Arc<str>>,
        error: Option<Error>,
    ) {
        if self.0.len() == MAX_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(ProviderEvent { kind, at: time::now(), endpoint, error });
    }

    pub(super) fn last(&self, limit: usize) -> Vec<ProviderEvent> {
        self.0.iter().skip(self.0.len().saturating_sub(limit)).cloned().collect()
    }
}
