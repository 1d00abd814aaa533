//! Limits the rate of calls and how many run at once.
//!
//! # When to use
//! | against | use |
//! |---|---|
//! | too many calls in a time | [`RateLimitLayer`] |
//! | too many calls of one caller in a time | [`RateLimitLayer::by_key`] |
//! | too many calls at once | [`ConcurrencyLimitLayer`] |
#![cfg_attr(
    feature = "http",
    doc = "| ... of one client address | [`ClientIp`](crate::http::ClientIp) |",
    doc = "| a server that must tell its clients | [`AnswerLayer`](crate::http::AnswerLayer) |"
)]
//!
//! # What a refusal keeps
//! A refusal does not call the inner service. So a service value that was ready and whose call is
//! refused still is, and keeps what its inner services reserved in `poll_ready`, such as a place
//! under tower's `ConcurrencyLimit`, until its next call or until it is dropped. That is so wherever
//! only the service itself is needed: in the mode [`Refuse`],
//! for keyed limits, and in the circuit breakers and health gates of this crate. Call through a clone
//! for each call, as `oneshot` does, where that matters.
//!
//! In the mode [`Wait`], which needs a service that is `Clone`, a call that waits or is refused has
//! given that back, and neither the service nor the future holds it until the call has its turn.
//!
//! # What is logged
//! Limits log nothing: refusals are answers, and may be many. The handles tell how a limit stands.
#![cfg_attr(
    feature = "http",
    doc = "An [`AnswerLayer`](crate::http::AnswerLayer) logs what it turns into responses: refusals at `DEBUG`, failures at `WARN`."
)]

pub mod concurrency;
pub mod keyed;
mod mode;
mod queue;
pub mod rate;
mod telemetry;

#[cfg(feature = "http")]
pub(crate) use self::rate::Remaining;
#[doc(inline)]
pub use self::{
    concurrency::{
        AtResponse, ConcurrencyLimit, ConcurrencyLimitConfig, ConcurrencyLimitHandle,
        ConcurrencyLimitLayer, Permit, PermitsHandle,
    },
    keyed::{KeyedRateLimit, KeyedRateLimitHandle, KeyedRateLimitLayer},
    mode::{Refuse, Wait},
    queue::WaitFuture,
    rate::{
        Cost, PerCall, Quota, QuotaHandle, Quotas, RateLimit, RateLimitConfig, RateLimitHandle,
        RateLimitLayer,
    },
};
