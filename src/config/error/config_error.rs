use std::{error::Error as StdError, fmt};

use super::{excerpt::Context, mistake::Mistake, order::whole};
use crate::{
    config::value::Flaws,
    error::{Code, Error, Kind},
};

/// All mistakes of a config file.
///
/// `Display` shows each with its line, in the order of the file. No secret is shown.
///
/// # Bounds
/// Lists at most 1,000 mistakes; [`total`](Self::total) counts all.
///
/// # Example
/// ```
/// use tower_upstream::{config::{Config, Format}, error::Code};
///
/// let text = r#"{"plugins": [{"name": "tax", "transport": "http", "retry": {"attempts": "many"}}]}"#;
/// let error = Config::from_str(text, Format::Json).unwrap_err();
/// // What the Go plugin manager would have returned.
/// assert_eq!(error.code(), Code::PLUGIN_1001);
/// let codes: Vec<_> = error.mistakes().iter().map(|mistake| mistake.code).collect();
/// assert_eq!(codes, [Code::PLUGIN_1003, Code::CONFIG_1703]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    code: Code,
    mistakes: Vec<Mistake>,
    total: usize,
}

/// No more are told.
const MAX_TOLD: usize = 1_000;

impl ConfigError {
    pub(crate) fn new(flaws: Flaws, context: &Context) -> Self {
        let flaws = flaws.sorted();
        let (code, total) = (whole(&flaws), flaws.len());
        let told = flaws.into_iter().take(MAX_TOLD);
        Self { code, mistakes: told.map(|flaw| Mistake::new(flaw, context)).collect(), total }
    }

    /// Returns the code of the whole: the one that the Go plugin manager, which stops at the first mistake,
    /// would have returned.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the mistakes in the order of the file, at most 1,000.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Returns how many mistakes were found.
    pub fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let between = if index > 0 { "\n" } else { "" };
            write!(f, "{between}{mistake}")?;
        }
        match self.total - self.mistakes.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl StdError for ConfigError {}

impl From<ConfigError> for Error {
    /// An error with the code of the whole, whose text is all mistakes.
    fn from(error: ConfigError) -> Self {
        Self::not_sent(Kind::InvalidConfig).coded(Some(error.code)).message(error.to_string())
    }
}
