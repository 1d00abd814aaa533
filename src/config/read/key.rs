//! The key of a map, as `serde` asks for it.

use serde::{
    Deserializer,
    de::{Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};

use super::refused::Refused;

/// A key is a text in every format, also where it stands for a number, a bool or a type of its own.
pub(super) struct Key<'t>(pub(super) &'t str);

/// Keys of any type that a text may stand for.
macro_rules! parsed {
    ($($method:ident $type:ty => $visit:ident)+) => {
        $(fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
            match self.0.parse::<$type>() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        })+
    };
}

impl<'t> Deserializer<'t> for Key<'t> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_borrowed_str(self.0)
    }

    parsed! {
        deserialize_bool bool => visit_bool
        deserialize_i8 i64 => visit_i64
        deserialize_i16 i64 => visit_i64
        deserialize_i32 i64 => visit_i64
        deserialize_i64 i64 => visit_i64
        deserialize_u8 u64 => visit_u64
        deserialize_u16 u64 => visit_u64
        deserialize_u32 u64 => visit_u64
        deserialize_u64 u64 => visit_u64
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        name: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, choices, visitor)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
