use std::{fmt, sync::Arc};

use super::check::{Check, NO_ENDPOINT, Verdict};
use crate::{
    connect::Connect, endpoint::Endpoint, member::Member, outcome::TypeName, plugin::PluginHealth,
};

/// Check of each plugin by its own health operation, for a gate below a balancer.
///
/// Takes the transport that calls use: a clone, or one with a config of its own. Each check makes a
/// connection of its own, so it also detects a plugin that accepts no new connections. A degraded plugin
/// gets calls, and [`HealthState`](super::HealthState) and [`HealthStatus`](crate::plugin::HealthStatus)
/// have its message. A plugin that answers unknown is skipped.
///
/// # Example
/// ```
/// use tower_upstream::{
///     Endpoint, HealthGateLayer, connect_fn, health::PluginCheck,
///     plugin::{HealthStatus, PluginHealth},
/// };
///
/// struct Client;
///
/// impl PluginHealth for Client {
///     async fn health(&self) -> HealthStatus {
///         HealthStatus::healthy()
///     }
/// }
///
/// // With the feature `http`: `PluginCheck::new(HttpTransport::<Ask, Answer>::new())`.
/// let layer = HealthGateLayer::new(PluginCheck::new(connect_fn(|_: &Endpoint| Client)));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy)]
pub struct PluginCheck<C> {
    connect: C,
}

impl<C> PluginCheck<C> {
    /// Creates a check of the plugins that `connect` connects to.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, connect_fn, health::PluginCheck};
    /// let check = PluginCheck::new(connect_fn(|endpoint: &Endpoint| endpoint.clone()));
    /// # let _ = check;
    /// ```
    pub const fn new(connect: C) -> Self {
        Self { connect }
    }
}

impl<C> Check for PluginCheck<C>
where
    C: Connect<Service: PluginHealth + Send + Sync> + Send + Sync + 'static,
{
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        let Some(endpoint) = endpoint else {
            return Verdict::Skipped;
        };
        // A member of no set: what is asked here is no call, and counts as none.
        let plugin = self.connect.connect(&Member::in_set(endpoint, Arc::default()));
        plugin.health().await.into()
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        endpoint.is_none().then(|| NO_ENDPOINT.to_owned())
    }
}

impl<C> fmt::Debug for PluginCheck<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PluginCheck").field(&TypeName::<C>::new()).finish()
    }
}
