//! Placeholders in all texts of a file.

use std::borrow::Cow;

use super::{
    options::EnvOptions,
    secrets,
    text::{Replaced, Room, replaced},
};
use crate::{
    config::value::{Flaw, Flaws, Member, Node, Path, Text, Value},
    error::Code,
};

/// Replaces the placeholders in every text, and reads the secrets that are written elsewhere.
pub(crate) fn expand_all(
    node: &mut Node,
    path: &Path<'_>,
    options: &EnvOptions,
    flaws: &mut Flaws,
) {
    expand(node, path, options, &mut Room::new(), flaws);
}

fn expand(
    node: &mut Node,
    path: &Path<'_>,
    options: &EnvOptions,
    room: &mut Room,
    flaws: &mut Flaws,
) {
    match &mut node.value {
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                expand(node, &path.index(index), options, room, flaws);
            }
        }
        Value::Map(members) => {
            for Member { key, node, .. } in members {
                let path = path.key(key);
                expand(node, &path, options, room, flaws);
                secrets::read(node, &path, options, flaws);
            }
        }
        Value::Text(Text { text, is_loose }) => match replaced(text, options, room) {
            Ok(Replaced { text: made, is_one, unset }) => {
                *is_loose = is_one;
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
            }
        },
        _ => {}
    }
}
