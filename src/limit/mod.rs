//! So many calls in a time, or so many at once, and no more.
//!
//! # When to use
//! | against | use |
//! |---|---|
//! | too many calls in a time | [`RateLimitLayer`] |

mod rate;

pub use self::rate::{
    Quota, RateLimit, RateLimitConfig, RateLimitHandle, RateLimitLayer, Refuse, ResponseFuture,
    Wait, WaitFuture,
};
