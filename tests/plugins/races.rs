//! Changes that come from the code that plugins are made of, and those that come between two steps of a call.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, Weak, mpsc},
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::time::sleep;
use tower::{Service, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Call, Endpoint, Error, Reply,
    config::{Config, DiscoverConfig, FallbackConfig, PluginConfig},
    connect_fn,
    discover::Memory,
    error::Code,
    plugins::{AnyConnector, Factory, Plugins},
};

use crate::world::{World, ms, tax};

/// Runs what may wait for itself, and fails where it does.
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waited) = mpsc::channel();
    std::thread::spawn(move || done.send(run()));
    waited.recv_timeout(Duration::from_secs(20)).expect("it waits for itself")
}

fn one(transport: &str) -> Config {
    Config::default().with_plugin(PluginConfig::new("tax", transport).with_endpoint("a:1"))
}

#[test]
fn a_factory_may_look_at_the_plugins_and_change_none_of_them() {
    let codes = in_time(|| {
        let plugins = Plugins::<u64, u64>::new();
        let (inside, told) = (plugins.clone(), Arc::new(Mutex::new(Vec::new())));
        let codes = told.clone();
        let factory = move |_: &PluginConfig| {
            // What only looks answers.
            assert_eq!((inside.names(), inside.draining()), (vec!["own".into()], 0));
            assert!(inside.get("own").is_some() && !inside.is_shutdown());
            assert_eq!(inside.log_filter(), "info");
            let service =
                service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())));
            inside.register_factory("late", |_: &PluginConfig| Err("never".into()))?;
            let refused = [
                inside.register("other", service),
                inside.unregister("own"),
                inside.apply(Config::default()),
            ];
            codes.lock().unwrap().extend(refused.map(|error| error.unwrap_err().code()));
            Ok(AnyConnector::new(connect_fn(move |_: &Endpoint| service)))
        };
        plugins.register_factory("own", factory).unwrap();
        let service =
            service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())));
        plugins.register("own", service).unwrap();
        plugins.apply(one("own")).unwrap();
        assert_eq!(plugins.names(), ["own".into(), "tax".into()]);
        told.lock().unwrap().clone()
    });
    assert_eq!(codes, [Code::REGISTRY_1901; 3]);
}

#[test]
fn a_factory_that_panics_while_it_looks_at_a_config_is_an_error() {
    struct Panics;

    impl Factory<u64, u64> for Panics {
        fn validate(&self, _: &PluginConfig) -> Result<(), Error> {
            panic!("out of luck")
        }

        fn create(&self, _: &PluginConfig) -> Result<AnyConnector<u64, u64>, BoxError> {
            Err("never".into())
        }
    }

    let plugins = Plugins::<u64, u64>::new();
    plugins.register_factory("own", Panics).unwrap();
    for _ in 0..2 {
        let error = plugins.apply(one("own")).unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1907);
    }
}

#[test]
fn a_shutdown_out_of_a_factory_ends_all_and_lets_nothing_in() {
    let (applied, called) = in_time(|| {
        let plugins = Plugins::<u64, u64>::new();
        let service =
            service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())));
        plugins.register("own", service).unwrap();
        let inside = plugins.clone();
        let factory = move |_: &PluginConfig| {
            inside.shutdown();
            Ok(AnyConnector::new(connect_fn(move |_: &Endpoint| service)))
        };
        plugins.register_factory("last", factory).unwrap();
        let applied = plugins.apply(one("last")).unwrap_err().code();
        assert!(plugins.get("tax").is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let called = runtime.block_on(plugins.call("own", Call::new(1))).unwrap_err().code();
        (applied, called)
    });
    assert_eq!((applied, called), (Code::REGISTRY_1901, Code::REGISTRY_1901));
}

/// Looks at the plugins when it is dropped, as what a user has made may.
struct Looks(Plugins<u64, u64>, Arc<OnceLock<usize>>);

impl Drop for Looks {
    fn drop(&mut self) {
        let _ = self.1.set(self.0.draining());
        let _ = self.0.unregister("nothing");
    }
}

#[test]
fn what_is_let_go_may_look_at_the_plugins() {
    let seen = in_time(|| {
        let (plugins, seen) = (Plugins::<u64, u64>::new(), Arc::new(OnceLock::new()));
        let looks = Arc::new(Looks(plugins.clone(), seen.clone()));
        let connector = AnyConnector::new(connect_fn(move |_: &Endpoint| {
            let _looks = looks.clone();
            service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(*call.body())))
        }));
        let plugin = PluginConfig::new("tax", "own").with_endpoint("a:1");
        plugins.register_with(plugin, connector).unwrap();
        plugins.unregister("tax").unwrap();
        seen.get().copied()
    });
    assert_eq!(seen, Some(0));
}

/// A body that does something when it is written.
#[derive(Clone, Default)]
struct Does(Option<Arc<dyn Fn() + Send + Sync>>);

impl Serialize for Does {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().for_each(|does| does());
        serializer.serialize_u64(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_replaced_by_its_own_call_is_let_go_with_it() {
    let plugins = Plugins::<Does, u64>::new();
    let register = |plugins: &Plugins<Does, u64>| -> Weak<()> {
        let of_it = Arc::new(());
        let weak = Arc::downgrade(&of_it);
        let connector = AnyConnector::new(connect_fn(move |_: &Endpoint| {
            let of_it = of_it.clone();
            service_fn(move |_: Call<Does>| {
                let _of_it = of_it.clone();
                async { Ok::<_, BoxError>(Reply::new(1)) }
            })
        }));
        // The body is written for the key of the answer, between readiness and the call.
        let plugin = PluginConfig::new("tax", "own")
            .with_endpoint("a:1")
            .with_fallback(FallbackConfig::new("cached"));
        plugins.register_with(plugin, connector).unwrap();
        weak
    };
    let first = register(&plugins);
    plugins.call("tax", Call::new(Does::default())).await.unwrap();
    let (inside, second) = (plugins.clone(), Arc::new(OnceLock::new()));
    let made = second.clone();
    let does = Does(Some(Arc::new(move || {
        if made.get().is_none() {
            inside.unregister("tax").unwrap();
            made.set(register(&inside)).unwrap();
        }
    })));
    plugins.call("tax", Call::new(does)).await.unwrap();
    sleep(ms(5_000)).await;
    assert_eq!(first.strong_count(), 0, "the way through it was kept for the next call");
    let second = second.get().unwrap();
    assert!(second.strong_count() > 0);
    plugins.call("tax", Call::new(Does::default())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_waits_goes_on_at_what_takes_the_place_of_its_plugin() {
    let world = World::default();
    let plugins = world.plugins();
    let none = Memory::new(["a:1"]).unwrap();
    plugins.register_source("tax", none.clone());
    let found = Config::default().with_plugin(tax(json!({ "discover": { "memory": {} } })));
    plugins.apply(found).unwrap();
    plugins.call("tax", Call::new(0)).await.unwrap();
    none.replace([]).unwrap();
    sleep(ms(10)).await;
    let mut handle = plugins.get("tax").unwrap();
    let waits = tokio::spawn(async move {
        let reply = handle.ready().await?.call(Call::new(1)).await;
        reply.map(Reply::into_body)
    });
    let by_name = tokio::spawn(plugins.call("tax", Call::new(2)));
    sleep(ms(100)).await;
    plugins.apply(Config::default().with_plugin(tax(json!({ "endpoint": "b" })))).unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "b 1");
    assert_eq!(by_name.await.unwrap().unwrap().into_body(), "b 2");
}

#[tokio::test(start_paused = true)]
async fn a_call_by_name_goes_to_what_stands_there_when_it_is_polled_first() {
    let world = World::default();
    let plugins = world.plugins();
    let at = |endpoint| Config::default().with_plugin(tax(json!({ "endpoint": endpoint })));
    plugins.apply(at("a")).unwrap();
    let by_name = || plugins.call("tax", Call::new(1));
    let (replaced, removed) = (by_name(), by_name());
    assert_eq!(plugins.in_flight("tax"), Some(2));
    plugins.apply(at("b")).unwrap();
    plugins.apply(at("c")).unwrap();
    assert_eq!((plugins.in_flight("tax"), plugins.draining()), (Some(0), 2));
    assert_eq!(replaced.await.unwrap().into_body(), "c 1");
    assert_eq!(plugins.draining(), 1);
    plugins.apply(Config::default()).unwrap();
    assert_eq!(removed.await.unwrap_err().code(), Code::PLUGIN_1201);
    plugins.apply(at("d")).unwrap();
    // Also at one of that name that came anew.
    let again = by_name();
    plugins.apply(Config::default()).unwrap();
    plugins.apply(at("e")).unwrap();
    assert_eq!(again.await.unwrap().into_body(), "e 1");
    let (closed, last) = (by_name(), by_name());
    plugins.shutdown();
    assert_eq!(closed.await.unwrap_err().code(), Code::REGISTRY_1901);
    assert_eq!(plugins.draining(), 1);
    drop(plugins);
    assert_eq!(last.await.unwrap_err().code(), Code::REGISTRY_1901);
}

#[tokio::test(start_paused = true)]
async fn a_call_by_name_outlives_the_plugins() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    let (first, second) = (plugins.call("tax", Call::new(1)), plugins.call("tax", Call::new(2)));
    drop(plugins);
    // Cold: it waits for the set.
    assert_eq!(first.await.unwrap().into_body(), "a 1");
    assert_eq!(second.await.unwrap().into_body(), "a 2");
    // What was replaced goes on at what stood there last, if that is still known.
    let plugins = world.tax(json!({}));
    let (call, handle) = (plugins.call("tax", Call::new(3)), plugins.get("tax"));
    plugins.unregister("tax").unwrap();
    let lost = plugins.call("tax", Call::new(4)).await.unwrap_err();
    drop((plugins, handle));
    let error = call.await.unwrap_err();
    assert_eq!((error.code(), lost.code()), (Code::PLUGIN_1201, Code::PLUGIN_1201));
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_ready_holds_its_plugin_until_it_calls_or_drops() {
    let world = World::default();
    let plugins = world.tax(json!({}));
    let mut calls = plugins.get("tax").unwrap();
    let mut drops = calls.clone();
    calls.ready().await.unwrap();
    drops.ready().await.unwrap();
    plugins.unregister("tax").unwrap();
    let unready = calls.clone();
    sleep(ms(5_000)).await;
    assert_eq!(plugins.draining(), 2);
    drop(drops);
    assert_eq!(plugins.draining(), 1);
    assert_eq!(calls.call(Call::new(1)).await.unwrap().into_body(), "a 1");
    assert_eq!(plugins.draining(), 0);
    assert_eq!(unready.oneshot(Call::new(2)).await.unwrap_err().code(), Code::PLUGIN_1201);

    let plugins = world.tax(json!({}));
    let mut handle = plugins.get("tax").unwrap();
    handle.ready().await.unwrap();
    plugins.shutdown();
    let (clone, late) = (handle.clone(), plugins.get("tax").unwrap());
    assert_eq!(handle.call(Call::new(3)).await.unwrap().into_body(), "a 3");
    for handle in [handle, clone, late] {
        assert_eq!(handle.oneshot(Call::new(4)).await.unwrap_err().code(), Code::REGISTRY_1901);
    }
    assert_eq!(plugins.call("tax", Call::new(5)).await.unwrap_err().code(), Code::REGISTRY_1901);
}

fn named(name: &str, fallback: &str) -> PluginConfig {
    let mut plugin = json!({ "name": name, "circuit_breaker": { "enabled": false }, "retry": { "max_retries": 0 } });
    if !fallback.is_empty() {
        plugin["fallback"] = fallback.into();
    }
    tax(plugin)
}

#[tokio::test(start_paused = true)]
async fn no_change_closes_a_circle_of_fallbacks() {
    let world = World::default();
    let plugins = world.with(Config::default().with_plugin(named("a", "")));
    let register = |plugin| plugins.register_with(plugin, world.connector());
    let refused = |changed: Result<(), Error>| changed.unwrap_err().to_string();
    register(named("b", "a")).unwrap();
    register(named("c", "b")).unwrap();
    for fallback in ["a", "b", "c"] {
        let config = Config::default().with_plugin(named("a", fallback));
        assert!(refused(plugins.apply(config)).contains("leads back"), "{fallback}");
    }
    // Nor by a name that comes again.
    plugins.apply(Config::default()).unwrap();
    assert!(refused(register(named("a", "c"))).contains("leads back"));
    assert!(refused(register(named("d", "d"))).contains("leads back"));
    register(named("a", "")).unwrap();
    plugins.call("c", Call::new(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_comes_back_to_no_plugin_while_the_way_between_two_turns_round() {
    let world = World::default();
    let plugins = world.plugins();
    for (service, endpoints) in [("first", &["a:1"][..]), ("second", &[])] {
        plugins.register_source(service, Memory::new(endpoints.iter().copied()).unwrap());
    }
    let config = |service: &str, of_a: &str, of_b: &str| {
        let discover: DiscoverConfig =
            serde_json::from_value(json!({ "memory": {}, "service": service })).unwrap();
        let a = named("a", of_a).with_endpoint("").with_discover(discover);
        Config::default().with_plugin(a).with_plugin(named("b", of_b).with_endpoint("b:1"))
    };
    plugins.apply(config("first", "b", "")).unwrap();
    plugins.call("a", Call::new(0)).await.unwrap();
    // What stands for `a` stays until the next has found something, and `b` is replaced at once.
    plugins.apply(config("second", "", "a")).unwrap();
    world.cut_off("a:1");
    world.cut_off("b:1");
    for name in ["a", "b"] {
        let error = plugins.call(name, Call::new(1)).await.unwrap_err();
        assert!(error.to_string().contains("came back to where it was handed on"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_handed_on_sixteen_times_at_most() {
    let world = World::default();
    let mut config = Config::default().with_plugin(named("200", "").with_endpoint("last"));
    for at in 0..200 {
        let endpoint = format!("at-{at}");
        world.cut_off(&endpoint);
        let plugin = named(&at.to_string(), &(at + 1).to_string()).with_endpoint(&*endpoint);
        config = config.with_plugin(plugin);
    }
    let plugins = world.with(config);
    assert_eq!(plugins.call("184", Call::new(1)).await.unwrap().body(), "last 1");
    for name in ["183", "0"] {
        let error = plugins.call(name, Call::new(2)).await.unwrap_err();
        assert!(error.to_string().contains("went through 16"), "{error}");
    }
}

#[test]
fn a_fallback_that_leaves_with_the_config_is_no_fallback() {
    let world = World::default();
    let both = || Config::default().with_plugin(named("a", "b")).with_plugin(named("b", ""));
    let plugins = world.with(both());
    let error = plugins.apply(Config::default().with_plugin(named("a", "b"))).unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1201);
    assert_eq!(plugins.names(), ["a".into(), "b".into()], "nothing has changed");
    // One that was registered in code stays.
    let plugins = world.plugins();
    plugins.register_with(named("b", ""), world.connector()).unwrap();
    plugins.apply(Config::default().with_plugin(named("a", "b"))).unwrap();
    let path = std::env::temp_dir().join(format!("plugins-fallback-{}.json", std::process::id()));
    let file = json!({ "plugins": [{ "name": "a", "transport": "world", "endpoint": "x", "fallback": "b" }] });
    std::fs::write(&path, file.to_string()).unwrap();
    plugins.apply_file(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fallback_keeps_nothing_of_a_plugin_that_was_replaced() {
    let (plugins, made) =
        (Plugins::<u64, u64>::new(), Arc::new(Mutex::new(BTreeMap::<String, Weak<()>>::new())));
    let noted = made.clone();
    let factory = move |plugin: &PluginConfig| {
        let (of_it, fails) = (Arc::new(()), plugin.endpoint == "fails:1");
        noted.lock().unwrap().insert(plugin.endpoint.clone(), Arc::downgrade(&of_it));
        Ok(AnyConnector::new(connect_fn(move |_: &Endpoint| {
            let of_it = of_it.clone();
            service_fn(move |_: Call<u64>| {
                let _of_it = of_it.clone();
                async move { if fails { Err::<_, BoxError>("no".into()) } else { Ok(Reply::new(1)) } }
            })
        })))
    };
    plugins.register_factory("noted", factory).unwrap();
    let config = |archive: &str| {
        let plugin = |name: &str, at: &str| PluginConfig::new(name, "noted").with_endpoint(at);
        let tax = plugin("tax", "fails:1").with_fallback(FallbackConfig::new("archive"));
        Config::default().with_plugin(tax).with_plugin(plugin("archive", archive))
    };
    for archive in ["a:1", "b:1"] {
        plugins.apply(config(archive)).unwrap();
        plugins.call("tax", Call::new(1).idempotent()).await.unwrap();
    }
    sleep(ms(5_000)).await;
    let alive = |at: &str| made.lock().unwrap()[at].strong_count() > 0;
    assert_eq!((alive("a:1"), alive("b:1")), (false, true));
}
