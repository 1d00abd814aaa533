//! When a call is sent to a second endpoint beside the first.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    replay::MIN_LIMIT,
    rules::Quantiles,
    time::{self, Instant},
};

/// Time after which a call that has no answer yet is also sent to another endpoint. Set by
/// [`Attempts::hedge`](super::Attempts::hedge).
///
/// As JSON `{"after": "50ms"}` or `{"quantile": 0.95}`.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Attempts, failover::Hedge};
/// let fixed = Attempts::up_to(3).hedge(Duration::from_millis(50));
/// assert_eq!(fixed.hedge, Some(Hedge::After(Duration::from_millis(50))));
/// let adaptive = Attempts::up_to(3).hedge(Hedge::Quantile(0.95));
/// assert!(adaptive.validate().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Hedge {
    /// After this time, from 1 ms to an hour.
    After(#[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))] Duration),
    /// After the time that this share of the calls lately took at most, from 0.5 to 0.999: with 0.95, about one
    /// call in twenty is hedged.
    ///
    /// Only calls that were pending count, with half the weight every 30 s, and those that a deadline cut short
    /// only if they took longer than that. Calls are not hedged while fewer than 20 are known, or fewer than
    /// two that took longer.
    Quantile(f64),
}

/// Reads one, or `null`.
#[cfg(feature = "serde")]
pub(crate) fn read<'de, D>(deserializer: D) -> Result<Option<Hedge>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    fn one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hedge, D::Error> {
        crate::written::choice(deserializer, r#"`{"after": "50ms"}` or `{"quantile": 0.95}`"#)
    }

    #[derive(serde::Deserialize)]
    struct One(#[serde(deserialize_with = "one")] Hedge);

    let hedge: Option<One> = serde::Deserialize::deserialize(deserializer)?;
    Ok(hedge.map(|One(hedge)| hedge))
}

impl From<Duration> for Hedge {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

const LONGEST: Duration = Duration::from_secs(3_600);
const QUANTILES: std::ops::RangeInclusive<f64> = 0.5..=0.999;

impl Hedge {
    pub(super) fn mistake(self) -> Option<String> {
        match self {
            Self::After(after) if !(MIN_LIMIT..=LONGEST).contains(&after) => {
                Some(format!("`hedge.after` is {after:?}, but must be from 1 ms to an hour"))
            }
            Self::Quantile(quantile) if !QUANTILES.contains(&quantile) => {
                Some(format!("`hedge.quantile` is {quantile}, but must be from 0.5 to 0.999"))
            }
            Self::After(_) | Self::Quantile(_) => None,
        }
    }

    pub(super) fn clamped(self) -> Self {
        match self {
            Self::After(after) => Self::After(after.clamp(MIN_LIMIT, LONGEST)),
            // The fewest, where it is no number.
            Self::Quantile(quantile) if quantile.is_nan() => Self::Quantile(*QUANTILES.end()),
            Self::Quantile(quantile) => {
                Self::Quantile(quantile.clamp(*QUANTILES.start(), *QUANTILES.end()))
            }
        }
    }
}

/// How soon what calls took counts half.
const HALF_LIFE: Duration = Duration::from_secs(30);
/// How many calls must be known, and how many of them beyond the quantile.
const ENOUGH: u64 = 20;
const ENOUGH_BEYOND: f64 = 2.0;
/// How long a delay is good for.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// What calls took lately, and the delay that follows: a pure rule.
#[derive(Debug)]
struct Pace {
    took: Quantiles,
    delay: Option<Duration>,
    /// What the delay is the quantile of, and until when it is good.
    quantile: f64,
    until: Duration,
}

impl Pace {
    fn new() -> Self {
        let took = Quantiles::new(HALF_LIFE);
        Self { took, delay: None, quantile: f64::NAN, until: Duration::ZERO }
    }

    fn record(&mut self, took: Duration, now: Duration) {
        self.took.record(took, now);
    }

    /// `None` while too few are known.
    fn delay(&mut self, quantile: f64, now: Duration) -> Option<Duration> {
        let is_good = self.delay.is_some() && now < self.until && self.quantile == quantile;
        if !is_good {
            self.took.forget(now);
            let known = self.took.len();
            let are_enough =
                known >= ENOUGH && known as f64 * (1.0 - quantile) >= ENOUGH_BEYOND - 1e-9;
            let delay = are_enough.then(|| self.took.quantile(quantile)).flatten();
            self.delay = delay.map(|delay| delay.max(MIN_LIMIT));
            (self.quantile, self.until) = (quantile, now + GOOD_FOR);
        }
        self.delay
    }
}

/// A [`Pace`] that many calls share. None waits for another: if two meet, one teaches nothing, or learns
/// what was known a moment before.
#[derive(Debug)]
pub(super) struct SharedPace {
    base: Instant,
    /// On the heap, since few layers hedge by what calls took.
    pace: Mutex<Option<Box<Pace>>>,
    /// In nanoseconds; 0 while it is not known.
    delay: AtomicU64,
}

impl SharedPace {
    pub(super) fn new() -> Self {
        Self { base: time::now(), pace: Mutex::new(None), delay: AtomicU64::new(0) }
    }

    fn now(&self) -> Duration {
        time::now().saturating_duration_since(self.base)
    }

    /// A call that was cut short counts only if it took longer than the delay at this quantile.
    pub(super) fn record(&self, took: Duration, longer_than: Option<f64>) {
        if let Ok(mut pace) = self.pace.try_lock() {
            let (pace, now) = (pace.get_or_insert_with(|| Box::new(Pace::new())), self.now());
            let counts = |quantile| pace.delay(quantile, now).is_some_and(|delay| took > delay);
            if longer_than.is_none_or(counts) {
                pace.record(took, now);
            }
        }
    }

    /// How long a call has no answer that is hedged.
    pub(super) fn delay(&self, hedge: Hedge) -> Option<Duration> {
        let quantile = match hedge {
            Hedge::After(after) => return Some(after),
            Hedge::Quantile(quantile) => quantile,
        };
        if let Ok(mut pace) = self.pace.try_lock() {
            let delay = pace.as_mut().and_then(|pace| pace.delay(quantile, self.now()));
            // Relaxed: a number that stands for itself.
            self.delay.store(delay.map_or(0, time::nanos), Ordering::Relaxed);
            return delay;
        }
        match self.delay.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The delay after so many calls that took 10 ms, and so many that took a second.
    fn delay(quick: u64, slow: u64, quantile: f64) -> Option<Duration> {
        let mut pace = Pace::new();
        (0..quick).for_each(|_| pace.record(ms(10), Duration::ZERO));
        (0..slow).for_each(|_| pace.record(ms(1_000), Duration::ZERO));
        pace.delay(quantile, Duration::ZERO)
    }

    #[test]
    fn a_delay_takes_twenty_calls_and_two_beyond() {
        assert_eq!(delay(19, 0, 0.5), None);
        let quick = Some(ms(10)..ms(11));
        let is_quick = |delay: Option<Duration>| {
            quick.as_ref().zip(delay).is_some_and(|(quick, delay)| quick.contains(&delay))
        };
        assert!(is_quick(delay(20, 0, 0.5)));
        assert_eq!(delay(38, 1, 0.95), None, "39 calls have 1.95 beyond");
        assert!(is_quick(delay(38, 2, 0.95)));
        assert!(delay(37, 3, 0.95) >= Some(ms(1_000)));
        assert_eq!(delay(1_000, 0, 0.999), None);
        assert!(is_quick(delay(2_000, 0, 0.999)));
    }

    #[test]
    fn a_delay_is_good_for_a_moment_and_follows_what_happened_lately() {
        let mut pace = Pace::new();
        (0..100).for_each(|_| pace.record(ms(10), Duration::ZERO));
        let first = pace.delay(0.9, Duration::ZERO);
        (0..900).for_each(|_| pace.record(ms(100), Duration::ZERO));
        assert_eq!(pace.delay(0.9, ms(99)), first);
        assert_ne!(pace.delay(0.5, ms(99)), first, "another quantile");
        assert!(pace.delay(0.9, ms(200)) >= Some(ms(100)));
        assert_eq!(pace.delay(0.9, Duration::from_secs(600)), None, "all is forgotten");
        (0..40).for_each(|_| pace.record(Duration::from_micros(20), Duration::from_secs(600)));
        assert_eq!(pace.delay(0.9, Duration::from_secs(600)), Some(ms(1)), "no less than 1 ms");
    }

    #[test]
    fn values_out_of_range_become_the_nearest_ones() {
        for (wrong, right) in [
            (Hedge::After(ms(0)), Hedge::After(ms(1))),
            (Hedge::After(Duration::MAX), Hedge::After(LONGEST)),
            (Hedge::Quantile(0.1), Hedge::Quantile(0.5)),
            (Hedge::Quantile(1.0), Hedge::Quantile(0.999)),
            (Hedge::Quantile(f64::NAN), Hedge::Quantile(0.999)),
        ] {
            assert!(wrong.mistake().is_some(), "{wrong:?}");
            assert_eq!(wrong.clamped(), right);
            assert_eq!(right.mistake(), None);
            assert_eq!(right.clamped(), right);
        }
    }
}
