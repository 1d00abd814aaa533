//! Waits that grow from one attempt to the next, and what is random about them.

use std::time::Duration;

use crate::time;

/// How much of a wait is random, so that callers that failed together do not come back together.
///
/// ```
/// assert_eq!(tower_upstream::backoff::Jitter::default(), tower_upstream::backoff::Jitter::Full);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// Nothing. For tests, and for a client that has no equals.
    None,
    /// Between zero and the whole wait. Spreads best.
    #[default]
    Full,
    /// Between half of the wait and the whole wait.
    Equal,
    /// Between the first wait and three times the last one: the "decorrelated" jitter of AWS.
    Decorrelated,
    /// Ten percent more or less, as in the Go plugin manager. Spreads little.
    TenPercent,
}

/// Waits that grow by a factor, up to a longest one. Arithmetic alone: no clock, no random source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) multiplier: f64,
    pub(crate) max: Duration,
    pub(crate) jitter: Jitter,
}

/// Shortest wait that a config may ask for, apart from none.
const MIN_WAIT: Duration = Duration::from_millis(1);
/// Longest wait that a config may ask for.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// What is wrong with a wait of a config. A number without a unit is nanoseconds there, which is
/// never meant here.
pub(crate) fn mistake(name: &str, wait: Duration) -> Option<String> {
    (sane(wait) != wait)
        .then(|| format!("`{name}` is {wait:?}, but must be 0, or from 1 ms to an hour"))
}

/// The nearest wait without a mistake.
pub(crate) fn sane(wait: Duration) -> Duration {
    if wait.is_zero() { wait } else { wait.clamp(MIN_WAIT, MAX_WAIT) }
}

/// `wait` times a factor between `low` and `high`. `random` is from 0 up to 1.
pub(crate) fn spread(wait: Duration, low: f64, high: f64, random: f64) -> Duration {
    wait.mul_f64(low + (high - low) * random)
}

impl Backoff {
    /// The wait before retry `number`, from 1, when the last one was `previous`. `random` is from 0
    /// up to 1.
    pub(crate) fn wait(&self, number: u32, previous: Option<Duration>, random: f64) -> Duration {
        let grown = self.grown(number);
        let wait = match self.jitter {
            Jitter::None => grown,
            Jitter::Full => spread(grown, 0.0, 1.0, random),
            Jitter::Equal => spread(grown, 0.5, 1.0, random),
            Jitter::TenPercent => spread(grown, 0.9, 1.1, random),
            Jitter::Decorrelated => {
                let first = self.grown(1);
                let most = previous.unwrap_or(first).saturating_mul(3).min(self.max);
                first + most.saturating_sub(first).mul_f64(random)
            }
        };
        // A tenth more than the longest would be longer than that.
        wait.min(self.max)
    }

    /// Without jitter: the first wait, multiplied for each further one, up to the longest.
    pub(crate) fn grown(&self, number: u32) -> Duration {
        let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.multiplier.powi(exponent);
        // A cast of a float saturates, and the product of nothing and infinity becomes nothing.
        let nanos = (time::nanos(self.first) as f64 * factor).round() as u64;
        Duration::from_nanos(nanos).min(self.max)
    }

    /// What is wrong with these values, under the names that a config has for the first and the
    /// longest wait.
    pub(crate) fn mistakes(&self, [first, max]: [&str; 2]) -> impl Iterator<Item = String> {
        let Self { multiplier, .. } = *self;
        let waits = [mistake(first, self.first), mistake(max, self.max)];
        let order = (self.first > self.max).then(|| format!("`{first}` is longer than `{max}`"));
        let growth = (!(1.0..=100.0).contains(&multiplier))
            .then(|| format!("`multiplier` is {multiplier}, but must be from 1 to 100"));
        waits.into_iter().chain([order, growth]).flatten()
    }

    /// The nearest values without a mistake.
    pub(crate) fn clamped(self) -> Self {
        let max = sane(self.max);
        let multiplier = if self.multiplier.is_nan() { 1.0 } else { self.multiplier };
        Self {
            first: sane(self.first).min(max),
            max,
            multiplier: multiplier.clamp(1.0, 100.0),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The waits of the Go plugin manager.
    const fn go(jitter: Jitter) -> Backoff {
        Backoff { first: ms(100), multiplier: 2.0, max: ms(5_000), jitter }
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        let go = go(Jitter::None);
        let waits = [1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|n| go.wait(n, None, 0.3));
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(ms));
    }

    #[test]
    fn each_jitter_has_its_bounds() {
        let ten = go(Jitter::TenPercent);
        assert_eq!([0.0, 0.9].map(|random| ten.wait(9, None, random)), [4_500, 5_000].map(ms));
        let waits =
            |jitter, previous| [0.0, 0.5, 1.0].map(|random| go(jitter).wait(3, previous, random));
        assert_eq!(waits(Jitter::Full, None), [0, 200, 400].map(ms));
        assert_eq!(waits(Jitter::Equal, None), [200, 300, 400].map(ms));
        assert_eq!(waits(Jitter::TenPercent, None), [360, 400, 440].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, None), [100, 200, 300].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, Some(ms(1_000))), [100, 1_550, 3_000].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, Some(ms(4_000))), [100, 2_550, 5_000].map(ms));
    }

    #[test]
    fn nothing_grows_to_nothing() {
        let nothing = Backoff { first: Duration::ZERO, ..go(Jitter::Full) };
        assert_eq!(nothing.wait(u32::MAX, None, 0.9), Duration::ZERO);
    }

    #[test]
    fn a_wait_of_a_config_is_none_or_from_a_millisecond_to_an_hour() {
        for right in [Duration::ZERO, MIN_WAIT, MAX_WAIT] {
            assert_eq!((mistake("wait", right), sane(right)), (None, right));
        }
        for (wrong, nearest) in [(Duration::from_nanos(50), MIN_WAIT), (Duration::MAX, MAX_WAIT)] {
            assert!(mistake("wait", wrong).is_some_and(|text| text.contains("`wait` is")));
            assert_eq!(sane(wrong), nearest);
        }
        for multiplier in [f64::NAN, 0.5, f64::INFINITY] {
            let absurd = Backoff { multiplier, first: MAX_WAIT, ..go(Jitter::None) };
            assert_eq!(absurd.mistakes(["first", "max"]).count(), 2);
            assert_eq!(absurd.clamped().mistakes(["first", "max"]).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_one_that_multiplying_step_by_step_gives(
            number in 1_u32..20,
            first_ms in 0_u64..5_000,
            max_ms in 0_u64..100_000,
            tenths in 10_u32..40,
        ) {
            let multiplier = f64::from(tenths) / 10.0;
            let backoff = Backoff {
                first: ms(first_ms),
                multiplier,
                max: ms(max_ms),
                jitter: Jitter::None,
            };
            let grown = (1..number).fold(first_ms as f64, |wait, _| wait * multiplier);
            let expect = grown.min(max_ms as f64) / 1_000.0;
            prop_assert!((backoff.grown(number).as_secs_f64() - expect).abs() < 1e-6);
        }
    }
}
