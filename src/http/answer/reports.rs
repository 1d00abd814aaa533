use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    key::Key,
    limit::{KeyedRateLimitLayer, RateLimitLayer, Standing},
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A limit that an [`AnswerLayer`](super::AnswerLayer) can tell clients of: a layer of this module.
pub trait Reports<Req>: Tells {
    /// What tells whose quota `request` takes of.
    #[doc(hidden)]
    fn note(&self, request: &Req) -> u64;
}

/// How it stands, once it is known whose quota it is about.
pub trait Tells {
    #[doc(hidden)]
    fn tell(&self, name: &Name, note: u64, headers: &mut HeaderMap);
}

/// An `AnswerLayer` without `RateLimit` fields.
///
/// ```
/// use tower_upstream::http::{AnswerLayer, NoFields};
/// let layer: AnswerLayer<NoFields> = AnswerLayer::new();
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFields;

impl<Req> Reports<Req> for NoFields {
    fn note(&self, _: &Req) -> u64 {
        0
    }
}

impl Tells for NoFields {
    fn tell(&self, _: &Name, _: u64, _: &mut HeaderMap) {}
}

impl<Req, M, C> Reports<Req> for RateLimitLayer<M, C> {
    fn note(&self, _: &Req) -> u64 {
        0
    }
}

impl<M, C> Tells for RateLimitLayer<M, C> {
    fn tell(&self, name: &Name, _: u64, headers: &mut HeaderMap) {
        name.write(&self.handle().standing(), headers);
    }
}

impl<Req, K: Key<Req>, C> Reports<Req> for KeyedRateLimitLayer<K, C> {
    fn note(&self, request: &Req) -> u64 {
        self.hash_of(request)
    }
}

impl<K, C> Tells for KeyedRateLimitLayer<K, C> {
    fn tell(&self, name: &Name, hash: u64, headers: &mut HeaderMap) {
        name.write(&self.standing(hash), headers);
    }
}

/// What a limit is called in the fields.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Name(Box<str>);

impl Default for Name {
    fn default() -> Self {
        Self::new("default")
    }
}

impl Name {
    /// What may stand in a string of a structured field without an escape (RFC 9651).
    pub(super) fn new(name: &str) -> Self {
        let fits = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        Self(name.chars().filter(fits).collect())
    }

    fn write(&self, standing: &[Standing], headers: &mut HeaderMap) {
        let (mut policy, mut limit) = (String::new(), String::new());
        for (index, Standing { quota, remaining, reset }) in standing.iter().enumerate() {
            let (comma, number) = match index {
                0 => ("", String::new()),
                _ => (", ", format!("-{}", index + 1)),
            };
            let (name, (calls, seconds)) = (&self.0, quota.calls_in_seconds());
            let reset = reset.div_ceil(1_000_000_000);
            // Writing to a string cannot fail.
            let _ = write!(policy, "{comma}\"{name}{number}\";q={calls};w={seconds}");
            let _ = write!(limit, "{comma}\"{name}{number}\";r={remaining};t={reset}");
        }
        for (field, value) in [(POLICY, policy), (LIMIT, limit)] {
            if let (Ok(value), false) = (HeaderValue::try_from(value), standing.is_empty()) {
                headers.append(field, value);
            }
        }
    }
}
