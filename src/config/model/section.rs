//! A section that is the config of a part, with a few keys of the file's own beside those of the part.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor,
        value::MapAccessDeserializer,
    },
};

use crate::written::at_key;

/// A section. Its own keys are read into it one by one, and all others are those of the part.
pub(super) trait Section<'de>: Default {
    type Part: Deserialize<'de>;

    const OWN: &'static [&'static str];

    /// Reads the value of a key of its own.
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;

    fn with_part(self, part: Self::Part) -> Self;

    /// The name of a key that has other spellings.
    fn name(key: String) -> String {
        key
    }
}

/// Reads a section, with errors that name the key.
pub(super) fn section<'de, D, S>(deserializer: D) -> Result<S, D::Error>
where
    D: Deserializer<'de>,
    S: Section<'de>,
{
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let read = tracked.deserialize_struct("section", S::OWN, Keys(PhantomData));
    read.map_err(|error| at_key(&track.path().to_string(), error))
}

struct Keys<S>(PhantomData<S>);

impl<'de, S: Section<'de>> Visitor<'de> for Keys<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a section with keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S, A::Error> {
        let mut section = S::default();
        let rest = Rest { map, section: &mut section, read: Vec::new() };
        let part = S::Part::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(section.with_part(part))
    }
}

/// What is left of a map without the section's own keys.
struct Rest<'s, A, S> {
    map: A,
    section: &'s mut S,
    /// Its own keys that were read.
    read: Vec<&'static str>,
}

impl<'de, A: MapAccess<'de>, S: Section<'de>> MapAccess<'de> for Rest<'_, A, S> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()?.map(S::name) {
            let Some(own) = S::OWN.iter().copied().find(|own| *own == key) else {
                return seed.deserialize(key.into_deserializer()).map(Some);
            };
            if self.read.contains(&own) {
                return Err(A::Error::duplicate_field(own));
            }
            self.read.push(own);
            self.section.read(own, &mut self.map)?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A duration of a section.
#[derive(Deserialize)]
pub(super) struct Time(#[serde(with = "crate::duration::serde")] pub(super) Duration);

/// How a section is read: which of its fields is the part, and which are keys of its own.
macro_rules! reads_section {
    (@value $map:ident) => {
        $map.next_value()?
    };
    (@value $map:ident duration) => {
        $map.next_value::<$crate::config::model::section::Time>()?.0
    };
    (@value $map:ident maybe_duration) => {
        $map.next_value::<Option<$crate::config::model::section::Time>>()?.map(|time| time.0)
    };
    ($section:ty: $part:ty as $config:ident, $($key:ident $(: $how:ident)?),+) => {
        impl<'de> $crate::config::model::section::Section<'de> for $section {
            type Part = $part;

            const OWN: &'static [&'static str] = &[$(stringify!($key)),+];

            fn read<A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match key {
                    $(stringify!($key) => self.$key = reads_section!(@value map $($how)?),)+
                    _ => {}
                }
                Ok(())
            }

            fn with_part(mut self, part: $part) -> Self {
                self.$config = part;
                self
            }
        }

        impl<'de> serde::Deserialize<'de> for $section {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::model::section::section(deserializer)
            }
        }
    };
}
pub(super) use reads_section;
