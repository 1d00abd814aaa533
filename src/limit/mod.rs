//! Limits the rate of calls and how many run at once.
//!
//! Guides: [the order of layers](../_guide/order/index.html),
//! [coming from elsewhere](../_guide/from/index.html).
//!
//! # When to use
//! | to limit | use |
//! |---|---|
//! | the rate of calls | [`RateLimitLayer`] |
//! | the rate of the calls of each caller | [`RateLimitLayer::by_key`] |
//! | how many calls run at once | [`ConcurrencyLimitLayer`] |
#![cfg_attr(
    feature = "http",
    doc = "| the rate of each client address | [`ClientIp`](crate::http::ClientIp) as the key |",
    doc = "",
    doc = "In a server, [`AnswerLayer`](crate::http::AnswerLayer) turns refusals into responses, and",
    doc = "tells clients how much of their quota is left."
)]
//!
//! # Differences from tower's
//! tower's limits wait in `poll_ready`, for as long as it takes. These are ready at once, and refuse the
//! call or let it wait in its future, for a bounded time. See the modules [`rate`] and [`concurrency`]
//! for the whole list.
//!
//! # Example
//! ```
//! use tower::{ServiceBuilder, service_fn};
//! use tower_upstream::{Call, ConcurrencyLimitLayer, Quota, RateLimitLayer};
//!
//! let service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(Quota::per_second(1_000).burst(200)))
//!     .layer(ConcurrencyLimitLayer::new(100))
//!     .service(service_fn(async |_: Call<u32>| Ok::<_, std::convert::Infallible>(())));
//! # let _ = service;
//! ```
//!
//! # What a refusal keeps
//! A refusal does not call the inner service. So a service value that was ready is still ready after a
//! refusal, and keeps what its inner services reserved in `poll_ready`, such as a place under tower's
//! `ConcurrencyLimit`, until its next call or until it is dropped. That holds in the mode [`Refuse`], for
//! keyed limits, and for the circuit breakers and health gates of this crate. If it matters, use a clone
//! for each call, as `oneshot` does.
//!
//! In the mode [`Wait`], which needs a service that is `Clone`, a call that waits or is refused has given
//! that back. Neither the service nor the future holds it until the call has its turn.
//!
//! # Counts, events and logs
//! The `stats` of each handle count what waits, and what was refused if the layer has a name
//! (`named`). `with_events` emits an event whenever a call begins to wait. Limits log nothing.
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
