//! What is known of the latency of a member, and what a call would cost there.

use std::time::Duration;

use super::{measure::Measure, member::Member};
use crate::rules;

impl Member {
    /// Returns the estimate of its latency, or `None` before the first sample.
    ///
    /// The estimate follows a rise at once, and a fall within about ten seconds, or as soon as three samples
    /// in a row have confirmed it ([`rules::PeakEwma`]). A failure counts as 20 times what calls of the set
    /// take, at least 100 ms and at most 5 s. As of the last sample: it does not fade.
    pub fn latency(&self) -> Option<Duration> {
        self.load().nanos().map(|nanos| Duration::from_nanos(nanos as u64))
    }

    /// Sets how its latency is estimated.
    pub(crate) fn set_measure(&self, measure: Measure) {
        if self.load().measure() != measure {
            self.load().set_measure(measure);
        }
    }

    /// The cost of another call by `rule`, at `now` of the set's clock. While its latency is unknown, `seed`
    /// counts, in nanoseconds; 0 is none. `weight` is 1 where all weigh the same.
    #[inline]
    pub(crate) fn peak_ewma(
        &self,
        rule: &rules::PeakEwma,
        seed: f64,
        weight: f64,
        now: u64,
    ) -> f64 {
        let (load, latency) = (self.load(), self.latency_or(rule, seed, now));
        rules::peak_ewma_cost(latency, load.in_flight(), load.oldest(now) as f64, weight)
    }

    /// The same whatever the load and the weight.
    #[inline]
    pub(crate) fn peak_latency(&self, rule: &rules::PeakEwma, seed: f64, now: u64) -> f64 {
        let latency = self.latency_or(rule, seed, now);
        // What is not known is tried with one call at a time.
        let in_flight = if latency > 0.0 { 0 } else { self.in_flight() };
        rules::peak_ewma_cost(latency, in_flight, self.load().oldest(now) as f64, 1.0)
    }

    #[inline]
    fn latency_or(&self, rule: &rules::PeakEwma, seed: f64, now: u64) -> f64 {
        let (estimate, since) = self.load().estimate(now);
        if estimate > 0.0 { rule.decayed(estimate, since as f64) } else { seed }
    }

    /// The share of calls that fail of late, from 0 to 1.
    pub(crate) fn failing(&self, now: u64) -> f64 {
        self.load().failing(now)
    }

    /// Lets its estimate fall to what it is now.
    pub(crate) fn fade(&self, now: u64) {
        self.load().fade(now);
    }

    /// Records the latency of a call that succeeded.
    pub fn observe(&self, latency: Duration) {
        self.load().sample(latency, self.nanos());
    }

    /// Takes a sample that counts only if it is above the estimate.
    pub(super) fn observe_if_worse(&self, latency: Duration) {
        self.load().sample_if_worse(latency, self.nanos());
    }

    /// Takes the sample of a call that failed, and asked to be left alone for a while.
    pub(crate) fn observe_failure(&self, took: Duration, asked: Option<Duration>) {
        let now = self.nanos();
        let penalty = rules::penalty(self.signal.median.get(now));
        self.load().sample_failure(took, penalty, asked, now);
    }
}
