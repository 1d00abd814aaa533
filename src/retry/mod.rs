//! Tries the same service again when it fails: a policy for [`tower::retry`].
//!
//! # When to use
//! Over a single client. Above a [`BalanceLayer`](crate::balance::BalanceLayer) there is somewhere
//! else to go: use a [`FailoverLayer`](crate::failover::FailoverLayer) there, not both.
//!
//! # How it works
//! A call that failed is sent again after a backoff, up to [`RetryConfig::attempts`] times in all,
//! as long as each of these agrees:
//!
//! * the rule that judges how an attempt ended, [`Judge`]: by the kind of our errors, by status
//!   of HTTP and gRPC (`ByStatus`, feature `http`), or by a [`Classify`](crate::Classify) of yours;
//! * the request, [`Replay`](crate::replay::Replay): it can be copied, and is idempotent, or the attempt
//!   was [unsent](crate::Error::is_unsent);
//! * the deadline, that of the request and [`RetryConfig::overall`]: a wait that would end after
//!   it is not begun;
//! * the [`Budget`](crate::budget::Budget), which is charged last, when all is decided.
//!
//! A refusal of a guard of this crate is final: the same guard would say no again, so neither time
//! nor budget is spent on it. What an endpoint asks for with `Retry-After` or
//! `grpc-retry-pushback-ms` is granted within bounds ([`RetryConfig::max_retry_after`]).
//!
//! The last error, where it is one of ours, has the number of the attempts and the errors of the
//! earlier ones, as [`FailoverLayer`](crate::failover::FailoverLayer) gives it.
//!
//! | you have | use |
//! |---|---|
//! | one client, requests that are `Clone` or implement `Replay` | this |
//! | bodies that stream | this, below a `ReplayBodyLayer` (feature `http`) |
//! | several endpoints | [`FailoverLayer`](crate::failover::FailoverLayer) |
//! | a time limit for each attempt | a `tower::timeout::TimeoutLayer` below the retry |

mod backoff;
mod config;
#[cfg(feature = "http")]
mod http;
mod judge;
mod policy;
mod rule;
#[cfg(all(test, feature = "http"))]
mod vectors;
mod wait;

#[cfg(feature = "http")]
pub use self::http::ByStatus;
pub use self::{
    config::{Jitter, RetryConfig},
    judge::{ByKind, ByOutcome, Judge, Verdict},
    policy::RetryPolicy,
    wait::Wait,
};
