//! Events and counters: one vocabulary for every layer.
//!
//! Guide: [observing](../_guide/observing/index.html).
//!
//! # When to use
//! To act on what a stack does: an alert when a circuit opens, a metric for each attempt, a line on an
//! admin page. One [`Events`] value takes the events of all the layers that it is given to, and tells
//! them to any number of listeners. What only has to be read by people is logged with `tracing`
//! already. A [`History`] keeps the last events. To read a state instead of following it, use the handle of
//! the layer.
//!
//! | layer | events |
//! |---|---|
//! | circuit breaker | [`Circuit`](EventKind::Circuit) |
//! | health gate | [`Health`](EventKind::Health) |
//! | failover, retry | [`Attempt`](EventKind::Attempt), [`Hedge`](EventKind::Hedge), [`Wait`](EventKind::Wait), [`BudgetEmpty`](EventKind::BudgetEmpty), [`Timeout`](EventKind::Timeout) |
//! | balance | [`Members`](EventKind::Members), [`HealthIgnored`](EventKind::HealthIgnored), [`ZonesIgnored`](EventKind::ZonesIgnored), [`Ejection`](EventKind::Ejection), [`Reconnect`](EventKind::Reconnect), [`SessionMoved`](EventKind::SessionMoved) |
//! | rate and concurrency limit | [`Queue`](EventKind::Queue) |
//!
//! # Example
//! ```
//! use tower_upstream::{
//!     CircuitBreakerLayer,
//!     telemetry::{Event, EventKind, Events},
//! };
//!
//! let events = Events::new();
//! let listening = events.subscribe(|event: &Event| {
//!     if let EventKind::Circuit { from, to, .. } = &event.kind {
//!         println!("{:?}: {from} -> {to}", event.endpoint);
//!     }
//! });
//! let layer = CircuitBreakerLayer::default().with_events(&events);
//! layer.handle().force_open();
//! drop(listening);
//! ```
//!
//! # Bounds
//! At most 1,024 events wait for listeners that are slow; of more, the oldest are lost, which is logged
//! at `WARN`.

mod event;
mod events;
mod history;
mod reporter;
pub(crate) mod state;
mod stats;

pub use self::{
    event::{Event, EventKind},
    events::{Events, Subscription},
    history::History,
    stats::Stats,
};
pub(crate) use self::{events::WatchListeners, reporter::Reporter};
