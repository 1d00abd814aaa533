//! What a type says of a value that it does not take.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// Why a value was not taken. Shows no text of the value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// The value has another type, or its text another form.
    Type,
    /// A key has two names, and both are given.
    Twice,
    /// A key that is none of these.
    Key {
        given: String,
        known: Vec<&'static str>,
    },
    /// A value where there is a section, which has these keys.
    Section {
        known: Vec<&'static str>,
    },
    /// A text that is none of these.
    Choice {
        given: String,
        known: &'static [&'static str],
    },
    Other,
}

impl Refused {
    /// Whether it is said of the key that was read last, by the struct that has no such key.
    pub(super) fn is_of_key(&self) -> bool {
        matches!(self.why, Why::Twice | Why::Key { .. })
    }

    /// Of a key that its struct does not know: the struct has these before those of its part.
    pub(super) fn also_knows(mut self, fields: &[&'static str]) -> Self {
        if let Why::Key { known, .. } = &mut self.why {
            let others = known.iter().filter(|field| !fields.contains(field));
            *known = fields.iter().chain(others).copied().collect();
        }
        self
    }

    /// Of a value where a section is, with the keys that it has.
    pub(super) fn no_section(mut self, keys: Option<Vec<&'static str>>) -> Self {
        if let Some(known) = keys {
            self.why = Why::Section { known };
        }
        self
    }

    fn new(message: impl Into<String>, why: Why) -> Self {
        Self { message: message.into(), why }
    }
}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), Why::Other)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", wanted(expected), kind(found)), Why::Type)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unsigned(value) => format!("{value}"),
            Unexpected::Signed(value) => format!("{value}"),
            // As one would write it.
            Unexpected::Float(value) if value.abs() >= 1e21 => format!("{value:e}"),
            Unexpected::Float(value) => format!("{value}"),
            found => kind(found).to_owned(),
        };
        Self::new(format!("expected {}, found {found}", in_range(expected)), Why::Other)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found one of {length}", wanted(expected)), Why::Other)
    }

    fn unknown_variant(given: &str, choices: &'static [&'static str]) -> Self {
        let listed = choices.join("`, `");
        let why = Why::Choice { given: given.to_owned(), known: choices };
        Self::new(format!("expected one of `{listed}`"), why)
    }

    fn unknown_field(given: &str, known: &'static [&'static str]) -> Self {
        // As parts that name their keys know it.
        let why = Why::Key { given: given.to_owned(), known: known.to_vec() };
        Self::new("unknown field", why)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("needs `{field}`"), Why::Other)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is given already, by another of its names"), Why::Twice)
    }
}

/// What a type expects: those of Rust in the words of a config file.
fn wanted(expected: &dyn Expected) -> String {
    let said = expected.to_string();
    if let Some(length) = said.strip_prefix("a tuple of size ") {
        return format!("a list of {length}");
    }
    let words = match &*said {
        "u8" | "u16" | "u32" | "u64" | "usize" | "nonzero u32" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" => "a text",
        "a sequence" => "a list",
        // Names of types, which mean nothing in a file.
        of if of.starts_with("struct ") => "an object with settings",
        "enum" => "one key with its settings",
        _ => return said,
    };
    words.to_owned()
}

/// What a type expects of a number that it cannot hold.
fn in_range(expected: &dyn Expected) -> String {
    let most = match &*expected.to_string() {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX,
        _ => return wanted(expected),
    };
    format!("a whole number from 0 to {most}")
}

/// In the words of a config file.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a bool",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map | Unexpected::StructVariant => "a map",
        _ => "something else",
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}
