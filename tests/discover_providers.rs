//! Backends by name, each with one service: on a paused clock.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[path = "support/mod.rs"]
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use futures::{FutureExt, StreamExt};
use support::{secs, settle};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::RoundRobin,
    connect_fn,
    discover::{
        Discover, EndpointSet, Memory, MemoryRegistry, Observation, Provider, ProviderEventKind,
        ProviderFeature, Providers, Registry, Source, Watched,
    },
    endpoint::Status,
    error::Kind,
};

fn at(key: &str) -> Endpoint {
    Endpoint::new("10.0.0.1:80").unwrap().with_key(key)
}

fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

fn in_memory(backend: &MemoryRegistry) -> Provider {
    let registry = Registry::new(backend.clone());
    Provider::new("tax in memory", backend.service("tax")).with_registry("tax", registry)
}

fn a_list() -> Provider {
    Provider::new("a list", Memory::new(["a:1", "b:1"]).unwrap())
}

#[test]
fn a_name_is_there_once_and_is_not_empty() {
    let providers = Providers::new();
    assert_eq!(providers.default_provider().unwrap_err().kind(), Kind::InvalidConfig);
    providers.add("two", a_list()).unwrap();
    providers.add("one", a_list()).unwrap();
    for (name, why) in [("one", "`one` already"), ("", "needs a name")] {
        let error = providers.add(name, a_list()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(providers.names(), ["one".into(), "two".into()]);
    let error = providers.get("three").unwrap_err().to_string();
    assert!(error.contains("`three`") && error.contains("`one`, `two`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_default_is_the_one_that_is_set_or_the_first_by_name() {
    let providers = Providers::new();
    for (name, address) in [("b", "b:1"), ("a", "a:1")] {
        providers.add(name, Provider::new(name, Memory::new([address]).unwrap())).unwrap();
    }
    let default = || async { providers.default_provider().unwrap().list(secs(1)).await.unwrap() };
    assert_eq!(keys(&default().await), ["a:1"]);
    providers.set_default("b").unwrap();
    assert_eq!(keys(&default().await), ["b:1"]);
    assert!(providers.set_default("c").is_err());
    assert!(providers.remove("b").is_some() && providers.remove("b").is_none());
    assert_eq!(keys(&default().await), ["a:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_registered_is_announced_changed_and_removed() {
    let backend = MemoryRegistry::new();
    let provider = in_memory(&backend);
    let id = provider.register(at("tax-1")).unwrap();
    assert_eq!(&*id, "tax-1");
    settle().await;
    assert!(backend.get("tax-1").is_some());
    provider.update(at("tax-1").with_weight(7)).unwrap();
    settle().await;
    assert_eq!(backend.get("tax-1").unwrap().endpoint().weight(), 7);
    assert_eq!(provider.list(secs(1)).await.unwrap()[0].weight(), 7);
    let twice = provider.register(at("tax-1")).unwrap_err().to_string();
    assert!(twice.contains("registered already"), "{twice}");
    for error in [
        provider.update(at("tax-9")).unwrap_err(),
        provider.deregister("tax-9", secs(1)).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("`tax-9` is not registered here"), "{error}");
    }
    // An id is made where there is none.
    let made = provider.register(Endpoint::new("10.0.0.2:80").unwrap()).unwrap();
    assert!(made.starts_with("tax-") && &*made != "tax-1");
    provider.deregister("tax-1", secs(1)).await.unwrap();
    assert!(backend.get("tax-1").is_none());
    provider.close(secs(1)).await.unwrap();
    assert!(backend.services().is_empty() && provider.list(secs(1)).await.unwrap().is_empty());
    let stats = provider.stats();
    assert_eq!((stats.registered, stats.updated, stats.deregistered, stats.own), (2, 1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_registry_an_own_endpoint_is_known_here_and_takes_the_place_of_a_found_one() {
    let list = Memory::new([at("a").with_weight(1), at("b").with_weight(1)]).unwrap();
    let provider = Provider::new("a list", list.clone());
    let mut sets = provider.discover();
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "b"]);
    provider.register(at("b").with_weight(9)).unwrap();
    let set = sets.next().await.unwrap();
    assert_eq!((keys(&set), set[1].weight()), (vec!["a", "b"], 9));
    provider.register(at("c")).unwrap();
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "b", "c"]);
    list.remove("a");
    assert_eq!(keys(&sets.next().await.unwrap()), ["b", "c"]);
    provider.deregister("b", secs(1)).await.unwrap();
    assert_eq!(sets.next().await.unwrap()[0].weight(), 1, "the found one is there again");
    assert!(sets.next().now_or_never().is_none());
}

/// Answers once, and not while it is told so.
struct Shaky(Arc<AtomicBool>);

impl Source for Shaky {
    type State = ();

    fn name(&self) -> String {
        "the shaky one".to_owned()
    }

    async fn observe(&self, _: &mut ()) -> Result<Observation, BoxError> {
        if self.0.load(SeqCst) {
            return Err("it shakes".into());
        }
        Ok(Observation::of(EndpointSet::new([at("s")], "")?).again_after(secs(5)))
    }
}

/// Tells as many endpoints as there are now, counts how often it was asked, and does not answer beyond 99.
#[derive(Clone, Default)]
struct Counted {
    endpoints: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Source for Counted {
    type State = ();

    fn name(&self) -> String {
        "the counted one".to_owned()
    }

    async fn observe(&self, _: &mut ()) -> Result<Observation, BoxError> {
        self.asked.fetch_add(1, SeqCst);
        tokio::time::sleep(secs(1)).await;
        match self.endpoints.load(SeqCst) {
            100.. => Err("it is away".into()),
            count => {
                let all = (0..count).map(|number| at(&format!("c-{number}")));
                Ok(Observation::of(EndpointSet::new(all, "")?).again_after(secs(600)))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_nothing_watches_is_asked_each_time_and_one_that_is_watched_is_not() {
    let backend = Counted::default();
    let provider = Provider::watching(Watched::new(backend.clone()));
    let is = |count| backend.endpoints.store(count, SeqCst);
    let list = async || provider.list(secs(5)).await.map(|set| set.len());
    is(3);
    assert_eq!(list().await.unwrap(), 3);
    // Few, none, and others: nothing is in use that would be kept.
    for count in [4, 1, 0, 5] {
        tokio::time::sleep(secs(60)).await;
        is(count);
        assert_eq!(list().await.unwrap(), count);
        assert_eq!(provider.health_all(secs(5)).await.unwrap().len(), count);
    }
    assert_eq!(provider.health("c-4", secs(5)).await.unwrap(), Some(Status::Unknown));
    assert_eq!(backend.asked.load(SeqCst), 5, "once for what is asked in a row");
    // What it told last, if it tells nothing; and that it is away is told as well.
    tokio::time::sleep(secs(60)).await;
    is(100);
    assert_eq!(list().await.unwrap(), 5);
    assert!(provider.connection_info().failures > 0);
    is(7);
    let mut sets = provider.discover();
    while sets.next().await.unwrap().len() != 7 {}
    let asked = backend.asked.load(SeqCst);
    is(8);
    assert_eq!(list().now_or_never().unwrap().unwrap(), 7, "that of the watch");
    assert_eq!(backend.asked.load(SeqCst), asked);
    // Many that list at once ask once.
    drop(sets);
    settle().await;
    let lists = futures::future::join_all((0..10).map(|_| list())).await;
    assert!(lists.into_iter().all(|count| count.unwrap() == 8));
    assert_eq!(backend.asked.load(SeqCst), asked + 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_the_failing_one_is_named_and_the_others_are_told() {
    let fails = Arc::new(AtomicBool::new(true));
    let providers = Providers::new();
    providers.add("good", a_list()).unwrap();
    let shaky = Provider::watching(Watched::new(Shaky(fails.clone())));
    providers.add("shaky", shaky.clone()).unwrap();
    let listed = providers.list_all(secs(2)).await;
    assert_eq!(listed["good"].as_ref().unwrap().len(), 2);
    let error = format!("{:#}", listed["shaky"].as_ref().unwrap_err());
    assert!(error.contains("the shaky one") && error.contains("it shakes"), "{error}");
    assert_eq!((providers.stats()["shaky"].failed, providers.stats()["good"].failed), (1, 0));
    let info = providers.connection_info();
    assert_eq!((&*info["good"].source, info["good"].is_running), ("a list", None));
    assert!(info["shaky"].failures > 0 && info["shaky"].last_error.is_some());
    let events = providers.events(100);
    let failed = events.iter().find(|(_, event)| event.kind == ProviderEventKind::Failed).unwrap();
    assert!(&*failed.0 == "shaky" && failed.1.error.is_some());
    // As soon as it answers.
    fails.store(false, SeqCst);
    assert_eq!(shaky.health("s", secs(60)).await.unwrap(), Some(Status::Unknown));
    assert_eq!(shaky.health("t", secs(60)).await.unwrap(), None);
    assert!(shaky.connection_info().last_error.is_none());
    // A registry that does nothing is named as well.
    providers.add("slow", in_memory(&MemoryRegistry::new())).unwrap();
    providers.get("slow").unwrap().register(at("a")).unwrap();
    let error = providers.close(std::time::Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("the provider `slow`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_comes_and_goes_once_whatever_the_number_of_users() {
    let list = Memory::new([at("a"), at("b")]).unwrap();
    let provider = Provider::new("a list", list.clone());
    let mut users = [provider.discover(), provider.discover()];
    for sets in &mut users {
        sets.next().await.unwrap();
    }
    list.insert(at("a").with_draining(true)).unwrap();
    list.remove("b");
    list.insert(at("c").with_status(Status::Critical)).unwrap();
    for sets in &mut users {
        sets.next().await.unwrap();
    }
    list.insert(at("a")).unwrap();
    list.insert(at("c")).unwrap();
    for sets in &mut users {
        sets.next().await.unwrap();
    }
    let told = |limit| {
        let events = provider.events(limit).into_iter();
        let lines = events.map(|of| format!("{} {}", of.endpoint.unwrap(), of.kind.as_str()));
        lines.collect::<Vec<_>>()
    };
    let all = [
        "a endpoint_up",
        "b endpoint_up",
        "a endpoint_down",
        "b endpoint_down",
        "a endpoint_up",
        "c endpoint_up",
    ];
    assert_eq!(told(100), all);
    assert_eq!(told(2), all[4..], "the newest, the oldest of them first");
    let stats = provider.stats();
    assert_eq!((stats.endpoints, stats.usable, stats.unknown), (2, 2, 2));
    for _ in 0..2_000 {
        list.remove("a");
        users[0].next().await.unwrap();
        list.insert(at("a")).unwrap();
        users[0].next().await.unwrap();
    }
    assert_eq!(provider.events(usize::MAX).len(), 1_024);
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_no_endpoint_that_it_went_because_another_user_looks() {
    let list = Memory::new([at("a"), at("b")]).unwrap();
    let provider = Provider::new("a list", list.clone());
    provider.register(at("own")).unwrap();
    let mut first = provider.discover();
    while keys(&first.next().await.unwrap()) != ["a", "b", "own"] {}
    let before = provider.events(100).len();
    // It has all at once, as the other one.
    let mut second = provider.discover();
    assert_eq!(keys(&second.next().await.unwrap()), ["a", "b", "own"]);
    assert!(second.next().now_or_never().is_none(), "it is the same");
    assert_eq!(provider.events(100).len(), before);
    // One user takes what is registered and what is found, and then the other.
    provider.register(at("new")).unwrap();
    list.insert(at("c")).unwrap();
    let all = ["a", "b", "c", "new", "own"];
    for sets in [&mut first, &mut second] {
        while keys(&sets.next().await.unwrap()) != all {}
    }
    let events = provider.events(100);
    let events: Vec<_> =
        events[before..].iter().map(|of| (of.kind, &**of.endpoint.as_ref().unwrap())).collect();
    use ProviderEventKind::{EndpointUp, Registered};
    assert_eq!(events[0], (Registered, "new"));
    let mut ups = events[1..].to_vec();
    ups.sort_by_key(|(_, key)| *key);
    assert_eq!(ups, [(EndpointUp, "c"), (EndpointUp, "new")]);
}

#[test]
fn features_are_those_that_work() {
    use ProviderFeature::{Announce, Find, Register, Status};
    assert_eq!(a_list().features(), [Find, Register]);
    let backend = MemoryRegistry::new();
    assert_eq!(in_memory(&backend).features(), [Find, Register, Announce]);
    let watched = Watched::new(Shaky(Arc::default()));
    let registry = Registry::new(backend);
    let whole = Provider::watching(watched).with_registry("tax", registry);
    assert_eq!(whole.features(), [Find, Register, Announce, Status]);
    let info = whole.connection_info();
    assert_eq!((&*info.source, info.is_running), ("the shaky one", Some(false)));
    assert!(info.registry.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_provider_feeds_a_balancer_which_does_not_keep_what_is_announced() {
    let backend = MemoryRegistry::new();
    let provider = in_memory(&backend);
    provider.register(at("tax-1")).unwrap();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(provider.clone(), RoundRobin::new()))
        .service(connect_fn(|endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(key.clone())))
        }));
    assert_eq!(service.clone().oneshot(()).await.unwrap(), "tax-1");
    settle().await;
    let mut sets = provider.discover();
    sets.next().await.unwrap();
    drop((service, provider));
    settle().await;
    assert!(backend.services().is_empty(), "the last handle is gone");
    drop(sets);
}
