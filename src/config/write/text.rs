use serde_json::Value;

use super::{go, yaml::to_yaml};
use crate::{
    auth::shown::{Shown, showing},
    config::{
        model::{Config, Preset, Sections},
        value::Format,
    },
    error::{Error, Kind},
};

/// What is written of the secrets of a config.
///
/// ```
/// use tower_upstream::config::{Config, Format, Secrets};
///
/// let text = "plugins: {tax: {transport: http, endpoint: 'http://localhost',
///     auth: {method: bearer, token: s3cret}}}";
/// let config = Config::from_str(text, Format::Yaml)?;
/// assert!(!config.to_json()?.contains("s3cret"));
/// let all = config.to_text(Format::Toml, Secrets::Written)?;
/// assert_eq!(Config::from_str(&all, Format::Toml)?, config);
/// # Ok::<(), tower_upstream::BoxError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Secrets {
    /// `"***"`. The default.
    #[default]
    Masked,
    /// As they are. What is read again is equal.
    Written,
}

impl Config {
    /// Returns the config as JSON; secrets are `"***"`.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format};
    /// let config = Config::go();
    /// assert!(config.to_json()?.contains("\"log_level\": \"info\""));
    /// assert!(config.to_yaml()?.contains("log_level: info"));
    /// assert!(config.to_toml()?.contains("log_level = \"info\""));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn to_json(&self) -> Result<String, Error> {
        self.to_text(Format::Json, Secrets::Masked)
    }

    /// Returns the config as YAML; secrets are `"***"`.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    pub fn to_yaml(&self) -> Result<String, Error> {
        self.to_text(Format::Yaml, Secrets::Masked)
    }

    /// Returns the config as TOML; secrets are `"***"`.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    pub fn to_toml(&self) -> Result<String, Error> {
        self.to_text(Format::Toml, Secrets::Masked)
    }

    /// Returns the config as the Go plugin manager writes it, and reads it: all members, durations in
    /// nanoseconds, policies as integers. What Go does not have is left out; secrets are `"***"` unless
    /// they are asked for.
    ///
    /// With secrets, and read with [`Preset::Go`], the `plugins`, `discovery` and `security` of a config that says
    /// only what Go can say are equal, but for what Go needs to be told: a plugin has the `auth` of the
    /// defaults, or one of the method `none`, and an enabled `security` without a `policy` is `strict`.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Secrets};
    /// let go = Config::go().to_go_json(Secrets::Masked)?;
    /// assert!(go.contains("\"recovery_timeout\": 30000000000"));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn to_go_json(&self, secrets: Secrets) -> Result<String, Error> {
        pretty(&showing(shown(secrets), || go::config(self)))
    }

    /// Returns the config as a text.
    ///
    /// # Errors
    /// `InvalidConfig` if a format cannot write a value: TOML has no integers above
    /// 9,223,372,036,854,775,807.
    pub fn to_text(&self, format: Format, secrets: Secrets) -> Result<String, Error> {
        let value = showing(shown(secrets), || serde_json::to_value(self));
        let mut value = value.map_err(|error| unwritable(format, &error))?;
        match format {
            Format::Json => pretty(&value),
            Format::Yaml => Ok(to_yaml(&value)),
            Format::Toml => {
                let sections = match self.preset {
                    Some(Preset::Go) => Sections::go(),
                    None => Sections::default(),
                };
                let base = showing(shown(secrets), || serde_json::to_value(sections));
                leave_out(&mut value, &base.map_err(|error| unwritable(format, &error))?);
                toml::to_string_pretty(&Toml(&value)).map_err(|error| unwritable(format, &error))
            }
        }
    }
}

fn shown(secrets: Secrets) -> Shown {
    match secrets {
        Secrets::Masked => Shown::Stars,
        Secrets::Written => Shown::All,
    }
}

fn pretty(value: &Value) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| unwritable(Format::Json, &error))
}

#[cold]
fn unwritable(format: Format, error: &dyn std::error::Error) -> Error {
    let text = format!("the config cannot be written as {format}: {error}");
    Error::not_sent(Kind::InvalidConfig).message(text)
}

/// Values of any shape, in which null is a value.
const FREE: [&str; 3] = ["default_response", "discover", "options"];

/// TOML has no null: a key without a value is left out, unless a default would hold then. `base` has those of
/// the defaults of the file, which are those of its plugins.
fn leave_out(config: &mut Value, base: &Value) {
    let [mut defaults, mut plugins] = ["defaults", "plugins"].map(|key| config[key].take());
    for plugin in plugins.as_array_mut().into_iter().flatten() {
        without_null(plugin, &defaults);
    }
    without_null(&mut defaults, base);
    without_null(config, &Value::Null);
    (config["defaults"], config["plugins"]) = (defaults, plugins);
}

fn without_null(value: &mut Value, base: &Value) {
    let has_default = |key: &str| base.get(key).is_some_and(|default| !default.is_null());
    match value {
        Value::Object(members) => {
            members.retain(|key, value| !value.is_null() || has_default(key));
            for (key, value) in members.iter_mut().filter(|(key, _)| !FREE.contains(&&***key)) {
                without_null(value, base.get(key).unwrap_or(&Value::Null));
            }
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(|item| without_null(item, &Value::Null));
        }
        _ => {}
    }
}

/// A value as TOML has it: none is `nan`, no number.
struct Toml<'v>(&'v Value);

impl serde::Serialize for Toml<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_f64(f64::NAN),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Toml)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, Toml(value))))
            }
            value => value.serialize(serializer),
        }
    }
}
