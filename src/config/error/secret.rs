//! Which values are never shown.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::config::{
    nearest::is_slip,
    value::{Member, Node, Path, Place, Value},
};

/// Parts of the names of secrets, without what joins their words.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "privatekey",
    "credential",
    "username",
];

/// Sections in which every value is a secret: headers, variables of a program.
const SECTIONS: [&str; 5] = ["auth", "authorization", "headers", "env", "environment"];

/// Keys of `auth` that are none, and of budgets, whose tokens are others.
const OPEN: [&str; 5] = ["method", "allowplaintext", "enabled", "maxtokens", "tokenratio"];

/// Whether the value at a path is one that is never shown.
pub(crate) fn is_secret(path: &Path<'_>) -> bool {
    let is_below = path.any(&is_secret_key);
    match path {
        Path::Key(_, key) => is_below && !is_open(key),
        _ => is_below,
    }
}

/// Whether the value of a key is none, whatever it is in.
fn is_open(key: &str) -> bool {
    let key = folded(key);
    // Of the files with them, the names are no secrets.
    key.ends_with("file") || OPEN.contains(&&*key)
}

fn is_secret_key(key: &str) -> bool {
    let key = folded(key);
    // A slip in the name makes it no less a secret.
    let is_word = |word: &&str| key.contains(*word) || is_slip(&key, word);
    let is_section = SECTIONS.contains(&&*key);
    is_section || !key.ends_with("file") && WORDS.iter().any(is_word)
}

fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The places of all secrets of a file, in its order: values with such names, and users in addresses.
pub(super) fn places<'t>(root: &'t Node, text: &'t str) -> Vec<(usize, usize)> {
    let mut secrets = Secrets { text, places: Vec::new(), keys: HashMap::default() };
    secrets.collect(root, false, false);
    secrets.places.sort_unstable();
    secrets.places
}

struct Secrets<'t> {
    text: &'t str,
    places: Vec<(usize, usize)>,
    /// Whether a key is a secret one, and whether it is open: the plugins of a file have the same keys.
    keys: HashMap<&'t str, (bool, bool), RandomState>,
}

impl<'t> Secrets<'t> {
    /// Those of a value, which is in a secret section or not, and has an open key or not.
    fn collect(&mut self, node: &'t Node, is_below: bool, is_open: bool) {
        match &node.value {
            Value::List(nodes) => {
                nodes.iter().for_each(|node| self.collect(node, is_below, is_open));
            }
            Value::Map(members) => {
                for Member { key, node, .. } in members {
                    let known = self.keys.entry(key);
                    let of = *known.or_insert_with(|| (is_secret_key(key), self::is_open(key)));
                    self.collect(node, is_below || of.0, of.1);
                }
            }
            Value::Null | Value::Bool(_) => {}
            _ => {
                let Place::File { start, end } = node.place else { return };
                let (start, end) = (start as usize, end as usize);
                if is_below && !is_open {
                    self.places.push((start, end));
                } else if let Some(user) = self.text.get(start..end).and_then(user) {
                    self.places.push((start + user.start, start + user.end));
                }
            }
        }
    }
}

/// Where the user and the password of an address are: to the last `@`, since a password may hold anything.
fn user(written: &str) -> Option<std::ops::Range<usize>> {
    let start = written.find("://")? + 3;
    let end = start + written[start..].rfind('@')?;
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::{Format, Source, parse};

    #[test]
    fn secrets_are_known_by_their_names() {
        for key in ["password", "api_key", "apiKey", "X-Auth-Token", "client-secret", "pasword"] {
            assert!(is_secret(&Path::Root.key(key)), "{key}");
        }
        for key in ["name", "key_file", "token_file", "endpoint", "max_tokens", "method"] {
            assert!(!is_secret(&Path::Root.key(key)), "{key}");
        }
        for section in ["auth", "headers", "env"] {
            assert!(is_secret(&Path::Root.key(section).key("x")));
        }
        assert!(!is_secret(&Path::Root.key("auth").key("method")));
        assert!(!is_secret(&Path::Root.key("auth").key("cert_file")));
    }

    #[test]
    fn the_places_are_those_of_the_paths() {
        fn of_paths(node: &Node, path: &Path<'_>, places: &mut Vec<(usize, usize)>) {
            match &node.value {
                Value::List(nodes) => nodes.iter().for_each(|of| of_paths(of, path, places)),
                Value::Map(members) => {
                    members.iter().for_each(|of| of_paths(&of.node, &path.key(&of.key), places));
                }
                Value::Text(_) if is_secret(path) => {
                    let Place::File { start, end } = node.place else { panic!("{node:?}") };
                    places.push((start as usize, end as usize));
                }
                _ => {}
            }
        }
        let text = r#"{"auth": {"method": "basic", "token_file": "a", "x": ["b", {"method": "c"}],
            "y": {"z": "d"}}, "env": {"auth": {"enabled": "e"}}, "a": {"pasword": "f", "g": ["g"]}, "x": "h"}"#;
        let (root, _) = parse(&Source::new(text), Format::Json).unwrap();
        let mut expected = Vec::new();
        of_paths(&root, &Path::Root, &mut expected);
        assert_eq!(places(&root, text), expected);
        let shown: String = expected.iter().map(|(start, end)| &text[*start..*end]).collect();
        assert_eq!(shown, r#""b""d""f""#);
    }
}
