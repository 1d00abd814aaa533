//! Resolves the addresses of a host.

use std::{
    io,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiFuture, GaiResolver, Name};
use tower_service::Service;

/// Resolver of the operating system, which also knows the zones of IPv6 addresses.
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
