use std::{
    fmt,
    hash::{Hash, Hasher},
    net::Ipv6Addr,
    str::FromStr,
    sync::Arc,
};

use super::{
    parse::{Parts, parse},
    unix::{over_socket, socket_of, unix_url},
};
use crate::error::{Error, Kind, Quoted};

/// Parsed address: `scheme://host:port/path`, `host:port`, `unix:/path`, `exec:/path` of a program, or HTTP
/// or gRPC over a Unix socket: `http+unix://%2Frun%2Ftax.sock/path` and `grpc+unix://%2Frun%2Ftax.sock`, with
/// the path of the socket in place of the host, percent-encoded.
///
/// A host is a name, an IPv4 address or a bracketed IPv6 address (RFC 3986 §3.2.2), which may have a
/// zone, as in `http://[fe80::1%25eth0]:80` (RFC 6874). A path may contain what RFC 3986 §3.3 allows.
///
/// Two addresses are equal if they lead to the same place, however they are written: schemes and hosts
/// are compared without case, an address without a scheme is one of HTTP, the ports of `http` and
/// `https` need not be written, and a path of `/` equals an empty one (RFC 3986 §6.2).
///
/// # Errors
/// Parsing fails with `InvalidConfig` for anything else, and for user names, queries and fragments: a
/// user name could be a secret in a log, the others have no meaning here.
///
/// # Bounds
/// An address has at most 2,048 bytes.
///
/// # Example
/// ```
/// use tower_upstream::endpoint::Address;
///
/// let address: Address = "http://[::1]:8080/api/".parse()?;
/// assert_eq!(address.scheme(), Some("http"));
/// assert_eq!(address.authority(), "[::1]:8080");
/// assert_eq!((address.host(), address.port()), ("::1", Some(8080)));
/// assert_eq!(address.path(), "/api/");
/// assert_eq!("a.example:80".parse::<Address>()?, "http://A.example/".parse()?);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Address {
    text: Arc<str>,
    /// The same for all texts that lead to the same place.
    canonical: Arc<str>,
    parts: Parts,
}

impl Address {
    fn new(text: &str, parts: Parts) -> Self {
        let text: Arc<str> = text.into();
        let mut address = Self { canonical: text.clone(), text, parts };
        let canonical = canonical(&address);
        // Most are written in this form, and then there is one text.
        if *canonical != *address.text {
            address.canonical = canonical.into();
        }
        address
    }

    pub(super) fn shared(&self) -> &Arc<str> {
        &self.text
    }

    pub(super) fn canonical(&self) -> &Arc<str> {
        &self.canonical
    }

    /// Returns the whole text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the scheme, such as `http`, or `None` for `host:port`.
    pub fn scheme(&self) -> Option<&str> {
        self.text.split_once(':').filter(|_| self.parts.authority.0 > 0).map(|(scheme, _)| scheme)
    }

    /// Returns host and port as they were written. Empty for `unix:` and `exec:`.
    pub fn authority(&self) -> &str {
        let (start, end) = self.parts.authority;
        &self.text[start..end]
    }

    /// Returns the host, without the brackets of an IPv6 address. A zone is part of it, as it was written.
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        }
    }

    /// Returns the path of the socket of an `http+unix` or `grpc+unix` address.
    ///
    /// ```
    /// use tower_upstream::endpoint::Address;
    /// let address: Address = "http+unix://%2Frun%2Ftax.sock/rpc".parse()?;
    /// assert_eq!(address.socket_path().as_deref(), Some("/run/tax.sock"));
    /// assert_eq!(address.path(), "/rpc");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn socket_path(&self) -> Option<String> {
        self.scheme().and_then(over_socket)?;
        socket_of(self.host()).ok()
    }

    /// Returns the port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The port that is meant if none is written: that of its scheme.
    pub(crate) fn default_port(&self) -> Option<u16> {
        let scheme = self.scheme()?;
        let known = [("http", 80), ("https", 443)].into_iter();
        known.filter(|(of, _)| scheme.eq_ignore_ascii_case(of)).map(|(_, port)| port).next()
    }

    /// Returns what follows the authority. Empty if nothing does.
    pub fn path(&self) -> &str {
        &self.text[self.parts.authority.1..]
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = parse(text).map_err(|problem| {
            // Only a short, printable part, since the text may come from anywhere; and nothing
            // before an `@`, since it may be a secret.
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
            let shown = Quoted(shown);
            Error::not_sent(Kind::InvalidConfig).message(format!(
                "cannot use the address `{shown}`: {problem}; write `http://host:port/path`, \
                 `host:port`, `unix:/path` or `exec:/path`"
            ))
        })?;
        Ok(Self::new(text, parts))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
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

/// HTTP has no scheme in it, since that is what an address without one means.
fn canonical(address: &Address) -> String {
    let path = match address.path() {
        "/" => "",
        path => path,
    };
    let scheme = address.scheme().and_then(over_socket);
    if let (Some(scheme), Some(socket)) = (scheme, address.socket_path()) {
        return format!("{}{path}", unix_url(scheme, &socket));
    }
    // The names of interfaces are kept as they are: on some systems their case matters.
    let (host, zone) = match address.host().split_once("%25") {
        Some((host, zone)) => (host, format!("%25{zone}")),
        None => (address.host(), String::new()),
    };
    let host = match host.parse::<Ipv6Addr>() {
        Ok(host) => format!("[{host}{zone}]"),
        Err(_) => host.to_ascii_lowercase(),
    };
    if host.is_empty() {
        let scheme = address.scheme().unwrap_or_default();
        return format!("{scheme}:{path}");
    }
    let scheme = address.scheme().map_or("http".to_owned(), str::to_ascii_lowercase);
    let port = address.port().or_else(|| address.default_port());
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    match scheme.as_str() {
        "http" => format!("{host}{port}{path}"),
        scheme => format!("{scheme}://{host}{port}{path}"),
    }
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
            ("http://[fe80::1%25]:80", "no zone"),
            ("http://[fe80::1%25e%2f]:80", "no zone"),
            ("http://[fe80::1%eth0]:80", "IPv6"),
            ("http://a b/", "host"),
            ("http://a/x y", "percent-encoded"),
            ("http://a/%zz", "hexadecimal"),
            ("http://a/?q=1", "query"),
            ("ht tp://a", "scheme"),
            ("unix:relative", "absolute"),
            ("exec:relative", "absolute"),
            ("exec://host/path", "absolute"),
            ("http+unix://run/x", "absolute"),
            ("http+unix:///run/x", "absolute"),
            ("http+unix://%2Frun:80", "percent-encoded"),
            ("http+unix://%2", "hexadecimal"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
        assert!("x".repeat(4_000).parse::<Address>().unwrap_err().to_string().len() < 400);
    }

    #[test]
    fn parts_are_found() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(address("10.0.0.1:80").scheme(), None);
        assert_eq!(address("10.0.0.1:80").host(), "10.0.0.1");
        assert_eq!(address("grpc+tls://a.b-c_d").port(), None);
        assert_eq!(address("unix:///run/p.sock").path(), "/run/p.sock");
        assert_eq!(address("unix:/run/p.sock").scheme(), Some("unix"));
        let program = address("exec:///opt/tax/bin/tax");
        assert_eq!((program.scheme(), program.path()), (Some("exec"), "/opt/tax/bin/tax"));
        assert_eq!(program, address("exec:/opt/tax/bin/tax"));
        assert_ne!(program, address("unix:/opt/tax/bin/tax"));
        assert_eq!(address("http://a/b%20c").path(), "/b%20c");
        let zoned = address("http://[fe80::1%25eth0]:80/b");
        assert_eq!((zoned.host(), zoned.port()), ("fe80::1%25eth0", Some(80)));
        assert_eq!(zoned.authority(), "[fe80::1%25eth0]:80");
    }

    #[test]
    fn a_socket_of_http_is_one_place_however_it_is_written() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let usual = address("http+unix://%2Frun%2Ftax.sock/rpc");
        assert_eq!(usual.to_string(), "http+unix://%2Frun%2Ftax.sock/rpc");
        assert_eq!((usual.path(), usual.port()), ("/rpc", None));
        assert_eq!(usual, address("HTTP+unix://%2frun%2ftax%2Esock/rpc"));
        for other in [
            "http+unix://%2Frun%2FTax.sock/rpc",
            "grpc+unix://%2Frun%2Ftax.sock/rpc",
            "http+unix://%2Frun%2Ftax.sock",
            "unix:/run/tax.sock",
        ] {
            assert_ne!(usual, address(other));
        }
        assert_eq!(address("http+unix://%2Fa"), address("http+unix://%2Fa/"));
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
