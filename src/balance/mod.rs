//! Chooses one of the endpoints of an upstream for each call.
//!
//! Guides: [the order of layers](../_guide/order/index.html), [extending](../_guide/extending/index.html),
//! [coming from elsewhere](../_guide/from/index.html).
//!
//! # When to use
//! If there is more than one endpoint, or if the endpoints may change. The [`Balance`] service is
//! `Clone + Send + Sync` and never queues. The service below a [`BalanceLayer`] is a
//! [connector](crate::connect::Connect), so the layers below it are applied to each endpoint.
//!
//! # Differences from tower's
//! | | `tower::balance::p2c` | here |
//! |---|---|---|
//! | clones | none: it needs a `Buffer` in front | `Clone + Send + Sync`, no task per call |
//! | an endpoint that is not ready | is polled by the balancer | the call waits for others as well, and takes the first that is ready |
//! | an endpoint whose service fails | is removed | stays, and is connected again with backoff |
//! | an error of discovery | ends the balancer | is logged; the last set stays in use |
//! | load | measured by layers around each service | measured by the balancer |
//! | health, circuits, draining | unknown | known before the choice |
//!
//! To keep tower's balancer, and use the sources and connectors of this crate below it, see
//! `discover::ToChanges` (feature `tower`).
//!
//! # How it works
//! ```text
//!   discovery ──► the set's task ──► snapshot ◄── one load ── a call
//!   guards ─────► (one, for a set)   members that may be      chooses, clones that service,
//!   the clock ──►                    chosen, the strategy's   drives the clone to readiness,
//!                                    table                    and calls the very same clone
//! ```
//! A call reads one snapshot and a few atomics. If the chosen service is not ready, the call keeps its
//! request and waits for others as well: three more every 10 ms, up to all that may be chosen. It takes
//! the first that is ready, so an endpoint that is stuck delays no call.
//!
//! A call waits for at most [`fail_fast_after`](BalanceConfig::fail_fast_after). It ignores the deadline
//! of the request, which a [`FailoverLayer`](crate::failover::FailoverLayer) above enforces. After that
//! time without any endpoint, calls fail at once. Where each endpoint is spent by a rate limit below the
//! balancer, a call waits for the first that has a token again; if none has in time, the call fails at once
//! with [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the earliest moment.
//!
//! Failures never remove an endpoint; only discovery does. A service whose `poll_ready` fails is dead,
//! and the task connects it again with backoff. The state of a member survives that.
//!
//! # Which endpoints may be chosen
//! Load is split over the priorities of the endpoints by their health, as in Envoy. A priority can carry
//! its healthy share times 1.4 ([`overprovisioning_percent`](BalanceConfig::overprovisioning_percent)), and
//! what it cannot carry goes to the next:
//!
//! | healthy endpoints of the first priority | its share of the load | the second, all healthy |
//! |---|---|---|
//! | 100 % or 72 % | 100 % | 0 % |
//! | 50 % | 70 % | 30 % |
//! | 25 % | 35 % | 65 % |
//! | none | 0 % | 100 % |
//!
//! What the healthy endpoints of all priorities cannot carry goes to those that
//! [warn](crate::endpoint::Status::Warning). Draining and disabled endpoints do not count.
//!
//! *Panic.* If all priorities together cannot carry the load, health and ejection are ignored in each
//! priority of which fewer than [`panic_threshold`](BalanceConfig::panic_threshold) percent can be used, since
//! they are more likely wrong than right. If that holds for all, the load is split by the number of
//! endpoints. [`panic_mode`](BalanceConfig::panic_mode) says which endpoints of such a priority get calls:
//! all, those that were healthy last, or none; with `Fail` its load goes to the priorities that are left,
//! while Envoy fails it, and fails if all are in panic. Members with an open circuit, and draining and
//! disabled members, never get a call.
//!
//! *Failing back.* Load leaves an endpoint or a priority at once. It comes back to a better priority
//! after that has been able to carry it for [`fail_back_delay`](BalanceConfig::fail_back_delay), and then at
//! most [`fail_back_percent`](BalanceConfig::fail_back_percent) of all load in each second, so that a priority
//! that flaps does not swing the load.
//!
//! A further attempt of a [`FailoverLayer`](crate::failover::FailoverLayer) goes to a candidate that was
//! not tried and that nothing bars; otherwise to such a member of another tier or zone, the lowest tier first;
//! and otherwise, while health is ignored, to an unhealthy candidate.
//!
//! # Zones
//! [`BalanceConfig::locality`] spreads the load of each priority over the zones of its endpoints. It is off by
//! default, and then costs nothing; with it, a choice draws a zone first.
//!
//! | | [`LocalityMode::Weighted`] | [`LocalityMode::ZoneAware`] | the strategy [`Geographic`] |
//! |---|---|---|---|
//! | when | zones have a share by plan | calls between zones cost, or are slow | the near ones first, even if that overloads them |
//! | a zone gets | its weight times `min(1, 1.4 × its healthy share)` | the calls of its callers, as many as are its fair share | all, while half of its endpoints can be used |
//! | needs | a weight for each zone | the number of callers in each zone, or hints of the source | localities |
//!
//! | what | together with zones |
//! |---|---|
//! | priorities, endpoints that warn | the load is split over them first, and then over the zones of each |
//! | health, ejection, open circuits | the load of a zone follows at once, in both directions |
//! | a panic | where health is ignored, zones are ignored, too |
//! | weights of endpoints | count within a zone, and with `ZoneAware` for what a zone can take; endpoints of weight 0 do not count |
//! | strategies | each zone of a priority has its own table: whose turn it is goes on while other zones come and go, and in a new zone begins where the first zone is |
//! | all candidates of a zone are busy | the call goes to another zone that has a share of the load |
//! | further attempts | go to endpoints that were not tried, whatever their zone, with `ZoneAware` in the caller's own first |
//!
//! # Ejection, probation and slow start
//! An endpoint whose calls fail is ejected: after five failures in a row, or if its share of calls that
//! succeed is far below that of the others. After 30 s, longer each time, it is on probation: it gets
//! one call at a time until one succeeds, then all of its share, or with a
//! [slow start](BalanceConfig::slow_start) a share that grows. A health check that passes ends an ejection,
//! and so does [`BalanceHandle::uneject`]. At most 10 % of a priority are ejected at a time, but always one
//! may be, and never the last that can be used. [`OutlierConfig`] has the settings;
//! [`Standing`](crate::rules::Standing) is the table of all states and events, of ejections and checks
//! together.
//!
//! What counts as a failure is what the rule of [`with_classify`](BalanceLayer::with_classify) says. Calls
//! that were refused, given up, or failed by the caller's fault count as nothing.
//!
//! # Strategies
//! Two that read the load, for most upstreams, and others for a reason. If in doubt, take [`PeakEwma`]: a choice
//! costs 10 to 30 ns more than that of [`LeastRequest`], and calls leave an endpoint that is slow or fails at
//! once:
//!
//! | what happens, one client | [`PeakEwma`] | [`LeastRequest`] | [`RoundRobin`] |
//! |---|---|---|---|
//! | one of 11 is 12 times as slow for 30 s: 99.9 % of the calls take at most | 184 ms | 2,056 ms | 2,118 ms |
//! | the same: calls that it gets meanwhile, of its share | 0.8 % | 11 % | 100 % |
//! | the same: of its share again, 5 s to 10 s after it is well | 100 % | 100 % | 100 % |
//! | one of 10 fails after 1 ms for 30 s: calls that fail, of 44,928 | 8 | 2,952 | 1,495 |
//! | the same: of its share again, 5 s to 10 s after it is well | 99 % | 99 % | 100 % |
//! | a cold one joins 20, slow start of 10 s, 100 clients: 99.9 % of the calls take at most | 49 ms | 58 ms | 1,150 ms |
//! | the same: calls at once on its 8 workers while it is cold, at most | 6 | 11 | 225 |
//!
//! With 20 clients, each of which learns for itself, it is 185 against 2,080 ms, 40 against 1,660 failures, and
//! [`PeakEwma`] gives 68 % of its share back to the slow one in 5 s to 10 s, and 99 % to the broken one in 15 s
//! to 20 s. The figures are those of `cargo run --release --all-features --example simulate -- --sim 1`,
//! `--sim 3` and `--sim 4`; other seeds give much the same.
//!
//! A choice takes no lock and allocates nothing, unless the table says so.
//!
//! | strategy | when | cost of a choice | needs |
//! |---|---|---|---|
//! | [`LeastRequest`] | calls cost about the same | two members are read | nothing; weights count |
//! | [`PeakEwma`] | calls cost different, an endpoint may be slow or fail at once | the same, one clock, two exponentials | calls that wait for their response; weights count |
//! | [`LeastLatency`] | near and far endpoints with capacity to spare | as `PeakEwma` | the same; no weights |
//! | [`HealthBased`] | endpoints that do worse are to get less, but some | as `PeakEwma` | the same; no weights |
//! | [`RoundRobin`] | calls and endpoints are alike | one counter, which all callers share | nothing |
//! | [`WeightedRoundRobin`] | the same, with endpoints that differ in size | one counter, which all callers share | weights |
//! | [`Random`] | load says nothing | one number | nothing |
//! | [`WeightedRandom`] | the same, with endpoints that differ in size | one number | weights |
//! | [`Geographic`] | the near ones first, whatever that loads them with (or see [zones](#zones)) | two members of a level are read | localities of the endpoints |
//! | [`Priority`] | a preferred endpoint, in an order of yours | the members are read until one is free | the metadata `priority`, or a function |
//! | [`PickFirst`] | a leader with standbys | one member is read | nothing; weights count |
//! | [`LeastRequest::with_bias`] | the turns of Envoy | a lock, O(log n) | weights |
//! | [`LeastRequest::with_full_scan`] | a few endpoints, one caller | all members are read | nothing; weights count |
//! | `ConsistentHash` (feature `hash`) | endpoints that do better with keys that they have seen: caches, shards, sessions | the hash of the key, two reads | a key of the request; weights count |
//! | [`Sticky`] | an endpoint has what no other has: [sessions](crate::session) | that of another strategy, one lookup | a key of the request, or a cookie |
//! | [`Seeded`] | simulations and tests | that of another strategy, one atomic addition | a seed |
//!
//! [`Strategy`] and [`Pick`] are open for others. The rules of these strategies stand alone in
//! [`rules`](crate::rules), for simulations and other balancers.
//!
//! Not here yet: probing (Prequal), weights by the load that servers report (ORCA; a strategy of yours can
//! read [`Candidate::reported`]), and choosing among a subset of many endpoints (rendezvous subsets,
//! aperture).
//!
//! # Why a call went there
//! [`BalanceLayer::explained`] lets answers and errors carry a [`Decision`]: the endpoint, the strategy, under what
//! circumstances it was chosen, what the candidates cost, and why the others were passed over. It is recorded where
//! the choice is made, for all calls or a share of them.
//!
//! # Choosing without calling
//! [`Balance::pick`] chooses an endpoint for a call that another client makes: a database driver, a raw
//! connection, a redirect. The choice counts as in flight until it is reported or dropped.
//!
//! # Runtimes
//! The task of a set runs on the runtime of the first call, and is started again by the next call after
//! that runtime has ended. A runtime that is alive but no longer driven, such as a current-thread runtime
//! whose `block_on` has returned, runs no tasks: give the layer one that is driven with
//! [`BalanceLayer::with_runtime`].
//!
//! # Cancel safety
//! Dropping a response future drops the call and gives back what it reserved.
//!
//! # Bounds
//! A call waits for at most [`fail_fast_after`](BalanceConfig::fail_fast_after). Nothing is queued apart
//! from the calls that wait.
//!
//! *Changes of the set.* A set that discovery reports is applied as a whole, in one new snapshot, which
//! [`BalanceHandle::rebuilds`] counts. Members that stay keep their service and all that is known of them. The
//! task compares endpoints by their pointer first, and looks closely only at members that changed, or that time
//! changes. On a machine with two cores, 100 changes a second of 10,000 endpoints took 2.7 % of one core and left
//! calls as fast as without; an endpoint that replaces another took 0.32 ms of the task, in which it counts the
//! members anew and makes the table of the strategy, both O(n). A member takes 985 bytes. Measured by
//! `cargo bench --bench churn`. A source that makes its endpoints anew each time can use
//! [`EndpointSet::sharing`](crate::discover::EndpointSet::sharing).
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::{BalanceLayer, BoxError, Endpoint, LeastRequest, connect_fn, discover};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let endpoints = discover::fixed(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
//! let balance = BalanceLayer::new(endpoints, LeastRequest::new())
//!     .with_fail_fast_after(Duration::from_millis(200));
//! let handle = balance.handle();
//! let service = ServiceBuilder::new().layer(balance).service(connect_fn(|endpoint: &Endpoint| {
//!     let host = endpoint.address().host().to_owned();
//!     service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(host.clone())))
//! }));
//! assert!(service.clone().oneshot(()).await?.starts_with("10.0.0."));
//! assert_eq!(handle.members().len(), 2);
//! # Ok(()) }
//! ```

mod config;
mod contender;
mod control;
mod dispatch;
mod explain;
mod future;
mod given_up;
mod group;
mod handle;
mod homes;
mod kept;
mod layer;
mod locality;
mod marks;
mod memory;
mod outlier;
mod pick;
mod probation;
mod retired;
mod select;
mod service;
mod set;
mod slow_start;
mod snapshot;
mod spread;
mod standing;
mod state;
mod strategy;
mod task;
mod waiting;

#[cfg(feature = "hash")]
pub use self::strategy::{BoundedBy, ConsistentHash, ConsistentHashTable, HashScheme};
pub use self::{
    config::BalanceConfig,
    future::ResponseFuture,
    handle::BalanceHandle,
    layer::BalanceLayer,
    locality::{LocalityMode, LocalityWeights, ZoneAware},
    outlier::OutlierConfig,
    pick::Picked,
    service::Balance,
    slow_start::SlowStartConfig,
    strategy::{
        Candidate, Candidates, Geographic, GeographicTable, HealthBased, LatencyTable,
        LeastLatency, LeastRequest, LeastRequestTable, Notes, PeakEwma, Pick, PickFirst,
        PickFirstTable, Priority, PriorityTable, Random, RoundRobin, RoundRobinTable, Seeded,
        SeededTable, Sticky, StickyTable, Strategy, WeightedRandom, WeightedRandomTable,
        WeightedRoundRobin, WeightedRoundRobinTable,
    },
};
pub use crate::decision::{Considered, Decision, Explain, PassedOver, Regime};
