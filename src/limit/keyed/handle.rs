use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use super::keys::Keys;
use crate::{
    error::Error,
    limit::rate::{Quotas, RateLimitConfig},
    telemetry::Stats,
};

/// Handle for inspecting the quotas of all keys, and for changing them.
///
/// Returned by [`KeyedRateLimitLayer::handle`](super::KeyedRateLimitLayer::handle). Cheap to clone.
///
/// A key is what the layer hashes: the same value, or a borrowed form of it that hashes the same, such as a
/// `str` for a `String`. If the closure of the layer returns an `Option<String>`, pass `&Some("blue")`. A value
/// of another type compiles, too, and looks like a key that has used nothing.
///
/// # Example
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

    /// Returns how many calls of `key` would pass at once now. Takes no token.
    pub fn remaining(&self, key: &(impl Hash + ?Sized)) -> u32 {
        self.keys.remaining(self.keys.hash(key))
    }

    /// Takes `tokens` of `key` at once, or none.
    ///
    /// # Errors
    /// A refusal with the time to come back. [`Kind::InvalidConfig`](crate::error::Kind) if so many never
    /// fit, because the burst is smaller.
    pub fn take(&self, key: &(impl Hash + ?Sized), tokens: u32) -> Result<(), Error> {
        self.keys.take(self.keys.hash(key), tokens)
    }

    /// Returns how long it takes until `tokens` of `key` at once would pass, if no others are taken: zero
    /// if they would pass now. Takes no token.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) if so many never fit, because the burst is smaller.
    pub fn peek(&self, key: &(impl Hash + ?Sized), tokens: u32) -> Result<Duration, Error> {
        self.keys.wait(self.keys.hash(key), tokens).map(Duration::from_nanos)
    }

    /// Gives `key` all its tokens back.
    pub fn clear(&self, key: &(impl Hash + ?Sized)) {
        self.keys.clear(self.keys.hash(key));
    }

    /// Returns what this layer has counted: refusals, if it has a
    /// [name](super::KeyedRateLimitLayer::named).
    pub fn stats(&self) -> Stats {
        self.keys.telemetry().refused()
    }

    /// Returns how many keys owe tokens now. Reads the whole table.
    ///
    /// May be more than [`max_keys`](Self::max_keys), up to two and a half times as many, since each key
    /// has a choice of places. Does not count keys that were forgotten early.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether no key owes tokens. Reads the whole table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many keys the table is made for. It has room for more: see [`len`](Self::len).
    pub fn max_keys(&self) -> usize {
        self.keys.max_keys()
    }

    /// Returns the size of the table in bytes, which never changes.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }

    /// Changes the quotas of every key. The share of each bucket that is used stays.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) for several quotas if the layer was made with one,
    /// since the table has no room for them; then nothing changes.
    pub fn set(&self, quotas: impl Into<Quotas>) -> Result<(), Error> {
        self.keys.set(quotas.into())
    }

    /// Changes the quota of every key to that of `config`, as [`set`](Self::set) does.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
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
