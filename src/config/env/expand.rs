//! Placeholders in all texts of a file.

use std::borrow::Cow;

use super::{
    options::EnvOptions,
    secrets,
    text::{Replaced, Room, replaced},
};
use crate::{
    config::value::{Flaw, Flaws, Member, Node, Path, Place, Text, Value},
    error::Code,
};

/// Replaces the placeholders in every text, and reads the secrets that are written elsewhere. `notes` get what only
/// looks like a placeholder.
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
        let Self { options, room, flaws, notes } = self;
        match &mut node.value {
            Value::List(nodes) => {
                for (index, node) in nodes.iter_mut().enumerate() {
                    self.expand(node, &path.index(index));
                }
            }
            Value::Map(members) => {
                for Member { key, node, .. } in members {
                    let path = path.key(key);
                    self.expand(node, &path);
                    secrets::read(node, &path, self.options, self.flaws);
                }
            }
            Value::Text(Text { text, is_loose }) => match replaced(text, options, room) {
                Ok(Replaced { text: made, is_one, unset, is_left }) => {
                    *is_loose = is_one;
                    if is_left {
                        notes.push(left(node.place.clone()).at(path));
                    }
                    if let Some(name) = unset {
                        flaws.unset(path, name);
                    }
                    // Most have no placeholder.
                    if let Cow::Owned(made) = made {
                        *text = made;
                    }
                }
                Err(wrong) => {
                    let flaw = Flaw::new(Code::CONFIG_1703, node.place.clone(), wrong);
                    flaws.push(flaw.at(path));
                    // Told already: what follows need not say that it is no number.
                    node.value = Value::Null;
                }
            },
            _ => {}
        }
    }
}

#[cold]
fn left(place: Place) -> Flaw {
    let message = "what begins with `${` here is no placeholder, and stays as it is";
    let help =
        "a placeholder is `${NAME}` or `${NAME:-default}`; to mean the text itself, write `$${`";
    Flaw::new(Code::CONFIG_1703, place, message).helped(help.to_owned())
}
