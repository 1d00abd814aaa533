use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, StatusCode};

use super::{
    super::{
        catalog::Catalog,
        encode::encode,
        register::Instance,
        watch::{Watched, Watches},
    },
    agent::Agent,
    check::ConsulCheck,
    config::ConsulConfig,
    endpoints::{instance, services},
    index::time_limit,
    query::{ConsulQuery, Target},
    registrar::ConsulRegistrar,
    source::ConsulService,
};
use crate::error::{BoxError, Error, Kind};

/// Watches a service in the Consul agent of this host, at `127.0.0.1:8500`.
///
/// The same as `Consul::new(ConsulConfig::default())?.service(name)`. To watch several services, or with
/// other settings, keep a [`Consul`].
///
/// # Errors
/// [`Kind::InvalidConfig`] for an empty name.
///
/// # Example
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover};
///
/// let endpoints = discover::consul("tax")?;
/// let layer = BalanceLayer::new(endpoints, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn consul(name: &str) -> Result<Watched<ConsulService>, Error> {
    Consul::new(ConsulConfig::default())?.service(name)
}

/// A Consul agent or server, in which services are found.
///
/// # Endpoints
/// | of an instance in Consul | becomes |
/// |---|---|
/// | `Service.ID` | the key; with the name of the node in front if it is not unique, or is the name of the service |
/// | `Service.Address`, or that of the node if it is empty, and `Service.Port`, or the default one of several | the address; an instance without a port is left out |
/// | `Service.Meta.protocol` | the scheme |
/// | all checks, those of the node included | the [status](crate::endpoint::Status): the worst counts |
/// | maintenance, of the service or the node | [draining](crate::Endpoint::is_draining): it gets no new calls |
/// | `Service.Weights` | the weight, by the status |
/// | `Service.Meta`, `Service.Service` | metadata; `farp_` keys with dots, too; the name as `name` |
/// | datacenter; `Locality`, or `region` and `zone` in the metadata of service or node | the locality |
/// | `Service.Kind` | proxies and gateways are left out |
///
/// # Changes
/// Each watch has one blocking query, which Consul answers once the service changes. Clones of this value
/// share the watches.
///
/// | answer | the endpoints |
/// |---|---|
/// | no leader, another error, no answer | stay as they were |
/// | 403 | stay as they were; asked again after 30 s |
/// | no instances, after there were some, and the server says that no access rule can have hidden them | are removed at once |
/// | no instances otherwise: after an error or a restored catalog, a [stale](super::ConsulConsistency::Stale) or cached answer, a server that does not tell its access policy | stay for [`empty_grace`](super::super::WatchConfig::empty_grace) |
///
/// # Bounds
/// An answer has at most [`max_response_bytes`](ConsulConfig::max_response_bytes). Redirects are not
/// followed.
///
/// # Example
/// ```
/// use tower_upstream::discover::{Consul, ConsulConfig, ConsulQuery};
///
/// let consul = Consul::new(ConsulConfig::default().with_datacenter("dc1"))?;
/// let tax = consul.service("tax")?;
/// let same = consul.service("tax")?;
/// assert!(std::ptr::eq(tax.source(), same.source()), "one watch for both");
/// let newer = consul.service_with("tax", ConsulQuery::default().with_tag("v2"))?;
/// # let _ = newer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Consul {
    shared: Arc<Shared>,
    watches: Watches<ConsulService>,
}

struct Shared {
    agent: Arc<Agent>,
    config: ConsulConfig,
    /// Watches that were made.
    made: AtomicU32,
}

/// Watches that begin at once. Further ones wait for a random part of a second first.
const AT_ONCE: u32 = 16;

impl Consul {
    /// Creates a value for an agent. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`]: see [`ConsulConfig::validate`].
    pub fn new(config: ConsulConfig) -> Result<Self, Error> {
        config.validate()?;
        let agent = Arc::new(Agent::new(&config)?);
        let watches = Watches::new(config.watch.clone());
        Ok(Self { shared: Arc::new(Shared { agent, config, made: AtomicU32::new(0) }), watches })
    }

    /// Returns the watch of a service, read as [`ConsulConfig::query`] says.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name.
    pub fn service(&self, name: &str) -> Result<Watched<ConsulService>, Error> {
        self.service_with(name, self.shared.config.query.clone())
    }

    /// Returns the watch of a service, read as `query` says. All that ask for the same service in the same
    /// way share one.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name, or a query with a value out of range.
    pub fn service_with(
        &self,
        name: &str,
        query: ConsulQuery,
    ) -> Result<Watched<ConsulService>, Error> {
        if name.is_empty() {
            return Err(Error::not_sent(Kind::InvalidConfig).message("a service has a name"));
        }
        query.validate()?;
        let query = query.completed(&self.shared.config.scope());
        let key = format!("{name}\n{query:?}");
        Ok(self.watches.watch(&key, || {
            // Only to spread them: no order is needed.
            let made = self.shared.made.fetch_add(1, Ordering::Relaxed);
            ConsulService::new(self.shared.agent.clone(), name.to_owned(), query, made >= AT_ONCE)
        }))
    }

    /// Returns the names of all services, with the tags that their instances have.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if the token may not, [`Kind::Connection`], [`Kind::Timeout`] or
    /// [`Kind::Transport`] if there is no answer that can be read.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tower_upstream::Error> {
    /// use tower_upstream::discover::{Consul, ConsulConfig};
    /// let services = Consul::new(ConsulConfig::default())?.services().await?;
    /// assert!(services.contains_key("consul"));
    /// # Ok(()) }
    /// ```
    pub async fn services(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let Shared { agent, config, .. } = &*self.shared;
        let target = Target::new("/v1/catalog/services").within(&config.scope());
        let answer = agent.get(&target, time_limit(None)).await?;
        services(answer.body())
    }
}

impl Consul {
    /// Returns what announces instances to this agent, for a [`Registry`](super::super::Registry). Values of
    /// `check` out of range become the nearest valid ones.
    ///
    /// The agent must be that of the host of the instances, since it is what checks them.
    pub fn registrar(&self, check: ConsulCheck) -> ConsulRegistrar {
        let Shared { agent, config, .. } = &*self.shared;
        ConsulRegistrar::new(agent.clone(), check, config.scope())
    }
}

/// Instances are looked for at the agent alone: it knows those that were announced to it.
impl Catalog for Consul {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        Ok(self.services().await?.into_keys().collect())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let Shared { agent, config, .. } = &*self.shared;
        let target = Target::new(&format!("/v1/agent/health/service/id/{}", encode(id)));
        let (target, limit) = (target.within(&config.scope()), time_limit(None));
        let answer = agent.ask(Method::GET, &target, Bytes::new(), limit).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            // One that warns, and one that is critical.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {}
            _ => drop(agent.accept(answer.clone())?),
        }
        let (service, endpoint) = instance(answer.body(), config.place()?.host(), &config.query)?;
        Ok(Some(Instance::new(service, endpoint)?))
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("config", &self.shared.config)
            .field("watches", &self.watches)
            .finish()
    }
}
