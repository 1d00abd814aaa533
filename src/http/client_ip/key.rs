use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName, Request, header::FORWARDED};

use super::fields::{address_in, entries_from_the_end};
use crate::{
    error::{Error, Kind},
    key::Key,
    wire::{Network, masked},
};

/// Key for `by_key` of limits and circuits: the address of the client, behind proxies that you trust.
///
/// The address of the connection is trusted. If it belongs to a trusted proxy, so is the address that
/// the proxy wrote at the end of `X-Forwarded-For`; if that belongs to a trusted proxy as well, the one
/// before it; and so on, up to the first address that is not a trusted proxy's. Whatever a client writes
/// into the field, its key stays its own address. An entry that is no address ends the search, and the
/// address before it is the key.
///
/// An IPv6 client usually owns a whole network, so all addresses of a /64 are one key. An IPv4 address
/// mapped into IPv6 is that IPv4 address. All requests without an address share one key.
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
///         .layer(AnswerLayer::new().with_fields("client", limit.clone()))
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

pub(in crate::http) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl<P> ClientIp<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    /// Creates a key that trusts no proxy.
    ///
    /// `peer` finds the address of the connection among the extensions of a request, where the server
    /// has put it.
    pub fn new(peer: P) -> Self {
        Self { peer, trusted: Arc::new([]), field: X_FORWARDED_FOR, v6_prefix: 64 }
    }

    /// Adds networks of trusted proxies, such as `10.0.0.0/8`, `fd00::/8` or `192.0.2.1`.
    ///
    /// Each of these proxies must write the field, and no client may have an address in these networks.
    /// An IPv4 network mapped into IPv6 is that IPv4 network: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names every text that is no
    /// network.
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

    /// Reads `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    ///
    /// Only one of the two is read: a proxy that writes one of them passes on what a client has put into
    /// the other.
    #[must_use]
    pub fn forwarded(self) -> Self {
        Self { field: FORWARDED, ..self }
    }

    /// Sets how many bits of an IPv6 address tell clients apart, at most 128. Default: 64.
    #[must_use]
    pub fn v6_prefix(self, bits: u8) -> Self {
        Self { v6_prefix: bits.min(128), ..self }
    }

    /// Returns the key of `request`: the address of its client or, with IPv6, of the client's network.
    ///
    /// A [handle](crate::limit::KeyedRateLimitHandle) finds the quota of a client by it.
    pub fn of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = self.peer(request.extensions())?;
        Some(self.grouped(self.walk(peer, request.headers())))
    }

    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let written = self.written_by_trusted(peer, headers);
        written.filter_map(|(_, address)| address).last().unwrap_or(peer)
    }

    /// The address of the connection, as the server has put it into the extensions.
    pub(in crate::http) fn peer(&self, extensions: &Extensions) -> Option<IpAddr> {
        (self.peer)(extensions).map(|peer| peer.to_canonical())
    }

    /// The entries that trusted proxies wrote, from the last, and the address in each. The first entry of
    /// another, or one that is no address, is the end.
    pub(in crate::http) fn written_by_trusted<'a>(
        &'a self,
        peer: IpAddr,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a [u8], Option<IpAddr>)> {
        let mut writer = Some(peer);
        entries_from_the_end(headers, &self.field).map_while(move |entry| {
            writer.take().filter(|writer| self.trusts(*writer))?;
            writer = address_in(entry, &self.field);
            Some((entry, writer))
        })
    }

    pub(in crate::http) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Whether the trusted proxies write `Forwarded`, and not `X-Forwarded-For`.
    pub(in crate::http) fn reads_forwarded(&self) -> bool {
        self.field == FORWARDED
    }

    fn grouped(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(masked(v6.to_bits(), self.v6_prefix).into()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    type Peer = fn(&Extensions) -> Option<IpAddr>;

    fn client() -> ClientIp<Peer> {
        let peer: Peer = |extensions| extensions.get::<IpAddr>().copied();
        ClientIp::new(peer).trust(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap()
    }

    fn request(peer: &str, name: HeaderName, lines: &[impl AsRef<[u8]>]) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(peer.parse::<IpAddr>().unwrap());
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_ref()).unwrap();
            request.headers_mut().append(name.clone(), value);
        }
        request
    }

    #[test]
    fn trusted_proxies_are_believed_one_after_the_other() {
        let of = |peer: &str, lines: &[&str]| {
            client().of(&request(peer, X_FORWARDED_FOR, lines)).unwrap().to_string()
        };
        assert_eq!(of("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(of("10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(of("10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(of("10.1.1.1", &["1.2.3.4, 203.0.113.9 ,10.9.9.9"]), "203.0.113.9");
        assert_eq!(of("10.1.1.1", &["1.2.3.4", "203.0.113.9", "10.9.9.9"]), "203.0.113.9");
        assert_eq!(of("192.0.2.7", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(of("192.0.2.8", &["203.0.113.9"]), "192.0.2.8");
        assert_eq!(of("fd00::1", &["[2001:db8:1:2:3::4]:80"]), "2001:db8:1:2::");
        assert_eq!(of("::ffff:10.1.1.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
        // What is no address ends the way.
        for nonsense in ["", "unknown", "1.2.3", "[::1", "[::1]x", "203.0.113.9.1:80"] {
            let line = format!("203.0.113.9, {nonsense}, 10.9.9.9");
            assert_eq!(of("10.1.1.1", &[&line]), "10.9.9.9", "{nonsense}");
        }
    }

    #[test]
    fn an_ipv4_network_in_an_ipv6_one_is_that_network() {
        let of = |network: &str, peer: &str| {
            let client = client().trust([network]).unwrap();
            client.of(&request(peer, X_FORWARDED_FOR, &["203.0.113.9"])).unwrap().to_string()
        };
        for peer in ["172.16.9.9", "::ffff:172.16.9.9"] {
            assert_eq!(of("::ffff:172.16.0.0/108", peer), "203.0.113.9");
            assert_eq!(of("::ffff:172.16.9.9", peer), "203.0.113.9");
            assert_eq!(of("::ffff:0:0/96", peer), "203.0.113.9");
            assert_eq!(of("::ffff:172.16.9.8", peer), "172.16.9.9");
            assert_eq!(of("::ffff:172.32.0.0/108", peer), "172.16.9.9");
        }
    }

    #[test]
    fn forwarded_is_read_instead_where_the_proxies_write_it() {
        let of = |line: &str| {
            let mut request = request("10.1.1.1", FORWARDED, &[line]);
            request.headers_mut().insert(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
            assert_eq!(client().of(&request).unwrap().to_string(), "6.6.6.6");
            client().forwarded().of(&request).unwrap().to_string()
        };
        assert_eq!(of("for=203.0.113.9"), "203.0.113.9");
        assert_eq!(of("For=\"[2001:db8:1:2::9]:4711\";proto=https"), "2001:db8:1:2::");
        assert_eq!(of("for=1.2.3.4, by=x;for=203.0.113.9, for=10.1.1.2"), "203.0.113.9");
        assert_eq!(of("for=1.2.3.4, for=203.0.113.9;host=\"a,b\""), "203.0.113.9");
        assert_eq!(of("for=\"1.2.3.4, for=203.0.113.9"), "203.0.113.9");
        for nonsense in ["for=unknown", "for=_hidden", "by=1.2.3.4", "for=1.2.3.4;for=5.6.7.8"] {
            assert_eq!(of(nonsense), "10.1.1.1", "{nonsense}");
        }
    }

    #[test]
    fn without_a_peer_there_is_no_address_and_mistakes_are_named() {
        assert_eq!(client().of(&Request::new(())), None);
        let mistakes = client().trust(["10.0.0.0/8", "10.0.0.0/33", "nowhere"]).unwrap_err();
        let text = mistakes.to_string();
        assert!(text.contains("10.0.0.0/33") && text.contains("nowhere"), "{text}");
        let mistakes = client().trust(["::ffff:10.0.0.0/8", "::ffff:10.0.0.0/95"]).unwrap_err();
        let text = mistakes.to_string();
        assert!(text.contains("/8`") && text.contains("/95`"), "{text}");
        let all = client().trust(["0.0.0.0/0"]).unwrap().v6_prefix(200);
        let walked = all.of(&request("1.1.1.1", X_FORWARDED_FOR, &["2001:db8::9, 2.2.2.2"]));
        assert_eq!(walked.unwrap().to_string(), "2001:db8::9");
    }

    proptest! {
        /// Whatever is in the fields, a client that is no trusted proxy has the quota of its own
        /// address: at once, or behind a proxy that adds the address to the line, or as a line.
        #[test]
        fn no_client_chooses_its_key(
            written in prop::collection::vec("[ -~\\x80-\\xff]{0,40}|([\",;= ]|for=|10\\.0\\.0\\.1|\\[::1\\]){0,8}", 0..4),
            own in any::<[u8; 4]>().prop_filter("no proxy", |own| own[0] != 10 && own != &[192, 0, 2, 7]),
            rfc_7239: bool,
            same_line: bool,
        ) {
            let own = IpAddr::from(own);
            let (name, entry, client) = if rfc_7239 {
                (FORWARDED, format!("for={own}"), client().forwarded())
            } else {
                (X_FORWARDED_FOR, own.to_string(), client())
            };
            let mut lines: Vec<Vec<u8>> = written.into_iter().map(String::into_bytes).collect();
            let direct = request(&own.to_string(), name.clone(), &lines);
            prop_assert_eq!(client.of(&direct), Some(own));
            match lines.last_mut() {
                Some(last) if same_line => last.extend(format!(", {entry}").into_bytes()),
                _ => lines.push(entry.into_bytes()),
            }
            prop_assert_eq!(client.of(&request("10.1.1.1", name, &lines)), Some(own));
        }
    }
}
