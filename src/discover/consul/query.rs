use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::encode::encode;
use crate::error::{Error, Kind};

/// Which server of Consul may answer.
///
/// ```
/// use tower_upstream::discover::{ConsulConsistency, ConsulQuery};
/// let query = ConsulQuery::default().with_consistency(ConsulConsistency::Stale);
/// assert_ne!(query.consistency, ConsulConsistency::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsulConsistency {
    /// The leader, which may have been replaced a moment ago. The default.
    #[default]
    Default,
    /// The leader, after a majority of the servers has confirmed it.
    Consistent,
    /// Any server, also while there is no leader. See [`ConsulQuery::max_lag`].
    Stale,
    /// The cache of the agent, which it keeps fresh in the background. See [`ConsulQuery::max_lag`].
    Cached,
}

/// How to read a service from Consul.
///
/// # Example
/// ```
/// use tower_upstream::discover::{ConsulConsistency, ConsulQuery};
///
/// let query = ConsulQuery::default()
///     .with_consistency(ConsulConsistency::Stale)
///     .with_tag("v2")
///     .with_filter("Service.Meta.zone == \"eu-1a\"");
/// assert!(query.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct ConsulQuery {
    /// Which server may answer. Default: the leader.
    pub consistency: ConsulConsistency,
    /// Oldest answer of [`Stale`](ConsulConsistency::Stale) and [`Cached`](ConsulConsistency::Cached) reads
    /// that is used as it is.
    ///
    /// If an answer is older, or its server knows no leader, the leader is asked once. The older answer is
    /// used if that fails. Default: 10 s.
    #[serde(with = "crate::duration::serde")]
    pub max_lag: Duration,
    /// Longest time for which a query waits for a change, from 1 s to 10 min. The server adds up to a
    /// sixteenth of it. Default: 55 s.
    #[serde(with = "crate::duration::serde")]
    pub wait: Duration,
    /// Shortest mean time between two queries while the service changes all the time, at most a minute. Two
    /// may follow each other at once. Default: 2 s.
    #[serde(with = "crate::duration::serde")]
    pub min_interval: Duration,
    /// Whether the server leaves out instances that are not passing.
    ///
    /// If not, an instance that is critical stays in the set with
    /// [`Status::Critical`](crate::endpoint::Status::Critical). Default: `false`.
    pub only_passing: bool,
    /// Tags that an instance must have, all of them. Default: none.
    pub tags: Vec<String>,
    /// Expression that an instance must match, in Consul's language for filters. Default: none.
    pub filter: Option<String>,
    /// Node from which Consul measures the order of its answer, such as `_agent`. The order of the endpoints
    /// does not follow it, but the query does not use Consul's streaming then. Default: none.
    pub near: Option<String>,
    /// Which of the tagged addresses of an instance to use, such as `wan`, if it has that. Default: its
    /// address.
    pub tagged_address: Option<String>,
    /// Scheme of the endpoints whose metadata has no `protocol`, such as `https`. Default: none, which is
    /// HTTP.
    pub scheme: Option<String>,
    /// Datacenter, instead of [that of the config](super::ConsulConfig::datacenter).
    pub datacenter: Option<String>,
    /// Namespace, instead of [that of the config](super::ConsulConfig::namespace).
    pub namespace: Option<String>,
    /// Admin partition, instead of [that of the config](super::ConsulConfig::partition).
    pub partition: Option<String>,
}

crate::written::names_keys!(ConsulQuery);

const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(600);
const MAX_INTERVAL: Duration = Duration::from_secs(60);

impl Default for ConsulQuery {
    fn default() -> Self {
        Self {
            consistency: ConsulConsistency::Default,
            max_lag: Duration::from_secs(10),
            wait: Duration::from_secs(55),
            min_interval: Duration::from_secs(2),
            only_passing: false,
            tags: Vec::new(),
            filter: None,
            near: None,
            tagged_address: None,
            scheme: None,
            datacenter: None,
            namespace: None,
            partition: None,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $field:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, value: impl Into<String>) -> Self {
            self.$field = Some(value.into());
            self
        }
    )*};
}

impl ConsulQuery {
    /// Sets [`consistency`](Self::consistency).
    #[must_use]
    pub fn with_consistency(mut self, consistency: ConsulConsistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Sets [`max_lag`](Self::max_lag).
    #[must_use]
    pub fn with_max_lag(mut self, lag: Duration) -> Self {
        self.max_lag = lag;
        self
    }

    /// Sets [`wait`](Self::wait).
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets [`min_interval`](Self::min_interval).
    #[must_use]
    pub fn with_min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Sets [`only_passing`](Self::only_passing).
    #[must_use]
    pub fn with_only_passing(mut self, only_passing: bool) -> Self {
        self.only_passing = only_passing;
        self
    }

    /// Adds one of the [`tags`](Self::tags).
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    setters! {
        /// Sets [`filter`](Self::filter).
        with_filter: filter,
        /// Sets [`near`](Self::near).
        with_near: near,
        /// Sets [`tagged_address`](Self::tagged_address).
        with_tagged_address: tagged_address,
        /// Sets [`scheme`](Self::scheme).
        with_scheme: scheme,
        /// Sets [`datacenter`](Self::datacenter).
        with_datacenter: datacenter,
        /// Sets [`namespace`](Self::namespace).
        with_namespace: namespace,
        /// Sets [`partition`](Self::partition).
        with_partition: partition,
    }

    /// Returns an error if a value is out of range.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if !(MIN_WAIT..=MAX_WAIT).contains(&self.wait) {
            let wait = self.wait;
            mistakes.push(format!("`wait` is {wait:?}, but must be from 1 s to 10 min"));
        }
        if self.min_interval > MAX_INTERVAL {
            let interval = self.min_interval;
            mistakes.push(format!("`min_interval` is {interval:?}, but must be at most 1 min"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("query of Consul: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// The nearest sane values, and what the config says where this says nothing.
    pub(super) fn completed(mut self, scope: &Scope) -> Self {
        self.wait = self.wait.clamp(MIN_WAIT, MAX_WAIT);
        self.min_interval = self.min_interval.min(MAX_INTERVAL);
        for (of, default) in [
            (&mut self.datacenter, &scope.datacenter),
            (&mut self.namespace, &scope.namespace),
            (&mut self.partition, &scope.partition),
        ] {
            *of = of.take().or(default.clone()).filter(|of| !of.is_empty());
        }
        self
    }

    pub(super) fn scope(&self) -> Scope {
        Scope {
            datacenter: self.datacenter.clone(),
            namespace: self.namespace.clone(),
            partition: self.partition.clone(),
        }
    }

    /// What to ask for a service: `index` makes the query wait for a change.
    pub(super) fn target(
        &self,
        service: &str,
        consistency: ConsulConsistency,
        index: Option<u64>,
    ) -> String {
        let mut target = Target::new(&format!("/v1/health/service/{}", encode(service)));
        if let Some(index) = index {
            target.pair("index", &index.to_string());
            target.pair("wait", &crate::duration::go_duration(self.wait));
        }
        match consistency {
            ConsulConsistency::Default => {}
            ConsulConsistency::Consistent => target.flag("consistent"),
            ConsulConsistency::Stale => target.flag("stale"),
            ConsulConsistency::Cached => target.flag("cached"),
        }
        if self.only_passing {
            target.pair("passing", "1");
        }
        for tag in &self.tags {
            target.pair("tag", tag);
        }
        for (name, value) in [("filter", &self.filter), ("near", &self.near)] {
            if let Some(value) = value {
                target.pair(name, value);
            }
        }
        target.within(&self.scope())
    }
}

/// Where in Consul.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) datacenter: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) partition: Option<String>,
}

/// Path and query of a request.
pub(super) struct Target {
    text: String,
    separator: char,
}

impl Target {
    pub(super) fn new(path: &str) -> Self {
        Self { text: path.to_owned(), separator: '?' }
    }

    pub(super) fn flag(&mut self, name: &str) {
        self.text.push(self.separator);
        self.text.push_str(name);
        self.separator = '&';
    }

    pub(super) fn pair(&mut self, name: &str, value: &str) {
        self.flag(name);
        self.text.push('=');
        self.text.push_str(&encode(value));
    }

    pub(super) fn within(mut self, scope: &Scope) -> String {
        for (name, value) in
            [("dc", &scope.datacenter), ("ns", &scope.namespace), ("partition", &scope.partition)]
        {
            if let Some(value) = value {
                self.pair(name, value);
            }
        }
        self.text
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
