//! Rewrites requests for a member.

use std::{mem, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{COOKIE, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};

use super::path::has_dot_segment;
use crate::{
    endpoint::Address,
    error::{BoxError, Error, Kind},
    wire::as_host,
};

#[derive(Debug)]
pub(super) struct Target {
    pub(super) key: Arc<str>,
    /// `None` if the address has none, such as a socket path.
    origin: Option<(Scheme, Authority)>,
    /// Without a slash at its end.
    base: Box<str>,
    preserve_host: bool,
    /// The service that is called is a client that makes one request for each call.
    over_client: bool,
}

impl Target {
    pub(super) fn new(key: &Arc<str>, address: &Address, preserve_host: bool) -> Self {
        let scheme = Scheme::try_from(address.scheme().unwrap_or("http")).ok();
        let authority = Authority::try_from(address.authority()).ok();
        Self {
            key: key.clone(),
            origin: scheme.zip(authority),
            base: address.path().trim_end_matches('/').into(),
            preserve_host,
            over_client: false,
        }
    }

    pub(super) fn over_client(self, over_client: bool) -> Self {
        Self { over_client, ..self }
    }

    /// Whether an error of the client tells whether the call was sent.
    pub(super) fn is_over_client(&self) -> bool {
        self.over_client
    }

    /// Turns a request as it came in into one to the member.
    pub(super) fn aim<B>(&self, request: &mut Request<B>) -> Result<(), Error> {
        let (uri, zoned) = self.uri_of(request.method(), request.uri())?;
        let asked = mem::replace(request.uri_mut(), uri);
        // A request that came in over HTTP/2 may go out over HTTP/1.1, and clients refuse to send one
        // of another version than they speak. With this one they decide.
        let version = mem::replace(request.version_mut(), Version::HTTP_11);
        let is_tunnel = *request.method() == Method::CONNECT;
        let headers = request.headers_mut();
        if version >= Version::HTTP_2 {
            join_cookies(headers);
        }
        if !self.preserve_host {
            headers.remove(HOST);
        } else if let Some(authority) = asked.authority().filter(|_| !is_tunnel) {
            // RFC 9112 §3.2.2: it wins over a `Host` that says otherwise.
            headers.insert(HOST, host_value(authority)?);
        }
        match &self.origin {
            Some((_, authority)) if zoned && !headers.contains_key(HOST) => {
                headers.insert(HOST, host_value(authority)?);
            }
            // The client writes the member's where there is none.
            _ => {}
        }
        Ok(())
    }

    /// The URL, and whether its host has a zone.
    fn uri_of(&self, method: &Method, uri: &Uri) -> Result<(Uri, bool), Error> {
        let Some((scheme, authority)) = &self.origin else {
            return Err(Error::not_sent(Kind::InvalidConfig).message(
                "`OriginLayer` needs an address with a host, such as `http://10.0.0.1:8080`; for a \
                 socket use a connector of its own",
            ));
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme.clone());
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(self.path(method, uri.path_and_query())?);
        let uri = Uri::from_parts(parts).map_err(unusable)?;
        Ok((uri, authority.as_str().contains('%')))
    }

    fn path(&self, method: &Method, asked: Option<&PathAndQuery>) -> Result<PathAndQuery, Error> {
        match asked {
            // It asks the server as a whole, so it is below no path (RFC 9110 §9.3.7).
            Some(asked) if asked.path() == "*" && *method == Method::OPTIONS => Ok(asked.clone()),
            // `CONNECT` names no path.
            Some(asked) if asked.path() != "*" => {
                if self.base.is_empty() {
                    return Ok(asked.clone());
                }
                if has_dot_segment(asked.path()) {
                    return Err(Error::blameless(Kind::InvalidRequest).message(format!(
                        "the path of the request holds a dot segment, which might lead out of `{}`, \
                         the path of the endpoint",
                        self.base
                    )));
                }
                PathAndQuery::try_from(format!("{}{asked}", self.base)).map_err(unusable)
            }
            _ if self.base.is_empty() => Ok(PathAndQuery::from_static("/")),
            _ => PathAndQuery::try_from(&*self.base).map_err(unusable),
        }
    }
}

/// Without what a `Host` must not hold: a user name, and the zone of an IPv6 address.
fn host_value(authority: &Authority) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&as_host(authority.as_str())).map_err(unusable)
}

/// HTTP/2 may split the cookies among several fields, HTTP/1.1 must not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        whole.set_sensitive(true);
        headers.insert(COOKIE, whole);
    }
}

fn unusable(error: impl Into<BoxError>) -> Error {
    let message = "the address and the path of the request make no URL";
    Error::not_sent(Kind::InvalidConfig).message(message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: &str) -> Target {
        Target::new(&"a".into(), &address.parse().unwrap(), true)
    }

    fn written(address: &str, method: Method, uri: &str) -> Result<String, Error> {
        target(address).uri_of(&method, &uri.parse().unwrap()).map(|(uri, _)| uri.to_string())
    }

    #[test]
    fn paths_are_joined_by_one_slash() {
        for (address, uri, expected) in [
            ("http://a:1", "/v1?x=1", "http://a:1/v1?x=1"),
            ("http://a:1/", "/v1", "http://a:1/v1"),
            ("http://a:1/api", "/v1?x=/", "http://a:1/api/v1?x=/"),
            ("http://a:1/api/", "/v1", "http://a:1/api/v1"),
            ("http://a:1/api/", "/", "http://a:1/api/"),
            ("https://a", "http://logical:9/v1", "https://a/v1"),
            ("[::1]:80", "/v1", "http://[::1]:80/v1"),
            ("http://a:1/api", "a:443", "http://a:1/api"),
            ("http://a:1", "*", "http://a:1/"),
            ("http://a:1/api", "http://b?x=1", "http://a:1/api/?x=1"),
            ("http://a:1", "http://b?x=1", "http://a:1/?x=1"),
            // Without a base path there is nothing to lead out of.
            ("http://a:1", "/x/../y/%2e%2E/z", "http://a:1/x/../y/%2e%2E/z"),
        ] {
            assert_eq!(written(address, Method::GET, uri).unwrap(), expected, "{address} {uri}");
        }
    }

    #[test]
    fn dot_segments_under_a_base_path_are_refused_unsent() {
        for path in ["/..", "/x/../../admin", "/%2e%2E/admin", "/x/.%2e", "/..;x/admin"] {
            let error = written("http://a:1/api/", Method::GET, path).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRequest, "{path}");
            assert!(error.is_unsent() && !error.is_evidence(), "{path}");
        }
        assert!(written("http://a:1/api/", Method::GET, "/v1?path=../..").is_ok());
    }

    #[test]
    fn options_of_the_whole_server_stay_so() {
        for address in ["http://a:1", "http://a:1/api"] {
            let uri = target(address).uri_of(&Method::OPTIONS, &Uri::from_static("*")).unwrap().0;
            assert_eq!((uri.path(), uri.authority().unwrap().as_str()), ("*", "a:1"));
        }
    }

    #[test]
    fn a_socket_has_no_origin() {
        let error = written("unix:/run/a.sock", Method::GET, "/").unwrap_err();
        assert!(error.is_unsent() && error.kind() == Kind::InvalidConfig);
    }

    /// The `Host` and the cookie of a request after it was aimed.
    fn aimed(
        preserve: bool,
        address: &str,
        request: http::request::Builder,
    ) -> [Option<String>; 2] {
        let target = Target::new(&"a".into(), &address.parse().unwrap(), preserve);
        let mut request = request.body(()).unwrap();
        target.aim(&mut request).unwrap();
        assert_eq!(request.version(), Version::HTTP_11);
        let text = |name| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        [text(HOST), text(COOKIE)]
    }

    #[test]
    fn the_authority_of_the_caller_is_kept() {
        let host = |preserve, address: &str, uri: &str, host: Option<&str>| {
            let request = Request::get(uri);
            let request = match host {
                Some(host) => request.header(HOST, host),
                None => request,
            };
            aimed(preserve, address, request)[0].clone()
        };
        for (uri, given, kept) in [
            ("http://shop.example/v1", None, Some("shop.example")),
            ("http://shop.example:8443/v1", Some("other"), Some("shop.example:8443")),
            ("http://user:secret@shop.example/v1", None, Some("shop.example")),
            ("/v1", Some("shop.example"), Some("shop.example")),
            ("/v1", None, None),
        ] {
            assert_eq!(host(true, "http://a:1", uri, given).as_deref(), kept, "{uri} {given:?}");
            assert_eq!(host(false, "http://a:1", uri, given), None, "{uri} {given:?}");
        }
        let zoned = "http://[fe80::1%25eth0]:1";
        assert_eq!(host(true, zoned, "/", None).as_deref(), Some("[fe80::1]:1"));
        assert_eq!(host(true, zoned, "/", Some("b")).as_deref(), Some("b"));
        assert_eq!(host(false, zoned, "/", Some("b")).as_deref(), Some("[fe80::1]:1"));
    }

    #[test]
    fn cookies_that_came_in_pieces_go_on_as_one_field() {
        let crumbs = |version| {
            let request = Request::get("http://b/").version(version);
            let request = request.header(COOKIE, "a=1").header(COOKIE, "b=2").header(COOKIE, "c");
            aimed(true, "http://a:1", request)[1].clone()
        };
        assert_eq!(crumbs(Version::HTTP_2).as_deref(), Some("a=1; b=2; c"));
        assert_eq!(crumbs(Version::HTTP_3).as_deref(), Some("a=1; b=2; c"));
        assert_eq!(crumbs(Version::HTTP_11).as_deref(), Some("a=1"));
    }
}
