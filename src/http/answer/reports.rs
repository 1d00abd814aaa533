use http::HeaderMap;

use crate::{
    key::Key,
    limit::{KeyedRateLimitLayer, RateLimitLayer, Remaining},
    wire::rate_limit::{self, Policy},
};

/// Limit about which an [`AnswerLayer`](super::AnswerLayer) can inform clients: a [`RateLimitLayer`], a
/// [`KeyedRateLimitLayer`], or [`NoFields`].
///
/// Only this crate implements it.
pub trait Reports<Req> {
    /// Notes whose quota `request` takes of.
    #[doc(hidden)]
    fn note(&self, request: &Req) -> u64;

    /// Tells what is left of the quota that was noted.
    #[doc(hidden)]
    fn tell(&self, name: &str, note: u64, headers: &mut HeaderMap);
}

/// No `RateLimit` fields. The default.
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

    fn tell(&self, _: &str, _: u64, _: &mut HeaderMap) {}
}

impl<Req, M, C> Reports<Req> for RateLimitLayer<M, C> {
    fn note(&self, _: &Req) -> u64 {
        0
    }

    fn tell(&self, name: &str, _: u64, headers: &mut HeaderMap) {
        write(name, &self.handle().each_remaining(), headers);
    }
}

impl<Req, K: Key<Req>, C> Reports<Req> for KeyedRateLimitLayer<K, C> {
    fn note(&self, request: &Req) -> u64 {
        self.hash_of(request)
    }

    fn tell(&self, name: &str, hash: u64, headers: &mut HeaderMap) {
        write(name, &self.each_remaining(hash), headers);
    }
}

fn write(name: &str, remaining: &[Remaining], headers: &mut HeaderMap) {
    let policy = |of: &Remaining| {
        let (quota, window) = of.quota.calls_in_seconds();
        let reset = of.reset.div_ceil(1_000_000_000);
        Policy { quota, window, remaining: of.tokens, reset }
    };
    let policies: Vec<_> = remaining.iter().map(policy).collect();
    rate_limit::write(name, &policies, headers);
}
