//! What a request is counted by.

use std::hash::{Hash, Hasher};

/// Whose quota a call takes of: a closure over the request that answers anything that can be hashed,
/// or a type of yours, which can hash what it finds in the request without copying it.
///
/// What cannot be told apart shares a quota: with `Option`, all calls without a key.
///
/// # Example
/// ```
/// use std::hash::{Hash, Hasher};
/// use tower_upstream::{Call, Quota, RateLimitLayer, key::Key};
///
/// #[derive(Clone)]
/// struct Tenant;
///
/// impl<T> Key<Call<T>> for Tenant {
///     fn hash<H: Hasher>(&self, call: &Call<T>, hasher: &mut H) {
///         call.headers().get("x-tenant").hash(hasher);
///     }
/// }
/// let layer = RateLimitLayer::new(Quota::per_second(10)).by_key(Tenant);
/// # let _ = layer;
/// ```
pub trait Key<Req> {
    /// Hashes what the quota is for.
    ///
    /// Whoever asks a [handle](crate::limit::KeyedRateLimitHandle) for a key must give it a value that
    /// hashes the same.
    fn hash<H: Hasher>(&self, request: &Req, hasher: &mut H);
}

impl<F, Req, K> Key<Req> for F
where
    F: Fn(&Req) -> K,
    K: Hash,
{
    #[inline]
    fn hash<H: Hasher>(&self, request: &Req, hasher: &mut H) {
        self(request).hash(hasher);
    }
}
