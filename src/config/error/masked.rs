//! Paths as they are shown.

use std::borrow::Cow;

use super::secret_keys::{At, Kind};
use crate::config::value::is_plugins;

/// A path of a file, without those of its keys that may be parts of secrets.
pub(super) fn masked(path: &str) -> Cow<'_, str> {
    let (mut at, mut shown) = (At::Open, None::<String>);
    let mut start = 0;
    for (index, part) in parts(path).enumerate() {
        let key = part.trim_start_matches(['.', '[', '"']).trim_end_matches(['"', ']']);
        let is_item = part.starts_with('[') && !part.starts_with("[\"");
        let kind = Kind::of(key);
        // The name of a plugin is no key.
        let is_plugin = index == 1 && is_plugins(&path[..start]);
        if !is_item && !is_plugin && at.hides(kind) {
            let shown = shown.get_or_insert_with(|| path[..start].to_owned());
            shown.push_str(".***");
        } else if let Some(shown) = &mut shown {
            shown.push_str(part);
        }
        at = match () {
            () if is_plugin => At::Open,
            () if is_item => at.item(),
            () => at.below(kind),
        };
        start += part.len();
    }
    shown.map_or(path.into(), Cow::Owned)
}

/// The parts of a path, each with what stands before its key.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match first {
            // In quotes, what they hold is escaped.
            '[' if rest[1..].starts_with('"') => quoted(&rest[2..]).map(|end| end + 4),
            _ => rest[first.len_utf8()..].find(['.', '[']).map(|end| end + first.len_utf8()),
        };
        let split = length.and_then(|length| rest.split_at_checked(length));
        let (part, left) = split.unwrap_or((rest, ""));
        rest = left;
        Some(part)
    })
}

/// Where the quotes end that `text` is in.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_shows_no_key_that_may_be_of_a_secret() {
        for (path, shown) in [
            ("plugins[2].auth.method", None),
            ("plugins.auth.token", None),
            ("plugins.token.labels.a", None),
            ("defaults.auth.headers.X-Key", None),
            ("plugins[0].env[\"A.B\"]", None),
            ("plugins[0].auth.token.env", None),
            ("plugins[0].auth.token.hunter2", Some("plugins[0].auth.token.***")),
            ("plugins[0].auth.token[\"a.b]\\\"\"].c[1]", Some("plugins[0].auth.token.***.***[1]")),
            ("plugins[0].env[3][\"A=hunter2\"]", Some("plugins[0].env[3].***")),
            ("plugins.é.env.A.hunter2", Some("plugins.é.env.A.***")),
            (
                "plugins.a.auth.headers.Authorization.hunter2",
                Some("plugins.a.auth.headers.Authorization.***"),
            ),
            ("", None),
        ] {
            assert_eq!(masked(path), shown.unwrap_or(path));
        }
    }
}
