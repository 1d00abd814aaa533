//! Fields that are meant for one connection alone.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
        UPGRADE,
    },
};

use crate::wire::{has_token, tokens};

/// Those that need no mention in `Connection` (RFC 9110 §7.6.1), and those of credentials for this proxy.
///
/// Not `Trailer`: it says which trailers the body has, and these are sent on.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the fields of a request that are meant for this proxy alone, but for `TE: trailers`, without
/// which endpoints that speak gRPC answer with an error.
///
/// `Expect` is one of them: the server has this proxy answer it, when it reads the body.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    let wants_trailers = has_token(headers, &TE, "trailers");
    strip(headers);
    headers.remove(EXPECT);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes the fields that are meant for one connection alone: those of the list, and those that
/// `Connection` names.
pub(super) fn strip(headers: &mut HeaderMap) {
    // A client must not take away what the endpoints find its own site by.
    let is_end_to_end = |name: &HeaderName| *name != HOST && !HOP_BY_HOP.contains(name);
    let named: Vec<_> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(is_end_to_end)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        strip_request(&mut headers);
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        left.sort();
        left
    }

    #[test]
    fn what_is_meant_for_one_connection_is_removed_however_it_is_named() {
        let left = stripped(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other ,, \"x\", HOST"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("expect", "100-continue"),
            ("te", "gzip;q=0.5"),
            ("host", "a"),
            ("trailer", "x-sum"),
            ("authorization", "Basic eA=="),
            ("cookie", "a=1"),
        ]);
        let kept = [
            "authorization: \"Basic eA==\"",
            "cookie: \"a=1\"",
            "host: \"a\"",
            "trailer: \"x-sum\"",
        ];
        assert_eq!(left, kept);
    }

    #[test]
    fn trailers_are_asked_for_still_and_nothing_else() {
        let trailers = ["te: \"trailers\""];
        assert_eq!(stripped(&[("te", "trailers")]), trailers);
        assert_eq!(stripped(&[("te", "gzip, Trailers"), ("connection", "TE")]), trailers);
        assert!(stripped(&[("te", "gzip"), ("te", "deflate;q=0.5")]).is_empty());
    }
}
