//! Endpoints in etcd, against a cluster in this process that answers as a real one does: on a paused clock.
#![cfg(feature = "etcd")]
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod access;
#[path = "../../src/discover/etcd/codec.rs"]
mod codec;
mod double;
mod hostile;
#[path = "../../src/discover/etcd/messages.rs"]
mod messages;
#[cfg(feature = "config")]
mod plugins;
mod reading;
mod real;
#[path = "../support/real.rs"]
mod real_servers;
mod recorded;
mod registering;
#[path = "../support/registry_story.rs"]
mod registry_story;
#[path = "../support/sets.rs"]
mod sets;
mod store;
mod story;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/told.rs"]
mod told;
mod troubles;
#[cfg(feature = "config")]
#[path = "../plugins/world.rs"]
mod world;

use std::time::Duration;

use double::{Cluster, Member};
use futures::StreamExt;
use sets::{expect, keys, next};
use support::secs;
use tower_upstream::discover::{EndpointSet, Etcd, EtcdConfig, EtcdService, WatchStream, Watched};

const TAX: &str = "/services/tax/";

fn config(members: &[&Member]) -> EtcdConfig {
    EtcdConfig::default().with_endpoints(members.iter().map(|member| member.url()))
}

fn etcd(members: &[&Member]) -> Etcd {
    Etcd::new(config(members)).unwrap()
}

fn tax(members: &[&Member]) -> Watched<EtcdService> {
    etcd(members).service("tax").unwrap()
}

fn key(id: &str) -> String {
    format!("{TAX}{id}")
}

/// An instance as Go writes it, whose port is the number of its id.
fn instance(id: &str) -> String {
    let port = 8_000 + id.bytes().map(u32::from).sum::<u32>();
    format!(
        r#"{{"id":"{id}","name":"tax","version":"2.3.0","address":"10.0.0.1","port":{port},
            "tags":null,"metadata":{{"zone":"a"}},"status":"passing","last_heartbeat":0}}"#
    )
}

fn add(cluster: &Cluster, ids: &[&str]) {
    for id in ids {
        cluster.put(&key(id), instance(id));
    }
}

/// Waits until something is so, for at most five minutes of the paused clock.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = tokio::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < secs(300), "{what}");
        tokio::time::sleep(support::ms(10)).await;
    }
}

/// Waits until all that was read is watched, too.
async fn watched(cluster: &Cluster) {
    until("no watch", || cluster.asked("Created") >= cluster.asked("Watch").max(1)).await;
}
