//! How much work a member does: seconds of calls in each second, as Little's law has it.
#![cfg_attr(not(feature = "hash"), allow(dead_code, reason = "hashing alone asks for it"))]

use std::sync::atomic::{AtomicU64, Ordering};

/// The time that calls take, added up, and the average over a second of what that grows by.
#[derive(Debug, Default)]
pub(super) struct Busy {
    /// Calls that wait in the low 24 bits. Above them the sum of the moments at which calls ended, less that of
    /// those at which they began, in microseconds modulo 2^40: so one addition is all that a begin or an end takes.
    word: AtomicU64,
    /// The average, as the bits of a float.
    mean: AtomicU64,
    /// What had been added up by the last look, and when that was. Only the task of the set looks.
    seen: AtomicU64,
    seen_at: AtomicU64,
}

const BITS: u32 = 24;
const WAITING: u64 = (1 << BITS) - 1;
const MICROS: u64 = (1 << 40) - 1;
/// Over which it is averaged: a second, in microseconds.
const WINDOW: f64 = 1e6;

// Relaxed everywhere: a load is an estimate by nature. All times are in nanoseconds of the member's clock.
impl Busy {
    pub(super) fn begin(&self, now: u64) {
        self.word.fetch_add(1_u64.wrapping_sub((now / 1_000) << BITS), Ordering::Relaxed);
    }

    pub(super) fn end(&self, now: u64) {
        self.word.fetch_add(((now / 1_000) << BITS).wrapping_sub(1), Ordering::Relaxed);
    }

    /// What all calls have taken by now, those that wait included, in microseconds modulo 2^40.
    fn micros(&self, now: u64) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        (word >> BITS).wrapping_add((word & WAITING).wrapping_mul(now / 1_000)) & MICROS
    }

    #[inline]
    pub(super) fn mean(&self) -> f64 {
        f64::from_bits(self.mean.load(Ordering::Relaxed))
    }

    /// The average as of now.
    pub(super) fn look(&self, now: u64) -> f64 {
        let (micros, seen_at) = (self.micros(now), self.seen_at.swap(now, Ordering::Relaxed));
        let work = grown(micros.wrapping_sub(self.seen.swap(micros, Ordering::Relaxed)));
        let mean = averaged(self.mean(), work as f64, now.saturating_sub(seen_at) as f64 / 1e3);
        self.mean.store(mean.to_bits(), Ordering::Relaxed);
        mean
    }
}

/// By how much a sum grew, of which the low 40 bits count. Less than nothing is nothing: a call may have begun after
/// `now` was read. The next look has that part.
fn grown(difference: u64) -> u64 {
    let difference = difference & MICROS;
    if difference > MICROS / 2 { 0 } else { difference }
}

/// The average once so much `work` was done within `elapsed`: what is a second old counts 1/e.
fn averaged(mean: f64, work: f64, elapsed: f64) -> f64 {
    if elapsed <= 0.0 {
        return mean;
    }
    let kept = (-elapsed / WINDOW).exp();
    mean * kept + work / elapsed * (1.0 - kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn short_calls_in_bursts_are_what_they_are_on_average() {
        let busy = Busy::default();
        let mut now = 0;
        for _ in 0..100 {
            // A hundred of a millisecond each, and then nothing.
            (0..100).for_each(|_| busy.begin(now));
            now += MS;
            (0..100).for_each(|_| busy.end(now));
            now += 49 * MS;
            busy.look(now);
        }
        assert!((busy.mean() - 2.0).abs() < 0.02, "{}", busy.mean());
        assert!(busy.look(now + 1_000 * MS) < 0.74, "a second later");
        assert!(busy.look(now + 20_000 * MS) < 1e-6);
    }

    /// A look that others come in between of: its moment is earlier than what it sees.
    #[test]
    fn a_call_that_begins_after_the_moment_of_a_look_is_no_work() {
        let busy = Busy::default();
        busy.look(10 * MS);
        busy.begin(60 * MS + 7_000);
        assert_eq!(busy.look(60 * MS), 0.0);
        let mean = busy.look(1_060 * MS);
        assert!((0.6..0.7).contains(&mean), "{mean}: a call for a second");
        busy.end(1_060 * MS);
        assert!(busy.look(1_110 * MS) < 0.7);
    }

    #[test]
    fn a_call_counts_while_it_waits() {
        let busy = Busy::default();
        busy.begin(0);
        assert!(busy.look(10_000 * MS) > 0.999);
        busy.end(10_000 * MS);
    }

    proptest! {
        /// However often it is looked, and also where the sum begins anew.
        #[test]
        fn the_sum_is_what_calls_took(
            start in prop::sample::select(vec![0, (MICROS - 500_000) * 1_000]),
            steps in prop::collection::vec((0_u64..50, prop::option::of(0_usize..8)), 1..200),
        ) {
            let (busy, mut now, mut under_way, mut took) = (Busy::default(), start, Vec::new(), 0);
            let (mut seen, mut sum) = (busy.micros(now), 0);
            for (wait, ends) in steps {
                now += wait * MS;
                match ends {
                    Some(ends) if !under_way.is_empty() => {
                        let began = under_way.swap_remove(ends % under_way.len());
                        took += now - began;
                        busy.end(now);
                    }
                    _ => {
                        under_way.push(now);
                        busy.begin(now);
                    }
                }
                let micros = busy.micros(now);
                sum += micros.wrapping_sub(seen) & MICROS;
                seen = micros;
                let waiting: u64 = under_way.iter().map(|began| now - began).sum();
                prop_assert_eq!(sum, (took + waiting) / 1_000);
            }
        }
    }
}
