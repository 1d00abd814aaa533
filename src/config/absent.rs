//! What Go writes for what is not there: it always writes every member of a section.

use super::{
    merge::go_section,
    names::{always, is_same},
    value::{Flaw, Flaws, Member, Node, Path, Value},
};
use crate::error::Code;

/// Members whose zero is no value here, and in Go that of one which was not set: it has a default of its own then, or
/// no such limit, or forgets the member.
const UNSET: [(&str, &[&str]); 5] = [
    ("retry", &["multiplier"]),
    ("circuit_breaker", &["failure_threshold", "recovery_timeout", "success_threshold"]),
    ("health_check", &["interval", "timeout", "failure_limit"]),
    ("connection", &["idle_timeout", "connection_timeout", "request_timeout"]),
    ("rate_limit", &["time_window"]),
];

/// Takes out the sections that Go writes for those that are not there: with every member that it always
/// writes, all zero. A section with fewer members says what it says.
pub(crate) fn drop_absent(root: &mut Node) {
    each_with_sections(root, &mut |members, _| {
        members.retain(|Member { key, node, .. }| {
            !always(&section(key)).is_some_and(|always| is_absent(node, always))
        });
    });
}

/// Takes the members that are not set out of the sections that Go has written. `notes` get them.
pub(crate) fn drop_unset(root: &mut Node, notes: &mut Flaws) {
    each_with_sections(root, &mut |members, path| {
        for Member { key, node, .. } in members {
            drop_unset_of(&section(key), node, &path.key(key), notes);
        }
    });
}

fn drop_unset_of(section: &str, node: &mut Node, path: &Path<'_>, notes: &mut Flaws) {
    let Some((_, unset)) = UNSET.iter().find(|(name, _)| *name == section) else { return };
    let is = |member: &Member, name: &str| member.key.eq_ignore_ascii_case(name);
    let has = |name: &&str| node.members().iter().any(|member| is(member, name));
    if !always(section).is_some_and(|always| always.iter().all(has)) {
        return;
    }
    let Some(members) = node.members_mut() else { return };
    members.retain(|member| {
        let is_unset = member.node.value.is_zero() && unset.iter().any(|name| is(member, name));
        if is_unset && member.node.value != Value::Null {
            let message = "0 is what Go writes for what is not set: the default holds";
            let note = Flaw::new(Code::CONFIG_1703, member.key_place.clone(), message);
            notes.push(note.at(path.key(&member.key)));
        }
        !is_unset
    });
}

/// The file, its `defaults` and each of its plugins.
fn each_with_sections(root: &mut Node, see: &mut impl FnMut(&mut Vec<Member>, &Path<'_>)) {
    let Some(members) = root.members_mut() else { return };
    see(members, &Path::Root);
    for Member { key, node, .. } in members {
        let path = Path::Root.key(key);
        if is_same(key, "defaults") {
            node.members_mut().into_iter().for_each(|members| see(members, &path));
        } else if is_same(key, "plugins") {
            each_plugin(node, &path, see);
        }
    }
}

fn each_plugin(
    plugins: &mut Node,
    path: &Path<'_>,
    see: &mut impl FnMut(&mut Vec<Member>, &Path<'_>),
) {
    match &mut plugins.value {
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                node.members_mut().into_iter().for_each(|members| see(members, &path.index(index)));
            }
        }
        Value::Map(members) => {
            for Member { key, node, .. } in members {
                node.members_mut().into_iter().for_each(|members| see(members, &path.key(key)));
            }
        }
        _ => {}
    }
}

/// The section that a key is for, which Go may have by another name.
fn section(key: &str) -> String {
    go_section(key).unwrap_or(key).to_ascii_lowercase()
}

fn is_absent(node: &Node, always: &[&str]) -> bool {
    let has = |name: &&str| node.members().iter().any(|member| is_same(&member.key, name));
    node.value.is_zero() && always.iter().all(has)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;
    use crate::config::model::{DiscoveryConfig, SecurityConfig};

    fn knows<T: DeserializeOwned>(key: &str) -> bool {
        let values = [json!(1), json!(true), json!("1s"), json!([]), json!({})];
        values.iter().any(|value| serde_json::from_value::<T>(json!({ key: value })).is_ok())
    }

    #[test]
    fn what_is_not_set_is_among_what_go_always_writes() {
        for (section, unset) in UNSET {
            let always = always(section).unwrap_or_default();
            assert!(unset.iter().all(|name| always.contains(name)), "{section}");
        }
    }

    #[test]
    fn sections_of_the_file_know_what_go_writes() {
        let always = |section: &str| always(section).unwrap_or_default();
        assert!(!always("discovery").is_empty() && !always("security").is_empty());
        for member in always("discovery") {
            assert!(knows::<DiscoveryConfig>(member), "discovery.{member}");
        }
        for member in always("security") {
            assert!(knows::<SecurityConfig>(member), "security.{member}");
        }
    }
}
