//! Asks each endpoint how it is, and keeps calls away from those that are not well.
//!
//! # When to use
//! Below a [`BalanceLayer`](crate::balance::BalanceLayer): each endpoint is checked, and the
//! balancer passes over those that fail, except in a panic. Above a balancer, or over a single
//! client, one check speaks for the whole upstream, and while it fails calls are refused with
//! [`Kind::Unhealthy`](crate::Kind::Unhealthy). To learn from the calls themselves, use a circuit
//! breaker or outlier ejection, also beside this.
//!
//! # How it works
//! ```text
//!  prober ── every `interval`, `parallel` at once ──► check ──► verdict
//!                                                                  │
//!          `fall` failures in a row                                ▼
//!  healthy ───────────────────────► unhealthy           counts in a row, one rule
//!          ◄───────────────────────
//!          `rise` successes in a row
//! ```
//! One background task checks all that one layer value made, each at its own time: spread over
//! the interval at first, and then a little earlier or later each time. It is started by the first
//! use inside a tokio runtime, ends with the last gate, and starts again if its runtime ended.
//! Everything counts as healthy until a check says otherwise.
//!
//! `HttpCheck` (feature `http`) asks a path, [`check_fn`] a closure,
//! [`CheckService`] any service; or implement [`Check`].

mod check;
mod config;
mod handle;
#[cfg(feature = "http")]
mod http;
mod layer;
mod monitor;
mod plugin;
mod probe;
mod prober;
mod record;
mod roster;
mod rule;
mod schedule;
mod service;
#[cfg(feature = "http")]
mod tcp;
mod tell;
mod watch;

#[cfg(feature = "http")]
pub use self::{http::HttpCheck, tcp::TcpCheck};
pub use self::{
    check::{Check, CheckFn, CheckService, CheckUpstream, Verdict, check_fn, check_upstream},
    config::{HealthConfig, Initial},
    handle::{HealthHandle, HealthState},
    layer::HealthGateLayer,
    monitor::{HealthMonitor, HealthRound},
    plugin::PluginCheck,
    probe::{Checked, RetryChecks},
    service::HealthGate,
    tell::HealthySet,
};
pub use crate::guard::ResponseFuture;
