//! What discovery says of one instance of an upstream.

use std::{collections::BTreeMap, fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use crate::error::{Error, Kind};

/// Longest address that is accepted, in bytes.
const MAX_ADDRESS: usize = 2_048;

/// One instance of an upstream, as discovery reports it.
///
/// Identified by its [`key`](Self::key), which is its address unless
/// [`with_key`](Self::with_key) says otherwise. What may be wrong with an address is refused when
/// the endpoint is made; nothing that uses one has to check again.
///
/// # Example
/// ```
/// use tower_upstream::Endpoint;
///
/// let endpoint: Endpoint = "http://10.0.0.1:8080/plugins".parse()?;
/// let endpoint = endpoint.with_key("tax-1").with_weight(3).with_tag("blue");
/// assert_eq!(endpoint.address().host(), "10.0.0.1");
/// assert_eq!(endpoint.key(), "tax-1");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    key: Arc<str>,
    address: Address,
    weight: u32,
    priority: u32,
    locality: Locality,
    tags: Vec<String>,
    metadata: BTreeMap<String, String>,
    status: Status,
    draining: bool,
}

/// Where an endpoint is. Empty parts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Such as `eu-west-1`.
    pub region: String,
    /// Such as `eu-west-1a`.
    pub zone: String,
    /// A part of a zone, such as a rack.
    pub sub_zone: String,
}

/// What the source of an endpoint thinks of its health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The source does not say. Used like `Passing`.
    #[default]
    Unknown,
    /// All well.
    Passing,
    /// Usable, but only where no endpoint of the same priority is better.
    Warning,
    /// Not to be used, except in a panic.
    Critical,
}

impl Endpoint {
    /// An endpoint at `address`, whose key is the address.
    ///
    /// # Errors
    /// `InvalidConfig`, with what is wrong, if the address cannot be used. See [`Address`].
    pub fn new(address: impl AsRef<str>) -> Result<Self, Error> {
        let address: Address = address.as_ref().parse()?;
        Ok(Self {
            key: address.text.clone(),
            address,
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            status: Status::default(),
            draining: false,
        })
    }

    /// Sets the identity: what stays the same while everything else may change.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the share of the load, relative to the others. Default 1. An endpoint of weight 0 gets
    /// none, unless all have weight 0.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the priority. Default 0. A lower one is used first; a higher one only while no lower
    /// one can be.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Says where the endpoint is.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.locality = locality;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a pair of metadata, or replaces the value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets what the source thinks of its health.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// A draining endpoint finishes the calls it has and gets no new ones.
    #[must_use]
    pub fn with_draining(mut self, draining: bool) -> Self {
        self.draining = draining;
        self
    }

    /// The identity.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    /// Where to reach it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its share of the load, relative to the others.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Lower is used first.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Where it is.
    pub fn locality(&self) -> &Locality {
        &self.locality
    }

    /// Its tags, in the order in which they were given.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Its metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What the source thinks of its health.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether it should get no new calls.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = Error;

    fn try_from(address: &str) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(address: String) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = Error;

    fn try_from(address: &String) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<std::net::SocketAddr> for Endpoint {
    type Error = Error;

    fn try_from(address: std::net::SocketAddr) -> Result<Self, Error> {
        Self::new(address.to_string())
    }
}

/// An address that was parsed: `scheme://host:port/path`, `host:port`, or `unix:/path`.
///
/// A host is a name, an IPv4 address or a bracketed IPv6 address (RFC 3986 §3.2.2). A path may
/// hold what RFC 3986 §3.3 allows in one. User names, queries and fragments are refused: the first
/// would be a secret in a log, the others mean nothing here.
///
/// # Example
/// ```
/// use tower_upstream::Address;
///
/// let address: Address = "http://[::1]:8080/api/".parse()?;
/// assert_eq!(address.scheme(), Some("http"));
/// assert_eq!(address.authority(), "[::1]:8080");
/// assert_eq!((address.host(), address.port()), ("::1", Some(8080)));
/// assert_eq!(address.path(), "/api/");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Arc<str>,
    /// Where the authority starts (0 without a scheme) and ends in `text`.
    authority: (usize, usize),
    port: Option<u16>,
}

impl Address {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Such as `http`; `None` for `host:port`.
    pub fn scheme(&self) -> Option<&str> {
        self.text.split_once(':').filter(|_| self.authority.0 > 0).map(|(scheme, _)| scheme)
    }

    /// Host and port as they were written; empty for `unix:`.
    pub fn authority(&self) -> &str {
        &self.text[self.authority.0..self.authority.1]
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        }
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// What follows the authority; empty if nothing does.
    pub fn path(&self) -> &str {
        &self.text[self.authority.1..]
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|problem| {
            // Only a short, printable part, since the text may come from anywhere; and nothing
            // before an `@`, since it may be a secret.
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            let shown: String = shown.escape_debug().take(64).collect();
            Error::unsent(Kind::InvalidConfig).message(format!(
                "cannot use the address `{shown}`: {problem}; write `http://host:port/path`, \
                 `host:port` or `unix:/path`"
            ))
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A URL as it may be shown: without what stands before an `@`, since it may be a secret.
#[cfg(feature = "http")]
pub(crate) fn without_user(url: &str) -> std::borrow::Cow<'_, str> {
    let Some((user, host)) = url.rsplit_once('@') else {
        return url.into();
    };
    // To the last `@`, wherever it is: a password may hold anything, if by mistake.
    let scheme = user.find("://").map_or("", |at| &user[..at + 3]);
    format!("{scheme}…@{host}").into()
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > MAX_ADDRESS {
        return Err("it is longer than 2048 bytes");
    }
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.contains('\0') {
            return Err("a socket path must be absolute");
        }
        let start = text.len() - path.len();
        return Ok(Address { text: text.into(), authority: (start, start), port: None });
    }
    let start = match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + 3,
        Some(_) => return Err("its scheme is not a word of letters, digits, `+`, `-` and `.`"),
        None => 0,
    };
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    let port = parse_authority(&text[start..end])?;
    if start == 0 && port.is_none() {
        return Err("it has neither a scheme nor a port");
    }
    check_path(&text[end..])?;
    Ok(Address { text: text.into(), authority: (start, end), port })
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn parse_authority(authority: &str) -> Result<Option<u16>, &'static str> {
    if authority.contains('@') {
        return Err("it holds a user name; credentials do not belong in an address");
    }
    let port = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a `]` is missing")?;
        host.parse::<Ipv6Addr>().map_err(|_| "between `[` and `]` stands no IPv6 address")?;
        match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or("after `]` only a port may follow")?),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if host.is_empty() {
            return Err("it has no host");
        }
        if host.len() > 253
            || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        {
            return Err("its host is no name of letters, digits, `-`, `.` and `_`");
        }
        port
    };
    match port {
        None => Ok(None),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) => Err("port 0 cannot be reached"),
            Ok(port) => Ok(Some(port)),
            Err(_) => Err("its port is not a number from 1 to 65535"),
        },
        Some(_) => Err("its port is not a number from 1 to 65535"),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let bytes = path.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        let escaped = || {
            bytes.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        };
        match byte {
            b'?' | b'#' => return Err("it has a query or a fragment"),
            b'%' if !escaped() => return Err("a `%` must be followed by two hexadecimal digits"),
            b'%' => {}
            _ if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) => {}
            _ => return Err("its path holds a character that must be percent-encoded"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_reason() {
        for (text, part) in [
            ("", "empty"),
            ("http://", "no host"),
            ("localhost", "neither a scheme nor a port"),
            ("http://a:0", "port 0"),
            ("http://a:99999", "1 to 65535"),
            ("http://a:+80", "1 to 65535"),
            ("http://user:secret@a", "user name"),
            ("http://[::1", "`]`"),
            ("http://[nonsense]:80", "IPv6"),
            ("http://[::1]80", "only a port"),
            ("http://a b/", "host"),
            ("http://a/x y", "percent-encoded"),
            ("http://a/%zz", "hexadecimal"),
            ("http://a/?q=1", "query"),
            ("ht tp://a", "scheme"),
            ("unix:relative", "absolute"),
        ] {
            let error = Endpoint::new(text).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!(Endpoint::new("x".repeat(4_000)).unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn parts_are_found() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(address("10.0.0.1:80").scheme(), None);
        assert_eq!(address("10.0.0.1:80").host(), "10.0.0.1");
        assert_eq!(address("grpc+tls://a.b-c_d").port(), None);
        assert_eq!(address("unix:///run/p.sock").path(), "/run/p.sock");
        assert_eq!(address("unix:/run/p.sock").scheme(), Some("unix"));
        assert_eq!(address("http://a/b%20c").path(), "/b%20c");
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_shown_url_has_no_user() {
        for (url, shown) in [
            ("http://user:secret@a/b", "http://…@a/b"),
            ("http://user:se/cr@et@a/b", "http://…@a/b"),
            ("user:secret@a/b", "…@a/b"),
            ("http://a:1/b", "http://a:1/b"),
            ("/health", "/health"),
            ("", ""),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_parses_stays_itself(text in "\\PC{0,40}|[a-z]{1,4}://[\\[\\]a-z0-9:.%/@-]{0,30}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.as_str(), &text);
                let _ = (address.host(), address.path(), address.scheme());
            }
        }
    }
}
