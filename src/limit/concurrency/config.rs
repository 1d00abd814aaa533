use super::word::MOST;
use crate::error::{Error, Kind};

/// How many calls at once, and how many may wait.
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
#[non_exhaustive]
pub struct ConcurrencyLimitConfig {
    /// How many calls at once, from 1 to 2147483647. Default 1024.
    pub max: u32,
    /// How many calls may wait for a place, where they [wait](super::ConcurrencyLimitLayer::wait);
    /// one more is refused at once. Zero lets none wait. Default 1024.
    pub pending: u32,
}

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
    /// `InvalidConfig` that names all mistakes at once. A layer built of such a config takes the
    /// nearest sane values instead.
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
