//! Limits the rate of calls.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer), or over a single client, for a quota of the
//! whole upstream: a call beyond it is refused with
//! [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the time to come back, or waits for its
//! turn ([`RateLimitLayer::wait`]). Below a balancer, for a quota of each endpoint: while it is spent,
//! the balancer chooses other endpoints. To limit how many calls run at once, use
//! [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
//!
//! | for | use |
//! |---|---|
//! | several quotas at once, such as one for a second and one for a minute | an array for [`RateLimitLayer::new`] |
//! | calls of different cost | [`RateLimitLayer::with_cost`] |
//! | a quota of each caller | [`RateLimitLayer::by_key`] |
//!
//! # How it works
//! The generic cell rate algorithm, which is a token bucket in one number: the bucket starts full,
//! holds at most `burst` tokens, and gets one back in each interval, and each call takes one. There is
//! no task, and no timer while no call waits.
//!
//! ```text
//!   Quota::per_second(2).burst(3)
//!
//!   tokens  3 2 1 0 . . . 1 0 . . . 1 . . . 2
//!   calls     x x x x       x
//!                   refused: retry after 500 ms
//! ```
//!
//! The quota belongs to the layer value: what it and its clones make shares the quota. It is one
//! process's; a quota over several processes needs a server.
//!
//! # Differences from tower's
//! | | tower's `RateLimit` | this |
//! |---|---|---|
//! | a call beyond the quota | waits in `poll_ready`, for as long as it takes | is refused, or waits in its future for a bounded time |
//! | the quota is spread | in windows: all at its start, then none | evenly, with a burst |
//! | `Clone` | no; share it through a `Buffer` | yes; clones share the quota |
//! | order of calls that wait | unspecified | first come, first served |
//! | quotas | one | up to four at once, by cost, by key |
//! | changed while running | no | [`RateLimitHandle::update`] |
//! | below a balancer | one for each service | one for each endpoint, kept if it is connected anew |
//!
//! # Example
//! ```
//! use tower::ServiceBuilder;
//! use tower_upstream::{
//!     BalanceLayer, LeastRequest, Quota, RateLimitLayer, connect_fn, discover, endpoint::Endpoint,
//! };
//! # use tower::service_fn;
//! # let client_of = |_: &Endpoint| service_fn(async |n: u32| Ok::<_, std::convert::Infallible>(n));
//!
//! let endpoints = discover::fixed(["http://10.0.0.1:80", "http://10.0.0.2:80"])?;
//! let service = ServiceBuilder::new()
//!     // 1,000 calls a second to all of them,
//!     .layer(RateLimitLayer::new(Quota::per_second(1_000)).named("upstream"))
//!     .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
//!     // and 600 to each.
//!     .layer(RateLimitLayer::new(Quota::per_second(600)).named("endpoint"))
//!     .service(connect_fn(client_of));
//! # let _ = || service.clone();
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod at_member;
mod bucket;
mod config;
mod cost;
mod gcra;
mod handle;
mod layer;
mod live_rules;
mod quota;
mod quotas;
mod reservation;
mod service;
mod state;

#[cfg(feature = "http")]
pub(crate) use self::quotas::Remaining;
pub use self::{
    config::RateLimitConfig,
    cost::{Cost, PerCall},
    handle::{QuotaHandle, RateLimitHandle},
    layer::RateLimitLayer,
    quota::Quota,
    quotas::Quotas,
    service::RateLimit,
};
pub(super) use self::{
    gcra::{Decision, LONGEST_WAIT, look_twice},
    live_rules::LiveRules,
    quotas::{MOST, Rules, Tats},
    state::{REFUSED, never},
};
