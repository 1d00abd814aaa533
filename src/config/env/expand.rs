//! Placeholders in all texts of a file.

use std::borrow::Cow;

use super::{
    options::EnvOptions,
    text::{Left, Replaced, Room, replaced},
};
use crate::{
    config::value::{Flaw, Flaws, Member, Node, Path, Place, Text, Value},
    error::Code,
};

/// Replaces the placeholders in every text. `notes` get what only looks like one.
pub(crate) fn expand_all(
    node: &mut Node,
    path: &Path<'_>,
    options: &EnvOptions,
    flaws: &mut Flaws,
    notes: &mut Flaws,
) {
    Expanding { options, room: Room::new(), flaws, notes }.expand(node, path);
}

struct Expanding<'e> {
    options: &'e EnvOptions,
    room: Room,
    flaws: &'e mut Flaws,
    notes: &'e mut Flaws,
}

impl Expanding<'_> {
    fn expand(&mut self, node: &mut Node, path: &Path<'_>) {
        match &mut node.value {
            Value::List(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    self.expand(node, &path.index(index));
                }
            }
            Value::Map(members) => {
                for Member { key, key_place, node } in members {
                    let path = path.key(key);
                    if key.contains("${") {
                        self.notes.push(in_key(key_place.clone()).at(path));
                    }
                    self.expand(node, &path);
                }
            }
            Value::Text(Text { text, is_loose }) => {
                match replaced(text, self.options, &mut self.room) {
                    Ok(Replaced { text: made, is_one, unset, left }) => {
                        *is_loose = is_one;
                        if let Some(left) = left {
                            self.notes.push(note(left, node.place.clone()).at(path));
                        }
                        if let Some(name) = unset {
                            self.flaws.unset(path, name);
                        }
                        // Most have no placeholder.
                        if let Cow::Owned(made) = made {
                            *text = made;
                        }
                    }
                    Err(wrong) => {
                        let flaw = Flaw::new(Code::CONFIG_1703, node.place.clone(), wrong);
                        self.flaws.push(flaw.at(path));
                        // Told already: what follows need not say that it is no number.
                        node.value = Value::Null;
                    }
                }
            }
            _ => {}
        }
    }
}

#[cold]
fn note(left: Left, place: Place) -> Flaw {
    let (message, help) = match left {
        Left::Other => (
            "what begins with `${` here is no placeholder, and stays as it is",
            "a placeholder is `${NAME}` or `${NAME:-default}`; to mean the text itself, write `$${`",
        ),
        Left::InDefault => (
            "the default of this placeholder ends at the first `}`, and is taken as it is",
            "a default holds neither braces nor placeholders; give it to the variable",
        ),
    };
    Flaw::new(Code::CONFIG_1703, place, message).helped(help.to_owned())
}

#[cold]
fn in_key(place: Place) -> Flaw {
    let message = "a key is taken as it is: placeholders are replaced in values";
    Flaw::new(Code::CONFIG_1703, place, message)
}
