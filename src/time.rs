//! The only place that reads a clock.
//!
//! Two clocks, for two needs. Deadlines, timers and errors use tokio's [`Instant`], which a test
//! can pause. A guard that needs the time on every call uses a [`Clock`], which counts nanoseconds
//! since it was made: the time stamp counter of the processor if there is one, and tokio's
//! clock with the feature `test-util`.

use std::{
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

#[cfg(any(feature = "kubernetes", feature = "sticky"))]
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use tokio::time::Instant;

use tokio::time::Sleep;

/// Thirty years, tokio's own idea of "never".
pub(crate) const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// The present, for paths that are not hot: this read costs about 23 ns.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for what outlives this process.
#[cfg(any(feature = "kubernetes", feature = "sticky"))]
pub(crate) fn unix() -> u64 {
    let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    #[cfg(not(any(test, feature = "test-util")))]
    return since(SystemTime::now());
    #[cfg(any(test, feature = "test-util"))]
    {
        static START: OnceLock<SystemTime> = OnceLock::new();
        let base = process_base();
        let start = *START.get_or_init(SystemTime::now);
        since(start) + now().saturating_duration_since(base).as_secs()
    }
}

/// `after` from `start`; an absurd wait becomes thirty years instead of an overflow.
pub(crate) fn later(start: Instant, after: Duration) -> Instant {
    start.checked_add(after.min(FAR)).unwrap_or(start)
}

/// The earlier of two moments, either of which may be missing.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whole nanoseconds, saturating: 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds from a fixed moment of this process to `instant`, negative before it. Lets a
/// moment be kept in a few bits.
pub(crate) fn stamp(instant: Instant) -> i64 {
    let base = process_base();
    match instant.checked_duration_since(base) {
        Some(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        None => -i64::try_from((base - instant).as_nanos()).unwrap_or(i64::MAX),
    }
}

/// The moment that [`stamp`] was taken of.
pub(crate) fn at_stamp(stamp: i64) -> Instant {
    let distance = Duration::from_nanos(stamp.unsigned_abs());
    let base = process_base();
    if stamp < 0 { base.checked_sub(distance).unwrap_or(base) } else { later(base, distance) }
}

fn process_base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// A moment to wait for. Outside a runtime there is nothing to wait with: then each poll looks whether it
/// has come.
#[derive(Debug)]
pub(crate) enum Timer {
    Sleep(Pin<Box<Sleep>>),
    Clock(Instant),
}

impl Timer {
    pub(crate) fn at(at: Instant) -> Self {
        match tokio::runtime::Handle::try_current() {
            Ok(_) => Self::Sleep(Box::pin(tokio::time::sleep_until(at))),
            Err(_) => Self::Clock(at),
        }
    }

    pub(crate) fn ends_at(&self) -> Instant {
        match self {
            Self::Sleep(sleep) => sleep.deadline(),
            Self::Clock(at) => *at,
        }
    }

    /// Whether it wakes the task that polled it.
    pub(crate) fn can_wake(&self) -> bool {
        matches!(self, Self::Sleep(_))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Sleep(sleep) => sleep.as_mut().poll(cx),
            Self::Clock(at) if now() >= *at => Poll::Ready(()),
            Self::Clock(_) => Poll::Pending,
        }
    }
}

/// Counts nanoseconds since it was made. Belongs to one state, never to the process, so that
/// two tests with paused clocks do not share a base.
#[derive(Clone)]
pub(crate) struct Clock {
    base: Instant,
    #[cfg(not(any(test, feature = "test-util")))]
    counter: (quanta::Clock, u64),
}

impl Clock {
    pub(crate) fn new() -> Self {
        #[cfg(not(any(test, feature = "test-util")))]
        let counter = {
            // Once for the process: asking the processor what it can do costs 14 µs in a virtual
            // machine.
            static CLOCK: OnceLock<quanta::Clock> = OnceLock::new();
            let clock = CLOCK.get_or_init(quanta::Clock::new).clone();
            let start = clock.raw();
            (clock, start)
        };
        Self {
            base: Instant::now(),
            #[cfg(not(any(test, feature = "test-util")))]
            counter,
        }
    }

    /// Nanoseconds since this clock was made.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        #[cfg(not(any(test, feature = "test-util")))]
        {
            let (clock, start) = &self.counter;
            clock.delta_as_nanos(*start, clock.raw())
        }
        #[cfg(any(test, feature = "test-util"))]
        nanos(Instant::now().saturating_duration_since(self.base))
    }
}

/// Ties a [`Clock`] to [`stamp`]: tells the present as a stamp without reading another clock.
///
/// The two drift apart, by some microseconds a second at worst, so they are compared anew before
/// that amounts to anything.
#[derive(Debug)]
pub(crate) struct Anchor {
    compared: AtomicU64,
    /// What to add to the nanoseconds of the clock.
    offset: AtomicI64,
}

impl Anchor {
    /// Sixteen milliseconds.
    const MAX_AGE: u64 = 1 << 24;

    pub(crate) const fn new() -> Self {
        // So long ago that it is compared at once.
        let compared = AtomicU64::new(u64::MAX - Self::MAX_AGE);
        Self { compared, offset: AtomicI64::new(0) }
    }

    /// The stamp of any moment as the clock would tell it, which now tells `now`.
    #[inline(always)]
    pub(crate) fn stamp_of(&self, moment: u64, now: u64) -> i64 {
        // Acquire, with the Release of `compare`: who sees that it was compared sees the offset of
        // then, or a later one.
        let offset = if now.wrapping_sub(self.compared.load(Ordering::Acquire)) > Self::MAX_AGE {
            self.compare(now)
        } else {
            self.offset.load(Ordering::Relaxed)
        };
        offset.wrapping_add(moment as i64)
    }

    #[cold]
    fn compare(&self, nanos: u64) -> i64 {
        let offset = stamp(now()).wrapping_sub(nanos as i64);
        self.offset.store(offset, Ordering::Relaxed);
        self.compared.store(nanos, Ordering::Release);
        offset
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("base", &self.base).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_keeps_the_moment_on_both_sides_of_the_base() {
        let base = process_base();
        for offset in [0, 1, 1_000_000_007] {
            let after = base + Duration::from_nanos(offset);
            assert_eq!(at_stamp(stamp(after)), after);
            if let Some(before) = base.checked_sub(Duration::from_nanos(offset)) {
                assert_eq!(at_stamp(stamp(before)), before);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_a_paused_one() {
        let clock = Clock::new();
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.nanos(), 1_500_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_anchor_knows_the_stamp_of_the_present() {
        let (clock, anchor) = (Clock::new(), Anchor::new());
        for wait in [0, 1, 1_000_000, 15_000_000, 1_000_000_000_000] {
            tokio::time::advance(Duration::from_nanos(wait)).await;
            let nanos = clock.nanos();
            assert_eq!(anchor.stamp_of(nanos, nanos), stamp(now()));
            let later = now() + Duration::from_secs(7);
            assert_eq!(anchor.stamp_of(nanos + 7_000_000_000, nanos), stamp(later));
        }
    }

    #[test]
    fn an_absurd_wait_is_thirty_years() {
        let start = now();
        assert_eq!(later(start, Duration::MAX), start + FAR);
    }
}
