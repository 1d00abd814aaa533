//! Endpoints in memory, which do what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::sleep;
use tower::service_fn;
use tower_upstream::{
    BoxError, Call, Endpoint, Reply,
    config::{Config, PluginConfig},
    connect_fn,
    plugins::{AnyConnector, Plugins},
};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    failing: BTreeSet<String>,
    slow: BTreeMap<String, Duration>,
    seen: Vec<Seen>,
    connected: usize,
}

/// A call that reached an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) body: u64,
    pub(crate) attempt: u32,
    pub(crate) timeout: Option<Duration>,
}

impl World {
    pub(crate) fn fail(&self, key: &str, fails: bool) {
        let failing = &mut self.0.lock().unwrap().failing;
        if fails {
            failing.insert(key.to_owned())
        } else {
            failing.remove(key)
        };
    }

    pub(crate) fn slow(&self, key: &str, time: Duration) {
        self.0.lock().unwrap().slow.insert(key.to_owned(), time);
    }

    /// The calls since the last look.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }

    /// How many of them each endpoint got.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        self.seen().into_iter().for_each(|seen| *counts.entry(seen.key).or_default() += 1);
        counts
    }

    pub(crate) fn connected(&self) -> usize {
        self.0.lock().unwrap().connected
    }

    pub(crate) fn connector(&self) -> AnyConnector<u64, String> {
        let world = self.clone();
        AnyConnector::new(connect_fn(move |endpoint: &Endpoint| {
            let (world, key) = (world.clone(), endpoint.key().to_owned());
            world.0.lock().unwrap().connected += 1;
            service_fn(move |call: Call<u64>| {
                let (world, key) = (world.clone(), key.clone());
                async move { world.answer(key, call).await }
            })
        }))
    }

    async fn answer(&self, key: String, call: Call<u64>) -> Result<Reply<String>, BoxError> {
        let (fails, slow) = {
            let mut state = self.0.lock().unwrap();
            let (body, attempt) = (*call.body(), call.attempt());
            let seen = Seen { key: key.clone(), body, attempt, timeout: call.timeout() };
            state.seen.push(seen);
            (state.failing.contains(&key), state.slow.get(&key).copied())
        };
        if let Some(time) = slow {
            sleep(time).await;
        }
        if fails {
            Err(format!("{key} fails").into())
        } else {
            Ok(Reply::new(format!("{key} {}", call.body())))
        }
    }

    /// Plugins whose transport `world` leads here.
    pub(crate) fn plugins(&self) -> Plugins<u64, String> {
        let (plugins, world) = (Plugins::new(), self.clone());
        plugins.register_factory("world", move |_: &PluginConfig| Ok(world.connector())).unwrap();
        plugins
    }

    pub(crate) fn with(&self, config: Config) -> Plugins<u64, String> {
        let plugins = self.plugins();
        plugins.apply(config).unwrap();
        plugins
    }

    /// One plugin, `tax`, which is written in JSON.
    pub(crate) fn tax(&self, sections: serde_json::Value) -> Plugins<u64, String> {
        self.with(Config::default().with_plugin(tax(sections)))
    }
}

/// `tax`, at `a` and with the sections of `written`.
pub(crate) fn tax(mut written: serde_json::Value) -> PluginConfig {
    let keys = written.as_object_mut().unwrap();
    for (key, value) in [("name", "tax"), ("transport", "world")] {
        keys.entry(key).or_insert_with(|| value.into());
    }
    if !keys.contains_key("endpoints") && !keys.contains_key("discover") {
        keys.entry("endpoint").or_insert_with(|| "a".into());
    }
    serde_json::from_value(written).unwrap()
}
