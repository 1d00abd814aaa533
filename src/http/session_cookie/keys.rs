//! The value of the cookie: an endpoint by a name that tells nothing, until when, and a signature.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

type HmacSha256 = Hmac<Sha256>;

/// Secrets of which the first signs, and all verify.
pub(super) struct Keys(Box<[Key]>);

/// What is made of one secret, with which the other could not be told.
struct Key {
    signs: HmacSha256,
    names: HmacSha256,
}

/// Which cookie it is: its value is valid for no other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a str,
}

/// What a valid cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// The name of the endpoint.
    pub(super) home: u64,
    /// In seconds since 1970.
    pub(super) expires: u64,
    /// Whether a secret signed it that signs no more.
    pub(super) is_old: bool,
}

const VERSION: u8 = 1;
/// The version, the end, and the name of an endpoint.
const CONTENT: usize = 1 + 8 + 8;
const SIGNED: usize = CONTENT + 32;
/// In base64.
const TEXT: usize = (SIGNED * 4).div_ceil(3);

impl Keys {
    /// `None` without any, or with one of fewer than 16 bytes.
    pub(super) fn new<'k>(secrets: impl IntoIterator<Item = &'k [u8]>) -> Option<Self> {
        let keys: Option<Box<[_]>> = secrets.into_iter().map(Key::new).collect();
        keys.filter(|keys| !keys.is_empty()).map(Self)
    }

    /// The names of an endpoint by all secrets, that of the first one first.
    pub(super) fn names(&self, endpoint: &str) -> impl Iterator<Item = u64> {
        self.0.iter().map(|key| key.name(endpoint))
    }

    /// The value of a cookie; `home` is the name of an endpoint by the first secret.
    pub(super) fn seal(&self, cookie: Scope<'_>, home: u64, expires: u64) -> String {
        let mut content = [VERSION; SIGNED];
        content[1..9].copy_from_slice(&expires.to_be_bytes());
        content[9..CONTENT].copy_from_slice(&home.to_be_bytes());
        if let Some(key) = self.0.first() {
            let signature = key.signature(cookie, &content[..CONTENT]).finalize().into_bytes();
            content[CONTENT..].copy_from_slice(&signature);
        }
        URL_SAFE_NO_PAD.encode(content)
    }

    /// What a value says that one of the secrets signed, and that has not ended `now`.
    pub(super) fn open(&self, cookie: Scope<'_>, value: &[u8], now: u64) -> Option<Token> {
        if !may_open(value) {
            return None;
        }
        let mut content = [0; SIGNED + 2];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut content).ok()?;
        let (content, signature) = content.get(..length)?.split_at_checked(CONTENT)?;
        let is_signed = |key: &Key| key.signature(cookie, content).verify_slice(signature).is_ok();
        let by = self.0.iter().position(is_signed)?;
        let (version, content) = content.split_first()?;
        let (expires, home) = content.split_first_chunk()?;
        let (home, _) = home.split_first_chunk()?;
        let (expires, home) = (u64::from_be_bytes(*expires), u64::from_be_bytes(*home));
        let is_valid = *version == VERSION && expires > now;
        is_valid.then_some(Token { home, expires, is_old: by > 0 })
    }
}

/// Whether a value is worth a hash.
pub(super) fn may_open(value: &[u8]) -> bool {
    value.len() == TEXT
}

impl Key {
    fn new(secret: &[u8]) -> Option<Self> {
        let of = |purpose: &[u8]| {
            let mut derived = HmacSha256::new_from_slice(secret).ok()?;
            derived.update(purpose);
            HmacSha256::new_from_slice(&derived.finalize().into_bytes()).ok()
        };
        let is_long = secret.len() >= 16;
        is_long.then_some(())?;
        Some(Self { signs: of(b"tower-upstream signs")?, names: of(b"tower-upstream names")? })
    }

    fn name(&self, endpoint: &str) -> u64 {
        let mut name = self.names.clone();
        name.update(endpoint.as_bytes());
        let name = name.finalize().into_bytes();
        name.first_chunk().map_or(0, |name| u64::from_be_bytes(*name))
    }

    /// No name, and no path, has a zero in it.
    fn signature(&self, cookie: Scope<'_>, content: &[u8]) -> HmacSha256 {
        let mut signature = self.signs.clone();
        for part in [cookie.name, cookie.path] {
            signature.update(part.as_bytes());
            signature.update(&[0]);
        }
        signature.update(content);
        signature
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(secrets.iter().map(|secret| secret.as_bytes())).unwrap()
    }

    const A: Scope<'_> = Scope { name: "a", path: "/" };
    const OLD: &str = "an old secret of 16 bytes";
    const NEW: &str = "a new secret of 16 bytes";

    #[test]
    fn what_one_secret_sealed_others_open_while_they_know_it() {
        let (old, both, new) = (keys(&[OLD]), keys(&[NEW, OLD]), keys(&[NEW]));
        let home = old.names("http://10.0.0.1:80").next().unwrap();
        let value = old.seal(A, home, 100);
        let token = |is_old| Some(Token { home, expires: 100, is_old });
        assert_eq!(old.open(A, value.as_bytes(), 99), token(false));
        assert_eq!(both.open(A, value.as_bytes(), 99), token(true));
        assert_eq!(new.open(A, value.as_bytes(), 99), None);
        assert_eq!(old.open(A, value.as_bytes(), 100), None, "it has ended");
        for other in [Scope { name: "b", ..A }, Scope { path: "/b", ..A }] {
            assert_eq!(old.open(other, value.as_bytes(), 99), None, "of another cookie");
        }
        let names: Vec<_> = both.names("http://10.0.0.1:80").collect();
        assert_eq!(names[1], home);
        assert_ne!(names[0], home);
    }

    #[test]
    fn it_tells_nothing_of_the_endpoint() {
        let keys = keys(&[NEW]);
        let value = keys.seal(A, keys.names("http://10.0.0.1:80").next().unwrap(), 100);
        let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
        assert!(
            !bytes.windows(4).any(|part| b"http://10.0.0.1:80".windows(4).any(|of| of == part))
        );
        assert_eq!((value.len(), bytes.len()), (TEXT, SIGNED));
    }

    #[test]
    fn secrets_that_are_short_or_missing_are_refused() {
        assert!(Keys::new([]).is_none());
        assert!(Keys::new([&b"short"[..]]).is_none());
        assert!(Keys::new([NEW.as_bytes(), b"short"]).is_none());
    }

    proptest! {
        #[test]
        fn no_other_value_opens(home: u64, expires in 1_u64.., at in 0..TEXT, to in "[A-Za-z0-9_=-]") {
            let keys = keys(&[NEW, OLD]);
            let mut value = keys.seal(A, home, expires).into_bytes();
            let token = Token { home, expires, is_old: false };
            prop_assert_eq!(keys.open(A, &value, 0), Some(token));
            let before = value[at];
            value[at] = to.as_bytes()[0];
            prop_assert_eq!(keys.open(A, &value, 0).is_some(), value[at] == before);
        }
    }
}
