//! What is known of the instances of a service.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry as At},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    super::{register::Instance, set::EndpointSet},
    inbox::{Change, Changes},
    messages::Header,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind},
    wire::start,
};

/// Most bytes of the value of a key that is read.
const MAX_VALUE: usize = 64 << 10;

/// An instance, as it was written last.
#[derive(Debug, Clone)]
struct Entry {
    revision: i64,
    /// The last that could be read.
    endpoint: Option<Arc<Endpoint>>,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<Bytes, Entry>,
    /// Up to which everything is known.
    pub(super) revision: i64,
    cluster: u64,
    /// Values that could not be read so far.
    unreadable: u64,
}

impl Book {
    /// Whether a member tells of the same data, and is as far. A member that is behind is not.
    pub(super) fn is_of(&self, header: &Header) -> bool {
        let is_same =
            header.cluster_id == self.cluster || self.cluster == 0 || header.cluster_id == 0;
        is_same && header.revision >= self.revision
    }

    /// Takes over all that there is at a revision. Tells how many keys are gone.
    pub(super) fn replace(
        &mut self,
        service: &str,
        all: BTreeMap<Bytes, Change>,
        at: &Header,
    ) -> usize {
        // A store that was replaced counts anew.
        let is_other = !self.is_of(at);
        let before = self.entries.len();
        self.entries.retain(|key, entry| {
            if is_other {
                entry.revision = 0;
            }
            all.contains_key(key)
        });
        let gone = before - self.entries.len();
        (self.revision, self.cluster) = (at.revision, at.cluster_id);
        for (key, change) in all {
            self.put(service, key, change);
        }
        gone
    }

    /// Takes over changes. Tells whether there is anything new.
    pub(super) fn apply(&mut self, service: &str, changes: Changes) -> bool {
        let mut is_new = false;
        for (key, change) in changes.by_key {
            // What was told before that may come again.
            if change.revision > self.revision {
                is_new |= self.put(service, key, change);
            }
        }
        self.revision = self.revision.max(changes.revision);
        is_new
    }

    fn put(&mut self, service: &str, key: Bytes, change: Change) -> bool {
        let Some(value) = change.value else {
            return self.entries.remove(&key).is_some_and(|entry| entry.endpoint.is_some());
        };
        let revision = change.revision;
        let id = id_of(&key);
        let mut entry = match self.entries.entry(key) {
            At::Occupied(known) if known.get().revision == revision => return false,
            At::Occupied(known) => known,
            At::Vacant(vacant) => vacant.insert_entry(Entry { revision, endpoint: None }),
        };
        let entry = entry.get_mut();
        entry.revision = revision;
        match read(&value, service, &id) {
            Ok(endpoint) => {
                entry.endpoint = Some(endpoint);
                true
            }
            Err(error) => {
                self.unreadable = self.unreadable.saturating_add(1);
                tracing::warn!(
                    service, id, revision, %error, in_use = entry.endpoint.is_some(),
                    unreadable = self.unreadable,
                    "an instance in etcd cannot be read; the last that could stays in use"
                );
                false
            }
        }
    }

    pub(super) fn progressed(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// The instances that can be read. Of those with the same key the first counts.
    pub(super) fn set(&self, service: &str) -> EndpointSet {
        let all = || self.entries.values().filter_map(|entry| entry.endpoint.clone());
        let revision: Arc<str> = self.revision.to_string().into();
        if let Ok(set) = EndpointSet::new(all(), revision.clone()) {
            return set;
        }
        let (mut keys, mut identities) = (HashSet::new(), HashSet::new());
        let once = all().filter(|of| {
            let is_first = !keys.contains(of.key()) && !identities.contains(&**of.identity());
            if is_first {
                keys.insert(of.key().to_owned());
                identities.insert(of.identity().to_string());
            } else {
                tracing::warn!(service, id = of.key(), "two instances in etcd have the same id");
            }
            is_first
        });
        let once: Vec<_> = once.collect();
        // Cannot fail: no key is there twice.
        EndpointSet::new(once, revision).unwrap_or_else(|_| EndpointSet::empty())
    }
}

/// The last part of a key.
fn id_of(key: &[u8]) -> String {
    let id = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    start(&String::from_utf8_lossy(id), 256).into_owned()
}

/// An instance; what it does not say of itself, its key tells.
pub(super) fn read(value: &[u8], service: &str, id: &str) -> Result<Arc<Endpoint>, Error> {
    if value.len() > MAX_VALUE {
        let too_long = Error::not_sent(Kind::InvalidConfig);
        return Err(too_long.message("the value is longer than 64 KiB"));
    }
    let instance = Instance::from_json_at(value, service, id)?;
    Ok(instance.endpoint().clone())
}
