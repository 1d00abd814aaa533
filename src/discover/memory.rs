use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use super::{discover::Discover, set::EndpointSet};
use crate::{endpoint::Endpoint, error::Error};

/// A list of endpoints that this program changes while running.
///
/// Clones are handles to one list. Each change reaches every balancer over it; changes that come
/// faster than a balancer takes them are taken together.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, discover::Memory};
///
/// let endpoints = Memory::new(["http://10.0.0.1:8080"])?;
/// endpoints.insert("http://10.0.0.2:8080")?;
/// endpoints.insert("http://10.0.0.1:8080".parse::<Endpoint>()?.with_weight(2))?;
/// endpoints.remove("http://10.0.0.2:8080");
/// assert_eq!(endpoints.snapshot().len(), 1);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Memory {
    set: Arc<watch::Sender<EndpointSet>>,
}

impl Memory {
    /// Makes a list of `endpoints`.
    ///
    /// # Errors
    /// `InvalidConfig` for an address that cannot be used, or one that is named twice.
    pub fn new<I, E>(endpoints: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = E>,
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let endpoints =
            endpoints.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, E::Error>>()?;
        let set = EndpointSet::new(endpoints, "0")?;
        Ok(Self { set: Arc::new(watch::Sender::new(set)) })
    }

    /// Adds an endpoint, or replaces the one with its key.
    ///
    /// # Errors
    /// `InvalidConfig` for an address that cannot be used.
    pub fn insert<E>(&self, endpoint: E) -> Result<(), Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        self.put(Arc::new(endpoint.try_into()?));
        Ok(())
    }

    pub(super) fn put(&self, endpoint: Arc<Endpoint>) {
        self.change(|set, revision| Some(set.with(endpoint, revision)));
    }

    /// Removes the endpoint with `key`, and returns whether there was one.
    ///
    /// Calls that it has in flight finish.
    pub fn remove(&self, key: &str) -> bool {
        self.change(|set, revision| Some(set.without(set.index_of(key)?, revision)))
    }

    /// Replaces the whole list.
    ///
    /// # Errors
    /// `InvalidConfig` if two endpoints have the same key; then the list stays as it was.
    pub fn replace(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Result<(), Error> {
        let endpoints = EndpointSet::new(endpoints, "")?;
        self.change(|set, revision| Some(endpoints.sharing(set).revised(revision)));
        Ok(())
    }

    /// Returns the list as it is now.
    pub fn snapshot(&self) -> EndpointSet {
        self.set.borrow().clone()
    }

    /// Whether there is another handle, or a stream.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.set) > 1 || self.set.receiver_count() > 0
    }

    /// Tells whether there is a next set.
    fn change(&self, next: impl FnOnce(&EndpointSet, String) -> Option<EndpointSet>) -> bool {
        self.set.send_if_modified(|set| {
            let revision = set.revision().parse::<u64>().map_or(0, |revision| revision + 1);
            let next = next(set, revision.to_string());
            next.map(|next| *set = next).is_some()
        })
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { set: Arc::new(watch::Sender::new(EndpointSet::empty())) }
    }
}

impl Discover for Memory {
    type Stream = MemoryStream;

    fn discover(&self) -> MemoryStream {
        let sets = stream::unfold((self.set.subscribe(), true), |(mut watch, first)| async move {
            if !first {
                // The last handle is gone: the set stays as it is.
                watch.changed().await.ok()?;
            }
            let set = watch.borrow_and_update().clone();
            Some((set, (watch, false)))
        });
        MemoryStream { sets: sets.boxed() }
    }
}

/// The sets of a [`Memory`].
pub struct MemoryStream {
    sets: BoxStream<'static, EndpointSet>,
}

impl Stream for MemoryStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_come_in_order_and_are_taken_together() {
        let memory = Memory::new(["a:1"]).unwrap();
        let mut sets = memory.discover();
        assert_eq!(sets.next().await.unwrap().len(), 1);
        memory.insert("b:1").unwrap();
        memory.insert("c:1").unwrap();
        let set = sets.next().await.unwrap();
        assert_eq!((set.len(), set.revision()), (3, "2"));
        drop(memory);
        assert!(sets.next().await.is_none());
    }

    #[test]
    fn a_mistake_loses_nothing() {
        let memory = Memory::new(["a:1"]).unwrap();
        let twice = [Endpoint::new("b:1").unwrap(), Endpoint::new("b:1").unwrap()];
        assert!(memory.replace(twice).unwrap_err().to_string().contains("`b:1`"));
        assert!(memory.insert("nonsense").is_err());
        assert_eq!(memory.snapshot()[0].key(), "a:1");
    }
}
