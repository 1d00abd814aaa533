//! Tries another endpoint when one fails.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer), with only layers of this crate in
//! between. A single client has no other endpoint: retry there, with `tower::retry` and the
//! `RetryPolicy` of this crate (feature `tower`).
//!
//! # How it works
//! Each attempt goes to an endpoint that this call has not tried, while there is one. The first
//! other endpoint is tried at once, further attempts after a backoff with full jitter.
//!
//! Only what is safe is repeated: what is [unsent](crate::Error::is_unsent), and requests that are
//! [idempotent](crate::Replay::is_idempotent). Each repetition takes a token from a
//! [`Budget`](crate::Budget), so that failing over cannot multiply the load on an upstream that is
//! down. A refusal of a guard below the balancer goes to the next endpoint for free, once each; one
//! from above the balancer is final, and so are errors that would be the same anywhere, such as
//! [`Kind::Plugin`](crate::Kind::Plugin).
//!
//! An endpoint that was tried gets the time it asks for, where there is no other:
//! [`Attempts::max_retry_after`] at most. Who asks for more, or for no further attempt, is heard:
//! the caller gets that answer.
//!
//! An HTTP response is an answer whatever its status: give
//! [`with_classify`](FailoverLayer::with_classify) an `HttpClassify`, and a 500 is tried elsewhere.
//! It is judged by its head, and so is what the budget counts: a body that breaks off, or a gRPC
//! status in trailers, comes too late for another attempt and is a success there.

mod attempts;
mod course;
mod failure;
mod future;
mod layer;
mod rule;
mod service;

pub use self::{
    attempts::Attempts, future::ResponseFuture, layer::FailoverLayer, service::Failover,
};
