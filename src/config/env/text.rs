//! Placeholders in one text.

use std::borrow::Cow;

use super::options::EnvOptions;
use crate::error::{Error, Kind};

/// No value of a variable is longer, in bytes.
const MAX_VALUE: usize = 4_096;

/// Values of variables are in all no longer, in bytes: one may be asked for often.
const MAX_VALUES: usize = 10 << 20;

/// How many bytes the values of variables may have yet.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn new() -> Self {
        Self(MAX_VALUES)
    }

    fn take(&mut self, value: &str) -> Result<(), String> {
        let left = self.0.checked_sub(value.len());
        self.0 = left.ok_or("the values of the environment variables are longer than 10 MiB")?;
        Ok(())
    }
}

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
    match replaced(text, options, &mut Room::new()) {
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
    /// What looks like a placeholder and is none, so that it stays.
    pub(super) left: Option<Left>,
}

/// What stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It begins with `${`, and goes on in another way.
    Other,
    /// It is in a default, which ends at the first `}`.
    InDefault,
}

/// Replaces the placeholders of a text, or says which variable is wrong.
pub(super) fn replaced<'t>(
    text: &'t str,
    options: &EnvOptions,
    room: &mut Room,
) -> Result<Replaced<'t>, String> {
    if !text.contains("${") {
        return Ok(Replaced { text: text.into(), is_one: false, unset: None, left: None });
    }
    let (mut made, mut rest) = (String::with_capacity(text.len()), text);
    let (mut is_one, mut unset, mut left) = (false, None, None);
    // What is behind the last end of any.
    let after = text.len() - text.rfind('}').map_or(0, |end| end + 1);
    while let Some(at) = rest.find("${") {
        let (before, found) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            // `$${` is no placeholder.
            made.push_str(before);
            made.push_str("${");
            rest = &found[2..];
        } else if let Some(placeholder) = Placeholder::at(found, after) {
            is_one = placeholder.length == text.len();
            let value = placeholder.value(options)?;
            room.take(&value)?;
            made.push_str(before);
            match placeholder.default {
                None if value.is_empty() => unset = unset.or(Some(placeholder.name)),
                Some(default) if default.contains('{') => left = left.or(Some(Left::InDefault)),
                _ => {}
            }
            made.push_str(&value);
            rest = &found[placeholder.length..];
        } else {
            made.push_str(before);
            made.push_str("${");
            rest = &found[2..];
            left = left.or(Some(Left::Other));
        }
    }
    made.push_str(rest);
    Ok(Replaced { text: made.into(), is_one, unset, left })
}

struct Placeholder<'t> {
    name: &'t str,
    default: Option<&'t str>,
    length: usize,
}

impl<'t> Placeholder<'t> {
    /// The placeholder that `text` begins with; in the last `after` bytes of the text none ends.
    fn at(text: &'t str, after: usize) -> Option<Self> {
        // Else, of many that have no end, each would be looked for to the end of the text.
        if text.len() <= after {
            return None;
        }
        let inner = text.strip_prefix("${")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = inner.trim_start_matches(is_name);
        let name = &inner[..inner.len() - rest.len()];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (default, rest) = match rest.strip_prefix(":-") {
            Some(rest) => {
                let (default, rest) = rest.split_once('}')?;
                (Some(default), rest)
            }
            None => (None, rest.strip_prefix('}')?),
        };
        Some(Self { name, default, length: text.len() - rest.len() })
    }

    fn value(&self, options: &EnvOptions) -> Result<String, String> {
        let Self { name, default, .. } = self;
        let given = |value: &&String| !value.is_empty();
        let overrides = options.allow_overrides.then_some(&options.overrides);
        let variable = options.variable(&format!("{}{name}", options.prefix));
        let value = variable
            .or_else(|| options.variable(name))
            .transpose()?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_a_name_and_an_end() {
        let options = EnvOptions::default().with_variables([("A", "1"), ("_b2", "2")]);
        for (text, expected) in [
            ("${A}${_b2}", "12"),
            ("${A:-x}${C:-x}${C:-}${C}", "1x"),
            ("${C:-:-$} }", ":-$ }"),
            ("${C:-${A}}", "${A}"),
            ("$${A} $A ${A.B} ${A:x} ${2} ${} ${A", "${A} $A ${A.B} ${A:x} ${2} ${} ${A"),
            ("}${A ${A}${A:-", "}${A 1${A:-"),
        ] {
            assert_eq!(expand(text, &options).unwrap(), expected, "{text}");
        }
        // Looked through once, not once for each.
        let text = "${A:-".repeat(400_000);
        assert_eq!(expand(&text, &options).unwrap(), text);
        let text = "${A ".repeat(400_000) + "}";
        assert_eq!(expand(&text, &options).unwrap(), text);
    }

    #[test]
    fn the_values_of_a_text_have_a_bound_together() {
        let options = EnvOptions::default().with_variables([("A", "x".repeat(4_096))]);
        let long = (10 << 20) / 4_096;
        assert_eq!(expand(&"${A}".repeat(long), &options).unwrap().len(), 10 << 20);
        let error = expand(&"${A}".repeat(long + 1), &options).unwrap_err();
        assert!(error.to_string().contains("10 MiB"), "{error}");
    }
}
