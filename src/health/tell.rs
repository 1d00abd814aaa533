//! Tells a listener who is healthy.

use std::{fmt, sync::Arc};

use super::roster::Roster;
use crate::{endpoint::Endpoint, sync::EventQueue};

/// The healthy targets of a layer, as a listener of [`on_change`](super::HealthGateLayer::on_change) is told them.
///
/// ```
/// use tower_upstream::health::HealthySet;
/// fn report(set: &HealthySet) -> String {
///     let keys: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.key()).collect();
///     format!("{} of {}: {}", set.healthy, set.total, keys.join(", "))
/// }
/// # let _ = report;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HealthySet {
    /// The healthy endpoints, in the order of their keys. A gate above a balancer has none.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// How many targets are healthy.
    pub healthy: usize,
    /// How many targets there are.
    pub total: usize,
}

impl HealthySet {
    /// Whether the same are healthy, at the same addresses.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let targets = |set: &Self| {
            let endpoints = set.endpoints.clone().into_iter();
            endpoints.map(|endpoint| (endpoint.shared_key().clone(), endpoint.address().clone()))
        };
        self.healthy == other.healthy && targets(self).eq(targets(other))
    }
}

pub(super) type Listener = Arc<dyn Fn(&HealthySet) + Send + Sync>;

/// Tells one listener, in order and never twice at once, outside of all locks.
///
/// An event is only the number of the run in which there was news. What the news is, is looked up
/// when the listener has time for it, so a slow one is told the latest.
pub(super) struct Teller {
    pub(super) listener: Option<Listener>,
    events: EventQueue<u64>,
}

impl Teller {
    pub(super) fn new(listener: Option<Listener>, roster: &Arc<Roster>) -> Self {
        let tell = listener.clone().map(|listener| {
            let roster = roster.clone();
            Arc::new(move |run| {
                if let Some((set, _telling)) = roster.news(run) {
                    listener(&set);
                }
            }) as Arc<dyn Fn(u64) + Send + Sync>
        });
        Self { listener, events: EventQueue::new(tell) }
    }

    /// Notes that there was news in `run`.
    pub(super) fn note(&self, run: u64) {
        self.events.note(run);
    }

    /// Runs the listener. It may block.
    pub(super) fn deliver(&self) {
        self.events.deliver();
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.fmt(f)
    }
}
