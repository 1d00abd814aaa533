use serde::Serialize;

use super::section::reads_section;
use crate::{course::Attempts, error::Error, retry::RetryConfig};

/// The `retry` section of a plugin: a [`RetryConfig`], and whether calls may be repeated.
///
/// Its keys are those of `RetryConfig`, with Go's names, and the two of this struct.
///
/// # Example
/// ```
/// use tower_upstream::config::RetrySection;
/// let retry: RetrySection = serde_json::from_str(r#"{"max_retries": 2, "idempotent": true}"#)?;
/// assert_eq!((retry.config.attempts, retry.idempotent), (3, true));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RetrySection {
    /// Whether calls are repeated at all. If not, each call has one attempt. Default: true.
    pub enabled: bool,
    /// Whether every call of this plugin may be sent twice. If not, a call is repeated if it was never sent,
    /// or says itself that it is [idempotent](crate::Call::idempotent). Default: false.
    pub idempotent: bool,
    /// How often, and after which waits.
    #[serde(flatten)]
    pub config: RetryConfig,
}

reads_section!(RetrySection: RetryConfig as config, enabled, idempotent);

impl Default for RetrySection {
    fn default() -> Self {
        Self::from(RetryConfig::default())
    }
}

impl From<RetryConfig> for RetrySection {
    fn from(config: RetryConfig) -> Self {
        Self { enabled: true, idempotent: false, config }
    }
}

impl RetrySection {
    /// Returns the defaults of the Go plugin manager: those of [`RetryConfig::go`].
    ///
    /// ```
    /// use tower_upstream::config::RetrySection;
    /// assert_eq!(RetrySection::go().config.attempts, 4);
    /// ```
    pub fn go() -> Self {
        Self::from(RetryConfig::go())
    }

    setters! {
        with_enabled: enabled = bool;
        with_idempotent: idempotent = bool;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`RetryConfig::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        self.config.validate()
    }

    /// The attempts of a call.
    pub(crate) fn attempts(&self) -> Attempts {
        let attempts = Attempts::from(self.config.clone());
        if self.enabled { attempts } else { Attempts { max: 1, ..attempts } }
    }
}
