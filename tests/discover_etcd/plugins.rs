//! A plugin whose file says that its endpoints are in etcd.

use serde_json::json;
use tower_upstream::{Call, config::Config};

use super::*;
use crate::world::{World, tax};

#[tokio::test(start_paused = true)]
async fn a_plugin_calls_what_its_file_finds_in_etcd() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    cluster.put("/shop/tax/a", instance("a"));
    let settings = json!({
        "endpoints": [member.url()], "dial_timeout": "1s", "key_prefix": "/shop", "username": "", "password": "",
    });
    let world = World::default();
    let plugin = tax(json!({ "discover": { "etcd": settings } }));
    let plugins = world.with(Config::default().with_plugin(plugin));
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(world.counts(), [("a".into(), 1)].into());
    // It follows what changes.
    cluster.delete("/shop/tax/a");
    cluster.put("/shop/tax/b", instance("b"));
    tokio::time::sleep(secs(1)).await;
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(world.counts(), [("b".into(), 1)].into());
}
