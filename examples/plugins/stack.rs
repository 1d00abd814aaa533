//! The stack: what a file says of the plugin `tax`.

use std::{path::Path, sync::OnceLock};

use serde::{Deserialize, Serialize};
use tower::Service;
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    balance::BalanceHandle,
    breaker::CircuitBreakerLayer,
    discover::{Discover, EndpointSet, Memory},
    plugins::{self, Upstream},
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaxRequest {
    pub(crate) net: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaxReply {
    pub(crate) gross: u64,
}

/// What a `tower::Service` of ours looks like to its callers.
pub(crate) trait Plugins:
    Service<
        Call<TaxRequest>,
        Response = Reply<TaxReply>,
        Error = Error,
        Future: Future<Output = Result<Reply<TaxReply>, Error>> + Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl Plugins for Upstream<TaxRequest, TaxReply> {}

pub(crate) struct Stack<S> {
    pub(crate) plugins: S,
    /// For the table: which endpoints there are, and what bars them.
    pub(crate) members: BalanceHandle,
    pub(crate) breakers: CircuitBreakerLayer,
}

/// The plugins of the file, which find the endpoints of the day in memory.
static PLUGINS: OnceLock<(plugins::Plugins<TaxRequest, TaxReply>, Memory)> = OnceLock::new();

/// Reads the file. What is wrong with it is told before the day begins.
pub(crate) fn read(path: &Path) -> Result<(), String> {
    let endpoints = Memory::new(Vec::<Endpoint>::new()).map_err(|error| error.to_string())?;
    let plugins = plugins::Plugins::new();
    plugins.register_source("tax", endpoints.clone());
    plugins.apply_file(path).map_err(|error| error.to_string())?;
    if plugins.layers("tax").is_none() {
        return Err(format!("{} has no plugin `tax` that is enabled", path.display()));
    }
    let _ = PLUGINS.set((plugins, endpoints));
    Ok(())
}

pub(crate) fn build(day: Memory) -> Stack<impl Plugins> {
    let (plugins, endpoints) = PLUGINS.get().expect("the file was read");
    // What the day changes is what the plugin finds.
    let endpoints = endpoints.clone();
    tokio::spawn(async move {
        use futures::StreamExt;
        let mut sets = day.discover();
        while let Some(set) = sets.next().await {
            let set: EndpointSet = set;
            endpoints.replace(set.iter().map(|endpoint| Endpoint::clone(endpoint))).expect("a set");
        }
    });
    let layers = plugins.layers("tax").expect("it is there");
    Stack {
        plugins: plugins.get("tax").expect("it is there"),
        members: layers.balance.handle(),
        breakers: layers.endpoint_breaker,
    }
}
