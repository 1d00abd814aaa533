use std::{sync::Arc, time::Duration};

use super::state::CircuitState;
use crate::{
    error::Kind,
    time::{self, Instant},
};

/// Something that happened in a layer.
///
/// ```
/// use tower_upstream::telemetry::Event;
/// fn line(event: &Event) -> String {
///     format!("{} {}: {:?}", event.layer.as_deref().unwrap_or("-"), event.endpoint.as_deref().unwrap_or("-"), event.kind)
/// }
/// # let _ = line;
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Time of the event. Of one that time brings, such as a circuit that becomes half-open, the time
    /// when it was due.
    pub at: Instant,
    /// Name of the layer, if it was given one with `named`.
    pub layer: Option<Arc<str>>,
    /// Key of the endpoint that the event is about. Of a call that is sent again, or is not, that of the
    /// attempt that failed, or took long.
    pub endpoint: Option<Arc<str>>,
    /// Label of the key that the event is about, for circuits by key that have labels.
    pub key: Option<Arc<str>>,
}

/// What happened.
///
/// ```
/// use tower_upstream::telemetry::EventKind;
/// assert_eq!(EventKind::BudgetEmpty.as_str(), "budget_empty");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit went from one state to another.
    #[non_exhaustive]
    Circuit {
        /// The state that it left.
        from: CircuitState,
        /// The state that it is in.
        to: CircuitState,
        /// Number of the new state, counted from when the circuit was made. A reset counts, too.
        generation: u64,
    },
    /// An endpoint became healthy or unhealthy.
    #[non_exhaustive]
    Health {
        /// Whether it is healthy now.
        healthy: bool,
        /// Why it is not, as its check said.
        reason: Option<Arc<str>>,
    },
    /// A call was sent again.
    #[non_exhaustive]
    Attempt {
        /// Number of the attempt that begins, from 2. One that takes the place of an attempt for free,
        /// after a refusal or on a dead idle connection, has the number of that attempt.
        number: u32,
        /// Kind of the error of the attempt before, `None` if that was an answer.
        after: Option<Kind>,
    },
    /// A call was sent to another endpoint as well, since the one of the event took long.
    #[non_exhaustive]
    Hedge {
        /// Number of the attempt that begins, from 2.
        number: u32,
        /// How long the other attempt had no answer.
        delay: Duration,
    },
    /// A call waits before it is sent again.
    #[non_exhaustive]
    Wait {
        /// Number of the attempt that comes after the wait, from 2.
        number: u32,
        /// How long it waits.
        delay: Duration,
    },
    /// A call was not sent again, because its retry budget was spent.
    BudgetEmpty,
    /// The deadline of a call, or the time limit for all of its attempts, ended it.
    #[non_exhaustive]
    Timeout {
        /// How many attempts it had made.
        attempts: u32,
    },
    /// A balanced set has other members.
    #[non_exhaustive]
    Members {
        /// How many members it has.
        total: usize,
    },
    /// A balanced set began, or ceased, to ignore health, because too few of its members are healthy.
    #[non_exhaustive]
    HealthIgnored {
        /// Whether it ignores health now.
        ignored: bool,
    },
    /// A balanced set ejected an endpoint whose calls fail, or ended that.
    #[non_exhaustive]
    Ejection {
        /// Whether it is ejected now.
        ejected: bool,
        /// How long the ejection lasts at most, if time ends it. `None` of one that an operator ends.
        lasts: Option<Duration>,
    },
    /// A balanced set began, or ceased, to ignore the zones of its endpoints, or the hints at zones, because
    /// some endpoints have none, or no hint names the zone of the caller.
    #[non_exhaustive]
    ZonesIgnored {
        /// Whether it ignores them now.
        ignored: bool,
    },
    /// The service of a member is dead, and is connected anew.
    #[non_exhaustive]
    Reconnect {
        /// How long the set waits before it connects.
        delay: Duration,
    },
    /// A session belongs to the endpoint of the event from now on, since its own could not take a call.
    SessionMoved,
    /// A call began to wait for its turn at a limit.
    #[non_exhaustive]
    Queue {
        /// How many calls wait now.
        waiting: usize,
    },
}

impl EventKind {
    /// Returns the name of this kind, as a metric or a log would call it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Circuit { .. } => "circuit",
            Self::Health { .. } => "health",
            Self::Attempt { .. } => "attempt",
            Self::Hedge { .. } => "hedge",
            Self::Wait { .. } => "wait",
            Self::BudgetEmpty => "budget_empty",
            Self::Timeout { .. } => "timeout",
            Self::Members { .. } => "members",
            Self::HealthIgnored { .. } => "health_ignored",
            Self::Ejection { .. } => "ejection",
            Self::ZonesIgnored { .. } => "zones_ignored",
            Self::Reconnect { .. } => "reconnect",
            Self::SessionMoved => "sticky_rebind",
            Self::Queue { .. } => "queue",
        }
    }
}

impl Event {
    /// An event of a moment ago.
    pub(crate) fn new(kind: EventKind) -> Self {
        Self { kind, at: time::now(), layer: None, endpoint: None, key: None }
    }

    pub(crate) fn at(self, at: Instant) -> Self {
        Self { at, ..self }
    }

    pub(crate) fn of_layer(self, layer: Option<&Arc<str>>) -> Self {
        Self { layer: layer.cloned(), ..self }
    }

    pub(crate) fn of_endpoint(self, endpoint: Option<&Arc<str>>) -> Self {
        Self { endpoint: endpoint.cloned(), ..self }
    }

    pub(crate) fn of_key(self, key: Option<&Arc<str>>) -> Self {
        Self { key: key.cloned(), ..self }
    }
}
