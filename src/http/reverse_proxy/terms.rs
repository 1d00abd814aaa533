use std::{fmt, net::IpAddr, sync::Arc};

use http::{Extensions, HeaderMap, Request, Uri, header::HOST, uri::Scheme};

use super::{
    forwarded::{self, Earlier, MAX_PROXIES, Received},
    hop_by_hop::strip_request,
    via,
};
use crate::{http::ClientIp, wire::as_host};

/// What a [`ReverseProxyLayer`](super::ReverseProxyLayer) was told, and its services go by.
#[derive(Clone)]
pub(super) struct Terms<P> {
    pub(super) client: ClientIp<P>,
    pub(super) scheme: Scheme,
    pub(super) via: Option<Arc<str>>,
}

impl<P> Terms<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    /// Turns a request as a client sent it into one as this proxy sends it.
    pub(super) fn forward<B>(&self, request: &mut Request<B>) {
        let version = request.version();
        let from = self.client.peer(request.extensions());
        let earlier = from.and_then(|peer| self.earlier(peer, request.headers()));
        let host = host(request.uri(), request.headers());
        let received = Received { from, host: host.as_deref(), proto: self.scheme.as_str() };
        let headers = request.headers_mut();
        strip_request(headers);
        forwarded::write(headers, received, earlier.as_ref());
        if let Some(name) = &self.via {
            via::add(headers, name, version);
        }
    }

    /// What a trusted peer wrote, and what trusted proxies before it wrote.
    fn earlier(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Earlier> {
        if !self.client.trusts(peer) {
            return None;
        }
        let written = self.client.written_by_trusted(peer, headers).take(MAX_PROXIES);
        let mut entries: Vec<_> = written
            .map(|(entry, address)| (String::from_utf8_lossy(entry).trim().to_owned(), address))
            .collect();
        entries.reverse();
        Some(Earlier { entries, are_elements: self.client.reads_forwarded() })
    }
}

impl<P> fmt::Debug for Terms<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("client", &self.client)
            .field("scheme", &self.scheme)
            .field("via", &self.via)
            .finish()
    }
}

/// The host that the client asked for (RFC 9112 §3.2.2).
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    match uri.authority() {
        Some(authority) => Some(as_host(authority.as_str()).into_owned()),
        None => Some(headers.get(HOST)?.to_str().ok()?.to_owned()),
    }
}
