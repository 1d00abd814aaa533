use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{Stream, TryStream};
use futures_util::stream::{Fuse, StreamExt};
use pin_project_lite::pin_project;
use tower::discover::Change;

use super::super::{discover::Discover, set::EndpointSet};
use crate::{endpoint::Endpoint, outcome::TypeName};

/// Source made of streams of tower's [`Change`]s.
///
/// Changes that are ready together become one set. The key of the change becomes the key of the
/// endpoint. An error of the stream is logged, and the last set stays; it would end a balancer of tower.
///
/// # Bounds
/// A stream that returns 1,024 errors in a row, without a pause, is treated as ended. That is logged too.
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use futures::{executor::block_on, stream::{self, StreamExt}};
/// use tower::discover::Change;
/// use tower_upstream::{Endpoint, discover::{Discover, FromChanges}};
///
/// let source = FromChanges::new(|| {
///     let endpoint: Endpoint = "http://10.0.0.1:8080".parse().expect("a good address");
///     stream::iter([Ok::<_, Infallible>(Change::Insert("one", endpoint))])
/// });
/// let set = block_on(source.discover().next()).expect("one set");
/// assert_eq!(set[0].key(), "one");
/// ```
pub struct FromChanges<F> {
    make: F,
}

impl<F> FromChanges<F> {
    /// Makes a source of `make`, which begins a new stream that reports everything from the start.
    pub const fn new(make: F) -> Self {
        Self { make }
    }
}

impl<F, S, K, E> Discover for FromChanges<F>
where
    F: Fn() -> S + Send + Sync + 'static,
    S: TryStream<Ok = Change<K, Endpoint>, Error = E>
        + Stream<Item = Result<Change<K, Endpoint>, E>>
        + Send
        + 'static,
    K: fmt::Display + 'static,
    E: fmt::Display + 'static,
{
    type Stream = FromChangesStream<S>;

    fn discover(&self) -> FromChangesStream<S> {
        FromChangesStream {
            // Its end is seen twice: with the last changes, and alone.
            changes: (self.make)().fuse(),
            endpoints: BTreeMap::new(),
            revision: 0,
            changed: false,
            errors: 0,
        }
    }
}

impl<F> fmt::Debug for FromChanges<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromChanges").field(&TypeName::<F>::new()).finish()
    }
}

pin_project! {
    /// Stream of the sets of a [`FromChanges`].
    pub struct FromChangesStream<S> {
        #[pin]
        changes: Fuse<S>,
        endpoints: BTreeMap<String, Arc<Endpoint>>,
        revision: u64,
        changed: bool,
        // In a row, without a pause.
        errors: usize,
    }
}

impl<S, K, E> Stream for FromChangesStream<S>
where
    S: Stream<Item = Result<Change<K, Endpoint>, E>>,
    K: fmt::Display,
    E: fmt::Display,
{
    type Item = EndpointSet;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        /// Changes taken together at most, so that a source that never rests is heard, and lets
        /// others run.
        const TOGETHER: usize = 1_024;
        /// After so many errors in a row, without a pause, there is no source any more.
        const MAX_ERRORS: usize = 1_024;
        let mut this = self.project();
        for _ in 0..TOGETHER {
            if *this.errors >= MAX_ERRORS {
                break;
            }
            match this.changes.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(Change::Insert(key, endpoint)))) => {
                    *this.errors = 0;
                    let key = key.to_string();
                    let endpoint = Arc::new(endpoint.with_key(&*key));
                    this.endpoints.insert(key, endpoint);
                    *this.changed = true;
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => {
                    *this.errors = 0;
                    *this.changed |= this.endpoints.remove(&key.to_string()).is_some();
                }
                Poll::Ready(Some(Err(error))) => {
                    *this.errors += 1;
                    tracing::warn!(%error, "discovery failed; the last endpoints stay in use");
                }
                Poll::Ready(None) if !*this.changed => return Poll::Ready(None),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    // A source that waits before it tries again is in trouble, not over.
                    *this.errors = 0;
                    if *this.changed {
                        break;
                    }
                    return Poll::Pending;
                }
            }
        }
        if !std::mem::take(this.changed) {
            if *this.errors >= MAX_ERRORS {
                tracing::warn!(
                    errors = MAX_ERRORS,
                    "discovery ended after so many errors in a row; the last endpoints stay in use"
                );
                return Poll::Ready(None);
            }
            // Changes that changed nothing. There may be more, and nothing else would wake us.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *this.revision += 1;
        let endpoints = this.endpoints.values().cloned();
        // Cannot fail: a map has each key once.
        Poll::Ready(EndpointSet::new(endpoints, this.revision.to_string()).ok())
    }
}

impl<S> fmt::Debug for FromChangesStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromChangesStream")
            .field("endpoints", &self.endpoints.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    type Changed = Result<Change<String, Endpoint>, &'static str>;

    fn sets(changes: Vec<Changed>) -> FromChangesStream<impl Stream<Item = Changed>> {
        let changes = std::sync::Mutex::new(Some(changes));
        FromChanges::new(move || {
            let changes = crate::sync::lock(&changes).take().unwrap_or_default();
            stream::iter(changes).chain(stream::pending())
        })
        .discover()
    }

    fn insert() -> Changed {
        Ok(Change::Insert("one".into(), "a:1".parse().unwrap()))
    }

    fn removes(count: usize) -> impl Iterator<Item = Changed> {
        (0..count).map(|number| Ok(Change::Remove(number.to_string())))
    }

    #[tokio::test]
    async fn changes_that_change_nothing_end_nothing() {
        let mut sets = sets(removes(5_000).chain([insert()]).collect());
        assert_eq!(sets.next().await.map(|set| set.len()), Some(1));
        assert!(sets.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn only_errors_in_a_row_end_it() {
        let errors = |count| (0..count).map(|_| Err("lost"));
        let mut few: Vec<_> = errors(1_023).chain(removes(1)).chain(errors(1_023)).collect();
        few.push(insert());
        assert_eq!(sets(few).next().await.map(|set| set.len()), Some(1));
        let mut sets = sets([insert()].into_iter().chain(errors(1_024)).collect());
        assert_eq!(sets.next().await.map(|set| set.len()), Some(1));
        assert!(sets.next().await.is_none());
    }

    #[test]
    fn a_source_may_fail_for_long_if_it_pauses() {
        let mut pause = false;
        let changes = stream::poll_fn(move |cx: &mut Context<'_>| {
            pause = !pause;
            if pause {
                return Poll::Ready(Some(Changed::Err("lost")));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let changes = std::sync::Mutex::new(Some(changes));
        let source = FromChanges::new(move || crate::sync::lock(&changes).take().unwrap());
        let mut sets = source.discover();
        for _ in 0..3_000 {
            assert!(sets.next().now_or_never().is_none());
        }
    }
}
