//! Stops calling what keeps failing.
//!
//! # When to use
//! Below a [`BalanceLayer`](crate::balance::BalanceLayer), so that each endpoint has a circuit of
//! its own: while it is open the balancer passes the endpoint over. Over a single client it is the
//! one circuit of that client, and refuses with [`Kind::CircuitOpen`](crate::error::Kind::CircuitOpen).
//! Against an endpoint that is slow rather than failing, prefer a strategy that reads the load.
//!
//! # How it works
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
//! A [`Window`] of calls is a ring that forgets the oldest with each new one; a window of time is ten
//! buckets. A ratio counts as soon as the window holds `min_calls`, full or not, and opens the circuit
//! when it is reached, not only when it is passed. While half-open neither window counts: of the first
//! `successes + probe_failures` calls so many must be good, and it decides as soon as that is certain.
//! A call that is slow but good counts as good there; if `slow_ratio` of the calls that ended were slow
//! when `successes` is reached, the circuit opens again instead of closing.
//!
//! A call counts as slow once it has taken `slow_after`, also while it is still in flight: where
//! `slow_ratio` is on, calls that hang open the circuit for the next call, and for
//! [`state`](CircuitBreakerHandle::state) and [`stats`](CircuitBreakerHandle::stats), at most a
//! fifteenth of `slow_after` late. Each call counts once, whether it hangs or has ended. The time
//! of a call begins when its future first returns `Pending`: a call that blocks its thread in its first
//! poll is never slow.
//!
//! Each transition begins a new generation. The result of a call that was admitted in an older one
//! changes nothing but totals, so an answer that comes late neither closes a circuit nor opens it. A
//! call that is dropped gives its probe place back, and counts as
//! [`cancelled`](CircuitBreakerConfig::cancelled) says; one that panics has failed.
//!
//! An open circuit becomes half-open when its time has come, also without traffic.
//!
//! # Timeouts
//! * The attempt timeout of a `FailoverLayer` above the breaker
//!   ([`Attempts::timeout`](crate::Attempts::timeout)) is a failure of the endpoint, and counts as one.
//! * A deadline of the request, an overall limit, and a caller that leaves drop the call: that counts as
//!   [`cancelled`](CircuitBreakerConfig::cancelled) says, by default as a failure only after `slow_after`.
//! * A timeout of another crate above the breaker also only drops the call. Put it below the breaker, set
//!   `slow_after` under it, or set `cancelled` to [`Cancelled::Failure`]; otherwise an endpoint that hangs
//!   forever never counts as failed.
//! * In a task of its own (`tokio::spawn`) a call is dropped elsewhere and later, so there an attempt
//!   timeout counts as cancelled, too. Behind tower's `Buffer` it is a failure, since the caller polls
//!   and drops the calls that the worker has begun.
//!
//! # What counts
//! By default every `Err` is a failure, except what a plugin answered, what a guard of this crate
//! refused, and what was never sent for the caller's own reason. An overload counts as a failure, also
//! among those in a row: endpoints that shed load need a higher `failures`, or none. An HTTP response is an answer
//! whatever its status: give [`with_classify`](CircuitBreakerLayer::with_classify) an
//! `HttpClassify`, or use `until_body_end` where only the end of the body tells.
//!
//! # What is logged
//! With `tracing`, under targets that begin with `tower_upstream::breaker`: a circuit that opens at
//! `WARN`, also when it opens again or is forced open; one that closes at `INFO`; every other transition
//! at `DEBUG`. Each event has the fields `endpoint` (below a balancer), `from` and `to`.
//!
//! # What it costs
//! A good call of a closed circuit writes one counter, of its own thread where the circuit stands
//! alone, and reads no clock but for a few in each bucket of a window of time: good calls are held back
//! there, at most one in 64 of a bucket, and at most 255 for each processor, until one of them or a
//! failure moves all into the window. A failure takes a short lock. Calls are timed only where it
//! matters whether they are slow, and only those that are not done at once. Where `slow_ratio` is on,
//! such a call also takes a short lock when it first waits and when it ends: of its threads where the
//! circuit stands alone, else one of several of the circuit, so that two calls seldom want the same. Each
//! call that is let through may then read the clock. No call has a timer; only a layer with a listener has one task,
//! which waits for the next transition that time brings.

mod admission;
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
mod service;
mod settle;
mod timer;
mod transition;

pub use self::{
    admission::Admission,
    config::{Cancelled, CircuitBreakerConfig, Window},
    future::{Judging, ResponseFuture},
    handle::{CircuitBreakerHandle, CircuitHandle, WindowStats},
    keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerHandle, KeyedCircuitBreakerLayer},
    layer::CircuitBreakerLayer,
    service::CircuitBreaker,
    settle::{AtResponse, Settle},
};
pub use crate::telemetry::state::CircuitState;
