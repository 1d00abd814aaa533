use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use futures_util::stream::{BoxStream, StreamExt};
use tower::discover::Change;

use super::{
    super::{
        diff::{Difference, diff},
        discover::Discover,
        set::EndpointSet,
    },
    measured::Measured,
};
use crate::{connect::Connect, endpoint::Endpoint};

/// Any source of endpoints as tower's change stream, which is a `tower::discover::Discover`.
///
/// Use it to drive tower's own balancers. Its services count their calls on a
/// [`Member`](crate::member::Member) and implement tower's `Load`; see [`Measured`]. An endpoint whose
/// weight or metadata changed is not inserted again; one whose address changed is.
///
/// # Example
/// ```
/// use tower::{Service, ServiceExt, balance::p2c::Balance, service_fn};
/// use tower_upstream::{BoxError, Endpoint, connect_fn, discover::{self, ToChanges}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let source = discover::fixed(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
/// let mut balance = Balance::new(ToChanges::new(
///     &source,
///     connect_fn(|endpoint: &Endpoint| {
///         let host = endpoint.address().host().to_owned();
///         service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(host.clone())))
///     }),
/// ));
/// let host = balance.ready().await?.call(()).await?;
/// assert!(host.starts_with("10.0.0."));
/// # Ok(()) }
/// ```
pub struct ToChanges<C> {
    sets: BoxStream<'static, EndpointSet>,
    connect: C,
    current: Option<EndpointSet>,
    /// The keys that were told, by identity: an endpoint may be written in another form since.
    told: BTreeMap<Arc<str>, String>,
    waiting: VecDeque<Change<String, Arc<Endpoint>>>,
}

impl<C: Connect> ToChanges<C> {
    /// Watches `source` and makes the service of each endpoint with `connect`.
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
    C: Connect + Unpin,
{
    type Item = Result<Change<String, Measured<C::Service>>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.waiting.pop_front() {
                Some(Change::Insert(key, endpoint)) => {
                    let service = Measured::connect(&self.connect, &endpoint);
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
