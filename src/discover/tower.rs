//! From tower's change stream, and to it.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::{Stream, TryStream};
use futures_util::stream::{BoxStream, Fuse, StreamExt};
use pin_project_lite::pin_project;
use tower::discover::Change;

use super::{Difference, Discover, EndpointSet, diff};
use crate::{endpoint::Endpoint, member::Member, outcome::TypeName};

/// A [`Discover`] made of streams of tower's [`Change`]s.
///
/// Changes that are ready together become one set. The key of the change becomes the key of the
/// endpoint. An error of the stream is logged, and the last set stays; tower's own balancer would
/// die of it. A stream that answers with a
/// thousand errors in a row, without a pause, has ended; that is logged too.
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
    /// `make` begins a new stream, which tells all there is from the start.
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
    type Stream = Sets<S>;

    fn discover(&self) -> Sets<S> {
        Sets {
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
    /// The sets of a [`FromChanges`].
    pub struct Sets<S> {
        #[pin]
        changes: Fuse<S>,
        endpoints: BTreeMap<String, Arc<Endpoint>>,
        revision: u64,
        changed: bool,
        // In a row, without a pause.
        errors: usize,
    }
}

impl<S, K, E> Stream for Sets<S>
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
            // Changes that changed nothing. There may be more, and nobody else would wake us.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *this.revision += 1;
        let endpoints = this.endpoints.values().cloned();
        // Cannot fail: a map has each key once.
        Poll::Ready(EndpointSet::new(endpoints, this.revision.to_string()).ok())
    }
}

impl<S> fmt::Debug for Sets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sets").field("endpoints", &self.endpoints.keys()).finish_non_exhaustive()
    }
}

/// Any source of endpoints as tower's change stream, which is a `tower::discover::Discover`.
///
/// Use it to feed tower's own balancers. An endpoint whose weight or metadata changed is not
/// inserted anew; one whose address changed is.
///
/// # Example
/// ```
/// use futures::{executor::block_on, stream::StreamExt};
/// use tower::discover::Change;
/// use tower_upstream::{Endpoint, connect_fn, discover::{self, ToChanges}};
///
/// let source = discover::fixed(["http://10.0.0.1:8080"])?;
/// let mut changes = ToChanges::new(&source, connect_fn(|endpoint: &Endpoint| endpoint.weight()));
/// let change = block_on(changes.next());
/// assert!(matches!(change, Some(Ok(Change::Insert(key, 1))) if key.ends_with(":8080")));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct ToChanges<C> {
    sets: BoxStream<'static, EndpointSet>,
    connect: C,
    current: Option<EndpointSet>,
    /// The keys that were told, by identity: an endpoint may be written in another form since.
    told: BTreeMap<Arc<str>, String>,
    waiting: VecDeque<Change<String, Arc<Endpoint>>>,
}

impl<C: crate::connect::Connect> ToChanges<C> {
    /// Watches `source`, and lets `connect` make the service of each endpoint.
    pub fn new<D: Discover>(source: &D, connect: C) -> Self {
        Self {
            // Tower's balancers ask again after the end.
            sets: Box::pin(source.discover().fuse()),
            connect,
            current: None,
            told: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }
}

impl<C> Stream for ToChanges<C>
where
    C: crate::connect::Connect + Unpin,
{
    type Item = Result<Change<String, C::Service>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.waiting.pop_front() {
                Some(Change::Insert(key, endpoint)) => {
                    let service = self.connect.connect(&Member::new((*endpoint).clone()));
                    return Poll::Ready(Some(Ok(Change::Insert(key, service))));
                }
                Some(Change::Remove(key)) => return Poll::Ready(Some(Ok(Change::Remove(key)))),
                None => {}
            }
            let Some(next) = ready!(self.sets.as_mut().poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let this = &mut *self;
            let before: &[Arc<Endpoint>] = this.current.as_deref().unwrap_or_default();
            for change in diff(before, &next) {
                match change {
                    Difference::Insert(endpoint) => {
                        let key = this.told.entry(endpoint.identity().clone());
                        let key = key.or_insert_with(|| endpoint.key().to_owned()).clone();
                        this.waiting.push_back(Change::Insert(key, endpoint.clone()));
                    }
                    Difference::Remove(endpoint) => {
                        let key = this.told.remove(endpoint.identity());
                        this.waiting.extend(key.map(Change::Remove));
                    }
                    Difference::Update(_) => {}
                }
            }
            self.current = Some(next);
        }
    }
}

impl<C> fmt::Debug for ToChanges<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToChanges").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;

    type Changed = Result<Change<String, Endpoint>, &'static str>;

    fn sets(changes: Vec<Changed>) -> Sets<impl Stream<Item = Changed>> {
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
