use std::{
    fmt::{self, Write as _},
    path::PathBuf,
};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};

use super::{
    excerpt::{Context, Excerpt},
    masked::masked,
};
use crate::{
    config::value::{Flaw, Place},
    error::Code,
};

/// One mistake in a config file.
///
/// `Display` shows it with the line that it is in. No secret is shown.
///
/// # Example
/// ```
/// use tower_upstream::config::{Config, Format};
///
/// let text = "plugins:\n  - name: tax\n    transport: https\n    endpont: https://tax.example\n";
/// let error = Config::from_str(text, Format::Yaml).unwrap_err();
/// let mistake = &error.mistakes()[1];
/// assert_eq!((mistake.path.as_str(), mistake.line), ("plugins[0].endpont", Some(4)));
/// assert_eq!(mistake.help.as_deref(), Some("did you mean `endpoint`?"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mistake {
    /// Stable code.
    #[serde(serialize_with = "code")]
    pub code: Code,
    /// Path of the value, such as `plugins[2].auth`; empty for the whole file.
    pub path: String,
    /// File, if the config was read from one.
    #[serde(serialize_with = "path")]
    pub file: Option<PathBuf>,
    /// Line, from 1, if the value has a place in a file.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if that is known.
    pub help: Option<String>,
    /// What the value was given by, if not by the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// As it is shown: no path is the reason not to tell what is wrong with it.
fn path<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

fn code<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

impl Mistake {
    pub(crate) fn new(flaw: Flaw, context: &Context) -> Self {
        let position = context.position(&flaw.place);
        let excerpt = context.excerpt(&flaw);
        let Flaw { code, path, place, message, help, .. } = flaw;
        Self {
            code,
            path: masked(&path).into_owned(),
            file: context.file.clone(),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            message,
            help,
            variable: match place {
                Place::Variable(name) => Some((*name).to_owned()),
                _ => None,
            },
            excerpt,
        }
    }

    /// All but the line of the file.
    pub(crate) fn title(&self) -> Title<'_> {
        Title(self)
    }
}

/// `plugins.yaml:14:17: [AUTH_1103] plugins[2].auth: method "basic" needs "password"`.
pub(crate) struct Title<'m>(&'m Mistake);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { code, path, file, line, column, message, help, variable, .. } = self.0;
        if let Some(variable) = variable {
            write!(f, "${variable}: ")?;
        } else {
            if let Some(file) = file {
                for c in file.to_string_lossy().chars() {
                    // What a terminal would obey.
                    if c.is_control() {
                        write!(f, "{}", c.escape_debug())?
                    } else {
                        f.write_char(c)?
                    }
                }
                f.write_char(':')?;
            }
            if let (Some(line), Some(column)) = (line, column) {
                write!(f, "{line}:{column}:")?;
            }
            if file.is_some() || line.is_some() {
                f.write_str(" ")?;
            }
        }
        write!(f, "[{code}] ")?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        match help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title())?;
        let Some(Excerpt { line, text, start, end }) = &self.excerpt else { return Ok(()) };
        let mark = AnnotationKind::Primary.span(*start..*end);
        let snippet = Snippet::source(text.as_str()).line_start(*line).annotation(mark);
        let drawn = Renderer::plain().render(&[Group::with_level(Level::ERROR).element(snippet)]);
        write!(f, "\n{}", drawn.trim_end())
    }
}
