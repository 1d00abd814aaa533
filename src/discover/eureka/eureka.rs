use std::{collections::BTreeSet, fmt, sync::Arc};

use http::Method;

use super::{
    super::{
        catalog::Catalog,
        encode::encode,
        register::Instance,
        watch::{Watched, Watches},
    },
    client::{APPS, Client},
    config::{EurekaConfig, EurekaFetch},
    document::{self, Told},
    feed::Feed,
    info::Prefer,
    registrar::{EurekaRegistrar, override_status},
    source::{EurekaService, Feeding},
    status::EurekaStatus,
    wanted::Wanted,
};
use crate::error::{BoxError, Error, Kind};

/// A registry in Eureka, of Netflix or Spring Cloud.
///
/// # Endpoints
/// | of an instance in Eureka | becomes |
/// |---|---|
/// | `instanceId`, or `hostName` without one | the key; with the name of the application in front if it is not unique |
/// | `ipAddr`, or `hostName` if that is [preferred](EurekaConfig::prefer_host_name), and `port` or `securePort` | the address; an instance without a port that is enabled is left out |
/// | `metadata.protocol` | the scheme; otherwise `https` for the secure port, and `http` |
/// | `status` and its override | the [status](crate::endpoint::Status) by the table below |
/// | `metadata.weight`, `metadata.tags` | the weight, and the tags, with commas between them |
/// | `metadata.region`, `.zone` and `.sub_zone`; or the availability zone of Amazon | the locality |
/// | `metadata`, and the name of the service as `name` | metadata |
///
/// | in Eureka | status | new calls |
/// |---|---|---|
/// | `UP` | passing | yes |
/// | `DOWN` | critical | no |
/// | `STARTING` | unknown | no: it counts as [draining](crate::Endpoint::is_draining) |
/// | `OUT_OF_SERVICE` | critical | no: it counts as draining |
/// | `UNKNOWN` | unknown | yes |
///
/// # Changes
/// All watches of an `Eureka` and its clones read one registry: whole at first, and then every
/// [`registry_fetch_interval`](EurekaConfig::registry_fetch_interval) what has changed. If the server counts other
/// instances after that, or does not tell of changes, the registry is read whole again. Other regions are not
/// asked for.
///
/// A server of Netflix shows a change after up to 30 s, and an instance that has died after 90 s or more, so add
/// health checks.
///
/// | answer | the endpoints |
/// |---|---|
/// | an error, no answer, XML or something else that is no registry | stay as they were; the next server is asked |
/// | an instance that cannot be read | is left out; the others follow |
/// | fewer than half of the instances | stay for [`removal_grace`](super::super::WatchConfig::removal_grace); new ones are added at once |
/// | no instances | stay for [`empty_grace`](super::super::WatchConfig::empty_grace) |
///
/// # Bounds
/// A registry has at most 100,000 instances, an answer
/// [`max_response_bytes`](EurekaConfig::max_response_bytes). Redirects are not followed.
///
/// # Example
/// ```
/// use tower_upstream::{
///     BalanceLayer, LeastRequest,
///     discover::{Eureka, EurekaConfig},
/// };
///
/// let config = EurekaConfig::default().with_urls(["http://10.0.0.1:8761/eureka"]);
/// let eureka = Eureka::new(config)?;
/// let tax = eureka.service("tax")?;
/// let same = eureka.service("TAX")?;
/// assert!(std::ptr::eq(tax.source(), same.source()), "one watch for both");
/// let layer = BalanceLayer::new(tax, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Eureka {
    shared: Arc<Shared>,
    watches: Watches<EurekaService>,
}

struct Shared {
    client: Arc<Client>,
    feed: Arc<Feed>,
    config: EurekaConfig,
}

impl Eureka {
    /// Creates a registry. Nothing is sent before a service is watched.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names every mistake of the config.
    pub fn new(config: EurekaConfig) -> Result<Self, Error> {
        let client = Arc::new(Client::new(&config)?);
        let watches = Watches::new(config.watch.clone());
        let feed = Arc::new(Feed::new(client.clone(), config.registry_fetch_interval));
        Ok(Self { shared: Arc::new(Shared { client, feed, config }), watches })
    }

    /// Returns the watch of a service, by the name of its application, whose case does not count. All that ask for
    /// the same one share it.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name.
    pub fn service(&self, name: &str) -> Result<Watched<EurekaService>, Error> {
        self.watch(Wanted::app(name), name)
    }

    /// Returns the watch of all instances with a virtual address, of whatever application.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name.
    pub fn vip(&self, name: &str) -> Result<Watched<EurekaService>, Error> {
        self.watch(Wanted::vip(name, false), name)
    }

    /// Returns the watch of all instances with a secure virtual address. Their secure ports are used.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name.
    pub fn secure_vip(&self, name: &str) -> Result<Watched<EurekaService>, Error> {
        self.watch(Wanted::vip(name, true), name)
    }

    fn watch(&self, wanted: Wanted, name: &str) -> Result<Watched<EurekaService>, Error> {
        if name.is_empty() {
            return Err(Error::not_sent(Kind::InvalidConfig).message("a service has a name"));
        }
        let is_secure = matches!(wanted, Wanted::Vip { is_secure: true, .. });
        Ok(self.watches.watch(&wanted.path(), || {
            let Shared { client, feed, config } = &*self.shared;
            let from = match config.fetch {
                EurekaFetch::Delta => Feeding::Registry(feed.clone()),
                EurekaFetch::Application => Feeding::Application(config.registry_fetch_interval),
            };
            let prefer = self.prefer(is_secure);
            EurekaService::new(client.clone(), wanted.clone(), prefer, from)
        }))
    }

    fn prefer(&self, is_secure: bool) -> Prefer {
        let config = &self.shared.config;
        Prefer {
            host_name: config.prefer_host_name,
            secure_port: config.prefer_secure_port || is_secure,
        }
    }

    /// Returns what announces instances here, for a [`Registry`](super::super::Registry).
    pub fn registrar(&self) -> EurekaRegistrar {
        EurekaRegistrar::new(self.shared.client.clone(), &self.shared.config)
    }

    /// Overrides the status of an instance of any program, such as with
    /// [`OutOfService`](EurekaStatus::OutOfService) to take it out of traffic. `None` ends that. Returns whether
    /// there is such an instance.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if this is not allowed, [`Kind::Connection`] or [`Kind::Timeout`] if no server
    /// answers.
    ///
    /// # Cancel safety
    /// Once polled, it may have taken effect.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tower_upstream::Error> {
    /// use tower_upstream::discover::{Eureka, EurekaConfig, EurekaStatus};
    /// let eureka = Eureka::new(EurekaConfig::default())?;
    /// eureka.override_status("tax", "tax-1", EurekaStatus::OutOfService).await?;
    /// eureka.override_status("tax", "tax-1", None).await?;
    /// # Ok(()) }
    /// ```
    pub async fn override_status(
        &self,
        service: &str,
        id: &str,
        status: impl Into<Option<EurekaStatus>>,
    ) -> Result<bool, Error> {
        let (method, status) = match status.into() {
            Some(status) => (Method::PUT, status),
            // What it is until its next heartbeat.
            None => (Method::DELETE, EurekaStatus::Up),
        };
        override_status(&self.shared.client, method, service, id, status).await
    }
}

impl Catalog for Eureka {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let answer = self.shared.client.get(APPS).await?.accept()?;
        let told = answer.json(Told::applications)?;
        let names: BTreeSet<&str> = told.instances.iter().map(|info| info.service()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let path = format!("/instances/{}", encode(id));
        let Some(answer) = self.shared.client.get(&path).await?.accept_some()? else {
            return Ok(None);
        };
        let info = answer.json(document::instance)?;
        let service = info.service().to_owned();
        Ok(Some(Instance::new(service, info.endpoint(self.prefer(false))?)?))
    }
}

impl fmt::Debug for Eureka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eureka")
            .field("config", &self.shared.config)
            .field("watches", &self.watches)
            .finish()
    }
}
