//! Which values are never shown.

use std::{collections::HashMap, ops::Range};

use foldhash::fast::RandomState;

use super::secret_keys::{At, FREE, Kind, SECTIONS, folded, is_open, is_secret_key};
use crate::config::value::{Member, Node, Path, Place, Value, is_plugins};

/// Whether the value at a path is one that is never shown.
pub(crate) fn is_secret(path: &Path<'_>) -> bool {
    path.any(&is_secret_key) && !ends_open(path)
}

/// The same of a path in a file.
pub(crate) fn is_secret_of_file(path: &Path<'_>) -> bool {
    path.any_in_file(&is_secret_key) && !ends_open(path)
}

fn ends_open(path: &Path<'_>) -> bool {
    matches!(path, Path::Key(_, key) if is_open(key))
}

/// Whether what stands at a path is a section of secrets, and not one of them.
pub(crate) fn is_secrets(path: &Path<'_>) -> bool {
    let is_free = |key: &str| FREE.contains(&&*folded(key));
    match path {
        Path::Key(Path::Key(_, section), _) if is_free(section) => false,
        Path::Key(_, key) => SECTIONS.contains(&&*folded(key)),
        _ => false,
    }
}

/// The places of all secrets of a file, in its order: values with such names, and users in addresses.
pub(super) fn places<'t>(root: &'t Node, text: &'t str) -> Vec<(usize, usize)> {
    let mut secrets = Secrets { text, places: Vec::new(), keys: HashMap::default() };
    secrets.collect_all(root);
    secrets.places.sort_unstable();
    secrets.places
}

struct Secrets<'t> {
    text: &'t str,
    places: Vec<(usize, usize)>,
    /// What their keys are: the plugins of a file have the same.
    keys: HashMap<&'t str, Kind, RandomState>,
}

impl<'t> Secrets<'t> {
    /// Those of a file, in which the name of a plugin is no key.
    fn collect_all(&mut self, root: &'t Node) {
        if let Value::Map(members) = &root.value {
            for member in members {
                match &member.node.value {
                    Value::Map(plugins) if is_plugins(&member.key) => {
                        let plugins = plugins.iter().map(|plugin| &plugin.node);
                        plugins.for_each(|plugin| self.collect(plugin, At::Open, false));
                    }
                    _ => self.collect_member(member, At::Open),
                }
            }
        }
    }

    /// Those of a value, which is at a secret place or not, and has an open key or not.
    fn collect(&mut self, node: &'t Node, at: At, is_open: bool) {
        match &node.value {
            Value::List(nodes) => {
                nodes.iter().for_each(|node| self.collect(node, at.item(), is_open));
            }
            Value::Map(members) => {
                members.iter().for_each(|member| self.collect_member(member, at));
            }
            Value::Null | Value::Bool(_) => {}
            _ => {
                let Place::File { start, end } = node.place else { return };
                let (start, end) = (start as usize, end as usize);
                if at != At::Open && !is_open {
                    self.places.push((start, end));
                } else if let Some(user) = self.text.get(start..end).and_then(user) {
                    self.places.push((start + user.start, start + user.end));
                }
            }
        }
    }

    fn collect_member(&mut self, Member { key, key_place, node }: &'t Member, at: At) {
        let of = *self.keys.entry(key).or_insert_with(|| Kind::of(key));
        if let (true, Place::File { start, end }) = (at.hides(of), key_place) {
            self.places.push((*start as usize, *end as usize));
        }
        self.collect(node, at.below(of), of == Kind::Open);
    }
}

/// The words that a text says are secrets, as a comment does, or an argument: `# token: s3cret`, `--password=s3cret`.
pub(super) fn named(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let is_of_name = |c: char| c.is_alphanumeric() || "_-".contains(c);
    text.match_indices([':', '=']).filter_map(move |(at, _)| {
        let before = text[..at].trim_end_matches(['"', '\'', ' ']);
        let start = before.trim_end_matches(is_of_name).len();
        let name = &before[start..];
        // The members of a section are looked at themselves.
        if SECTIONS.contains(&&*folded(name)) || !is_secret_key(name) || is_open(name) {
            return None;
        }
        let rest = &text[at + 1..];
        let value = rest.trim_start_matches(['"', '\'', ' ', '\t']);
        let is_end = |c: char| c.is_whitespace() || "\"',{}[]".contains(c);
        let length = value.find(is_end).unwrap_or(value.len());
        let start = at + 1 + rest.len() - value.len();
        (length > 0).then_some(start..start + length)
    })
}

/// Where the user and the password of an address are: to the last `@`, since a password may hold anything.
fn user(written: &str) -> Option<Range<usize>> {
    let start = written.find("://")? + 3;
    let end = start + written[start..].rfind('@')?;
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::{super::masked::masked, *};
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
    fn what_a_text_says_is_a_secret_is_one() {
        for (text, secrets) in [
            ("a: 1 # token: s3cret, then", &["s3cret"][..]),
            ("[\"--password=s3cret\", \"--token=a,b\"]", &["s3cret", "a"]),
            ("x # 'api-key' = 's3cret' and Secret:s", &["s3cret", "s"]),
            ("auth: {method: bearer, token: {env: T}} # token_file: /a max_tokens: 5", &[]),
            ("token", &[]),
            ("token:", &[]),
            ("http://a:80/x?y=1 # é: ü", &[]),
        ] {
            let found: Vec<_> = named(text).map(|range| &text[range]).collect();
            assert_eq!(found, secrets, "{text}");
        }
    }

    #[test]
    fn a_section_of_secrets_is_none_of_them() {
        let plugins = Path::Root.key("plugins");
        let plugin = plugins.index(0);
        for section in ["auth", "headers", "env", "options.environment", "auth.headers"] {
            let is = |path: &Path<'_>| is_secrets(path);
            let found = match section.split_once('.') {
                Some((outer, inner)) => is(&plugin.key(outer).key(inner)),
                None => is(&plugin.key(section)),
            };
            assert!(found, "{section}");
        }
        for (section, of) in
            [("env", "AUTH"), ("headers", "Authorization"), ("env", "env"), ("auth", "token")]
        {
            assert!(!is_secrets(&plugin.key(section).key(of)), "{section}.{of}");
        }
    }

    #[test]
    fn the_places_are_those_of_the_paths() {
        fn of_paths(node: &Node, path: &Path<'_>, places: &mut Vec<(usize, usize)>) {
            match &node.value {
                Value::List(nodes) => nodes.iter().for_each(|of| of_paths(of, path, places)),
                Value::Map(members) => {
                    for Member { key, key_place, node } in members {
                        let path = path.key(key);
                        if masked(&path.to_string()).ends_with("***") {
                            let Place::File { start, end } = key_place else { panic!("{key}") };
                            places.push((*start as usize, *end as usize));
                        }
                        of_paths(node, &path, places);
                    }
                }
                Value::Text(_) if is_secret_of_file(path) => {
                    let Place::File { start, end } = node.place else { panic!("{node:?}") };
                    places.push((start as usize, end as usize));
                }
                _ => {}
            }
        }
        let text = r#"{"auth": {"method": "basic", "token_file": "a", "x": ["b", {"method": "c"}],
            "y": {"z": "d"}}, "env": {"auth": {"enabled": "e"}}, "a": {"pasword": "f", "g": ["g"], "token": {"n": {"env": null}, "k": null}}, "x": "h",
            "Plugins": {"auth": {"endpoint": "i", "Auth": {"token": "j"}}, "b": "k"}}"#;
        let root = parse(&Source::new(text), Format::Json).unwrap();
        let mut expected = Vec::new();
        of_paths(&root, &Path::Root, &mut expected);
        assert_eq!(places(&root, text), expected);
        let shown: String = expected.iter().map(|(start, end)| &text[*start..*end]).collect();
        assert_eq!(shown, r#""b""z""d""f""n""k""j""#);
    }
}
