//! Authorities, as they are sent.

use std::borrow::Cow;

/// An authority without the zone of its IPv6 address, which means something on this machine alone and
/// is never sent (RFC 6874 §4).
pub(crate) fn without_zone(authority: &str) -> Cow<'_, str> {
    let zone = authority.starts_with('[').then(|| authority.find('%').zip(authority.find(']')));
    match zone.flatten() {
        Some((from, to)) if from < to => [&authority[..from], &authority[to..]].concat().into(),
        _ => authority.into(),
    }
}

/// An authority as a `Host` has it: without a user name, and without a zone.
pub(crate) fn as_host(authority: &str) -> Cow<'_, str> {
    without_zone(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_not_sent() {
        for (authority, sent) in [
            ("[fe80::1%25eth0]:80", "[fe80::1]:80"),
            ("[fe80::1%eth0]", "[fe80::1]"),
            ("[::1]:80", "[::1]:80"),
            ("a%25b:80", "a%25b:80"),
            ("[::1]%25", "[::1]%25"),
        ] {
            assert_eq!(without_zone(authority), sent);
        }
    }
}
