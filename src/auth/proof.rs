//! Whether a request proves what a list of credentials asks for. In constant time: nothing ends early.

use std::hint::black_box;

use http::{HeaderMap, HeaderName, header::AUTHORIZATION};

use super::{
    credentials::{API_KEY, Credentials, PASSWORD, USERNAME, Way},
    render::decode,
    secret::Secret,
};

/// What a request shows.
pub(super) struct Shown<'a> {
    pub(super) headers: &'a HeaderMap,
    /// Its connection showed a certificate that was verified.
    pub(super) certified: bool,
    /// It is a call of gRPC, where a user name and a password have keys of their own.
    pub(super) over_grpc: bool,
}

impl Shown<'_> {
    /// Whether it proves one of `accepted`, all of which are looked at.
    pub(super) fn proves_one_of(&self, accepted: &[Credentials]) -> bool {
        accepted.iter().fold(false, |proven, one| black_box(proven) | self.proves(one))
    }

    fn proves(&self, credentials: &Credentials) -> bool {
        if credentials.mistake().is_some() {
            // Such as an empty token, which anyone has.
            return false;
        }
        match credentials.way() {
            Way::None => true,
            Way::Mtls => self.certified,
            Way::ApiKey(key) => self.has(&API_KEY, key),
            Way::Bearer(token) => self.after(b"bearer").is_some_and(|shown| token.is(shown)),
            Way::Basic { username, password } => {
                let pair = self.after(b"basic").and_then(decode);
                let pair = pair.as_ref().map(|pair| pair.as_slice()).unwrap_or_default();
                let colon = pair.iter().position(|&byte| byte == b':').unwrap_or(pair.len());
                let (name, rest) = pair.split_at(colon);
                let by_field = username.is(name) & password.is(rest.get(1..).unwrap_or_default());
                let over_grpc = self.has(&USERNAME, username) & self.has(&PASSWORD, password);
                by_field | (self.over_grpc & over_grpc)
            }
            Way::Headers => {
                let headers = credentials.own_headers();
                let all = |proven, (name, of): &(HeaderName, Secret)| {
                    black_box(proven) & (!of.is_empty() & self.has(name, of))
                };
                headers.iter().fold(!headers.is_empty(), all)
            }
        }
    }

    fn has(&self, name: &HeaderName, secret: &Secret) -> bool {
        self.only(name).is_some_and(|shown| secret.is(shown))
    }

    /// The rest of `Authorization` after this scheme, whose case does not matter (RFC 9110 §11.1).
    fn after(&self, scheme: &[u8]) -> Option<&[u8]> {
        let (is, rest) = self.only(&AUTHORIZATION)?.split_at_checked(scheme.len())?;
        let rest = rest.strip_prefix(b" ")?;
        is.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii_start())
    }

    /// The value of a header that is there once: of two, another reader may look at the other one.
    fn only(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Some(value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn proves(headers: &[(&str, &str)], accepted: &[Credentials]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Shown { headers: &map, certified: false, over_grpc: wire::is_grpc(&map) }
            .proves_one_of(accepted)
    }

    #[test]
    fn each_method_is_proven_by_its_own_header_alone() {
        let key = [Credentials::api_key("k-17")];
        assert!(proves(&[("X-API-Key", "k-17")], &key));
        for wrong in [
            &[][..],
            &[("x-api-key", "k-1")],
            &[("x-api-key", "k-170")],
            &[("x-api-key", "")],
            &[("authorization", "Bearer k-17")],
            &[("x-api-key", "k-17"), ("x-api-key", "k-17")],
        ] {
            assert!(!proves(wrong, &key), "{wrong:?}");
        }
        let token = [Credentials::bearer("abc")];
        for right in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert!(proves(&[("authorization", right)], &token), "{right}");
        }
        for wrong in
            ["Bearer abd", "Bearer", "Bearer ", "Bearerabc", "abc", "Basic abc", "Bearer abc d"]
        {
            assert!(!proves(&[("authorization", wrong)], &token), "{wrong}");
        }
        // RFC 7617 §2.
        let basic = [Credentials::basic("Aladdin", "open sesame")];
        assert!(proves(&[("authorization", "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")], &basic));
        for wrong in ["Basic QWxhZGRpbjo=", "Basic QWxhZGRpbg==", "Basic !!", "Basic ", "Bearer x"]
        {
            assert!(!proves(&[("authorization", wrong)], &basic), "{wrong}");
        }
        let (name, password) = (("x-username", "Aladdin"), ("x-password", "open sesame"));
        let grpc = ("content-type", "application/grpc+proto");
        assert!(proves(&[grpc, name, password], &basic));
        assert!(proves(&[grpc, ("authorization", "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")], &basic));
        for wrong in [
            &[name, password][..],
            &[grpc, name],
            &[grpc, password],
            &[grpc, name, ("x-password", "open")],
            &[grpc, name, ("x-password", "")],
            &[grpc, name, password, password],
        ] {
            assert!(!proves(wrong, &basic), "{wrong:?}");
        }
        let both = [Credentials::headers([("X-A", "1"), ("X-B", "2")])];
        assert!(proves(&[("x-a", "1"), ("x-b", "2")], &both));
        assert!(!proves(&[("x-a", "1")], &both) && !proves(&[("x-a", "1"), ("x-b", "3")], &both));
    }

    #[test]
    fn either_of_two_is_enough_and_what_is_empty_proves_nothing() {
        let two = [Credentials::bearer("old"), Credentials::bearer("new")];
        for token in ["old", "new"] {
            assert!(proves(&[("authorization", &format!("Bearer {token}"))], &two));
        }
        assert!(!proves(&[("authorization", "Bearer other")], &two));
        assert!(!proves(&[], &[]));
        assert!(proves(&[], &[Credentials::none()]));
        let none: [(&str, &str); 0] = [];
        for (empty, header) in [
            (Credentials::bearer(""), ("authorization", "Bearer ")),
            (Credentials::api_key(""), ("x-api-key", "")),
            (Credentials::basic("", ""), ("authorization", "Basic Og==")),
            (Credentials::headers(none), ("x", "")),
            (Credentials::headers([("x", "")]), ("x", "")),
            (Credentials::mtls(), ("x", "")),
        ] {
            assert!(!proves(&[header], std::slice::from_ref(&empty)), "{empty:?}");
        }
        let headers = HeaderMap::new();
        let shown = Shown { headers: &headers, certified: true, over_grpc: false };
        assert!(shown.proves_one_of(&[Credentials::mtls()]));
    }
}
