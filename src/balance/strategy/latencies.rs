//! What strategies that look at latencies prepare for a snapshot.

use std::sync::Arc;

use super::candidates::Candidate;
use crate::{
    member::{Measure, Member, median_estimate},
    rules,
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
        }
    }

    /// The time of a choice.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.as_ref().map_or(0, Clock::nanos)
    }

    /// Its latency or the age of its oldest call, times its calls and one more, for its weight.
    #[inline]
    pub(super) fn cost(&self, of: Candidate<'_>, now: u64) -> f64 {
        of.member().peak_ewma(&self.rule, self.seed, now)
    }

    /// Its latency or the age of its oldest call.
    #[inline]
    pub(super) fn latency(&self, of: Candidate<'_>, now: u64) -> f64 {
        of.member().peak_latency(&self.rule, self.seed, now)
    }
}
