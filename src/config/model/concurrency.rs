use std::time::Duration;

use serde::Serialize;

use super::section::reads_section;
use crate::{
    error::{Error, Kind},
    limit::ConcurrencyLimitConfig,
};

/// The `concurrency` section of a plugin: a [`ConcurrencyLimitConfig`] for all of it, and a limit for each
/// endpoint.
///
/// # Example
/// ```
/// use tower_upstream::config::ConcurrencySection;
/// let limits: ConcurrencySection = serde_json::from_str(r#"{"max": 100, "per_endpoint": 20}"#)?;
/// assert_eq!((limits.config.max, limits.per_endpoint), (100, Some(20)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConcurrencySection {
    /// Whether there are limits. Default: true.
    pub enabled: bool,
    /// Longest time that a call waits for a place, while no more than `pending` do; 0 refuses it at once.
    /// Default: 0.
    #[serde(with = "crate::duration::serde")]
    pub wait: Duration,
    /// Number of calls in flight at each endpoint at most. Default: none.
    pub per_endpoint: Option<u32>,
    /// Limit of the plugin as a whole.
    #[serde(flatten)]
    pub config: ConcurrencyLimitConfig,
}

reads_section!(ConcurrencySection: ConcurrencyLimitConfig as config, enabled, wait: duration, per_endpoint);

impl Default for ConcurrencySection {
    fn default() -> Self {
        let config = ConcurrencyLimitConfig::default();
        Self { enabled: true, wait: Duration::ZERO, per_endpoint: None, config }
    }
}

impl ConcurrencySection {
    /// Returns the defaults of the Go plugin manager, which has no such limits: not enabled.
    ///
    /// ```
    /// assert!(!tower_upstream::config::ConcurrencySection::go().enabled);
    /// ```
    pub fn go() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    setters! {
        with_enabled: enabled = bool;
        with_wait: wait = Duration;
        with_per_endpoint: per_endpoint = impl Into<Option<u32>>;
        with_config: config = ConcurrencyLimitConfig;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`], which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        self.config.validate()?;
        match self.per_endpoint {
            Some(max) if ConcurrencyLimitConfig::default().with_max(max).validate().is_err() => {
                let text =
                    format!("concurrency limit: `per_endpoint` is {max}, but must be from 1");
                Err(Error::not_sent(Kind::InvalidConfig).message(text))
            }
            _ => Ok(()),
        }
    }
}
