use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;

use super::{
    super::set::EndpointSet,
    event::ProviderEvent,
    provider::Provider,
    stats::{ConnectionInfo, ProviderStats},
};
use crate::{
    error::{Error, Kind},
    sync::lock,
};

/// Providers by name, one of which is the default.
///
/// Clones share them.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::{Memory, Provider, Providers};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
/// let providers = Providers::new();
/// providers.add("here", Provider::new("a list", Memory::new(["10.0.0.1:8080"])?))?;
/// providers.add("there", Provider::new("another list", Memory::new(["10.1.0.1:8080"])?))?;
/// assert_eq!(providers.names(), ["here".into(), "there".into()]);
///
/// providers.set_default("there")?;
/// let set = providers.default_provider()?.list(Duration::from_secs(5)).await?;
/// assert_eq!(set[0].key(), "10.1.0.1:8080");
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Providers {
    named: Arc<Mutex<Named>>,
}

#[derive(Default)]
struct Named {
    by_name: BTreeMap<Arc<str>, Provider>,
    default: Option<Arc<str>>,
}

impl Providers {
    /// Creates an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an empty name, and for one that is there already.
    pub fn add(&self, name: impl Into<Arc<str>>, provider: Provider) -> Result<(), Error> {
        let name = name.into();
        if name.is_empty() {
            return Err(mistake("a provider needs a name".to_owned()));
        }
        let mut named = lock(&self.named);
        if named.by_name.contains_key(&name) {
            return Err(mistake(format!("there is a provider `{name}` already")));
        }
        named.by_name.insert(name, provider);
        Ok(())
    }

    /// Removes a provider, and returns it. If it was the default, there is none set any more.
    pub fn remove(&self, name: &str) -> Option<Provider> {
        let mut named = lock(&self.named);
        if named.default.as_deref() == Some(name) {
            named.default = None;
        }
        named.by_name.remove(name)
    }

    /// Returns the provider with this name.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is none.
    pub fn get(&self, name: &str) -> Result<Provider, Error> {
        let named = lock(&self.named);
        named.by_name.get(name).cloned().ok_or_else(|| none(name, &named.by_name))
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> Vec<Arc<str>> {
        lock(&self.named).by_name.keys().cloned().collect()
    }

    /// Makes a provider the default.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is none with this name.
    pub fn set_default(&self, name: &str) -> Result<(), Error> {
        let mut named = lock(&self.named);
        let Some((name, _)) = named.by_name.get_key_value(name) else {
            return Err(none(name, &named.by_name));
        };
        named.default = Some(name.clone());
        Ok(())
    }

    /// Returns the default provider: the one that was [set](Self::set_default), or else the first by name.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is no provider.
    pub fn default_provider(&self) -> Result<Provider, Error> {
        let named = lock(&self.named);
        let set = named.default.as_ref().and_then(|name| named.by_name.get(name));
        let provider = set.or_else(|| named.by_name.values().next());
        provider.cloned().ok_or_else(|| mistake("there is no provider".to_owned()))
    }

    /// Returns the endpoints of all providers by their names, or why one has not told them within `timeout`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn list_all(
        &self,
        timeout: Duration,
    ) -> BTreeMap<Arc<str>, Result<EndpointSet, Error>> {
        let all = self.all();
        let listed = all
            .iter()
            .map(|(name, provider)| async move { (name.clone(), provider.list(timeout).await) });
        join_all(listed).await.into_iter().collect()
    }

    /// Returns the counts of all providers, by their names.
    pub fn stats(&self) -> BTreeMap<Arc<str>, ProviderStats> {
        self.all().into_iter().map(|(name, provider)| (name, provider.stats())).collect()
    }

    /// Returns how the backends of all providers are, by their names.
    pub fn connection_info(&self) -> BTreeMap<Arc<str>, ConnectionInfo> {
        self.all().into_iter().map(|(name, provider)| (name, provider.connection_info())).collect()
    }

    /// Returns the newest events of all providers with their names, at most `limit`, the oldest of them first.
    pub fn events(&self, limit: usize) -> Vec<(Arc<str>, ProviderEvent)> {
        let all = self.all().into_iter().flat_map(|(name, provider)| {
            provider.events(limit).into_iter().map(move |event| (name.clone(), event))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, event)| event.at);
        all.split_off(all.len().saturating_sub(limit))
    }

    /// Deregisters all endpoints that were registered in any provider, and waits for that for at most `timeout`.
    ///
    /// # Errors
    /// The last error, which names its provider.
    ///
    /// # Cancel safety
    /// Dropping the future deregisters all the same, once it was polled.
    pub async fn close(&self, timeout: Duration) -> Result<(), Error> {
        let all = self.all();
        let closed = all.iter().map(|(name, provider)| async move {
            provider.close(timeout).await.map_err(|error| {
                let text = format!("the provider `{name}` could not be closed");
                Error::not_sent(error.kind()).message(text).caused_by(error)
            })
        });
        join_all(closed).await.into_iter().rfind(Result::is_err).unwrap_or(Ok(()))
    }

    fn all(&self) -> Vec<(Arc<str>, Provider)> {
        let named = lock(&self.named);
        named.by_name.iter().map(|(name, provider)| (name.clone(), provider.clone())).collect()
    }
}

#[cold]
fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(text)
}

#[cold]
fn none(name: &str, there: &BTreeMap<Arc<str>, Provider>) -> Error {
    let names: Vec<&str> = there.keys().map(|name| &**name).collect();
    mistake(format!("there is no provider `{name}`, but `{}`", names.join("`, `")))
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = lock(&self.named);
        f.debug_struct("Providers")
            .field("providers", &named.by_name)
            .field("default", &named.default)
            .finish()
    }
}
