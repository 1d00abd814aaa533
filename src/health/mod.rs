//! Asks each endpoint how it is, and keeps calls away from those that are not well.
//!
//! # When to use
//! Below a [`BalanceLayer`](crate::balance::BalanceLayer): each endpoint is checked, and the
//! balancer passes over those that fail, except in a panic. Above a balancer, or over a single
//! client, one check speaks for the whole upstream, and while it fails calls are refused with
//! [`Kind::Unhealthy`](crate::error::Kind::Unhealthy). To learn from the calls themselves, use a circuit
//! breaker or outlier ejection, also beside this.
//!
//! | to ask | use |
//! |---|---|
//! | a path over HTTP/1.1 | `HttpCheck`, or `HealthGateLayer::http` where a config says which (feature `http`) |
//! | whether a port takes connections | `TcpCheck` (feature `http`) |
//! | a plugin, by its own health operation | [`PluginCheck`] |
//! | anything else | [`check_fn`], [`CheckService`], or [`Check`] for a type of yours |
//! | an upstream as a whole | [`check_upstream`], or a check with a URL or an address of its own |
//!
//! | to | use |
//! |---|---|
//! | look at one target, or change its settings | [`HealthHandle`] |
//! | check something now, wait for it, force a round, stop | [`HealthMonitor`] |
//! | be told of each change | [`HealthGateLayer::with_events`] |
//! | follow which targets are healthy | [`HealthMonitor::changed`] |
//!
//! # How it works
//! ```text
//!  prober ── every `interval`, each at its time ──► check ──► verdict
//!                                                                │
//!          `fall` failures in a row                              ▼
//!  healthy ───────────────────────► unhealthy           counts in a row, one rule
//!          ◄───────────────────────
//!          `rise` successes in a row
//! ```
//! One background task checks all that one layer value made, each at its own time: spread over
//! the interval at first, and then a little earlier or later each time. A slow target delays only
//! itself, as long as fewer than [`parallel_scheduled`](HealthConfig::parallel_scheduled) are slow
//! at once. What is unhealthy, unknown or in doubt is
//! asked every `interval_unhealthy`. The task is started by the first use inside a tokio runtime,
//! ends with the last gate, and starts again if its runtime ended.
//!
//! Until a check says otherwise, [`Initial`] says what holds: healthy, by default. An endpoint
//! whose address changes begins anew; one of which discovery tells something else does not. When
//! the gate of a member opens again, [`Member::recovered_at`](crate::member::Member::recovered_at) says
//! since when.
//!
//! Every bad check counts alike towards `fall`, whatever was wrong. While the gate refuses, the inner
//! service of a value that was ready stays ready: see [what a refusal
//! keeps](crate::limit#what-a-refusal-keeps).
//!
//! # What is logged
//! A target that becomes unhealthy at `WARN`, with the reason; one that is healthy again at `INFO`; a
//! check that panics while it is given up at `ERROR`.
//!
//! # What it is not
//! A verdict of a check is kept apart from what calls say: an open circuit or an ejection is
//! another reason to pass over a member, and a failed call counts for no check. There are no
//! agents that tell weights, and no ramp of the load after a recovery: the mark for one is there.

// Each knows only those above it, but for `http`, which adds to a config and a layer.
mod check;
mod config;
mod demand;
mod gate;
mod gates;
mod handle;
mod layer;
mod monitor;
mod pace;
mod probe;
mod prober;
mod record;
mod report;
mod roster;
mod rule;
mod run;
mod schedule;
mod service;
mod setup;

#[cfg(feature = "http")]
mod http;
mod plugin;
#[cfg(feature = "net")]
mod tcp;

#[cfg(feature = "http")]
pub use self::http::HttpCheck;
#[cfg(feature = "net")]
pub use self::tcp::TcpCheck;
pub use self::{
    check::{Check, CheckFn, CheckService, CheckUpstream, Verdict, check_fn, check_upstream},
    config::{HealthConfig, Initial},
    demand::RetryChecks,
    handle::{HealthGateHandle, HealthHandle},
    layer::HealthGateLayer,
    monitor::HealthMonitor,
    plugin::PluginCheck,
    report::{Checked, HealthRound, HealthState, HealthySet},
    service::HealthGate,
};
pub use crate::guard::ResponseFuture;
