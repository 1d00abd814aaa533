//! A provider over Kubernetes, for those that manage endpoints at run time. Kubernetes itself is only read.

use std::collections::BTreeSet;

use futures::StreamExt;
use tower::ServiceExt;
use tower_upstream::{
    Endpoint,
    discover::{
        Discover, Kubernetes, Memory, Provider, ProviderEventKind, ProviderFeature, Providers,
    },
    endpoint::Status,
};

use crate::{
    double::Double,
    objects::Pod,
    reading::config,
    sets::{calls, keys},
    support::{ms, secs},
};

#[tokio::test(start_paused = true)]
async fn endpoints_of_kubernetes_are_listed_and_judged_and_own_ones_are_known_here() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Terminating)]);
    double.asks_for_tokens(&["s3cret"]);
    let kubernetes = Kubernetes::new(config(&double).with_token("s3cret")).unwrap();
    let web = Provider::watching(kubernetes.service("web").unwrap());
    // What a service account may not do is no feature.
    assert_eq!(
        web.features(),
        [ProviderFeature::Find, ProviderFeature::Register, ProviderFeature::Status]
    );
    let set = web.list(secs(5)).await.unwrap();
    assert_eq!((keys(&set), set[1].is_draining()), (vec!["a", "b"], true));
    let health = web.health_all(secs(5)).await.unwrap();
    assert_eq!((health["a"], health["b"]), (Status::Passing, Status::Passing));
    assert_eq!(web.health("c", secs(5)).await.unwrap(), None);
    let stats = web.stats();
    assert_eq!((stats.endpoints, stats.usable, stats.passing, stats.own), (2, 1, 2, 0));

    // Its calls go where the cluster says: not to the one that ends.
    let service = calls(web.clone());
    let called = async || {
        let mut called = BTreeSet::new();
        for _ in 0..64 {
            called.insert(service.clone().oneshot(()).await.unwrap());
        }
        Vec::from_iter(called)
    };
    assert_eq!(called().await, ["a"]);

    let mut sets = web.discover();
    sets.next().await.unwrap();
    let own = Endpoint::new("10.9.0.9:80").unwrap().with_key("own").with_status(Status::Warning);
    web.register(own.clone()).unwrap();
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "b", "own"]);
    tokio::time::sleep(secs(1)).await;
    assert!(called().await.contains(&"own".to_owned()), "it gets calls at once");
    assert_eq!(web.health("own", secs(5)).await.unwrap(), Some(Status::Warning));
    web.update(own.with_status(Status::Critical)).unwrap();
    assert_eq!(sets.next().await.unwrap().get("own").unwrap().status(), Status::Critical);
    // What changes in the cluster is told beside it.
    double.web("web-1", &[("a", Pod::Ready), ("c", Pod::Ready)]);
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "c", "own"]);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(called().await, ["a", "c"], "the own one is critical");
    web.close(secs(5)).await.unwrap();
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "c"]);
    assert!(double.asked().iter().all(|asked| !asked.path.ends_with("/own")));

    let info = web.connection_info();
    assert!(info.source.contains("`default/web` in Kubernetes") && info.registry.is_none());
    assert_eq!((info.is_running, info.failures), (Some(true), 0));
    assert!(!format!("{web:?}{info:?}").contains("s3cret"));
}

#[tokio::test(start_paused = true)]
async fn of_several_clusters_the_one_that_fails_is_named_and_keeps_what_it_had() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let kubernetes = Kubernetes::new(config(&double)).unwrap();
    let providers = Providers::new();
    providers.add("list", Provider::new("a list", Memory::new(["b:1"]).unwrap())).unwrap();
    let here = Provider::watching(kubernetes.service("web").unwrap());
    providers.add("here", here.clone()).unwrap();
    let there = Provider::watching(kubernetes.service("shop/web").unwrap());
    let mut sets = here.discover();
    sets.next().await.unwrap();

    double.partition();
    double.cuts_watches();
    providers.add("there", there).unwrap();
    let listed = providers.list_all(secs(15)).await;
    assert_eq!(listed["list"].as_ref().unwrap().len(), 1);
    assert_eq!(keys(listed["here"].as_ref().unwrap()), ["a"], "the last set stays");
    let error = format!("{:#}", listed["there"].as_ref().unwrap_err());
    assert!(error.contains("`shop/web` in Kubernetes"), "{error}");
    let failed: Vec<_> = providers.stats().into_values().map(|stats| stats.failed).collect();
    assert_eq!(failed, [0, 0, 1], "here, list, there");
    let events = providers.events(100);
    let failed: Vec<_> =
        events.iter().filter(|(_, event)| event.kind == ProviderEventKind::Failed).collect();
    assert!(failed.len() == 1 && &*failed[0].0 == "there" && failed[0].1.error.is_some());

    double.heal();
    double.web("web-1", &[("a", Pod::Ready), ("c", Pod::Ready)]);
    assert_eq!(keys(&sets.next().await.unwrap()), ["a", "c"]);
    assert!(providers.list_all(secs(60)).await.values().all(Result::is_ok));
    tokio::time::sleep(ms(10)).await;
    let ups = here.events(100);
    let ups = ups.iter().filter(|event| event.kind == ProviderEventKind::EndpointUp);
    let ups: Vec<_> = ups.map(|event| event.endpoint.as_deref().unwrap()).collect();
    assert_eq!(ups, ["a", "c"]);
}
