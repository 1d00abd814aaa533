use std::{fmt, sync::Arc};

use super::{
    super::watch::{Watched, Watches},
    access::Access,
    config::KubernetesConfig,
    query::{KubernetesQuery, NAME, is_name},
    server::Server,
    source::KubernetesService,
};
use crate::error::{Error, Kind};

/// A cluster of Kubernetes, in which Services are found by their EndpointSlices.
///
/// # Endpoints
/// | of an endpoint in a slice | becomes |
/// |---|---|
/// | `targetRef.uid` of a pod | the key; of anything else, address and port |
/// | the first of `addresses`, and a port of the slice, as [`port`](super::KubernetesQuery::port) says | the address |
/// | `appProtocol` of the port: `http`, `https`, `grpc` | the scheme |
/// | `ready`, or not told | [passing](crate::endpoint::Status::Passing) |
/// | not `ready`, but `serving` and `terminating` | [draining](crate::Endpoint::is_draining): no new calls, unless no endpoint is ready |
/// | not `ready` otherwise | left out, or [critical](crate::endpoint::Status::Critical): see [`only_passing`](super::KubernetesQuery::only_passing) |
/// | `zone` | the zone of the locality |
/// | `hints.forZones` | the [zone hints](crate::Endpoint::with_zone_hints) |
/// | the pod, its node, its namespace, the port and its protocol | metadata: `pod`, `node`, `namespace`, `port`, `protocol`; the Service as `name` |
///
/// An endpoint that is in two slices, as while it moves from one to the other, or with an IPv4 and an IPv6
/// address, is one endpoint: the most available one counts, and of those the one with the
/// [preferred](super::KubernetesFamily) address. A Service of the type `ExternalName` is one endpoint with that
/// name, as long as no slice has endpoints for it; it is looked at again when a watch ends.
///
/// # Changes
/// A Service is listed once, in pages, and then watched from there on: one connection for each Service that is
/// used. Clones of this value share the watches.
///
/// | what happens | the endpoints |
/// |---|---|
/// | an endpoint leaves a slice, or a slice is deleted | that endpoint leaves at once |
/// | the server ends the watch, as it does every few minutes | stay; the watch goes on where it stood |
/// | the connection breaks, the server does not answer, or answers an error | stay; the watch goes on where it stood. If none begins for 30 s, as through a proxy that holds back what has no end, they are listed anew |
/// | the version is not kept any more (410) | stay; they are listed anew, and only differences are told. If more than half are missing, they stay for [`removal_grace`](super::super::WatchConfig::removal_grace) |
/// | a slice cannot be read | its endpoints stay as they were; those of other slices follow |
/// | the port is in a slice no more | its endpoints stay as they were, as long as they are in it |
/// | the token is refused (401) | stay; the file is read, or the program run, again |
/// | access is denied (403) | stay; asked again after 30 s. What may be listed and not watched is listed then |
/// | the program of the kubeconfig fails | stay; it is run again after 10 s or more |
///
/// # What it needs
/// Kubernetes of version 1.21 or later, and a role that may `get`, `list` and `watch` `endpointslices` of the API
/// group `discovery.k8s.io`; for Services of the type `ExternalName` also `get` `services`.
///
/// # Zones
/// A balancer ignores the zones of endpoints and their hints unless it is told the zone of this program, which is the
/// label `topology.kubernetes.io/zone` of the node of its pod. Hints come from a Service with
/// `trafficDistribution`, or topology-aware routing; without them, `force_local_zone` keeps all calls in the zone while
/// it has as many endpoints:
///
/// ```
/// use tower_upstream::{
///     BalanceLayer, LeastRequest, balance::{BalanceConfig, LocalityMode, ZoneAware},
///     discover::{Kubernetes, KubernetesConfig},
/// };
///
/// # fn layer() -> Result<(), Box<dyn std::error::Error>> {
/// let near = ZoneAware::from(std::env::var("ZONE")?).with_force_local_zone(2);
/// let config = BalanceConfig::default().with_locality(LocalityMode::ZoneAware(near));
/// let kubernetes = Kubernetes::new(KubernetesConfig::default())?;
/// let layer = BalanceLayer::with_config(kubernetes.service("tax")?, LeastRequest::new(), config);
/// # let _ = layer;
/// # Ok(()) }
/// # let _ = layer;
/// ```
///
/// # Differences from kube
/// This is a client for two requests, list and watch, not one for all of Kubernetes: it brings no type of
/// `k8s-openapi`, of which a program has to choose one version for all its parts. Proxies (`proxy-url`) and HTTP/2
/// are not supported: run `kubectl proxy`, and set [`address`](KubernetesConfig::address) to
/// `http://127.0.0.1:8001`.
///
/// # Acting as another
/// A user of a kubeconfig with `as`, `as-uid`, `as-groups` or `as-user-extra` asks as the one that is named there, which
/// needs the right to `impersonate` it.
///
/// # Programs that tell the credential
/// A kubeconfig may name one (`exec`), as those of EKS, GKE and AKS do. It is run if it stands in
/// [`allow_exec`](KubernetesConfig::allow_exec), on Unix, without a shell and without a terminal: at first use,
/// a minute before its token or certificate ends, and when that is refused (401); at most once in 10 s. It has 60 s, may
/// write 256 KiB, and is killed with all that it has started if it takes longer, or if nothing waits for it
/// any more. While it fails, what it told before is used to its end; the error has the last line of its stderr.
///
/// # Bounds
/// A Service has at most 10,000 slices and 100,000 endpoints. An answer or an event has at most
/// [`max_response_bytes`](KubernetesConfig::max_response_bytes). Redirects are not followed.
///
/// # Example
/// ```no_run
/// use tower_upstream::{
///     BalanceLayer, LeastRequest,
///     discover::{Kubernetes, KubernetesConfig},
/// };
///
/// let kubernetes = Kubernetes::new(KubernetesConfig::default())?;
/// let layer = BalanceLayer::new(kubernetes.service("tax")?, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Kubernetes {
    pub(super) server: Arc<Server>,
    pub(super) config: Arc<KubernetesConfig>,
    /// That of Services that are asked for without one.
    pub(super) namespace: Arc<str>,
    watches: Watches<KubernetesService>,
}

impl Kubernetes {
    /// Creates a value for a cluster. Reads the kubeconfig, if there is one; nothing is sent yet.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`]: see [`KubernetesConfig::validate`]; and if there is neither a cluster around
    /// this nor a kubeconfig that can be used.
    pub fn new(config: KubernetesConfig) -> Result<Self, Error> {
        config.validate()?;
        let access = Access::of(&config)?;
        let namespace = access.namespace.as_str().into();
        let server = Server::new(access, config.request_timeout, config.max_response_bytes);
        let watches = Watches::new(config.watch.clone());
        Ok(Self { server: Arc::new(server), config: Arc::new(config), namespace, watches })
    }

    /// Returns the watch of a Service, read as [`KubernetesConfig::query`] says. `NAMESPACE/NAME` is one in
    /// another namespace.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for what is no name of a Service.
    pub fn service(&self, name: &str) -> Result<Watched<KubernetesService>, Error> {
        self.service_with(name, self.config.query.clone())
    }

    /// Checks what [`service`](Self::service) would be asked for.
    #[cfg(feature = "config")]
    pub(crate) fn check_service(service: &str) -> Result<(), Error> {
        let mut parts = service.splitn(2, '/');
        if parts.all(is_name) { Ok(()) } else { Err(no_service(service)) }
    }

    /// Returns the watch of a Service, read as `query` says. All that ask for the same Service in the same way
    /// share one.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for what is no name of a Service, or a query with a value out of range.
    ///
    /// ```
    /// use tower_upstream::discover::{Kubernetes, KubernetesConfig, KubernetesQuery};
    /// let config = KubernetesConfig::default().with_address("http://127.0.0.1:8001");
    /// let kubernetes = Kubernetes::new(config)?;
    /// let query = KubernetesQuery::default().with_namespace("shop");
    /// let (one, same) = (kubernetes.service("shop/tax")?, kubernetes.service_with("tax", query)?);
    /// assert!(std::ptr::eq(one.source(), same.source()), "one watch for both");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn service_with(
        &self,
        name: &str,
        mut query: KubernetesQuery,
    ) -> Result<Watched<KubernetesService>, Error> {
        query.validate()?;
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name),
            None => (query.namespace.take().unwrap_or_else(|| self.namespace.to_string()), name),
        };
        if !is_name(name) || !is_name(&namespace) {
            return Err(no_service(&format!("{namespace}/{name}")));
        }
        query.namespace = Some(namespace.clone());
        query.label_selector = query.label_selector.or(self.config.label_selector.clone());
        let key = format!("{namespace}/{name}\n{query:?}");
        Ok(self.watches.watch(&key, || {
            let unsure = self.config.watch.removal_grace.max(self.config.watch.empty_grace);
            KubernetesService::new(self.server.clone(), name, query, unsure)
        }))
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("server", &self.server.url())
            .field("config", &self.config)
            .field("watches", &self.watches)
            .finish()
    }
}

#[cold]
fn no_service(name: &str) -> Error {
    let name = crate::wire::start(name, 128);
    let text = format!("a Service is `{}`, {NAME}", name.escape_debug());
    Error::not_sent(Kind::InvalidConfig).message(text)
}
