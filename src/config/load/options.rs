use crate::config::{env::EnvOptions, model::Preset};

/// What is done with a key that nothing knows.
///
/// ```
/// use tower_upstream::config::{Config, Format, ReadOptions, Unknown};
///
/// let text = "plugins: {tax: {transport: http, endpoint: 'http://tax', colour: red}}";
/// assert!(Config::from_str(text, Format::Yaml).is_err());
/// let options = ReadOptions::default().with_unknown(Unknown::Note);
/// let config = Config::from_str_with(text, Format::Yaml, &options)?;
/// assert_eq!(config.notes()[0].path, "plugins.tax.colour");
/// # Ok::<(), tower_upstream::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unknown {
    /// It is a mistake. The default.
    #[default]
    Mistake,
    /// It has no effect, and [`Config::notes`](super::super::Config::notes) says so. For files of newer
    /// programs.
    Note,
}

/// How a config file is read.
///
/// # Example
/// ```
/// use tower_upstream::config::{Config, Format, ReadOptions, env::EnvOptions};
///
/// let env = EnvOptions::default().with_variables([("TAX", "https://tax.example")]);
/// let text = r#"{"plugins": [{"name": "tax", "transport": "https", "endpoint": "${TAX}"}]}"#;
/// let options = ReadOptions::default().with_env(env);
/// let config = Config::from_str_with(text, Format::Json, &options)?;
/// assert_eq!(config.plugins[0].endpoint, "https://tax.example");
/// # Ok::<(), tower_upstream::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// How values are taken from the environment.
    pub env: EnvOptions,
    /// What is done with a key that nothing knows. Default: it is a mistake.
    pub unknown: Unknown,
    /// Whose defaults hold for what a file leaves out, if the file has no `preset`. Default: ours.
    ///
    /// Files of the Go plugin manager, which know no `preset`, are read with `Preset::Go` as Go reads them.
    pub preset: Option<Preset>,
    /// Transports, or types, of the program's own factories. Default: none.
    pub transports: Vec<String>,
    /// Names of plugins that the program registers in code, which a `fallback` may name. Default: none.
    pub plugins: Vec<String>,
}

impl ReadOptions {
    setters! {
        with_env: env = impl Into<EnvOptions>;
        with_unknown: unknown = Unknown;
        with_preset: preset = impl Into<Option<Preset>>;
    }

    /// Adds transports, or types, of the program's own factories.
    #[must_use]
    pub fn with_transports<T: Into<String>>(
        mut self,
        transports: impl IntoIterator<Item = T>,
    ) -> Self {
        self.transports.extend(transports.into_iter().map(Into::into));
        self
    }
    /// Adds names of plugins that the program registers in code.
    #[must_use]
    pub fn with_plugins<T: Into<String>>(mut self, plugins: impl IntoIterator<Item = T>) -> Self {
        self.plugins.extend(plugins.into_iter().map(Into::into));
        self
    }
}
