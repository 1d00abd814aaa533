use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Notify;

use crate::{
    config::BalanceSection,
    discover::{Discover, EndpointSet},
    endpoint::Endpoint,
    error::BoxError,
};

/// Any source of endpoints, with the weights that a `balance` section gives them.
///
/// # Example
/// ```
/// use tower_upstream::{discover, plugins::AnyDiscover};
/// let endpoints = AnyDiscover::new(discover::fixed(["http://10.0.0.1:8080"])?);
/// # let _ = endpoints;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct AnyDiscover {
    open: Arc<dyn Fn() -> Sets + Send + Sync>,
    last_error: Arc<dyn Fn() -> Option<BoxError> + Send + Sync>,
    retired: Arc<Retired>,
}

/// Whether the source is used no more.
#[derive(Default)]
struct Retired {
    is: AtomicBool,
    told: Notify,
}

impl Retired {
    async fn wait(&self) {
        let mut told = pin!(self.told.notified());
        // Listens first: what is told after the look is heard.
        told.as_mut().enable();
        if !self.is.load(Ordering::Acquire) {
            told.await;
        }
    }
}

type Sets = BoxStream<'static, EndpointSet>;

impl AnyDiscover {
    /// Takes any source.
    pub fn new(source: impl Discover) -> Self {
        let source = Arc::new(source);
        let sets = source.clone();
        Self {
            open: Arc::new(move || sets.discover().boxed()),
            last_error: Arc::new(move || source.last_error()),
            retired: Arc::default(),
        }
    }

    /// The same source for another stack, which is retired apart from this.
    pub(super) fn for_another(&self) -> Self {
        Self { retired: Arc::default(), ..self.clone() }
    }

    /// Changes each endpoint that the source finds; `None` leaves it out.
    pub(super) fn map<F>(self, change: F) -> Self
    where
        F: Fn(&Arc<Endpoint>) -> Option<Arc<Endpoint>> + Clone + Send + Sync + 'static,
    {
        let open = self.open;
        let open = move || {
            let change = change.clone();
            // What has not changed stays the same endpoint, which a balancer sees by its pointer.
            let mut before: Option<EndpointSet> = None;
            let sets = open().filter_map(move |set| {
                let changed = EndpointSet::new(set.iter().filter_map(&change), set.revision());
                let changed = changed.ok().map(|changed| match &before {
                    Some(before) => changed.sharing(before),
                    None => changed,
                });
                before = changed.clone().or(before.take());
                std::future::ready(changed)
            });
            sets.boxed()
        };
        Self { open: Arc::new(open), last_error: self.last_error, retired: self.retired }
    }

    /// With the weights of `balance`.
    pub(super) fn weighted(self, balance: &BalanceSection) -> Self {
        if balance.weights.is_empty() {
            return self;
        }
        let weights = Arc::new(balance.weights.clone());
        self.map(move |endpoint| {
            Some(match weights.get(endpoint.key()) {
                Some(&weight) => Arc::new(Endpoint::clone(endpoint).with_weight(weight)),
                None => endpoint.clone(),
            })
        })
    }

    /// Only those with all of `tags`.
    pub(super) fn tagged(self, tags: &[String]) -> Self {
        if tags.is_empty() {
            return self;
        }
        let tags = Arc::new(tags.to_vec());
        self.map(move |endpoint| {
            tags.iter().all(|tag| endpoint.tags().contains(tag)).then(|| endpoint.clone())
        })
    }

    /// Ends what watches for this source, and lets go of all endpoints. For a stack that another one has
    /// replaced, which a handle that is not used may keep for long.
    pub(super) fn retire(&self) {
        self.retired.is.store(true, Ordering::Release);
        self.retired.told.notify_waiters();
    }
}

impl Discover for AnyDiscover {
    type Stream = AnyDiscoverStream;

    fn discover(&self) -> AnyDiscoverStream {
        let retired = self.retired.clone();
        let ended = async move { retired.wait().await };
        let sets = (self.open)().chain(stream::pending()).take_until(Box::pin(ended));
        let none = stream::iter(EndpointSet::new(Vec::<Arc<Endpoint>>::new(), "retired").ok());
        AnyDiscoverStream { sets: sets.chain(none).boxed() }
    }

    fn last_error(&self) -> Option<BoxError> {
        (self.last_error)()
    }
}

/// Stream of an [`AnyDiscover`].
pub struct AnyDiscoverStream {
    sets: Sets,
}

impl futures_core::Stream for AnyDiscoverStream {
    type Item = EndpointSet;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl fmt::Debug for AnyDiscover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDiscover").finish_non_exhaustive()
    }
}

impl fmt::Debug for AnyDiscoverStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDiscoverStream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Memory;

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_changed_is_the_same_one_until_its_source_changes_it() {
        let memory = Memory::new(["a:1", "b:1"]).unwrap();
        let weights = serde_json::json!({ "weights": { "a:1": 3 } });
        let balance = serde_json::from_value(weights).unwrap();
        let mut sets = AnyDiscover::new(memory.clone()).weighted(&balance).discover();
        let mut a = async || sets.next().await.unwrap().get("a:1").unwrap().clone();
        let first = a().await;
        memory.insert("c:1").unwrap();
        let second = a().await;
        assert!(first.weight() == 3 && Arc::ptr_eq(&first, &second));
        memory.insert(Endpoint::new("a:1").unwrap().with_tag("new")).unwrap();
        let third = a().await;
        assert!(third.weight() == 3 && third.tags().len() == 1);
    }
}
