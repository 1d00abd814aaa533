use http::HeaderMap;

use crate::{
    key::Key,
    limit::{KeyedRateLimitLayer, RateLimitLayer, Standing},
    wire,
};

/// Limit that has `RateLimit` fields, which an [`AnswerLayer`](super::AnswerLayer) adds to responses.
///
/// Implemented by the rate limits of this crate; implement it for a limit of yours.
///
/// # Example
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use tower_upstream::http::{AnswerLayer, Reports};
///
/// /// Ten calls, which never come back.
/// #[derive(Clone)]
/// struct Trial;
///
/// impl<Req> Reports<Req> for Trial {
///     fn quota_of(&self, _request: &Req) -> u64 {
///         0
///     }
///     fn report(&self, _name: &str, _quota: u64, headers: &mut HeaderMap) {
///         headers.insert("ratelimit-policy", HeaderValue::from_static(r#""trial";q=10"#));
///     }
/// }
/// let layer = AnswerLayer::new().with_fields("trial", Trial);
/// # let _ = layer;
/// ```
pub trait Reports<Req> {
    /// Identifies the quota that `request` draws on.
    fn quota_of(&self, request: &Req) -> u64;

    /// Adds the fields of that quota to the headers of a response.
    fn report(&self, name: &str, quota: u64, headers: &mut HeaderMap);
}

/// Default of an [`AnswerLayer`](super::AnswerLayer): no `RateLimit` fields.
///
/// ```
/// use tower_upstream::http::{AnswerLayer, NoFields};
/// let layer: AnswerLayer<NoFields> = AnswerLayer::new();
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFields;

impl<Req> Reports<Req> for NoFields {
    fn quota_of(&self, _: &Req) -> u64 {
        0
    }

    fn report(&self, _: &str, _: u64, _: &mut HeaderMap) {}
}

impl<Req, M, C> Reports<Req> for RateLimitLayer<M, C> {
    fn quota_of(&self, _: &Req) -> u64 {
        0
    }

    fn report(&self, name: &str, _: u64, headers: &mut HeaderMap) {
        write(headers, name, &self.handle().standing());
    }
}

/// A quota is identified by the hash of its key.
impl<Req, K: Key<Req>, C> Reports<Req> for KeyedRateLimitLayer<K, C> {
    fn quota_of(&self, request: &Req) -> u64 {
        self.hash_of(request)
    }

    fn report(&self, name: &str, hash: u64, headers: &mut HeaderMap) {
        write(headers, name, &self.standing(hash));
    }
}

fn write(headers: &mut HeaderMap, name: &str, standing: &[Standing]) {
    let limits = standing.iter().map(|left| {
        let (quota, window) = left.quota.calls_in_seconds();
        let reset = left.reset.div_ceil(1_000_000_000);
        wire::Limit { quota, window, remaining: left.remaining.into(), reset }
    });
    wire::write_limits(headers, name, limits);
}
