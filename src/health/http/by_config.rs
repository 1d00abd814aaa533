//! Checks that ask for what a config says.

use std::sync::Arc;

use super::HttpCheck;
use crate::health::{check::AnyCheck, config::HealthConfig, layer::HealthGateLayer, setup::Setup};

impl HttpCheck {
    /// Creates a check that requests the [`endpoint`](HealthConfig::endpoint) of `config`, or `/health` if
    /// there is none, as [`get`](Self::get) does. For a check that needs more than a config has, such as
    /// a header.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{HealthGateLayer, HttpCheck, health::HealthConfig};
    ///
    /// let config = HealthConfig::go().with_endpoint("/ready");
    /// let check = HttpCheck::of(&config).header("authorization", "Bearer abc");
    /// let layer = HealthGateLayer::with_config(check, config);
    /// # let _ = layer;
    /// ```
    pub fn of(config: &HealthConfig) -> Self {
        Self::get(config.target())
    }
}

impl HealthGateLayer {
    /// Creates a layer that checks with HTTP requests for the [`endpoint`](HealthConfig::endpoint) of
    /// `config`, or for `/health` if there is none, as [`HttpCheck::of`] does.
    ///
    /// After an [update](crate::health::HealthHandle::update) with another `endpoint`, the next checks
    /// request that. An `endpoint` that cannot work is reported by every call through the gate, as
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig). Other values out of range become the
    /// nearest allowed ones.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::HealthConfig};
    ///
    /// let config: HealthConfig = serde_json::from_str(
    ///     r#"{"interval": "30s", "timeout": "5s", "failure_limit": 3, "endpoint": "/ready"}"#,
    /// )?;
    /// config.validate()?;
    /// let layer = HealthGateLayer::http(config);
    /// # let _ = layer;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn http(config: HealthConfig) -> Self {
        let by = |config: &HealthConfig| Arc::new(HttpCheck::of(config)) as Arc<dyn AnyCheck>;
        Self::of(config, Setup::new(Arc::new(by)))
    }
}
