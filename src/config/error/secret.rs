//! Which values are never shown.

use crate::config::value::{Node, Path, Place, Value};

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

/// Sections in which every value is a secret: headers of `auth`, variables of a program.
const SECTIONS: [&str; 4] = ["headers", "env", "environment", "authorization"];

/// Whether the value of a key is one that is never shown.
pub(crate) fn is_secret(key: &str) -> bool {
    let key: String = key.chars().filter(|c| c.is_alphanumeric()).collect();
    let key = key.to_ascii_lowercase();
    // Of the files with them, the names are no secrets.
    !key.ends_with("file") && (WORDS.iter().any(|word| key.contains(word)) || SECTIONS.contains(&&*key))
}

/// The places of all secrets of a file, in its order.
pub(super) fn places(root: &Node) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    collect(root, &Path::Root, &mut places);
    places.sort_unstable();
    places
}

fn collect(node: &Node, path: &Path<'_>, places: &mut Vec<(usize, usize)>) {
    match &node.value {
        Value::List(nodes) => nodes.iter().for_each(|node| collect(node, path, places)),
        Value::Map(members) => {
            for member in members {
                collect(&member.node, &path.key(&member.key), places);
            }
        }
        Value::Null | Value::Bool(_) => {}
        _ => {
            if let (true, Place::File { start, end }) = (path.any(&is_secret), &node.place) {
                places.push((*start as usize, *end as usize));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for key in ["password", "api_key", "apiKey", "X-Auth-Token", "client-secret", "headers", "env"] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["name", "key_file", "token_file", "endpoint", "max_retries", "method"] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
