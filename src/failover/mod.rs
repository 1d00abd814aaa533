//! Tries another endpoint when one fails.
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer). Layers in between must implement
//! [`Choose`](crate::choose::Choose), as those of this crate do: failover calls
//! [`call_avoiding`](crate::choose::Choose::call_avoiding) for every attempt, the first included, and never
//! `call`. Layers of other crates go above failover, or below the balancer through an
//! [`EachLayer`](crate::connect::EachLayer). A single client has no other endpoint: retry there, with `tower::retry` and the
//! `RetryPolicy` of this crate (feature `tower`).
//!
//! # How it works
//! Each attempt goes to an endpoint that this call has not tried, while there is one. The first
//! other endpoint is tried at once, further attempts after a backoff with full jitter.
//!
//! Only what is safe is repeated: what is [unsent](crate::Error::is_unsent), and requests that are
//! [idempotent](crate::replay::Replay::is_idempotent); and only what can be copied. Bodies that stream cannot,
//! such as those of axum and tonic, unless a `replay::ReplayBodyLayer` (feature `http`) stands above: such
//! a request is sent once, even if it was never sent. The error then says so. Each repetition takes a token from a
//! [`Budget`](crate::budget::Budget), so that failing over cannot multiply the load on an upstream that is
//! down. A refusal of a guard below the balancer goes to the next endpoint for free, once each; one
//! from above the balancer is final, and so are errors that would be the same anywhere, such as
//! [`Kind::Plugin`](crate::error::Kind::Plugin).
//!
//! # How an attempt ends
//! | end | for breakers, and for the member |
//! |---|---|
//! | [`Attempts::timeout`] | a failure of the endpoint |
//! | the deadline of the request, [`Attempts::overall`], a drop | cancelled: a failure only by the policy for [cancelled calls](crate::breaker::Cancelled) |
//! | an error that the caller caused | nothing |
//! | a connection that had been idle and was dead | nothing; an idempotent call is sent again for free, once |
//!
//! A guard in a task of its own below the balancer cannot see which of them ended an attempt: there a
//! timeout is cancelled, too. A call whose deadline has passed is not made.
//!
//! # How long it waits
//! An endpoint that was tried gets the time it asks for, where there is no other:
//! [`Attempts::max_retry_after`] at most. If an endpoint asks for more, or not to be called again,
//! failover stops and returns its answer.
//!
//! An HTTP response is an answer whatever its status: give
//! [`with_classify`](FailoverLayer::with_classify) an `HttpClassify`, and a 500 is tried elsewhere.
//! It is judged by its head, and so is what the budget counts: a body that breaks off, or a gRPC
//! status in trailers, comes too late for another attempt and is a success there.

mod future;
mod handle;
mod journey;
mod layer;
mod live;
mod reserve;
mod service;

pub use self::{
    future::ResponseFuture,
    handle::{FailoverHandle, FailoverStats},
    layer::FailoverLayer,
    service::Failover,
};
pub use crate::course::Attempts;
