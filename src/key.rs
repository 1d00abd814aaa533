//! Keys of requests, by which limits and circuits count them.
//!
//! # When to use
//! A [`Key`] goes into `by_key` of a [rate limit](crate::RateLimitLayer::by_key), for one quota for each
//! tenant, or of a [circuit breaker](crate::CircuitBreakerLayer::by_key), for one circuit for each host or
//! route. A closure that returns something hashable is enough:
//!
//! ```
//! use tower_upstream::{Call, Quota, RateLimitLayer};
//!
//! let per_tenant = RateLimitLayer::new(Quota::per_second(10))
//!     .by_key(|call: &Call<u64>| call.headers().get("x-tenant").cloned());
//! # let _ = per_tenant;
//! ```
//!
//! For client addresses behind proxies, there is `http::ClientIp` (feature `http`).

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use crate::error::cut;

/// Key of a request: a closure that returns something hashable, or your own type.
///
/// Only the hash of a key is kept. Requests with equal keys are counted together: if keys are an
/// `Option`, all requests without one are. A type of your own can hash a part of the request without
/// copying it.
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
    /// Feeds the key of `request` into `hasher`.
    ///
    /// A value that hashes the same finds the state of this key in a handle, such as a
    /// [`KeyedRateLimitHandle`](crate::limit::KeyedRateLimitHandle). So hash the key, and nothing else.
    fn hash<H: Hasher>(&self, request: &Req, hasher: &mut H);

    /// Returns a text that names the key of `request` in events and logs, or `None`. Default: `None`.
    ///
    /// It is kept as long as the state of the key, cut to 128 bytes, and asked for only when that state is
    /// made. For a closure, see [`Labelled`].
    fn label(&self, request: &Req) -> Option<String> {
        let _ = request;
        None
    }
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

/// Key with a label for events and logs, made by
/// [`KeyedCircuitBreakerLayer::with_label`](crate::breaker::KeyedCircuitBreakerLayer::with_label).
///
/// ```
/// use tower_upstream::{CircuitBreakerLayer, breaker::KeyedCircuitBreakerLayer, key::Labelled};
/// fn labels<K>(
///     layer: KeyedCircuitBreakerLayer<K>,
/// ) -> KeyedCircuitBreakerLayer<Labelled<K, fn(&u32) -> String>> {
///     layer.with_label(|tenant: &u32| format!("tenant {tenant}"))
/// }
/// # let _ = labels(CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Labelled<K, L> {
    key: K,
    label: L,
}

impl<K, L> Labelled<K, L> {
    pub(crate) fn new(key: K, label: L) -> Self {
        Self { key, label }
    }
}

impl<K, L, Req> Key<Req> for Labelled<K, L>
where
    K: Key<Req>,
    L: Fn(&Req) -> String,
{
    #[inline]
    fn hash<H: Hasher>(&self, request: &Req, hasher: &mut H) {
        self.key.hash(request, hasher);
    }

    fn label(&self, request: &Req) -> Option<String> {
        Some((self.label)(request))
    }
}

/// Key of a request that may have none, made by [`optional`].
#[derive(Debug, Clone, Copy)]
pub struct Optional<F>(F);

/// Creates a key from a closure that returns `None` where a request has none.
///
/// For a strategy that chooses by a key, such as `balance::ConsistentHash`: a request without a key goes
/// anywhere. Limits and circuits count all of those together, as with a closure alone.
///
/// ```
/// use tower_upstream::{Call, key};
/// let tenant = key::optional(|call: &Call<u64>| call.headers().get("x-tenant").cloned());
/// # let _ = tenant;
/// ```
/// A field of an HTTP request as a `String`, which is hashed as other systems hash that text; a `HeaderValue` is not. The
/// type of the body is the one at the place of the layer:
/// ```
/// # #[cfg(feature = "http")] {
/// use tower_upstream::{http::ReplayBody, key};
/// let user = key::optional(|request: &http::Request<ReplayBody>| {
///     request.headers().get("x-user")?.to_str().ok().map(str::to_owned)
/// });
/// # let _ = user;
/// # }
/// ```
pub const fn optional<Req, K, F>(key: F) -> Optional<F>
where
    F: Fn(&Req) -> Option<K>,
    K: Hash,
{
    Optional(key)
}

impl<F, Req, K> Key<Req> for Optional<F>
where
    F: Fn(&Req) -> Option<K>,
    K: Hash,
{
    #[inline]
    fn hash<H: Hasher>(&self, request: &Req, hasher: &mut H) {
        if let Some(key) = self.0(request) {
            key.hash(hasher);
        }
    }
}

/// Bytes of a label that are kept.
const MAX_LABEL: usize = 128;

/// The label of the key of `request`, to be kept.
pub(crate) fn label_of<K: Key<Req>, Req>(key: &K, request: &Req) -> Option<Arc<str>> {
    let label = key.label(request)?;
    Some(cut(&label, MAX_LABEL).into())
}

/// The hash of the key of `request`: that of a value that hashes the same.
#[inline]
pub(crate) fn hash_of<K: Key<Req>, Req>(key: &K, request: &Req, seed: &impl BuildHasher) -> u64 {
    let mut hasher = seed.build_hasher();
    key.hash(request, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    /// Hashes a part of a request without copying it.
    struct Host;

    impl Key<(String, u16)> for Host {
        fn hash<H: Hasher>(&self, request: &(String, u16), hasher: &mut H) {
            request.0.hash(hasher);
        }
    }

    fn request(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    #[test]
    fn a_key_is_found_by_a_value_that_hashes_the_same() {
        let seed = RandomState::new();
        let of_type = |request| hash_of(&Host, &request, &seed);
        let of_closure = |request| hash_of(&|of: &(String, u16)| of.0.clone(), &request, &seed);
        for host in ["a", "b", ""] {
            assert_eq!(of_type(request(host, 1)), seed.hash_one(host));
            assert_eq!(of_closure(request(host, 2)), seed.hash_one(host));
        }
        assert_ne!(of_type(request("a", 1)), of_type(request("b", 1)));
    }

    #[test]
    fn requests_without_a_key_are_counted_together() {
        let seed = RandomState::new();
        let key = |of: &(String, u16)| (of.1 != 0).then(|| of.0.clone());
        let of = |request| hash_of(&key, &request, &seed);
        assert_eq!(of(request("a", 0)), of(request("b", 0)));
        assert_ne!(of(request("", 0)), of(request("", 1)));
    }
}
