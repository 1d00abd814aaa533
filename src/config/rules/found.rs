//! Settings of a backend that the Go library reads and forgets, and that have no effect here either.

use super::given::each_plugin;
use crate::{
    config::{
        merge::find,
        names::in_snake_case,
        value::{Flaw, Flaws, Member, Node},
    },
    error::Code,
};

/// Of a backend: the keys, and why there is nothing that they could do.
const INERT: [(&str, &[&str], &str); 2] = [
    ("kubernetes", &["service_type"], "Services of all types are read alike"),
    (
        "mdns",
        &["ttl", "watch_interval"],
        "a change is told as it comes, and a record lives for as long as it says",
    ),
];

/// What is said of those in the `discover` sections of plugins.
pub(super) fn notes(root: &Node, notes: &mut Flaws) {
    each_plugin(root, |plugin, path| {
        let Some(discover) = find(plugin, "discover") else { return };
        for (backend, inert, why) in INERT {
            let settings = find(discover, backend).map(Node::members).unwrap_or_default();
            for Member { key, key_place, node } in settings {
                if inert.contains(&&*in_snake_case(key.clone())) && !node.value.is_zero() {
                    let message = "this setting has no effect";
                    let note = Flaw::new(Code::CONFIG_1703, key_place.clone(), message);
                    let note = note.at(path.key("discover").key(backend).key(key));
                    notes.push(note.helped(why.to_owned()));
                }
            }
        }
    });
}
