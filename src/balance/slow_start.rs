use std::time::Duration;

use crate::rules::SlowStart;

/// How the weight of an endpoint grows after it joined or recovered.
///
/// The weight is multiplied by `max(min_percent / 100, (elapsed / window)^(1 / aggression))`, as in Envoy. Each
/// endpoint has a window of its own, which begins anew whenever it is healthy again. Takes effect with
/// strategies that look at weights.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::balance::{BalanceConfig, SlowStartConfig};
/// let slow_start = SlowStartConfig::over(Duration::from_secs(30));
/// let config = BalanceConfig::default().with_slow_start(slow_start);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct SlowStartConfig {
    /// How long it takes. Default: zero, which switches it off.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub window: Duration,
    /// Above 1, the weight grows fast at first; below 1, slowly. Default: 1, which is linear.
    pub aggression: f64,
    /// Least share of the weight, in percent. Default: 10.
    pub min_percent: u8,
}

impl Default for SlowStartConfig {
    fn default() -> Self {
        Self { window: Duration::ZERO, aggression: 1.0, min_percent: 10 }
    }
}

impl SlowStartConfig {
    /// Creates a config whose weights grow linearly over `window`.
    pub fn over(window: Duration) -> Self {
        Self { window, ..Self::default() }
    }

    setters! {
        with_window: window = Duration;
        with_aggression: aggression = f64;
        with_min_percent: min_percent = u8;
    }

    /// A NaN is none.
    fn has_aggression(&self) -> bool {
        self.aggression > 0.0
    }

    pub(super) fn rule(&self) -> SlowStart {
        SlowStart {
            window: self.window,
            aggression: self.aggression,
            min_weight_percent: self.min_percent.into(),
        }
    }

    pub(super) fn mistakes(&self, mistakes: &mut Vec<String>) {
        if !self.has_aggression() {
            mistakes.push(format!(
                "`slow_start.aggression` is {}, but must be above 0",
                self.aggression
            ));
        }
        if self.min_percent > 100 {
            mistakes.push(format!(
                "`slow_start.min_percent` is {}, but must be from 0 to 100 percent",
                self.min_percent
            ));
        }
    }

    pub(super) fn clamped(mut self) -> Self {
        self.min_percent = self.min_percent.min(100);
        if !self.has_aggression() {
            self.aggression = 1.0;
        }
        self
    }
}
