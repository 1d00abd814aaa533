//! A plugin whose file says that its endpoints are in Kubernetes.

use serde_json::json;
use tower_upstream::{Call, config::Config};

use crate::{
    double::Double,
    objects::{Pod, pod, slice},
    support::secs,
    world::{World, tax},
};

#[tokio::test(start_paused = true)]
async fn a_plugin_calls_what_its_file_finds_in_kubernetes() {
    let double = Double::start().await;
    double.asks_for_tokens(&["s3cret"]);
    let shop = |pods| {
        let mut slice = slice("web", "web-1", 80, pods);
        slice["metadata"]["namespace"] = json!("shop");
        double.objects(|objects| objects.put(slice));
    };
    shop(vec![pod("a", "10.0.0.1", Pod::Ready), pod("b", "10.0.0.2", Pod::NotReady)]);
    // With all that Go writes, also of what nothing was set of.
    let settings = json!({
        "address": double.url(), "token": "s3cret", "namespace": "shop", "in_cluster": null, "kubeconfig_path": "",
        "label_selector": "", "service_type": "ClusterIP", "query": { "port": "http" },
    });
    let world = World::default();
    let plugin = tax(json!({ "discover": { "kubernetes": settings, "service": "web" } }));
    let plugins = world.with(Config::default().with_plugin(plugin));
    for _ in 0..3 {
        plugins.call("tax", Call::new(1)).await.unwrap();
    }
    assert_eq!(world.counts(), [("a".into(), 3)].into());
    // It follows what changes.
    shop(vec![pod("a", "10.0.0.1", Pod::Terminating), pod("b", "10.0.0.2", Pod::Ready)]);
    tokio::time::sleep(secs(1)).await;
    for _ in 0..3 {
        plugins.call("tax", Call::new(1)).await.unwrap();
    }
    assert_eq!(world.counts(), [("b".into(), 3)].into());
}
