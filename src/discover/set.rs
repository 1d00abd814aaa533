use std::{collections::HashSet, ops::Deref, sync::Arc};

use crate::{
    endpoint::{Endpoint, identities_of},
    error::{Error, Kind},
    time::{self, Instant},
};

/// The complete set of the endpoints of an upstream at one moment, ordered by key.
///
/// Where only some were given a [key](Endpoint::with_key) of their own, these come together, and not between the others.
///
/// ```
/// use tower_upstream::{Endpoint, discover::EndpointSet};
/// let endpoints = ["b:2", "a:1"].map(|address| address.parse::<Endpoint>().unwrap());
/// let set = EndpointSet::new(endpoints, "7")?;
/// assert_eq!(set[0].key(), "a:1");
/// assert_eq!(set.revision(), "7");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EndpointSet {
    endpoints: Arc<[Arc<Endpoint>]>,
    revision: Arc<str>,
    observed_at: Instant,
}

impl EndpointSet {
    /// Orders `endpoints` by key. `revision` is what the source calls this state; only whether it
    /// differs means something.
    ///
    /// # Errors
    /// `InvalidConfig` if two endpoints have the same key, or without keys the same address.
    pub fn new(
        endpoints: impl IntoIterator<Item = impl Into<Arc<Endpoint>>>,
        revision: impl Into<Arc<str>>,
    ) -> Result<Self, Error> {
        let mut endpoints: Vec<Arc<Endpoint>> = endpoints.into_iter().map(Into::into).collect();
        endpoints.sort_by(|a, b| a.identity().cmp(b.identity()));
        let (mut keys, mut identities) = (HashSet::new(), HashSet::new());
        let twice = endpoints.iter().find(|endpoint| {
            !keys.insert(endpoint.key()) || !identities.insert(endpoint.identity())
        });
        if let Some(twice) = twice {
            return Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                "two endpoints have the key `{}`; give each a key of its own with \
                 `Endpoint::with_key` (in a file, `id`), or name the address once",
                twice.key()
            )));
        }
        Ok(Self::ordered(endpoints, revision))
    }

    /// The same, but of endpoints with the same key only the first counts; the others are `told`.
    pub(super) fn of_first(
        endpoints: Vec<Arc<Endpoint>>,
        revision: impl Into<Arc<str>>,
        mut told: impl FnMut(&Endpoint),
    ) -> Self {
        let (mut keys, mut identities) = (HashSet::new(), HashSet::new());
        let mut once: Vec<Arc<Endpoint>> = Vec::with_capacity(endpoints.len());
        for of in &endpoints {
            if keys.contains(of.key()) || identities.contains(of.identity()) {
                told(of);
            } else {
                keys.insert(of.key());
                identities.insert(of.identity());
                once.push(of.clone());
            }
        }
        once.sort_by(|a, b| a.identity().cmp(b.identity()));
        Self::ordered(once, revision)
    }

    /// Takes over the endpoints of `before` that are equal to those of this set.
    ///
    /// A balancer compares endpoints that it has seen before by their pointer first, so this makes large sets cheap
    /// to apply. For a source that polls, and makes all endpoints anew each time.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_upstream::{Endpoint, discover::EndpointSet};
    /// let poll = || EndpointSet::new([Endpoint::new("a:1")?], "");
    /// let first = poll()?;
    /// let second = poll()?.sharing(&first);
    /// assert!(Arc::ptr_eq(&first[0], &second[0]));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn sharing(mut self, before: &Self) -> Self {
        let mut before = before.iter().peekable();
        let shared = |endpoint: &Arc<Endpoint>| {
            while before.next_if(|of| of.identity() < endpoint.identity()).is_some() {}
            before.next_if(|of| *of == endpoint).unwrap_or(endpoint).clone()
        };
        self.endpoints = self.endpoints.iter().map(shared).collect();
        self
    }

    /// This set with `endpoint`, instead of those with its key. What is there already stays the same value.
    pub(super) fn with(&self, mut endpoint: Arc<Endpoint>, revision: String) -> Self {
        let mut endpoints = self.to_vec();
        let at = |of: &[Arc<Endpoint>], identity: &str| {
            of.binary_search_by(|of| (**of.identity()).cmp(identity))
        };
        // Whatever has its key has one of these identities, and its own is one of them.
        for identity in identities_of(endpoint.key()) {
            if let Ok(at) = at(&endpoints, &identity) {
                let of = &endpoints[at];
                if of.identity() == endpoint.identity() || of.key() == endpoint.key() {
                    let was = endpoints.remove(at);
                    endpoint = if was == endpoint { was } else { endpoint };
                }
            }
        }
        let (Ok(at) | Err(at)) = at(&endpoints, endpoint.identity());
        endpoints.insert(at, endpoint);
        Self::ordered(endpoints, revision)
    }

    /// This set without the endpoint at `index`.
    pub(super) fn without(&self, index: usize, revision: String) -> Self {
        let mut endpoints = self.to_vec();
        endpoints.remove(index);
        Self::ordered(endpoints, revision)
    }

    /// Those of this set that `is_kept`.
    pub(super) fn filtered(&self, is_kept: impl Fn(&Endpoint) -> bool) -> Self {
        let kept = self.endpoints.iter().filter(|endpoint| is_kept(endpoint)).cloned();
        Self { endpoints: kept.collect(), ..self.clone() }
    }

    pub(super) fn revised(self, revision: String) -> Self {
        Self { revision: revision.into(), ..self }
    }

    pub(super) fn empty() -> Self {
        Self::ordered(Vec::new(), "")
    }

    fn ordered(endpoints: Vec<Arc<Endpoint>>, revision: impl Into<Arc<str>>) -> Self {
        Self { endpoints: endpoints.into(), revision: revision.into(), observed_at: time::now() }
    }

    /// Returns what the source called this state when it was first seen. An equal answer makes no new set, whatever
    /// its revision is.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Returns when the source was first seen in this state.
    ///
    /// For the time since the last answer, see [`WatchHandle::staleness`](super::WatchHandle::staleness).
    pub fn observed_at(&self) -> Instant {
        self.observed_at
    }

    /// Returns the endpoint with `key`, which may be its address in any form.
    pub fn get(&self, key: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(self.index_of(key)?)
    }

    pub(super) fn index_of(&self, key: &str) -> Option<usize> {
        let mut indices = identities_of(key).filter_map(|identity| {
            self.endpoints.binary_search_by(|of| of.identity().cmp(&identity)).ok()
        });
        indices.next()
    }
}

impl Deref for EndpointSet {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &Self::Target {
        &self.endpoints
    }
}
