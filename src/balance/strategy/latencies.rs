//! What strategies that look at latencies prepare for a snapshot.

use std::sync::Arc;

use super::{
    candidates::Candidate,
    draw::{any, uneven},
};
use crate::{
    member::{Measure, Member, median_estimate},
    rules::{self, AliasTable},
    sync::random,
    time::Clock,
};

/// State of [`PeakEwma`](super::PeakEwma) and [`LeastLatency`](super::LeastLatency): what is read of a clock,
/// and what an endpoint counts as that is not known yet.
#[derive(Debug)]
pub struct LatencyTable {
    /// How many there are if two of them are compared, as nearly always; or 0.
    pub(super) two_of: u32,
    rule: rules::PeakEwma,
    /// The median estimate of those that are known, in nanoseconds; or 0.
    seed: f64,
    /// That of the members. `None` without members.
    clock: Option<Clock>,
    /// `None` if all weigh the same, or weights do not count.
    weights: Option<Weights>,
}

#[derive(Debug)]
struct Weights {
    drawn: AliasTable,
    mean: f64,
}

impl LatencyTable {
    pub(super) fn new(members: &[Arc<Member>], measure: Measure, two_of: u32) -> Self {
        members.iter().for_each(|member| member.set_measure(measure));
        let seed = if measure.classic { None } else { median_estimate(members) };
        Self {
            two_of,
            rule: measure.rule(),
            seed: seed.unwrap_or_default(),
            clock: members.first().map(|member| member.clock().clone()),
            weights: None,
        }
    }

    /// Lets the weights of the members count.
    pub(super) fn weighed(mut self, members: &[Arc<Member>]) -> Self {
        let sum: u64 = members.iter().map(|member| u64::from(member.weight())).sum();
        let mean = sum as f64 / members.len() as f64;
        self.weights = uneven(members).map(|drawn| Weights { drawn, mean });
        if self.weights.is_some() {
            self.two_of = 0;
        }
        self
    }

    /// The time of a choice.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.as_ref().map_or(0, Clock::nanos)
    }

    /// Its latency or the age of its oldest call, times its calls and one more. Its weight does not count.
    #[inline]
    pub(super) fn cost(&self, of: Candidate<'_>, now: u64) -> f64 {
        of.member().peak_ewma(&self.rule, self.seed, 1.0, now)
    }

    /// The same, where its calls count in proportion to its weight, and the one more does not: what is drawn
    /// by weight has its share already while it is idle.
    pub(super) fn weighed_cost(&self, of: Candidate<'_>, now: u64) -> f64 {
        let (weight, calls) = (self.weight(of), f64::from(of.load()));
        let weight = weight * (calls + 1.0) / (calls + weight);
        of.member().peak_ewma(&self.rule, self.seed, weight, now)
    }

    /// Whether the weights differ, and count.
    pub(super) fn is_weighed(&self) -> bool {
        self.weights.is_some()
    }

    /// An index below `len`, by weight.
    pub(super) fn draw(&self, len: usize) -> usize {
        self.weights.as_ref().map_or_else(|| any(len), |weights| weights.drawn.pick(random()))
    }

    /// In proportion to the mean, which is 1.
    fn weight(&self, of: Candidate<'_>) -> f64 {
        let weight = |weights: &Weights| f64::from(of.weight().max(1)) / weights.mean;
        self.weights.as_ref().map_or(1.0, weight)
    }

    /// Its latency or the age of its oldest call.
    #[inline]
    pub(super) fn latency(&self, of: Candidate<'_>, now: u64) -> f64 {
        of.member().peak_latency(&self.rule, self.seed, now)
    }
}
