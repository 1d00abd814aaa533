//! Where a rule was broken.

use crate::{
    config::{
        merge::find,
        names::is_same,
        value::{Flaw, Flaws, Member, Node, Place},
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
}

impl<'c> At<'c> {
    pub(crate) fn new(node: &'c Node, path: &'c str) -> Self {
        Self { node, path }
    }

    /// The value of a key, such as `outlier.interval`; if it is not written, what it would be written in.
    fn place(&self, key: &str) -> Place {
        let mut node = self.node;
        let mut place = &node.place;
        for part in key.split(['.', '[']) {
            let Some(Member { key_place, node: inner, .. }) = member(node, part) else { break };
            (node, place) = (inner, &inner.place);
            // A map begins at its key, as one sees it.
            if !inner.members().is_empty() {
                place = key_place;
            }
        }
        place.clone()
    }

    fn path(&self, key: &str) -> String {
        match (self.path, key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
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
        let flaw = Flaw::new(code, self.at.place(key), message).at(self.at.path(key));
        self.flaws.push(flaw.helped(help));
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

/// The mistakes in what `validate` of a part says: `part: `key` is 0, but ..; `other` is 1, but ..`.
fn mistakes(text: &str) -> Vec<(Option<&str>, String)> {
    let text = match text.split_once(": ") {
        Some((part, rest)) if !part.contains('`') => rest,
        _ => text,
    };
    let mut mistakes: Vec<(Option<&str>, String)> = Vec::new();
    for part in text.split("; ") {
        let named = part.strip_prefix('`').and_then(|part| part.split_once('`'));
        match (named, mistakes.last_mut()) {
            (Some((key, rest)), _) if is_key(key) => {
                let said = rest.trim_start().trim_start_matches(": ");
                let said = said.strip_prefix("is ").unwrap_or(said);
                mistakes.push((Some(key), said.to_owned()));
            }
            // What belongs to the one before it.
            (_, Some((Some(_), last))) if !part.starts_with('`') => {
                last.push_str("; ");
                last.push_str(part);
            }
            _ => mistakes.push((None, part.to_owned())),
        }
    }
    mistakes
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || "_.[]0123456789".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_says_is_one_mistake_for_each_key() {
        let text = "balance: `a_b` is 0, but must be at least 1; `c.d` is 9s, but must be less; or 1";
        assert_eq!(
            mistakes(text),
            [
                (Some("a_b"), "0, but must be at least 1".to_owned()),
                (Some("c.d"), "9s, but must be less; or 1".to_owned()),
            ]
        );
        assert_eq!(mistakes("auth: no"), [(None, "no".to_owned())]);
        assert_eq!(mistakes("`mtls` needs two"), [(Some("mtls"), "needs two".to_owned())]);
    }
}
