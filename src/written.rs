//! How configs are read, so that a mistake names its key and what may stand there.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Implements `Deserialize` with errors that name the key, for a config that derives it with `remote = "Self"`.
macro_rules! names_keys_of {
    ($config:ty) => {
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
    let text = error.to_string();
    // The config of a part has named its own keys, which are the end of this path.
    let known = text.strip_prefix('`').and_then(|text| text.split_once("`: "));
    match known {
        _ if path == "." => error,
        Some((key, rest)) if path.ends_with(key) => E::custom(format!("`{path}`: {rest}")),
        // What is unknown is named already.
        None if text.starts_with("unknown field") => error,
        _ => E::custom(format!("`{path}`: {text}")),
    }
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

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Choice(expected, std::marker::PhantomData))
}
