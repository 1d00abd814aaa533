//! What there is to see of a plugin.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    body::{Request, Response},
    calls,
    generation::{Generation, Held},
    layers::Layers,
    plugins::Plugins,
};
use crate::{
    breaker::CircuitState,
    config::{BreakerScope, PluginConfig},
    plugin::{HealthStatus, PluginInfo, PluginStatus},
};

impl<Req: Request, Res: Response> Plugins<Req, Res> {
    /// Returns the names of all plugins, in their order.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.program.names.all().iter().map(|slot| slot.name.clone()).collect()
    }

    /// Returns the names of the plugins that have this label, in their order.
    pub fn with_label(&self, label: &str, value: &str) -> Vec<Arc<str>> {
        let has = |plugin: &PluginConfig| plugin.labels.get(label).is_some_and(|of| of == value);
        let found = self.standing().filter(|(_, held)| has(&held.core().plugin));
        found.map(|(name, _)| name).collect()
    }

    /// Returns the health of each plugin: that of its endpoints together. Unknown before the first call, and
    /// where health is not checked; offline, if it is not enabled.
    pub fn list(&self) -> BTreeMap<Arc<str>, HealthStatus> {
        self.standing().map(|(name, held)| (name, health(held.core()))).collect()
    }

    /// Returns the health of all plugins together, that of the worst.
    pub fn health(&self) -> HealthStatus {
        let all = self.list();
        together(&all)
    }

    /// Returns the state of each circuit, by the name of its plugin and the key of its endpoint, which is empty
    /// for the circuit of a plugin as a whole.
    pub fn breakers(&self) -> BTreeMap<(Arc<str>, String), CircuitState> {
        let each = self.standing().flat_map(|(name, held)| {
            let states = breakers(held.core());
            states.into_iter().map(move |(key, state)| ((name.clone(), key), state))
        });
        each.collect()
    }

    /// Returns what the config says about a plugin: its version, and its labels and annotations as metadata.
    pub fn info(&self, name: &str) -> Option<PluginInfo> {
        self.config(name).map(|plugin| info(&plugin))
    }

    /// Returns the config of a plugin, without the sections of the defaults.
    pub fn config(&self, name: &str) -> Option<Arc<PluginConfig>> {
        Some(self.standing_at(name)?.core().plugin.clone())
    }

    /// Returns the layers of a plugin, whose handles inspect and change it; `None` if it is not enabled.
    ///
    /// ```
    /// use tower_upstream::{config::{Config, PluginConfig}, plugins::Plugins};
    /// let tax = PluginConfig::new("tax", "http").with_endpoint("http://a:80");
    /// let plugins = Plugins::<u64, u64>::from_config(Config::default().with_plugin(tax))?;
    /// let layers = plugins.layers("tax").ok_or("no tax")?;
    /// assert_eq!(layers.failover.handle().config().max, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layers(&self, name: &str) -> Option<Layers<Req, Res>> {
        self.standing_at(name)?.core().made().map(|made| made.layers.clone())
    }

    /// Returns how many calls of a plugin are in flight, with the handles that are ready for one. Calls by name count from
    /// when they are made, whether polled or not.
    pub fn in_flight(&self, name: &str) -> Option<usize> {
        Some(calls::in_flight(&self.standing_at(name)?))
    }

    /// Returns how many calls are in flight at plugins that were replaced or taken out since they began.
    pub fn draining(&self) -> usize {
        self.program.leaving()
    }

    /// Returns whether [`shutdown`](Self::shutdown) was called.
    pub fn is_shutdown(&self) -> bool {
        self.program.is_shut_down()
    }

    /// Returns the `log_level` of the config as a filter, such as for `tracing_subscriber`'s `EnvFilter`: `info`
    /// if it has none. Go's `fatal` and `panic` are `error`, `warning` is `warn`, and `none` is `off`, of which such a
    /// filter would make names of targets.
    ///
    /// ```
    /// use tower_upstream::{config::Config, plugins::Plugins};
    /// let mut config = Config::default();
    /// config.log_level = "WARN".to_owned();
    /// assert_eq!(Plugins::<u64, u64>::from_config(config)?.log_filter(), "warn");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn log_filter(&self) -> String {
        match self.program.log_level().to_ascii_lowercase().as_str() {
            "" => "info".to_owned(),
            "fatal" | "panic" => "error".to_owned(),
            "warning" => "warn".to_owned(),
            "none" => "off".to_owned(),
            level => level.to_owned(),
        }
    }
}

impl<Req: Request, Res: Response> Plugins<Req, Res> {
    /// What stands in each place. One that is left while this looks has no plugin any more.
    fn standing(&self) -> impl Iterator<Item = (Arc<str>, Held<Req, Res>)> + use<Req, Res> {
        let all = self.program.names.all().into_iter();
        let each = all.map(|slot| (slot.name.clone(), slot.current()));
        each.filter(|(_, held)| held.core().is_there())
    }

    fn standing_at(&self, name: &str) -> Option<Held<Req, Res>> {
        let held = self.program.names.get(name)?.core().current();
        held.core().is_there().then_some(held)
    }
}

/// Of several, each with its name.
fn together<K: fmt::Display>(statuses: &BTreeMap<K, HealthStatus>) -> HealthStatus {
    let named = statuses.iter().map(|(name, status)| {
        let message = format!("{name}: {}", status.message);
        status.clone().with_message(message)
    });
    HealthStatus::overall(&named.collect::<Vec<_>>())
}

fn health<Req, Res>(of: &Generation<Req, Res>) -> HealthStatus {
    match &of.stack {
        Err(error) => HealthStatus::new(PluginStatus::Offline).with_message(error.what()),
        Ok(made) => {
            let statuses = made.layers.health.monitor().statuses();
            match statuses.values().all(|status| status.status == PluginStatus::Unknown) {
                true => HealthStatus::new(PluginStatus::Unknown).with_message("not checked yet"),
                false => together(&statuses),
            }
        }
    }
}

fn breakers<Req, Res>(of: &Generation<Req, Res>) -> BTreeMap<String, CircuitState> {
    let Some(made) = of.made() else { return BTreeMap::new() };
    let layers = &made.layers;
    match made.scope {
        BreakerScope::Upstream => {
            BTreeMap::from([(String::new(), layers.breaker.handle().state())])
        }
        BreakerScope::Endpoint => {
            let members = layers.balance.handle().members().into_iter();
            let each = members.filter_map(|member| {
                let circuit = layers.endpoint_breaker.handle_for(member.key())?;
                Some((member.key().to_owned(), circuit.state()))
            });
            each.collect()
        }
    }
}

fn info(plugin: &PluginConfig) -> PluginInfo {
    let mut info = PluginInfo::new(plugin.name.as_str(), plugin.version.as_str());
    info.metadata.extend(plugin.labels.clone());
    info.metadata.extend(plugin.annotations.clone());
    info
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;
    use crate::{
        error::BoxError,
        plugin::{Call, Reply},
    };

    #[test]
    fn a_plugin_that_leaves_while_it_is_looked_at_is_none_that_fails() {
        let plugins = Plugins::<u64, u64>::new();
        for name in ["rates", "tax"] {
            let service =
                service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())));
            plugins.register(name, service).unwrap();
        }
        let before = plugins.health().status;
        // Its name was found, and then it is taken out.
        let place = plugins.program.names.get("tax").unwrap();
        place.core().put(Generation::gone("tax"));
        assert_eq!(plugins.list().into_keys().collect::<Vec<_>>(), ["rates".into()]);
        assert_eq!(plugins.health().status, before);
        assert!(plugins.info("tax").is_none() && plugins.config("tax").is_none());
        assert!(plugins.in_flight("tax").is_none() && plugins.layers("tax").is_none());
    }
}
