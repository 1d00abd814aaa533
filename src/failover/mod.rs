//! Tries another endpoint when one fails.
//!
//! Guides: [the order of layers](../_guide/order/index.html),
//! [coming from elsewhere](../_guide/from/index.html).
//!
//! # When to use
//! Above a [`BalanceLayer`](crate::balance::BalanceLayer). Layers in between must implement
//! [`Choose`](crate::choose::Choose), as those of this crate do: failover calls
//! [`call_avoiding`](crate::choose::Choose::call_avoiding) for every attempt, the first included (for a hedge
//! `call_hedging`), and never `call`. Layers of other crates go above failover, or below the balancer through an
//! [`EachLayer`](crate::connect::EachLayer). A single client has no other endpoint: retry there, with
//! `tower::retry` and the `RetryPolicy` of this crate (feature `tower`).
//!
//! # How it works
//! ```text
//!   a call ──► attempt 1 ──► a:1 fails
//!                │            another endpoint, at once
//!              attempt 2 ──► b:1 fails
//!                │            a backoff, paid for by the budget
//!              attempt 3 ──► c:1 answers ──► the caller
//! ```
//! Each attempt goes to an endpoint that this call has not tried, if there is one. The first other
//! endpoint is tried at once, further attempts after a backoff.
//!
//! A call is sent again if each of these allows it:
//!
//! * the rule that judges calls, a [`Classify`](crate::Classify): every `Err` by default. An HTTP
//!   response is an answer whatever its status: pass `http::HttpClassify` to
//!   [`with_classify`](FailoverLayer::with_classify), and a 500 is tried elsewhere. Errors that would be
//!   the same anywhere, such as [`Kind::Plugin`](crate::error::Kind::Plugin), are final.
//! * the request: it is [idempotent](crate::replay::Replay::is_idempotent), or was
//!   [unsent](crate::Error::is_unsent), and can be copied. A body that streams cannot, such as those of
//!   axum and tonic, unless there is an `http::ReplayBodyLayer` above: such a request is sent once, and
//!   the error says so.
//! * the [`Budget`](crate::budget::Budget), so that failing over cannot multiply the load on an upstream
//!   that is down.
//!
//! A refusal by a guard below the balancer goes to the next endpoint for free, once each. A refusal by
//! a guard above the balancer is final.
//!
//! An answer is judged by its head, and so is what the budget counts: a body that breaks off, or a gRPC
//! status in trailers, comes too late for another attempt and is a success here.
//!
//! # Hedging
//! Where a few calls take far longer than the rest, [`Attempts::hedge`] sends a call that has no answer after a
//! while to another endpoint as well, and takes the answer that comes first.
//!
//! ```text
//!   a call ──► attempt 1 ──► a:1 ─ ─ ─ ─ ─ ─ ─ ─ ─ ✗ dropped
//!                 │ no answer for 50 ms
//!              attempt 2 ──► b:1 answers ──► the caller
//! ```
//! * Only an idempotent request is hedged, of which there is a copy, once its attempt has reached an endpoint. A
//!   body that still streams into the first attempt is not sent to a second one.
//! * A hedge is one of the [`max`](Attempts::max) attempts, the retry budget pays for it, and at most one runs
//!   beside the other attempt. If it fails, another may follow after the same time.
//! * The balancer decides whether there is an endpoint that is worth it
//!   ([`call_hedging`](crate::choose::Choose::call_hedging)): one of the same tier that is healthy, ready and not
//!   tried. A set of one is never hedged, nor is one of [`PickFirst`](crate::balance::PickFirst), or with
//!   [sessions](crate::session).
//! * The attempt that loses is dropped, and counts as cancelled. Of two attempts in flight, one that fails does
//!   not end the call, unless the other would end the same: a mistake of the caller, or an answer that must not
//!   be asked for again.
//! * Each attempt has the time of [`Attempts::timeout`] for itself.
//!
//! [`FailoverHandle::hedges`] and [`hedges_won`](FailoverHandle::hedges_won) say whether it is of use.
//!
//! # Differences from tower's
//! `tower::hedge` sends the request to the same service again, so below a balancer to the same endpoint that is
//! slow. It has no budget: an upstream that becomes slow as a whole gets each call twice until its latencies are
//! known to be longer. The first of the two to end gives the answer, also if that is an error. It fits a single
//! client that needs no more.
//!
//! # How an attempt ends
//! | end | for breakers, and for the member |
//! |---|---|
//! | [`Attempts::timeout`] | a failure of the endpoint, unless its caller gave it less time, or owes the rest of its upload |
//! | the deadline of the request, [`Attempts::overall`], a drop, the other one of a hedge that answers | cancelled: a failure only by the policy for [cancelled calls](crate::breaker::Cancelled) |
//! | an error that the caller caused | nothing |
//! | a connection that had been idle and was dead | nothing; an idempotent call is sent again for free, once |
//!
//! A guard in a task of its own below the balancer cannot see which of them ended an attempt: a timeout
//! counts as cancelled there, too. A call whose deadline has passed is not made.
//!
//! # How long it waits
//! If no endpoint is left untried, the call goes back to one that failed, and waits for as long as that
//! one asks for: [`Attempts::max_retry_after`] at most. If it asks for a longer wait, or not to be
//! called again, failover stops and returns its answer.
//!
//! If there is no endpoint at all, or none that can be used, the call fails as soon as the balancer says so;
//! with [`Attempts::wait_for_endpoint`] it waits until discovery reports one, or one can be used again. That
//! costs neither an attempt nor budget, since nothing was sent.
//!
//! # One call
//! A call may have its own number of attempts and its own time limit for each:
//! [`CallOptions`](crate::replay::CallOptions). They replace those of the layer; the budget still counts.
//!
//! # Errors
//! The error of the only attempt, or `RetryExhausted` with the error of each attempt in its
//! [`history`](crate::Error::history). `Timeout` if the deadline of the request or
//! [`Attempts::overall`] ended the call.
//!
//! # Cancel safety
//! Dropping the response future drops the attempt that runs, and its hedge, and no other follows.
//!
//! # Bounds
//! At most [`Attempts::max`] attempts, 64 at most, beside one for each endpoint that refuses and one for a
//! dead idle connection; at most two at a time. A wait is an hour at most. A layer that hedges by a quantile keeps
//! 2 KiB of counts.
//!
//! # Example
//! See [`FailoverLayer`].

mod future;
mod handle;
mod hedge;
mod journey;
mod layer;
mod limits;
mod service;
mod stats;
mod ticket;

pub use self::{
    future::ResponseFuture, handle::FailoverHandle, layer::FailoverLayer, service::Failover,
    stats::FailoverStats,
};
pub use crate::course::{Attempts, Hedge};
