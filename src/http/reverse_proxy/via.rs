//! The proxies that a message came through.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Version, header::VIA};

/// A name without what `Via` cannot hold (RFC 9110 §7.6.3); `None` if nothing is left.
pub(super) fn bare(name: &str) -> Option<Arc<str>> {
    let fits = |c: &char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:[]".contains(*c);
    let bare: String = name.chars().filter(fits).collect();
    (!bare.is_empty()).then(|| bare.into())
}

/// Adds the name of this proxy, and the version in which the message came to it.
pub(super) fn add(headers: &mut HeaderMap, name: &str, received: Version) {
    let version = match received {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    if let Ok(value) = HeaderValue::try_from(format!("{version} {name}")) {
        // A line of its own is the next entry of the list.
        headers.append(VIA, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_proxy_is_one_entry() {
        let mut headers = HeaderMap::new();
        add(&mut headers, "a", Version::HTTP_10);
        add(&mut headers, "b", Version::HTTP_2);
        let all: Vec<_> = headers.get_all(VIA).into_iter().collect();
        assert_eq!(all, ["1.0 a", "2 b"]);
    }

    #[test]
    fn a_name_holds_what_a_field_can_hold() {
        assert_eq!(bare("a b(c)\r\n, d:80").as_deref(), Some("abcd:80"));
        assert_eq!(bare(" ,\"é"), None);
    }
}
