//! So many calls in a time, or so many at once, and no more.
//!
//! # When to use
//! | against | use |
//! |---|---|
//! | too many calls in a time | [`RateLimitLayer`] |
//! | too many calls of one caller in a time | [`RateLimitLayer::by_key`] |

mod keyed;
mod rate;

pub use self::{
    keyed::{Key, KeyedRateLimit, KeyedRateLimitHandle, KeyedRateLimitLayer},
    rate::{
        Cost, Leased, PerCall, Quota, Quotas, RateLimit, RateLimitConfig, RateLimitHandle,
        RateLimitLayer, Refund, RefundFuture, Refuse, ResponseFuture, Wait, WaitFuture,
    },
};
