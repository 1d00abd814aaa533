use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{
    catalog::Catalog,
    discover::Discover,
    memory::{Memory, MemoryStream},
    register::{Instance, Registrar},
    set::EndpointSet,
};
use crate::{error::BoxError, sync::lock};

/// Registry of many services in the memory of this process.
///
/// For tests, and for programs whose services are parts of one process. Clones share one registry.
///
/// # Example
/// ```
/// use tower_upstream::{
///     BalanceLayer, Endpoint, LeastRequest,
///     discover::{Instance, MemoryRegistry},
/// };
///
/// let registry = MemoryRegistry::new();
/// let layer = BalanceLayer::new(registry.service("tax"), LeastRequest::new());
///
/// let instance = Instance::new("tax", Endpoint::new("10.0.0.1:8080")?.with_key("tax-1"))?;
/// registry.put(&instance);
/// assert_eq!(registry.services(), ["tax"]);
/// assert_eq!(registry.get("tax-1"), Some(instance));
/// registry.remove("tax-1");
/// assert!(registry.services().is_empty());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryRegistry {
    services: Arc<Mutex<BTreeMap<Arc<str>, Listed>>>,
}

#[derive(Debug, Default)]
struct Listed {
    list: Memory,
    instances: BTreeMap<Arc<str>, Instance>,
}

impl MemoryRegistry {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the endpoints of `service`, which need not have any yet.
    pub fn service(&self, service: &str) -> MemoryService {
        let mut services = lock(&self.services);
        MemoryService { list: services.entry(service.into()).or_default().list.clone() }
    }

    /// Writes an instance, in place of the one with its id.
    pub fn put(&self, instance: &Instance) {
        let mut services = lock(&self.services);
        for (name, listed) in services.iter_mut() {
            // An id is in one service only.
            if **name != *instance.service() {
                listed.remove(instance.id());
            }
        }
        let listed = services.entry(instance.service().into()).or_default();
        listed.instances.insert(instance.id().into(), instance.clone());
        listed.list.put(instance.endpoint().clone());
        services.retain(|_, listed| listed.is_used());
    }

    /// Removes the instance with `id`. `false`: there was none.
    pub fn remove(&self, id: &str) -> bool {
        let mut services = lock(&self.services);
        let is_removed = services.values_mut().any(|listed| listed.remove(id));
        services.retain(|_, listed| listed.is_used());
        is_removed
    }

    /// Returns the instance with `id`.
    pub fn get(&self, id: &str) -> Option<Instance> {
        lock(&self.services).values().find_map(|listed| listed.instances.get(id).cloned())
    }

    /// Returns the instances of `service`, sorted by id.
    pub fn instances(&self, service: &str) -> Vec<Instance> {
        let services = lock(&self.services);
        let listed = services.get(service);
        listed.map_or_else(Vec::new, |listed| listed.instances.values().cloned().collect())
    }

    /// Returns the names of the services that have instances, sorted.
    pub fn services(&self) -> Vec<String> {
        let services = lock(&self.services);
        let used = services.iter().filter(|(_, listed)| !listed.instances.is_empty());
        used.map(|(name, _)| name.to_string()).collect()
    }
}

impl Listed {
    fn is_used(&self) -> bool {
        !self.instances.is_empty() || self.list.is_shared()
    }

    fn remove(&mut self, id: &str) -> bool {
        // Most services do not have it, and a look at the list costs more.
        let is_removed = self.instances.remove(id).is_some();
        if is_removed {
            self.list.remove(id);
        }
        is_removed
    }
}

impl Catalog for MemoryRegistry {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        Ok(self.services())
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        Ok(self.get(id))
    }
}

impl Registrar for MemoryRegistry {
    type Session = ();

    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn put(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
        Self::put(self, instance);
        Ok(())
    }

    async fn remove(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
        Self::remove(self, instance.id());
        Ok(())
    }
}

/// Endpoints of one service in a [`MemoryRegistry`].
///
/// ```
/// use tower_upstream::discover::MemoryRegistry;
/// assert!(MemoryRegistry::new().service("tax").snapshot().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct MemoryService {
    list: Memory,
}

impl MemoryService {
    /// Returns the endpoints as they are now.
    pub fn snapshot(&self) -> EndpointSet {
        self.list.snapshot()
    }
}

impl Discover for MemoryService {
    type Stream = MemoryStream;

    fn discover(&self) -> MemoryStream {
        self.list.discover()
    }
}
