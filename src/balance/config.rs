use std::time::Duration;

use crate::error::{Error, Kind};

/// Settings of a [`BalanceLayer`](super::BalanceLayer): what it does when endpoints are missing.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::balance::BalanceConfig;
/// let config = BalanceConfig::default().with_fail_fast_after(Duration::from_millis(200));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BalanceConfig {
    /// Longest time that a call waits for an endpoint that is ready, at most a day; then it fails unsent.
    /// After that time without any endpoint, calls fail at once. Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub fail_fast_after: Duration,
    /// Percentage of members that may be used below which health is ignored, from 0 to 100. With 0,
    /// health is never ignored. Default: 50.
    pub panic_threshold: u8,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { fail_fast_after: Duration::from_secs(1), panic_threshold: 50 }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

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
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("balance: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn clamped(mut self) -> Self {
        self.fail_fast_after = self.fail_fast_after.min(DAY);
        self.panic_threshold = self.panic_threshold.min(100);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = BalanceConfig { fail_fast_after: Duration::MAX, panic_threshold: 101 };
        let text = absurd.validate().unwrap_err().to_string();
        assert!(text.contains("fail_fast_after") && text.contains("panic_threshold"), "{text}");
        assert!(absurd.clamped().validate().is_ok());
    }
}
