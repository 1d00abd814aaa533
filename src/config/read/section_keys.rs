//! Which keys a section has, as its type says it.

use serde::de::{self, DeserializeSeed, MapAccess, Visitor, value::BorrowedStrDeserializer};

use super::refused::{Refused, Why};

/// The keys of a section whose own are `fields`, if it refuses others.
pub(super) fn keys_of<'t, V: Visitor<'t>>(
    visitor: V,
    fields: &[&'static str],
) -> Option<Vec<&'static str>> {
    match visitor.visit_map(NoKey { is_told: false }).err()?.also_knows(fields).why {
        Why::Key { known, .. } => Some(known),
        _ => None,
    }
}

/// A map with one key, which nothing knows.
struct NoKey {
    is_told: bool,
}

impl<'t> MapAccess<'t> for NoKey {
    type Error = Refused;

    fn next_key_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refused> {
        if std::mem::replace(&mut self.is_told, true) {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new("")).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, _: S) -> Result<S::Value, Refused> {
        Err(de::Error::custom("a key that nothing knows"))
    }
}
