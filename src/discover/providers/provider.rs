use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::watch};

use super::{
    super::{
        discover::Discover,
        register::{Registrar, Registration, Registry},
        set::EndpointSet,
        watch::{Source, Watched},
    },
    backend::Backend,
    event::{ProviderEvent, ProviderEventKind},
    overlay::Overlay,
    seen::Seen,
    stats::{ConnectionInfo, ProviderFeature, ProviderStats},
    stream::ProviderStream,
};
use crate::{
    endpoint::{Endpoint, Status},
    error::{BoxError, Error, Kind},
    sync::lock,
    time::{self, Instant},
};

/// One service in a backend: what finds its endpoints, and announces those of this program.
///
/// It is a source of endpoints for a balancer, over any [`Watched`] or other [`Discover`], and any [`Registry`].
/// Clones are the same provider. [`Providers`](super::Providers) keeps several by name.
///
/// # When to use
/// For a program that manages endpoints at run time, whatever the backend is, such as one that comes from a failover
/// library with providers. To call a service a [`Watched`] is enough, and to announce this program a [`Registry`].
///
/// # Own endpoints
/// Those that are [registered](Self::register) here are in the set at once. With a registry they are also announced,
/// and as soon as the backend tells of an endpoint with that key or address, what it tells counts. Without a registry
/// they are known to this process alone, and take the place of what is found with the same key.
///
/// # Bounds
/// The last 1,024 events are kept.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{
///     BalanceLayer, Endpoint, LeastRequest,
///     discover::{MemoryRegistry, Provider, Registry},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// let backend = MemoryRegistry::new();
/// let tax = Provider::new("tax in memory", backend.service("tax"))
///     .with_registry("tax", Registry::new(backend));
/// let layer = BalanceLayer::new(tax.clone(), LeastRequest::new());
///
/// let id = tax.register(Endpoint::new("http://10.0.0.1:8080")?.with_key("tax-1"))?;
/// assert_eq!(tax.list(Duration::from_secs(5)).await?.len(), 1);
/// tax.deregister(&id, Duration::from_secs(5)).await?;
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Provider {
    shared: Arc<Shared>,
}

type Announce = dyn Fn(Endpoint) -> Result<Registration, Error> + Send + Sync;

struct Shared {
    backend: Backend,
    /// The name of what is announced in, and how.
    announce: Option<(String, Box<Announce>)>,
    registrations: Mutex<BTreeMap<Arc<str>, Registration>>,
    overlay: watch::Sender<Overlay>,
    seen: Arc<Mutex<Seen>>,
    since: Instant,
}

impl Provider {
    /// Creates a provider over any source of endpoints. `name` says what it is, and must have no secrets.
    pub fn new(name: impl Into<String>, source: impl Discover) -> Self {
        Self::of(Backend::of(name.into(), source), None)
    }

    /// Creates a provider over a backend that is watched, and can tell how that is.
    ///
    /// ```
    /// use tower_upstream::discover::{self, Provider, ProviderFeature};
    /// # #[cfg(feature = "json")] {
    /// let provider = Provider::watching(discover::file("/etc/tax/endpoints.json"));
    /// assert!(provider.features().contains(&ProviderFeature::Status));
    /// # }
    /// ```
    pub fn watching<S: Source>(watched: Watched<S>) -> Self {
        Self::of(Backend::watched(watched), None)
    }

    fn of(backend: Backend, announce: Option<(String, Box<Announce>)>) -> Self {
        let shared = Shared {
            backend,
            announce,
            registrations: Mutex::default(),
            overlay: watch::Sender::default(),
            seen: Arc::default(),
            since: time::now(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Announces what is registered as instances of `service`.
    ///
    /// The result is a provider of its own, which has none of the endpoints that were registered in this one.
    #[must_use]
    pub fn with_registry<R: Registrar>(
        self,
        service: impl Into<Arc<str>>,
        registry: Registry<R>,
    ) -> Self {
        let (service, name) = (service.into(), registry.backend().name());
        let announce = move |endpoint| registry.register(service.clone(), endpoint);
        Self::of(self.shared.backend.clone(), Some((name, Box::new(announce))))
    }

    /// Returns what this provider can do.
    pub fn features(&self) -> Vec<ProviderFeature> {
        let Shared { announce, backend, .. } = &*self.shared;
        let optional = [
            (announce.is_some(), ProviderFeature::Announce),
            (backend.tells_status, ProviderFeature::Status),
        ];
        let optional = optional.into_iter().filter_map(|(has, of)| has.then_some(of));
        [ProviderFeature::Find, ProviderFeature::Register].into_iter().chain(optional).collect()
    }

    /// Returns where the endpoints come from, and how that is.
    pub fn connection_info(&self) -> ConnectionInfo {
        let registry = self.shared.announce.as_ref().map(|(name, _)| name.clone());
        ConnectionInfo { registry, ..(self.shared.backend.info)() }
    }

    /// Registers an endpoint, and returns its id: its [key](Endpoint::with_key), or one that is made here.
    ///
    /// With a registry it is announced in the background.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an id that is registered already, and for what the
    /// [registry](Registry::register) refuses.
    pub fn register(&self, endpoint: Endpoint) -> Result<Arc<str>, Error> {
        let mut registrations = lock(&self.shared.registrations);
        if self.shared.overlay.borrow().has(endpoint.key()) {
            let text = format!("`{}` is registered already", endpoint.key());
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        let endpoint = match &self.shared.announce {
            None => Arc::new(endpoint),
            Some((_, announce)) => {
                let registration = announce(endpoint)?;
                let endpoint = registration.instance().endpoint().clone();
                registrations.insert(endpoint.key().into(), registration);
                endpoint
            }
        };
        let id: Arc<str> = endpoint.key().into();
        let is_announced = self.shared.announce.is_some();
        self.shared.overlay.send_modify(|own| own.put(endpoint, is_announced));
        drop(registrations);
        self.note(ProviderEventKind::Registered, &id, |seen| &mut seen.registered);
        Ok(id)
    }

    /// Changes an endpoint that was registered here: the one with the same key.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is none, or its address [cannot be announced](super::super::Instance::new).
    pub fn update(&self, endpoint: Endpoint) -> Result<(), Error> {
        let id: Arc<str> = endpoint.key().into();
        let registrations = lock(&self.shared.registrations);
        if !self.shared.overlay.borrow().has(&id) {
            return Err(not_registered(&id));
        }
        let is_announced = match registrations.get(&id) {
            Some(registration) => registration.update(|_| endpoint.clone()).map(|()| true)?,
            None => false,
        };
        self.shared.overlay.send_modify(|own| own.put(endpoint.into(), is_announced));
        drop(registrations);
        self.note(ProviderEventKind::Updated, &id, |seen| &mut seen.updated);
        Ok(())
    }

    /// Deregisters an endpoint that was registered here, and waits for the backend for at most `timeout`.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is none. [`Kind::Timeout`]: it is tried again in the background.
    ///
    /// # Cancel safety
    /// Dropping the future deregisters all the same, once it was polled.
    pub async fn deregister(&self, id: &str, timeout: Duration) -> Result<(), Error> {
        let registration = {
            let mut registrations = lock(&self.shared.registrations);
            let mut is_known = false;
            self.shared.overlay.send_modify(|own| is_known = own.remove(id));
            if !is_known {
                return Err(not_registered(id));
            }
            registrations.remove(id)
        };
        self.note(ProviderEventKind::Deregistered, &id.into(), |seen| &mut seen.deregistered);
        match registration {
            Some(registration) => self.noting(registration.deregister(timeout).await),
            None => Ok(()),
        }
    }

    /// Deregisters all endpoints that were registered here, and waits for the backend for at most `timeout`.
    ///
    /// # Errors
    /// The last error of [`deregister`](Self::deregister).
    ///
    /// # Cancel safety
    /// Dropping the future deregisters all the same, once it was polled.
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        let ids: Vec<Arc<str>> = self.shared.overlay.borrow().keys();
        let all = ids.iter().map(|id| self.deregister(id, timeout));
        let ended = join_all(all).await;
        ended.into_iter().rfind(Result::is_err).unwrap_or(Ok(()))
    }

    /// Returns the endpoints as they are, and waits for an answer of the backend for at most `timeout`.
    ///
    /// Of a backend that was given to [`watching`](Self::watching), they are those that a balancer over it has in use.
    /// If there is none, it is asked each time; if it does not answer, they are those that it told last.
    ///
    /// # Errors
    /// [`Kind::Timeout`], whose source is what went wrong, if that is known. [`Kind::Unavailable`] outside a tokio
    /// runtime.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn list(&self, timeout: Duration) -> Result<EndpointSet, Error> {
        if Handle::try_current().is_err() {
            return Err(Error::not_sent(Kind::Unavailable));
        }
        if let Some(found) = (self.shared.backend.now)(timeout).await {
            let mut seen = lock(&self.shared.seen);
            let set = self.shared.overlay.borrow().over(Some(&found)).unwrap_or(found.clone());
            seen.found = Some(found);
            seen.see(&set);
            return Ok(set);
        }
        let info = self.connection_info();
        let text = format!("{} has not told its endpoints within {timeout:?}", info.source);
        let error = Error::not_sent(Kind::Timeout).message(text);
        self.noting(Err(match info.last_error {
            Some(cause) => error.caused_by(cause),
            None => error,
        }))
    }

    /// Returns the health of an endpoint as the backend tells it, or `None` if there is no such endpoint.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    pub async fn health(&self, id: &str, timeout: Duration) -> Result<Option<Status>, Error> {
        let set = self.list(timeout).await?;
        // The backend may tell of one that was announced by another key.
        let own = self.shared.overlay.borrow().get(id);
        let is_own =
            |of: &&Arc<Endpoint>| own.as_ref().is_some_and(|own| own.address() == of.address());
        let found = set.get(id).or_else(|| set.iter().find(is_own));
        Ok(found.map(|endpoint| endpoint.status()))
    }

    /// Returns the health of all endpoints, by key.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    pub async fn health_all(&self, timeout: Duration) -> Result<BTreeMap<String, Status>, Error> {
        let set = self.list(timeout).await?;
        Ok(set.iter().map(|endpoint| (endpoint.key().to_owned(), endpoint.status())).collect())
    }

    /// Returns the counts as they are now.
    pub fn stats(&self) -> ProviderStats {
        let own = self.shared.overlay.borrow().len();
        let uptime = time::now().saturating_duration_since(self.shared.since);
        ProviderStats::of(&lock(&self.shared.seen), own, uptime)
    }

    /// Returns the newest events, at most `limit`, the oldest of them first.
    pub fn events(&self, limit: usize) -> Vec<ProviderEvent> {
        lock(&self.shared.seen).log.last(limit)
    }

    fn note(&self, kind: ProviderEventKind, id: &Arc<str>, count: fn(&mut Seen) -> &mut u64) {
        let mut seen = lock(&self.shared.seen);
        *count(&mut seen) += 1;
        seen.log.note(kind, Some(id.clone()), None);
    }

    /// Notes it if it is an error.
    fn noting<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let mut seen = lock(&self.shared.seen);
            seen.failed += 1;
            seen.log.note(ProviderEventKind::Failed, None, Some(error.clone()));
        }
        result
    }
}

fn not_registered(id: &str) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("`{id}` is not registered here"))
}

impl Discover for Provider {
    type Stream = ProviderStream;

    fn discover(&self) -> ProviderStream {
        let Shared { backend, overlay, seen, .. } = &*self.shared;
        ProviderStream::of((backend.open)(), overlay.subscribe(), seen.clone())
    }

    fn last_error(&self) -> Option<BoxError> {
        (self.shared.backend.last_error)()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("connection", &self.connection_info())
            .field("stats", &self.stats())
            .finish()
    }
}
