use super::word::MOST;
use crate::error::{Error, Kind};

/// Settings of a concurrency limit: how many calls at once, and how many may wait.
///
/// ```
/// use tower_upstream::limit::{ConcurrencyLimitConfig, ConcurrencyLimitLayer};
///
/// let config = ConcurrencyLimitConfig::default().with_max(50).with_pending(200);
/// config.validate()?;
/// let layer = ConcurrencyLimitLayer::with_config(config);
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct ConcurrencyLimitConfig {
    /// Number of calls in flight at most, from 1 to 2,147,483,647. Default: 1,024.
    pub max: u32,
    /// Number of calls that may [wait](super::ConcurrencyLimitLayer::wait) for a place; others are
    /// refused at once. With zero no call waits. Default: 1,024.
    pub pending: u32,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(ConcurrencyLimitConfig);

impl Default for ConcurrencyLimitConfig {
    fn default() -> Self {
        Self { max: 1_024, pending: 1_024 }
    }
}

impl ConcurrencyLimitConfig {
    /// Sets [`max`](Self::max).
    #[must_use]
    pub fn with_max(mut self, max: u32) -> Self {
        self.max = max;
        self
    }

    /// Sets [`pending`](Self::pending).
    #[must_use]
    pub fn with_pending(mut self, pending: u32) -> Self {
        self.pending = pending;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once. A layer that is made with such a config
    /// uses the nearest valid values instead.
    pub fn validate(&self) -> Result<(), Error> {
        if (1..=MOST).contains(&self.max) {
            return Ok(());
        }
        let text = format!(
            "concurrency limit: `max` is {}, but must be from 1 to {MOST}; to let no call pass, \
             take the endpoint out instead",
            self.max
        );
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_named() {
        assert!(ConcurrencyLimitConfig::default().validate().is_ok());
        assert!(
            ConcurrencyLimitConfig::default().with_max(MOST).with_pending(0).validate().is_ok()
        );
        for max in [0, MOST + 1] {
            let text = ConcurrencyLimitConfig::default().with_max(max).validate().unwrap_err();
            assert!(text.to_string().contains(&format!("`max` is {max}")), "{text}");
        }
    }
}
