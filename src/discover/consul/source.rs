use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::Response;

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source},
    },
    agent::Agent,
    answer::Meta,
    endpoints::endpoints,
    index::{Cursor, Pace, time_limit},
    query::{ConsulConsistency, ConsulQuery},
};
use crate::{
    error::{BoxError, Error},
    sync::random_fraction,
    time,
};

/// A service in Consul, as a [`Source`]. Made by [`Consul::service`](super::Consul::service).
pub struct ConsulService {
    agent: Arc<Agent>,
    name: String,
    query: ConsulQuery,
    /// Whether the first query waits for a moment, so that many do not come at once.
    is_staggered: bool,
}

/// Where the queries of one watch stand.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct ConsulState {
    cursor: Cursor,
    pace: Pace,
    has_begun: bool,
    /// Whether there were instances, and every query since was answered, by the same catalog: then it was
    /// seen how they left.
    has_seen_some: bool,
}

impl ConsulService {
    pub(super) fn new(
        agent: Arc<Agent>,
        name: String,
        query: ConsulQuery,
        is_staggered: bool,
    ) -> Self {
        Self { agent, name, query, is_staggered }
    }

    /// Returns the name of the service.
    pub fn service(&self) -> &str {
        &self.name
    }

    async fn ask(
        &self,
        consistency: ConsulConsistency,
        index: Option<u64>,
    ) -> Result<(Response<Bytes>, Meta), Error> {
        let target = self.query.target(&self.name, consistency, index);
        let limit = time_limit(index.map(|_| self.query.wait));
        let answer = self.agent.get(&target, limit).await?;
        let meta = Meta::of(answer.headers());
        Ok((answer, meta))
    }

    /// The answer to a query, or that of the leader if it lags; and how that was asked for.
    async fn read(
        &self,
        state: &mut ConsulState,
    ) -> Result<(Response<Bytes>, Meta, ConsulConsistency), Error> {
        let asked = self.query.consistency;
        let (answer, meta) = match self.ask(asked, state.cursor.index()).await {
            Ok(read) => read,
            Err(error) => {
                // Whatever answers next may be another server.
                (state.cursor, state.has_seen_some) = (Cursor::default(), false);
                return Err(error);
            }
        };
        if state.cursor.advance(meta.index) {
            state.has_seen_some = false;
        }
        if meta.lags(&self.query) {
            if let Ok((answer, meta)) = self.ask(ConsulConsistency::Default, None).await {
                return Ok((answer, meta, ConsulConsistency::Default));
            }
        }
        Ok((answer, meta, asked))
    }
}

impl Source for ConsulService {
    type State = ConsulState;

    fn name(&self) -> String {
        format!("service `{}` in Consul at `{}`", self.name, self.agent.address())
    }

    async fn observe(&self, state: &mut ConsulState) -> Result<Observation, BoxError> {
        if self.is_staggered && !state.has_begun {
            tokio::time::sleep(std::time::Duration::from_secs(1).mul_f64(random_fraction())).await;
        }
        state.has_begun = true;
        let wait = state.pace.wait(self.query.min_interval, time::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let (answer, meta, asked) = self.read(state).await?;
        let found = endpoints(answer.body(), &self.query).map_err(|error| {
            self.agent.failed(error.kind(), "has no usable instances").caused_by(error)
        })?;
        let is_certain = found.is_empty()
            && state.has_seen_some
            && meta.rules_out_instances(&self.query, asked, self.agent.has_token());
        state.has_seen_some |= !found.is_empty();
        let revision = meta.index.unwrap_or_default().to_string();
        // Ids are of anything that may register: two that make one key cost no other instance.
        let found = found.into_iter().map(Arc::new).collect();
        let set = EndpointSet::of_first(found, revision, |of| {
            tracing::warn!(
                service = self.name,
                key = of.key(),
                "the ids of two instances in Consul make one key"
            );
        });
        let observation = Observation::of(set);
        Ok(if is_certain { observation.certain() } else { observation })
    }
}

impl fmt::Debug for ConsulService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulService")
            .field("name", &self.name)
            .field("address", &self.agent.address())
            .field("query", &self.query)
            .finish()
    }
}
