//! Limits how many calls run at once.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer), or over a single client, to limit how many
//! calls the whole upstream has at once: a call without a place is refused with
//! [`Kind::Overloaded`](crate::error::Kind::Overloaded), or waits for one
//! ([`ConcurrencyLimitLayer::wait`]). Below a balancer, to limit how many each endpoint has: while it is
//! full, the balancer chooses other endpoints. To limit the rate of calls, use
//! [`RateLimitLayer`](super::RateLimitLayer).
//!
//! # How it works
//! The number of calls in flight and the limit are one atomic word, so the limit can be changed at any
//! time, exactly. A call has its place from `call` until its response is there or is dropped; with
//! `until_body_end` (feature `http`), until its response body ends. Calls that wait are in a queue, and
//! a place that is given back goes to the first of them.
//!
//! ```text
//!   max = 2, pending = 2
//!
//!   in flight   a b        a ends      c b
//!   waiting     c d      ─────────►    d
//!   refused     e
//! ```
//!
//! Below a balancer a full endpoint is not ready, but is not excluded from the choice by a
//! [`Veto`](crate::member::Veto), since that would change with every call near the limit. A call that
//! chooses a full endpoint asks others 10 ms later. With least request that is rare, since the less
//! loaded of two endpoints is chosen.
//!
//! The limit belongs to the layer value: what it and its clones make shares the limit.
//!
//! # Differences from tower's
//! | | tower's `ConcurrencyLimit` | this |
//! |---|---|---|
//! | a call without a place | waits in `poll_ready`, for as long as it takes | is refused, or waits in its future for a bounded time |
//! | a place is taken | in `poll_ready`: a clone that is ready and idle holds one | in `call` |
//! | a place is given back | at the response | at the response, or at the end of its body |
//! | shared by services of one layer value | with `GlobalConcurrencyLimitLayer` only | yes |
//! | changed while running | no | [`ConcurrencyLimitHandle::update`], [`PermitsHandle::set_max`] |
//! | below a balancer | one for each service | one for each endpoint, kept if it is connected anew |
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, service_fn};
//! use tower_upstream::{Call, ConcurrencyLimitLayer};
//!
//! let limit = ConcurrencyLimitLayer::new(100).named("database").wait(Duration::from_millis(500));
//! let handle = limit.handle();
//! let service = ServiceBuilder::new()
//!     .layer(limit)
//!     .service(service_fn(async |_: Call<u32>| Ok::<_, std::convert::Infallible>(())));
//! handle.set_max(50);
//! assert_eq!((handle.stats().in_flight, handle.stats().refused), (Some(0), Some(0)));
//! # let _ = service;
//! ```

mod config;
mod handle;
mod in_line;
mod layer;
mod permit;
mod service;
mod state;
mod word;

#[cfg(all(test, upstream_loom))]
mod loom_models;
#[cfg(test)]
mod model;

pub use self::{
    config::ConcurrencyLimitConfig,
    handle::{ConcurrencyLimitHandle, PermitsHandle},
    layer::ConcurrencyLimitLayer,
    permit::{AtResponse, Permit},
    service::ConcurrencyLimit,
};
