//! Chooses one of the endpoints of an upstream for each call.
//!
//! # When to use
//! Wherever there is more than one endpoint. The [`Balance`] service is `Clone + Send + Sync` and
//! never queues, so nothing like tower's `Buffer` stands in front of it. What it balances over is
//! made by a [connector](crate::Connect), so what stands below a [`BalanceLayer`] stands around
//! each endpoint.
//!
//! # How it works
//! ```text
//!   discovery ──► the set's task ──► snapshot ◄── one load ── a call
//!   guards ─────► (one, for a set)   who may be chosen        chooses, clones that service,
//!   the clock ──►                    and the strategy's       drives the clone to readiness,
//!                                    table                    and calls the very same clone
//! ```
//! A call reads one snapshot and a few atomics. If the service that it chose is not ready, the call
//! keeps its request and waits for others too: three more every 10 ms, until it waits for all that
//! may be chosen, and it takes whichever is ready first. A stuck endpoint holds nobody up.
//!
//! A call waits for `fail_fast_after` (1 s) at most, and knows of no deadline of the request: a
//! [`FailoverLayer`](crate::failover::FailoverLayer) above does. So the call that finds the last
//! endpoint barred waits that long; once there has been nobody for as long, calls fail at once.
//!
//! Failures never remove an endpoint; only discovery does. A service whose `poll_ready` fails is
//! dead, and connected anew by the task with backoff. State of a member survives all of this.
//!
//! # Who may be chosen
//! Of the members of the lowest tier (priority, then discovered warnings) those that nothing bars.
//! Where less than half of a tier may be used, the next tier is; where that is so for all, there is
//! a *panic*: health and ejection are ignored, since they are more likely wrong than right. Open
//! circuits, draining and disabled members never get a call.

mod config;
mod future;
mod layer;
mod select;
mod service;
mod set;
mod strategy;
mod task;
mod waiting;

pub use self::{
    config::BalanceConfig,
    future::ResponseFuture,
    layer::BalanceLayer,
    service::{Balance, BalanceHandle},
    strategy::{
        Candidate, Candidates, LeastRequest, Pick, Random, RoundRobin, RoundRobinTable, Strategy,
    },
};
