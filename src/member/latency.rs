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
    /// counts, in nanoseconds; 0 is none.
    #[inline]
    pub(crate) fn peak_ewma(&self, rule: &rules::PeakEwma, seed: f64, now: u64) -> f64 {
        let (load, at) = (self.load(), Duration::from_nanos(now));
        let latency = self.latency_or(seed, now);
        let (in_flight, weight) = (load.in_flight(), f64::from(self.weight().max(1)));
        rule.cost(&latency, rules::Load { in_flight, oldest: load.oldest(now), weight }, at)
    }

    /// The same whatever the load and the weight.
    #[inline]
    pub(crate) fn peak_latency(&self, rule: &rules::PeakEwma, seed: f64, now: u64) -> f64 {
        let (latency, at) = (self.latency_or(seed, now), Duration::from_nanos(now));
        // What is not known is tried with one call at a time.
        let in_flight = if latency.nanos() > 0.0 { 0 } else { self.in_flight() };
        let oldest = self.load().oldest(now);
        rule.cost(&latency, rules::Load { in_flight, oldest, weight: 1.0 }, at)
    }

    #[inline]
    fn latency_or(&self, seed: f64, now: u64) -> rules::Latency {
        let known = self.load().latency();
        let is_known = known.nanos() > 0.0;
        if is_known { known } else { rules::Latency::seeded(seed, Duration::from_nanos(now)) }
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
