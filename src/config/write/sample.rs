//! A file to begin with.

use std::{fs, io::Write, path::Path};

use super::text::Secrets;
use crate::{
    config::{
        model::{Config, PluginConfig},
        value::Format,
    },
    error::{Code, Error, Kind},
};

impl Config {
    /// Returns a file with every section and its defaults, and one plugin, to begin with.
    ///
    /// It is made from the structs that read it, and reading it gives the defaults.
    ///
    /// # Errors
    /// Those of [`to_text`](Self::to_text).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format, Sections};
    /// let config = Config::from_str(&Config::sample(Format::Toml)?, Format::Toml)?;
    /// assert_eq!(config.defaults, Sections::default());
    /// # Ok::<(), tower_upstream::BoxError>(())
    /// ```
    pub fn sample(format: Format) -> Result<String, Error> {
        let plugin = PluginConfig::new("example", "https").with_endpoint("https://example.com");
        let text = Self::default().with_plugin(plugin).to_text(format, Secrets::Masked)?;
        let about = match format {
            Format::Json => return Ok(text),
            Format::Yaml | Format::Toml => {
                "# Plugins of a program, and with their defaults all sections that a plugin may have, too.\n\
                 # Values may be \"${NAME}\" or \"${NAME:-default}\", of the environment.\n\n"
            }
        };
        Ok(format!("{about}{text}"))
    }

    /// Writes the [sample](Self::sample) to a new file, in the format of its extension. Only the user may
    /// read it: it has mode 0600, and directories that are made for it have 0750.
    ///
    /// # Errors
    /// `InvalidConfig` with the code `CONFIG_1706` if there is such a file already, or if it cannot be
    /// written; that of [`Format::of`].
    pub fn write_sample(path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let text = Self::sample(Format::of(path)?)?;
        create(path, &text).map_err(|error| {
            let text = format!("the sample cannot be written to `{}`", path.display());
            let failed = Error::not_sent(Kind::InvalidConfig).coded(Some(Code::CONFIG_1706));
            failed.message(text).caused_by(error)
        })
    }
}

fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let mut directories = fs::DirBuilder::new();
    directories.recursive(true);
    let mut file = fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directories.mode(0o750);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directories.create(parent)?;
    }
    file.open(path)?.write_all(text.as_bytes())
}
