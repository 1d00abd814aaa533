use std::time::Duration;

/// How the weight of an entry grows after it joined or recovered.
///
/// The weight is multiplied by `max(min_weight_percent / 100, (elapsed / window)^(1 / aggression))`. Source:
/// Envoy, `slow_start.rst` and `load_balancer_impl.cc`; like there, times are whole milliseconds and `elapsed`
/// is at least one.
///
/// # Bounds
/// An aggression that is not above 0 (or is NaN) counts as 1, which is linear; a percentage is clamped to
/// 0..=100.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::SlowStart;
/// let rule = SlowStart { window: Duration::from_secs(60), ..SlowStart::default() };
/// assert_eq!(rule.factor(Duration::from_secs(12)), 0.2);
/// assert_eq!(rule.factor(Duration::ZERO), 0.1);
/// assert_eq!(rule.factor(Duration::from_secs(60)), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// How long it takes. Zero switches it off. Default: zero.
    pub window: Duration,
    /// Above 1, the weight grows fast at first; below 1, slowly. Default: 1.
    pub aggression: f64,
    /// Least share of the weight, in percent. Default: 10.
    pub min_weight_percent: f64,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::ZERO, aggression: 1.0, min_weight_percent: 10.0 }
    }
}

impl SlowStart {
    /// Returns the factor for a weight, `elapsed` after the start, from 0 to 1.
    pub fn factor(&self, elapsed: Duration) -> f64 {
        let (elapsed, window) = (elapsed.as_millis().max(1), self.window.as_millis());
        if elapsed >= window {
            return 1.0;
        }
        let share = elapsed as f64 / window as f64;
        let is_curved = self.aggression > 0.0 && self.aggression != 1.0;
        let grown = if is_curved { share.powf(1.0 / self.aggression) } else { share };
        // `max` ignores a NaN.
        grown.max(self.min_weight_percent / 100.0).min(1.0)
    }
}

/// Since when an entry is warming up. Each entry has its own, so others that join change nothing.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{SlowStart, WarmUp};
/// let second = Duration::from_secs(1);
/// let rule = SlowStart { window: 10 * second, ..SlowStart::default() };
/// let mut entry = WarmUp::default();
/// entry.added(Duration::ZERO, false);
/// assert_eq!(entry.factor(&rule, 5 * second), 0.5);
/// entry.unhealthy();
/// entry.healthy(20 * second);
/// assert_eq!(entry.factor(&rule, 22 * second), 0.2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WarmUp {
    is_healthy: bool,
    since: Option<Duration>,
}

impl WarmUp {
    /// The entry was added. If it is checked actively, it waits for its first passing check.
    pub fn added(&mut self, now: Duration, is_checked: bool) {
        *self = Self::default();
        if !is_checked {
            self.healthy(now);
        }
    }

    /// The entry is healthy, as of now or still. The window starts when it was not before.
    pub fn healthy(&mut self, now: Duration) {
        if !self.is_healthy {
            *self = Self { is_healthy: true, since: Some(now) };
        }
    }

    /// The entry is unhealthy: it leaves the window, and starts a new one when it recovers.
    pub fn unhealthy(&mut self) {
        *self = Self::default();
    }

    /// Returns whether the entry is in its window.
    pub fn is_warming(&self, rule: &SlowStart, now: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) < rule.window)
    }

    /// Returns the factor for its weight. 1 while no window has started.
    pub fn factor(&self, rule: &SlowStart, now: Duration) -> f64 {
        self.since.map_or(1.0, |since| rule.factor(now.saturating_sub(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absurd_settings_do_no_harm() {
        let second = Duration::from_secs(1);
        for aggression in [f64::NAN, 0.0, -1.0, 1.0] {
            let rule = SlowStart { window: 2 * second, aggression, min_weight_percent: f64::NAN };
            assert_eq!(rule.factor(second), 0.5);
        }
        let rule = SlowStart {
            window: Duration::MAX,
            aggression: f64::INFINITY,
            min_weight_percent: 900.0,
        };
        assert_eq!(rule.factor(Duration::ZERO), 1.0);
        assert_eq!(SlowStart::default().factor(Duration::ZERO), 1.0);
    }

    proptest! {
        #[test]
        fn it_grows_from_the_least_to_all(
            window in 1_u64..100_000,
            aggression in 0.1_f64..10.0,
            min_weight_percent in 0.0_f64..100.0,
            times in prop::collection::vec(0_u64..200_000, 2),
        ) {
            let window = Duration::from_millis(window);
            let rule = SlowStart { window, aggression, min_weight_percent };
            let [one, other] = [0, 1].map(|index| Duration::from_millis(times[index]));
            let (early, late) = (rule.factor(one.min(other)), rule.factor(one.max(other)));
            prop_assert!(min_weight_percent / 100.0 <= early && early <= late && late <= 1.0);
            prop_assert!(one.max(other) < window || late == 1.0);
        }
    }
}
