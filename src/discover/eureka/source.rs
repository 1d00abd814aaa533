use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source},
    },
    client::Client,
    document::Told,
    feed::Feed,
    info::{Info, Prefer},
    wanted::Wanted,
};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error},
};

/// A service in Eureka, as a [`Source`]. Made by [`Eureka::service`](super::Eureka::service).
pub struct EurekaService {
    client: Arc<Client>,
    wanted: Wanted,
    prefer: Prefer,
    from: Feeding,
}

/// Where it is read.
pub(super) enum Feeding {
    /// With all others.
    Registry(Arc<Feed>),
    /// Alone, so often.
    Application(Duration),
}

/// What a watch has told.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct EurekaState {
    version: Option<u64>,
}

/// For a watch that has told nothing yet, or doubts what it was told, something older is no news.
const NEW: Duration = Duration::from_secs(1);

impl EurekaService {
    pub(super) fn new(client: Arc<Client>, wanted: Wanted, prefer: Prefer, from: Feeding) -> Self {
        Self { client, wanted, prefer, from }
    }

    async fn of_registry(
        &self,
        feed: &Feed,
        state: &mut EurekaState,
    ) -> Result<Observation, BoxError> {
        let max_age = if state.version.is_none() { NEW } else { feed.interval };
        let known = feed.read(max_age).await?;
        let due_in = known.due_in(feed.interval);
        let version = known.book.version;
        if state.version == Some(version) {
            return Ok(Observation::unchanged().again_after(due_in));
        }
        let instances = known.book.select(&self.wanted);
        drop(known);
        let set = set(&instances, self.prefer, &self.name(), version.to_string())?;
        state.version = Some(version);
        Ok(Observation::of(set).again_after(due_in))
    }

    async fn alone(&self, every: Duration) -> Result<Observation, BoxError> {
        let answer = self.client.get(&self.wanted.path()).await?.accept_some()?;
        let told = match (&answer, &self.wanted) {
            (None, _) => Told::default(),
            (Some(answer), Wanted::App(_)) => answer.json(Told::application)?,
            (Some(answer), Wanted::Vip { .. }) => answer.json(Told::applications)?,
        };
        let set = set(&told.instances, self.prefer, &self.name(), "")?;
        Ok(Observation::of(set).again_after(every))
    }
}

/// The endpoints of instances. One that cannot be used is left out.
fn set(
    instances: &[Arc<Info>],
    prefer: Prefer,
    source: &str,
    revision: impl Into<Arc<str>>,
) -> Result<EndpointSet, Error> {
    // An id is unique in its application.
    let mut apps = HashMap::<&str, usize>::new();
    for info in instances {
        *apps.entry(info.id()).or_default() += 1;
    }
    let (mut found, mut failed) = (Vec::<Arc<Endpoint>>::with_capacity(instances.len()), None);
    for info in instances {
        match info.endpoint(prefer) {
            Ok(endpoint) if apps.get(info.id()) == Some(&1) => found.push(endpoint.into()),
            Ok(endpoint) => {
                found.push(endpoint.with_key(format!("{}/{}", info.app, info.id())).into());
            }
            Err(error) => {
                tracing::debug!(source, id = info.id(), %error, "an instance cannot be used");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(EndpointSet::of_first(found, revision, |of| {
            tracing::warn!(source, id = of.key(), "two instances in Eureka have the same id");
        })),
    }
}

impl Source for EurekaService {
    type State = EurekaState;

    fn name(&self) -> String {
        format!("{} in {}", self.wanted.name(), self.client.name())
    }

    async fn observe(&self, state: &mut EurekaState) -> Result<Observation, BoxError> {
        match &self.from {
            Feeding::Registry(feed) => self.of_registry(feed, state).await,
            Feeding::Application(every) => self.alone(*every).await,
        }
    }
}

impl fmt::Debug for EurekaService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EurekaService")
            .field("wanted", &self.wanted)
            .field("servers", &self.client.name())
            .finish_non_exhaustive()
    }
}
