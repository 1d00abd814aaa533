//! One service for all plugins.

use serde_json::json;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Call, codec::CodecLayer, config::Config, discover::Memory, error::Code, plugin::Encoded,
    plugins::Plugins,
};

use crate::world::{World, ms, tax};

fn named(name: &str, n: u64) -> Call<u64> {
    Call::new(n).with_metadata("plugin", name)
}

fn name(call: &Call<u64>) -> &str {
    call.metadata().get("plugin").map_or("", String::as_str)
}

#[tokio::test(start_paused = true)]
async fn each_call_goes_to_the_plugin_that_it_names() {
    let world = World::default();
    let plugins = world.with(
        Config::default()
            .with_plugin(tax(json!({ "endpoint": "a" })))
            .with_plugin(tax(json!({ "name": "vat", "endpoint": "b" })))
            .with_plugin(tax(json!({ "name": "off", "enabled": false }))),
    );
    let mut service = plugins.by(name);
    let mut call = async |call| {
        let reply = service.ready().await.unwrap().call(call).await;
        reply.map(|reply| reply.into_body()).map_err(|error| (error.code(), error.to_string()))
    };
    assert_eq!(call(named("tax", 1)).await.unwrap(), "a 1");
    assert_eq!(call(named("vat", 2)).await.unwrap(), "b 2");
    assert_eq!(call(named("off", 3)).await.unwrap_err().0, Code::PLUGIN_1202);
    let (code, text) = call(named("vta", 4)).await.unwrap_err();
    assert!(code == Code::PLUGIN_1201 && text.contains("did you mean `vat`?"), "{text}");
    let (code, text) = call(Call::new(5)).await.unwrap_err();
    assert!(code == Code::PLUGIN_1201 && text.contains("the call names no plugin"), "{text}");
    // What is there at the time of the call counts.
    plugins.register_with(tax(json!({ "name": "own" })), world.connector()).unwrap();
    assert_eq!(call(named("own", 6)).await.unwrap(), "a 6");
    plugins.unregister("own").unwrap();
    assert_eq!(call(named("own", 7)).await.unwrap_err().0, Code::PLUGIN_1201);
    plugins.shutdown();
    assert_eq!(call(named("tax", 8)).await.unwrap_err().0, Code::REGISTRY_1901);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_ready_holds_up_its_own_calls_alone() {
    let world = World::default();
    let plugins = world.plugins();
    plugins.register_source("empty", Memory::new([""; 0]).unwrap());
    let empty = tax(json!({
        "name": "empty", "discover": { "memory": {} }, "balance": { "fail_fast_after": "1h" },
    }));
    plugins.apply(Config::default().with_plugin(tax(json!({}))).with_plugin(empty)).unwrap();
    let mut service = plugins.by(name);
    let start = Instant::now();
    let waits = tokio::spawn(service.ready().await.unwrap().call(named("empty", 1)));
    sleep(ms(10)).await;
    for n in 0..10 {
        let reply = service.ready().await.unwrap().call(named("tax", n)).await.unwrap();
        assert_eq!(reply.into_body(), format!("a {n}"));
    }
    assert_eq!(start.elapsed(), ms(10));
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    assert_eq!(plugins.in_flight("empty"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn it_stands_below_layers_and_serves_bodies_of_any_type() {
    let plugins = Plugins::<Encoded, Encoded>::new();
    let echo = tower::service_fn(async |call: Call<Encoded>| {
        Ok::<_, tower_upstream::BoxError>(tower_upstream::Reply::new(call.into_body()))
    });
    plugins.register("echo", echo).unwrap();
    let service = ServiceBuilder::new()
        .concurrency_limit(3)
        .layer(CodecLayer::<(u64, bool), (u64, bool)>::new())
        .service(plugins.by(|call| call.metadata().get("plugin").map_or("", String::as_str)));
    let call = Call::new((7, true)).with_metadata("plugin", "echo");
    assert_eq!(service.oneshot(call).await.unwrap().into_body(), (7, true));
}
