//! A deserializer that has no value: it writes down what it is asked for.

use std::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

/// The key that no struct has.
pub(super) const NO_KEY: &str = "\u{0}";

/// A step from a value to one in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Item,
}

/// What is tried at the end of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    Look,
    Text,
    Number,
    Map,
    List,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: it is not taken.
    #[default]
    Nothing,
    Bool,
    /// Whether it may be negative.
    Integer(bool),
    Fraction,
    Text,
    Choice(&'static [&'static str]),
    Struct(&'static [&'static str]),
    Map,
    List,
    /// Anything that the type will look at, and how it calls that.
    Any(String),
    /// What was tried is taken.
    Taken,
}

#[derive(Clone, Copy)]
pub(super) struct Probe<'p> {
    pub(super) way: &'p [Step],
    pub(super) trial: Trial,
    pub(super) seen: &'p RefCell<Seen>,
}

/// Why the asking ends.
#[derive(Debug)]
pub(super) enum End {
    Seen,
    Unknown(&'static [&'static str]),
    Type,
    Other(String),
}

impl Probe<'_> {
    fn see<T>(self, seen: Seen) -> Result<T, End> {
        *self.seen.borrow_mut() = if self.way.is_empty() { seen } else { Seen::Nothing };
        Err(End::Seen)
    }

    /// Goes the next step of the way, or tries what it is for.
    fn go<'de, V: Visitor<'de>>(self, seen: Seen, visitor: V) -> Result<V::Value, End> {
        match (self.way.split_first(), self.trial) {
            (Some((Step::Key(key), way)), _) => {
                visitor.visit_map(One { key, probe: Probe { way, ..self }, given: false })
            }
            (Some((Step::Item, way)), _) => {
                visitor.visit_seq(One { key: "", probe: Probe { way, ..self }, given: false })
            }
            (None, Trial::Look) => self.see(seen),
            (None, Trial::Text) => self.taken(visitor.visit_str(NO_KEY)),
            (None, Trial::Number) => self.taken(visitor.visit_u64(1)),
            (None, Trial::Map) => {
                let probe = Probe { trial: Trial::Look, ..self };
                match visitor.visit_map(One { key: NO_KEY, probe, given: false }) {
                    Err(End::Unknown(fields)) => self.see(Seen::Struct(fields)),
                    // The value was asked for.
                    Err(End::Seen) => self.see(Seen::Map),
                    _ => self.see(Seen::Nothing),
                }
            }
            (None, Trial::List) => {
                let probe = Probe { trial: Trial::Look, ..self };
                match visitor.visit_seq(One { key: "", probe, given: false }) {
                    Err(End::Seen) => self.see(Seen::List),
                    _ => self.see(Seen::Nothing),
                }
            }
        }
    }

    fn taken<T, V>(self, read: Result<V, End>) -> Result<T, End> {
        match read {
            Err(End::Type) => self.see(Seen::Nothing),
            _ => self.see(Seen::Taken),
        }
    }
}

struct Said<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> fmt::Display for Said<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

macro_rules! leaves {
    ($($method:ident = $seen:expr;)+) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
            self.see($seen)
        })+
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = End;

    leaves! {
        deserialize_bool = Seen::Bool;
        deserialize_i8 = Seen::Integer(true);
        deserialize_i16 = Seen::Integer(true);
        deserialize_i32 = Seen::Integer(true);
        deserialize_i64 = Seen::Integer(true);
        deserialize_u8 = Seen::Integer(false);
        deserialize_u16 = Seen::Integer(false);
        deserialize_u32 = Seen::Integer(false);
        deserialize_u64 = Seen::Integer(false);
        deserialize_f32 = Seen::Fraction;
        deserialize_f64 = Seen::Fraction;
        deserialize_char = Seen::Text;
        deserialize_str = Seen::Text;
        deserialize_string = Seen::Text;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        let said = Said(&visitor).to_string();
        self.go(Seen::Any(said), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, End> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        self.go(Seen::List, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        self.go(Seen::Map, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        self.go(Seen::Struct(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        choices: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, End> {
        self.see(Seen::Choice(choices))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'de>>
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// One member, or one item.
struct One<'p> {
    key: &'static str,
    probe: Probe<'p>,
    given: bool,
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = End;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        let key: StrDeserializer<'_, End> = self.key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, End> {
        let read = seed.deserialize(self.probe);
        // Whatever the value is, it was asked for.
        read.map_err(|_| End::Seen)
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = End;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, End> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        seed.deserialize(self.probe).map(Some).map_err(|_| End::Seen)
    }
}

impl de::Error for End {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::Type
    }

    fn unknown_field(_: &str, fields: &'static [&'static str]) -> Self {
        Self::Unknown(fields)
    }

    fn unknown_variant(_: &str, choices: &'static [&'static str]) -> Self {
        Self::Unknown(choices)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // As parts that name their keys know it.
            Self::Unknown(_) => "unknown field",
            Self::Other(message) => message,
            Self::Seen | Self::Type => "",
        })
    }
}

impl std::error::Error for End {}
