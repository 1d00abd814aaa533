use serde_json::json;
use tokio::time::sleep;
use tower::{Service, ServiceExt};
use tower_upstream::{
    Call,
    breaker::CircuitState,
    config::{Config, PluginConfig},
    error::Code,
};

use crate::world::{World, ms, tax};

fn config(endpoint: &str) -> Config {
    Config::default().with_plugin(tax(json!({ "endpoint": endpoint })))
}

#[tokio::test(start_paused = true)]
async fn a_handle_goes_to_what_stands_in_the_place_of_its_plugin() {
    let world = World::default();
    let plugins = world.with(config("a"));
    let mut handle = plugins.get("tax").unwrap();
    let mut call = async |n| {
        let reply = handle.ready().await.unwrap().call(Call::new(n)).await;
        reply.map(|reply| reply.into_body()).map_err(|error| error.code())
    };
    assert_eq!(call(1).await, Ok("a 1".into()));
    plugins.apply(config("b")).unwrap();
    assert_eq!(call(2).await, Ok("b 2".into()));
    plugins.apply(Config::default()).unwrap();
    assert_eq!(call(3).await, Err(Code::PLUGIN_1201));
    plugins.apply(config("c")).unwrap();
    assert_eq!(call(4).await, Ok("c 4".into()), "the name is there again");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_taken_out_and_registered_in_code_is_that_of_the_config_no_more() {
    let world = World::default();
    let plugins = world.with(config("a"));
    plugins.unregister("tax").unwrap();
    plugins.register_with(tax(json!({ "endpoint": "own" })), world.connector()).unwrap();
    plugins.apply(Config::default()).unwrap();
    let reply = plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(reply.into_body(), "own 1");
    assert_eq!(plugins.apply(config("b")).unwrap_err().code(), Code::REGISTRY_1901);
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_ready_calls_what_said_so() {
    let world = World::default();
    let plugins = world.with(config("a"));
    let mut handle = plugins.get("tax").unwrap();
    handle.ready().await.unwrap();
    plugins.apply(config("b")).unwrap();
    sleep(ms(1_000)).await;
    assert_eq!(plugins.draining(), 1);
    assert_eq!(handle.call(Call::new(1)).await.unwrap().into_body(), "a 1");
    assert_eq!(plugins.draining(), 0);
    let reply = handle.ready().await.unwrap().call(Call::new(2)).await.unwrap();
    assert_eq!(reply.into_body(), "b 2");
}

#[tokio::test(start_paused = true)]
async fn no_call_is_lost_while_plugins_are_replaced() {
    let world = World::default();
    for key in ["a", "b"] {
        world.slow(key, ms(30));
    }
    let plugins = world.with(config("a"));
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let plugins = plugins.clone();
            tokio::spawn(async move {
                sleep(ms(n * 5)).await;
                let mut handle = plugins.get("tax").unwrap();
                sleep(ms(n % 7)).await;
                let by_handle = handle.ready().await.unwrap().call(Call::new(n)).await;
                by_handle.and(plugins.call("tax", Call::new(n)).await)
            })
        })
        .collect();
    for n in 0..100 {
        plugins.apply(config(if n % 2 == 0 { "b" } else { "a" })).unwrap();
        sleep(ms(10)).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(plugins.draining(), 0);
    let counts = world.counts();
    assert_eq!(counts["a"] + counts["b"], 400);
    assert!(counts["a"] > 50 && counts["b"] > 50, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_is_let_go_with_its_last_call() {
    use std::sync::{Arc, Mutex, Weak};

    use tower::service_fn;
    use tower_upstream::{
        BoxError, Endpoint, Reply, connect_fn,
        plugins::{AnyConnector, Plugins},
    };

    let made = Arc::new(Mutex::new(Vec::<Weak<()>>::new()));
    let (plugins, noted) = (Plugins::<u64, u64>::new(), made.clone());
    let factory = move |_: &PluginConfig| {
        let of_it = Arc::new(());
        noted.lock().unwrap().push(Arc::downgrade(&of_it));
        Ok(AnyConnector::new(connect_fn(move |_: &Endpoint| {
            let of_it = of_it.clone();
            service_fn(move |call: Call<u64>| {
                let of_it = of_it.clone();
                async move {
                    sleep(ms(call.into_body())).await;
                    drop(of_it);
                    Ok::<_, BoxError>(Reply::new(7))
                }
            })
        })))
    };
    plugins.register_factory("noted", factory).unwrap();
    let config = |at: &str| {
        Config::default().with_plugin(PluginConfig::new("tax", "noted").with_endpoint(at))
    };
    let alive = || -> Vec<bool> {
        made.lock().unwrap().iter().map(|of_it| of_it.strong_count() > 0).collect()
    };
    plugins.apply(config("a:1")).unwrap();
    // By name, so that what these calls leave for others is let go as well.
    plugins.call("tax", Call::new(1)).await.unwrap();
    let last = tokio::spawn(plugins.call("tax", Call::new(500)));
    sleep(ms(100)).await;
    plugins.apply(config("b:1")).unwrap();
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(alive(), [true, true]);
    last.await.unwrap().unwrap();
    sleep(ms(5_000)).await;
    assert_eq!(alive(), [false, true]);
    plugins.unregister("tax").unwrap();
    sleep(ms(5_000)).await;
    assert_eq!(alive(), [false, false]);
}

#[tokio::test(start_paused = true)]
async fn what_has_not_changed_keeps_what_it_has_learned() {
    let world = World::default();
    let both = |vat: &str| config("a").with_plugin(tax(json!({ "name": "vat", "endpoint": vat })));
    let plugins = world.with(both("b"));
    world.fail("a", true);
    while plugins.call("tax", Call::new(1)).await.unwrap_err().code() != Code::CIRCUIT_1401 {}
    let key = ("tax".into(), "a".to_owned());
    assert_eq!(plugins.breakers()[&key], CircuitState::Open);
    plugins.apply(both("c")).unwrap();
    assert_eq!(plugins.breakers()[&key], CircuitState::Open);
    assert_eq!(plugins.call("vat", Call::new(1)).await.unwrap().into_body(), "c 1");
    // What the defaults say has changed as well.
    let mut config = both("c");
    config.defaults.timeout = ms(700);
    plugins.apply(config).unwrap();
    assert_eq!(plugins.breakers().get(&key), None);
}

#[tokio::test(start_paused = true)]
async fn a_mistake_changes_nothing_and_all_are_told() {
    let world = World::default();
    let plugins = world.with(config("a"));
    let wrong = config("b")
        .with_plugin(PluginConfig::new("x", "carrier-pigeon").with_endpoint("x:1"))
        .with_plugin(PluginConfig::new("y", "http"));
    let error = plugins.apply(wrong).unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1008);
    for text in ["plugin `x`", "`carrier-pigeon`", "`world`", "plugin `y`"] {
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
    assert_eq!(plugins.call("tax", Call::new(1)).await.unwrap().into_body(), "a 1");
    assert_eq!(plugins.names(), ["tax".into()]);
    let twice = config("a").with_plugin(tax(json!({})));
    assert_eq!(plugins.apply(twice).unwrap_err().code(), Code::PLUGIN_1010);
}

#[tokio::test(start_paused = true)]
async fn what_was_registered_in_code_stays_and_keeps_its_name() {
    let world = World::default();
    let plugins = world.plugins();
    plugins.register_with(tax(json!({ "name": "own" })), world.connector()).unwrap();
    plugins.apply(config("a")).unwrap();
    plugins.apply(Config::default()).unwrap();
    assert_eq!(plugins.names(), ["own".into()]);
    let taken = Config::default().with_plugin(tax(json!({ "name": "own" })));
    assert_eq!(plugins.apply(taken).unwrap_err().code(), Code::REGISTRY_1901);
    plugins.call("own", Call::new(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_ends_its_checks_though_a_handle_is_kept() {
    let world = World::default();
    let config = |at: &str| {
        Config::default().with_plugin(tax(json!({ "transport": "checked", "endpoint": at })))
    };
    let plugins = world.with(config("a"));
    let handle = plugins.get("tax").unwrap();
    handle.clone().oneshot(Call::new(1)).await.unwrap();
    sleep(ms(60_000)).await;
    assert!(world.checks() >= 10, "{}", world.checks());
    assert_eq!(plugins.list()["tax"].status.as_str(), "healthy");
    plugins.apply(config("b")).unwrap();
    sleep(ms(1_000)).await;
    let before = world.checks();
    sleep(ms(60_000)).await;
    assert_eq!(world.checks(), before, "nothing was called since");
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn sessions_outlive_a_change_of_what_does_not_tell_them_apart() {
    let world = World::default();
    let config = |timeout: &str, sticky: serde_json::Value| {
        Config::default().with_plugin(tax(json!({
            "endpoints": ["a:1", "b:1", "c:1", "d:1"], "timeout": timeout,
            "balance": { "strategy": "random", "sticky": sticky },
        })))
    };
    let by = |header: &str| json!({ "key": { "header": header } });
    let plugins = world.with(config("5s", by("X-A")));
    let places = async || {
        let mut places = Vec::new();
        for session in 0..16 {
            let call = Call::new(session).with_header("X-A", format!("s-{session}"));
            let call = call.with_header("X-B", format!("s-{session}"));
            plugins.call("tax", call).await.unwrap();
            places.extend(world.counts().into_keys());
        }
        places
    };
    let homes = places().await;
    let longer =
        json!({ "key": { "header": "X-A" }, "session_timeout": "1h", "drain_timeout": "1s" });
    for (timeout, sticky) in [("5s", by("X-A")), ("6s", by("X-A")), ("6s", longer)] {
        plugins.apply(config(timeout, sticky)).unwrap();
        assert_eq!(places().await, homes);
    }
    plugins.apply(config("6s", by("X-B"))).unwrap();
    assert_ne!(places().await, homes, "another key");
    plugins.apply(Config::default()).unwrap();
    plugins.apply(config("6s", by("X-A"))).unwrap();
    assert_ne!(places().await, homes, "another plugin");
}
