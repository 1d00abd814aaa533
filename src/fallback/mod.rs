//! Answers in place of a service that refuses or fails.
//!
//! Guide: [the order of layers](../_guide/order/index.html).
//!
//! # When to use
//! If an answer of lower quality is better than an error: a default value, a cached copy, a second
//! upstream. The place of a [`FallbackLayer`] decides what it covers:
//!
//! ```text
//!   RateLimitLayer       refusals from here reach the caller
//!     │
//!   FallbackLayer ────── answers for everything below it
//!     │
//!   FailoverLayer        tries every endpoint first
//!     │
//!   BalanceLayer
//! ```
//!
//! # What answers
//! A [`Substitute`]:
//!
//! | substitute | answers with | keeps of each request |
//! |---|---|---|
//! | [`Value`], by [`FallbackLayer::value`] | a clone of a value | nothing |
//! | a closure `Fn(Error) -> Result<Response, Error>`, by [`FallbackLayer::from_error`] | what it makes of the error | nothing |
//! | [`FromRequest`], by [`FallbackLayer::from_request`] | what it makes of the error and of what it kept | what the first closure returns |
//! | [`Backup`], by [`FallbackLayer::service`] | what another service answers | a copy of the request |
//! | [`Cached`] | the last good answer to the same request | the key of the request |
//!
//! # Which calls
//! | result of the call | answered by |
//! |---|---|
//! | a refusal of a guard, no endpoint, or all endpoints down | the substitute |
//! | a call that its deadline or [`Attempts::overall`](crate::failover::Attempts::overall) ended, before anything was sent or after; a dead idle connection | the substitute |
//! | an error or an answer that the [`Classify`](crate::outcome::Classify) rule counts as a failure | the substitute |
//! | an error that the caller caused: an invalid request, a misused client | the service: the error passes |
//! | any other error or answer | the service |
//!
//! The default rule is [`ErrIsFailure`](crate::outcome::ErrIsFailure): every `Err` is a failure, unless a
//! plugin answered it; every response is a success. So plain HTTP responses need `HttpClassify` (feature
//! `http`), or a 500 passes. A closure sees each error before it answers, and may return it instead.
//!
//! # When it answers
//! Once the service has ended. A service that is not ready is waited for: above a balancer none of whose endpoints
//! can be used, that takes up to [`fail_fast_after`](crate::balance::BalanceConfig::fail_fast_after), a second
//! by default, also for a call whose deadline is earlier.
//!
//! # Where it stands
//! Above a balancer, or over one client. Between failover and balancer it compiles, and it passes
//! [`Choose`](crate::choose::Choose) on, but failover takes the substitute's answer for a success and makes no
//! further attempt. Below a balancer it is a connector, and each endpoint has a fallback: the balancer,
//! failover and the guards above it see the substitute's answer, so a failure neither moves the call to another
//! endpoint nor counts against this one. Guards below it see the failure. Use that place only if an answer for
//! *this* endpoint is what is wanted.
//!
//! # Errors
//! What the substitute returns, or the error of the service if the call does not fall back.
//!
//! # Cancel safety
//! Dropping the response future drops the call that runs, that of the service or that of the substitute.
//!
//! # Bounds
//! Nothing is queued. Of each call in flight, what the substitute [keeps](Substitute::keep) is held. A
//! [`Cached`] keeps at most as many answers and bytes as it is told.
//!
//! # Differences from tower's
//! tower has no such layer. `ServiceExt::or_else` maps an error without the request and without a
//! rule for which errors it maps.

mod backup;
mod cached;
mod future;
mod layer;
mod service;
mod store;
mod substitute;

pub use self::{
    backup::{Backup, BackupFuture},
    cached::Cached,
    future::ResponseFuture,
    layer::FallbackLayer,
    service::Fallback,
    substitute::{FromRequest, Substitute, Value},
};
