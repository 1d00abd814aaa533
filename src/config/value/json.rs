//! JSON, as `serde_json` reads it, with the place of each value.

use serde::de::IgnoredAny;

use super::{
    bounds::Bounds,
    flaw::Flaw,
    source::Source,
    tree::{Member, Node, Place, Value},
};
use crate::error::Code;

/// The values of a file.
///
/// `serde_json` says what is JSON, and what the texts in it are. Where they are it does not say, so they are
/// looked for in what is known to be JSON.
pub(super) fn read(source: &Source) -> Result<Node, Flaw> {
    let text = source.text();
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let at = source.at(error.line(), error.column());
        wrong(Place::file(at, at), &error)
    })?;
    check(text)?;
    Reader { text, at: 0 }.node()
}

#[cold]
fn wrong(place: Place, error: &serde_json::Error) -> Flaw {
    let said = error.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said);
    Flaw::new(Code::PLUGIN_1011, place, format!("no JSON: {what}")).syntax()
}

/// Whether it has no more values, and is nested no deeper, than a file may.
fn check(text: &str) -> Result<(), Flaw> {
    let mut bounds = Bounds::default();
    // Whether what comes next is a value, or the key of one, if it does not end a list or a map.
    let mut is_next = true;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let place = || Place::file(at, at + 1);
        if byte.is_ascii_whitespace() {
            continue;
        }
        if std::mem::take(&mut is_next) && !matches!(byte, b']' | b'}') {
            bounds.value(place)?;
        }
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next().filter(|(_, byte)| *byte != b'"') {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            b'[' | b'{' => {
                bounds.open(place)?;
                is_next = true;
            }
            b']' | b'}' => bounds.close(),
            b',' => is_next = true,
            _ => {}
        }
    }
    Ok(())
}

/// Goes through JSON that is neither too large nor too deep.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The first byte of what comes next.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.rest().bytes().next()
    }

    /// Goes over that byte, if it is the next.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn node(&mut self) -> Result<Node, Flaw> {
        let first = self.peek();
        let start = self.at;
        let value = match first {
            Some(b'{') => {
                self.at += 1;
                let mut members = Vec::new();
                while !self.skip(b'}') {
                    members.push(self.member()?);
                    self.skip(b',');
                }
                Value::Map(members)
            }
            Some(b'[') => {
                self.at += 1;
                let mut nodes = Vec::new();
                while !self.skip(b']') {
                    nodes.push(self.node()?);
                    self.skip(b',');
                }
                Value::List(nodes)
            }
            Some(b'"') => Value::text(self.string()?),
            _ => self.scalar()?,
        };
        Ok(Node { place: Place::file(start, self.at), value })
    }

    fn member(&mut self) -> Result<Member, Flaw> {
        self.peek();
        let start = self.at;
        let key = self.string()?;
        let key_place = Place::file(start, self.at);
        self.skip(b':');
        Ok(Member { key, key_place, node: self.node()? })
    }

    fn string(&mut self) -> Result<String, Flaw> {
        let rest = self.rest();
        let mut bytes = rest.bytes().enumerate().skip(1);
        let (mut is_plain, mut length) = (true, rest.len());
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    length = at + 1;
                    break;
                }
                b'\\' => {
                    is_plain = false;
                    bytes.next();
                }
                _ => {}
            }
        }
        let place = Place::file(self.at, self.at + length);
        self.at += length;
        let raw = rest.get(..length).unwrap_or_default();
        match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
            Some(text) if is_plain => Ok(text.to_owned()),
            // Escapes, of which some stand for no text.
            _ => serde_json::from_str(raw).map_err(|error| wrong(place, &error)),
        }
    }

    fn scalar(&mut self) -> Result<Value, Flaw> {
        let rest = self.rest();
        let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']' | '}');
        let raw = rest.split(is_end).next().unwrap_or_default();
        let place = Place::file(self.at, self.at + raw.len());
        self.at += raw.len();
        match raw {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            _ => number(raw)
                .ok_or_else(|| Flaw::new(Code::PLUGIN_1011, place, "no JSON: number out of range")),
        }
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
