//! So many calls in a time, or so many at once, and no more.
//!
//! # When to use
//! | against | use |
//! |---|---|
//! | too many calls in a time | [`RateLimitLayer`] |
//! | too many calls of one caller in a time | [`RateLimitLayer::by_key`] |
//! | too many calls at once | [`ConcurrencyLimitLayer`] |
#![cfg_attr(
    feature = "http",
    doc = "| ... of one client address | [`ClientIp`] |",
    doc = "| a server that must tell its clients | [`AnswerLayer`] |"
)]

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod client_ip;
pub mod concurrency;
pub mod keyed;
pub mod rate;
mod turn;

#[cfg(feature = "http")]
pub use self::{
    answer::{Answer, AnswerFuture, AnswerLayer, NoFields, Reports},
    client_ip::ClientIp,
    concurrency::{AtBodyEnd, HeldBody},
};
pub use self::{
    concurrency::{
        AtResponse, ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitHandle,
        ConcurrencyLimitLayer, Ends, Permit, PlaceFuture, QueueFuture,
    },
    keyed::{Key, KeyedRateLimit, KeyedRateLimitHandle, KeyedRateLimitLayer},
    rate::{
        Cost, Leased, PerCall, Quota, Quotas, RateLimit, RateLimitConfig, RateLimitHandle,
        RateLimitLayer, Refund, RefundFuture, Refuse, ResponseFuture, Wait, WaitFuture,
    },
    turn::TurnFuture,
};
