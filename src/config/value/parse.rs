//! From text to values.

use std::collections::HashMap;

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

/// The values of a file, and its keys that were given twice, of which the first counts.
pub(crate) fn parse(source: &Source, format: Format) -> Result<(Node, Flaws), Flaws> {
    let one = |flaw| {
        let mut flaws = Flaws::default();
        flaws.push(flaw);
        flaws
    };
    if source.text().trim().is_empty() {
        return Err(one(Flaw::new(Code::CONFIG_1706, Place::Nowhere, "the file has no content")));
    }
    let mut root = match format {
        Format::Json => json::read(source).map_err(one)?,
        Format::Toml => toml::read(source)?,
        #[cfg(feature = "yaml")]
        Format::Yaml => super::yaml::read(source).map_err(one)?,
        #[cfg(not(feature = "yaml"))]
        Format::Yaml => {
            let message = "YAML needs the feature `yaml` of this crate";
            return Err(one(Flaw::new(Code::CONFIG_1702, Place::Nowhere, message)));
        }
    };
    let mut flaws = Flaws::default();
    once(&mut root, &Path::Root, source, &mut flaws);
    Ok((root, flaws))
}

/// Leaves of each key the first.
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
    let mut seen = HashMap::with_capacity(members.len());
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
