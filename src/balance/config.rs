use std::time::Duration;

use super::{
    locality::LocalityMode, outlier::OutlierConfig, select::SelectRule, slow_start::SlowStartConfig,
};
use crate::{
    error::{Error, Kind},
    rules::{FailBackRule, PanicMode, Priorities},
};

/// Settings of a [`BalanceLayer`](super::BalanceLayer): which endpoints it chooses from, and what it does when
/// there are none.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::balance::BalanceConfig;
/// let config = BalanceConfig::default().with_fail_fast_after(Duration::from_millis(200));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct BalanceConfig {
    /// Longest time that a call waits for an endpoint that is ready, at most a day; then it fails unsent.
    /// After that time without any endpoint, calls fail at once. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub fail_fast_after: Duration,
    /// Percentage of the members of a priority that may be used below which health is ignored there, from 0 to
    /// 100, if all priorities together cannot carry the load. With 0, health is never ignored. Default: 50.
    pub panic_threshold: u8,
    /// Which members of a priority get calls where health is ignored. Default: all.
    pub panic_mode: PanicMode,
    /// How much more than their share of the load the members of a priority can carry: 140 percent is 1.4
    /// times as much. Default: 140, at least 100.
    pub overprovisioning_percent: u32,
    /// How long a priority must be able to carry more of the load before any comes back to it.
    /// Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub fail_back_delay: Duration,
    /// How much of the load comes back to a better priority in a second, in percent. 0 is all at once.
    /// Default: 25.
    pub fail_back_percent: u8,
    /// How the load of a priority is spread over the zones of its endpoints. Default: zones are ignored.
    pub locality: LocalityMode,
    /// When an endpoint is ejected because its calls fail.
    pub outlier: OutlierConfig,
    /// How the weight of an endpoint grows after it joined or recovered. Default: off.
    pub slow_start: SlowStartConfig,
    /// Share of the calls that are explained by a [`Decision`](super::Decision), from 0 to 1; further attempts are
    /// if any are. Where it is not 0, each call costs a little more, and one that is explained allocates. Takes
    /// effect with the next change of the set, or of these settings. Default: 0.
    pub explain: f64,
    /// How long changes of discovery are gathered before they take effect together. Default: zero, at most
    /// a minute.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub debounce: Duration,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(BalanceConfig);

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            fail_fast_after: Duration::from_secs(1),
            panic_threshold: 50,
            panic_mode: PanicMode::All,
            overprovisioning_percent: 140,
            fail_back_delay: Duration::from_secs(10),
            fail_back_percent: 25,
            locality: LocalityMode::Off,
            outlier: OutlierConfig::default(),
            slow_start: SlowStartConfig::default(),
            explain: 0.0,
            debounce: Duration::ZERO,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

impl BalanceConfig {
    /// Sets [`fail_fast_after`](Self::fail_fast_after).
    #[must_use]
    pub fn with_fail_fast_after(mut self, fail_fast_after: Duration) -> Self {
        self.fail_fast_after = fail_fast_after;
        self
    }

    /// Sets [`panic_threshold`](Self::panic_threshold).
    #[must_use]
    pub fn with_panic_threshold(mut self, percent: u8) -> Self {
        self.panic_threshold = percent;
        self
    }

    /// Sets [`panic_mode`](Self::panic_mode).
    #[must_use]
    pub fn with_panic_mode(mut self, panic_mode: PanicMode) -> Self {
        self.panic_mode = panic_mode;
        self
    }

    /// Sets [`overprovisioning_percent`](Self::overprovisioning_percent).
    #[must_use]
    pub fn with_overprovisioning_percent(mut self, percent: u32) -> Self {
        self.overprovisioning_percent = percent;
        self
    }

    /// Sets [`fail_back_delay`](Self::fail_back_delay) and [`fail_back_percent`](Self::fail_back_percent).
    /// Zero and 0 let load follow health at once, as Envoy does.
    #[must_use]
    pub fn with_fail_back(mut self, delay: Duration, percent_per_second: u8) -> Self {
        (self.fail_back_delay, self.fail_back_percent) = (delay, percent_per_second);
        self
    }

    /// Sets [`explain`](Self::explain).
    #[must_use]
    pub fn with_explain(mut self, share: f64) -> Self {
        self.explain = share;
        self
    }

    /// Sets [`locality`](Self::locality).
    #[must_use]
    pub fn with_locality(mut self, locality: LocalityMode) -> Self {
        self.locality = locality;
        self
    }

    /// Sets [`outlier`](Self::outlier).
    #[must_use]
    pub fn with_outlier(mut self, outlier: OutlierConfig) -> Self {
        self.outlier = outlier;
        self
    }

    /// Sets [`slow_start`](Self::slow_start).
    #[must_use]
    pub fn with_slow_start(mut self, slow_start: SlowStartConfig) -> Self {
        self.slow_start = slow_start;
        self
    }

    /// Sets [`debounce`](Self::debounce).
    #[must_use]
    pub fn with_debounce(mut self, debounce: Duration) -> Self {
        self.debounce = debounce;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. A layer made with such a config uses the nearest
    /// valid values instead; an update with it is refused.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if self.fail_fast_after > DAY {
            mistakes.push(format!(
                "`fail_fast_after` is {:?}, but must be at most a day",
                self.fail_fast_after
            ));
        }
        if self.panic_threshold > 100 {
            mistakes.push(format!(
                "`panic_threshold` is {}, but must be from 0 to 100 percent",
                self.panic_threshold
            ));
        }
        if self.overprovisioning_percent < 100 {
            mistakes.push(format!(
                "`overprovisioning_percent` is {}, but must be at least 100 percent",
                self.overprovisioning_percent
            ));
        }
        if self.fail_back_percent > 100 {
            mistakes.push(format!(
                "`fail_back_percent` is {}, but must be from 0 to 100 percent",
                self.fail_back_percent
            ));
        }
        if self.debounce > MINUTE {
            mistakes
                .push(format!("`debounce` is {:?}, but must be at most a minute", self.debounce));
        }
        if !(0.0..=1.0).contains(&self.explain) {
            mistakes.push(format!("`explain` is {}, but must be from 0 to 1", self.explain));
        }
        self.locality.mistakes(&mut mistakes);
        self.outlier.mistakes(&mut mistakes);
        self.slow_start.mistakes(&mut mistakes);
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("balance: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        self.fail_fast_after = self.fail_fast_after.min(DAY);
        self.panic_threshold = self.panic_threshold.min(100);
        self.overprovisioning_percent = self.overprovisioning_percent.max(100);
        self.fail_back_percent = self.fail_back_percent.min(100);
        self.debounce = self.debounce.min(MINUTE);
        self.explain = if self.explain.is_nan() { 0.0 } else { self.explain.clamp(0.0, 1.0) };
        self.locality = self.locality.clamped();
        (self.outlier, self.slow_start) = (self.outlier.clamped(), self.slow_start.clamped());
        self
    }

    pub(super) fn select_rule(&self) -> SelectRule {
        let priorities = Priorities {
            overprovisioning_percent: self.overprovisioning_percent,
            panic_percent: self.panic_threshold.into(),
        };
        let is_damped = !self.fail_back_delay.is_zero() || self.fail_back_percent > 0;
        let percent_per_second = match self.fail_back_percent {
            // All of it at the next look.
            0 => f64::from(u32::MAX),
            percent => percent.into(),
        };
        let fail_back = FailBackRule { delay: self.fail_back_delay, percent_per_second };
        let fail_back = is_damped.then_some(fail_back);
        SelectRule { priorities, panic_mode: self.panic_mode, fail_back }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::locality::ZoneAware, *};

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let outlier = OutlierConfig {
            success_rate_factor: f64::NAN,
            failure_percent: 101,
            interval: Duration::ZERO,
            consecutive_failures: u32::MAX,
            base_ejection: Duration::MAX,
            max_ejection: Duration::from_secs(1),
            jitter_percent: 102,
            max_ejected_percent: 103,
            ..OutlierConfig::default()
        };
        let slow_start =
            SlowStartConfig { aggression: f64::NAN, min_percent: 101, ..Default::default() };
        let absurd = BalanceConfig {
            fail_fast_after: Duration::MAX,
            panic_threshold: 101,
            panic_mode: PanicMode::All,
            overprovisioning_percent: 99,
            fail_back_delay: Duration::MAX,
            fail_back_percent: 101,
            locality: LocalityMode::ZoneAware(ZoneAware::default()),
            outlier,
            slow_start,
            explain: f64::NAN,
            debounce: Duration::MAX,
        };
        let text = absurd.validate().unwrap_err().to_string();
        for key in [
            "fail_fast_after",
            "panic_threshold",
            "overprovisioning_percent",
            "fail_back_percent",
            "explain",
            "debounce",
            "locality.zone_aware.zone",
            "outlier.consecutive_failures",
            "outlier.base_ejection",
            "outlier.success_rate_factor",
            "outlier.failure_percent",
            "outlier.interval",
            "outlier.max_ejection",
            "outlier.jitter_percent",
            "outlier.max_ejected_percent",
            "slow_start.aggression",
            "slow_start.min_percent",
        ] {
            assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
        }
        assert!(absurd.clamped().validate().is_ok());
    }
}
