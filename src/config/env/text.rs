//! Placeholders in one text.

use std::borrow::Cow;

use super::options::EnvOptions;
use crate::error::{Error, Kind};

/// No value of a variable is longer, in bytes.
const MAX_VALUE: usize = 4_096;

/// Replaces the placeholders of a text; see [the module](crate::config::env).
///
/// # Errors
/// `InvalidConfig` that names a variable which is missing, if that is a
/// [mistake](EnvOptions::fail_on_missing), or whose value may not be used.
///
/// ```
/// use tower_upstream::config::env::{self, EnvOptions};
///
/// let strict = EnvOptions::default().with_fail_on_missing(true).with_variables([("A", "1")]);
/// assert_eq!(env::expand("${A} $A $${A} ${B:-2}", &strict)?, "1 $A ${A} 2");
/// assert!(env::expand("${B}", &strict).unwrap_err().to_string().contains("`B`"));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn expand(text: &str, options: &EnvOptions) -> Result<String, Error> {
    match replaced(text, options) {
        Ok(Replaced { text, .. }) => Ok(text.into_owned()),
        Err(wrong) => Err(Error::not_sent(Kind::InvalidConfig).message(wrong)),
    }
}

/// A text after its placeholders were replaced.
pub(super) struct Replaced<'t> {
    pub(super) text: Cow<'t, str>,
    /// Whether all of it was one placeholder, so that it may stand for a number, too.
    pub(super) is_one: bool,
    /// A variable that is not set, and has no default: nothing stands in its place.
    pub(super) unset: Option<&'t str>,
}

/// Replaces the placeholders of a text, or says which variable is wrong.
pub(super) fn replaced<'t>(text: &'t str, options: &EnvOptions) -> Result<Replaced<'t>, String> {
    if !text.contains("${") {
        return Ok(Replaced { text: text.into(), is_one: false, unset: None });
    }
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    let (mut is_one, mut unset) = (false, None);
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            // `$${` is no placeholder.
            made.push_str(before);
            made.push_str("${");
            rest = &found[2..];
        } else if let Some(placeholder) = Placeholder::at(found) {
            is_one = placeholder.length == text.len();
            made.push_str(before);
            let value = placeholder.value(options)?;
            if value.is_empty() && placeholder.default.is_none() {
                unset = unset.or(Some(placeholder.name));
            }
            made.push_str(&value);
            rest = &found[placeholder.length..];
        } else {
            made.push_str(before);
            made.push_str("${");
            rest = &found[2..];
        }
    }
    made.push_str(rest);
    Ok(Replaced { text: made.into(), is_one, unset })
}

struct Placeholder<'t> {
    name: &'t str,
    default: Option<&'t str>,
    length: usize,
}

impl<'t> Placeholder<'t> {
    /// The placeholder that `text` begins with.
    fn at(text: &'t str) -> Option<Self> {
        let inner = text.strip_prefix("${")?;
        let inner = &inner[..inner.find('}')?];
        let length = inner.len() + 3;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        is_name(name).then_some(Self { name, default, length })
    }

    fn value(&self, options: &EnvOptions) -> Result<String, String> {
        let Self { name, default, .. } = self;
        let given = |value: &&String| !value.is_empty();
        let overrides = options.allow_overrides.then_some(&options.overrides);
        let value = options
            .variable(&format!("{}{name}", options.prefix))
            .or_else(|| options.variable(name))
            .or_else(|| overrides?.get(*name).filter(given).cloned())
            .or_else(|| default.filter(|default| !default.is_empty()).map(str::to_owned))
            .or_else(|| options.defaults.get(*name).filter(given).cloned());
        match value {
            Some(value) => checked(name, value, options),
            None if options.fail_on_missing && default.is_none() => {
                Err(format!("the environment variable `{name}` is not set"))
            }
            None => Ok(String::new()),
        }
    }
}

/// A value that may be used.
pub(super) fn checked(name: &str, value: String, options: &EnvOptions) -> Result<String, String> {
    let is_control = |c: char| c.is_control() && !"\t\n\r".contains(c);
    let wrong = match &value {
        _ if !options.validate_values => return Ok(value),
        value if value.contains('\0') => "holds a NUL",
        value if value.contains(is_control) => "holds a control character",
        value if value.len() > MAX_VALUE => "is longer than 4096 bytes",
        _ => return Ok(value),
    };
    Err(format!("the value of the environment variable `{name}` {wrong}"))
}

fn is_name(name: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}
