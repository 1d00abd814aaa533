//! Checks endpoints in the background, and keeps calls away from unhealthy ones.
//!
//! Guides: [the order of layers](../_guide/order/index.html), [observing](../_guide/observing/index.html).
//!
//! # When to use
//! Below a [`BalanceLayer`](crate::balance::BalanceLayer): each endpoint is checked, and the balancer
//! skips those that are unhealthy, except in a panic. Above a balancer, or over a single client: one
//! check covers the whole upstream, and calls are refused with
//! [`Kind::Unhealthy`](crate::error::Kind::Unhealthy) while it fails. To learn from the calls
//! themselves, use a [circuit breaker](crate::breaker) or outlier ejection, alone or together with
//! this.
//!
//! | check | use |
//! |---|---|
//! | a path over HTTP/1.1 | `HttpCheck`, or `HealthGateLayer::http` if the config has the path (feature `http`) |
//! | `grpc.health.v1` | `GrpcCheck` (feature `grpc`) |
//! | whether a port accepts connections | `TcpCheck` (feature `net`) |
//! | nothing: the results come from outside | [`StateTracker`](crate::rules::StateTracker), the rule alone |
//! | a plugin, by its own health operation | [`PluginCheck`] |
//! | anything else | [`check_fn`], [`CheckService`], or [`Check`] for a type of yours |
//! | an upstream as a whole | [`check_upstream`], or a check with a URL or an address of its own |
//!
//! | to | use |
//! |---|---|
//! | inspect one target, or change its settings | [`HealthHandle`] |
//! | change the settings of all targets | [`HealthGateHandle`] |
//! | check something now, force a round, stop and start checks | [`HealthMonitor`] |
//! | act on each change | [`HealthGateLayer::with_events`] |
//! | follow the set of healthy targets | [`HealthMonitor::changed`] |
//!
//! # Differences from others
//! tower and tower-http have no layer of this kind. Unlike Envoy's, a check that fails counts alike
//! whatever failed, and a member keeps its place in the set while it is unhealthy: only discovery
//! removes it. Unlike in balancers that combine all evidence, a check never closes a circuit, and a
//! failed call is no failed check.
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
//! One background task checks all targets of one layer value. First checks are spread over the
//! interval, and each further check comes a little earlier or later than the interval says
//! ([`jitter`](HealthConfig::jitter)). A target that is unhealthy, not checked yet, or in doubt after a
//! failure is checked every [`interval_unhealthy`](HealthConfig::interval_unhealthy). The first use
//! inside a tokio runtime starts the task. It ends with the last gate, and is started again if its
//! runtime ended.
//!
//! Before the first check, [`Initial`] decides. Default: healthy. An endpoint whose address changes
//! begins anew; other changes in discovery keep its state. When the gate of a member opens again,
//! [`Member::recovered_at`](crate::member::Member::recovered_at) has the time.
//!
//! While a gate refuses calls, an inner service that was ready stays ready: see [what a refusal
//! keeps](crate::limit#what-a-refusal-keeps).
//!
//! # Example
//! ```
//! use std::{convert::Infallible, sync::atomic::{AtomicBool, Ordering}, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::{
//!     HealthGateLayer,
//!     error::Kind,
//!     health::{HealthConfig, check_upstream},
//! };
//!
//! static UP: AtomicBool = AtomicBool::new(true);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_upstream::Error> {
//! let config = HealthConfig::default().with_interval(Duration::from_secs(10)).with_fall(1);
//! let layer = HealthGateLayer::with_config(check_upstream(|| async { UP.load(Ordering::SeqCst) }), config);
//! let monitor = layer.monitor();
//! let client = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(async |name: &str| Ok::<_, Infallible>(format!("hello {name}"))));
//! assert_eq!(client.clone().oneshot("you").await?, "hello you");
//!
//! UP.store(false, Ordering::SeqCst);
//! monitor.force_check().await;
//! assert_eq!(client.oneshot("you").await.unwrap_err().kind(), Kind::Unhealthy);
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//! At most [`parallel_scheduled`](HealthConfig::parallel_scheduled) checks run at once, so a slow target
//! delays only itself while fewer than that are slow. Of a reason of a check 256 characters are kept.
//!
//! # What is logged
//! At `WARN` a target that becomes unhealthy, with the reason; at `INFO` one that is healthy again; at
//! `ERROR` a check that panics while it is dropped.

// A ladder: each knows only those below it, in this order: report, rule, record, gate, roster, schedule,
// prober, gates, handle and monitor, layer. `http` adds to a config and a layer.
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
mod run;
mod schedule;
mod service;
mod setup;
mod word;

#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod plugin;
#[cfg(feature = "net")]
mod tcp;

#[cfg(feature = "grpc")]
pub use self::grpc::GrpcCheck;
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
