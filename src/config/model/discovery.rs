use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `discovery` section of a Go file: directories in which plugins are looked for.
///
/// It is read and written, and has no effect yet: [`DiscoverConfig`](super::DiscoverConfig) finds the endpoints
/// of a plugin.
///
/// # Example
/// ```
/// use tower_upstream::config::DiscoveryConfig;
/// let discovery: DiscoveryConfig = serde_json::from_str(r#"{"directories": ["/opt/plugins"]}"#)?;
/// assert_eq!(discovery.directories, ["/opt/plugins"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[allow(missing_docs, reason = "the names of Go, without effect")]
#[non_exhaustive]
pub struct DiscoveryConfig {
    pub enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    pub watch_mode: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_paths: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_patterns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_symlinks: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_interfaces: Vec<String>,
    #[serde(with = "crate::duration::option", skip_serializing_if = "Option::is_none")]
    pub discovery_timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_transports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_manifests: Option<bool>,
}

crate::written::names_keys!(DiscoveryConfig);
