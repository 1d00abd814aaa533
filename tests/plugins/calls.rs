use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Call, Endpoint, Reply,
    config::{Config, PluginConfig},
    connect_fn,
    error::Code,
    plugin::{Encoded, PluginStatus},
    plugins::{AnyConnector, Plugins, Upstream},
};

use crate::world::{World, ms, tax};

fn is_send<T: Send + Sync + Clone + 'static>(_: &T) {}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_called_by_its_name_and_by_a_handle() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    assert_eq!(plugins.call("tax", Call::new(1)).await.unwrap().into_body(), "a 1");
    let tax: Upstream<u64, String> = plugins.get("tax").unwrap();
    is_send(&tax);
    is_send(&plugins);
    assert_eq!(tax.oneshot(Call::new(2)).await.unwrap().into_body(), "a 2");
    assert!(plugins.get("vat").is_none());
    assert_eq!(plugins.names(), ["tax".into()]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_answered_with_the_nearest_one() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    for name in ["tox", "TAX"] {
        let error = plugins.call(name, Call::new(1)).await.unwrap_err();
        assert_eq!((error.code(), error.is_unsent()), (Code::PLUGIN_1201, true));
        assert!(error.to_string().contains("did you mean `tax`?"), "{error}");
        let response: http::Response<String> = error.into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.body(), "[PLUGIN_1201] there is no plugin of that name");
    }
    let error = plugins.unregister("insurance").unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1201);
    assert!(!error.to_string().contains("mean"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn making_plugins_connects_to_nothing() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    let _handle = plugins.get("tax");
    sleep(ms(60_000)).await;
    assert_eq!(world.connected(), 0);
    assert_eq!(plugins.list()["tax"].status, PluginStatus::Unknown);
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(world.connected(), 1);
}

#[test]
fn plugins_are_made_outside_a_runtime_and_called_inside_one() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    let outside = plugins.call("tax", Call::new(1)).now_or_never().unwrap();
    assert!(outside.is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = runtime.block_on(plugins.call("tax", Call::new(1)));
    assert_eq!(answer.unwrap().into_body(), "a 1");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_not_enabled_is_listed_and_says_so() {
    let world = World::default();
    let plugins = world.tax(json!({ "enabled": false }));
    let error = plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1202);
    assert!(error.is_refused() && error.to_string().contains("`tax`"), "{error}");
    assert_eq!(plugins.list()["tax"].status, PluginStatus::Offline);
    assert!(plugins.layers("tax").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_service_is_a_plugin_and_a_name_is_taken_once() {
    let plugins = Plugins::<u64, u64>::new();
    let double =
        service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(2 * call.into_body())));
    plugins.register("double", double).unwrap();
    assert_eq!(plugins.call("double", Call::new(4)).await.unwrap().into_body(), 8);
    assert_eq!(plugins.register("double", double).unwrap_err().code(), Code::REGISTRY_1901);
    for wrong in ["", "a/b", "..", "a;b", "a\nb", "$x", "a`b"] {
        let error = plugins.register(wrong, double).unwrap_err();
        assert_eq!(error.code(), Code::PLUGIN_1001, "{wrong}");
    }
    plugins.unregister("double").unwrap();
    let error = plugins.call("double", Call::new(4)).await.unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1201);
    plugins.register("double", double).unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_calls_are_refused_and_those_in_flight_end() {
    let world = World::default();
    world.slow("a", ms(500));
    let plugins = world.tax(json!({}));
    let running = tokio::spawn(plugins.call("tax", Call::new(1)));
    sleep(ms(100)).await;
    assert!(!plugins.is_shutdown());
    let handle = plugins.get("tax").unwrap();
    plugins.shutdown();
    plugins.shutdown();
    assert!(plugins.is_shutdown());
    for error in [
        plugins.call("tax", Call::new(2)).await.unwrap_err(),
        plugins.call("other", Call::new(2)).await.unwrap_err(),
        handle.oneshot(Call::new(2)).await.unwrap_err(),
        plugins.apply(Config::default()).unwrap_err(),
        plugins.register_config(PluginConfig::new("x", "http")).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::REGISTRY_1901, "{error}");
    }
    // What its config says of it is still there.
    assert_eq!(plugins.config("tax").unwrap().transport, "world");
    assert_eq!(plugins.draining(), 1);
    assert_eq!(running.await.unwrap().unwrap().into_body(), "a 1");
    assert_eq!(plugins.draining(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_anywhere_leaves_nothing() {
    let world = World::default();
    world.slow("a", ms(50));
    world.fail("a", true);
    let plugins = world.tax(json!({
        "retry": { "max_retries": 3, "idempotent": true }, "concurrency": { "max": 1, "wait": "1s" },
    }));
    for polls in 0..40 {
        let mut call = Box::pin(plugins.call("tax", Call::new(1)));
        for _ in 0..polls {
            if futures::poll!(&mut call).is_ready() {
                break;
            }
            sleep(ms(10)).await;
        }
        drop(call);
        assert_eq!(plugins.in_flight("tax"), Some(0), "after {polls} polls");
    }
    // A handle that is ready counts until it is dropped or called.
    let mut handle = plugins.get("tax").unwrap();
    handle.ready().await.unwrap();
    assert_eq!(plugins.in_flight("tax"), Some(1));
    let second = handle.clone();
    drop(handle);
    assert_eq!(plugins.in_flight("tax"), Some(0));
    drop(second);
    let layers = plugins.layers("tax").unwrap();
    assert_eq!(layers.concurrency.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn plugins_of_different_types_share_one_stack() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let echo = service_fn(move |call: Call<Encoded>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, BoxError>(Reply::new(call.into_body())) }
    });
    let plugins = Plugins::<Encoded, Encoded>::new();
    plugins.register("echo", echo).unwrap();
    let mut numbers = plugins.typed::<u64, u64>("echo").unwrap();
    let mut texts = plugins.typed::<String, String>("echo").unwrap();
    assert_eq!(numbers.ready().await.unwrap().call(Call::new(7)).await.unwrap().into_body(), 7);
    let text = texts.ready().await.unwrap().call(Call::new("x".to_owned())).await.unwrap();
    assert_eq!(text.into_body(), "x");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert!(plugins.typed::<u64, u64>("no").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_typed_body_is_written_once_and_read_once() {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    static READ: AtomicUsize = AtomicUsize::new(0);

    struct Counted;

    impl serde::Serialize for Counted {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            WRITTEN.fetch_add(1, Ordering::Relaxed);
            to.serialize_u64(7)
        }
    }

    impl<'de> serde::Deserialize<'de> for Counted {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            READ.fetch_add(1, Ordering::Relaxed);
            u64::deserialize(from).map(|_| Self)
        }
    }

    let calls = Arc::new(AtomicUsize::new(0));
    let fails_once = service_fn(move |call: Call<Encoded>| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if is_first { Err("again") } else { Ok(Reply::new(call.into_body())) } }
    });
    let plugins = Plugins::<Encoded, Encoded>::new();
    // A fallback that keeps answers looks at the bytes.
    let config = tax(json!({ "fallback": { "strategy": "cached" }, "endpoint": "a:1" }));
    let connector = AnyConnector::new(connect_fn(move |_: &Endpoint| fails_once.clone()));
    plugins.register_with(config, connector).unwrap();
    let typed = plugins.typed::<Counted, Counted>("tax").unwrap();
    typed.oneshot(Call::new(Counted).idempotent()).await.unwrap();
    assert_eq!((WRITTEN.load(Ordering::Relaxed), READ.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn labels_annotations_and_the_level_of_logs_are_there() {
    let world = World::default();
    let mut config = Config::default()
        .with_plugin(tax(json!({ "version": "1.2.3", "labels": { "team": "a" }, "annotations": { "note": "b" } })))
        .with_plugin(tax(json!({ "name": "vat", "labels": { "team": "b" } })));
    config.log_level = "FATAL".into();
    let plugins = world.with(config);
    assert_eq!(plugins.with_label("team", "a"), ["tax".into()]);
    let info = plugins.info("tax").unwrap();
    assert_eq!((&*info.name, &*info.version, &*info.metadata["note"]), ("tax", "1.2.3", "b"));
    assert!(plugins.info("none").is_none());
    assert_eq!(plugins.log_filter(), "error");
    assert_eq!(world.plugins().log_filter(), "info");
    // As a filter of `tracing` knows them.
    for (level, filter) in [
        ("Warning", "warn"),
        ("none", "off"),
        ("panic", "error"),
        ("trace", "trace"),
        ("off", "off"),
    ] {
        let mut config = Config::default();
        config.log_level = level.into();
        assert_eq!(World::default().with(config).log_filter(), filter);
    }
    assert_eq!(plugins.config("vat").unwrap().transport, "world");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_at_once_all_get_their_own_answer() {
    let world = World::default();
    world.slow("a", ms(10));
    let plugins = world.tax(json!({ "endpoints": ["a", "b", "c"] }));
    let start = Instant::now();
    let calls = (0..10_000).map(|n| plugins.call("tax", Call::new(n)).map(move |reply| (n, reply)));
    for (n, reply) in futures::future::join_all(calls).await {
        let body = reply.unwrap().into_body();
        assert!(body.ends_with(&format!(" {n}")), "{n}: {body}");
    }
    assert!(start.elapsed() < ms(1_000));
    assert_eq!(plugins.in_flight("tax"), Some(0));
}

#[test]
fn plugins_of_a_file_are_called_and_what_is_wrong_with_it_is_told() {
    let path = std::env::temp_dir().join(format!("plugins-file-{}.json", std::process::id()));
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(r#"{"plugins": {"tax": {"transport": "http", "endpoint": "http://127.0.0.1:1"}}}"#);
    let plugins = Plugins::<u64, u64>::from_file(&path).unwrap();
    assert_eq!(plugins.names(), ["tax".into()]);
    write(r#"{"plugins": {"tax": {"transport": "htpp", "endpoint": "http://127.0.0.1:1"}}}"#);
    let error = plugins.apply_file(&path).unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1001);
    for part in [":1:", "PLUGIN_1008", "did you mean `http`?"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(plugins.get("tax").is_some(), "nothing has changed");
    write(r#"{"plugins": {"vat": {"transport": "http", "endpoint": "http://127.0.0.1:1"}}}"#);
    plugins.apply_file(&path).unwrap();
    assert_eq!(plugins.names(), ["vat".into()]);
    std::fs::remove_file(&path).unwrap();
    let error = Plugins::<u64, u64>::from_file(&path).unwrap_err();
    assert_eq!(error.code(), Code::CONFIG_1701);
}

#[tokio::test(start_paused = true)]
async fn calls_by_name_take_turns_with_one_copy_of_the_stack() {
    let world = World::default();
    world.slow("a", ms(10));
    let plugins = world.tax(json!({ "concurrency": { "max": 2, "wait": "1s" } }));
    // Some wait for their turn, some are dropped while they do, and some run at once.
    for round in 0..5 {
        let mut calls: Vec<_> =
            (0..6).map(|n| Box::pin(plugins.call("tax", Call::new(n)))).collect();
        for call in &mut calls {
            assert!(futures::poll!(call).is_pending());
        }
        calls.truncate(4);
        for (n, reply) in futures::future::join_all(calls).await.into_iter().enumerate() {
            assert_eq!(reply.unwrap().into_body(), format!("a {n}"), "{round}");
        }
        assert_eq!(plugins.in_flight("tax"), Some(0));
    }
    let layers = plugins.layers("tax").unwrap();
    assert_eq!((layers.concurrency.handle().in_flight(), world.connected()), (0, 1));
}
