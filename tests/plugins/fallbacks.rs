use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use serde_json::json;
use tokio::time::{Instant, sleep};
use tower_upstream::{
    Call,
    auth::Credentials,
    config::Config,
    error::{Code, Kind},
    plugins::Plugins,
};

use crate::world::{World, ms, tax};

async fn answer(plugins: &Plugins<u64, String>, n: u64) -> Result<(String, bool), Code> {
    let reply =
        plugins.call("tax", Call::new(n).idempotent()).await.map_err(|error| error.code())?;
    let is_fallback = reply.metadata().get("fallback").is_some_and(|is| is == "true");
    Ok((reply.into_body(), is_fallback))
}

#[tokio::test(start_paused = true)]
async fn a_default_answers_after_a_failure_and_says_so() {
    let world = World::default();
    let section = json!({ "strategy": "default", "default_response": "none" });
    let plugins = world.tax(json!({ "fallback": section, "retry": { "max_retries": 0 } }));
    assert_eq!(answer(&plugins, 1).await, Ok(("a 1".into(), false)));
    world.fail("a", true);
    for n in 0..50 {
        // Also of an open circuit.
        assert_eq!(answer(&plugins, n).await, Ok(("none".into(), true)));
    }
    let off = json!({ "strategy": "default", "default_response": "none", "enabled": false });
    assert!(answer(&world.tax(json!({ "fallback": off })), 1).await.is_err());
    assert!(answer(&world.tax(json!({ "fallback": "none" })), 1).await.is_err());
    let wrong = tax(json!({ "fallback": { "strategy": "default", "default_response": 5 } }));
    let error = world.plugins().apply(Config::default().with_plugin(wrong)).unwrap_err();
    assert_eq!(error.code(), Code::RPC_2005);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_to_the_same_request_is_kept_for_a_time() {
    let world = World::default();
    let section = json!({ "strategy": "cached", "cache_duration": "1m", "max_entries": 2 });
    let plugins = world.tax(json!({
        "fallback": section, "circuit_breaker": { "enabled": false }, "retry": { "max_retries": 0 },
    }));
    for n in 1..=3 {
        assert_eq!(answer(&plugins, n).await, Ok((format!("a {n}"), false)));
    }
    world.fail("a", true);
    assert!(answer(&plugins, 1).await.is_err(), "the oldest went first");
    assert_eq!(answer(&plugins, 3).await, Ok(("a 3".into(), true)));
    assert_eq!(answer(&plugins, 2).await, Ok(("a 2".into(), true)));
    assert!(answer(&plugins, 4).await.is_err());
    sleep(ms(60_001)).await;
    assert!(answer(&plugins, 3).await.is_err(), "too old");
}

/// Plugins with two endpoints, and an answer that is kept of one of them.
async fn cut_off(world: &World) -> Plugins<u64, String> {
    let plugins = world.tax(json!({
        "endpoints": ["a", "b"], "fallback": "cached", "timeout": "500ms",
        "circuit_breaker": { "failures": 1 }, "retry": { "attempts": 3, "initial_interval": "10ms" },
    }));
    let reply = plugins.call("tax", Call::new(1).with_id("r-1")).await.unwrap();
    assert!(reply.metadata().is_empty() && reply.endpoint().is_some());
    for key in ["a", "b"] {
        world.cut_off(key);
    }
    plugins
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_before_it_reached_an_endpoint_has_a_substitute() {
    let world = World::default();
    let plugins = cut_off(&world).await;
    // Both circuits open, so the third attempt waits for an endpoint until the deadline.
    let error = plugins.call("tax", Call::new(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.is_unsent()), (Kind::Timeout, 3, true));
    assert!(error.to_string().contains("the deadline of the call passed"), "{error}");
    let world = World::default();
    let plugins = cut_off(&world).await;
    // The first call finds closed circuits, the second one waits until its time is over.
    for attempts in [3, 0] {
        let before = Instant::now();
        let reply = plugins.call("tax", Call::new(1)).await.unwrap();
        let took = before.elapsed();
        assert!(reply.metadata()["fallback"] == "true" && took >= ms(500), "{took:?}");
        assert!(["a 1", "b 1"].contains(&&**reply.body()));
        // It tells of this call, and that no endpoint answered.
        let told = (reply.endpoint(), reply.attempts(), reply.duration());
        assert_eq!(told, (None, attempts, took));
        assert!(reply.request_id().is_empty() && reply.decision().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_for_callers_with_the_same_headers_and_credentials() {
    let world = World::default();
    let plugins = world.tax(json!({
        "fallback": { "strategy": "cached" }, "circuit_breaker": { "enabled": false },
        "retry": { "max_retries": 0 },
    }));
    let callers = [
        Call::new(1),
        Call::new(1).with_header("x-tenant", "blue"),
        Call::new(1).with_header("x-tenant", "red"),
        Call::new(1).with_header("x-tenan", "tblue"),
        Call::new(1).with_credentials(Credentials::none()),
        Call::new(1).with_credentials(Credentials::bearer("a")),
        Call::new(1).with_credentials(Credentials::bearer("b")),
        Call::new(1).with_credentials(Credentials::api_key("a")),
        Call::new(1).with_credentials(Credentials::basic("a", "b")),
        Call::new(1).with_credentials(Credentials::basic("a", "c")),
    ];
    for (told, caller) in callers.iter().enumerate() {
        world.fail("a", false);
        plugins.call("tax", caller.clone()).await.unwrap();
        world.fail("a", true);
        for (other, call) in callers.iter().enumerate() {
            let is_kept = plugins.call("tax", call.clone()).await.is_ok();
            assert_eq!(is_kept, other <= told, "{other} after {told}");
        }
    }
    // What names the call, and what goes along with it, is not who asks.
    let call = callers[1].clone().with_header("Traceparent", "00-1").with_metadata("trace", "t-9");
    plugins.call("tax", call.with_id("r-7")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_plugin_answers_also_after_it_was_replaced() {
    let world = World::default();
    let config = |archive: &str| {
        let section = json!({ "fallback": "archive", "circuit_breaker": { "enabled": false } });
        let archive = tax(json!({ "name": "archive", "endpoint": archive }));
        Config::default().with_plugin(tax(section)).with_plugin(archive)
    };
    let plugins = world.with(config("b"));
    world.fail("a", true);
    assert_eq!(answer(&plugins, 1).await, Ok(("b 1".into(), true)));
    plugins.apply(config("c")).unwrap();
    assert_eq!(answer(&plugins, 2).await, Ok(("c 2".into(), true)));
    world.fail("c", true);
    assert_eq!(answer(&plugins, 2).await, Err(Code::PLUGIN_1203));
    // A call that may have been sent goes to no other plugin, unless it is idempotent.
    world.seen();
    plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(world.counts(), [("a".into(), 1)].into());
}

#[test]
fn a_fallback_to_nowhere_or_back_is_a_mistake() {
    let world = World::default();
    let refused = |config| world.plugins().apply(config).unwrap_err().to_string();
    let alone = Config::default().with_plugin(tax(json!({ "fallback": "archive" })));
    assert!(refused(alone).contains("there is no plugin `archive`"));
    let circle = ["b", "c", "tax"].iter().zip(["tax", "b", "c"]).fold(
        Config::default(),
        |config, (fallback, name)| {
            config.with_plugin(tax(json!({ "name": name, "fallback": fallback })))
        },
    );
    assert!(refused(circle).contains("leads back"));
    let own = Config::default().with_plugin(tax(json!({ "fallback": "tax" })));
    assert!(refused(own).contains("leads back"));
    let graceful = Config::default().with_plugin(tax(json!({ "fallback": "graceful" })));
    assert!(refused(graceful).contains("`default_response`"));
}

#[tokio::test(start_paused = true)]
async fn kept_answers_keep_to_their_bytes_however_large_they_are() {
    use tower::service_fn;
    use tower_upstream::{BoxError, Reply, plugins::AnyConnector};

    let plugins = Plugins::<u64, String>::new();
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let sized = service_fn(move |call: Call<u64>| {
        let is_down = down.load(Relaxed);
        async move {
            match is_down {
                true => Err::<_, BoxError>("down".into()),
                false => Ok(Reply::new("x".repeat(call.into_body() as usize))),
            }
        }
    });
    let config = tax(json!({
        "fallback": { "strategy": "cached", "max_bytes": 3_000 }, "endpoint": "a:1",
        "circuit_breaker": { "enabled": false }, "retry": { "max_retries": 0 },
    }));
    let connector =
        AnyConnector::new(tower_upstream::connect_fn(move |_: &tower_upstream::Endpoint| {
            sized.clone()
        }));
    plugins.register_with(config, connector).unwrap();
    let kept = async |sizes: &[u64]| {
        is_down.store(true, Relaxed);
        let mut kept = Vec::new();
        for &size in sizes {
            if plugins.call("tax", Call::new(size)).await.is_ok() {
                kept.push(size);
            }
        }
        is_down.store(false, Relaxed);
        kept
    };
    let sizes = [100, 200, 10_000_000, 3_000, 300];
    for size in sizes {
        plugins.call("tax", Call::new(size)).await.unwrap();
    }
    assert_eq!(kept(&sizes).await, [100, 200, 300], "one that is too large sends none away");
    plugins.call("tax", Call::new(2_000)).await.unwrap();
    let left = kept(&[100, 200, 300, 2_000]).await;
    assert!(left.contains(&2_000) && !left.contains(&100), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_to_a_plugin_that_is_gone_or_waits_is_bounded_by_the_call() {
    let world = World::default();
    let plugins = world.plugins();
    plugins
        .register_with(tax(json!({ "name": "archive", "endpoint": "b" })), world.connector())
        .unwrap();
    let section = json!({ "fallback": "archive", "circuit_breaker": { "enabled": false } });
    plugins.apply(Config::default().with_plugin(tax(section))).unwrap();
    world.fail("a", true);
    assert_eq!(answer(&plugins, 1).await, Ok(("b 1".into(), true)));
    plugins.unregister("archive").unwrap();
    let error = plugins.call("tax", Call::new(2).idempotent()).await.unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1203);
    assert!(error.to_string().contains("there is no plugin `archive`"), "{error}");
    // The name comes again, and answers again.
    world.slow("b", ms(60_000));
    plugins
        .register_with(tax(json!({ "name": "archive", "endpoint": "b" })), world.connector())
        .unwrap();
    let start = Instant::now();
    let call = Call::new(3).idempotent().with_timeout(ms(300));
    assert!(plugins.call("tax", call).await.is_err() && start.elapsed() <= ms(305));
    for name in ["tax", "archive"] {
        assert_eq!(plugins.in_flight(name), Some(0), "{name}");
    }
}
