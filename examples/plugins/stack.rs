//! The stack: what a file says of the plugin `tax`.

use std::{path::Path, sync::OnceLock};

use futures::StreamExt;
use tower_upstream::{
    Endpoint,
    discover::{Discover, Memory},
    plugins::{self, Upstream},
};

use crate::tax::{Plugins, Stack, TaxReply, TaxRequest};

/// What the file says of `tax`, whose endpoints are those of the day.
static STACK: OnceLock<(Stack<Upstream<TaxRequest, TaxReply>>, Memory)> = OnceLock::new();

/// Reads the file. What is wrong with it is told before the day begins.
pub(crate) fn read(path: &Path) -> Result<(), String> {
    let endpoints = Memory::new(Vec::<Endpoint>::new()).map_err(|error| error.to_string())?;
    let all = plugins::Plugins::new();
    all.register_source("tax", endpoints.clone());
    all.apply_file(path).map_err(|error| error.to_string())?;
    let (Some(plugins), Some(layers)) = (all.get("tax"), all.layers("tax")) else {
        return Err(format!("{} has no plugin `tax` that is enabled", path.display()));
    };
    let (members, breakers) = (layers.balance.handle(), layers.endpoint_breaker);
    let _ = STACK.set((Stack { plugins, members, breakers }, endpoints));
    Ok(())
}

pub(crate) fn build(day: Memory) -> Stack<impl Plugins> {
    let (stack, endpoints) = STACK.get().unwrap_or_else(|| std::process::exit(2));
    // What the day changes is what the plugin finds.
    tokio::spawn(async move {
        let mut sets = day.discover();
        while let Some(set) = sets.next().await {
            let set = set.iter().map(|endpoint| Endpoint::clone(endpoint));
            if let Err(error) = endpoints.replace(set) {
                eprintln!("plugins: {error}");
            }
        }
    });
    stack.clone()
}
