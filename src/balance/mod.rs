//! Chooses one of the endpoints of an upstream for each call.
//!
//! # When to use
//! Wherever there is more than one endpoint. The [`Balance`] service is `Clone + Send + Sync` and
//! never queues, so nothing like tower's `Buffer` stands in front of it. What it balances over is
//! made by a [connector](crate::connect::Connect), so what stands below a [`BalanceLayer`] stands around
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
//! # Which endpoints may be chosen
//! Members are grouped into tiers, by priority and then by discovered warnings. The candidates are the
//! members of the lowest tier that nothing bars. If less than
//! [`panic_threshold`](BalanceConfig::panic_threshold) of a tier may be used, the next tier is tried; if
//! that is so for all tiers, there is a *panic*: health and ejection are ignored, since they are more
//! likely wrong than right, and the candidates are the members of the lowest tier that has any which
//! nothing else bars. Open circuits, draining and disabled members never get a call.
//!
//! A further attempt of a [`FailoverLayer`](crate::failover::FailoverLayer) goes to a candidate that was
//! not tried and that nothing bars; then to such a member of any other tier, the lowest first; and only
//! then, in a panic, to candidates that are unhealthy.
//!
//! # Runtimes
//! The task of a set runs on the runtime of the first call, and is started again by the next call once
//! that runtime has ended. A runtime that is alive and not driven any more, such as a current-thread one
//! whose `block_on` has returned, runs no tasks: give the layer one that is driven with
//! [`BalanceLayer::runtime`].

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
