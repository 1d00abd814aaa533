//! How long to wait before a retry: a pure rule.

use std::time::Duration;

use super::{Jitter, RetryConfig};
use crate::time;

/// The wait before retry `number`, from 1, when the last one was `previous`. `random` is from 0 up
/// to 1.
pub(super) fn wait(
    number: u32,
    previous: Option<Duration>,
    config: &RetryConfig,
    random: f64,
) -> Duration {
    let base = base(number, config);
    let wait = match config.jitter {
        Jitter::None => base,
        Jitter::Full => base.mul_f64(random),
        Jitter::Equal => base.mul_f64(0.5 + 0.5 * random),
        Jitter::TenPercent => base.mul_f64(0.9 + 0.2 * random),
        Jitter::Decorrelated => {
            let first = self::base(1, config);
            let most = previous.unwrap_or(first).saturating_mul(3).min(config.max_interval);
            first + most.saturating_sub(first).mul_f64(random)
        }
    };
    // A tenth more than the longest would be longer than that.
    wait.min(config.max_interval)
}

/// Without jitter: the first interval, multiplied for each further one, up to the longest.
pub(super) fn base(number: u32, config: &RetryConfig) -> Duration {
    let exponent = i32::try_from(number.saturating_sub(1)).unwrap_or(i32::MAX);
    let factor = config.multiplier.powi(exponent);
    // A cast of a float saturates, and the product of nothing and infinity becomes nothing.
    let nanos = (time::nanos(config.initial_interval) as f64 * factor).round() as u64;
    Duration::from_nanos(nanos).min(config.max_interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        let go = RetryConfig::go().with_jitter(Jitter::None);
        let waits = [1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|n| wait(n, None, &go, 0.3));
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(ms));
    }

    #[test]
    fn each_jitter_has_its_bounds() {
        let ten = RetryConfig::go().with_jitter(Jitter::TenPercent);
        assert_eq!([0.0, 0.9].map(|random| wait(9, None, &ten, random)), [4_500, 5_000].map(ms));
        let waits = |jitter, previous| {
            let config = RetryConfig::go().with_jitter(jitter);
            [0.0, 0.5, 1.0].map(|random| wait(3, previous, &config, random))
        };
        assert_eq!(waits(Jitter::Full, None), [0, 200, 400].map(ms));
        assert_eq!(waits(Jitter::Equal, None), [200, 300, 400].map(ms));
        assert_eq!(waits(Jitter::TenPercent, None), [360, 400, 440].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, None), [100, 200, 300].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, Some(ms(1_000))), [100, 1_550, 3_000].map(ms));
        assert_eq!(waits(Jitter::Decorrelated, Some(ms(4_000))), [100, 2_550, 5_000].map(ms));
    }

    #[test]
    fn nothing_grows_to_nothing() {
        let config = RetryConfig::default().with_intervals(Duration::ZERO, ms(100));
        assert_eq!(wait(u32::MAX, None, &config, 0.9), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_is_one_that_multiplying_step_by_step_gives(
            number in 1_u32..20,
            initial_ms in 0_u64..5_000,
            max_ms in 0_u64..100_000,
            tenths in 10_u32..40,
        ) {
            let multiplier = f64::from(tenths) / 10.0;
            let mut config = RetryConfig::default().with_intervals(ms(initial_ms), ms(max_ms));
            config.multiplier = multiplier;
            let grown = (1..number).fold(initial_ms as f64, |wait, _| wait * multiplier);
            let expect = grown.min(max_ms as f64) / 1_000.0;
            prop_assert!((base(number, &config).as_secs_f64() - expect).abs() < 1e-6);
        }
    }
}
