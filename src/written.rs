//! How configs are read, so that a mistake names its key and what may stand there.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Implements `Deserialize` with errors that name the key, for a config that derives it with `remote = "Self"`.
///
/// Such a derive makes methods of the type, as public as that is, beside which these traits would be told twice. So the
/// documentation is built of a derive without it.
macro_rules! names_keys_of {
    ($config:ty) => {
        #[cfg(not(doc))]
        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut track = serde_path_to_error::Track::new();
                let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
                <$config>::deserialize(tracked)
                    .map_err(|error| crate::written::at_key(&track.path().to_string(), error))
            }
        }
    };
}

/// The same, and `Serialize`, for a config that derives both.
macro_rules! names_keys {
    ($config:ty) => {
        crate::written::names_keys_of!($config);

        #[cfg(not(doc))]
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$config>::serialize(self, serializer)
            }
        }
    };
}
pub(crate) use {names_keys, names_keys_of};

/// `error` with the key that it is about in front.
#[cold]
pub(crate) fn at_key<E: de::Error>(path: &str, error: E) -> E {
    let (is_plain, text) = match error.to_string() {
        text if text.contains(STRUCT) => (false, in_words(&text)),
        text => (true, text),
    };
    let path = path.trim_end_matches(".?");
    // The config of a part has named its own keys, which are the end of this path.
    let known = text.strip_prefix('`').and_then(|text| text.split_once("`: "));
    match known {
        // Of the whole; or of what is no text of the format, at no key.
        _ if matches!(path, "" | "." | "?") && is_plain => error,
        _ if matches!(path, "" | "." | "?") => E::custom(text),
        Some((key, rest)) if path.ends_with(key) => E::custom(format!("`{path}`: {rest}")),
        // What is unknown is named already.
        None if text.starts_with("unknown field") => error,
        _ => E::custom(format!("`{path}`: {text}")),
    }
}

/// What serde says before the name of a type.
const STRUCT: &str = "expected struct ";

/// Without such names, which mean nothing in a file.
fn in_words(text: &str) -> String {
    let (before, after) = text.split_once(STRUCT).unwrap_or((text, ""));
    let after = after.trim_start_matches(|of: char| of.is_ascii_alphanumeric());
    format!("{before}expected an object with settings{after}")
}

/// Reads a choice with settings, such as `{"calls": 100}`; `expected` says what may stand there.
pub(crate) fn choice<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Choice<T>(&'static str, std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Choice<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let choice = T::deserialize(de::value::MapAccessDeserializer::new(&mut map))?;
            // An enum takes one key, and leaves the rest to be no part of the text.
            match map.next_key::<de::IgnoredAny>()? {
                Some(_) => {
                    Err(de::Error::custom(format!("more than one key, expected {}", self.0)))
                }
                None => Ok(choice),
            }
        }
    }

    deserializer.deserialize_any(Choice(expected, std::marker::PhantomData))
}
