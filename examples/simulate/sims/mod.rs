//! The simulations: what happens in each, which figures it gives, and what is good enough.

mod cold_join;
mod hot_keys;
mod scale_up;
mod sink_hole;
mod slow_server;

use std::time::Duration;

use crate::{
    policy::Policy,
    scenario::Scenario,
    trace::{Trace, quantile},
};

pub(crate) struct Simulation {
    pub(crate) number: u8,
    pub(crate) title: &'static str,
    /// The policy that has to pass: our default, with what the simulation asks for.
    pub(crate) judged: &'static str,
    /// Those that are compared.
    pub(crate) policies: &'static [Policy],
    /// The server that something happens to.
    pub(crate) server: usize,
    pub(crate) runs: Vec<Run>,
    pub(crate) figures: fn(&Trace) -> Figures,
    /// What the second chart shows; the first is the share of the server.
    pub(crate) chart: Chart,
}

/// Figures with their names. Times are in milliseconds.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// A scenario, and the limits of our default in it.
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) limits: Vec<Limit>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) figure: &'static str,
    pub(crate) bound: Bound,
    /// The bound is this often the figure of that policy, which comes earlier.
    pub(crate) of: Option<&'static str>,
    /// Whose figure it is; `None`: of our default. Others come earlier.
    pub(crate) policy: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Bound {
    pub(crate) fn times(self, factor: f64) -> Self {
        match self {
            Self::AtLeast(bound) => Self::AtLeast(bound * factor),
            Self::AtMost(bound) => Self::AtMost(bound * factor),
            Self::Below(bound) => Self::Below(bound * factor),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Chart {
    /// Latency, by the part of the requests that took no longer.
    Latency,
    /// Requests that have failed so far.
    Failed,
    /// Requests in flight on the server.
    InFlight,
    /// The slowest batches of each window.
    Batches,
}

/// The simulation with this number.
pub(crate) fn simulation(number: u8, scale: f64) -> Option<Simulation> {
    match number {
        1 => Some(slow_server::simulation(scale)),
        3 => Some(sink_hole::simulation(scale)),
        4 => Some(cold_join::simulation(scale)),
        6 => Some(hot_keys::simulation(scale)),
        7 => Some(scale_up::simulation(scale)),
        _ => None,
    }
}

impl Limit {
    fn at_least(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::AtLeast(bound), of: None, policy: None }
    }

    fn at_most(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::AtMost(bound), of: None, policy: None }
    }

    /// As [`at_most`](Self::at_most), but in times of what `policy` has.
    fn at_most_of(figure: &'static str, times: f64, policy: &'static str) -> Self {
        Self { figure, bound: Bound::AtMost(times), of: Some(policy), policy: None }
    }

    /// As [`at_least`](Self::at_least), but of `policy` rather than of our default.
    fn of_at_least(policy: &'static str, figure: &'static str, bound: f64) -> Self {
        Self { policy: Some(policy), ..Self::at_least(figure, bound) }
    }

    fn below(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::Below(bound), of: None, policy: None }
    }
}

/// The quantile, in milliseconds.
fn millis(sorted: &[Duration], of: f64) -> f64 {
    quantile(sorted, of).as_secs_f64() * 1e3
}
