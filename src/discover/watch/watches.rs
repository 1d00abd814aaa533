use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, Weak},
};

use super::{config::WatchConfig, shared::Shared, source::Source, watched::Watched};
use crate::sync::lock;

/// The watches of a backend that knows many services: one for each service, however many ask for it.
///
/// A watch is forgotten once nothing uses it. Clones share their watches.
///
/// # Example
/// ```
/// use tower_upstream::{
///     BoxError,
///     discover::{Observation, Source, WatchConfig, Watched, Watches},
/// };
///
/// struct Service(String);
/// # impl Source for Service {
/// #     type State = ();
/// #     fn name(&self) -> String { self.0.clone() }
/// #     async fn observe(&self, _: &mut ()) -> Result<Observation, BoxError> { std::future::pending().await }
/// # }
///
/// struct Registry {
///     watches: Watches<Service>,
/// }
///
/// impl Registry {
///     fn service(&self, name: &str) -> Watched<Service> {
///         self.watches.watch(name, || Service(name.to_owned()))
///     }
/// }
/// let registry = Registry { watches: Watches::new(WatchConfig::default()) };
/// let (one, same) = (registry.service("tax"), registry.service("tax"));
/// assert!(std::ptr::eq(one.source(), same.source()));
/// ```
pub struct Watches<S> {
    config: WatchConfig,
    by_service: Arc<Mutex<ByService<S>>>,
}

/// Those that are not used any more are dead.
type ByService<S> = HashMap<Arc<str>, Weak<Shared<S>>>;

impl<S: Source> Watches<S> {
    /// Creates an empty collection. Each watch gets these settings.
    pub fn new(config: WatchConfig) -> Self {
        Self { config, by_service: Arc::default() }
    }

    /// Returns the watch of `service`, and creates it with `source` if there is none.
    pub fn watch(&self, service: &str, source: impl FnOnce() -> S) -> Watched<S> {
        let known = || lock(&self.by_service).get(service).and_then(Watched::upgrade);
        if let Some(known) = known() {
            return known;
        }
        // Not under the lock.
        let made = Watched::with_config(source(), self.config.clone());
        let mut by_service = lock(&self.by_service);
        if let Some(known) = by_service.get(service).and_then(Watched::upgrade) {
            return known;
        }
        if by_service.len() == by_service.capacity() {
            by_service.retain(|_, watch| watch.strong_count() > 0);
        }
        by_service.insert(service.into(), made.downgrade());
        made
    }
}

impl<S> Clone for Watches<S> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), by_service: self.by_service.clone() }
    }
}

impl<S> fmt::Debug for Watches<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches")
            .field("services", &lock(&self.by_service).keys())
            .finish_non_exhaustive()
    }
}
