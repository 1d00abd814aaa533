//! Endpoints in memory, which do what they are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::sleep;
use tower::Service;
use tower_upstream::{
    BoxError, Call, Endpoint, Error, Reply,
    config::{Config, PluginConfig},
    connect_fn,
    plugin::{HealthStatus, PluginHealth},
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
    unreachable: BTreeSet<String>,
    slow: BTreeMap<String, Duration>,
    seen: Vec<Seen>,
    connected: usize,
    checks: usize,
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

    /// Nothing is sent to it any more.
    pub(crate) fn cut_off(&self, key: &str) {
        self.0.lock().unwrap().unreachable.insert(key.to_owned());
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

    /// How often the health of an endpoint was asked for.
    pub(crate) fn checks(&self) -> usize {
        self.0.lock().unwrap().checks
    }

    fn at(&self, endpoint: &Endpoint) -> At {
        self.0.lock().unwrap().connected += 1;
        At { world: self.clone(), key: endpoint.key().to_owned() }
    }

    pub(crate) fn connector(&self) -> AnyConnector<u64, String> {
        let world = self.clone();
        AnyConnector::new(connect_fn(move |endpoint: &Endpoint| world.at(endpoint)))
    }

    /// The same, whose endpoints report their health.
    pub(crate) fn checked(&self) -> AnyConnector<u64, String> {
        let world = self.clone();
        AnyConnector::with_health(connect_fn(move |endpoint: &Endpoint| world.at(endpoint)))
    }

    async fn answer(&self, key: String, call: Call<u64>) -> Result<Reply<String>, BoxError> {
        let (fails, slow) = {
            let mut state = self.0.lock().unwrap();
            if state.unreachable.contains(&key) {
                return Err(Error::unsent("refused").into());
            }
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

    /// Plugins whose transport `world` leads here, and `checked` as well.
    pub(crate) fn plugins(&self) -> Plugins<u64, String> {
        let (plugins, world, checked) = (Plugins::new(), self.clone(), self.clone());
        plugins.register_factory("world", move |_: &PluginConfig| Ok(world.connector())).unwrap();
        plugins.register_factory("checked", move |_: &PluginConfig| Ok(checked.checked())).unwrap();
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

/// The service of one endpoint.
#[derive(Clone)]
struct At {
    world: World,
    key: String,
}

impl Service<Call<u64>> for At {
    type Response = Reply<String>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply<String>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u64>) -> Self::Future {
        let At { world, key } = self.clone();
        Box::pin(async move { world.answer(key, call).await })
    }
}

impl PluginHealth for At {
    async fn health(&self) -> HealthStatus {
        let mut state = self.world.0.lock().unwrap();
        state.checks += 1;
        match state.failing.contains(&self.key) {
            true => HealthStatus::unhealthy("it fails"),
            false => HealthStatus::healthy(),
        }
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
