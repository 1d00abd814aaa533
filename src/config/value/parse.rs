//! From text to values.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    flaw::{Flaw, Flaws},
    format::Format,
    json,
    path::Path,
    source::Source,
    toml,
    tree::{Member, Node, Place, Value},
};
use crate::error::Code;

/// The values of a file, with those of keys that are given twice.
pub(crate) fn parse(source: &Source, format: Format) -> Result<Node, Flaws> {
    if source.text().trim().is_empty() {
        return Err(Flaw::new(Code::CONFIG_1706, Place::Nowhere, "the file has no content").into());
    }
    // One was taken off, and the parsers would another.
    if source.text().starts_with('\u{feff}') {
        let flaw = Flaw::new(format.code(), Place::file(0, 3), "the file has two byte order marks");
        return Err(flaw.syntax().into());
    }
    if let Some(at) = source.text().find('\0') {
        let flaw = Flaw::new(format.code(), Place::file(at, at + 1), "the file holds a NUL");
        let help = "if it is UTF-16, save it as UTF-8".to_owned();
        return Err(flaw.helped(help).syntax().into());
    }
    match format {
        Format::Json => Ok(json::read(source)?),
        Format::Toml => toml::read(source),
        #[cfg(feature = "yaml")]
        Format::Yaml => Ok(super::yaml::read(source)?),
        #[cfg(not(feature = "yaml"))]
        Format::Yaml => {
            let message = "YAML needs the feature `yaml` of this crate";
            Err(Flaw::new(Code::CONFIG_1702, Place::Nowhere, message).into())
        }
    }
}

/// Leaves of each key the first, and tells the others.
pub(crate) fn drop_repeated(root: &mut Node, source: &Source) -> Flaws {
    let mut flaws = Flaws::default();
    once(root, &Path::Root, source, &mut flaws);
    flaws
}

fn once(node: &mut Node, path: &Path<'_>, source: &Source, flaws: &mut Flaws) {
    match &mut node.value {
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                once(node, &path.index(index), source, flaws);
            }
        }
        Value::Map(members) => {
            once_each(members, path, source, flaws);
            for Member { key, node, .. } in members {
                once(node, &path.key(key), source, flaws);
            }
        }
        _ => {}
    }
}

fn once_each(members: &mut Vec<Member>, path: &Path<'_>, source: &Source, flaws: &mut Flaws) {
    // Of a few, each is compared with those before it.
    let is_new = |(index, of): (usize, &Member)| members[..index].iter().all(|at| at.key != of.key);
    if members.len() <= 16 && members.iter().enumerate().all(is_new) {
        return;
    }
    let mut seen = HashMap::with_capacity_and_hasher(members.len(), RandomState::default());
    // Of each, the one before it with the same key.
    let before: Vec<Option<usize>> = members
        .iter()
        .enumerate()
        .map(|(index, member)| {
            Some(*seen.entry(member.key.as_str()).or_insert(index)).filter(|&first| first != index)
        })
        .collect();
    for (member, first) in members.iter().zip(&before) {
        let Some(first) = first.map(|first| &members[first]) else { continue };
        let line = match &first.key_place {
            Place::File { start, .. } => {
                format!(", first at line {}", source.position(*start as usize).line)
            }
            _ => String::new(),
        };
        let message = format!("this key is given twice{line}");
        let flaw = Flaw::new(Code::CONFIG_1703, member.key_place.clone(), message);
        flaws.push(flaw.at(path.key(&member.key)));
    }
    let mut before = before.into_iter();
    members.retain(|_| before.next().flatten().is_none());
}
