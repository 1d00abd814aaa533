use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{handle::KeyedRateLimitHandle, keys::Keys, service::KeyedRateLimit};
use crate::limit::{
    rate::{PerCall, Quotas, RateLimitConfig},
    telemetry::Setup,
};
#[cfg(feature = "http")]
use crate::{key::Key, limit::rate::Remaining};

/// Layer that limits the rate of the calls of each key.
///
/// This layer value and its clones share one table, below a balancer too. What is beyond the quota of a
/// key is refused; no call waits. [`RateLimitLayer::by_key`](crate::RateLimitLayer::by_key) makes one
/// of these as well.
///
/// # Bounds
/// The table is made for [`max_keys`](Self::with_max_keys) keys that owe tokens at once, never grows,
/// and needs no cleaning: a key that has all its tokens back takes no place. If more keys than that owe
/// tokens at once, those that owe least are forgotten, so a flood of keys frees none that has spent its
/// quota.
///
/// Of a key the table keeps its place and 32 bits of a seeded hash, so by chance one new key in a
/// billion shares the quota of another. Which one cannot be predicted.
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

impl<K> KeyedRateLimitLayer<K> {
    /// Creates a layer that refuses calls beyond the quota of their key.
    ///
    /// `key` is a closure over the request that returns something hashable, or a
    /// [`Key`](crate::key::Key). With several quotas, as an array of up to four, a call takes a token of
    /// each, or of none.
    ///
    /// # Errors
    /// Calls beyond the quota fail with [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the
    /// time at which the key has a token again.
    ///
    /// ```
    /// use tower_upstream::{Call, Quota, limit::KeyedRateLimitLayer};
    /// let layer = KeyedRateLimitLayer::new(Quota::per_second(10), |call: &Call<u64>| *call.body());
    /// # let _ = layer;
    /// ```
    pub fn new(quotas: impl Into<Quotas>, key: K) -> Self {
        Self::of(quotas.into(), key, PerCall, Setup::default())
    }

    /// Creates a layer from a config. Values out of range become the nearest valid ones; see
    /// [`RateLimitConfig::validate`].
    ///
    /// ```
    /// use tower_upstream::{Call, limit::{KeyedRateLimitLayer, RateLimitConfig}};
    /// let key = |call: &Call<u64>| *call.body();
    /// let layer = KeyedRateLimitLayer::with_config(key, RateLimitConfig::default());
    /// assert_eq!(layer.handle().remaining(&7_u64), 20);
    /// ```
    pub fn with_config(key: K, config: RateLimitConfig) -> Self {
        Self::new(&config, key)
    }
}

impl<K, C> KeyedRateLimitLayer<K, C> {
    pub(in crate::limit) fn of(quotas: Quotas, key: K, cost: C, setup: Setup) -> Self {
        Self { keys: Arc::new(Keys::new(quotas, MAX_KEYS, setup)), key, cost }
    }

    /// Sets how many keys may owe tokens at once before some are forgotten early, from 1 to 2^24
    /// (16,777,216).
    ///
    /// At this number 4 keys in a million are forgotten, at three quarters of it none in ten million, at
    /// twice the number 2 in 100. It is the number of keys that the table is made for, not a bound of
    /// [`len`](KeyedRateLimitHandle::len): there is room for two and a half times as many.
    ///
    /// The table takes 32 bytes for each key, or 96 with several quotas: 3.2 MB by default, allocated
    /// when the layer is made. A call reads one or two cache lines of it. The returned layer has tokens
    /// of its own, so set this before the layer is used. Default: 100,000.
    #[must_use]
    pub fn with_max_keys(self, max_keys: usize) -> Self {
        self.anew(max_keys, |_| {})
    }

    /// Names this layer, in refusals ([`Error::guard`](crate::Error::guard)).
    ///
    /// Refusals of a named layer are counted: see [`stats`](KeyedRateLimitHandle::stats). The returned
    /// layer has tokens of its own, so name it before it is used. Default: no name.
    ///
    /// ```
    /// use tower_upstream::{Call, Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_minute(1))
    ///     .by_key(|call: &Call<String>| call.body().clone())
    ///     .named("tenant quota");
    /// let quotas = layer.handle();
    /// quotas.take("ann", 1)?;
    /// assert_eq!(quotas.take("ann", 1).unwrap_err().guard(), Some("tenant quota"));
    /// assert_eq!(quotas.stats().refused, Some(1));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let max_keys = self.keys.max_keys();
        self.anew(max_keys, |setup| setup.name = Some(name.into()))
    }

    fn anew(self, max_keys: usize, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.keys.telemetry().setup().clone();
        change(&mut setup);
        Self { keys: Arc::new(Keys::new(self.keys.quotas(), max_keys, setup)), ..self }
    }

    /// Returns a layer with the same quotas and tokens that finds the key of a request in another way:
    /// for services whose requests differ, but whose callers are the same.
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

    /// Sets how many tokens a call takes. Default: one. See
    /// [`RateLimitLayer::with_cost`](crate::RateLimitLayer::with_cost).
    #[must_use]
    pub fn with_cost<D>(self, cost: D) -> KeyedRateLimitLayer<K, D> {
        KeyedRateLimitLayer { keys: self.keys, key: self.key, cost }
    }

    /// Returns a layer with the same settings and tokens of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        K: Clone,
        C: Clone,
    {
        self.clone().anew(self.keys.max_keys(), |_| {})
    }

    /// Returns a handle for inspecting and changing the quotas of all keys.
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
