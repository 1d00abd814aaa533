use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use mdns_sd::TxtProperties;

use super::{
    super::{
        catalog::Catalog,
        register::Instance,
        set::EndpointSet,
        watch::{Watched, Watches},
    },
    check::{self, Check},
    config::MdnsConfig,
    daemon::{Daemons, failed},
    entry::endpoint,
    kind::ServiceType,
    places::Place,
    registrar::MdnsRegistrar,
    source::MdnsService,
    txt::Said,
};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error, Kind},
};

/// Multicast DNS (RFC 6762) with DNS-SD (RFC 6763): services in the local network, without a server.
///
/// A service has the type `_NAME._tcp`, or one that services [share](MdnsConfig::service_type). Instances of
/// the Go library, of Avahi, Bonjour and others are found, and find those of this crate.
///
/// # Endpoints
/// | of an instance | becomes |
/// |---|---|
/// | `id` in its TXT record, or else its name | the key; of two with the same, one is used |
/// | A, AAAA and SRV records | the address: IPv4 before IPv6, the nearest first; an IPv6 address of the link with its interface |
/// | `protocol`, `path` | scheme and path |
/// | `weight`, `priority`, `region`, `zone`, `sub_zone`, `status`, `draining`, `tags` | the same |
/// | all other pairs | metadata; of two with the same key, the first |
///
/// Loopback addresses are used only if they were announced on the loopback interface.
///
/// # Changes
/// | what happens | the endpoints |
/// |---|---|
/// | an instance is announced, or changes | follow within 100 ms, or once its check has passed; without a pair in its TXT record, after 1 s, the time for which that record is awaited |
/// | a goodbye | is removed after a second, as RFC 6762 §10.1 wants it; with dots or backslashes in the name of the instance, once it was looked for anew for [`browse_timeout`](MdnsConfig::browse_timeout) |
/// | packets are lost | stay: an instance is asked for four times before its records expire |
/// | nothing is heard of an instance until its records expire, usually for 120 s | is removed |
/// | an interface goes down | stay for [`removal_grace`](super::super::WatchConfig::removal_grace); as they were while there is none |
///
/// # Trust
/// Any host in the network can announce anything. So an instance is used only after a check of it has passed:
/// by default, that something listens at its address. That keeps out what is not there, not what pretends:
/// [`with_check`](Self::with_check) can ask it to prove what it is, and transports can use TLS. See
/// [`require_health_before_use`](MdnsConfig::require_health_before_use). A check that fails is made again after
/// up to 30 s. Afterwards, health is what a [`HealthGateLayer`](crate::HealthGateLayer) and a
/// [circuit breaker](crate::CircuitBreakerLayer) watch.
///
/// # Bounds
/// At most [`max_instances`](MdnsConfig::max_instances) of a type; 16 checks run at once, for 5 s each. The domain is
/// `local`, and types are of TCP. All watches and registries share one thread, which ends with the last one. It keeps
/// what hosts say of the types that are watched, without a limit, until that expires: the network of the link is
/// trusted that far (RFC 6762 §21). Its queue holds 100 commands. What a drop ends while that is full ends once there
/// is room, and nothing begins before that.
///
/// # Example
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover::{Mdns, MdnsConfig}};
///
/// let mdns = Mdns::new(MdnsConfig::default().with_interface("eth0"))?;
/// let layer = BalanceLayer::new(mdns.service("tax")?, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Mdns {
    daemons: Arc<Daemons>,
    watches: Watches<MdnsService>,
    check: Option<Check>,
}

impl Mdns {
    /// Creates a value for the local network. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`]: see [`MdnsConfig::validate`].
    pub fn new(config: MdnsConfig) -> Result<Self, Error> {
        config.validate()?;
        let watches = Watches::new(config.watch.clone());
        let check = config.require_health_before_use.then(check::listens);
        Ok(Self { daemons: Arc::new(Daemons::new(config)), watches, check })
    }

    /// Sets the check that an instance has to pass before it is used, in place of the one that connects to its
    /// address. Without [`require_health_before_use`](MdnsConfig::require_health_before_use) none is made.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tower_upstream::{Endpoint, discover::{Mdns, MdnsConfig}};
    ///
    /// let mdns = Mdns::new(MdnsConfig::default())?
    ///     .with_check(|endpoint: Arc<Endpoint>| async move { endpoint.address().port() == Some(8080) });
    /// # let _ = mdns;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_check<F>(self, check: impl Fn(Arc<Endpoint>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let check: Check = Arc::new(move |endpoint| check(endpoint).boxed());
        // Watches that were made before have another.
        let watches = Watches::new(self.daemons.config.watch.clone());
        Self { check: self.check.map(|_| check), watches, ..self }
    }

    /// Returns the watch of a service. All that ask for the same service share one.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a name that is no service type, if services share none: one of more than
    /// 15 characters, or of others than letters, digits, hyphens, `_` and spaces.
    pub fn service(&self, name: &str) -> Result<Watched<MdnsService>, Error> {
        let shared = self.shared()?;
        let is_shared = !shared.is_empty();
        let kinds = match is_shared {
            true if name.is_empty() => {
                return Err(Error::not_sent(Kind::InvalidConfig).message("a service has a name"));
            }
            true => shared,
            false => vec![ServiceType::of_service(name)?],
        };
        Ok(self.watch(name, Some(name.to_owned()), kinds, is_shared))
    }

    /// Returns the watch of all instances of all [`service_types`](MdnsConfig::service_types), whatever their
    /// services: [`Filtered::service`](super::super::Filtered::service) selects one. A type that fails takes
    /// nothing away from the others.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] without service types.
    ///
    /// ```
    /// use tower_upstream::discover::{Filtered, Mdns, MdnsConfig};
    /// let config = MdnsConfig::default().with_service_types(["_farp._tcp", "_http._tcp"]);
    /// let all = Mdns::new(config)?.all_types()?;
    /// let tax = Filtered::service(all, "tax");
    /// # let _ = tax;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn all_types(&self) -> Result<Watched<MdnsService>, Error> {
        let kinds = spellings(&self.daemons.config.service_types)?;
        if kinds.is_empty() {
            let text = "mDNS: there are no `service_types` to watch";
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        // No service has that name.
        Ok(self.watch("\n", None, kinds, false))
    }

    /// All instances of the types that are known, unchecked.
    async fn all(&self) -> Result<EndpointSet, Error> {
        let config = &self.daemons.config;
        let kinds = spellings(config.service_type.iter().chain(&config.service_types))?;
        if kinds.is_empty() {
            let text = "mDNS: there is no `service_type` to look for";
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        let source = MdnsService::new(self.daemons.clone(), None, kinds, false, None).thorough();
        let all = Watched::with_config(source, config.watch.clone());
        all.first_snapshot(config.browse_timeout + SPARE).await
    }

    fn watch(
        &self,
        key: &str,
        name: Option<String>,
        kinds: Vec<ServiceType>,
        is_shared: bool,
    ) -> Watched<MdnsService> {
        self.watches.watch(key, || {
            MdnsService::new(self.daemons.clone(), name, kinds, is_shared, self.check.clone())
        })
    }

    /// The type that services share. None: they have types of their own.
    fn shared(&self) -> Result<Vec<ServiceType>, Error> {
        spellings(&self.daemons.config.service_type)
    }

    /// Returns what announces instances in the local network, for a [`Registry`](super::super::Registry).
    pub fn registrar(&self) -> MdnsRegistrar {
        // As it is written, which is how others have it that share it. The config is known to be good.
        let shared = self.shared().ok().and_then(|kinds| kinds.into_iter().last());
        MdnsRegistrar::new(self.daemons.clone(), shared)
    }

    /// Asks whether the instance with `key` is still there, for a program that cannot reach it: without an
    /// answer within `timeout` it is removed, long before its records expire. RFC 6762 §10.4 recommends 10 s.
    ///
    /// Does nothing for an instance that no watch of this value has found.
    ///
    /// # Errors
    /// [`Kind::Connection`] if the question cannot be sent.
    ///
    /// # Bounds
    /// `timeout` is from 1 s to a minute.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::discover::{Mdns, MdnsConfig};
    /// Mdns::new(MdnsConfig::default())?.reconfirm("tax-1", Duration::from_secs(10))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn reconfirm(&self, key: &str, timeout: Duration) -> Result<(), Error> {
        let Some(daemon) = self.daemons.running() else { return Ok(()) };
        let Some(full) = daemon.heard.look(|board| board.name_of(key)) else { return Ok(()) };
        let failed = |error| failed("an instance cannot be asked for", error);
        let timeout = timeout.clamp(RECONFIRM[0], RECONFIRM[1]);
        daemon.orders.ask(|mdns| mdns.verify(full, timeout)).map_err(failed)
    }

    /// Returns the endpoint that an instance becomes, of its name, the bytes of its TXT record, and its
    /// addresses and port. For tools and tests; a watch does that by itself.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an instance that is left out: without a port, without an address that can be
    /// used, or with an id or an address that is none.
    ///
    /// ```
    /// use tower_upstream::discover::Mdns;
    /// let endpoint = Mdns::read("tax-1", b"\x08name=tax\x07tags=v2", &[[10, 0, 0, 1].into()], 8080)?;
    /// assert_eq!((endpoint.key(), endpoint.address().as_str()), ("tax-1", "10.0.0.1:8080"));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn read(
        name: &str,
        txt: &[u8],
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Endpoint, Error> {
        let pairs = TxtProperties::from(txt);
        let said = Said::read(pairs.iter().map(|pair| (pair.key(), pair.val())));
        let place = |ip: &IpAddr| Place { ip: *ip, scope: None, heard_at: Vec::new() };
        let places: Vec<_> = addresses.iter().map(place).collect();
        endpoint(name, port, &places, &said, true)
    }
}

/// Some types in all their spellings.
fn spellings<'a>(types: impl IntoIterator<Item = &'a String>) -> Result<Vec<ServiceType>, Error> {
    let all = types.into_iter().map(|of| ServiceType::spellings(of));
    Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Beside the time of a search.
const SPARE: Duration = Duration::from_secs(5);
const RECONFIRM: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// Of the [`service_type`](MdnsConfig::service_type) and the [`service_types`](MdnsConfig::service_types): each
/// call looks for their instances for the [`browse_timeout`](MdnsConfig::browse_timeout), and checks none.
impl Catalog for Mdns {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let all = self.all().await?;
        let names = all.iter().filter_map(|of| of.metadata().get("name").cloned());
        let names: BTreeSet<_> = names.collect();
        Ok(names.into_iter().collect())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let all = self.all().await?;
        let Some(found) = all.get(id) else { return Ok(None) };
        let service = found.metadata().get("name").map_or(id, String::as_str);
        Ok(Some(Instance::new(service, (**found).clone())?))
    }
}

impl fmt::Debug for Mdns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mdns")
            .field("config", &self.daemons.config)
            .field("watches", &self.watches)
            .finish_non_exhaustive()
    }
}
