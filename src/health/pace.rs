//! When to check one target, pure: its config, its health and chance in, an instant out.

use std::{sync::Arc, time::Duration};

use super::config::HealthConfig;
use crate::time::{self, Instant};

/// How soon one target is to be checked, as it stands.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) config: Arc<HealthConfig>,
    /// There is no reason to look again soon.
    pub(super) is_settled: bool,
    /// What the endpoint says itself.
    pub(super) own_interval: Option<Duration>,
}

impl Pace {
    pub(super) fn is_on(&self) -> bool {
        self.config.enabled
    }

    /// Whether a target that is settled is checked less often than others.
    pub(super) fn slows_down(&self) -> bool {
        self.own_interval.is_none() && self.config.interval > self.config.interval_unhealthy
    }

    /// When to check for the first time: anywhere within an interval, since all of a set come at
    /// once. `random` is from 0 to 1, here and below.
    pub(super) fn first(&self, now: Instant, random: f64) -> Instant {
        let soon = self.config.interval.min(self.config.interval_unhealthy);
        let within = if self.is_settled { self.config.interval } else { soon };
        let within = self.own_interval.unwrap_or(within);
        now + within.mul_f64(random)
    }

    /// An interval after the check that was due at `last`.
    pub(super) fn next(&self, last: Instant, random: f64) -> Instant {
        time::later(last, self.interval(random))
    }

    /// The same for a check that is done `now`: in whole intervals, so a slow one skips those that it
    /// missed, and a little delay does not add up.
    pub(super) fn next_after(&self, last: Instant, now: Instant, random: f64) -> Instant {
        after(last, self.interval(random), now)
    }

    fn interval(&self, random: f64) -> Duration {
        let config = &self.config;
        let interval = if self.is_settled { config.interval } else { config.interval_unhealthy };
        jittered(self.own_interval.unwrap_or(interval), config.jitter, random)
    }
}

/// An interval, up to `jitter` of it longer or shorter.
fn jittered(interval: Duration, jitter: f64, random: f64) -> Duration {
    interval.mul_f64(1.0 + jitter * (2.0 * random - 1.0)).max(Duration::from_millis(1))
}

fn after(last: Instant, interval: Duration, now: Instant) -> Instant {
    let next = last + interval;
    match now.checked_duration_since(next) {
        None => next,
        Some(late) => {
            let missed = late.as_nanos() / interval.as_nanos().max(1) + 1;
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            time::later(next, interval.saturating_mul(missed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_check_skips_what_it_missed() {
        let (began, ms) = (time::now(), Duration::from_millis);
        let next = |took| after(began, ms(10), began + ms(took)) - began;
        assert_eq!(next(0), ms(10));
        assert_eq!(next(9), ms(10));
        assert_eq!(next(10), ms(20));
        assert_eq!(next(35), ms(40));
    }

    #[test]
    fn jitter_goes_both_ways() {
        let of = |jitter, random| jittered(Duration::from_secs(10), jitter, random);
        assert_eq!(of(0.0, 0.9), Duration::from_secs(10));
        assert_eq!(of(0.1, 0.0), Duration::from_secs(9));
        assert_eq!(of(0.1, 1.0), Duration::from_secs(11));
        assert_eq!(of(1.0, 0.0), Duration::from_millis(1));
    }
}
