use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Error as _},
};

use super::{
    breaker::BreakerSection,
    discovery::DiscoveryConfig,
    plugin::PluginConfig,
    retry::RetrySection,
    sections::{self, Sections},
    security::SecurityConfig,
};
use crate::{
    config::error::Mistake, health::HealthConfig, limit::RateLimitConfig, transport::HttpConfig,
};

/// What a file says: the plugins of a program, and what holds for all of them.
///
/// Fields are public, so a config can be written in code as well. A key `$schema` of a file names its schema to
/// editors; it is no part of the config.
///
/// # Example
/// ```
/// use tower_upstream::config::{Config, PluginConfig};
///
/// let tax = PluginConfig::new("tax", "https").with_endpoint("https://tax.example");
/// let config = Config::default().with_plugin(tax);
/// assert_eq!(config.plugins.len(), 1);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// Whose defaults hold for what the file leaves out. Default: ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Level of logs, such as `info`. Default: empty, which is not set.
    // Written even so: with a preset, what is left out is not empty.
    pub log_level: String,
    /// Port of metrics, which has no effect yet. Default: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// Sections of plugins that leave them out.
    pub defaults: Sections,
    /// The plugins. In a file, a list of plugins with names, or an object of plugins by name.
    pub plugins: Vec<PluginConfig>,
    /// Where Go looks for plugins, which has no effect yet. Default: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<DiscoveryConfig>,
    /// Which programs may run. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityConfig>,
    #[serde(skip)]
    notes: Notes,
}

/// What is said of a file beside what it says: no part of the config.
#[derive(Debug, Clone, Default)]
struct Notes {
    all: Vec<Mistake>,
    /// Whether there was a file, and what it says without effect was told.
    is_read: bool,
}

impl PartialEq for Notes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Whose defaults hold for what a file leaves out.
///
/// ```
/// use tower_upstream::config::{Config, Preset};
/// assert_eq!(Config::go().preset, Some(Preset::Go));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// `go`: those of the Go plugin manager; see [`Config::go`].
    Go,
}

impl Config {
    /// Returns the config of the Go plugin manager before a file is read.
    ///
    /// ```
    /// use tower_upstream::config::Config;
    /// let config = Config::go();
    /// assert_eq!((config.log_level.as_str(), config.metrics_port), ("info", Some(9090)));
    /// ```
    pub fn go() -> Self {
        Self {
            preset: Some(Preset::Go),
            log_level: "info".to_owned(),
            metrics_port: Some(9090),
            defaults: Sections::go(),
            ..Self::default()
        }
    }

    /// Returns what the file says without effect, each with its place. Reading succeeds in spite of it.
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format};
    /// let text = "metrics_port: 9090\nplugins: {tax: {transport: http, endpoint: 'http://tax'}}";
    /// let config = Config::from_str(text, Format::Yaml)?;
    /// assert_eq!((config.notes()[0].path.as_str(), config.notes()[0].line), ("metrics_port", Some(1)));
    /// # Ok::<(), tower_upstream::config::ConfigError>(())
    /// ```
    pub fn notes(&self) -> &[Mistake] {
        &self.notes.all
    }

    pub(in crate::config) fn set_notes(&mut self, notes: impl Iterator<Item = Mistake>) {
        self.notes = Notes { all: notes.collect(), is_read: true };
    }

    /// Whether it was read of a file or a text, and not written in code.
    pub(crate) fn is_read(&self) -> bool {
        self.notes.is_read
    }

    setters! {
        with_log_level: log_level = impl Into<String>;
        with_security: security = impl Into<Option<SecurityConfig>>;
    }

    /// Adds a plugin.
    #[must_use]
    pub fn with_plugin(mut self, plugin: PluginConfig) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Sets [`defaults`](Self::defaults).
    #[must_use]
    pub fn with_defaults(mut self, defaults: Sections) -> Self {
        self.defaults = defaults;
        self
    }
}

/// A config as it is written, with the names of both worlds.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[derive(Default)]
struct Written {
    /// Of editors, which look for the schema of the file there.
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    preset: Option<Preset>,
    log_level: Option<String>,
    metrics_port: Option<u16>,
    defaults: sections::Written,
    default_retry: Option<RetrySection>,
    default_circuit_breaker: Option<BreakerSection>,
    default_health_check: Option<HealthConfig>,
    default_connection: Option<HttpConfig>,
    default_rate_limit: Option<RateLimitConfig>,
    #[serde(deserialize_with = "list_or_map")]
    plugins: Vec<PluginConfig>,
    discovery: Option<DiscoveryConfig>,
    security: Option<SecurityConfig>,
}

crate::written::names_keys_of!(Written);

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written: Written = Deserialize::deserialize(deserializer)?;
        let base = match written.preset {
            Some(Preset::Go) => Self::go(),
            None => Self::default(),
        };
        let mut defaults = written.defaults;
        macro_rules! go {
            ($($section:ident = $name:ident),+) => {
                $(if written.$name.is_some() {
                    if defaults.$section.is_some() {
                        return Err(D::Error::custom(concat!(
                            "`", stringify!($name), "` and `defaults.", stringify!($section),
                            "` are the same"
                        )));
                    }
                    defaults.$section = written.$name;
                })+
            };
        }
        go!(
            retry = default_retry,
            circuit_breaker = default_circuit_breaker,
            health_check = default_health_check,
            connection = default_connection,
            rate_limit = default_rate_limit
        );
        Ok(Self {
            preset: written.preset,
            log_level: written.log_level.unwrap_or(base.log_level),
            metrics_port: written.metrics_port.or(base.metrics_port),
            defaults: defaults.over(base.defaults),
            plugins: written.plugins,
            discovery: written.discovery,
            security: written.security,
            notes: Notes::default(),
        })
    }
}

/// Reads a list of plugins, or an object of plugins by name.
fn list_or_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PluginConfig>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<PluginConfig>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of plugins, or an object of plugins by name")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq))
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut plugins = Vec::new();
            while let Some((name, mut plugin)) = map.next_entry::<String, PluginConfig>()? {
                if !plugin.name.is_empty() && plugin.name != name {
                    let text = format!("plugin `{name}` calls itself `{}`", plugin.name);
                    return Err(de::Error::custom(text));
                }
                plugin.name = name;
                plugins.push(plugin);
            }
            Ok(plugins)
        }
    }

    deserializer.deserialize_any(Visitor)
}
