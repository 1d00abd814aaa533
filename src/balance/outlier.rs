use std::time::Duration;

use crate::rules::{
    EjectionLimit, EjectionTime, FailurePercentage, HealthRule, OutlierRule, SlowStart, SuccessRate,
};

/// When an endpoint is ejected because its calls fail, and how it comes back.
///
/// An endpoint is ejected for failures in a row, at once; and, in sweeps, for a success rate that is far below
/// that of the others. It gets no calls for [`base_ejection`](Self::base_ejection) times the number of its
/// ejections, then one call at a time until one succeeds, and then its share again, by
/// [`SlowStartConfig`](super::SlowStartConfig). A passing active check ends an ejection. The table of
/// [`Standing`](crate::rules::Standing) has all of that.
///
/// Where a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) stands below the balancer, failures in a row are
/// left to it, so that the two do not bar an endpoint for different times. An
/// [overload](crate::Outcome::Overload), such as a 429, is no failure in a row, but ends a probation as a
/// failure does.
///
/// # Bounds
/// Of each priority, at most [`max_ejected_percent`](Self::max_ejected_percent) are ejected, but always one
/// may be; never the last that is available. One on probation counts as ejected. Where no other endpoint of its
/// priority is available, it is on probation no longer. A call in probation has its place for at most 30 s.
///
/// ```
/// use tower_upstream::balance::OutlierConfig;
/// let config = OutlierConfig::default().with_consecutive_failures(3).with_max_ejected_percent(50);
/// assert_eq!(config.consecutive_failures, 3);
/// assert_eq!(OutlierConfig::off().max_ejected_percent, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct OutlierConfig {
    /// Failures in a row that eject an endpoint. 0 switches it off. Default: 5, at most 65,535.
    pub consecutive_failures: u32,
    /// How many standard deviations below the mean of all a success rate ejects. 0 switches it off.
    /// Default: 1.9.
    pub success_rate_factor: f64,
    /// Endpoints that need enough calls, for success rates. Default: 5.
    pub success_rate_hosts: usize,
    /// Calls between two sweeps that are enough, for success rates. Default: 100.
    pub success_rate_calls: u64,
    /// Failed calls between two sweeps below which no success rate ejects: where nearly all calls succeed, a
    /// single failure is far below the mean. Envoy and gRPC have no such bound. Default: 5.
    pub success_rate_failures: u64,
    /// Share of failed calls that ejects, whatever others do, in percent. 0 switches it off. Default: 0.
    pub failure_percent: u8,
    /// Endpoints that need enough calls, for the share of failed calls. Default: 5.
    pub failure_percent_hosts: usize,
    /// Calls between two sweeps that are enough, for the share of failed calls. Default: 50.
    pub failure_percent_calls: u64,
    /// Time between two sweeps. An endpoint that the limit spared is ejected by a later one, if it still fails.
    /// Default: 1 s, at least 10 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub interval: Duration,
    /// Time of the first ejection. Each 10 s without one make the next shorter again. Default: 30 s, at most a
    /// day.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub base_ejection: Duration,
    /// Longest ejection. Default: 300 s, at most a day.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_ejection: Duration,
    /// Largest jitter of an ejection, in percent of it. Default: 10.
    pub jitter_percent: u8,
    /// How many endpoints of a priority may be ejected, in percent. 0 switches ejection off. Default: 10.
    pub max_ejected_percent: u8,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(OutlierConfig);

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            success_rate_factor: 1.9,
            success_rate_hosts: 5,
            success_rate_calls: 100,
            success_rate_failures: 5,
            failure_percent: 0,
            failure_percent_hosts: 5,
            failure_percent_calls: 50,
            interval: Duration::from_secs(1),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            jitter_percent: 10,
            max_ejected_percent: 10,
        }
    }
}

pub(super) const SHORTEST: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_secs(86_400);
/// What a member counts to.
const LONGEST_ROW: u32 = u16::MAX as u32;

impl OutlierConfig {
    /// Creates a config that ejects no endpoint.
    pub fn off() -> Self {
        Self { max_ejected_percent: 0, ..Self::default() }
    }

    setters! {
        with_consecutive_failures: consecutive_failures = u32;
        with_success_rate_factor: success_rate_factor = f64;
        with_success_rate_hosts: success_rate_hosts = usize;
        with_success_rate_calls: success_rate_calls = u64;
        with_success_rate_failures: success_rate_failures = u64;
        with_failure_percent: failure_percent = u8;
        with_failure_percent_hosts: failure_percent_hosts = usize;
        with_failure_percent_calls: failure_percent_calls = u64;
        with_interval: interval = Duration;
        with_base_ejection: base_ejection = Duration;
        with_max_ejection: max_ejection = Duration;
        with_jitter_percent: jitter_percent = u8;
        with_max_ejected_percent: max_ejected_percent = u8;
    }

    pub(super) fn is_on(&self) -> bool {
        self.max_ejected_percent > 0
    }

    fn success_rate(&self) -> Option<SuccessRate> {
        (self.success_rate_factor > 0.0).then_some(SuccessRate {
            minimum_hosts: self.success_rate_hosts,
            request_volume: self.success_rate_calls,
            stdev_factor: self.success_rate_factor,
            minimum_failures: self.success_rate_failures,
            ..SuccessRate::default()
        })
    }

    fn failure_percentage(&self) -> Option<FailurePercentage> {
        (self.failure_percent > 0).then_some(FailurePercentage {
            minimum_hosts: self.failure_percent_hosts,
            request_volume: self.failure_percent_calls,
            threshold: self.failure_percent.into(),
            ..FailurePercentage::default()
        })
    }

    /// How many failures in a row are to be told of.
    fn row(&self) -> u32 {
        if self.is_on() { self.consecutive_failures } else { 0 }
    }

    fn ejection(&self) -> EjectionTime {
        EjectionTime {
            base: self.base_ejection,
            max: self.max_ejection,
            jitter_percent: self.jitter_percent.into(),
            ..EjectionTime::default()
        }
    }

    /// How endpoints are compared, and how many may be ejected.
    pub(super) fn sweep_rule(&self) -> OutlierRule {
        OutlierRule {
            success_rate: self.success_rate(),
            failure_percentage: self.failure_percentage(),
            ejection: self.ejection(),
            limit: EjectionLimit::AtLeastOne,
            max_ejection_percent: self.max_ejected_percent.into(),
        }
    }

    pub(super) fn rule(&self, slow_start: SlowStart) -> HealthRule {
        let (consecutive, ejection) = (self.row(), self.ejection());
        HealthRule { consecutive, ejection, slow_start, ..HealthRule::default() }
    }

    pub(super) fn mistakes(&self, mistakes: &mut Vec<String>) {
        let percents = [
            ("failure_percent", self.failure_percent),
            ("jitter_percent", self.jitter_percent),
            ("max_ejected_percent", self.max_ejected_percent),
        ];
        for (name, percent) in percents.into_iter().filter(|(_, percent)| *percent > 100) {
            mistakes
                .push(format!("`outlier.{name}` is {percent}, but must be from 0 to 100 percent"));
        }
        if self.consecutive_failures > LONGEST_ROW {
            mistakes.push(format!(
                "`outlier.consecutive_failures` is {}, but must be at most {LONGEST_ROW}",
                self.consecutive_failures
            ));
        }
        let factor = self.success_rate_factor;
        if !(0.0..=100.0).contains(&factor) {
            mistakes.push(format!(
                "`outlier.success_rate_factor` is {factor}, but must be from 0 to 100"
            ));
        }
        if self.interval < SHORTEST {
            mistakes.push(format!(
                "`outlier.interval` is {:?}, but must be at least {SHORTEST:?}",
                self.interval
            ));
        }
        let times = [("base_ejection", self.base_ejection), ("max_ejection", self.max_ejection)];
        for (name, time) in times.into_iter().filter(|(_, time)| *time > DAY) {
            mistakes.push(format!("`outlier.{name}` is {time:?}, but must be at most a day"));
        }
        if self.max_ejection < self.base_ejection {
            mistakes.push(format!(
                "`outlier.max_ejection` is {:?}, but must be at least `base_ejection`, {:?}",
                self.max_ejection, self.base_ejection
            ));
        }
    }

    pub(super) fn clamped(mut self) -> Self {
        self.failure_percent = self.failure_percent.min(100);
        self.jitter_percent = self.jitter_percent.min(100);
        self.max_ejected_percent = self.max_ejected_percent.min(100);
        self.success_rate_factor = match self.success_rate_factor {
            factor if factor.is_nan() => 0.0,
            factor => factor.clamp(0.0, 100.0),
        };
        self.interval = self.interval.max(SHORTEST);
        self.consecutive_failures = self.consecutive_failures.min(LONGEST_ROW);
        self.base_ejection = self.base_ejection.min(DAY);
        self.max_ejection = self.max_ejection.clamp(self.base_ejection, DAY);
        self
    }
}
