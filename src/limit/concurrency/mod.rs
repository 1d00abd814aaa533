//! Limits how many calls run at once.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer), or over a single client, for what the
//! whole upstream may do at once: a call for which there is no place is refused with
//! [`Kind::Overloaded`](crate::error::Kind::Overloaded), or waits for one
//! ([`ConcurrencyLimitLayer::wait`]). Below a balancer, for what each endpoint may do at once: while
//! it is full the balancer passes it over. Against too many calls *in a time*, use
//! [`RateLimitLayer`](super::RateLimitLayer).
//!
//! # How it works
//! The calls in flight and how many there may be are one atomic word, so a call changes it twice
//! and the limit can be changed at any time, exactly. A call has its place until its response is
//! there or is dropped; or until its response body ends, with `until_body_end` (feature `http`).
//! Calls that wait stand in a queue; a place that is given back goes to the
//! first of them, which need not race for it.
//!
//! Below a balancer a full endpoint is *pending*, and no [`Veto`](crate::member::Veto) bars it: near the
//! limit that would change with every call, and each change would be news for all. A call that draws
//! a full endpoint asks others at the balancer's next step, ten milliseconds later; least request
//! seldom draws one, since it takes the less loaded of two.
//!
//! The limit belongs to the layer value: what it and its clones make shares it.

mod config;
mod handle;
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
