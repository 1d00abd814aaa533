//! Where a config comes from.

use std::{io::Read, path::Path, string::FromUtf8Error};

use super::{options::ReadOptions, steps::load};
use crate::config::{
    error::{ConfigError, Context},
    file,
    model::Config,
    value::{Flaw, Format, Place, Source},
};
impl Config {
    /// Reads a file: JSON, YAML or TOML by its extension.
    ///
    /// # Errors
    /// Everything that is wrong with the file, with its places; a path with `..` in it is refused, as in Go.
    ///
    /// # Bounds
    /// A file has at most 10 MiB and 200,000 values, nested 32 levels deep, and 10,000 plugins. At most 100,000 values are
    /// filled in from its defaults, whose texts have at most 64 MiB, counted for each plugin, and 10 MiB from the environment.
    ///
    /// ```
    /// use tower_upstream::{config::Config, error::Code};
    /// let error = Config::from_file("/etc/plugins/none.yaml").unwrap_err();
    /// assert_eq!(error.code(), Code::CONFIG_1701);
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::from_file_with(path, &ReadOptions::default())
    }

    /// Reads a file in another way than the default.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file).
    pub fn from_file_with(
        path: impl AsRef<Path>,
        options: &ReadOptions,
    ) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let read = file::read(path).and_then(|bytes| {
            let format = Format::by_extension(path)?;
            text_of(bytes, format).map(|text| (text, format))
        });
        match read {
            Ok((text, format)) => {
                let source = Source::new(text);
                let context = Context::new(Some(path.to_owned()), source.clone());
                load(source, context, format, options)
            }
            Err(flaw) => Err(ConfigError::new(flaw.into(), &Context::of_file(path.to_owned()))),
        }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format};
    ///
    /// let text = "[plugins.tax]\ntransport = 'https'\nendpoint = 'https://tax.example'\n";
    /// let config = Config::from_str(text, Format::Toml)?;
    /// assert_eq!(config.plugins[0].name, "tax");
    /// # Ok::<(), tower_upstream::config::ConfigError>(())
    /// ```
    pub fn from_str(text: &str, format: Format) -> Result<Self, ConfigError> {
        Self::from_str_with(text, format, &ReadOptions::default())
    }

    /// Reads a text in another way than the default.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file).
    pub fn from_str_with(
        text: &str,
        format: Format,
        options: &ReadOptions,
    ) -> Result<Self, ConfigError> {
        Self::from_source(Source::new(text), format, options)
    }

    /// Reads what a reader has to its end, such as the standard input; it may be as long as a file.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file).
    ///
    /// ```
    /// use tower_upstream::config::{Config, Format, ReadOptions};
    ///
    /// let bytes = b"[plugins.tax]\ntransport = 'unix'\nendpoint = '/run/tax.sock'\n";
    /// let options = ReadOptions::default();
    /// let config = Config::from_reader_with(&bytes[..], Format::Toml, &options)?;
    /// assert_eq!(config.plugins[0].name, "tax");
    /// # Ok::<(), tower_upstream::config::ConfigError>(())
    /// ```
    pub fn from_reader_with(
        reader: impl Read,
        format: Format,
        options: &ReadOptions,
    ) -> Result<Self, ConfigError> {
        match file::read_from(reader).and_then(|bytes| text_of(bytes, format)) {
            Ok(text) => Self::from_source(Source::new(text), format, options),
            Err(flaw) => Err(ConfigError::new(flaw.into(), &Context::default())),
        }
    }

    fn from_source(
        source: Source,
        format: Format,
        options: &ReadOptions,
    ) -> Result<Self, ConfigError> {
        load(source.clone(), Context::new(None, source), format, options)
    }
}

fn text_of(bytes: Vec<u8>, format: Format) -> Result<String, Flaw> {
    String::from_utf8(bytes).map_err(|error| not_utf_8(&error, format))
}

/// Of text in another encoding, the place is said in words: there is no text to show it in.
#[cold]
fn not_utf_8(error: &FromUtf8Error, format: Format) -> Flaw {
    let bytes = error.as_bytes();
    let good = &bytes[..error.utf8_error().valid_up_to()];
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
    let message = format!("the file is not UTF-8, from line {line} on");
    let is_utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let help = if is_utf_16 { "it is UTF-16: save it as UTF-8" } else { "save it as UTF-8" };
    Flaw::new(format.code(), Place::Nowhere, message).helped(help.to_owned())
}
