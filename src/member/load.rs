//! What is known of the load of one member: words, each whole by itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    busy::Busy,
    ends::Begun,
    failing::Failing,
    measure::Measure,
    oldest::{Batch, Oldest},
    typical::Typical,
};
use crate::rules::{Latency, PeakEwma};

/// In this order, so that what a choice reads lies together.
#[repr(C)]
pub(super) struct Load {
    /// Calls in flight in the low 24 bits, calls ever begun above: both with one addition.
    calls: AtomicU64,
    /// The estimate, a [`Latency`] in three words, and when it was updated. A writer that comes between two
    /// words of another makes it a little wrong for one sample, but loses none. The bits of a float;
    /// 0 is unknown.
    nanos: AtomicU64,
    /// In nanoseconds of the member's clock.
    updated: AtomicU64,
    oldest: Oldest,
    /// The samples that confirm that it is too high: how many in the two lowest bits, and the largest.
    confirming: AtomicU64,
    failing: Failing,
    /// How the latency is estimated.
    measure: AtomicU64,
    typical: Typical,
    pub(super) busy: Busy,
    /// A value reported by the endpoint itself, as the bits of a float.
    reported: AtomicU64,
    /// Calls that have ended, and are in flight until the end of their body.
    tracked: AtomicU64,
}

const FLIGHT: u64 = (1 << 24) - 1;
const BEGUN: u64 = 1 << 24;

/// The latency of an endpoint whose first call has not ended, in microseconds.
#[cfg(feature = "tower")]
const FIRST_MICROS: u64 = 1_000_000;

// Relaxed everywhere: a load is an estimate by nature.
impl Load {
    pub(super) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            updated: AtomicU64::new(0),
            oldest: Oldest::default(),
            confirming: AtomicU64::new(0),
            failing: Failing::default(),
            measure: AtomicU64::new(Measure::DEFAULT.pack()),
            typical: Typical::default(),
            busy: Busy::default(),
            reported: AtomicU64::new(f64::NAN.to_bits()),
            tracked: AtomicU64::new(0),
        }
    }

    /// Counts a call as in flight, until [`land`](Self::land).
    #[inline]
    pub(super) fn take_off(&self) {
        self.calls.fetch_add(BEGUN + 1, Ordering::Relaxed);
    }

    /// Counts a call as in flight once more, that was begun already, until [`land_on`](Self::land_on).
    #[cfg(feature = "http")]
    pub(super) fn fly_on(&self) {
        self.tracked.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn land_on(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
        self.tracked.fetch_sub(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn land(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        (self.calls.load(Ordering::Relaxed) & FLIGHT) as u32
    }

    pub(super) fn begun(&self) -> Begun {
        let word = self.calls.load(Ordering::Relaxed);
        let in_flight = (word & FLIGHT).saturating_sub(self.tracked.load(Ordering::Relaxed));
        Begun { begun: word >> 24, in_flight: in_flight as u32 }
    }

    /// A call in flight has to wait. All times are in nanoseconds of the member's clock.
    pub(super) fn wait(&self, now: u64) -> Option<Batch> {
        if self.measure().ages { self.oldest.enter(now) } else { None }
    }

    /// A call that had to wait has ended.
    pub(super) fn wait_no_more(&self, batch: Batch) {
        self.oldest.leave(batch);
    }

    /// A call in flight has to wait: whether the time that it takes is added up.
    pub(super) fn work(&self, now: u64) -> bool {
        let works = self.measure().works;
        if works {
            self.busy.begin(now);
        }
        works
    }

    /// The age of the oldest call that waits, in nanoseconds, if that is measured, or a little less.
    #[inline]
    pub(super) fn oldest(&self, now: u64) -> u64 {
        self.oldest.age(now)
    }

    pub(super) fn measure(&self) -> Measure {
        Measure::unpack(self.measure.load(Ordering::Relaxed))
    }

    pub(super) fn set_measure(&self, measure: Measure) {
        self.measure.store(measure.pack(), Ordering::Relaxed);
    }

    /// The estimate as of the last sample, or 0, and the nanoseconds since then.
    #[inline]
    pub(super) fn estimate(&self, now: u64) -> (f64, u64) {
        let nanos = f64::from_bits(self.nanos.load(Ordering::Relaxed));
        (nanos, now.saturating_sub(self.updated.load(Ordering::Relaxed)))
    }

    /// Nanoseconds of that; `None` before the first sample.
    pub(super) fn nanos(&self) -> Option<f64> {
        Some(f64::from_bits(self.nanos.load(Ordering::Relaxed))).filter(|&nanos| nanos > 0.0)
    }

    /// What calls that succeed take as a rule, in nanoseconds; `None` before the first.
    pub(super) fn typical(&self) -> Option<f64> {
        self.typical.nanos()
    }

    /// The calls in flight and one more, times the latency in microseconds. While nothing is in flight the
    /// estimate fades, so that one that was slow is tried again; while something is, it does not, since
    /// calls that hang bring no sample.
    #[cfg(feature = "tower")]
    pub(super) fn cost(&self, now: u64) -> u64 {
        let in_flight = self.in_flight();
        let (estimate, since) = self.estimate(now);
        let since = if in_flight == 0 { since as f64 } else { 0.0 };
        let nanos =
            Some(self.measure().rule().decayed(estimate, since)).filter(|&nanos| nanos > 0.0);
        let micros = match nanos {
            Some(nanos) => ((nanos / 1_000.0).round() as u64).max(1),
            None if in_flight == 0 => 1,
            None => FIRST_MICROS,
        };
        (u64::from(in_flight) + 1).saturating_mul(micros)
    }

    /// How long ago the last sample came.
    pub(super) fn sampled(&self, now: u64) -> Option<Duration> {
        self.nanos()?;
        let updated = self.updated.load(Ordering::Relaxed);
        Some(Duration::from_nanos(now.saturating_sub(updated)))
    }

    /// The share of calls that fail of late.
    pub(super) fn failing(&self, now: u64) -> f64 {
        self.failing.share(now)
    }

    pub(super) fn sample(&self, latency: Duration, now: u64) {
        let latency = latency.max(Duration::from_nanos(1));
        self.failing.succeeded(now);
        self.typical.note(crate::time::nanos(latency));
        self.update(now, |rule, of, now| rule.observe(of, latency, now));
    }

    /// Takes a sample that counts only if it is above the estimate, also if that has faded since.
    pub(super) fn sample_if_worse(&self, latency: Duration, now: u64) {
        if self.nanos().is_none_or(|known| crate::time::nanos(latency) as f64 > known) {
            self.update(now, |rule, of, now| rule.observe_worse(of, latency, now));
        }
    }

    /// `asked` is the wait that the endpoint asked for.
    pub(super) fn sample_failure(
        &self,
        took: Duration,
        penalty: Duration,
        asked: Option<Duration>,
        now: u64,
    ) {
        self.failing.failed(now);
        self.update(now, |rule, of, now| rule.observe_failure(of, took, penalty, asked, now));
    }

    /// Lets the estimate fall to what it is now, as the classic rule does with each reading.
    pub(super) fn fade(&self, now: u64) {
        self.update(now, |rule, of, now| {
            rule.decay(of, now);
        });
    }

    fn update(&self, now: u64, change: impl Fn(PeakEwma, &mut Latency, Duration)) {
        let (rule, now) = (self.measure().rule(), Duration::from_nanos(now));
        let mut after = Latency::default();
        let _ = self.nanos.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |nanos| {
            after = self.unpack(nanos);
            change(rule, &mut after, now);
            Some(after.nanos().to_bits())
        });
        // All but the estimate itself.
        let (count, largest) = after.confirming();
        self.confirming.store(largest.to_bits() & !3 | u64::from(count), Ordering::Relaxed);
        self.updated.fetch_max(crate::time::nanos(after.updated()), Ordering::Relaxed);
    }

    fn unpack(&self, nanos: u64) -> Latency {
        let confirming = self.confirming.load(Ordering::Relaxed);
        let updated = Duration::from_nanos(self.updated.load(Ordering::Relaxed));
        let largest = f64::from_bits(confirming & !3);
        Latency::seeded(f64::from_bits(nanos), updated).confirmed((confirming & 3) as u8, largest)
    }

    pub(super) fn reported(&self) -> Option<f64> {
        let value = f64::from_bits(self.reported.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    pub(super) fn report(&self, value: f64) {
        self.reported.store(value.to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MS: Duration = Duration::from_millis(1);

    fn millis(load: &Load) -> f64 {
        load.nanos().unwrap_or_default() / 1e6
    }

    #[test]
    fn what_is_in_flight_and_what_was_begun_are_counted_apart() {
        let load = Load::new();
        load.take_off();
        load.take_off();
        assert_eq!((load.in_flight(), load.begun().begun), (2, 2));
        load.land();
        load.land();
        assert_eq!((load.in_flight(), load.begun().begun), (0, 2));
        #[cfg(feature = "http")]
        {
            load.fly_on();
            assert_eq!((load.in_flight(), load.begun().in_flight), (1, 0), "its body goes on");
            load.land_on();
        }
    }

    #[test]
    fn the_estimate_rises_at_once_falls_slowly_and_snaps_down_when_it_is_confirmed() {
        let load = Load::new();
        load.sample(100 * MS, 0);
        load.sample(900 * MS, 0);
        assert_eq!(millis(&load), 900.0);
        load.sample(100 * MS, 0);
        load.sample(150 * MS, 0);
        assert_eq!(millis(&load), 900.0);
        load.sample(120 * MS, 0);
        assert!((millis(&load) - 150.0).abs() < 1e-6);
        load.sample(1_000 * MS, 0);
        load.sample(Duration::ZERO, 10 * SECOND);
        assert_eq!(millis(&load).round(), 368.0);
    }

    #[test]
    fn the_classic_words_are_the_rule_to_the_bit() {
        let (load, rule) = (Load::new(), PeakEwma::classic());
        load.set_measure(Measure { classic: true, ..Measure::DEFAULT });
        let mut model = Latency::default();
        for (step, sample) in [(1, 70), (2, 33), (2, 90), (7, 1), (7, 2), (7, 1), (9, 3)] {
            let now = Duration::from_nanos(step * SECOND / 7);
            load.sample(sample * MS, step * SECOND / 7);
            rule.observe(&mut model, sample * MS, now);
            load.fade(step * SECOND / 6);
            rule.decay(&mut model, Duration::from_nanos(step * SECOND / 6));
            assert_eq!(load.nanos(), rule.latency(&model, model.updated()));
        }
    }

    #[test]
    fn the_oldest_is_known_where_it_is_measured() {
        let load = Load::new();
        assert_eq!(load.wait(SECOND), None);
        load.set_measure(Measure { ages: true, ..Measure::DEFAULT });
        let batch = load.wait(SECOND).unwrap();
        assert!(load.oldest(3 * SECOND) > SECOND * 1_999 / 1_000);
        load.wait_no_more(batch);
        assert_eq!(load.oldest(3 * SECOND), 0);
    }

    #[cfg(feature = "tower")]
    #[test]
    fn the_cost_grows_with_calls_and_latency_and_fades() {
        let (load, second) = (Load::new(), SECOND);
        assert_eq!(load.cost(0), 1);
        load.sample(Duration::from_millis(1), second);
        assert_eq!(load.cost(second), 1_000);
        assert_eq!(load.cost(11 * second), 368);
        load.take_off();
        assert_eq!(
            (load.cost(second), load.cost(11 * second)),
            (2_000, 2_000),
            "not while it is called"
        );
        let hangs = Load::new();
        hangs.take_off();
        assert_eq!(hangs.cost(0), 2_000_000);
    }
}
