//! A plugin that is made anew takes its place once it knows where to call.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::sleep,
};
use tower::{Service, ServiceExt};
use tower_upstream::{
    Call, Reply,
    config::{Config, PluginConfig},
    discover::{Discover, EndpointSet, Memory},
    error::{Code, Kind},
    plugins::Plugins,
};

use crate::{
    races::in_time,
    world::{World, ms, tax},
};

/// A source that finds something once there is something, and counts what looks at it.
#[derive(Clone)]
struct Source {
    endpoints: Memory,
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Source {
    fn empty() -> Self {
        let endpoints = Memory::new(Vec::<&str>::new()).unwrap();
        Self { endpoints, open: Arc::default(), opened: Arc::default() }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Discover for Source {
    type Stream = std::pin::Pin<Box<dyn Stream<Item = EndpointSet> + Send>>;

    fn discover(&self) -> Self::Stream {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.open.clone());
        let sets = self.endpoints.discover().map(move |set| {
            let _open = &open;
            set
        });
        Box::pin(sets)
    }
}

type Taken = fn(&Plugins<u64, String>);

fn found(service: &str) -> PluginConfig {
    tax(json!({ "discover": { "memory": {}, "service": service } }))
}

fn config(service: &str) -> Config {
    Config::default().with_plugin(found(service))
}

/// Plugins of one that was called at `a:1`, and the sources of others, which find nothing yet.
async fn begun(world: &World) -> (Plugins<u64, String>, [Source; 3]) {
    let plugins = world.plugins();
    let sources = [Source::empty(), Source::empty(), Source::empty()];
    for (name, source) in ["first", "second", "third"].into_iter().zip(&sources) {
        plugins.register_source(name, source.clone());
    }
    sources[0].endpoints.insert("a:1").unwrap();
    plugins.apply(config("first")).unwrap();
    assert_eq!(answer(&plugins, 0).await, Ok("a:1 0".into()));
    (plugins, sources)
}

async fn answer(plugins: &Plugins<u64, String>, n: u64) -> Result<String, Code> {
    let reply = plugins.call("tax", Call::new(n)).await;
    reply.map(Reply::into_body).map_err(|error| error.code())
}

fn service(plugins: &Plugins<u64, String>) -> String {
    plugins.config("tax").unwrap().discover.as_ref().unwrap().service.clone()
}

#[tokio::test(start_paused = true)]
async fn what_stands_answers_until_the_next_has_found_its_endpoints() {
    let world = World::default();
    let (plugins, [first, second, _]) = begun(&world).await;
    let mut handle = plugins.get("tax").unwrap();
    let mut ready = handle.clone();
    ready.ready().await.unwrap();
    world.slow("a:1", ms(3_000));
    let in_flight = tokio::spawn(plugins.call("tax", Call::new(1)));
    sleep(ms(10)).await;
    plugins.apply(config("second")).unwrap();
    assert_eq!((service(&plugins), plugins.draining()), ("first".into(), 0));
    // Not even a call that comes later waits for that.
    sleep(ms(5_000)).await;
    let start = tokio::time::Instant::now();
    assert_eq!(answer(&plugins, 2).await, Ok("a:1 2".into()));
    assert_eq!(start.elapsed(), ms(3_000));
    let late = tokio::spawn(plugins.call("tax", Call::new(3)));
    sleep(ms(10)).await;
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(200)).await;
    assert_eq!((service(&plugins), second.opened.load(Ordering::Relaxed)), ("second".into(), 1));
    assert_eq!(answer(&plugins, 4).await, Ok("b:1 4".into()));
    let reply = handle.ready().await.unwrap().call(Call::new(5)).await.unwrap();
    assert_eq!(reply.into_body(), "b:1 5");
    // What was there before ends with its last call.
    assert_eq!((plugins.draining(), first.open()), (2, 1));
    assert_eq!(ready.call(Call::new(6)).await.unwrap().into_body(), "a:1 6");
    assert_eq!(in_flight.await.unwrap().unwrap().into_body(), "a:1 1");
    assert_eq!(late.await.unwrap().unwrap().into_body(), "a:1 3");
    sleep(ms(10)).await;
    assert_eq!((plugins.draining(), first.open(), second.open()), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_finds_nothing_takes_its_place_after_a_time() {
    let world = World::default();
    let (plugins, [first, ..]) = begun(&world).await;
    plugins.apply(config("second")).unwrap();
    sleep(ms(14_900)).await;
    assert_eq!(answer(&plugins, 1).await, Ok("a:1 1".into()));
    sleep(ms(200)).await;
    let error = plugins.call("tax", Call::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoEndpoints);
    sleep(ms(10)).await;
    assert_eq!((service(&plugins), first.open()), ("second".into(), 0));
}

#[tokio::test(start_paused = true)]
async fn another_change_meanwhile_has_its_own_way() {
    let world = World::default();
    let (plugins, [first, second, third]) = begun(&world).await;
    plugins.apply(config("second")).unwrap();
    sleep(ms(500)).await;
    // The same again makes nothing anew.
    plugins.apply(config("second")).unwrap();
    sleep(ms(500)).await;
    assert_eq!((second.opened.load(Ordering::Relaxed), second.open()), (1, 1));
    plugins.apply(config("third")).unwrap();
    sleep(ms(500)).await;
    assert_eq!((first.open(), second.open(), third.open()), (1, 0, 1), "it is wanted no more");
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(20_000 - 2_000)).await;
    assert_eq!((service(&plugins), second.open()), ("third".into(), 0), "after its own time");
    // Back to what stands there.
    let (plugins, [first, second, _]) = begun(&world).await;
    plugins.apply(config("second")).unwrap();
    sleep(ms(500)).await;
    plugins.apply(config("first")).unwrap();
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(20_000)).await;
    assert_eq!((answer(&plugins, 1).await, second.open()), (Ok("a:1 1".into()), 0));
    assert_eq!(first.opened.load(Ordering::Relaxed), 1, "it has stayed as it is");
    // A mistake changes nothing of what is on its way.
    second.endpoints.replace([]).unwrap();
    plugins.apply(config("second")).unwrap();
    let wrong = tax(json!({ "discover": { "memory": {}, "service": "none" } }));
    plugins.apply(Config::default().with_plugin(wrong)).unwrap_err();
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(500)).await;
    assert_eq!(answer(&plugins, 2).await, Ok("b:1 2".into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_out_takes_with_it_what_was_to_come() {
    let world = World::default();
    let ways: [(Taken, Code); 3] = [
        (|plugins| plugins.unregister("tax").unwrap(), Code::PLUGIN_1201),
        (|plugins| plugins.apply(Config::default()).unwrap(), Code::PLUGIN_1201),
        (|plugins| plugins.shutdown(), Code::REGISTRY_1901),
    ];
    for (take, code) in ways {
        let (plugins, [first, second, _]) = begun(&world).await;
        let handle = plugins.get("tax").unwrap();
        plugins.apply(config("second")).unwrap();
        sleep(ms(500)).await;
        take(&plugins);
        let told = async || {
            let error = handle.clone().oneshot(Call::new(1)).await.unwrap_err();
            assert_eq!((error.code(), answer(&plugins, 2).await), (code, Err(code)));
        };
        told().await;
        sleep(ms(10)).await;
        assert_eq!(second.open(), 0, "at once");
        second.endpoints.insert("b:1").unwrap();
        sleep(ms(20_000)).await;
        told().await;
        assert_eq!((first.open(), second.open(), plugins.draining()), (0, 0, 0));
    }
    // Handles outlive what they came from.
    let (plugins, [first, second, _]) = begun(&world).await;
    let handle = plugins.get("tax").unwrap();
    plugins.apply(config("second")).unwrap();
    drop(plugins);
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(500)).await;
    assert_eq!(handle.clone().oneshot(Call::new(1)).await.unwrap().into_body(), "b:1 1");
    drop(handle);
    sleep(ms(20_000)).await;
    assert_eq!((first.open(), second.open()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_has_to_find_nothing_and_what_replaces_nothing_comes_at_once() {
    let world = World::default();
    let (plugins, [first, second, _]) = begun(&world).await;
    plugins.apply(Config::default().with_plugin(tax(json!({ "endpoint": "c" })))).unwrap();
    assert_eq!(answer(&plugins, 1).await, Ok("c 1".into()));
    plugins.apply(Config::default().with_plugin(tax(json!({ "enabled": false })))).unwrap();
    assert_eq!(answer(&plugins, 2).await, Err(Code::PLUGIN_1202));
    // What has no endpoint itself is not kept.
    plugins.apply(config("second")).unwrap();
    sleep(ms(1_500)).await;
    assert_eq!(second.open(), 0, "it is not looked for before a call comes");
    plugins.call("tax", Call::new(3)).await.unwrap_err();
    plugins.apply(config("first")).unwrap();
    assert_eq!(
        (service(&plugins), answer(&plugins, 4).await),
        ("first".into(), Ok("a:1 4".into()))
    );
    assert_eq!(first.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_unhealthy_until_it_is_checked_comes_after_its_checks() {
    let world = World::default();
    let config = |at: &str, failing: bool| {
        world.fail(at, failing);
        Config::default().with_plugin(tax(json!({
            "transport": "checked", "endpoint": at,
            "health_check": { "initial": "unhealthy", "rise": 1, "interval": "1s", "timeout": "1s" },
        })))
    };
    let plugins = world.with(config("a", false));
    assert_eq!(answer(&plugins, 1).await, Ok("a 1".into()));
    plugins.apply(config("b", true)).unwrap();
    sleep(ms(5_000)).await;
    assert_eq!(answer(&plugins, 2).await, Ok("a 2".into()));
    world.fail("b", false);
    sleep(ms(5_000)).await;
    assert_eq!(answer(&plugins, 3).await, Ok("b 3".into()));
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// `tax` beside another plugin, which `factory` makes.
fn config_with(service: &str, factory: &str) -> Config {
    config(service).with_plugin(PluginConfig::new("other", factory).with_endpoint("c:1"))
}

#[test]
fn one_whose_runtime_ends_comes_at_once() {
    let (world, first) = (World::default(), runtime());
    let (plugins, [_, second, _]) = first.block_on(begun(&world));
    first.block_on(async { plugins.apply(config("second")).unwrap() });
    drop(first);
    assert_eq!(service(&plugins), "second");
    second.endpoints.insert("b:1").unwrap();
    assert_eq!(runtime().block_on(answer(&plugins, 1)), Ok("b:1 1".into()));
    // Without one there is nothing to wait with.
    plugins.apply(config("first")).unwrap();
    assert_eq!(service(&plugins), "first");
}

#[test]
fn one_that_comes_while_a_factory_runs_holds_up_no_runtime_and_takes_its_place_after_it() {
    in_time(|| runtime().block_on(comes_while_a_factory_runs()));
}

async fn comes_while_a_factory_runs() {
    let world = World::default();
    let (plugins, [_, second, _]) = begun(&world).await;
    let ((runs, is_run), (end, may_end)) = (mpsc::channel(), mpsc::channel());
    let may_end = Mutex::new(may_end);
    let factory = move |_: &PluginConfig| {
        runs.send(())?;
        may_end.lock().unwrap().recv()?;
        Ok(world.connector())
    };
    plugins.register_factory("slow", factory).unwrap();
    plugins.apply(config("second")).unwrap();
    let changes = plugins.clone();
    let change = std::thread::spawn(move || changes.apply(config_with("second", "slow")));
    is_run.recv().unwrap();
    second.endpoints.insert("b:1").unwrap();
    for n in 0..100 {
        yield_now().await;
        assert_eq!(answer(&plugins, n).await, Ok(format!("a:1 {n}")));
    }
    end.send(()).unwrap();
    change.join().unwrap().unwrap();
    while service(&plugins) != "second" {
        yield_now().await;
    }
    assert_eq!(answer(&plugins, 1).await, Ok("b:1 1".into()));
}

#[test]
fn one_whose_runtime_is_ended_by_a_factory_comes_if_the_same_change_has_it_still() {
    for last in ["first", "second", "third"] {
        let (world, first) = (World::default(), runtime());
        let (plugins, [_, second, third]) = first.block_on(begun(&world));
        second.endpoints.insert("b:1").unwrap();
        third.endpoints.insert("c:1").unwrap();
        first.block_on(async { plugins.apply(config("second")).unwrap() });
        let first = Mutex::new(Some(first));
        let factory = move |_: &PluginConfig| {
            drop(first.lock().unwrap().take());
            Ok(world.connector())
        };
        plugins.register_factory("ends", factory).unwrap();
        plugins.apply(config_with(last, "ends")).unwrap();
        assert_eq!(service(&plugins), last);
        let answers = runtime().block_on(answer(&plugins, 1)).unwrap();
        assert!(["a:1 1", "b:1 1", "c:1 1"].contains(&&*answers), "{answers}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_its_place_joins_the_plugins_of_its_type_then() {
    let world = World::default();
    let (plugins, [_, second, _]) = begun(&world).await;
    let mut group = plugins.group("payment");
    // The same value, which was told that there is none.
    let mut asked = async |n| {
        let reply = group.ready().await.unwrap().call(Call::new(n)).await;
        reply.map(Reply::into_body).map_err(|error| error.kind())
    };
    plugins.apply(Config::default().with_plugin(found("second").with_kind("payment"))).unwrap();
    assert_eq!(asked(1).await, Err(Kind::NoEndpoints));
    second.endpoints.insert("b:1").unwrap();
    sleep(ms(10)).await;
    assert_eq!(asked(2).await, Ok("b:1 2".into()));
}
