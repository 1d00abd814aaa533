//! JSON, as `serde_json` reads it, with the place of each value.

use std::fmt;

use serde::{
    Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    flaw::Flaw,
    source::Source,
    tree::{MAX_DEPTH, MAX_VALUES, Member, Node, Place, Value},
};
use crate::error::Code;

/// The values of a file.
///
/// `serde_json` says what is JSON, and hands out the text of each value as a slice of the file's: so its
/// place is known. Each level is read again for the level below it, which is why the depth is bounded.
pub(super) fn read(source: &Source) -> Result<Node, Flaw> {
    let text = source.text();
    let root: &RawValue = serde_json::from_str(text).map_err(|error| {
        let at = source.at(error.line(), error.column());
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or(&said);
        Flaw::new(Code::PLUGIN_1011, Place::file(at, at), format!("no JSON: {what}")).syntax()
    })?;
    Reader { text, left: MAX_VALUES }.node(root, 0)
}

struct Reader<'t> {
    text: &'t str,
    left: usize,
}

impl<'t> Reader<'t> {
    fn node(&mut self, raw: &'t RawValue, depth: usize) -> Result<Node, Flaw> {
        let raw = raw.get();
        let start = raw.as_ptr() as usize - self.text.as_ptr() as usize;
        let place = Place::file(start, start + raw.len());
        if depth > MAX_DEPTH {
            return Err(Flaw::too_deep(place));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| Flaw::too_many(place.clone()))?;
        let wrong = |error: serde_json::Error| {
            let said = error.to_string();
            let what = said.split(" at line ").next().unwrap_or(&said);
            Flaw::new(Code::PLUGIN_1011, place.clone(), format!("no JSON: {what}")).syntax()
        };
        let mut deserializer = serde_json::Deserializer::from_str(raw);
        let value = match raw.as_bytes().first() {
            Some(b'{') => {
                let parts = deserializer.deserialize_map(Parts(self.left)).map_err(wrong)?;
                self.check(&parts, &place)?;
                let members = parts.into_iter().map(|(key, raw)| {
                    let key_place = self.key_place(raw);
                    Ok(Member { key, key_place, node: self.node(raw, depth + 1)? })
                });
                Value::Map(members.collect::<Result<_, Flaw>>()?)
            }
            Some(b'[') => {
                let parts = deserializer.deserialize_seq(Parts(self.left)).map_err(wrong)?;
                self.check(&parts, &place)?;
                let nodes = parts.into_iter().map(|(_, raw)| self.node(raw, depth + 1));
                Value::List(nodes.collect::<Result<_, Flaw>>()?)
            }
            Some(b'"') => Value::text(serde_json::from_str::<String>(raw).map_err(wrong)?),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'n') => Value::Null,
            _ => number(raw).ok_or_else(|| {
                Flaw::new(Code::PLUGIN_1011, place.clone(), "no JSON: number out of range")
            })?,
        };
        Ok(Node { place, value })
    }

    fn check(&self, parts: &[(String, &RawValue)], place: &Place) -> Result<(), Flaw> {
        if parts.len() > self.left { Err(Flaw::too_many(place.clone())) } else { Ok(()) }
    }

    /// The key before `raw`: between two quotes, of which none that is inside ends it.
    fn key_place(&self, raw: &RawValue) -> Place {
        let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize;
        let end = self.text[..start].rfind('"').unwrap_or(0);
        let mut open = end;
        while let Some(quote) = self.text[..open].rfind('"') {
            open = quote;
            let before = self.text.as_bytes()[..quote].iter().rev();
            if before.take_while(|&&byte| byte == b'\\').count() % 2 == 0 {
                break;
            }
        }
        Place::file(open, end + 1)
    }
}

fn number(raw: &str) -> Option<Value> {
    if let Ok(value) = raw.parse() {
        return Some(Value::Unsigned(value));
    }
    if let Ok(value) = raw.parse() {
        return Some(Value::Signed(value));
    }
    raw.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
}

/// The parts of a map or a list; one more than allowed at most.
struct Parts(usize);

impl<'de> Visitor<'de> for Parts {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = map.next_entry()? {
            if parts.len() <= self.0 {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            if parts.len() <= self.0 {
                parts.push((String::new(), part));
            }
        }
        Ok(parts)
    }
}
