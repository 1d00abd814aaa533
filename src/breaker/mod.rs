//! Stops calling an endpoint, or a service, that keeps failing.
//!
//! Guides: [the order of layers](../_guide/order/index.html), [observing](../_guide/observing/index.html),
//! [coming from elsewhere](../_guide/from/index.html).
//!
//! # When to use
//! * Below a [`BalanceLayer`](crate::balance::BalanceLayer), for a circuit of each endpoint: while it is
//!   open, the balancer skips the endpoint.
//! * Over a single client, for one circuit of that client: while it is open, calls are refused with
//!   [`Kind::CircuitOpen`](crate::error::Kind::CircuitOpen).
//! * By a [key](CircuitBreakerLayer::by_key) of the request, for a circuit of each host, tenant or route.
//! * Without a service, for calls that are no requests, such as jobs:
//!   [`CircuitHandle::try_acquire`] on the handle of a layer.
//! * Without rules ([`CircuitBreakerLayer::manual`]), as a switch for an admin page or for rules of yours.
//!
//! Against an endpoint that is slow rather than failing, prefer a strategy that reads the load. Against
//! too many calls, use the [limits](crate::limit).
//!
//! # Differences from other breakers
//! tower and tower-http have none. What most breakers of other crates do not do:
//! * Below a balancer, an open circuit makes its endpoint not eligible, and becomes half-open without
//!   traffic.
//! * A call that is dropped gives its half-open place back, and a result that comes late changes no later
//!   state.
//! * A refusal says when to come back, and counts against nothing.
//! * Windows of calls and of time slide: old calls leave the window, whether it was full or not.
//! * Calls that hang count as slow while they hang.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, error::Kind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let config = CircuitBreakerConfig::consecutive(2).with_open_for(Duration::from_secs(10));
//! let client = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(config))
//!     .service(service_fn(async |_: u32| Err::<u32, BoxError>("down".into())));
//! for _ in 0..2 {
//!     assert_eq!(client.clone().oneshot(1).await.unwrap_err().kind(), Kind::Service);
//! }
//! let refusal = client.oneshot(1).await.unwrap_err();
//! assert_eq!(refusal.kind(), Kind::CircuitOpen);
//! assert!(refusal.retry_after().is_some());
//! # }
//! ```
//!
//! # States
//! ```text
//!             `failures` in a row, or
//!             `failure_ratio` or `slow_ratio` of the `window`
//!   ┌────────┐ ─────────────────────────────────────────► ┌──────┐
//!   │ closed │                                            │ open │ ◄─┐
//!   └────────┘ ◄──────────────┐              `open_for`,  └──────┘   │ more than
//!                             │          then ever longer │          │ `probe_failures`, or
//!            `successes`      │                           ▼          │ one that is stuck for
//!                             │                  ┌───────────┐       │ `half_open_for`
//!                             └───────────────── │ half-open │ ──────┘
//!                                                └───────────┘
//!                                           `probes` calls at once
//! ```
//! [Handles](CircuitHandle) add three states that stay until they are ended: forced open, disabled, and
//! metrics only.
//!
//! A [`Window`] of calls is a ring that forgets the oldest call with each new one; a window of time is ten
//! buckets. A ratio counts as soon as the window holds `min_calls`, full or not, and opens the circuit
//! when it is reached, not only when it is exceeded. While half-open neither window counts: of the first
//! `successes + probe_failures` calls, `successes` must be good, and the circuit decides as soon as that is
//! certain. A call that is slow but good counts as good there; if `slow_ratio` of the calls that ended were
//! slow when `successes` is reached, the circuit opens again instead of closing.
//!
//! A call counts as slow once it has taken `slow_after`, also while it is still in flight: where
//! `slow_ratio` is on, calls that hang open the circuit for the next call, and for
//! [`state`](CircuitHandle::state) and [`window`](CircuitHandle::window), at most a fifteenth of
//! `slow_after` late. Each call counts once, whether it hangs or has ended. The time of a call begins when
//! its future first returns `Pending`: a call that blocks its thread in its first poll is never slow.
//!
//! Each transition begins a new generation. The result of a call that was admitted in an older one
//! changes nothing but totals, so an answer that comes late neither closes a circuit nor opens it.
//!
//! An open circuit becomes half-open when its time is over, also without traffic.
//!
//! # What counts
//! By default every `Err` is a failure, except what a plugin answered. Whatever the rule says, these count as
//! nothing: what a guard of this crate refused, a mistake of the caller, such as a body that breaks off, an error
//! of this crate that says that the deadline of the call cut it short, and a connection that had been idle and
//! was dead. An overload counts as a failure, also among those in a row: endpoints that shed load need a higher `failures`, or none. An HTTP response is an
//! answer whatever its status: give [`with_classify`](CircuitBreakerLayer::with_classify) an
//! `HttpClassify`, or use `until_body_end` if only the end of the body decides. A call that panics has
//! failed.
//!
//! # Cancel safety
//! A call that is dropped gives its half-open place back, and counts as
//! [`cancelled`](CircuitBreakerConfig::cancelled) says. So what stands around the breaker decides:
//! * The attempt timeout of a `FailoverLayer` above the breaker
//!   ([`Attempts::timeout`](crate::Attempts::timeout)) is a failure of the endpoint, and counts as one.
//! * A deadline of the request, an overall limit, and a caller that leaves drop the call: by default that is
//!   a failure only after `slow_after`.
//! * A timeout of another crate above the breaker also only drops the call. Put it below the breaker, set
//!   `slow_after` under it, or set `cancelled` to [`Cancelled::Failure`]; otherwise an endpoint that hangs
//!   forever never counts as failed.
//! * In a task of its own (`tokio::spawn`) a call is dropped elsewhere and later, so there an attempt
//!   timeout counts as cancelled, too. Behind tower's `Buffer` it is a failure, since the caller polls
//!   and drops the calls that the worker has begun.
//!
//! # Bounds
//! A circuit takes about a kilobyte, and two bits more for each call of a window of calls. Circuits by key
//! are [at most 10,000](KeyedCircuitBreakerLayer), unless set otherwise. Every time is at most a day.
//!
//! # What is logged
//! With `tracing`, under targets that begin with `tower_upstream::breaker`: a circuit that opens at
//! `WARN`, also when it opens again or is forced open; one that closes at `INFO`; every other transition
//! at `DEBUG`. Each event has the fields `from` and `to`; where known, also `layer`, `endpoint` (below a
//! balancer) and `key` (the label of a key). To act on transitions, use
//! [`with_events`](CircuitBreakerLayer::with_events).
//!
//! # What it costs
//! A good call of a closed circuit writes one counter, of its own thread where the circuit stands
//! alone, and reads no clock but for a few in each bucket of a window of time: good calls are held back
//! there, at most one in 64 of a bucket, and at most 255 for each processor, until one of them or a
//! failure moves all into the window. A failure takes a short lock. Calls are timed only where it
//! matters whether they are slow, and only those that are not done at once. Where `slow_ratio` is on,
//! such a call also takes a short lock when it first waits and when it ends: of its threads where the
//! circuit stands alone, else one of several of the circuit, so that two calls seldom want the same. Each
//! call that is let through may then read the clock. No call has a timer; only a layer whose events are
//! listened to has one task, which waits for the next transition that time brings.

mod apply;
mod bounds;
mod circuit;
mod config;
mod core;
mod future;
mod handle;
mod in_flight;
mod keyed;
mod layer;
mod machine;
mod overdue;
mod pending;
mod permit;
mod service;
mod settle;
mod timer;
mod transition;

pub use self::{
    config::{Cancelled, CircuitBreakerConfig, Window},
    future::{Judging, ResponseFuture},
    handle::{CircuitBreakerHandle, CircuitHandle, WindowStats},
    keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer},
    layer::CircuitBreakerLayer,
    permit::Permit,
    service::CircuitBreaker,
    settle::{AtResponse, Settle},
};
pub use crate::telemetry::state::CircuitState;
