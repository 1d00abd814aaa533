//! Limits the rate of calls.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer), or over a single client, for a quota of
//! the whole upstream: a call beyond it is refused with
//! [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the moment to come back, or waits for its
//! turn ([`RateLimitLayer::wait`]). Below a balancer, for a quota of each endpoint: while it is
//! spent the balancer passes the endpoint over. Against too many calls *at once*, use
//! [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
//!
//! | where | use |
//! |---|---|
//! | a second and a minute, say, have a quota of their own | an array for [`RateLimitLayer::new`] |
//! | calls are not worth the same | [`RateLimitLayer::with_cost`] |
//! | each caller has its own quota | [`RateLimitLayer::by_key`] |
//!
//! # How it works
//! The generic cell rate algorithm, which is a token bucket in one number: it holds `burst` tokens
//! at most, starts full, gets one per interval, evenly, and each call takes one. No task and no
//! timer while no call waits.
//!
//! The quota belongs to the layer value: what it and its clones make shares it. It is one
//! process's; a quota over several processes needs a server.

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
