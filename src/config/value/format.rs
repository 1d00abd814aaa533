use std::{fmt, path::Path, str::FromStr};

use super::flaw::Flaw;
use crate::error::{Code, Error, Quoted};

/// Format of a config file.
///
/// ```
/// use std::path::Path;
/// use tower_upstream::config::Format;
///
/// assert_eq!(Format::of(Path::new("/etc/plugins.yml"))?, Format::Yaml);
/// assert_eq!("toml".parse::<Format>()?, Format::Toml);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON: `.json`.
    Json,
    /// YAML: `.yaml` or `.yml`. Needs the feature `yaml`.
    Yaml,
    /// TOML: `.toml`.
    Toml,
}

impl Format {
    /// Returns the format that the extension of `path` stands for, in any case.
    ///
    /// # Errors
    /// `InvalidConfig` with the code `CONFIG_1702` for any other extension.
    pub fn of(path: &Path) -> Result<Self, Error> {
        Self::by_extension(path).map_err(Into::into)
    }

    pub(crate) fn by_extension(path: &Path) -> Result<Self, Flaw> {
        match path.extension() {
            Some(extension) => Self::named(&extension.to_string_lossy()),
            None => Err(unknown("the file has no extension, which says its format".to_owned())),
        }
    }

    /// The code of a file that is not of the format.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Json => Code::PLUGIN_1011,
            Self::Yaml | Self::Toml => Code::CONFIG_1702,
        }
    }

    fn named(name: &str) -> Result<Self, Flaw> {
        let format = match &*name.to_ascii_lowercase() {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "toml" => Self::Toml,
            _ => {
                return Err(unknown(format!("`{}` is no format of a config file", Quoted(name))));
            }
        };
        Ok(format)
    }
}

#[cold]
fn unknown(message: String) -> Flaw {
    let help = "use `.json`, `.yaml` or `.toml`".to_owned();
    Flaw::new(Code::CONFIG_1702, Default::default(), message).helped(help)
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::named(name).map_err(Into::into)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
        })
    }
}
