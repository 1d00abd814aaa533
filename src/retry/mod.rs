//! Sends a call to the same service again when it fails: a layer, and a policy for `tower::retry`.
//!
//! Guides: [the order of layers](../_guide/order/index.html),
//! [coming from elsewhere](../_guide/from/index.html).
//!
//! # When to use
//! Over a single client. Above a [`BalanceLayer`](crate::balance::BalanceLayer) there are other
//! endpoints: use a [`FailoverLayer`](crate::failover::FailoverLayer) there, not both.
//!
//! | you have | use |
//! |---|---|
//! | one client, requests that are `Clone` or implement `Replay` | this |
//! | bodies that stream | this, below a `ReplayBodyLayer` (feature `http`) |
//! | several endpoints | [`FailoverLayer`](crate::failover::FailoverLayer) |
//! | a time limit for each attempt | a `tower::timeout::TimeoutLayer` below the retry |
//!
//! # How it works
//! A call that failed is sent again after a backoff, up to [`RetryConfig::attempts`] times in all, if
//! each of these allows it:
//!
//! * the rule that judges calls, a [`Classify`](crate::Classify): every `Err` by default, or HTTP and
//!   gRPC status (`http::HttpClassify`, feature `http`);
//! * the request, [`Replay`](crate::replay::Replay): it can be copied, and is idempotent, or the
//!   attempt was [unsent](crate::Error::is_unsent);
//! * the deadline, that of the request and [`RetryConfig::overall`]: a wait that would end after it is
//!   not begun;
//! * the endpoint: a wait that it asks for with `Retry-After` or `grpc-retry-pushback-ms` is kept, up
//!   to [`RetryConfig::max_retry_after`]; if it asks for a longer one, or not to be called again, the
//!   caller gets its answer;
//! * the [`Budget`](crate::budget::Budget), which is charged last, when all is decided.
//!
//! A refusal by a guard of this crate is final: the same guard would refuse again, so neither time nor
//! budget is spent on it. So is the error of a layer below that has made several attempts itself. A
//! connection that had been idle and was dead is no failure: an idempotent call is sent again for
//! free, once.
//!
//! The last error, if it is one of this crate, has the number of attempts and the errors of the earlier
//! ones, as that of a [`FailoverLayer`](crate::failover::FailoverLayer).
//!
//! # Differences from tower's
//! `tower::retry` drives the attempts, here as well; it leaves the policy to you, apart from a budget and a
//! backoff. This policy decides which calls are worth repeating and may be, knows deadlines, `Retry-After` and
//! pushback, and keeps the errors of all attempts in the last one.
//!
//! # Errors
//! The error of the service. If it is one of this crate, it has the number of attempts, and after several
//! attempts it is `RetryExhausted` with the error of each in its [`history`](crate::Error::history).
//!
//! # Cancel safety
//! Dropping the response future ends the call; what its retry held of the budget is given back.
//!
//! # Bounds
//! At most [`RetryConfig::attempts`] attempts, 64 at most, beside one for a dead idle connection. A wait is
//! an hour at most.
//!
//! # Example
//! See `RetryPolicy` (feature `tower`). [`RetryConfig`] is there without it, since a
//! [`FailoverLayer`](crate::failover::FailoverLayer) reads it, too.

mod config;
#[cfg(feature = "tower")]
mod handle;
#[cfg(feature = "tower")]
mod policy;
#[cfg(all(test, feature = "http", feature = "tower"))]
mod vectors;
#[cfg(feature = "tower")]
mod wait;

pub use self::config::RetryConfig;
#[cfg(feature = "tower")]
pub use self::{handle::RetryHandle, policy::RetryPolicy, wait::RetryWait};
