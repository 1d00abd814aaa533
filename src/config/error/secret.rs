//! Which values are never shown.

use crate::config::{
    nearest::is_slip,
    value::{Node, Path, Place, Value},
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
    let Path::Key(_, key) = path else { return path.any(&is_secret_key) };
    let key = folded(key);
    // Of the files with them, the names are no secrets.
    !key.ends_with("file") && !OPEN.contains(&&*key) && path.any(&is_secret_key)
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
pub(super) fn places(root: &Node, text: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    collect(root, &Path::Root, text, &mut places);
    places.sort_unstable();
    places
}

fn collect(node: &Node, path: &Path<'_>, text: &str, places: &mut Vec<(usize, usize)>) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| collect(node, path, text, places)),
        Value::Map(members) => {
            for member in members {
                collect(&member.node, &path.key(&member.key), text, places);
            }
        }
        Value::Null | Value::Bool(_) => {}
        _ => {
            let Place::File { start, end } = node.place else { return };
            let (start, end) = (start as usize, end as usize);
            if is_secret(path) {
                places.push((start, end));
            } else if let Some(user) = text.get(start..end).and_then(user) {
                places.push((start + user.start, start + user.end));
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
}
