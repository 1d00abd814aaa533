//! What is known of the load of one member: three words, each whole by itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::ends::Begun;

pub(super) struct Load {
    /// Calls in flight in the low 24 bits, calls ever begun above: both with one addition.
    calls: AtomicU64,
    /// Peak EWMA: microseconds above, the millisecond of the sample below.
    latency: AtomicU64,
    /// A value reported by the endpoint itself, as the bits of a float.
    reported: AtomicU64,
}

const FLIGHT: u64 = (1 << 24) - 1;
const BEGUN: u64 = 1 << 24;

/// The latency of an endpoint whose first call has not ended, in microseconds.
#[cfg(feature = "tower")]
const FIRST_MICROS: u32 = 1_000_000;

/// Time constant of the latency estimate, as in Finagle and tower.
const DECAY: Duration = Duration::from_secs(10);

// Relaxed everywhere: a load is an estimate by nature.
impl Load {
    pub(super) fn new() -> Self {
        Self {
            calls: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            reported: AtomicU64::new(f64::NAN.to_bits()),
        }
    }

    /// Counts a call as in flight, until [`land`](Self::land).
    #[inline]
    pub(super) fn take_off(&self) {
        self.calls.fetch_add(BEGUN + 1, Ordering::Relaxed);
    }

    /// Counts a call as in flight once more, that was begun already.
    #[cfg(feature = "http")]
    pub(super) fn fly_on(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
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
        Begun { begun: word >> 24, in_flight: (word & FLIGHT) as u32 }
    }

    /// The estimate as of the last sample; `None` before the first.
    pub(super) fn latency(&self) -> Option<Duration> {
        let micros = self.latency.load(Ordering::Relaxed) >> 32;
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// The calls in flight and one more, times the latency in microseconds. While nothing is in flight the
    /// estimate fades, so that one that was slow is tried again; while something is, it does not, since
    /// calls that hang bring no sample. `now` is in nanoseconds, as is that of [`sample`](Self::sample).
    #[cfg(feature = "tower")]
    pub(super) fn cost(&self, now: u64) -> u64 {
        let (micros, elapsed) = estimate(self.latency.load(Ordering::Relaxed), now);
        let in_flight = self.in_flight();
        let latency = match (in_flight, micros) {
            (0, _) => peak_ewma(micros, elapsed, 0).max(1),
            (_, 0) => FIRST_MICROS,
            _ => micros,
        };
        (u64::from(in_flight) + 1) * u64::from(latency)
    }

    pub(super) fn sample(&self, latency: Duration, now: u64, only_worse: bool) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        let _ = self.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (old, elapsed) = estimate(word, now);
            let new = peak_ewma(old, elapsed, micros);
            (!only_worse || new > old).then_some(u64::from(new) << 32 | u64::from(millis(now)))
        });
    }

    pub(super) fn reported(&self) -> Option<f64> {
        let value = f64::from_bits(self.reported.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    pub(super) fn report(&self, value: f64) {
        self.reported.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// The microseconds of an estimate, and the milliseconds since its sample.
fn estimate(word: u64, now: u64) -> (u32, u32) {
    ((word >> 32) as u32, millis(now).wrapping_sub(word as u32))
}

fn millis(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

/// A sample above the average replaces it; one below draws it down with the weight of the time
/// that passed: `w = e^(-t/τ)`, `ewma = old·w + sample·(1-w)`.
fn peak_ewma(old: u32, elapsed_millis: u32, sample: u32) -> u32 {
    if sample >= old {
        return sample;
    }
    let weight = (-f64::from(elapsed_millis) / (DECAY.as_millis() as f64)).exp();
    (f64::from(old) * weight + f64::from(sample) * (1.0 - weight)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_and_what_was_begun_are_counted_apart() {
        let load = Load::new();
        load.take_off();
        load.take_off();
        assert_eq!((load.in_flight(), load.begun().begun), (2, 2));
        load.land();
        load.land();
        assert_eq!((load.in_flight(), load.begun().begun), (0, 2));
    }

    #[test]
    fn the_estimate_rises_at_once_and_falls_slowly() {
        assert_eq!(peak_ewma(100, 0, 900), 900);
        assert_eq!(peak_ewma(900, 0, 100), 900);
        assert_eq!(peak_ewma(1_000, 10_000, 0), 368);
        assert_eq!(peak_ewma(1_000, u32::MAX, 100), 100);
    }

    #[cfg(feature = "tower")]
    #[test]
    fn the_cost_grows_with_calls_and_latency_and_fades() {
        let (load, second) = (Load::new(), 1_000_000_000);
        assert_eq!(load.cost(0), 1);
        load.sample(Duration::from_millis(1), second, false);
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
