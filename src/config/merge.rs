//! Sections that a plugin leaves out in part, or altogether, before they are read.

use super::{
    names::{always, is_same},
    value::{Member, Node, Value},
};

/// Go's names of the sections of `defaults`, at the top of the file.
const PREFIX: &str = "default_";

/// Sections of which a default does not fill in what is left out, since one key decides what the others are.
const WHOLE: [&str; 2] = ["budget", "discover"];

/// Takes out the sections that Go writes for those that are not there: with every member that it always
/// writes, all zero. A section with fewer members says what it says.
pub(crate) fn drop_absent(root: &mut Node) {
    let drop = |members: &mut Vec<Member>| {
        members.retain(|Member { key, node, .. }| {
            let section = go_section(key).unwrap_or(key).to_ascii_lowercase();
            !always(&section).is_some_and(|always| is_absent(node, always))
        });
    };
    if let Some(members) = root.members_mut() {
        drop(members);
    }
    if let Some(defaults) = find_mut(root, "defaults").and_then(Node::members_mut) {
        drop(defaults);
    }
    for plugin in plugins_mut(root) {
        if let Some(members) = plugin.members_mut() {
            drop(members);
        }
    }
}

fn is_absent(node: &Node, always: &[&str]) -> bool {
    let has = |name: &&str| node.members().iter().any(|member| is_same(&member.key, name));
    node.value.is_zero() && always.iter().all(has)
}

/// Fills in what the sections of plugins leave out from the defaults of the file, and what those leave out
/// from `base`: member by member.
pub(crate) fn fill_in(root: &mut Node, base: &Node) {
    let mut defaults = Vec::new();
    for Member { key, node, .. } in root.members_mut().into_iter().flatten() {
        if key.eq_ignore_ascii_case("defaults") {
            fill_sections(node, base.members());
            defaults.extend(node.members().iter().cloned());
        } else if let Some(section) = go_section(key) {
            fill_section(section, node, base.members());
            defaults.push(Member {
                key: section.to_owned(),
                key_place: node.place.clone(),
                node: node.clone(),
            });
        }
    }
    defaults.extend(base.members().iter().cloned());
    for plugin in plugins_mut(root) {
        fill_sections(plugin, &defaults);
    }
}

/// `retry` of `default_retry`.
fn go_section(key: &str) -> Option<&str> {
    let (prefix, section) = key.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(section)
}

fn fill_sections(sections: &mut Node, defaults: &[Member]) {
    for Member { key, node, .. } in sections.members_mut().into_iter().flatten() {
        fill_section(key, node, defaults);
    }
}

/// Of several defaults for a section the first holds.
fn fill_section(name: &str, section: &mut Node, defaults: &[Member]) {
    let default = defaults.iter().find(|default| is_same(&default.key, name));
    let Some(Member { key, node: default, .. }) = default else { return };
    let (Value::Map(members), Value::Map(defaults)) = (&mut section.value, &default.value) else {
        return;
    };
    if WHOLE.contains(&&**key) {
        return;
    }
    let missing = defaults.iter().filter(|default| {
        let is_given = members.iter().any(|member| is_same(&member.key, &default.key));
        // Without this one, a section that is written is enabled.
        !is_given && !default.key.eq_ignore_ascii_case("enabled")
    });
    let missing: Vec<_> = missing.cloned().collect();
    members.extend(missing);
}

/// The member of a map, in any case.
pub(crate) fn find<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.members().iter().find(|member| is_same(&member.key, key)).map(|member| &member.node)
}

pub(crate) fn find_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let mut members = node.members_mut()?.iter_mut();
    members.find(|member| is_same(&member.key, key)).map(|member| &mut member.node)
}

/// The plugins of a file: a list, or a map by name.
fn plugins_mut(root: &mut Node) -> Vec<&mut Node> {
    match find_mut(root, "plugins").map(|node| &mut node.value) {
        Some(Value::List(nodes)) => nodes.iter_mut().collect(),
        Some(Value::Map(members)) => members.iter_mut().map(|member| &mut member.node).collect(),
        _ => Vec::new(),
    }
}
