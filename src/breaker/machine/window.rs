//! The windows that ratios are of, pure: what happened and when in, counts out.

use std::time::Duration;

use crate::{breaker::config, time::nanos};

/// What happened lately.
#[derive(Debug)]
pub(in crate::breaker) enum Window {
    Calls(Ring),
    Time(Buckets),
}

/// What a window holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::breaker) struct Tally {
    pub(in crate::breaker) calls: u64,
    pub(in crate::breaker) failures: u64,
    pub(in crate::breaker) slow: u64,
}

impl Window {
    pub(in crate::breaker) fn new(window: config::Window, now: u64) -> Self {
        match window {
            config::Window::Calls(calls) => Self::Calls(Ring::new(calls as usize)),
            config::Window::Time(time) => Self::Time(Buckets::new(time, now)),
        }
    }

    /// Calls that went well: some between the last time that anything was added and now, and some
    /// just now.
    pub(in crate::breaker) fn add_good(&mut self, earlier: u64, just_now: u64, now: u64) {
        match self {
            Self::Calls(ring) => ring.push_good(earlier + just_now),
            Self::Time(buckets) => {
                buckets.spread_good(earlier, now);
                buckets.add(just_now, false, false, now);
            }
        }
    }

    /// One call that ended now.
    pub(in crate::breaker) fn add(&mut self, failed: bool, slow: bool, now: u64) {
        match self {
            Self::Calls(ring) => ring.push(failed, slow),
            Self::Time(buckets) => buckets.add(1, failed, slow, now),
        }
    }

    /// A call has failed that was added when only that it was slow was known. Which of the slow ones it
    /// was is no matter: the newest that is good stands for it, and a new one if none is left.
    pub(in crate::breaker) fn fail_slow(&mut self, now: u64) {
        let found = match self {
            Self::Calls(ring) => ring.fail_slow(),
            Self::Time(buckets) => buckets.fail_slow(now),
        };
        if !found {
            self.add(true, false, now);
        }
    }

    pub(in crate::breaker) fn tally(&mut self, now: u64) -> Tally {
        match self {
            Self::Calls(ring) => ring.tally,
            Self::Time(buckets) => buckets.tally(now),
        }
    }

    /// Nothing has happened.
    pub(in crate::breaker) fn clear(&mut self, now: u64) {
        match self {
            Self::Calls(ring) => *ring = Ring::new(ring.size),
            Self::Time(buckets) => {
                *buckets = Buckets { length: buckets.length, ..Buckets::empty(now) }
            }
        }
    }

    /// Another size of the same kind keeps what fits; another kind starts empty.
    pub(in crate::breaker) fn resize(&mut self, window: config::Window, now: u64) {
        match (self, window) {
            (Self::Calls(ring), config::Window::Calls(calls)) => ring.resize(calls as usize),
            (Self::Time(buckets), config::Window::Time(time)) => buckets.resize(time, now),
            (this, window) => *this = Self::new(window, now),
        }
    }
}

/// The last so many calls: two bits for each.
#[derive(Debug)]
pub(in crate::breaker) struct Ring {
    size: usize,
    /// Where the next call goes: over the oldest, once the ring is full.
    next: usize,
    failed: Box<[u64]>,
    slow: Box<[u64]>,
    tally: Tally,
}

impl Ring {
    fn new(size: usize) -> Self {
        let words = size.div_ceil(64);
        Self {
            size,
            next: 0,
            failed: vec![0; words].into(),
            slow: vec![0; words].into(),
            tally: Tally::default(),
        }
    }

    fn push(&mut self, failed: bool, slow: bool) {
        let (word, bit) = (self.next / 64, self.next % 64);
        self.push_good(1);
        self.failed[word] |= u64::from(failed) << bit;
        self.slow[word] |= u64::from(slow) << bit;
        self.tally.failures += u64::from(failed);
        self.tally.slow += u64::from(slow);
    }

    /// Whether there was one to turn.
    fn fail_slow(&mut self) -> bool {
        let words = self.failed.len();
        let (newest, bit) = (self.next / 64, self.next % 64);
        // The word that is filled twice: first what was written last, at the end what is oldest.
        let recent = (1 << bit) - 1;
        let masks = (0..=words).map(|back| match back {
            0 => (newest, recent),
            _ if back == words => (newest, !recent),
            _ => ((newest + words - back) % words, u64::MAX),
        });
        for (word, mask) in masks {
            let good = self.slow[word] & !self.failed[word] & mask;
            if let Some(last) = good.checked_ilog2() {
                self.failed[word] |= 1 << last;
                self.tally.failures += 1;
                return true;
            }
        }
        false
    }

    /// Writes good calls over the oldest, a word at a time.
    fn push_good(&mut self, calls: u64) {
        let size = self.size as u64;
        self.tally.calls = (self.tally.calls + calls.min(size)).min(size);
        let mut left = calls.min(size) as usize;
        while left > 0 {
            let (word, bit) = (self.next / 64, self.next % 64);
            let here = left.min(64 - bit).min(self.size - self.next);
            let mask = (u64::MAX >> (64 - here)) << bit;
            self.tally.failures -= u64::from((self.failed[word] & mask).count_ones());
            self.tally.slow -= u64::from((self.slow[word] & mask).count_ones());
            self.failed[word] &= !mask;
            self.slow[word] &= !mask;
            self.next = (self.next + here) % self.size;
            left -= here;
        }
    }

    fn resize(&mut self, size: usize) {
        if size == self.size {
            return;
        }
        let held = self.tally.calls as usize;
        let mut resized = Self::new(size);
        for age in (0..held.min(size)).rev() {
            let at = (self.next + self.size - 1 - age) % self.size;
            let is_set = |bits: &[u64]| bits[at / 64] >> (at % 64) & 1 == 1;
            resized.push(is_set(&self.failed), is_set(&self.slow));
        }
        *self = resized;
    }
}

const BUCKETS: u64 = 10;

/// The calls of a time, in ten buckets that are used again when their time has come.
#[derive(Debug)]
pub(in crate::breaker) struct Buckets {
    /// Nanoseconds for each bucket.
    length: u64,
    /// Up to when all calls are counted. Never goes back, also if a call comes late with an older time.
    seen: u64,
    /// None before the first call.
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Which of all buckets there ever were.
    number: u64,
    tally: Tally,
    /// Those of the slow ones that are good.
    slow_good: u64,
}

impl Buckets {
    fn new(time: Duration, now: u64) -> Self {
        Self { length: (nanos(time) / BUCKETS).max(1), ..Self::empty(now) }
    }

    fn empty(now: u64) -> Self {
        Self { length: 1, seen: now, buckets: Box::default() }
    }

    /// Of the bucket that is filled now.
    pub(in crate::breaker) fn number(&self, now: u64) -> u64 {
        now / self.length
    }

    fn bucket(&mut self, number: u64) -> &mut Bucket {
        if self.buckets.is_empty() {
            self.buckets = Box::new([Bucket::default(); BUCKETS as usize]);
        }
        let bucket = &mut self.buckets[(number % BUCKETS) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket
    }

    fn add(&mut self, calls: u64, failed: bool, slow: bool, now: u64) {
        self.seen = self.seen.max(now);
        let bucket = self.bucket(self.seen / self.length);
        bucket.tally.calls += calls;
        bucket.tally.failures += u64::from(failed);
        bucket.tally.slow += u64::from(slow);
        bucket.slow_good += u64::from(slow && !failed);
    }

    /// Whether there was one to turn.
    fn fail_slow(&mut self, now: u64) -> bool {
        let last = self.seen.max(now) / self.length;
        let is_inside = |bucket: &&mut Bucket| bucket.number + BUCKETS > last;
        let has_some = self.buckets.iter_mut().filter(is_inside).filter(|of| of.slow_good > 0);
        let Some(bucket) = has_some.max_by_key(|bucket| bucket.number) else {
            return false;
        };
        bucket.slow_good -= 1;
        bucket.tally.failures += 1;
        true
    }

    /// Evenly over the time in which they came, since no clock was read for each.
    fn spread_good(&mut self, calls: u64, now: u64) {
        let (from, to) = (self.seen, self.seen.max(now));
        let (first, last) = (from / self.length, to / self.length);
        self.seen = to;
        if first == last {
            self.bucket(last).tally.calls += calls;
            return;
        }
        let before = |moment: u64| {
            let share = u128::from(calls) * u128::from(moment.clamp(from, to) - from);
            (share / u128::from(to - from)) as u64
        };
        for number in first.max((last + 1).saturating_sub(BUCKETS))..=last {
            let start = number * self.length;
            let here = before(start.saturating_add(self.length)) - before(start);
            self.bucket(number).tally.calls += here;
        }
    }

    fn tally(&mut self, now: u64) -> Tally {
        let last = self.seen.max(now) / self.length;
        let is_inside = |bucket: &&Bucket| bucket.number + BUCKETS > last;
        self.buckets.iter().filter(is_inside).fold(Tally::default(), |sum, bucket| Tally {
            calls: sum.calls + bucket.tally.calls,
            failures: sum.failures + bucket.tally.failures,
            slow: sum.slow + bucket.tally.slow,
        })
    }

    /// Each bucket goes where its end falls now.
    fn resize(&mut self, time: Duration, now: u64) {
        let mut resized = Self::new(time, self.seen.max(now));
        if resized.length == self.length {
            return;
        }
        let last = resized.seen / resized.length;
        for Bucket { number, tally, slow_good } in self.buckets.iter().copied() {
            let end = (number + 1).saturating_mul(self.length).min(resized.seen);
            let number = end / resized.length;
            if tally.calls > 0 && number + BUCKETS > last {
                let sum = resized.bucket(number);
                sum.tally.calls += tally.calls;
                sum.tally.failures += tally.failures;
                sum.tally.slow += tally.slow;
                sum.slow_good += slow_good;
            }
        }
        *self = resized;
    }
}

#[cfg(test)]
#[path = "tests/window.rs"]
mod tests;
