use serde::{Deserialize, Serialize};

use super::section::reads_section;
use crate::{breaker::CircuitBreakerConfig, error::Error};

/// What one circuit breaker of a plugin is for.
///
/// ```
/// use tower_upstream::config::BreakerScope;
/// assert_eq!(BreakerScope::default(), BreakerScope::Endpoint);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerScope {
    /// Each endpoint has one, which judges each attempt. The default.
    #[default]
    Endpoint,
    /// The plugin has one above its retries, which judges each call once, as in Go.
    Upstream,
}

/// The `circuit_breaker` section of a plugin: a [`CircuitBreakerConfig`], and what it is for.
///
/// Its keys are those of `CircuitBreakerConfig`, with Go's names, and `scope`.
///
/// # Example
/// ```
/// use tower_upstream::config::{BreakerScope, BreakerSection};
/// let breaker: BreakerSection =
///     serde_json::from_str(r#"{"failure_threshold": 3, "scope": "upstream"}"#)?;
/// assert_eq!((breaker.config.failures, breaker.scope), (3, BreakerScope::Upstream));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BreakerSection {
    /// What one circuit is for. Default: each endpoint.
    pub scope: BreakerScope,
    /// When the circuit opens and closes.
    #[serde(flatten)]
    pub config: CircuitBreakerConfig,
}

reads_section!(BreakerSection: CircuitBreakerConfig as config, scope);

impl From<CircuitBreakerConfig> for BreakerSection {
    fn from(config: CircuitBreakerConfig) -> Self {
        Self { scope: BreakerScope::default(), config }
    }
}

impl BreakerSection {
    /// Returns the defaults of the Go plugin manager: those of [`CircuitBreakerConfig::go`], and one circuit
    /// for the plugin.
    ///
    /// ```
    /// use tower_upstream::config::{BreakerScope, BreakerSection};
    /// assert_eq!(BreakerSection::go().scope, BreakerScope::Upstream);
    /// ```
    pub fn go() -> Self {
        Self { scope: BreakerScope::Upstream, config: CircuitBreakerConfig::go() }
    }

    setters! {
        with_scope: scope = BreakerScope;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`CircuitBreakerConfig::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        self.config.validate()
    }
}
