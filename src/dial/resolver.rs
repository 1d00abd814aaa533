//! Finds the addresses of a host.

use std::{
    borrow::Cow,
    io,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiFuture, GaiResolver, Name};
use tower_service::Service;

/// Asks the operating system, which also knows the zones of IPv6 addresses.
#[derive(Debug, Clone)]
pub(super) struct Resolver(GaiResolver);

impl Resolver {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = io::Error;
    type Future = GaiFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> GaiFuture {
        let name = match name.as_str().split_once("%25") {
            // In a URL, the `%` before a zone is written as RFC 6874 §2 asks. A name never holds one.
            Some((address, zone)) => format!("{address}%{zone}").parse().unwrap_or(name),
            None => name,
        };
        self.0.call(name)
    }
}

/// An authority without the zone of its IPv6 address, which means something on this machine alone and
/// is never sent (RFC 6874 §4).
pub(crate) fn without_zone(authority: &str) -> Cow<'_, str> {
    let zone = authority.starts_with('[').then(|| authority.find('%').zip(authority.find(']')));
    match zone.flatten() {
        Some((from, to)) if from < to => [&authority[..from], &authority[to..]].concat().into(),
        _ => authority.into(),
    }
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
