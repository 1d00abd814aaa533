use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IntoDeserializer},
};
use serde_json::Value;

#[cfg(all(feature = "process", unix))]
use crate::allow::AllowConfig;
use crate::error::Error;

/// The `security` section: which programs may run as plugins.
///
/// Its keys are those of `allow::AllowConfig` (feature `process`), with Go's names, and whether it holds. Go's
/// spelling in YAML without underscores, such as `whitelistfile`, is read as well.
///
/// # Example
/// ```
/// use tower_upstream::config::SecurityConfig;
/// let security: SecurityConfig = serde_json::from_str(
///     r#"{"enabled": true, "policy": 2, "whitelist_file": "/etc/plugins/allowed.json"}"#,
/// )?;
/// assert!(security.is_on());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SecurityConfig {
    /// Whether programs are checked. Default: true.
    pub enabled: bool,
    /// Keys of Go that have no effect: `auto_update`, `hash_algorithm`, `validate_on_start` and
    /// `reload_delay`.
    #[serde(flatten)]
    pub inert: BTreeMap<String, Value>,
    /// The list, and what is done about a program that is not on it.
    #[cfg(all(feature = "process", unix))]
    #[serde(flatten)]
    pub allow: AllowConfig,
    /// The settings of the list, which takes the feature `process`.
    #[cfg(not(all(feature = "process", unix)))]
    #[serde(flatten)]
    pub allow: BTreeMap<String, Value>,
}

const INERT: [&str; 4] = ["auto_update", "hash_algorithm", "validate_on_start", "reload_delay"];

/// Names of Go's in YAML, where it declares none.
const JOINED: [(&str, &str); 14] = [
    ("whitelistfile", "whitelist_file"),
    ("autoupdate", "auto_update"),
    ("hashalgorithm", "hash_algorithm"),
    ("validateonstart", "validate_on_start"),
    ("maxfilesize", "max_file_size"),
    ("allowedtypes", "allowed_types"),
    ("forbiddenpaths", "forbidden_paths"),
    ("auditconfig", "audit"),
    ("watchconfig", "watch_config"),
    ("reloaddelay", "reload_delay"),
    ("auditfile", "audit_file"),
    ("logunauthorized", "log_unauthorized"),
    ("logauthorized", "log_authorized"),
    ("logconfigchanges", "log_config_changes"),
];

fn snake(key: String) -> String {
    let joined = JOINED.iter().find(|(joined, _)| *joined == key);
    joined.map_or(key, |(_, snake)| (*snake).to_owned())
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self { enabled: true, inert: BTreeMap::new(), allow: Default::default() }
    }
}

impl SecurityConfig {
    /// Returns the defaults of the Go plugin manager: not enabled.
    ///
    /// ```
    /// assert!(!tower_upstream::config::SecurityConfig::go().is_on());
    /// ```
    pub fn go() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Returns whether programs are checked.
    pub fn is_on(&self) -> bool {
        self.enabled
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`AllowConfig::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        #[cfg(all(feature = "process", unix))]
        self.allow.validate()?;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for SecurityConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut rest = serde_json::Map::new();
        let mut security = Self::default();
        for (key, mut value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            let key = snake(key);
            match key.as_str() {
                "enabled" => {
                    security.enabled = bool::deserialize(value).map_err(D::Error::custom)?;
                }
                // No policy in Go's words, which is no list.
                "policy" if value == 0 || value == "disabled" => security.enabled = false,
                inert if INERT.contains(&inert) => {
                    security.inert.insert(key, value);
                }
                _ => {
                    if let (true, Value::Object(audit)) = (key == "audit", &mut value) {
                        audit.remove("enabled");
                        *audit = std::mem::take(audit)
                            .into_iter()
                            .map(|(key, value)| (snake(key), value))
                            .collect();
                    }
                    rest.insert(key, value);
                }
            }
        }
        let rest = Value::Object(rest).into_deserializer();
        security.allow = Deserialize::deserialize(rest).map_err(D::Error::custom)?;
        Ok(security)
    }
}
