//! Options of a plugin that its transport does not know.

use super::options::known_options;
use crate::{
    config::{
        merge::find,
        nearest::did_you_mean,
        value::{Flaw, Flaws, Member, Node, Path, Value},
    },
    error::Code,
};

/// What is said of the options that have no effect. `own` are the names of the program's own factories, which
/// know theirs.
pub(super) fn notes(root: &Node, own: &[String], notes: &mut Flaws) {
    each_plugin(root, |plugin, path| of_plugin(plugin, path, own, notes));
}

/// Each plugin of a file: of a list, or of a map by name.
pub(super) fn each_plugin(root: &Node, mut see: impl FnMut(&Node, &Path<'_>)) {
    let plugins = Path::Root.key("plugins");
    match find(root, "plugins").map(|node| &node.value) {
        Some(Value::List(nodes)) => {
            let nodes = nodes.iter().enumerate();
            nodes.for_each(|(index, node)| see(node, &plugins.index(index)));
        }
        Some(Value::Map(members)) => {
            let members = members.iter();
            members.for_each(|Member { key, node, .. }| see(node, &plugins.key(key)));
        }
        _ => {}
    }
}

fn of_plugin(plugin: &Node, path: &Path<'_>, own: &[String], notes: &mut Flaws) {
    let text = |key: &str| find(plugin, key).and_then(Node::text).unwrap_or_default();
    let is_own = |name: &str| own.iter().any(|own| own == name);
    let transport = text("transport");
    if is_own(text("type")) || is_own(transport) {
        return;
    }
    let options = find(plugin, "options").map(Node::members).unwrap_or_default();
    let known = (!options.is_empty()).then(|| known_options(transport)).flatten();
    let Some(known) = known else { return };
    for Member { key, key_place, .. } in options {
        if !known.contains(key) {
            let note = Flaw::new(Code::CONFIG_1703, key_place.clone(), "this option has no effect");
            let note = note.at(path.key("options").key(key));
            notes.push(note.helped(did_you_mean(key, &known)));
        }
    }
}
