//! Stops calling what keeps failing.
//!
//! # When to use
//! Below a [`BalanceLayer`](crate::balance::BalanceLayer), so that each endpoint has a circuit of
//! its own: while it is open the balancer passes the endpoint over. Over a single client it is the
//! one circuit of that client, and refuses with [`Kind::CircuitOpen`](crate::Kind::CircuitOpen).
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
//!
//! Each transition begins a new generation. The result of a call that was admitted in an older one
//! changes nothing but totals, so an answer that comes late neither closes a circuit nor opens it. A
//! call that is dropped gives its probe place back, and counts as
//! [`cancelled`](CircuitBreakerConfig::cancelled) says; one that panics has failed.
//!
//! A timeout that stands *outside* a breaker drops the call, and by default that is a failure only
//! after `slow_after`. Put the timeout below the breaker, set `slow_after` under it, or set `cancelled`
//! to [`Cancelled::Failure`]; else an endpoint that hangs for ever is never held against.
//!
//! An open circuit becomes half-open when its time has come, also without traffic.
//!
//! # What counts
//! By default every `Err` is a failure, except what a plugin answered, what a guard of this crate
//! refused, and what was never sent for the caller's own reason. An HTTP response is an answer
//! whatever its status: give [`with_classify`](CircuitBreakerLayer::with_classify) an
//! `HttpClassify`, or use `until_body_end` where only the end of the body tells.
//!
//! # What it costs
//! A good call of a closed circuit writes one counter, of its own thread where the circuit stands
//! alone, and reads no clock but for a few in each bucket of a window of time: good calls are held back
//! there, at most one in 64 of a bucket, and at most 255 for each processor, until one of them or a
//! failure moves all into the window. A failure takes a short lock. Calls are timed only where it
//! matters whether they are slow, and only those that are not done at once.

mod admitted;
#[cfg(feature = "http")]
mod body;
mod bounds;
mod circuit;
mod config;
mod core;
mod counts;
mod future;
mod handle;
mod in_flight;
mod keyed;
mod keys;
mod layer;
mod machine;
#[cfg(test)]
mod machine_tests;
mod overdue;
mod pending;
mod policy;
mod rules;
mod service;
mod settle;
mod timer;
mod trial;
mod window;
mod word;

#[cfg(feature = "http")]
pub use self::body::{AtBodyEnd, JudgedBody};
pub use self::{
    config::{Cancelled, CircuitBreakerConfig, Window},
    future::ResponseFuture,
    handle::{CircuitBreakerHandle, CircuitBreakerStats, WindowStats},
    keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerLayer},
    layer::CircuitBreakerLayer,
    policy::Transition,
    service::CircuitBreaker,
    settle::{AtResponse, Settle},
    word::CircuitState,
};
