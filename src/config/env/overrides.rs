//! Single values from the environment, by their paths.

use std::iter;

use super::{options::EnvOptions, text::checked};
use crate::{
    config::{
        merge::{find, go_section},
        names::is_same,
        nearest::did_you_mean,
        value::{Flaw, Flaws, Member, Node, Path, Place, Text, Value, is_plugins},
    },
    error::{Code, Quoted},
};

/// Between two parts of a path.
const BETWEEN: &str = "__";

/// A name holds it no more often, but once.
const MOST_JOINED: usize = 8;

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
            set(root, &Path::Root, &parts, Node { place: place.clone(), value: loose(text) })
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

/// Sets the value that `parts` lead to below `node`, which is at `path`.
fn set(node: &mut Node, path: &Path<'_>, parts: &[&str], value: Node) -> Result<(), Wrong> {
    if parts.is_empty() {
        return put(node, value);
    }
    let is_env = is_env(path);
    let (part, rest) = match &node.value {
        _ if is_env => variable(node, parts),
        Value::List(nodes) => {
            first(nodes.iter().filter_map(|node| Some((name(node)?, node))), parts)?
        }
        Value::Map(members) => {
            first(members.iter().map(|member| (&*member.key, &member.node)), parts)?
        }
        _ => first(iter::empty(), parts)?,
    };
    let part = &*part;
    if part.is_empty() {
        return Err(("leads nowhere: a part of the path is empty".to_owned(), None));
    }
    match &mut node.value {
        Value::List(nodes) => {
            let named = meant(nodes.iter().map(|node| name(node).unwrap_or_default()), part)?;
            let index =
                named.or_else(|| part.parse().ok().filter(|&index: &usize| index < nodes.len()));
            match (index, &value.value) {
                (Some(index), _) => set(&mut nodes[index], &path.index(index), rest, value),
                // Go has a list of `NAME=value` there.
                (None, Value::Text(Text { text, .. })) if is_env && rest.is_empty() => {
                    let text = format!("{part}={text}");
                    let value = Node { place: value.place, value: Value::text(text) };
                    let is_it = |node: &Node| {
                        let name = node.text().and_then(|text| text.split_once('='));
                        name.is_some_and(|(name, _)| name == part)
                    };
                    match nodes.iter_mut().find(|node| is_it(node)) {
                        Some(node) => put(node, value)?,
                        None => nodes.push(value),
                    }
                    Ok(())
                }
                (None, _) => {
                    let names: Vec<_> = nodes.iter().filter_map(name).collect();
                    let part = if is_env { part.to_owned() } else { part.to_ascii_lowercase() };
                    Err((
                        format!("leads nowhere: there is no `{part}`"),
                        did_you_mean(&part, &names),
                    ))
                }
            }
        }
        Value::Map(members) => {
            // The names of variables are told apart by their case, others are in small letters here.
            let key = if is_env { part.to_owned() } else { part.to_ascii_lowercase() };
            let named = match is_env {
                true => members.iter().position(|member| member.key == key),
                false => meant(members.iter().map(|member| &*member.key), part)?,
            };
            // By another name of a key, what it says is another: `MAX_RETRIES` is one less than `attempts`.
            let is_other = named.is_none();
            let is_field = |member: &Member| !is_env && is_same(&member.key, &key);
            let index = named.or_else(|| members.iter().position(is_field));
            match index.map(|index| &mut members[index]) {
                Some(member) if rest.is_empty() => {
                    member.key_place = value.place.clone();
                    put(&mut member.node, value)?;
                    if is_other {
                        member.key = key;
                    }
                    Ok(())
                }
                Some(Member { key, node, .. }) => set(node, &path.key(key), rest, value),
                None => {
                    let place = value.place.clone();
                    let map = Value::Map(Vec::new());
                    let mut node = Node { place: place.clone(), value: map };
                    let key = if may_be_env(path) { part.to_owned() } else { key };
                    set(&mut node, &path.key(&key), rest, value)?;
                    members.push(Member { key, key_place: place, node });
                    Ok(())
                }
            }
        }
        Value::Null => {
            node.value = Value::Map(Vec::new());
            set(node, path, parts, value)
        }
        _ => Err((format!("leads nowhere: there is {} above it", node.kind()), None)),
    }
}

/// Puts a value in place of another, which no other variable has set.
fn put(node: &mut Node, value: Node) -> Result<(), Wrong> {
    let is_new = matches!(&node.value, Value::Map(members) if members.is_empty());
    match &node.place {
        Place::Variable(other) if !is_new => {
            Err((format!("sets what `{other}` sets as well; leave one of them out"), None))
        }
        _ => {
            *node = value;
            Ok(())
        }
    }
}

/// Whether a path is that of the environment of a plugin's program, or of the same in its `options`.
fn is_env(path: &Path<'_>) -> bool {
    let is_options = |of: &Path<'_>| match of {
        Path::Key(of, key) => key.eq_ignore_ascii_case("options") && is_plugin(of),
        _ => false,
    };
    matches!(path, Path::Key(of, _) if is_called_env(path) && (is_plugin(of) || is_options(of)))
}

/// Whether what is below a path may be names of variables, as in a config of any type. What is in an environment may be
/// called so as well, and a plugin.
fn may_be_env(path: &Path<'_>) -> bool {
    let is_in_env = matches!(path, Path::Key(of, _) if is_env(of));
    is_called_env(path) && !is_in_env && !is_plugin(path)
}

fn is_plugin(path: &Path<'_>) -> bool {
    match path {
        Path::Key(Path::Key(Path::Root, all), _) | Path::Index(Path::Key(Path::Root, all), _) => {
            is_plugins(all)
        }
        _ => false,
    }
}

fn is_called_env(path: &Path<'_>) -> bool {
    let is_it = |key: &str| ["env", "environment"].iter().any(|of| key.eq_ignore_ascii_case(of));
    matches!(path, Path::Key(_, key) if is_it(key))
}

/// The first name of a path, and what is below it. A name may hold what stands between two, so that one may be the
/// beginning of another.
fn first<'n, 'p>(
    names: impl Iterator<Item = (&'n str, &'n Node)> + Clone,
    parts: &'p [&'p str],
) -> Result<(String, &'p [&'p str]), Wrong> {
    let mut found: Vec<(usize, &str, &Node)> = Vec::new();
    for count in 1..=parts.len().min(MOST_JOINED) {
        let joined = parts[..count].join(BETWEEN);
        let same = names.clone().find(|(name, _)| is(name, &joined));
        found.extend(same.map(|(name, node)| (count, name, node)));
    }
    // Nothing is below a text.
    let may_lead = |&(count, _, node): &(usize, &str, &Node)| {
        count == parts.len() || matches!(node.value, Value::Map(_) | Value::List(_) | Value::Null)
    };
    if found.iter().any(may_lead) {
        found.retain(may_lead);
    }
    let count = match found[..] {
        [] => 1,
        [(count, ..)] => count,
        [(_, first, _), (_, second, _), ..] => return Err(several(first, second)),
    };
    let (name, rest) = parts.split_at(count);
    Ok((name.join(BETWEEN), rest))
}

/// The name of a variable of a program, which is all that follows but for where a secret is.
fn variable<'p>(env: &Node, parts: &'p [&'p str]) -> (String, &'p [&'p str]) {
    let whole = parts.join(BETWEEN);
    let is_there = match &env.value {
        Value::List(nodes) => {
            let mut names = nodes.iter().filter_map(|node| node.text()?.split_once('='));
            names.any(|(name, _)| name == whole)
        }
        _ => env.members().iter().any(|member| member.key == whole),
    };
    if is_there {
        return (whole, &[]);
    }
    let is_place = |part: &&str| ["env", "file"].iter().any(|key| key.eq_ignore_ascii_case(part));
    let has_place = parts.len() > 1 && parts.last().is_some_and(is_place);
    let (name, rest) = parts.split_at(parts.len() - usize::from(has_place));
    (name.join(BETWEEN), rest)
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
        [(_, first), (_, second), ..] => Err(several(first, second)),
    }
}

fn several(first: &str, second: &str) -> Wrong {
    let (first, second) = (Quoted(first), Quoted(second));
    (format!("leads to several: `{first}` and `{second}`; set it in the file, or rename one"), None)
}

/// Whether a part of a variable's name is a key, or the name of a plugin: in any case, and `_` for what a
/// variable cannot have.
fn is(name: &str, part: &str) -> bool {
    name.chars().count() == part.chars().count()
        && name.chars().zip(part.chars()).all(|(of, by)| {
            of.eq_ignore_ascii_case(&by) || (by == '_' && !of.is_ascii_alphanumeric())
        })
}
