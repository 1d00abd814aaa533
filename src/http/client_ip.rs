use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName, Request, header::FORWARDED};

use crate::{
    error::{Error, Kind},
    key::Key,
};

/// A key for `by_key`: the address of the client, behind proxies that are trusted.
///
/// The address of the connection is believed. If it is one of a proxy that you trust, so is the
/// address that the proxy wrote at the end of `X-Forwarded-For`; if that is one of a proxy that you
/// trust, the one before it; and so on, up to the first address that is not a trusted proxy's. So a
/// client behind trusted proxies, or behind none, can write into the field what it likes: the quota
/// stays that of its own address. What is no address ends the way there: the last good one counts.
///
/// IPv6 clients own whole networks, so a /64 is one client; an IPv4 address in an IPv6 one is that
/// IPv4 address. Calls whose address is not known share a quota.
///
/// # Example
/// With axum, served with `into_make_service_with_connect_info::<SocketAddr>()`:
/// ```
/// use std::net::SocketAddr;
/// use axum::{Router, extract::ConnectInfo};
/// use tower::ServiceBuilder;
/// use tower_upstream::{Quota, RateLimitLayer, http::{AnswerLayer, ClientIp}};
///
/// let client = ClientIp::new(|request| {
///     request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
/// });
/// let limit = RateLimitLayer::new(Quota::per_minute(600))
///     .by_key(client.trust(["10.0.0.0/8", "fd00::/8"])?);
/// let app: Router = Router::new().layer(
///     ServiceBuilder::new()
///         .layer(AnswerLayer::with_fields("client", limit.clone()))
///         .layer(limit),
/// );
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientIp<P> {
    peer: P,
    trusted: Arc<[Network]>,
    field: HeaderName,
    v6_prefix: u8,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl<P> ClientIp<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    /// Trusts no proxy. `peer` finds the address of the connection among the extensions of a
    /// request, where the server has put it.
    pub fn new(peer: P) -> Self {
        Self { peer, trusted: Arc::new([]), field: X_FORWARDED_FOR, v6_prefix: 64 }
    }

    /// Also trusts the proxies of these networks, such as `10.0.0.0/8`, `fd00::/8` or `192.0.2.1`.
    ///
    /// The IPv4 addresses in IPv6 ones are IPv4 addresses here, too: `::ffff:10.0.0.0/104` is
    /// `10.0.0.0/8`.
    ///
    /// Each of them must write the field, and no client may have an address among them.
    ///
    /// # Errors
    /// `InvalidConfig` that names everything that is no network.
    pub fn trust<T: AsRef<str>>(
        mut self,
        networks: impl IntoIterator<Item = T>,
    ) -> Result<Self, Error> {
        let mut trusted = self.trusted.to_vec();
        let mut mistakes = Vec::new();
        for text in networks {
            match Network::parse(text.as_ref()) {
                Some(network) => trusted.push(network),
                None => mistakes.push(format!("`{}`", text.as_ref())),
            }
        }
        if !mistakes.is_empty() {
            let text = format!(
                "no networks such as `10.0.0.0/8` or `::ffff:10.0.0.0/104`: {}",
                mistakes.join(", ")
            );
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        self.trusted = trusted.into();
        Ok(self)
    }

    /// The proxies write `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    ///
    /// Only one of the two is ever looked at: a proxy that writes the one passes on what a client
    /// has put into the other.
    #[must_use]
    pub fn forwarded(self) -> Self {
        Self { field: FORWARDED, ..self }
    }

    /// How many bits of an IPv6 address tell clients apart. Default 64, at most 128.
    #[must_use]
    pub fn v6_prefix(self, bits: u8) -> Self {
        Self { v6_prefix: bits.min(128), ..self }
    }

    /// The address that counts for `request`: that of the client, or of its network with IPv6. This
    /// is what to ask a [handle](crate::limit::KeyedRateLimitHandle) for.
    pub fn of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = (self.peer)(request.extensions())?;
        Some(self.grouped(self.walk(peer.to_canonical(), request.headers())))
    }

    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let rfc_7239 = self.field == FORWARDED;
        let lines = headers.get_all(&self.field).into_iter();
        // The lines are one list, and its end is what the last proxy wrote.
        let mut entries =
            lines.rev().flat_map(|line| FromTheEnd { rest: Some(line.as_bytes()), rfc_7239 });
        let mut client = peer;
        while self.trusted.iter().any(|network| network.contains(client)) {
            let written = entries.next().and_then(|entry| {
                let entry = std::str::from_utf8(entry).ok()?;
                address(if rfc_7239 { for_of(entry)? } else { entry.trim() })
            });
            match written {
                Some(before) => client = before,
                None => break,
            }
        }
        client
    }

    fn grouped(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(first(v6.to_bits(), self.v6_prefix))),
        }
    }
}

impl<P, B> Key<Request<B>> for ClientIp<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    fn hash<H: Hasher>(&self, request: &Request<B>, hasher: &mut H) {
        self.of(request).hash(hasher);
    }
}

impl<P> fmt::Debug for ClientIp<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIp")
            .field("trusted", &self.trusted)
            .field("field", &self.field)
            .field("v6_prefix", &self.v6_prefix)
            .finish_non_exhaustive()
    }
}

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().ok()?;
        // As addresses are when they are looked for. The bits before an IPv4 one are no part of it.
        let address = written.to_canonical();
        let before = if address == written { 0 } else { 96 };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.checked_sub(before))?;
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let first = |v4: Ipv4Addr| first(u128::from(v4.to_bits()) << 96, self.bits);
                first(own) == first(other)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                first(own.to_bits(), self.bits) == first(other.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

/// The first so many bits, and zeros.
fn first(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// The entries of a list from its end, where the proxy has written, to its beginning, where anybody
/// may have: so what is there cannot change how the end is read.
struct FromTheEnd<'a> {
    rest: Option<&'a [u8]>,
    /// Whether there may be commas in quotes.
    rfc_7239: bool,
}

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            match byte {
                b'"' if self.rfc_7239 => quoted = !quoted,
                b',' if !quoted => {
                    self.rest = Some(&rest[..index]);
                    return Some(&rest[index + 1..]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// The value of `for` in an element of `Forwarded`, without its quotes. An address needs no
/// semicolon and no escape in it.
fn for_of(element: &str) -> Option<&str> {
    let mut values = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, with or without a port: `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(v6) => {
            let (v6, port) = v6.split_once(']')?;
            let ends = port.is_empty() || port.starts_with(':');
            IpAddr::V6(v6.parse().ok().filter(|_| ends)?)
        }
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => IpAddr::V4(text.split_once(':')?.0.parse().ok()?),
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
#[path = "client_ip_tests.rs"]
mod tests;
