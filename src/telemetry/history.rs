use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use super::{Event, Events, Subscription};
use crate::sync::lock;

/// The last events of an [`Events`], for an admin page or a test.
///
/// It is a listener, so layers make events from then on, and it keeps none from before. Dropping it ends its
/// subscription.
///
/// # Bounds
/// As many events as its capacity. Default: 1,024; of more, the oldest are dropped.
///
/// ```
/// use tower_upstream::{
///     CircuitBreakerLayer,
///     telemetry::{Events, History},
/// };
///
/// let events = Events::new();
/// let history = History::new(&events);
/// CircuitBreakerLayer::default().with_events(&events).handle().force_open();
/// let last: Vec<_> = history.last(10).iter().map(|event| event.kind.as_str()).collect();
/// assert_eq!(last, ["circuit"]);
/// ```
pub struct History {
    events: Arc<Mutex<VecDeque<Event>>>,
    capacity: usize,
    _listening: Subscription,
}

const CAPACITY: usize = 1_024;
const MAX_CAPACITY: usize = 1 << 20;

impl History {
    /// Keeps the last 1,024 events.
    pub fn new(events: &Events) -> Self {
        Self::with_capacity(events, CAPACITY)
    }

    /// Keeps the last `capacity` events, from 1 to 1,048,576. A number out of range becomes the nearest one.
    pub fn with_capacity(events: &Events, capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_CAPACITY);
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let keeps = kept.clone();
        let listener = move |event: &Event| {
            let mut kept = lock(&keeps);
            // Dropped after the lock is released.
            let _oldest = (kept.len() == capacity).then(|| kept.pop_front());
            kept.push_back(event.clone());
            drop(kept);
        };
        Self { events: kept, capacity, _listening: events.subscribe(listener) }
    }

    /// Returns the newest events, at most `limit`, the oldest of them first.
    pub fn last(&self, limit: usize) -> Vec<Event> {
        let events = lock(&self.events);
        let skipped = events.len().saturating_sub(limit);
        events.iter().skip(skipped).cloned().collect()
    }

    /// Returns all events that are kept, the oldest first.
    pub fn all(&self) -> Vec<Event> {
        self.last(self.capacity)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = lock(&self.events).len();
        f.debug_struct("History")
            .field("events", &events)
            .field("capacity", &self.capacity)
            .finish()
    }
}
