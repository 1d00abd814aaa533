use std::{
    fmt,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::{
    future::select,
    stream::{self, BoxStream, StreamExt},
};
use tokio::{runtime::Handle, sync::watch};

use super::{
    super::{discover::Discover, set::EndpointSet},
    config::WatchConfig,
    driver,
    handle::WatchHandle,
    published::Published,
    shared::Shared,
    source::Source,
};
use crate::{
    error::{BoxError, Error, Kind},
    sync::lock,
};

/// Watches a backend for any number of balancers.
///
/// Clones share one watch. It starts with its first user inside a tokio runtime, and ends with the last
/// one. A user is a stream of [`discover`](Discover::discover), which a balancer has, or a
/// [`first_snapshot`](Self::first_snapshot) that waits.
///
/// # What happens when
/// | the backend | the endpoints |
/// |---|---|
/// | fails, panics, hangs | stay as they were, until [`max_stale`](WatchConfig::max_stale) |
/// | reports none | stay for [`empty_grace`](WatchConfig::empty_grace) |
/// | reports too few | stay for [`removal_grace`](WatchConfig::removal_grace); new ones are added at once |
/// | answers again | follow at once |
/// | changes faster than a user takes it | the newest set comes, the ones between are skipped |
///
/// After a failure the next observation waits for a random time of up to 250 ms, which doubles with each
/// further failure up to 30 s, and starts over after a minute without one. An error that says when to come
/// back is obeyed if that is longer.
///
/// # Example
/// ```
/// # struct Never;
/// # impl tower_upstream::discover::Source for Never {
/// #     type State = ();
/// #     fn name(&self) -> String { "never".into() }
/// #     async fn observe(&self, _: &mut ()) -> Result<tower_upstream::discover::Observation, tower_upstream::BoxError> { std::future::pending().await }
/// # }
/// # let backend = Never;
/// use tower_upstream::{BalanceLayer, LeastRequest, discover::{Watched, WatchConfig}};
///
/// let endpoints = Watched::with_config(backend, WatchConfig::default().with_max_removed(0.3));
/// let handle = endpoints.handle();
/// let (one, other) = (
///     BalanceLayer::new(endpoints.clone(), LeastRequest::new()),
///     BalanceLayer::new(endpoints, LeastRequest::new()),
/// );
/// assert!(!handle.is_running(), "nothing is watched before the first call");
/// # let _ = (one, other);
/// ```
pub struct Watched<S> {
    shared: Arc<Shared<S>>,
}

impl<S: Source> Watched<S> {
    /// Creates a watch of `source`.
    pub fn new(source: S) -> Self {
        Self::with_config(source, WatchConfig::default())
    }

    /// Creates a watch with settings of your own. Values out of range become the nearest valid ones; see
    /// [`WatchConfig::validate`].
    pub fn with_config(source: S, config: WatchConfig) -> Self {
        Self { shared: Arc::new(Shared::new(source, config)) }
    }

    /// Returns a handle for inspecting this watch. The handle does not keep it running.
    pub fn handle(&self) -> WatchHandle<S> {
        WatchHandle::new(self.shared.clone())
    }

    /// Returns the backend.
    pub fn source(&self) -> &S {
        &self.shared.source
    }

    /// Waits for the first answer of the backend, for at most `timeout`.
    ///
    /// Resolves at once if there was one. For a program that should not start without endpoints.
    ///
    /// # Errors
    /// [`Kind::Timeout`], whose source is the error of the last observation, if it failed.
    /// [`Kind::Unavailable`] outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// ```
    /// # struct One;
    /// # impl tower_upstream::discover::Source for One {
    /// #     type State = ();
    /// #     fn name(&self) -> String { "one".into() }
    /// #     async fn observe(&self, _: &mut ()) -> Result<Observation, tower_upstream::BoxError> {
    /// #         let one = tower_upstream::Endpoint::new("a:1")?;
    /// #         Ok(Observation::of(EndpointSet::new([one], "1")?).again_after(Duration::from_secs(9)))
    /// #     }
    /// # }
    /// use std::time::Duration;
    /// use tower_upstream::discover::{EndpointSet, Observation, Watched};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
    /// # let backend = One;
    /// let endpoints = Watched::new(backend);
    /// let set = endpoints.first_snapshot(Duration::from_secs(5)).await?;
    /// assert_eq!(set.len(), 1);
    /// # Ok(()) }
    /// ```
    pub async fn first_snapshot(&self, timeout: Duration) -> Result<EndpointSet, Error> {
        if Handle::try_current().is_err() {
            return Err(Error::not_sent(Kind::Unavailable));
        }
        let mut sets = self.discover();
        if let Ok(Some(set)) = tokio::time::timeout(timeout, sets.next()).await {
            return Ok(set);
        }
        let name = self.shared.source.name();
        let error = Error::not_sent(Kind::Timeout)
            .message(format!("{name} has not told its endpoints within {timeout:?}"));
        let cause = lock(&self.shared.health).error.clone();
        Err(match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        })
    }

    /// The endpoints as they are: those that others have in use, and otherwise what the backend answers. If it does not
    /// within `timeout`, what is known. `None`: nothing is.
    ///
    /// Call it inside a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub(in crate::discover) async fn current(&self, timeout: Duration) -> Option<EndpointSet> {
        let shared = &self.shared;
        let (mut sets, mut answers) = (shared.sets.subscribe(), shared.answer.subscribe());
        let answer = async {
            if shared.is_answered() && shared.sets.receiver_count() > 1 {
                return None;
            }
            loop {
                sets.mark_unchanged();
                driver::start(shared);
                if shared.is_answered() {
                    return answers.borrow().set.clone();
                }
                // A run that ends early wakes as well, so that another begins.
                select(pin!(answers.changed()), pin!(sets.changed())).await;
            }
        };
        let answer = tokio::time::timeout(timeout, answer).await.unwrap_or(None);
        answer.or_else(|| shared.sets.borrow().set.clone())
    }

    pub(super) fn downgrade(&self) -> Weak<Shared<S>> {
        Arc::downgrade(&self.shared)
    }

    pub(super) fn upgrade(shared: &Weak<Shared<S>>) -> Option<Self> {
        Some(Self { shared: shared.upgrade()? })
    }
}

impl<S: Source> Discover for Watched<S> {
    type Stream = WatchStream;

    fn discover(&self) -> WatchStream {
        let user =
            User { shared: self.shared.clone(), sets: self.shared.sets.subscribe(), told: 0 };
        let sets = stream::unfold(user, |mut user| async move {
            let set = user.next().await?;
            Some((set, user))
        });
        WatchStream { sets: sets.boxed() }
    }

    fn last_error(&self) -> Option<BoxError> {
        self.handle().last_error().map(Into::into)
    }
}

struct User<S> {
    shared: Arc<Shared<S>>,
    sets: watch::Receiver<Published>,
    /// The number of the last set that it was told.
    told: u64,
}

impl<S: Source> User<S> {
    async fn next(&mut self) -> Option<EndpointSet> {
        loop {
            // Before it looks whether there is news: what a driver does last is to wake.
            let published = self.sets.borrow_and_update().clone();
            driver::start(&self.shared);
            if published.number != self.told {
                self.told = published.number;
                return published.set;
            }
            self.sets.changed().await.ok()?;
        }
    }
}

impl<S> Clone for Watched<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Source> fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("handle", &self.handle()).finish()
    }
}

/// Stream of the sets of a [`Watched`].
pub struct WatchStream {
    sets: BoxStream<'static, EndpointSet>,
}

impl Stream for WatchStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.sets.poll_next_unpin(cx)
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}
