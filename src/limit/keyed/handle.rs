use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::keys::Keys;
use crate::{
    error::Error,
    limit::rate::{Quotas, RateLimitConfig},
};

/// A view of the quotas of all keys of a [`KeyedRateLimitLayer`](super::KeyedRateLimitLayer). Cheap
/// to clone.
///
/// Keys are given as what the layer hashes: the same value, or a borrowed form of it that hashes the
/// same, such as a `str` for a `String`.
///
/// ```
/// use tower_upstream::{Call, Quota, RateLimitLayer};
/// let layer = RateLimitLayer::new(Quota::per_minute(10)).by_key(|call: &Call<String>| call.body().clone());
/// let quotas = layer.handle();
/// quotas.take("ann", 4)?;
/// assert_eq!((quotas.remaining("ann"), quotas.remaining("bob")), (6, 10));
/// assert_eq!(quotas.len(), 1);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyedRateLimitHandle {
    keys: Arc<Keys>,
}

impl KeyedRateLimitHandle {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// How many calls of `key` would pass at once now. Takes none.
    pub fn remaining(&self, key: &(impl Hash + ?Sized)) -> u32 {
        self.keys.remaining(self.keys.hash(key))
    }

    /// Takes `tokens` of `key` at once, or none.
    ///
    /// # Errors
    /// A refusal with the moment to come back. `InvalidConfig` if so many never fit, because the
    /// burst is smaller.
    pub fn take(&self, key: &(impl Hash + ?Sized), tokens: u32) -> Result<(), Error> {
        self.keys.take(self.keys.hash(key), tokens)
    }

    /// How long until `tokens` of `key` at once would pass: zero if they would now. Takes none.
    ///
    /// # Errors
    /// `InvalidConfig` if so many never fit, because the burst is smaller.
    pub fn peek(&self, key: &(impl Hash + ?Sized), tokens: u32) -> Result<Duration, Error> {
        self.keys.wait(self.keys.hash(key), tokens).map(Duration::from_nanos)
    }

    /// Gives `key` all its tokens back.
    pub fn clear(&self, key: &(impl Hash + ?Sized)) {
        self.keys.clear(self.keys.hash(key));
    }

    /// Returns how many keys have not all their tokens now. Looks through the whole table.
    ///
    /// May be more than [`max_keys`](Self::max_keys), up to two and a half times as many, since each
    /// key has a choice of places. Keys that were forgotten early are not among them.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether every key has all its tokens. Looks through the whole table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many keys the table is made for. It has room for more: see [`len`](Self::len).
    pub fn max_keys(&self) -> usize {
        self.keys.max_keys()
    }

    /// What the table takes of memory, in bytes. It never changes.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }

    /// Other quotas from now on, for every key. The share of each bucket that is used stays.
    ///
    /// # Errors
    /// `InvalidConfig` for several quotas where the layer was made with one: there is no room for
    /// them. Nothing is changed then.
    pub fn set(&self, quotas: impl Into<Quotas>) -> Result<(), Error> {
        self.keys.set(quotas.into())
    }

    /// [`set`](Self::set) from a config.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes; nothing is changed then.
    pub fn update(&self, config: &RateLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.set(config)
    }
}

impl fmt::Debug for KeyedRateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}
