//! What becomes of calls while plugins are replaced under load, and of plugins that fail in every way.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    task::{Context, Poll},
};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, Call, Endpoint, Reply,
    config::{Config, PluginConfig},
    connect_fn,
    discover::Memory,
    error::{Code, Kind},
    plugins::{AnyConnector, Factory, Plugins},
};

use crate::world::{World, ms, tax};

fn config(endpoint: &str) -> Config {
    Config::default().with_plugin(tax(json!({ "endpoint": endpoint })))
}

fn echo() -> impl Service<Call<u64>, Response = Reply<u64>, Error = BoxError, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    service_fn(async |call: Call<u64>| Ok::<_, BoxError>(Reply::new(call.into_body())))
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_waits_goes_on_though_calls_are_in_flight_where_it_waited() {
    let world = World::default();
    world.slow("a:1", ms(3_600_000));
    let plugins = world.plugins();
    let endpoints = Memory::new(["a:1"]).unwrap();
    plugins.register_source("tax", endpoints.clone());
    let found = tax(json!({
        "discover": { "memory": {} }, "balance": { "fail_fast_after": "2h" },
    }));
    plugins.apply(Config::default().with_plugin(found)).unwrap();
    let in_flight = tokio::spawn(plugins.call("tax", Call::new(0)));
    sleep(ms(10)).await;
    endpoints.replace([]).unwrap();
    sleep(ms(10)).await;
    let mut handle = plugins.get("tax").unwrap();
    let mut leaves = handle.clone();
    let waits = tokio::spawn(async move {
        handle.ready().await?.call(Call::new(1)).await.map(Reply::into_body)
    });
    let by_name = tokio::spawn(plugins.call("tax", Call::new(2)));
    // One that no longer waits is not in the way.
    assert!(leaves.ready().now_or_never().is_none());
    drop(leaves);
    sleep(ms(100)).await;
    assert!(!waits.is_finished() && !by_name.is_finished());
    let start = Instant::now();
    plugins.apply(config("b")).unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "b 1");
    assert_eq!(by_name.await.unwrap().unwrap().into_body(), "b 2");
    assert_eq!((start.elapsed(), plugins.draining()), (ms(0), 1));
    assert_eq!(in_flight.await.unwrap().unwrap().into_body(), "a:1 0");
    assert_eq!(plugins.draining(), 0);
}

#[tokio::test(start_paused = true)]
async fn handles_that_wait_are_told_of_a_shutdown() {
    let world = World::default();
    let plugins = world.plugins();
    plugins.register_source("tax", Memory::new([""; 0]).unwrap());
    let empty = tax(json!({
        "discover": { "memory": {} }, "balance": { "fail_fast_after": "2h" },
    }));
    plugins.apply(Config::default().with_plugin(empty)).unwrap();
    let waits = tokio::spawn(plugins.get("tax").unwrap().oneshot(Call::new(1)));
    let by_name = tokio::spawn(plugins.call("tax", Call::new(2)));
    sleep(ms(10)).await;
    plugins.shutdown();
    let start = Instant::now();
    for call in [waits.await.unwrap(), by_name.await.unwrap()] {
        assert_eq!(call.unwrap_err().code(), Code::REGISTRY_1901);
    }
    assert_eq!(start.elapsed(), ms(0));
}

#[test]
fn no_call_fails_while_threads_replace_a_plugin() {
    const ROUNDS: usize = 300;
    let plugins = Plugins::<u64, u64>::new();
    let factory = |_: &PluginConfig| Ok(AnyConnector::new(connect_fn(|_: &Endpoint| echo())));
    plugins.register_factory("echo", factory).unwrap();
    let config = |version: usize| {
        let plugin = PluginConfig::new("tax", "echo").with_endpoint("a:1");
        Config::default().with_plugin(plugin.with_version(format!("1.0.{version}")))
    };
    plugins.apply(config(0)).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (plugins, is_over) = (plugins.clone(), is_over.clone());
            runtime.spawn(async move {
                let mut handle = plugins.get("tax").unwrap();
                let mut calls = 0;
                while !is_over.load(Relaxed) || calls < 100 {
                    let reply = match caller % 2 {
                        0 => handle.ready().await.unwrap().call(Call::new(calls)).await,
                        _ => plugins.call("tax", Call::new(calls)).await,
                    };
                    assert_eq!(reply.unwrap().into_body(), calls);
                    calls += 1;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (plugins, config) = (&plugins, &config);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    plugins.apply(config(1 + 2 * round + thread)).unwrap();
                }
            });
        }
    });
    is_over.store(true, Relaxed);
    runtime.block_on(async {
        for caller in callers {
            caller.await.unwrap();
        }
    });
    assert_eq!((plugins.draining(), plugins.in_flight("tax")), (0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_config_that_has_not_changed_makes_nothing_also_after_one_that_failed() {
    let world = World::default();
    let (plugins, made) = (Plugins::<u64, String>::new(), Arc::new(AtomicUsize::new(0)));
    let (count, at) = (made.clone(), world.clone());
    let factory = move |_: &PluginConfig| {
        count.fetch_add(1, Relaxed);
        Ok(at.connector())
    };
    plugins.register_factory("world", factory).unwrap();
    let both = |vat: &str| {
        let limited = json!({ "rate_limit": {
            "enabled": true, "requests_per_second": 1, "burst_size": 3,
        } });
        let vat = tax(json!({ "name": "vat", "endpoint": vat, "transport": "world" }));
        Config::default().with_plugin(tax(limited)).with_plugin(vat)
    };
    plugins.apply(both("a")).unwrap();
    let mut handle = plugins.get("tax").unwrap();
    for n in 0..2 {
        handle.ready().await.unwrap().call(Call::new(n)).await.unwrap();
    }
    assert_eq!(made.load(Relaxed), 2);
    let wrong = both("b").with_plugin(PluginConfig::new("x", "pigeon").with_endpoint("x:1"));
    plugins.apply(wrong).unwrap_err();
    assert_eq!(plugins.call("vat", Call::new(1)).await.unwrap().into_body(), "a 1");
    let before = made.load(Relaxed);
    plugins.apply(both("a")).unwrap();
    assert_eq!(made.load(Relaxed), before);
    plugins.apply(both("b")).unwrap();
    assert_eq!(made.load(Relaxed), before + 1);
    assert_eq!(plugins.call("vat", Call::new(1)).await.unwrap().into_body(), "b 1");
    // The tokens that were taken are not given again by any of that.
    plugins.call("tax", Call::new(2)).await.unwrap();
    let error = plugins.call("tax", Call::new(3)).await.unwrap_err();
    assert_eq!(error.code(), Code::RATELIMIT_1501);
    // Another limit holds for handles that there are.
    plugins.apply(config("a")).unwrap();
    handle.ready().await.unwrap().call(Call::new(4)).await.unwrap();
    assert_eq!(plugins.list().into_keys().collect::<Vec<_>>(), ["tax".into()]);
}

#[test]
fn a_shutdown_while_plugins_are_made_lets_none_of_them_in() {
    let plugins = Plugins::<u64, u64>::new();
    plugins.register("own", echo()).unwrap();
    let ((begun, begins), (goes_on, waits)) = (mpsc::channel(), mpsc::channel::<()>());
    let waits = std::sync::Mutex::new(waits);
    let factory = move |_: &PluginConfig| {
        begun.send(()).unwrap();
        let _ = waits.lock().unwrap().recv();
        Ok(AnyConnector::new(connect_fn(|_: &Endpoint| echo())))
    };
    plugins.register_factory("slow", factory).unwrap();
    let applied = std::thread::scope(|scope| {
        let applies = scope.spawn(|| {
            let plugin = PluginConfig::new("tax", "slow").with_endpoint("a:1");
            plugins.apply(Config::default().with_plugin(plugin))
        });
        begins.recv().unwrap();
        let shuts_down = scope.spawn(|| plugins.shutdown());
        while !plugins.is_shutdown() {
            std::thread::yield_now();
        }
        goes_on.send(()).unwrap();
        shuts_down.join().unwrap();
        applies.join().unwrap()
    });
    assert_eq!(applied.unwrap_err().code(), Code::REGISTRY_1901);
    assert_eq!(plugins.names(), ["own".into()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let called = runtime.block_on(plugins.get("own").unwrap().oneshot(Call::new(1)));
    assert_eq!(called.unwrap_err().code(), Code::REGISTRY_1901);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_taken_out_after_a_shutdown_stays_shut_down() {
    let plugins = Plugins::<u64, u64>::new();
    plugins.register("own", echo()).unwrap();
    let handle = plugins.get("own").unwrap();
    plugins.shutdown();
    plugins.unregister("own").unwrap();
    assert_eq!(plugins.unregister("own").unwrap_err().code(), Code::REGISTRY_1901);
    let error = handle.oneshot(Call::new(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::REGISTRY_1901);
}

/// Registers something when it is dropped.
struct Late(Plugins<u64, u64>, Arc<AtomicUsize>);

impl Factory<u64, u64> for Late {
    fn create(&self, _: &PluginConfig) -> Result<AnyConnector<u64, u64>, BoxError> {
        Err("never".into())
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let name = format!("late-{}", self.1.fetch_add(1, Relaxed));
        let factory = |_: &PluginConfig| Err("never".into());
        self.0.register_factory(&name, factory).unwrap();
    }
}

#[test]
fn a_factory_that_is_refused_may_use_the_plugins_when_it_is_dropped() {
    let (done, waited) = mpsc::channel();
    std::thread::spawn(move || {
        let (plugins, dropped) = (Plugins::<u64, u64>::new(), Arc::new(AtomicUsize::new(0)));
        plugins.register_factory("own", |_: &PluginConfig| Err("never".into())).unwrap();
        let refused = plugins.register_factory("own", Late(plugins.clone(), dropped.clone()));
        assert_eq!(refused.unwrap_err().code(), Code::REGISTRY_1904);
        done.send(dropped.load(Relaxed)).unwrap();
    });
    let dropped = waited.recv_timeout(std::time::Duration::from_secs(20));
    assert_eq!(dropped.expect("it waits for itself"), 1);
}

/// Panics where it is told to.
#[derive(Clone)]
struct Panics(Arc<AtomicUsize>);

const WHEN_READIED: usize = 1;
const WHEN_CALLED: usize = 2;
const WHEN_POLLED: usize = 3;

impl Panics {
    fn at(&self, place: usize) {
        assert!(self.0.load(Relaxed) != place, "out of luck");
    }
}

impl Service<Call<u64>> for Panics {
    type Response = Reply<u64>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply<u64>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.at(WHEN_READIED);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<u64>) -> Self::Future {
        self.at(WHEN_CALLED);
        let this = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            this.at(WHEN_POLLED);
            Ok(Reply::new(call.into_body()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_panics_takes_its_own_call_and_nothing_else() {
    let place = Arc::new(AtomicUsize::new(0));
    let plugins = Plugins::<u64, u64>::new();
    plugins.register("bad", Panics(place.clone())).unwrap();
    plugins.register("good", echo()).unwrap();
    for at in [WHEN_READIED, WHEN_CALLED, WHEN_POLLED] {
        place.store(at, Relaxed);
        for call in [
            plugins.call("bad", Call::new(1)).boxed(),
            plugins.get("bad").unwrap().oneshot(Call::new(1)).boxed(),
        ] {
            let ended = tokio::spawn(AssertUnwindSafe(call).catch_unwind()).await.unwrap();
            assert!(ended.is_err() || ended.unwrap().is_err(), "{at}");
        }
        assert_eq!(plugins.in_flight("bad"), Some(0), "{at}");
        plugins.call("good", Call::new(1)).await.unwrap();
        place.store(0, Relaxed);
        sleep(ms(60_000)).await;
        assert_eq!(plugins.call("bad", Call::new(2)).await.unwrap().into_body(), 2, "{at}");
    }
    plugins.unregister("bad").unwrap();
    assert_eq!(plugins.draining(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_is_an_error_of_its_plugin() {
    let plugins = Plugins::<u64, u64>::new();
    let connector = AnyConnector::new(connect_fn(|endpoint: &Endpoint| {
        assert!(endpoint.key() != "a:1", "out of luck");
        echo()
    }));
    let plugin = PluginConfig::new("tax", "own").with_endpoints(["a:1"]);
    plugins.register_with(plugin, connector.clone()).unwrap();
    let plugin = PluginConfig::new("vat", "own").with_endpoints(["a:1", "b:1"]);
    plugins.register_with(plugin, connector).unwrap();
    let error = plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert!(error.is_unsent(), "{error}");
    for n in 0..20 {
        assert_eq!(plugins.call("vat", Call::new(n)).await.unwrap().into_body(), n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_never_ready_fails_in_time_and_can_be_replaced() {
    #[derive(Clone)]
    struct Never;

    impl Service<Call<u64>> for Never {
        type Response = Reply<String>;
        type Error = BoxError;
        type Future = std::future::Pending<Result<Reply<String>, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Pending
        }

        fn call(&mut self, _: Call<u64>) -> Self::Future {
            unreachable!("it is not ready")
        }
    }

    let world = World::default();
    let plugins = world.plugins();
    plugins
        .register_factory("never", |_: &PluginConfig| {
            Ok(AnyConnector::new(connect_fn(|_: &Endpoint| Never)))
        })
        .unwrap();
    let never = tax(json!({ "transport": "never", "endpoints": ["a:1", "b:1"] }));
    plugins.apply(Config::default().with_plugin(never)).unwrap();
    let start = Instant::now();
    let error = plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert!(error.is_unsent() && start.elapsed() < ms(5_000), "{error} {:?}", start.elapsed());
    assert_eq!(error.code(), Code::LOADBALANCER_1702, "{error}");
    let call = Call::new(2).with_timeout(ms(200));
    assert_eq!(plugins.call("tax", call).await.unwrap_err().kind(), Kind::Timeout);
    // A call that is on its way waits there, those that follow do not.
    let waits = tokio::spawn(plugins.call("tax", Call::new(3)));
    sleep(ms(10)).await;
    plugins.apply(config("a")).unwrap();
    assert_eq!(plugins.call("tax", Call::new(4)).await.unwrap().into_body(), "a 4");
    assert!(waits.await.unwrap().unwrap_err().is_unsent());
    sleep(ms(2_000)).await;
    assert_eq!((plugins.in_flight("tax"), plugins.draining()), (Some(0), 0));
}

#[tokio::test(start_paused = true)]
async fn weights_of_zero_are_no_reason_to_panic() {
    let world = World::default();
    for strategy in [
        "least_request",
        "peak_ewma",
        "weighted_round_robin",
        "weighted_random",
        "consistent_hash",
        "ip_hash",
        "priority",
        "health_based",
    ] {
        let zero = |key: &str| json!({ "address": key, "weight": 0 });
        let plugins = world.plugins();
        let plugin = tax(json!({
            "endpoints": [zero("a:1"), zero("b:1")], "balance": { "strategy": strategy },
        }));
        if plugins.apply(Config::default().with_plugin(plugin)).is_ok() {
            let calls = (0..10).map(|n| plugins.call("tax", Call::new(n)));
            assert!(join_all(calls).await.iter().all(Result::is_ok), "{strategy}");
        }
    }
}
