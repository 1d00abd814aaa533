//! So many calls in a time, or so many at once, and no more.
//!
//! # When to use
//! | against | use |
//! |---|---|
//! | too many calls in a time | [`RateLimitLayer`] |
//! | too many calls at once | [`ConcurrencyLimitLayer`] |

mod concurrency;
mod rate;

pub use self::concurrency::{
    ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitHandle, ConcurrencyLimitLayer,
    Permit, PlaceFuture, QueueFuture,
};
pub use self::rate::{
    Quota, RateLimit, RateLimitConfig, RateLimitHandle, RateLimitLayer, Refuse, ResponseFuture,
    Wait, WaitFuture,
};
