//! Where a rule was broken.

use std::{collections::HashSet, ptr};

use crate::{
    config::{
        merge::find,
        names::is_same,
        value::{Flaw, Flaws, Member, Node, Place, Value, write_key},
    },
    error::{Code, Error},
};

/// A plugin, or the whole file, while its rules are checked.
pub(crate) struct Checked<'c> {
    pub(crate) at: At<'c>,
    pub(crate) flaws: &'c mut Flaws,
}

/// A map of the file, and its path.
#[derive(Clone, Copy)]
pub(crate) struct At<'c> {
    pub(crate) node: &'c Node,
    pub(crate) path: &'c str,
    /// What was not read of it.
    left_out: Option<&'c HashSet<*const Node>>,
}

impl<'c> At<'c> {
    pub(crate) fn new(node: &'c Node, path: &'c str) -> Self {
        Self { node, path, left_out: None }
    }

    /// Of which these values were not read: the items of a list are counted without them.
    pub(crate) fn without(self, left_out: &'c HashSet<*const Node>) -> Self {
        Self { left_out: Some(left_out), ..self }
    }

    /// The place and the path of a key, such as `outlier.interval`, by the names that the file has for its
    /// parts. The place of a key that is not written is that of what it would be written in.
    fn resolve(&self, key: &str) -> (Place, String) {
        let (mut node, mut place) = (self.node, &self.node.place);
        let mut path = self.path.to_owned();
        let mut parts = key.split('.').filter(|part| !part.is_empty()).peekable();
        while let Some(part) = parts.peek() {
            // `endpoints[1]` is one part.
            let (name, index) = part.split_once('[').map_or((*part, None), |(name, index)| {
                (name, index.trim_end_matches(']').parse::<usize>().ok())
            });
            let Some(member) = member(node, name) else { break };
            node = &member.node;
            // A map begins at its key, as one sees it.
            place = if node.members().is_empty() { &node.place } else { &member.key_place };
            push(&mut path, &member.key);
            if let Some(index) = index {
                let (index, item) = self.item(node, index);
                path += &format!("[{index}]");
                if let Some(item) = item {
                    (node, place) = (item, &item.place);
                }
            }
            parts.next();
        }
        for part in parts {
            let index = part.find('[').filter(|_| part.ends_with(']')).unwrap_or(part.len());
            push(&mut path, &part[..index]);
            path.push_str(&part[index..]);
        }
        (place.clone(), path)
    }

    /// The item that was read as the one at `index`, and its index in the file.
    fn item(&self, list: &'c Node, index: usize) -> (usize, Option<&'c Node>) {
        let Value::List(nodes) = &list.value else { return (index, None) };
        let is_read =
            |node: &Node| !self.left_out.is_some_and(|out| out.contains(&ptr::from_ref(node)));
        let mut read = nodes.iter().enumerate().filter(|(_, node)| is_read(node));
        read.nth(index).map_or((index, None), |(index, node)| (index, Some(node)))
    }

    /// Whether the file has a key, such as `failover.timeout`.
    pub(crate) fn writes(&self, key: &str) -> bool {
        let inner = key.split('.').try_fold(self.node, |node, part| find(node, part));
        inner.is_some_and(|inner| inner.place != Place::Nowhere)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        find(self.node, key).is_some()
    }
}

fn push(path: &mut String, key: &str) {
    // A text takes all that is written.
    let _ = write_key(path, path.is_empty(), key);
}

fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Member> {
    node.members().iter().find(|member| is_same(&member.key, key))
}

impl Checked<'_> {
    /// A mistake at a key; an empty one is the whole.
    pub(crate) fn wrong(&mut self, key: &str, code: Code, message: impl Into<String>) {
        self.wrong_helped(key, code, message, None);
    }

    pub(crate) fn wrong_helped(
        &mut self,
        key: &str,
        code: Code,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
    ) {
        self.lacking(key, code, message, help, &[]);
    }

    /// A mistake that is none where one of the keys that are missing is there, and wrong.
    pub(crate) fn lacking(
        &mut self,
        key: &str,
        code: Code,
        message: impl Into<String>,
        help: impl Into<Option<String>>,
        missing: &[&str],
    ) {
        let (place, path) = self.at.resolve(key);
        // The number that is told is ours, not the one that stands there.
        let is_of_go = path.to_ascii_lowercase().ends_with("max_retries");
        let by_go = || is_of_go.then(|| "`attempts` is one more than `max_retries`".to_owned());
        let help = help.into().or_else(by_go);
        let missing: Vec<_> = missing.iter().map(|key| self.at.resolve(key).1).collect();
        self.flaws.lacks(Flaw::new(code, place, message).at(path).helped(help), missing);
    }

    /// The mistakes that a part names in its section, each at its key.
    pub(crate) fn section(&mut self, section: &str, checked: Result<(), Error>) {
        let Err(error) = checked else { return };
        for (key, message) in mistakes(error.what()) {
            let key = match (section, key) {
                (section, None) => section.to_owned(),
                ("", Some(key)) => key.to_owned(),
                (section, Some(key)) => format!("{section}.{key}"),
            };
            self.wrong(&key, error.code(), message);
        }
    }
}

/// What follows a key in the words of a part. In other words it is a value that is meant.
const SAYS: [&str; 6] = [" is ", " must ", " (", ": ", " holds ", " has one "];

/// The mistakes in what `validate` of a part says: `part: `key` is 0, but ..; `other` is 1, but ..`.
pub(crate) fn mistakes(text: &str) -> Vec<(Option<&str>, String)> {
    let text = match text.split_once(": ") {
        Some((part, rest)) if !part.contains('`') => rest,
        _ => text,
    };
    let mut mistakes: Vec<(Option<&str>, String)> = Vec::new();
    for part in text.split("; ") {
        let named = part.strip_prefix('`').and_then(|part| part.split_once('`'));
        match (named, mistakes.last_mut()) {
            (Some((key, rest)), _) if SAYS.iter().any(|says| rest.starts_with(says)) => {
                let said = rest.trim_start().trim_start_matches(": ");
                let said = said.strip_prefix("is ").unwrap_or(said);
                mistakes.push((Some(key), said.to_owned()));
            }
            // What belongs to the one before it.
            (_, Some((_, last))) => {
                last.push_str("; ");
                last.push_str(part);
            }
            _ => mistakes.push((None, part.to_owned())),
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_says_is_one_mistake_for_each_key() {
        let text =
            "balance: `a_b` is 0, but must be at least 1; `c.d` is 9s, but must be less; or 1";
        assert_eq!(
            mistakes(text),
            [
                (Some("a_b"), "0, but must be at least 1".to_owned()),
                (Some("c.d"), "9s, but must be less; or 1".to_owned()),
            ]
        );
        assert_eq!(mistakes("auth: no"), [(None, "no".to_owned())]);
        assert_eq!(mistakes("`mtls` needs two"), [(None, "`mtls` needs two".to_owned())]);
    }
}
