//! The verdict on one finished call, the same for every layer that needs one.
//!
//! Guides: [extending](../_guide/extending/index.html), [the order of layers](../_guide/order/index.html).
//!
//! # When to use
//! Every balancer, breaker, failover, retry and fallback judges calls by a [`Classify`]. Pass one of your own, or
//! `http::HttpClassify` (feature `http`), where an answer may be a failure, too.
//!
//! # How each layer uses it
//! | verdict | balancer | breaker | failover and retry | retry budget |
//! |---|---|---|---|---|
//! | [`Outcome::Success`] | its latency counts | good | returned | rewarded |
//! | [`Outcome::Slow`] | its latency counts | good, but counts for `slow_ratio` | returned | rewarded |
//! | [`Outcome::Failure`] | a failure, and a slow call however fast it was | counts against the endpoint | sent again, if the request may be | counts |
//! | [`Outcome::Overload`] | a failure, but not one in a row; in place of that slow call, one that took `retry_after` | the same, and stays open for `retry_after` | the same, after `retry_after` | counts |
//! | [`Outcome::Ignored`] | nothing | nothing | returned | rewarded, if it is an answer |
//! | [`Repeat::No`] | | | returned | not rewarded |
//! | [`Repeat::After`] | | | sent again after this time, if the request may be | not rewarded |
//!
//! # Example
//! See [`Classify`].

mod explained;
mod rule;

pub(crate) use self::rule::{TypeName, fault, is_refusal, judge, judge_error};
pub use self::{
    explained::{Explained, Explains},
    rule::{ByAnswer, Classify, ErrIsFailure, Outcome, Repeat, by_answer},
};
