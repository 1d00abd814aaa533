//! The rules of choosing as plain arithmetic: state and time in, decision out.
//!
//! Guides: [glossary](../_guide/glossary/index.html), [architecture](../_guide/architecture/index.html).
//!
//! No clock, lock, task or source of random numbers: the time is a [`Duration`](std::time::Duration) since any
//! start, numbers come from an [`Rng`] with a seed. So tables of other systems can be replayed against these
//! rules, and one seed reproduces all choices. No input makes them panic: what is out of bounds is clamped
//! as each rule says.
//!
//! # When to use
//! In a strategy or a balancer of your own, in a simulation, or to see why an endpoint was chosen. To balance
//! calls, use [`BalanceLayer`](crate::balance::BalanceLayer).
//!
//! # Rules
//! | Rule | For | Source |
//! |---|---|---|
//! | [`SmoothWrr`] | weighted turns, up to about 64 entries | nginx |
//! | [`Edf`] | weighted turns with weights that change | Envoy |
//! | [`StaticStride`] | weighted turns without a lock | gRFC A58 |
//! | [`AliasTable`] | weighted random choice | Walker, Vose |
//! | [`Choices`], [`fewest`], [`full_scan`], [`least_request_weight`] | the least loaded | gRFC A48, Envoy |
//! | [`reported_weight`], [`Reported`] | weights from the load that servers report | gRFC A58 |
//! | [`PeakEwma`], [`penalty`], [`median`] | the cost of one more request, by latency | Finagle, tower, linkerd |
//! | [`SlowStart`], [`WarmUp`] | the weight of what is new or has recovered | Envoy |
//! | [`Priorities`], [`Split`] | load over priorities by their health, and panic | Envoy |
//! | [`PanicMode`], [`was_good`] | what gets traffic in a panic | Envoy, ours |
//! | [`FailBack`] | load that returns to a priority slowly | ours |
//! | [`Locality`], [`LocalityWrr`] | load over localities by weight and health | Envoy |
//! | [`ZoneRouting`], [`zones`] | traffic that stays in the caller's zone | Envoy |
//! | [`SuccessRate`], [`FailurePercentage`], [`OutlierDetector`] | endpoints that fail more than others | gRFC A50, Envoy |
//! | [`EjectionTime`], [`EjectionLimit`] | how long, and how many at most | gRFC A50, Envoy |
//! | [`Standing`], [`EndpointHealth`] | ejection, probation, slow start and checks of one endpoint | Envoy, linkerd, ours |
//! | `hash` (feature `hash`) | keys that stay at their endpoint | Maglev, Envoy, libketama, nginx, Skipper, Zalando |
//! | [`Quantiles`] | when to hedge | HdrHistogram |
//! | [`StateTracker`] | rise and fall of results that come from outside | HAProxy |
//! | [`CircuitHandle`](crate::breaker::CircuitHandle) | a circuit breaker without a service, with a clock of its own | resilience4j |
//! | [`theory`] | closed forms to compare with | papers |

mod alias;
mod detector;
mod edf;
mod ejection;
mod endpoint_health;
mod failback;
#[cfg(feature = "hash")]
pub mod hash;
mod least_request;
mod locality;
mod panic;
mod peak_ewma;
mod priority;
mod quantile;
mod rates;
mod reported;
pub(crate) mod rise_fall;
mod rng;
mod slow_start;
mod smooth;
mod standing;
mod state_tracker;
mod stride;
pub mod theory;
mod zone;

pub(crate) use self::peak_ewma::peak_ewma_cost;
pub use self::{
    alias::AliasTable,
    detector::{OutlierDetector, OutlierRule, Swept, next_sweep},
    edf::Edf,
    ejection::{EjectionLimit, EjectionTime, Population},
    endpoint_health::{CallEnd, EndpointHealth, HealthRule, Probe},
    failback::{FailBack, FailBackRule},
    least_request::{Choices, fewest, full_scan, least_request_weight},
    locality::{Locality, LocalityWrr, locality_weight},
    panic::{PanicMode, was_good},
    peak_ewma::{Latency, Load, PeakEwma, UNKNOWN_COST, median, penalty},
    priority::{Availability, Priorities, Priority, Split, Weights},
    quantile::Quantiles,
    rates::{Calls, FailurePercentage, SuccessRate, mean_and_stdev},
    reported::{ReportRule, Reported, reported_weight},
    rng::Rng,
    slow_start::{SlowStart, WarmUp},
    smooth::SmoothWrr,
    standing::{Standing, StandingEvent},
    state_tracker::{StateCounts, StateTracker},
    stride::StaticStride,
    zone::{ZonePlan, ZoneRouting, zones},
};
