use std::{fmt, sync::Arc, time::Duration};

use super::{
    shared::{Health, Shared},
    source::Source,
};
use crate::{
    discover::EndpointSet,
    error::Error,
    sync::lock,
    time::{self, Instant},
};

/// Handle to the state of a watch: which set is in use, how old it is, and what went wrong.
///
/// It does not keep the watch running.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::WatchHandle;
///
/// fn is_worrying<S: tower_upstream::discover::Source>(handle: &WatchHandle<S>) -> bool {
///     handle.staleness().is_none_or(|age| age > Duration::from_secs(300))
/// }
/// # struct Never;
/// # impl tower_upstream::discover::Source for Never {
/// #     type State = ();
/// #     fn name(&self) -> String { "never".into() }
/// #     async fn observe(&self, _: &mut ()) -> Result<tower_upstream::discover::Observation, tower_upstream::BoxError> { std::future::pending().await }
/// # }
/// let handle = tower_upstream::discover::Watched::new(Never).handle();
/// assert!(is_worrying(&handle) && handle.last_error().is_none());
/// ```
pub struct WatchHandle<S> {
    shared: Arc<Shared<S>>,
}

impl<S: Source> WatchHandle<S> {
    pub(super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Returns the set that is in use, or `None` before the first answer.
    pub fn set(&self) -> Option<EndpointSet> {
        self.shared.sets.borrow().set.clone()
    }

    /// Returns the time since the last answer of the backend, or `None` before the first one.
    ///
    /// While a backend that announces changes is quiet, this grows up to the time for which it waits, or half
    /// of [`max_stale`](super::WatchConfig::max_stale).
    pub fn staleness(&self) -> Option<Duration> {
        self.health().answered_at.map(|at| time::now().saturating_duration_since(at))
    }

    /// Returns the error of the last observation, or `None` if it succeeded.
    pub fn last_error(&self) -> Option<Error> {
        self.health().error
    }

    /// Returns how many observations have failed in a row.
    pub fn failures(&self) -> u32 {
        self.health().failures
    }

    /// Returns until when endpoints stay in use that the backend does not report any more, because too
    /// many of them went at once.
    pub fn doubt_until(&self) -> Option<Instant> {
        self.health().doubt_until
    }

    /// Returns whether the backend is being observed: whether there is a user.
    pub fn is_running(&self) -> bool {
        self.shared.sets.receiver_count() > 0
    }

    fn health(&self) -> Health {
        lock(&self.shared.health).clone()
    }
}

impl<S> Clone for WatchHandle<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Source> fmt::Debug for WatchHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchHandle")
            .field("source", &self.shared.source.name())
            .field("endpoints", &self.set().map(|set| set.len()))
            .field("health", &self.health())
            .finish()
    }
}
