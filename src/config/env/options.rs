use std::{collections::BTreeMap, ffi::OsString, fmt};

use serde::{Deserialize, Serialize};

/// How values are taken from the environment, by the names of the Go plugin manager.
///
/// # Example
/// ```
/// use tower_upstream::config::env::{self, EnvOptions};
///
/// let options = EnvOptions::default().with_variables([("GO_PLUGINS_REGION", "eu"), ("REGION", "us")]);
/// assert_eq!(env::expand("${REGION}", &options)?, "eu");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct EnvOptions {
    /// Prefix of a variable that comes before the one with the name alone. Default: `GO_PLUGINS_`.
    pub prefix: String,
    /// Whether a variable that is missing is a mistake; otherwise it is an empty text. Default: `false`.
    pub fail_on_missing: bool,
    /// Whether values are checked: without NUL and control characters but tab and line ends, and at most
    /// 4,096 bytes long. Default: `true`.
    pub validate_values: bool,
    /// Whether [`overrides`](Self::overrides) and [`override_prefix`](Self::override_prefix) count.
    /// Default: `true`.
    pub allow_overrides: bool,
    /// Values of variables that are missing everywhere else. Default: none.
    pub defaults: BTreeMap<String, String>,
    /// Values of variables that the environment does not have. Default: none.
    pub overrides: BTreeMap<String, String>,
    /// Prefix of variables that set a value by its path: with `MYAPP_`,
    /// `MYAPP_PLUGINS__TAX__RATE_LIMIT__BURST_SIZE` sets the burst of the plugin `tax`. Names are read in any case,
    /// with `_` for each sign that a variable cannot have; those in the `env` of a plugin are exact. An item of a list is
    /// found by its `name` or its number, from 0, and one of a list in `env` by the name of its variable. A value is taken
    /// as it is, without placeholders. Where the file has no text for a secret, `__FILE` and `__ENV` say where it
    /// is. A variable that leads nowhere, to an item that a list does not have, to several values, such as one of
    /// `tax` and one of `tax--retry`, or where another variable leads as well is a mistake. An empty one counts as
    /// not set. Default: none.
    pub override_prefix: Option<String>,
    /// In place of the environment of the process.
    #[serde(skip)]
    variables: Option<BTreeMap<String, String>>,
}

crate::written::names_keys!(EnvOptions);

impl Default for EnvOptions {
    fn default() -> Self {
        Self {
            prefix: "GO_PLUGINS_".to_owned(),
            fail_on_missing: false,
            validate_values: true,
            allow_overrides: true,
            defaults: BTreeMap::new(),
            overrides: BTreeMap::new(),
            override_prefix: None,
            variables: None,
        }
    }
}

impl EnvOptions {
    setters! {
        with_prefix: prefix = impl Into<String>;
        with_fail_on_missing: fail_on_missing = bool;
        with_validate_values: validate_values = bool;
        with_allow_overrides: allow_overrides = bool;
        with_override_prefix: override_prefix = impl Into<Option<String>>;
    }

    /// Adds a value to [`defaults`](Self::defaults).
    #[must_use]
    pub fn with_default(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.defaults.insert(name.into(), value.into());
        self
    }

    /// Adds a value to [`overrides`](Self::overrides).
    #[must_use]
    pub fn with_override(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.insert(name.into(), value.into());
        self
    }

    /// Replaces the environment of the process, such as in a test.
    #[must_use]
    pub fn with_variables<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.variables = Some(variables.collect());
        self
    }

    /// The value of a variable of the environment, or what is wrong with it.
    pub(super) fn variable(&self, name: &str) -> Option<Result<String, String>> {
        let value = match &self.variables {
            Some(variables) => variables.get(name).cloned().map(Ok),
            None => std::env::var_os(name).map(|value| in_utf_8(name, value)),
        };
        value.filter(|value| value.as_ref().is_ok_and(|value| !value.is_empty()) || value.is_err())
    }

    /// All variables that are set and whose names begin with `prefix`, in order, with their values.
    pub(super) fn with_prefix_of(&self, prefix: &str) -> Vec<(String, Result<String, String>)> {
        let has_prefix =
            |name: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        let mut found: Vec<_> = match &self.variables {
            Some(variables) => {
                let all = variables.iter().filter(|(name, _)| has_prefix(name));
                all.map(|(name, value)| (name.clone(), Ok(value.clone()))).collect()
            }
            None => {
                let all = std::env::vars_os().filter_map(|(name, value)| {
                    let name = name.into_string().ok().filter(|name| has_prefix(name))?;
                    let value = in_utf_8(&name, value);
                    Some((name, value))
                });
                all.collect()
            }
        };
        found.retain(|(_, value)| value.as_ref() != Ok(&String::new()));
        found.sort();
        found
    }
}

fn in_utf_8(name: &str, value: OsString) -> Result<String, String> {
    let wrong = || format!("the value of the environment variable `{name}` is not UTF-8");
    value.into_string().map_err(|_| wrong())
}

/// Leaves out the values, which may be secrets.
impl fmt::Debug for EnvOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvOptions")
            .field("prefix", &self.prefix)
            .field("fail_on_missing", &self.fail_on_missing)
            .field("validate_values", &self.validate_values)
            .field("allow_overrides", &self.allow_overrides)
            .field("defaults", &self.defaults.keys())
            .field("overrides", &self.overrides.keys())
            .field("override_prefix", &self.override_prefix)
            .finish_non_exhaustive()
    }
}
