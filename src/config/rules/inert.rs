//! Keys that the Go plugin manager reads, and that have no effect here.

use super::{found, given};
use crate::{
    config::{
        merge::find,
        model::{Preset, Sections},
        names::{in_snake_case, is_same},
        value::{Flaw, Flaws, Member, Node, Value},
    },
    error::Code,
};

/// Keys of any section that can have no effect.
const NOWHERE: [&str; 4] = ["cache_ttl", "enable_cache", "network_interfaces", "allow_overrides"];

/// Keys of the file that have none yet.
const FILE: [&str; 2] = ["metrics_port", "discovery"];

/// Keys of `security` that have none.
const SECURITY: [&str; 4] = ["auto_update", "hash_algorithm", "validate_on_start", "reload_delay"];

/// What is said of the keys of a file that have no effect; `own` are the names of the program's factories.
pub(crate) fn notes(root: &Node, preset: Option<Preset>, own: &[String]) -> Flaws {
    let mut notes = Flaws::default();
    let mut list = |members: &[Member], section: &str, keys: &[&str]| {
        for member in members {
            let key = in_snake_case(member.key.clone());
            if keys.contains(&&*key) && !member.node.value.is_zero() {
                notes.push(note(member, &format!("{section}{}", member.key)));
            }
        }
    };
    list(root.members(), "", &FILE);
    list(find(root, "security").map(Node::members).unwrap_or_default(), "security.", &SECURITY);
    doubt_audit(root, &mut notes);
    given::notes(root, own, &mut notes);
    found::notes(root, &mut notes);
    if preset == Some(Preset::Go) && !says_idempotent(root) {
        let message = "calls are sent again only if they were not sent, or are idempotent by the caller's word";
        let place = find(root, "preset").map(|node| node.place.clone()).unwrap_or_default();
        let help = "write `retry: {idempotent: true}` for plugins whose calls are".to_owned();
        notes.push(Flaw::new(Code::CONFIG_1703, place, message).at("preset").helped(help));
    }
    notes
}

/// What is said of decisions that are to be written nowhere.
fn doubt_audit(root: &Node, notes: &mut Flaws) {
    let Some(audit) = find(root, "security").and_then(|security| find(security, "audit")) else {
        return;
    };
    let enabled = audit.members().iter().find(|member| is_same(&member.key, "enabled"));
    let has_file = find(audit, "file").is_some_and(|file| !file.value.is_zero());
    if let Some(enabled) = enabled.filter(|of| of.node.value == Value::Bool(true) && !has_file) {
        let message = "decisions are not written, since there is no `audit_file`";
        let place = enabled.key_place.clone();
        notes.push(Flaw::new(Code::CONFIG_1703, place, message).at("security.audit.enabled"));
    }
}

/// What is said of a key that nothing knows, if that is no mistake.
pub(crate) fn note_of(unknown: &Flaw) -> Option<Flaw> {
    let key = unknown.path.rsplit('.').next().unwrap_or_default();
    NOWHERE.contains(&key).then(|| Flaw {
        message: "this key has no effect".to_owned(),
        help: None,
        ..unknown.clone()
    })
}

/// Keys that other programs have for a client that trusts every certificate, without what joins their words.
const TRUSTING: [&str; 4] =
    ["insecureskipverify", "insecureskiptlsverify", "tlsskipverify", "insecure"];

/// A key that nothing knows, with the reason why there is none if it is a known one of others, and with its place if
/// it is a section at the top of the file.
pub(crate) fn helped(unknown: Flaw) -> Flaw {
    if let Some(section) = section(&unknown.path) {
        let help = format!("did you mean `defaults.{section}`?");
        return unknown.helped(help);
    }
    let key = unknown.path.rsplit('.').next().unwrap_or_default();
    let key = key.replace(['_', '-'], "").to_ascii_lowercase();
    if !TRUSTING.contains(&&*key) {
        return unknown;
    }
    let why = "it is refused on purpose: certificates are always checked, by your own authority with `auth.ca_file`";
    unknown.helped(why.to_owned())
}

/// The section that a key at the top of the file is for.
fn section(key: &str) -> Option<String> {
    let key = key.strip_prefix("default_").unwrap_or(key);
    let all = serde_json::to_value(Sections::default()).ok()?;
    all.as_object()?.keys().find(|section| *section == key).cloned()
}

fn note(member: &Member, path: &str) -> Flaw {
    Flaw::new(Code::CONFIG_1703, member.key_place.clone(), "this key has no effect").at(path)
}

fn says_idempotent(node: &Node) -> bool {
    match &node.value {
        Value::Map(members) => members.iter().any(|member| {
            member.key.eq_ignore_ascii_case("idempotent") || says_idempotent(&member.node)
        }),
        Value::List(nodes) => nodes.iter().any(says_idempotent),
        _ => false,
    }
}
