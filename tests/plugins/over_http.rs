use std::{sync::Arc, time::Duration};

use serde_json::json;
use tower::service_fn;
use tower_upstream::{
    BoxError, Call, Reply,
    config::{Config, PluginConfig},
    error::Code,
    plugin::PluginStatus,
    plugins::Plugins,
};

#[tokio::test]
async fn placeholder() {
    let _ = (Arc::new(()), Duration::ZERO, json!({}));
    let _ = service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.into_body())));
    let _ = (Config::default(), PluginConfig::default(), Code::PLUGIN_1001, PluginStatus::Unknown);
    let _ = Plugins::<u64, u64>::new();
}
