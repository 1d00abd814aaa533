//! What is known of the instances of a service.

use std::{
    collections::{BTreeMap, btree_map::Entry as At},
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
    allows_sockets: bool,
    entries: BTreeMap<Bytes, Entry>,
    /// Up to which everything is known.
    pub(super) revision: i64,
    cluster: u64,
    /// Values that could not be read so far.
    unreadable: u64,
}

impl Book {
    pub(super) fn new(allows_sockets: bool) -> Self {
        Self { allows_sockets, ..Self::default() }
    }

    /// Whether a member tells of the same data, and is as far. A member that is behind is not.
    pub(super) fn is_of(&self, header: &Header) -> bool {
        (self.cluster == 0 || header.cluster_id == self.cluster) && header.revision >= self.revision
    }

    /// The cluster, and how far its history is known.
    pub(super) fn place(&self) -> (u64, i64) {
        (self.cluster, self.revision)
    }

    /// Whether this is of the history that was known up to `before`.
    pub(super) fn follows(&self, (cluster, revision): (u64, i64)) -> bool {
        self.cluster == cluster && self.revision >= revision
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
        let entry = match self.entries.entry(key) {
            At::Occupied(known) if known.get().revision == revision => return false,
            At::Occupied(known) => known.into_mut(),
            At::Vacant(vacant) => vacant.insert(Entry { revision, endpoint: None }),
        };
        entry.revision = revision;
        match read(&value, service, &id, self.allows_sockets) {
            Ok(instance) => {
                entry.endpoint = Some(instance.endpoint().clone());
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
        let all = self.entries.values().filter_map(|entry| entry.endpoint.clone());
        EndpointSet::of_first(all.collect(), self.revision.to_string(), |of| {
            tracing::warn!(service, id = of.key(), "two instances in etcd have the same id");
        })
    }
}

/// The last part of a key.
fn id_of(key: &[u8]) -> String {
    let id = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    start(&String::from_utf8_lossy(id), 256).into_owned()
}

/// An instance; what it does not say of itself, its key tells.
pub(super) fn read(
    value: &[u8],
    service: &str,
    id: &str,
    allows_sockets: bool,
) -> Result<Instance, Error> {
    let invalid = |what: &str| Error::not_sent(Kind::InvalidConfig).message(what.to_owned());
    if value.len() > MAX_VALUE {
        return Err(invalid("the value is longer than 64 KiB"));
    }
    let instance = Instance::from_json_at(value, service, id)?;
    let address = instance.endpoint().address();
    // Whatever may write to etcd must not start programs of this host, or reach its sockets, by that.
    match address.scheme() == Some("unix") || address.socket_path().is_some() {
        true if allows_sockets => Ok(instance),
        true => Err(invalid("its address is a Unix socket; see `allow_unix_sockets`")),
        false if address.host().is_empty() => Err(invalid("its address is a program of this host")),
        false => Ok(instance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(revision: i64, all: &[(&'static str, i64)]) -> Book {
        let mut book = Book::default();
        assert_eq!(book.replace("tax", values(all), &header(7, revision)), 0);
        book
    }

    fn header(cluster_id: u64, revision: i64) -> Header {
        Header { cluster_id, member_id: 1, revision }
    }

    /// Keys, each with the revision of its change, which is its port.
    fn values(all: &[(&'static str, i64)]) -> BTreeMap<Bytes, Change> {
        let change = |revision: i64| {
            let value = format!(r#"{{"address":"a","port":{revision}}}"#);
            Change { value: Some(value.into()), revision }
        };
        all.iter().map(|(key, revision)| (Bytes::from(*key), change(*revision))).collect()
    }

    fn ports(book: &Book) -> Vec<(String, u16)> {
        let set = book.set("tax");
        let port = |of: &Arc<Endpoint>| of.address().port().unwrap();
        set.iter().map(|of| (of.key().to_owned(), port(of))).collect()
    }

    #[test]
    fn a_member_that_is_behind_is_told_from_data_that_was_replaced() {
        let book = book(10, &[("/s/tax/a", 5)]);
        for (of, is_of) in [((7, 10), true), ((7, 11), true), ((7, 9), false), ((8, 11), false)] {
            assert_eq!(book.is_of(&header(of.0, of.1)), is_of, "{of:?}");
        }
        assert!(book.follows((7, 9)) && !book.follows((7, 11)) && !book.follows((8, 9)));
    }

    #[test]
    fn what_was_replaced_is_read_even_at_the_same_revision() {
        let mut book = book(10, &[("/s/tax/a", 5), ("/s/tax/b", 6)]);
        let mut other = values(&[("/s/tax/a", 5)]);
        other.values_mut().for_each(|change| {
            change.value = Some(r#"{"address":"a","port":1}"#.into());
        });
        assert_eq!(book.replace("tax", other.clone(), &header(7, 12)), 1);
        assert_eq!(ports(&book), [("a".to_owned(), 5)]);
        assert_eq!(book.replace("tax", other, &header(8, 12)), 0);
        assert_eq!(ports(&book), [("a".to_owned(), 1)]);
    }

    #[test]
    fn an_address_of_this_host_alone_is_refused_and_a_socket_unless_it_is_allowed() {
        for (address, is_read) in [
            ("exec:/usr/bin/x", [false, false]),
            ("exec:///usr/bin/x", [false, false]),
            ("unix:/run/x.sock", [false, true]),
            ("http+unix://%2Frun%2Fx.sock/a", [false, true]),
            ("GRPC+unix://%2Frun%2Fx.sock", [false, true]),
            ("https://x.test", [true, true]),
        ] {
            let value = format!(r#"{{"address":"{address}","port":0}}"#);
            let read = |allowed| read(value.as_bytes(), "tax", "a", allowed).is_ok();
            assert_eq!([false, true].map(read), is_read, "{address}");
        }
        let split = r#"{"address":"/usr/bin/x","protocol":"exec"}"#;
        assert!(read(split.as_bytes(), "tax", "a", true).is_err());
    }

    #[test]
    fn changes_that_are_known_change_nothing() {
        let mut book = book(10, &[("/s/tax/a", 9)]);
        let changes = |key: &'static str, revision| Changes {
            by_key: values(&[(key, revision)]).into_iter().collect(),
            revision,
        };
        assert!(!book.apply("tax", changes("/s/tax/a", 10)));
        assert!(book.apply("tax", changes("/s/tax/b", 11)));
        assert_eq!(book.place(), (7, 11));
        let gone = Change { value: None, revision: 12 };
        let gone = Changes { by_key: [(Bytes::from("/s/tax/a"), gone)].into(), revision: 12 };
        assert!(book.apply("tax", gone));
        assert_eq!(ports(&book), [("b".to_owned(), 11)]);
    }
}
