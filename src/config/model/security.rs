use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IntoDeserializer, MapAccess},
};
use serde_json::Value;

use super::section::{Section, Time, section};
#[cfg(all(feature = "process", unix))]
use crate::allow::{AllowConfig, AuditConfig};
use crate::{config::names::in_snake_case, duration::go_duration, error::Error};

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

    setters! {
        with_enabled: enabled = bool;
    }

    /// Sets [`allow`](Self::allow).
    #[cfg(all(feature = "process", unix))]
    #[must_use]
    pub fn with_allow(mut self, allow: AllowConfig) -> Self {
        self.allow = allow;
        self
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

/// A section as it is written.
#[derive(Default)]
struct Written {
    security: SecurityConfig,
    policy: Policy,
    #[cfg(all(feature = "process", unix))]
    audit: Option<Audit>,
}

impl<'de> Section<'de> for Written {
    #[cfg(all(feature = "process", unix))]
    type Part = AllowConfig;
    #[cfg(not(all(feature = "process", unix)))]
    type Part = BTreeMap<String, Value>;

    const OWN: &'static [&'static str] = &[
        "enabled",
        "policy",
        #[cfg(all(feature = "process", unix))]
        "audit",
        "auto_update",
        "hash_algorithm",
        "validate_on_start",
        "reload_delay",
    ];

    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "enabled" => self.security.enabled = map.next_value()?,
            "policy" => self.policy = map.next_value()?,
            #[cfg(all(feature = "process", unix))]
            "audit" => self.audit = map.next_value()?,
            inert => {
                let value = match inert {
                    "hash_algorithm" => map.next_value::<Option<String>>()?.map(Value::from),
                    "reload_delay" => {
                        let delay = map.next_value::<Option<Time>>()?;
                        delay.map(|Time(delay)| go_duration(delay).into())
                    }
                    _ => map.next_value::<Option<bool>>()?.map(Value::from),
                };
                if let Some(value) = value {
                    self.security.inert.insert(inert.to_owned(), value);
                }
            }
        }
        Ok(())
    }

    fn with_part(mut self, part: Self::Part) -> Self {
        self.security.allow = part;
        self
    }

    fn name(key: String) -> String {
        in_snake_case(key)
    }
}

/// What `policy` says, in Go's words and numbers: a policy, or that there is none, which is no list.
#[derive(Default)]
enum Policy {
    #[default]
    Unset,
    Off,
    #[cfg(all(feature = "process", unix))]
    Some(crate::allow::Policy),
    #[cfg(not(all(feature = "process", unix)))]
    Some(Value),
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Policy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`strict`, `permissive`, `audit-only` or `disabled`")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Policy, E> {
                Ok(Policy::Unset)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Policy, E> {
                match number {
                    0 => Ok(Policy::Off),
                    _ => Deserialize::deserialize(number.into_deserializer()).map(Policy::Some),
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Policy, E> {
                match word {
                    "disabled" => Ok(Policy::Off),
                    _ => Deserialize::deserialize(word.into_deserializer()).map(Policy::Some),
                }
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The `audit` section as it is written.
#[cfg(all(feature = "process", unix))]
#[derive(Default)]
struct Audit {
    config: AuditConfig,
    is_off: bool,
}

#[cfg(all(feature = "process", unix))]
impl<'de> Section<'de> for Audit {
    type Part = AuditConfig;

    const OWN: &'static [&'static str] = &["enabled"];

    fn read<A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        self.is_off = !map.next_value::<bool>()?;
        Ok(())
    }

    fn with_part(mut self, part: AuditConfig) -> Self {
        self.config = part;
        if self.is_off {
            self.config.file.clear();
        }
        self
    }

    fn name(key: String) -> String {
        in_snake_case(key)
    }
}

#[cfg(all(feature = "process", unix))]
impl<'de> Deserialize<'de> for Audit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        section(deserializer)
    }
}

impl<'de> Deserialize<'de> for SecurityConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written: Written = section(deserializer)?;
        match written.policy {
            Policy::Unset => {}
            Policy::Off => written.security.enabled = false,
            #[cfg(all(feature = "process", unix))]
            Policy::Some(policy) => written.security.allow.policy = Some(policy),
            #[cfg(not(all(feature = "process", unix)))]
            Policy::Some(policy) => {
                written.security.allow.insert("policy".to_owned(), policy);
            }
        }
        #[cfg(all(feature = "process", unix))]
        if let Some(Audit { config, .. }) = written.audit {
            written.security.allow.audit = config;
        }
        Ok(written.security)
    }
}
