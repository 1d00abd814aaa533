//! Values as a file has them, each with its place.

use std::{fmt, sync::Arc};

/// Values of a file are nested no deeper.
pub(crate) const MAX_DEPTH: usize = 32;

/// A file has no more values.
pub(crate) const MAX_VALUES: usize = 200_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// Negative.
    Signed(i64),
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Member>),
}

/// Never shown, since any may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    /// Whether it may stand for a number or a bool, as the value of an environment variable does.
    pub(crate) is_loose: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// Where a value was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// In the file, by bytes.
    File { start: u32, end: u32 },
    /// In an environment variable.
    Variable(Arc<str>),
    /// Nowhere: a default of ours.
    #[default]
    Nowhere,
}

impl Place {
    pub(crate) fn file(start: usize, end: usize) -> Self {
        // No file is that long.
        let of = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self::File { start: of(start), end: of(end.max(start)) }
    }
}

impl Node {
    pub(crate) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    pub(crate) fn members_mut(&mut self) -> Option<&mut Vec<Member>> {
        match &mut self.value {
            Value::Map(members) => Some(members),
            _ => None,
        }
    }

    /// How many values it is, with those in it.
    pub(crate) fn count(&self) -> usize {
        let inner: usize = match &self.value {
            Value::List(nodes) => nodes.iter().map(Self::count).sum(),
            Value::Map(members) => members.iter().map(|member| member.node.count()).sum(),
            _ => 0,
        };
        1 + inner
    }

    /// How many bytes its texts have, with those in it.
    pub(crate) fn bytes(&self) -> usize {
        match &self.value {
            Value::Text(text) => text.text.len(),
            Value::List(nodes) => nodes.iter().map(Self::bytes).sum(),
            Value::Map(members) => {
                members.iter().map(|member| member.key.len() + member.node.bytes()).sum()
            }
            _ => 0,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// What it is, in the words of a mistake.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a bool",
            Value::Unsigned(_) | Value::Signed(_) => "a number",
            Value::Float(_) => "a fraction",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Text { text: text.into(), is_loose: false })
    }

    /// As Go's zero values are written: `0`, `false`, an empty text, `0s`, nothing.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Unsigned(value) => *value == 0,
            Self::Signed(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Text(text) => matches!(&*text.text, "" | "0" | "0s"),
            Self::List(list) => list.is_empty(),
            Self::Map(members) => members.iter().all(|member| member.node.value.is_zero()),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(…)")
    }
}
