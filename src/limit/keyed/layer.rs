use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{handle::KeyedRateLimitHandle, keys::Keys, service::KeyedRateLimit};
use crate::limit::rate::{PerCall, Quotas};
#[cfg(feature = "http")]
use crate::{key::Key, limit::rate::Remaining};

/// Lets so many calls of each key pass in a time. Made by
/// [`RateLimitLayer::by_key`](super::super::RateLimitLayer::by_key).
///
/// There is one table for all that this layer value and its clones make, below a balancer too. It is
/// made for [`max_keys`](Self::with_max_keys) keys that owe tokens at once, never grows, and needs no
/// cleaning: a key that has all its tokens back is forgotten by itself. If more than that owe at once,
/// those that owe least are forgotten, so a flood of keys frees none that has spent its quota.
///
/// Of a key the table keeps its place and 32 bits of a seeded hash, so by chance one new key in a
/// billion shares the quota of another; which one cannot be foreseen.
///
/// What is beyond the quota of a key is refused; no call waits.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{BoxError, Call, Quota, RateLimitLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(
///         RateLimitLayer::new(Quota::per_minute(60).burst(1))
///             .by_key(|call: &Call<&'static str>| *call.body()),
///     )
///     .service(service_fn(async |_: Call<&'static str>| Ok::<_, BoxError>(())));
///
/// assert!(service.clone().oneshot(Call::new("ann")).await.is_ok());
/// assert!(service.clone().oneshot(Call::new("ann")).await.is_err());
/// assert!(service.clone().oneshot(Call::new("bob")).await.is_ok());
/// # }
/// ```
#[derive(Clone)]
pub struct KeyedRateLimitLayer<K, C = PerCall> {
    keys: Arc<Keys>,
    key: K,
    cost: C,
}

const MAX_KEYS: usize = 100_000;

impl<K, C> KeyedRateLimitLayer<K, C> {
    pub(in crate::limit) fn new(quotas: Quotas, key: K, cost: C) -> Self {
        Self { keys: Arc::new(Keys::new(quotas, MAX_KEYS)), key, cost }
    }

    /// How many keys may owe tokens at once before some are forgotten early: at this number 4 in a
    /// million are, at three quarters of it none in ten million, at twice the number 2 in 100.
    /// Default 100,000; from 1 to 2^24 (16,777,216).
    ///
    /// The table takes 32 bytes for each, or 96 with several quotas: 3.2 MB by default, at once and
    /// for good. A call reads one cache line of it, or two. Set it while building: the tokens are the
    /// layer's own from here on.
    ///
    /// It is the number of keys that the table is made for, not a bound of
    /// [`len`](KeyedRateLimitHandle::len): there is room for two and a half times as many, and `len`
    /// counts those that owe now, which may be more than this.
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        Self { keys: Arc::new(Keys::new(self.keys.quotas(), max_keys)), ..self }
    }

    /// The same quotas and tokens, found by another key: for services whose requests differ, but
    /// whose callers are the same.
    ///
    /// ```
    /// use tower_upstream::{Call, Quota, RateLimitLayer};
    /// let names = RateLimitLayer::new(Quota::per_second(10))
    ///     .by_key(|call: &Call<String>| call.body().clone());
    /// let tenants = names.clone()
    ///     .with_key(|call: &Call<u32>| call.headers().get("x-tenant").cloned());
    /// # let _ = (names, tenants);
    /// ```
    #[must_use]
    pub fn with_key<L>(self, key: L) -> KeyedRateLimitLayer<L, C> {
        KeyedRateLimitLayer { keys: self.keys, key, cost: self.cost }
    }

    /// Lets a call take more tokens than one, or none. See
    /// [`RateLimitLayer::with_cost`](super::super::RateLimitLayer::with_cost).
    #[must_use]
    pub fn with_cost<D>(self, cost: D) -> KeyedRateLimitLayer<K, D> {
        KeyedRateLimitLayer { keys: self.keys, key: self.key, cost }
    }

    /// The same quotas, with tokens of their own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        K: Clone,
        C: Clone,
    {
        let keys = Keys::new(self.keys.quotas(), self.keys.max_keys());
        Self { keys: Arc::new(keys), key: self.key.clone(), cost: self.cost.clone() }
    }

    /// A view of the quotas of all keys.
    pub fn handle(&self) -> KeyedRateLimitHandle {
        KeyedRateLimitHandle::new(self.keys.clone())
    }

    /// The hash of the key of a request.
    #[cfg(feature = "http")]
    pub(crate) fn hash_of<Req>(&self, request: &Req) -> u64
    where
        K: Key<Req>,
    {
        self.keys.hash_of(&self.key, request)
    }

    #[cfg(feature = "http")]
    pub(crate) fn each_remaining(&self, hash: u64) -> Vec<Remaining> {
        self.keys.each_remaining(hash)
    }
}

impl<S, K: Clone, C: Clone> Layer<S> for KeyedRateLimitLayer<K, C> {
    type Service = KeyedRateLimit<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedRateLimit::new(inner, self.keys.clone(), self.key.clone(), self.cost.clone())
    }
}

impl<K, C> fmt::Debug for KeyedRateLimitLayer<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitLayer").field("keys", &self.keys).finish_non_exhaustive()
    }
}
