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
//!             `failures` in a row, of at least `min_calls`
//!   ┌────────┐ ─────────────────────────────────────────► ┌──────┐
//!   │ closed │                                            │ open │ ◄─┐
//!   └────────┘ ◄──────────────┐              `open_for`   └──────┘   │
//!                             │                 passed │             │ any failure, or a
//!            `successes`      │                        ▼             │ probe past
//!                             │                  ┌───────────┐       │ `probe_timeout`
//!                             └───────────────── │ half-open │ ──────┘
//!                                                └───────────┘
//!                                           `probes` calls at once
//! ```
//! Each transition begins a new generation. The result of a call that was admitted in an older one
//! changes nothing but totals, so an answer that comes late neither closes a circuit nor opens it.
//! A call that is dropped counts as neither good nor bad, and gives its probe place back.
//!
//! An open circuit becomes half-open when its time has come, also without traffic.
//!
//! # What counts
//! By default every `Err` is a failure, except what a plugin answered, what a guard of this crate
//! refused, and what was never sent for the caller's own reason. An HTTP response is an answer
//! whatever its status: give [`with_classify`](CircuitBreakerLayer::with_classify) an
//! `HttpClassify`.

mod admitted;
mod circuit;
mod config;
mod core;
mod counts;
mod future;
mod handle;
mod keyed;
mod keys;
mod layer;
mod machine;
#[cfg(test)]
mod machine_tests;
mod policy;
mod service;
mod window;
mod word;

pub use self::{
    config::{Cancelled, CircuitBreakerConfig, Window},
    future::ResponseFuture,
    handle::{CircuitBreakerHandle, CircuitBreakerStats, WindowStats},
    keyed::{KeyedCircuitBreaker, KeyedCircuitBreakerLayer},
    layer::CircuitBreakerLayer,
    policy::Transition,
    service::CircuitBreaker,
    word::CircuitState,
};
