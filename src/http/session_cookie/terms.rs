//! What a cookie is like.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::{
    keys::{Keys, Scope, Token, may_open},
    same_site::SameSite,
};

#[derive(Clone)]
pub(super) struct Terms {
    pub(super) keys: Arc<Keys>,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) timeout: Duration,
    pub(super) secure: bool,
    pub(super) same_site: SameSite,
}

/// Cookies of our name that are verified.
const TRIES: usize = 4;

/// Browsers keep no cookie for more than 400 days, and it lasts a little longer than a session.
const MAX_TIMEOUT: u64 = 365 * 86_400;

impl Terms {
    /// Whether both are about one cookie, whatever else is set.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys) && self.scope() == other.scope()
    }

    fn scope(&self) -> Scope<'_> {
        Scope { name: &self.name, path: self.path() }
    }

    /// Where clients send it: for a name that promises the whole host, there.
    fn path(&self) -> &str {
        if has_prefix(&self.name, "__Host-") { "/" } else { &self.path }
    }

    /// Whether clients send it over TLS only. Browsers keep no other cookie with such a name, or for other sites.
    fn is_secure(&self) -> bool {
        let is_for_others = self.same_site == SameSite::None;
        let promises = ["__Host-", "__Secure-", "__Http-"];
        self.secure || is_for_others || promises.iter().any(|of| has_prefix(&self.name, of))
    }

    /// The session of a request, if it has one that is valid `now`.
    pub(super) fn token(&self, headers: &HeaderMap, now: u64) -> Option<Token> {
        let fields = headers.get_all(COOKIE).iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
        pairs
            .filter_map(|pair| {
                pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")
            })
            .map(unquoted)
            .filter(|value| may_open(value))
            .take(TRIES)
            .find_map(|value| self.keys.open(self.scope(), value, now))
    }

    fn timeout(&self) -> u64 {
        self.timeout.as_secs().clamp(1, MAX_TIMEOUT)
    }

    /// How long a cookie lasts: a little longer than a session, so that not every answer needs a new one.
    fn lasts(&self) -> u64 {
        let timeout = self.timeout();
        timeout + (timeout / 16).max(1)
    }

    /// Whether a client needs a new cookie in place of this one. It is of an old secret, or ends too soon after a
    /// call that comes `now`; or later than any that is set now, as after a clock went back, so that the client
    /// forgets it before that.
    pub(super) fn is_to_renew(&self, token: Token, now: u64) -> bool {
        let ends = |after: u64| now.saturating_add(after);
        token.is_old || !(ends(self.timeout())..=ends(self.lasts())).contains(&token.expires)
    }

    /// The field that makes a client come back to the endpoint of this name.
    pub(super) fn set_cookie(&self, home: u64, now: u64) -> Option<HeaderValue> {
        let (lasts, scope) = (self.lasts(), self.scope());
        let value = self.keys.seal(scope, home, now.saturating_add(lasts));
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let (Scope { name, path }, same_site) = (scope, self.same_site.as_str());
        let cookie = format!(
            "{name}={value}; Path={path}; Max-Age={lasts}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::from_str(&cookie).ok()
    }
}

/// Browsers compare it in any case.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A value may be sent back in quotes.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        let keys = Keys::new([&b"a secret of 16 bytes"[..]]).unwrap();
        let (name, path) = ("a".to_owned(), "/".to_owned());
        let (timeout, same_site) = (Duration::from_secs(160), SameSite::Lax);
        Terms { keys: Arc::new(keys), name, path, timeout, secure: true, same_site }
    }

    fn header(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(pair).unwrap())])
    }

    #[test]
    fn one_that_a_clock_set_which_is_ahead_is_set_anew() {
        let (terms, now) = (terms(), 10_000);
        let ends_at = |set_at: u64| {
            let cookie = terms.set_cookie(7, set_at).unwrap();
            terms.token(&header(&cookie), now).unwrap()
        };
        let is_to_renew = |set_at| terms.is_to_renew(ends_at(set_at), now);
        assert!(!is_to_renew(now) && !is_to_renew(now - 10));
        assert!(is_to_renew(now - 11), "its session would end too soon");
        assert!(is_to_renew(now + 1) && is_to_renew(now + 3_600), "a clock went back");
        assert_eq!(ends_at(now).expires, now + 170);
    }

    #[test]
    fn nothing_lasts_longer_than_browsers_keep_it() {
        let terms = Terms { timeout: Duration::MAX, ..terms() };
        assert!(terms.lasts() < 400 * 86_400);
        let cookie = terms.set_cookie(7, 10_000).unwrap();
        let token = terms.token(&header(&cookie), 10_000).unwrap();
        assert!(!terms.is_to_renew(token, 10_000));
    }

    #[test]
    fn only_one_that_could_be_ours_counts_among_those_that_are_verified() {
        let terms = terms();
        let cookie = terms.set_cookie(7, 10).unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let other = format!("a={}", "A".repeat(pair.len() - 2));
        let token = |cookies: &str| {
            let cookies = HeaderValue::from_str(cookies).unwrap();
            terms.token(&HeaderMap::from_iter([(COOKIE, cookies)]), 10)
        };
        assert!(token(&format!("{}{pair}", "a=x; ".repeat(100))).is_some());
        assert!(token(&format!("{0}; {0}; {0}; {pair}", other)).is_some());
        assert!(token(&format!("{0}; {0}; {0}; {0}; {pair}", other)).is_none(), "it is bounded");
        let quoted = format!("a=\"{}\"", &pair[2..]);
        assert!(token(&quoted).is_some());
        for broken in [&quoted[..quoted.len() - 1], &quoted.replacen('"', "", 1), "a=\"", "a=\"\""]
        {
            assert!(token(broken).is_none(), "{broken}");
        }
    }
}
