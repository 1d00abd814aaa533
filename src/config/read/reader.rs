//! A value, as `serde` asks for it.

use std::slice;

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    key::Key,
    pass::Pass,
    refused::Refused,
    scalar::{bool_of, duration, not_finite, scalar, whole},
    section_keys::keys_of,
};
use crate::config::value::{Format, Member, Node, Path, Place, Value};

/// A value on its way into a type.
#[derive(Clone, Copy)]
pub(super) struct Reader<'t, 'p> {
    pub(super) node: &'t Node,
    pub(super) path: &'p Path<'p>,
    pub(super) pass: &'p Pass<'t>,
}

impl<'t> Reader<'t, '_> {
    fn value<V: Visitor<'t>>(&self, value: &'t Value, visitor: V) -> Result<V::Value, Refused> {
        match value {
            Value::List(nodes) => {
                visitor.visit_seq(Items { nodes: nodes.iter(), of: *self, index: 0 })
            }
            Value::Map(members) => {
                visitor.visit_map(Members { members: members.iter(), of: *self, member: None })
            }
            Value::Text(text) => visitor.visit_borrowed_str(&text.text),
            scalar => Self::scalar(scalar, visitor),
        }
    }

    fn scalar<V: Visitor<'t>>(value: &Value, visitor: V) -> Result<V::Value, Refused> {
        match *value {
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Unsigned(value) => visitor.visit_u64(value),
            Value::Signed(value) => visitor.visit_i64(value),
            Value::Float(value) => visitor.visit_f64(value),
            _ => visitor.visit_unit(),
        }
    }

    /// A number or a bool, which the value of a variable may be as well.
    fn loose<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        match &self.node.value {
            // TOML has no null, but no number is none, too.
            Value::Float(value) if value.is_nan() && self.pass.format != Format::Yaml => {
                visitor.visit_unit()
            }
            Value::Float(value) if !value.is_finite() => Err(not_finite(*value, &visitor)),
            Value::Text(text) => match scalar(text) {
                Some(scalar) => Self::scalar(&scalar, visitor),
                None => visitor.visit_borrowed_str(duration(text).unwrap_or(&text.text)),
            },
            value => self.value(value, visitor),
        }
    }

    /// A whole number.
    fn integer<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let loose = match &self.node.value {
            Value::Text(text) => scalar(text),
            _ => None,
        };
        match loose.as_ref().unwrap_or(&self.node.value) {
            Value::Float(value) => match whole(*value) {
                Some(value) => Self::scalar(&value, visitor),
                // It is no fraction, but no number of any type either.
                None if value.fract() == 0.0 => Err(not_finite(*value, &visitor)),
                None => Self::scalar(&Value::Float(*value), visitor),
            },
            _ => self.loose(visitor),
        }
    }

    /// A text. In YAML that is a number or a bool as well, as it is written: Go reads `version: 1.10` so.
    fn text<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        let is_word = matches!(
            self.node.value,
            Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) | Value::Float(_)
        );
        match self.node.place {
            Place::File { start, end } if is_word && self.pass.format == Format::Yaml => {
                match self.pass.text.get(start as usize..end as usize) {
                    Some(text) => visitor.visit_borrowed_str(text.trim()),
                    None => self.value(&self.node.value, visitor),
                }
            }
            _ => self.value(&self.node.value, visitor),
        }
    }
}

/// Whole numbers of every width.
macro_rules! integers {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.integer(visitor)
        })+
    };
}

impl<'t> Deserializer<'t> for Reader<'t, '_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.loose(visitor)
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        // As Go reads YAML.
        let word = self.node.text().filter(|_| self.pass.format == Format::Yaml);
        match word.and_then(bool_of) {
            Some(value) => visitor.visit_bool(value),
            None => self.loose(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.text(visitor)
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.node.value {
            Value::Float(value) if value.is_nan() => Err(not_finite(value, &visitor)),
            _ => self.loose(visitor),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let found = match &self.node.value {
            // By their places, its fields could be written as a list.
            Value::List(_) => de::Unexpected::Seq,
            Value::Bool(value) => de::Unexpected::Bool(*value),
            Value::Unsigned(value) => de::Unexpected::Unsigned(*value),
            Value::Signed(value) => de::Unexpected::Signed(*value),
            Value::Float(value) if !value.is_nan() => de::Unexpected::Float(*value),
            Value::Text(text) => de::Unexpected::Str(&text.text),
            _ => return self.loose(visitor).map_err(|refused| refused.also_knows(fields)),
        };
        let refused: Refused = de::Error::invalid_type(found, &visitor);
        Err(refused.no_section(keys_of(visitor, fields)))
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            Value::Float(value) if value.is_nan() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
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
        _: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match (&self.node.value, self.node.members()) {
            (Value::Text(text), _) => {
                visitor.visit_enum(Choice { name: &text.text, content: None, of: self })
            }
            (_, [member]) => {
                visitor.visit_enum(Choice { name: &member.key, content: Some(member), of: self })
            }
            _ => {
                let listed = choices.join("`, `");
                let found = self.node.kind();
                let message = format!("expected one of `{listed}`, found {found}");
                Err(de::Error::custom(message))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.node.place {
            // What a variable sets is read by something.
            Place::Variable(_) => Err(de::Error::custom("leads nowhere: nothing reads this key")),
            _ => visitor.visit_unit(),
        }
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 f32 char bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

struct Items<'t, 'p> {
    nodes: slice::Iter<'t, Node>,
    of: Reader<'t, 'p>,
    index: usize,
}

impl<'t> SeqAccess<'t> for Items<'t, '_> {
    type Error = Refused;

    fn next_element_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Reader { path, pass, .. } = self.of;
        for node in self.nodes.by_ref() {
            let path = path.index(self.index);
            self.index += 1;
            if pass.looks_at(node) {
                let read = seed.deserialize(Reader { node, path: &path, pass });
                return pass.watch(read, node, &node.place, &path).map(Some);
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len())
    }
}

struct Members<'t, 'p> {
    members: slice::Iter<'t, Member>,
    of: Reader<'t, 'p>,
    member: Option<&'t Member>,
}

impl<'t> MapAccess<'t> for Members<'t, '_> {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        let Reader { path, pass, .. } = self.of;
        let Some(member) = self.members.find(|member| pass.looks_at(&member.node)) else {
            return Ok(None);
        };
        self.member = Some(member);
        match seed.deserialize(Key(pass.name(member))) {
            Err(refused) if refused.is_of_key() => Err(refused),
            read => {
                let path = path.key(&member.key);
                pass.watch(read, &member.node, &member.key_place, &path).map(Some)
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        let Some(Member { key, node, .. }) = self.member.take() else {
            return Err(de::Error::custom("a value without its key"));
        };
        let Reader { path, pass, .. } = self.of;
        let path = path.key(key);
        let read = seed.deserialize(Reader { node, path: &path, pass });
        pass.watch(read, node, &node.place, &path)
    }
}

/// A choice: its name alone, or with settings.
struct Choice<'t, 'p> {
    name: &'t str,
    content: Option<&'t Member>,
    of: Reader<'t, 'p>,
}

impl<'t> Choice<'t, '_> {
    fn settings<T>(
        self,
        read: impl FnOnce(Reader<'t, '_>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let Reader { path, pass, node: whole } = self.of;
        let Some(Member { key, node, .. }) = self.content else {
            return Err(de::Error::custom(format!("`{}` needs its settings", self.name)));
        };
        let path = path.key(key);
        // Without its settings the choice would be another.
        pass.watch(read(Reader { node, path: &path, pass }), whole, &node.place, &path)
    }
}

impl<'t> EnumAccess<'t> for Choice<'t, '_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<(S::Value, Self), Refused> {
        Ok((seed.deserialize(BorrowedStrDeserializer::new(self.name))?, self))
    }
}

impl<'t> VariantAccess<'t> for Choice<'t, '_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        match self.content {
            Some(member) if member.node.value != Value::Null => {
                Err(de::Error::custom(format!("`{}` has no settings", self.name)))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<S::Value, Refused> {
        self.settings(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'t>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.settings(|reader| reader.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'t>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.settings(|reader| reader.deserialize_any(visitor))
    }
}
