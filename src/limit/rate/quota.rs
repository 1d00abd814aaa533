use std::time::Duration;

use super::gcra::{self, Gcra};

/// Average rate of calls, and how many may come at once.
///
/// A quota is a bucket that starts with `burst` tokens, holds at most as many, and gets one back in
/// each interval of `per / calls`. Each call takes one. So calls are spread evenly: at 60 a minute, a
/// call may pass 1 s after the last, or at once if there are tokens left over from a quiet time.
///
/// # Bounds
/// In any time `t`, at most `burst + t / interval` calls pass. Over a long time that is `calls` in
/// `per`; in one `per` it may be nearly twice as many, since the burst comes on top: of
/// `per_second(100)`, 199 may pass in the first second, 100 of them at once.
///
/// For a hard limit of `N` calls in any time of length `per`, take the burst off the rate:
///
/// | in no time of length `per` more than `N` calls | |
/// |---|---|
/// | evenly, one after the other | `Quota::new(N, per).burst(1)` |
/// | up to `b` at once | `Quota::new(N + 1 - b, per).burst(b)` |
///
/// The price is the average: with `b` at once, it is `N + 1 - b` in `per`. The limit of a server that
/// counts in fixed windows is kept in this way wherever its windows begin.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::Quota;
///
/// const API: Quota = Quota::per_second(1_000).burst(200);
/// let slow = Quota::new(5, Duration::from_secs(3_600)).burst(1);
/// # let _ = (API, slow);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds per call.
    interval: u64,
    burst: u32,
}

/// A year for one call is the slowest.
pub(super) const MAX_INTERVAL: u64 = 365 * 86_400 * 1_000_000_000;

/// So that sums of times stay far from the end of their range.
const MAX_TOLERANCE: u64 = u64::MAX / 4;

impl Quota {
    /// Allows `calls` per `per` on average, and as many at once. In one time of length `per` up to
    /// `2 * calls - 1` may pass, if none came before: see [bounds](Self#bounds) for this and for a hard
    /// limit.
    ///
    /// Zero calls become one, and zero time 1 ns for each call. The slowest is one call a year. To let
    /// no call pass, remove the endpoint instead.
    pub const fn new(calls: u32, per: Duration) -> Self {
        let calls = if calls == 0 { 1 } else { calls };
        let interval = match gcra::interval(calls, per) {
            None => 1,
            Some(interval) if interval > MAX_INTERVAL => MAX_INTERVAL,
            Some(interval) => interval,
        };
        Self::clamped(interval, calls)
    }

    /// Allows `calls` a second on average, and as many at once. See [`new`](Self::new).
    pub const fn per_second(calls: u32) -> Self {
        Self::new(calls, Duration::from_secs(1))
    }

    /// Allows `calls` a minute on average, and as many at once. See [`new`](Self::new).
    pub const fn per_minute(calls: u32) -> Self {
        Self::new(calls, Duration::from_secs(60))
    }

    /// Sets how many calls may come at once after a quiet time, on top of the rate; see
    /// [bounds](Self#bounds). Zero becomes one. Default: the number of calls of the quota.
    #[must_use]
    pub const fn burst(self, burst: u32) -> Self {
        Self::clamped(self.interval, burst)
    }

    pub(super) const fn clamped(interval: u64, burst: u32) -> Self {
        let most = MAX_TOLERANCE / interval;
        let burst = if burst == 0 {
            1
        } else if burst as u64 > most {
            most as u32
        } else {
            burst
        };
        Self { interval, burst }
    }

    pub(in crate::limit) fn rule(self) -> Gcra {
        Gcra::new(self.interval, self.burst)
    }

    /// As a client is told of it: so many calls in so many seconds.
    #[cfg(feature = "http")]
    pub(crate) fn calls_in_seconds(self) -> (u64, u64) {
        const SECOND: u128 = 1_000_000_000;
        // The time that the burst takes to come back is the window. In whole seconds there may go
        // more into it.
        let refill = u128::from(self.interval) * u128::from(self.burst);
        let seconds = refill.div_ceil(SECOND);
        let calls = (seconds * SECOND / u128::from(self.interval)).max(self.burst.into());
        (calls as u64, seconds as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_quotas_become_the_nearest_sane_ones() {
        let quota = |interval, burst| Quota { interval, burst };
        assert_eq!(Quota::new(0, Duration::from_secs(1)), quota(1_000_000_000, 1));
        assert_eq!(Quota::new(5, Duration::ZERO), quota(1, 5));
        assert_eq!(Quota::new(1, Duration::MAX), quota(MAX_INTERVAL, 1));
        assert_eq!(Quota::per_minute(6).burst(0), quota(10_000_000_000, 1));
        let wide = Quota::new(1, Duration::MAX).burst(u32::MAX);
        assert_eq!(u64::from(wide.burst), MAX_TOLERANCE / MAX_INTERVAL);
    }

    /// The most that pass in any time of `per`, by a caller that calls as soon as it may.
    fn most_in_a_window(quota: Quota, per: Duration) -> usize {
        let (rule, per) = (quota.rule(), per.as_nanos() as u64);
        let (mut tat, mut now, mut passed) = (0, 0, Vec::new());
        while now < 3 * per {
            match rule.decide_one(tat, now) {
                Ok(new) => {
                    tat = new;
                    passed.push(now);
                }
                Err(free) => now = free,
            }
        }
        let within =
            |from: &u64| passed.iter().filter(|at| (*from..from + per).contains(at)).count();
        passed.iter().map(within).max().unwrap()
    }

    #[test]
    fn a_window_gets_the_burst_on_top_unless_it_is_taken_off_the_rate() {
        let second = Duration::from_secs(1);
        assert_eq!(most_in_a_window(Quota::per_second(100), second), 199);
        assert_eq!(most_in_a_window(Quota::new(7, second * 60), second * 60), 13);
        for hard in [1, 3, 60, 100] {
            for burst in
                [1, 2, hard / 2, hard].into_iter().filter(|burst| (1..=hard).contains(burst))
            {
                let quota = Quota::new(hard + 1 - burst, second).burst(burst);
                let most = most_in_a_window(quota, second);
                assert!(
                    most <= hard as usize && most + 1 >= hard as usize,
                    "{hard} {burst}: {most}"
                );
            }
        }
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_client_is_told_of_whole_seconds() {
        let told = Quota::calls_in_seconds;
        assert_eq!(told(Quota::per_minute(100)), (100, 60));
        assert_eq!(told(Quota::per_second(1_000).burst(200)), (1_000, 1));
        assert_eq!(told(Quota::per_second(10).burst(20)), (20, 2));
        assert_eq!(told(Quota::new(1, Duration::MAX)), (1, 31_536_000));
    }
}
