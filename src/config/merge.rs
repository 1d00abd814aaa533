//! Sections that a plugin leaves out in part, before they are read.

use std::collections::{HashMap, HashSet};

use super::{
    names::{is_same, of_field},
    value::{Flaw, Flaws, Member, Node, Value},
};
use crate::error::Code;

/// Go's names of the sections of `defaults`, at the top of the file.
const PREFIX: &str = "default_";

/// A file has no more plugins.
const MAX_PLUGINS: usize = 10_000;

/// No more values of defaults are filled in.
const MAX_FILLED: usize = 100_000;

/// Texts of defaults are no longer in all, in bytes, counted for each plugin: each is built with its own.
const MAX_BYTES: usize = 64 << 20;

/// Sections of which a default does not fill in what is left out, since one key decides what the others are.
const WHOLE: [&str; 2] = ["budget", "discover"];

/// Takes out the sections of Go's names that `defaults` has, too, which are mistakes.
pub(crate) fn drop_twice(root: &mut Node, flaws: &mut Flaws) {
    let says = |member: &&Member| member.node.value != Value::Null;
    let defaults = find(root, "defaults").map(Node::members).unwrap_or_default();
    let names: HashSet<_> =
        defaults.iter().filter(says).map(|member| of_field(&member.key)).collect();
    let Some(members) = root.members_mut() else { return };
    members.retain(|member| {
        let section = go_section(&member.key).filter(|_| says(&member));
        let Some(section) = section.filter(|section| names.contains(&of_field(section))) else {
            return true;
        };
        let message = format!("`{}` and `defaults.{section}` are the same", member.key);
        let flaw = Flaw::new(Code::CONFIG_1703, member.key_place.clone(), message);
        flaws.push(flaw.at(&member.key));
        false
    });
}

/// Fills in what the sections of plugins leave out from the defaults of the file, and what those leave out
/// from `base`: member by member.
///
/// # Errors
/// If those are too many.
pub(crate) fn fill_in(root: &mut Node, base: &Node) -> Result<(), Flaw> {
    let mut filling = Filling { left: MAX_FILLED };
    let mut all = ByName::new();
    add(&mut all, base.members());
    for Member { key, node, .. } in root.members_mut().into_iter().flatten() {
        if key.eq_ignore_ascii_case("defaults") {
            filling.sections(node, &all)?;
        } else if let Some(section) = go_section(key) {
            filling.section(section, node, &all)?;
        }
    }
    let Some(plugins) = find_mut(root, "plugins") else { return Ok(()) };
    let mut plugins = std::mem::replace(&mut plugins.value, Value::Null);
    let mut all = ByName::new();
    for Member { key, node, .. } in root.members() {
        if key.eq_ignore_ascii_case("defaults") {
            add(&mut all, node.members());
        } else if let Some(section) = go_section(key) {
            all.entry(of_field(section)).or_insert(node);
        }
    }
    check_bytes(&all, each_mut(&mut plugins).count())?;
    add(&mut all, base.members());
    each_mut(&mut plugins).try_for_each(|plugin| filling.sections(plugin, &all))?;
    if let Some(node) = find_mut(root, "plugins") {
        node.value = plugins;
    }
    Ok(())
}

/// Sections by the names of their fields; of several for one the first holds.
type ByName<'d> = HashMap<String, &'d Node>;

fn add<'d>(all: &mut ByName<'d>, sections: &'d [Member]) {
    for section in sections {
        all.entry(of_field(&section.key)).or_insert(&section.node);
    }
}

struct Filling {
    /// How many values may be filled in yet: a few defaults may be those of many plugins.
    left: usize,
}

impl Filling {
    fn sections(&mut self, sections: &mut Node, defaults: &ByName<'_>) -> Result<(), Flaw> {
        let mut members = sections.members_mut().into_iter().flatten();
        members.try_for_each(|Member { key, node, .. }| self.section(key, node, defaults))
    }

    fn section(
        &mut self,
        name: &str,
        section: &mut Node,
        defaults: &ByName<'_>,
    ) -> Result<(), Flaw> {
        let Value::Map(members) = &mut section.value else { return Ok(()) };
        let name = of_field(name);
        let Some(default) = defaults.get(&name) else { return Ok(()) };
        if WHOLE.contains(&&*name) || default.members().is_empty() {
            return Ok(());
        }
        let given: HashSet<_> = members.iter().map(|member| of_field(&member.key)).collect();
        for default in default.members() {
            // Without this one, a section that is written is enabled.
            if default.key.eq_ignore_ascii_case("enabled")
                || given.contains(&of_field(&default.key))
            {
                continue;
            }
            let left = self.left.checked_sub(default.node.count());
            self.left = left.ok_or_else(|| too_many(default))?;
            members.push(default.clone());
        }
        Ok(())
    }
}

#[cold]
fn too_many(default: &Member) -> Flaw {
    let message = format!(
        "too much for a config file: defaults fill in more than {MAX_FILLED} values of its plugins"
    );
    Flaw::new(Code::CONFIG_1706, default.key_place.clone(), message)
}

/// Whether the texts of the defaults are not too long for so many plugins.
fn check_bytes(defaults: &ByName<'_>, plugins: usize) -> Result<(), Flaw> {
    let sizes = || defaults.values().map(|node| node.bytes());
    if sizes().sum::<usize>().saturating_mul(plugins) <= MAX_BYTES {
        return Ok(());
    }
    let longest = defaults.values().max_by_key(|node| node.bytes());
    let place = longest.map(|node| node.place.clone()).unwrap_or_default();
    let message = format!(
        "too much for a config file: the texts of its defaults have more than {} MiB for {plugins} plugins",
        MAX_BYTES >> 20
    );
    Err(Flaw::new(Code::CONFIG_1706, place, message))
}

/// `retry` of `default_retry`.
pub(super) fn go_section(key: &str) -> Option<&str> {
    let (prefix, section) = key.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(section)
}

/// The member of a map, in any case.
pub(crate) fn find<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.members().iter().find(|member| is_same(&member.key, key)).map(|member| &member.node)
}

pub(crate) fn find_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let mut members = node.members_mut()?.iter_mut();
    members.find(|member| is_same(&member.key, key)).map(|member| &mut member.node)
}

/// Whether there are no more plugins than a file may have. Each is far larger than what may be written of it.
pub(crate) fn check_plugins(root: &Node) -> Result<(), Flaw> {
    let Some(plugins) = find(root, "plugins") else { return Ok(()) };
    let count = match &plugins.value {
        Value::List(nodes) => nodes.len(),
        _ => plugins.members().len(),
    };
    if count <= MAX_PLUGINS {
        return Ok(());
    }
    let message = format!("too much for a config file: more than {MAX_PLUGINS} plugins");
    Err(Flaw::new(Code::CONFIG_1706, plugins.place.clone(), message).at("plugins"))
}

fn each_mut(value: &mut Value) -> Box<dyn Iterator<Item = &mut Node> + '_> {
    match value {
        Value::List(nodes) => Box::new(nodes.iter_mut()),
        Value::Map(members) => Box::new(members.iter_mut().map(|member| &mut member.node)),
        _ => Box::new(std::iter::empty()),
    }
}
