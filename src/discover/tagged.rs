use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::stream::{BoxStream, StreamExt};

use super::{discover::Discover, set::EndpointSet};

/// The endpoints of another source that have all of some tags.
///
/// Tags are compared exactly, with case. Without tags, all endpoints are kept.
///
/// # Example
/// ```
/// use futures::{executor::block_on, stream::StreamExt};
/// use tower_upstream::{Endpoint, discover::{Discover, Memory, Tagged}};
///
/// let all = Memory::new([
///     Endpoint::new("a:1")?.with_tag("v1"),
///     Endpoint::new("b:1")?.with_tag("v2").with_tag("eu"),
/// ])?;
/// let new = Tagged::new(all, ["v2"]);
/// let set = block_on(new.discover().next()).ok_or("no set")?;
/// assert_eq!((set.len(), set[0].key()), (1, "b:1"));
/// # Ok::<(), tower_upstream::BoxError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tagged<D> {
    source: D,
    tags: Vec<String>,
}

impl<D: Discover> Tagged<D> {
    /// Keeps the endpoints of `source` that have all `tags`.
    pub fn new<T: Into<String>>(source: D, tags: impl IntoIterator<Item = T>) -> Self {
        Self { source, tags: tags.into_iter().map(Into::into).collect() }
    }
}

impl<D: Discover> Discover for Tagged<D> {
    type Stream = TaggedStream;

    fn discover(&self) -> TaggedStream {
        let (tags, mut last) = (self.tags.clone(), None::<EndpointSet>);
        let sets = self.source.discover().filter_map(move |set| {
            let set = set.filtered(|endpoint| endpoint.has_all_tags(&tags));
            let is_news = last.as_ref().is_none_or(|last| **last != *set);
            last = Some(set.clone());
            std::future::ready(is_news.then_some(set))
        });
        TaggedStream { sets: sets.boxed() }
    }
}

/// Stream of the sets of a [`Tagged`].
pub struct TaggedStream {
    sets: BoxStream<'static, EndpointSet>,
}

impl Stream for TaggedStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl fmt::Debug for TaggedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaggedStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{discover::Memory, endpoint::Endpoint};

    fn of(address: &str, tags: &[&str]) -> Endpoint {
        tags.iter().fold(Endpoint::new(address).unwrap(), |of, tag| of.with_tag(*tag))
    }

    #[tokio::test]
    async fn only_a_change_of_what_is_kept_is_news() {
        let all = Memory::new([of("a:1", &["v2", "eu"]), of("b:1", &["V2", "eu"])]).unwrap();
        let mut sets = Tagged::new(all.clone(), ["v2", "eu"]).discover();
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
