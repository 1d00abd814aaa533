//! Adaptive pacing: each client gives each server a rate, learnt from its latency, below tower's balancer.
//!
//! - It probes at random and takes no seed, so that its rows, and no others, differ between runs.
//! - It holds requests back by tokio's timers, which count whole milliseconds.
//! - Where all servers are held back, the request waits in its client, and that counts as latency.

use std::sync::Arc;

use loadpace::EndpointConfig;
use loadpace_tower::AdaptiveDiscovery;
use tokio::sync::Mutex;
use tower::{Service, ServiceExt, service_fn, util::BoxService};

use crate::policy::{Client, Fleet, Policy, p2c};

pub(crate) const POLICIES: &[Policy] = &[
    Policy::new("p2c paced, unseeded", "loadpace", |fleet, seed| {
        paced(fleet, seed, EndpointConfig::default())
    }),
    Policy::new("p2c paced from 16, unseeded", "loadpace", |fleet, seed| {
        let mut config = EndpointConfig::default();
        config.gradient.initial_concurrency = 16.0;
        paced(fleet, seed, config)
    }),
];

fn paced(fleet: &Fleet, seed: u64, config: EndpointConfig) -> Client {
    in_order(p2c(seed, AdaptiveDiscovery::new(fleet.changes(), config)))
}

/// Ready at once, as a caller is who queues. What waits has come first when it is called first.
fn in_order(client: Client) -> Client {
    let client = Arc::new(Mutex::new(client));
    BoxService::new(service_fn(move |request| {
        let client = client.clone();
        async move {
            let call = client.lock().await.ready().await?.call(request);
            call.await
        }
    }))
}
