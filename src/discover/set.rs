use std::{collections::HashSet, ops::Deref, sync::Arc};

use crate::{
    endpoint::{Endpoint, identities_of},
    error::{Error, Kind},
    time::{self, Instant},
};

/// The complete set of the endpoints of an upstream at one moment, ordered by key.
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
                 `Endpoint::with_key`, or name the address once",
                twice.key()
            )));
        }
        Ok(Self {
            endpoints: endpoints.into(),
            revision: revision.into(),
            observed_at: time::now(),
        })
    }

    /// What the source calls this state.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// When the source was last seen in this state.
    pub fn observed_at(&self) -> Instant {
        self.observed_at
    }

    /// The endpoint with `key`, which may be its address in any form.
    pub fn get(&self, key: &str) -> Option<&Arc<Endpoint>> {
        identities_of(key).find_map(|identity| {
            let found = self.endpoints.binary_search_by(|of| of.identity().cmp(&identity));
            self.endpoints.get(found.ok()?)
        })
    }
}

impl Deref for EndpointSet {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &Self::Target {
        &self.endpoints
    }
}
