//! The simulations: what happens in each, which figures it gives, and what is good enough.

mod cold_join;
mod sink_hole;
mod slow_server;

use std::time::Duration;

use crate::{
    scenario::Scenario,
    trace::{Trace, quantile},
};

pub(crate) struct Simulation {
    pub(crate) number: u8,
    pub(crate) title: &'static str,
    /// The policy that has to pass: our default, with what the simulation asks for.
    pub(crate) judged: &'static str,
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
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Chart {
    /// Latency, by the part of the requests that took no longer.
    Latency,
    /// Requests that have failed so far.
    Failed,
    /// Requests in flight on the server.
    InFlight,
}

/// The simulation with this number.
pub(crate) fn simulation(number: u8, scale: f64) -> Option<Simulation> {
    match number {
        1 => Some(slow_server::simulation(scale)),
        3 => Some(sink_hole::simulation(scale)),
        4 => Some(cold_join::simulation(scale)),
        _ => None,
    }
}

impl Limit {
    fn at_least(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::AtLeast(bound) }
    }

    fn at_most(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::AtMost(bound) }
    }

    fn below(figure: &'static str, bound: f64) -> Self {
        Self { figure, bound: Bound::Below(bound) }
    }
}

/// The quantile, in milliseconds.
fn millis(sorted: &[Duration], of: f64) -> f64 {
    quantile(sorted, of).as_secs_f64() * 1e3
}
