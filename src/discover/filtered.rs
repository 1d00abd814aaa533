use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream::{BoxStream, StreamExt};

use super::{discover::Discover, set::EndpointSet};
use crate::{endpoint::Endpoint, error::BoxError};

/// Some of the endpoints of another source.
///
/// # Example
/// ```
/// use futures::{executor::block_on, stream::StreamExt};
/// use tower_upstream::{Endpoint, discover::{Discover, Filtered, Memory}};
///
/// let all = Memory::new([
///     Endpoint::new("a:1")?.with_tag("v1"),
///     Endpoint::new("b:1")?.with_tag("v2").with_tag("eu"),
/// ])?;
/// let new = Filtered::tagged(all.clone(), ["v2"]);
/// let set = block_on(new.discover().next()).ok_or("no set")?;
/// assert_eq!((set.len(), set[0].key()), (1, "b:1"));
/// let heavy = Filtered::new(all, |endpoint| endpoint.weight() > 1);
/// # let _ = heavy;
/// # Ok::<(), tower_upstream::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Filtered<D> {
    source: D,
    keeps: Arc<dyn Fn(&Endpoint) -> bool + Send + Sync>,
}

impl<D: Discover> Filtered<D> {
    /// Keeps the endpoints of `source` for which the closure returns `true`.
    pub fn new(source: D, keeps: impl Fn(&Endpoint) -> bool + Send + Sync + 'static) -> Self {
        Self { source, keeps: Arc::new(keeps) }
    }

    /// Keeps the endpoints that have [all of `tags`](Endpoint::has_all_tags).
    pub fn tagged<T: Into<String>>(source: D, tags: impl IntoIterator<Item = T>) -> Self {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        Self::new(source, move |endpoint| endpoint.has_all_tags(&tags))
    }

    /// Keeps the endpoints of one service, for a source that has many: those with its name as the value of
    /// `name` in their [metadata](Endpoint::metadata).
    pub fn service(source: D, name: impl Into<String>) -> Self {
        let name = name.into();
        Self::new(source, move |endpoint| endpoint.metadata().get("name") == Some(&name))
    }
}

impl<D: Discover> Discover for Filtered<D> {
    type Stream = FilteredStream;

    fn discover(&self) -> FilteredStream {
        let (keeps, mut last) = (self.keeps.clone(), None::<EndpointSet>);
        let sets = self.source.discover().filter_map(move |set| {
            let set = set.filtered(|endpoint| keeps(endpoint));
            let is_news = last.as_ref().is_none_or(|last| **last != *set);
            last = Some(set.clone());
            std::future::ready(is_news.then_some(set))
        });
        FilteredStream { sets: sets.boxed() }
    }

    fn last_error(&self) -> Option<BoxError> {
        self.source.last_error()
    }
}

impl<D: fmt::Debug> fmt::Debug for Filtered<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtered").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Stream of the sets of a [`Filtered`].
pub struct FilteredStream {
    sets: BoxStream<'static, EndpointSet>,
}

impl Stream for FilteredStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl fmt::Debug for FilteredStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilteredStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::discover::Memory;

    fn of(address: &str, tags: &[&str]) -> Endpoint {
        tags.iter().fold(Endpoint::new(address).unwrap(), |of, tag| of.with_tag(*tag))
    }

    #[tokio::test]
    async fn only_a_change_of_what_is_kept_is_news() {
        let all = Memory::new([of("a:1", &["v2", "eu"]), of("b:1", &["V2", "eu"])]).unwrap();
        let mut sets = Filtered::tagged(all.clone(), ["v2", "eu"]).discover();
        let set = sets.next().await.unwrap();
        assert_eq!((set.len(), set[0].key()), (1, "a:1"));
        all.insert(of("c:1", &["eu"])).unwrap();
        assert!(sets.next().now_or_never().is_none());
        all.insert(of("b:1", &["eu", "v2"])).unwrap();
        assert_eq!(sets.next().await.unwrap().len(), 2);
        all.remove("a:1");
        all.remove("b:1");
        assert!(sets.next().await.unwrap().is_empty());
    }
}
