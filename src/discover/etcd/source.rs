use std::{
    fmt,
    sync::{Arc, Mutex},
};

use super::{
    super::watch::{Observation, Source},
    book::Book,
    client::Client,
    feed::{Feed, Subscription},
    inbox::News,
    keys::KeyRange,
    link::Link,
    pages::range,
};
use crate::{
    error::{BoxError, Error, Kind},
    sync::lock,
    time::{self, Instant},
};

/// A service in etcd, as a [`Source`]. Made by [`Etcd::service`](super::Etcd::service).
///
/// ```
/// use tower_upstream::discover::{Etcd, EtcdConfig, EtcdService, WatchHandle};
///
/// fn is_quiet(handle: &WatchHandle<EtcdService>) -> bool {
///     handle.last_error().is_none()
/// }
/// let tax = Etcd::new(EtcdConfig::default())?.service("tax")?;
/// assert!(is_quiet(&tax.handle()));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct EtcdService {
    service: String,
    range: KeyRange,
    client: Arc<Client>,
    feed: Arc<Feed>,
    /// What is known, whichever watch has learned it.
    known: Mutex<Known>,
}

struct Known {
    book: Book,
    /// Whether the stream broke and nothing else is wrong: what is missed can be had from there on.
    can_resume: bool,
    /// Until then a set may lack endpoints which etcd has not said to be deleted; or which lost their lease
    /// while this was cut off, as they were.
    unsure_until: Option<Instant>,
}

/// The watch that is open.
#[derive(Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct EtcdState {
    subscription: Option<Subscription>,
}

impl fmt::Debug for EtcdState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdState").field("is_open", &self.subscription.is_some()).finish()
    }
}

impl EtcdService {
    pub(super) fn new(
        service: &str,
        range: KeyRange,
        client: Arc<Client>,
        feed: Arc<Feed>,
    ) -> Self {
        let known = Known {
            book: Book::new(client.config.allow_unix_sockets),
            can_resume: false,
            unsure_until: None,
        };
        Self { service: service.to_owned(), range, client, feed, known: known.into() }
    }

    /// Reads all there is.
    async fn read(&self, link: &Arc<Link>) -> Result<(), Error> {
        let (all, header) = range(&self.client, link, self.range.clone()).await?;
        let mut known = lock(&self.known);
        let gone = known.book.replace(&self.service, all, &header);
        if gone > 0 {
            known.unsure_until = Some(self.doubt_until());
        }
        Ok(())
    }

    fn doubt_until(&self) -> Instant {
        let watch = &self.client.config.watch;
        time::later(time::now(), watch.removal_grace.max(watch.empty_grace))
    }

    fn watch(&self, link: Arc<Link>) -> Subscription {
        let from = lock(&self.known).book.revision.saturating_add(1);
        self.feed.watch(self.range.clone(), from, link)
    }

    /// What is known, as an answer. After a deletion it is certain, unless something else is not.
    fn told(&self, is_by_events: bool) -> Observation {
        let mut known = lock(&self.known);
        let observation = Observation::of(known.book.set(&self.service));
        let now = time::now();
        known.unsure_until = known.unsure_until.filter(|until| now < *until);
        match is_by_events && known.unsure_until.is_none() {
            true => observation.certain(),
            false => observation,
        }
    }

    /// Begins with what etcd has; after a stream that broke, with what it has told since.
    async fn begin(&self, state: &mut EtcdState) -> Result<Observation, Error> {
        let link = self.client.link().await?;
        let can_resume = std::mem::take(&mut lock(&self.known).can_resume);
        if !can_resume {
            self.read(&link).await?;
            state.subscription = Some(self.watch(link));
            return Ok(self.told(false));
        }
        lock(&self.known).unsure_until = Some(self.doubt_until());
        state.subscription = Some(self.watch(link));
        // It is at least as new as it was.
        match self.next(state).await? {
            Some(told) => Ok(told),
            None => Ok(self.told(true)),
        }
    }

    /// Waits for news. `None`: all is as it was.
    async fn next(&self, state: &mut EtcdState) -> Result<Option<Observation>, Error> {
        let Some(subscription) = &state.subscription else { return Ok(None) };
        match subscription.inbox.next().await {
            News::Created(header) if lock(&self.known).book.is_of(&header) => Ok(None),
            // The member may be behind, or the data of the cluster is another.
            News::Created(_) => {
                let link = self.client.link().await?;
                let before = lock(&self.known).book.place();
                self.read(&link).await?;
                // One that is only behind will tell what is new to it.
                if !lock(&self.known).book.follows(before) {
                    state.subscription = Some(self.watch(link));
                }
                Ok(Some(self.told(false)))
            }
            News::Changed(changes) => {
                let is_new = lock(&self.known).book.apply(&self.service, changes);
                Ok(is_new.then(|| self.told(true)))
            }
            News::Progress(revision) => {
                lock(&self.known).book.progressed(revision);
                Ok(None)
            }
            News::Compacted => {
                tracing::debug!(service = self.service, "etcd has compacted; reading anew");
                let link = self.client.link().await?;
                self.read(&link).await?;
                state.subscription = Some(self.watch(link));
                Ok(Some(self.told(false)))
            }
            News::Ended(error) => {
                // What is forbidden is refused when it is read. A watch would open the stream of all services anew,
                // each time, since its token could be what is over.
                lock(&self.known).can_resume = error.kind() != Kind::InvalidConfig;
                Err(error)
            }
        }
    }
}

impl Source for EtcdService {
    type State = EtcdState;

    fn name(&self) -> String {
        format!("etcd service `{}`", self.service)
    }

    async fn observe(&self, state: &mut EtcdState) -> Result<Observation, BoxError> {
        let observed = match state.subscription {
            None => self.begin(state).await,
            Some(_) => {
                self.next(state).await.map(|told| told.unwrap_or_else(Observation::unchanged))
            }
        };
        // The news that could not be followed are not told again.
        if observed.is_err() {
            state.subscription = None;
        }
        Ok(observed?)
    }
}

impl fmt::Debug for EtcdService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdService").field("service", &self.service).finish_non_exhaustive()
    }
}
