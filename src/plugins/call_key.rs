//! The key of a call, by the names that a config file has.

use std::hash::{Hash, Hasher};

use crate::{config::KeySource, key::Key, plugin::Call};

/// Finds the key of a call, for [`AnyStrategy`](super::AnyStrategy): in a header, or in its metadata. An empty text is
/// no key.
///
/// ```
/// use tower_upstream::{config::KeySource, plugins::CallKey, session::SessionTable};
/// let key = CallKey::from(KeySource::default().with_header("X-User"));
/// let sessions = SessionTable::by_key(key);
/// # let _ = sessions;
/// ```
#[derive(Debug, Clone)]
pub struct CallKey(KeySource);

impl From<KeySource> for CallKey {
    fn from(source: KeySource) -> Self {
        Self(source)
    }
}

impl CallKey {
    fn of<'c, T>(&self, call: &'c Call<T>) -> Option<&'c str> {
        let Self(KeySource { header, metadata, .. }) = self;
        let headers = call.headers();
        let is_named = |(name, _): &(&String, &String)| name.eq_ignore_ascii_case(header);
        let found = headers.get(header).or_else(|| headers.iter().find(is_named).map(|(_, of)| of));
        let found = found.map(|of| match header.eq_ignore_ascii_case(FORWARDED) {
            true => of.split(',').next().unwrap_or(of).trim(),
            false => of,
        });
        // An empty one is none: all calls that have it would go to one endpoint.
        let is_key = |of: &&str| !of.is_empty();
        let in_metadata = || call.metadata().get(metadata).map(String::as_str);
        found.filter(is_key).or_else(in_metadata).filter(is_key)
    }
}

/// Has the addresses of proxies behind that of the client.
pub(super) const FORWARDED: &str = "X-Forwarded-For";

/// A call without a key has none, and goes anywhere.
impl<T> Key<Call<T>> for CallKey {
    fn hash<H: Hasher>(&self, call: &Call<T>, hasher: &mut H) {
        if let Some(key) = self.of(call) {
            key.hash(hasher);
        }
    }
}
