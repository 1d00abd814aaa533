//! Single values from the environment, by their paths.

use super::{options::EnvOptions, text::checked};
use crate::{
    config::{
        merge::{find, go_section},
        names::is_same,
        nearest::did_you_mean,
        value::{Flaw, Flaws, Member, Node, Place, Text, Value},
    },
    error::{Code, Quoted},
};

/// Between two parts of a path.
const BETWEEN: &str = "__";

/// Sets what variables with the prefix say.
pub(crate) fn override_all(root: &mut Node, options: &EnvOptions, flaws: &mut Flaws) {
    let Some(prefix) = options.override_prefix.as_deref().filter(|_| options.allow_overrides)
    else {
        return;
    };
    for (name, value) in options.with_prefix_of(prefix) {
        let place = Place::Variable(name.as_str().into());
        let value = value.and_then(|value| checked(&name, value, options));
        let set = value.map_err(|wrong| (wrong, None)).and_then(|text| {
            let written: Vec<_> = name[prefix.len()..].split(BETWEEN).collect();
            let parts = as_in(root, &written);
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            set(root, "", &parts, Node { place: place.clone(), value: loose(text) })
        });
        if let Err((wrong, help)) = set {
            flaws.push(Flaw::new(Code::CONFIG_1703, place, wrong).helped(help));
        }
    }
}

/// A path whose beginning is that of the section for all plugins which the file has: it may have two.
fn as_in(root: &Node, parts: &[&str]) -> Vec<String> {
    let has =
        |map: Option<&Node>, section: &str| map.is_some_and(|map| find(map, section).is_some());
    let defaults = find(root, "defaults");
    let (first, rest) = match parts {
        [first, section, rest @ ..] if first.eq_ignore_ascii_case("defaults") => {
            let go = format!("default_{section}");
            match !has(defaults, section) && has(Some(root), &go) {
                true => (vec![go], rest),
                false => return parts.iter().map(ToString::to_string).collect(),
            }
        }
        [first, rest @ ..] => match go_section(first) {
            Some(section) if !has(Some(root), first) && has(defaults, section) => {
                (vec!["defaults".to_owned(), section.to_owned()], rest)
            }
            _ => (vec![(*first).to_owned()], rest),
        },
        [] => return Vec::new(),
    };
    first.into_iter().chain(rest.iter().map(ToString::to_string)).collect()
}

fn loose(text: String) -> Value {
    Value::Text(Text { text, is_loose: true })
}

type Wrong = (String, Option<String>);

/// Sets the value at a path below `node`, which is that of the key `above`.
fn set(node: &mut Node, above: &str, parts: &[&str], value: Node) -> Result<(), Wrong> {
    let Some((part, rest)) = parts.split_first() else {
        *node = value;
        return Ok(());
    };
    if part.is_empty() {
        return Err(("leads nowhere: a part of the path is empty".to_owned(), None));
    }
    match &mut node.value {
        Value::List(nodes) => {
            let named = meant(nodes.iter().map(|node| name(node).unwrap_or_default()), part)?;
            let index =
                named.or_else(|| part.parse().ok().filter(|&index: &usize| index < nodes.len()));
            match index {
                Some(index) => set(&mut nodes[index], "", rest, value),
                None => {
                    let names: Vec<_> = nodes.iter().filter_map(name).collect();
                    let part = part.to_ascii_lowercase();
                    Err((
                        format!("leads nowhere: there is no `{part}`"),
                        did_you_mean(&part, &names),
                    ))
                }
            }
        }
        Value::Map(members) => {
            let named = meant(members.iter().map(|member| &*member.key), part)?;
            let of_field = || {
                let part = part.to_ascii_lowercase();
                members.iter().position(|member| is_same(&member.key, &part))
            };
            // By another name of a key, what it says is another: `MAX_RETRIES` is one less than `attempts`.
            let is_other = named.is_none();
            match named.or_else(of_field).map(|index| &mut members[index]) {
                Some(member) if rest.is_empty() => {
                    member.key_place = value.place.clone();
                    member.node = value;
                    if is_other {
                        member.key = part.to_ascii_lowercase();
                    }
                    Ok(())
                }
                Some(Member { key, node, .. }) => set(node, key, rest, value),
                None => {
                    let place = value.place.clone();
                    let map = Value::Map(Vec::new());
                    let mut node = Node { place: place.clone(), value: map };
                    // The names of variables are told apart by their case, others are in small letters here.
                    let key = match above.to_ascii_lowercase().as_str() {
                        "env" | "environment" => (*part).to_owned(),
                        _ => part.to_ascii_lowercase(),
                    };
                    set(&mut node, &key, rest, value)?;
                    members.push(Member { key, key_place: place, node });
                    Ok(())
                }
            }
        }
        Value::Null => {
            node.value = Value::Map(Vec::new());
            set(node, above, parts, value)
        }
        _ => Err((format!("leads nowhere: there is {} above it", node.kind()), None)),
    }
}

fn name(node: &Node) -> Option<&str> {
    node.members().iter().find(|member| member.key.eq_ignore_ascii_case("name"))?.node.text()
}

/// Which of several names a part of a variable's name is: the same letter by letter, or else the only one that may be
/// written so.
fn meant<'n>(
    names: impl Iterator<Item = &'n str> + Clone,
    part: &str,
) -> Result<Option<usize>, Wrong> {
    let find = |is: &dyn Fn(&str) -> bool| -> Vec<_> {
        names.clone().enumerate().filter(|(_, name)| is(name)).collect()
    };
    let same = find(&|name| name.eq_ignore_ascii_case(part));
    let found = if same.is_empty() { find(&|name| is(name, part)) } else { same };
    match found[..] {
        [] => Ok(None),
        [(index, _)] => Ok(Some(index)),
        [(_, first), (_, second), ..] => {
            let (first, second) = (Quoted(first), Quoted(second));
            Err((format!("leads to several: `{first}` and `{second}`"), None))
        }
    }
}

/// Whether a part of a variable's name is a key, or the name of a plugin: in any case, and `_` for what a
/// variable cannot have.
fn is(name: &str, part: &str) -> bool {
    name.chars().count() == part.chars().count()
        && name.chars().zip(part.chars()).all(|(of, by)| {
            of.eq_ignore_ascii_case(&by) || (by == '_' && !of.is_ascii_alphanumeric())
        })
}
