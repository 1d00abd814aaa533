//! How Services are read.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::RoundRobin,
    connect_fn,
    discover::{
        Catalog, Difference, Discover, Kubernetes, KubernetesConfig, KubernetesFamily,
        KubernetesQuery, WatchStream, diff,
    },
    endpoint::Status,
};

use crate::{
    double::{Access, Double, expired},
    objects::{Objects, Pod, pod, slice},
    sets::{calls, expect, keys, next, quiet},
    support::{ms, secs},
};

pub fn config(double: &Double) -> KubernetesConfig {
    KubernetesConfig::default().with_address(double.url())
}

pub fn kubernetes(double: &Double) -> Kubernetes {
    Kubernetes::new(config(double)).unwrap()
}

fn web(double: &Double) -> WatchStream {
    kubernetes(double).service("web").unwrap().discover()
}

fn web_with(double: &Double, query: KubernetesQuery) -> WatchStream {
    kubernetes(double).service_with("web", query).unwrap().discover()
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_is_opened_every_few_minutes_and_tells_nothing() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b"]).await;
    quiet(&mut sets, secs(3_600)).await;
    assert_eq!(double.lists(), 1);
    let watches: Vec<_> = double.asked().into_iter().filter(|asked| asked.is_watch()).collect();
    assert!((12..=16).contains(&watches.len()), "{}", watches.len());
    for watch in &watches {
        assert_eq!(watch.one("allowWatchBookmarks"), Some("true"));
        assert_eq!(watch.one("resourceVersion"), Some("183"));
        let seconds: u64 = watch.one("timeoutSeconds").unwrap().parse().unwrap();
        assert!((240..=300).contains(&seconds), "{seconds}");
        assert_eq!(watch.accept.as_deref(), Some("application/json"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_quiet_is_not_too_old_and_one_that_cannot_be_asked_is() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let watch = config(&double).watch.with_max_stale(secs(180));
    let kubernetes = Kubernetes::new(config(&double).with_watch(watch)).unwrap();
    let mut sets = kubernetes.service("web").unwrap().discover();
    expect(&mut sets, &["a"]).await;
    quiet(&mut sets, secs(3_600)).await;
    // A bookmark is an answer.
    assert_eq!(double.lists(), 1);
    double.partition();
    let took = expect(&mut sets, &[]).await;
    assert!(took >= secs(110) && took <= secs(190), "{took:?}");
    double.heal();
    assert!(expect(&mut sets, &["a"]).await < secs(60));
}

#[tokio::test(start_paused = true)]
async fn what_joins_changes_drains_and_leaves_is_told_at_once() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(10)).await;
    double.web("web-2", &[("b", Pod::Ready)]);
    assert!(expect(&mut sets, &["a", "b"]).await < ms(200));
    double.web("web-1", &[("a", Pod::Terminating)]);
    let set = next(&mut sets).await;
    assert!(set.get("a").unwrap().is_draining() && !set.get("b").unwrap().is_draining());
    double.web("web-1", &[("a", Pod::NotReady)]);
    expect(&mut sets, &["b"]).await;
    // The last one, too: it was seen how it left.
    tokio::time::sleep(secs(10)).await;
    double.delete("web-2");
    assert!(expect(&mut sets, &[]).await < ms(200));
    assert_eq!((double.lists(), double.watches()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_changes_at_once_are_few_sets() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(1)).await;
    for number in 0..500 {
        let pods: Vec<(String, Pod)> =
            (0..=number % 9).map(|of| (format!("p{of}"), Pod::Ready)).collect();
        let pods: Vec<_> = pods.iter().map(|(uid, is)| (&**uid, *is)).collect();
        double.web("web-1", &pods);
    }
    let (start, mut count) = (Instant::now(), 0);
    while let Ok(Some(_)) = tokio::time::timeout(secs(5), sets.next()).await {
        count += 1;
    }
    assert!((1..=20).contains(&count), "{count} sets");
    assert!(start.elapsed() < secs(8));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_ends_gets_no_new_calls_while_others_are_ready_and_is_used_if_none_is() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let mut sets = endpoints.discover();
    let slow = Arc::new(Notify::new());
    let wait = slow.clone();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::new()))
        .service(connect_fn(move |endpoint: &Endpoint| {
            let (key, wait) = (endpoint.key().to_owned(), wait.clone());
            service_fn(move |is_slow: bool| {
                let (key, wait) = (key.clone(), wait.clone());
                async move {
                    if is_slow {
                        wait.notified().await;
                    }
                    Ok::<_, BoxError>(key)
                }
            })
        }));
    expect(&mut sets, &["a", "b"]).await;
    let call = || service.clone().oneshot(false);
    // One at each of them that takes its time.
    let mut in_flight: Vec<_> =
        (0..2).map(|_| tokio::spawn(service.clone().oneshot(true))).collect();
    tokio::time::sleep(secs(1)).await;
    double.web("web-1", &[("a", Pod::Terminating), ("b", Pod::Ready)]);
    next(&mut sets).await;
    tokio::time::sleep(ms(100)).await;
    for _ in 0..20 {
        assert_eq!(call().await.unwrap(), "b");
    }
    slow.notify_waiters();
    let mut ended = Vec::new();
    for call in in_flight.drain(..) {
        ended.push(call.await.unwrap().unwrap());
    }
    ended.sort();
    assert_eq!(ended, ["a", "b"], "what was in flight has ended");
    double.web("web-1", &[("a", Pod::Terminating), ("b", Pod::NotReady)]);
    let set = next(&mut sets).await;
    assert_eq!(keys(&set), ["a"]);
    assert_eq!((set[0].is_draining(), set[0].status()), (false, Status::Warning));
    tokio::time::sleep(ms(100)).await;
    assert_eq!(call().await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_over_is_listed_anew_and_only_differences_are_told() {
    for is_status in [false, true] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready), ("c", Pod::Ready)]);
        let endpoints = kubernetes(&double).service("web").unwrap();
        let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
        let service = calls(endpoints);
        let call = || service.clone().oneshot(());
        assert!(call().await.is_ok());
        let before = next(&mut sets).await;
        tokio::time::sleep(secs(30)).await;
        double.lists_take(secs(5));
        if is_status {
            // The watch ends, and the next one is answered with 410.
            double.objects(Objects::compact);
            double.tells_watches(&json!({"kind": "Status", "code": 410}).to_string());
        } else {
            double.expires_watches();
        }
        tokio::time::sleep(ms(1)).await;
        double.web("web-2", &[("d", Pod::Ready)]);
        // While it is listed, calls go on.
        let mut answered = Vec::new();
        for _ in 0..40 {
            answered.push(call().await.unwrap());
            tokio::time::sleep(ms(100)).await;
        }
        assert!(answered.iter().all(|key| key != "d"));
        assert!(["a", "b", "c"].iter().all(|of| answered.iter().any(|key| key == of)));
        let after = next(&mut sets).await;
        let changes: Vec<_> = diff(&before, &after).collect();
        assert!(matches!(&changes[..], [Difference::Insert(d)] if d.key() == "d"), "{changes:?}");
        assert_eq!((double.lists(), handle.failures()), (2, 0));
        double.lists_take(Duration::ZERO);
        double.delete("web-2");
        expect(&mut sets, &["a", "b", "c"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_with_410_before_it_begins_is_listed_anew() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready), ("c", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    let before = next(&mut sets).await;
    tokio::time::sleep(secs(70)).await;
    // Once it is no failure.
    double.refuses_watches_once((410, "Expired"));
    double.ends_watches();
    tokio::time::sleep(secs(1)).await;
    assert_eq!((double.lists(), handle.failures()), (2, 0));
    tokio::time::sleep(secs(70)).await;
    // It goes on neither after an end nor after a break, and what has changed is only in the list.
    for (number, cut) in [false, true].into_iter().enumerate() {
        double.refuses_watches(Some((410, "Expired")));
        if cut {
            double.cuts_watches()
        } else {
            double.ends_watches()
        }
        tokio::time::sleep(secs(5)).await;
        double.refuses_watches(None);
        let uid = format!("d{number}");
        double.web("web-2", &[(&uid, Pod::Ready)]);
        let after = loop {
            let set = next(&mut sets).await;
            assert!(["a", "b", "c"].iter().all(|of| set.get(of).is_some()), "{set:?}");
            if set.get(&uid).is_some() {
                break set;
            }
        };
        assert!(diff(&before, &after).all(|of| !matches!(of, Difference::Remove(_))));
        tokio::time::sleep(secs(70)).await;
        assert!(handle.last_error().is_none());
    }
    // One that refuses all of them is not asked all the time.
    double.refuses_watches(Some((410, "Gone")));
    double.ends_watches();
    let asked = double.asked().len();
    quiet(&mut sets, secs(600)).await;
    let asked = double.asked().len() - asked;
    assert!((40..=200).contains(&asked), "{asked}");
    let error = loop {
        match handle.last_error() {
            Some(error) => break error.to_string(),
            None => tokio::time::sleep(ms(10)).await,
        }
    };
    assert!(error.contains("(410)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_refused_is_not_asked_for_again() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    let mut lists = 1;
    for (code, is_new) in [(500, true), (400, true), (503, false), (504, false), (429, false)] {
        for is_event in [false, true] {
            tokio::time::sleep(secs(70)).await;
            let object = json!({"code": code, "message": "this watch ends"});
            if is_event {
                double.tells_watches(&json!({"type": "ERROR", "object": object}).to_string());
            } else {
                double.refuses_watches(Some((code, "InternalError")));
                double.ends_watches();
            }
            tokio::time::sleep(secs(1)).await;
            double.refuses_watches(None);
            tokio::time::sleep(secs(65)).await;
            assert!(handle.last_error().is_none(), "{code}");
            // The version that the list tells is refused once more within the second, if there was time for that.
            let listed = double.lists() - lists;
            assert_eq!(listed > 0, is_new, "{code}: {listed} lists");
            lists += listed;
        }
    }
    assert_eq!(keys(&handle.set().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_cannot_be_read_costs_neither_its_endpoints_nor_the_others() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    double.web("web-2", &[("b", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a", "b"]).await;
    tokio::time::sleep(secs(10)).await;
    let mut bad = slice("web", "web-2", 9001, Vec::new());
    bad["endpoints"] = json!([{"addresses": "10.0.0.1"}]);
    double.objects(|objects| objects.put(bad));
    double.web("web-3", &[("c", Pod::Ready)]);
    expect(&mut sets, &["a", "b", "c"]).await;
    // Also in a list.
    double.expires_watches();
    double.web("web-1", &[("d", Pod::Ready)]);
    loop {
        let set = next(&mut sets).await;
        assert!(set.get("b").is_some(), "{set:?}");
        if keys(&set) == ["b", "c", "d"] {
            break;
        }
    }
    // What came before the end is told before the list.
    tokio::time::sleep(secs(10)).await;
    assert!(double.lists() > 1 && handle.last_error().is_none());
    assert_eq!(keys(&handle.set().unwrap()), ["b", "c", "d"]);
    // And it is what it says as soon as it can be read.
    double.web("web-2", &[("e", Pod::Ready)]);
    expect(&mut sets, &["c", "d", "e"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lacks_most_endpoints_removes_them_only_when_it_is_confirmed() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready), ("c", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b", "c"]).await;
    tokio::time::sleep(secs(30)).await;
    double.web("web-1", &[("d", Pod::Ready)]);
    double.expires_watches();
    // What is new joins at once. What is gone may come back.
    let mut took = Duration::ZERO;
    loop {
        let start = Instant::now();
        let set = next(&mut sets).await;
        took += start.elapsed();
        if keys(&set) == ["d"] {
            break;
        }
        assert!(["a", "b", "c", "d"].iter().any(|of| set.get(of).is_some()));
    }
    assert!(took <= secs(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_leaves_just_after_the_cluster_was_not_well_leaves_once_that_is_confirmed() {
    for is_over in [true, false] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready), ("c", Pod::Ready)]);
        let mut sets = web(&double);
        expect(&mut sets, &["a", "b", "c"]).await;
        tokio::time::sleep(secs(30)).await;
        if is_over {
            double.expires_watches()
        } else {
            double.cuts_watches()
        }
        tokio::time::sleep(secs(2)).await;
        let pods = |is| [("a", is), ("b", Pod::NotReady), ("c", Pod::NotReady)];
        double.web("web-1", &pods(Pod::Ready));
        let took = expect(&mut sets, &["a"]).await;
        assert!(took > secs(4) && took < secs(12), "{is_over}: {took:?}");
        // Later it is seen how they leave.
        tokio::time::sleep(secs(30)).await;
        double.web("web-1", &pods(Pod::NotReady));
        assert!(expect(&mut sets, &[]).await < ms(200));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_silent_beyond_its_time_is_given_up() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(1)).await;
    double.partition();
    quiet(&mut sets, secs(235)).await;
    assert_eq!((handle.failures(), double.watches()), (0, 1));
    quiet(&mut sets, secs(90)).await;
    assert!(handle.failures() > 0 && handle.last_error().unwrap().is_timeout());
    double.heal();
    double.web("web-2", &[("b", Pod::Ready)]);
    assert!(expect(&mut sets, &["a", "b"]).await < secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_where_it_stood() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    for number in 0..10 {
        tokio::time::sleep(secs(70)).await;
        double.cuts_watches();
        let uid = format!("b{number}");
        double.web("web-2", &[(&uid, Pod::Ready)]);
        let took = expect(&mut sets, &["a", &uid]).await;
        assert!(took < ms(600), "{took:?}");
    }
    tokio::time::sleep(secs(5)).await;
    assert!(handle.last_error().is_none());
    assert_eq!((double.lists(), double.watches()), (1, 11));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_opened_at_once_where_it_stood() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(70)).await;
    double.ends_watches();
    double.web("web-2", &[("b", Pod::Ready)]);
    assert!(expect(&mut sets, &["a", "b"]).await < ms(200));
    tokio::time::sleep(secs(1)).await;
    assert_eq!((double.lists(), double.watches(), handle.failures()), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_moves_the_place_from_which_a_watch_goes_on() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(10)).await;
    // What changes elsewhere is told by bookmarks alone.
    double.objects(|objects| objects.put(slice("tax", "tax-1", 80, Vec::new())));
    tokio::time::sleep(secs(60)).await;
    double.objects(Objects::compact);
    double.ends_watches();
    tokio::time::sleep(secs(5)).await;
    double.web("web-1", &[("b", Pod::Ready)]);
    expect(&mut sets, &["b"]).await;
    assert_eq!((double.lists(), double.watches()), (1, 2));
    assert_eq!(double.asked().last().unwrap().one("resourceVersion"), Some("184"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_asked_with_growing_waits() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    let start = Instant::now();
    while start.elapsed() < secs(600) {
        double.ends_watches();
        tokio::time::sleep(ms(20)).await;
    }
    assert!((20..=90).contains(&double.watches()), "{}", double.watches());
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("ends the watch after"), "{error}");
    assert_eq!(keys(&handle.set().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_all_at_once_is_not_asked_all_the_time() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    let start = Instant::now();
    while start.elapsed() < secs(600) {
        double.tells_watches(&expired("too old resource version"));
        tokio::time::sleep(ms(20)).await;
    }
    assert!((20..=180).contains(&double.lists()), "{}", double.lists());
    assert_eq!(keys(&handle.set().unwrap()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_of_the_future_as_after_a_restored_backup_is_noticed() {
    let double = Double::start().await;
    double.objects(|objects| objects.revision = 100_000);
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b"]).await;
    tokio::time::sleep(secs(30)).await;
    double.stop().await;
    double.objects(|objects| *objects = Objects::default());
    double.web("web-1", &[("a", Pod::Ready), ("c", Pod::Ready)]);
    double.restart().await;
    // The watch tells nothing of what is before its version, and no bookmark.
    let took = expect(&mut sets, &["a", "c"]).await;
    assert!(took < secs(340), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_comes_in_pages_and_at_once_if_they_are_over() {
    let double = Double::start().await;
    for number in 0..1_200 {
        let slice = slice(
            "web",
            &format!("web-{number:04}"),
            80,
            vec![pod(
                &format!("u-{number:04}"),
                &format!("10.1.{}.{}", number / 250, number % 250),
                Pod::Ready,
            )],
        );
        double.objects(|objects| objects.put(slice));
    }
    let mut sets = web(&double);
    assert_eq!(next(&mut sets).await.len(), 1_200);
    let pages: Vec<_> = double.asked().into_iter().filter(|asked| !asked.is_watch()).collect();
    assert_eq!(pages.len(), 3);
    assert!(pages.iter().all(|asked| asked.one("limit") == Some("500")));
    assert!(pages[0].one("continue").is_none() && pages[2].one("continue").is_some());
    // The first page takes so long that the next one is over.
    let double = Arc::new(double);
    double.lists_take(secs(4));
    let compacts = double.clone();
    tokio::spawn(async move {
        tokio::time::sleep(secs(6)).await;
        compacts.web("web-0000", &[("u-0000", Pod::Ready)]);
        tokio::time::sleep(ms(100)).await;
        compacts.objects(Objects::compact);
    });
    let mut sets = web(&double);
    assert_eq!(next(&mut sets).await.len(), 1_200);
    let last = double.asked().into_iter().rfind(|asked| !asked.is_watch()).unwrap();
    assert!(last.one("limit").is_none() && last.one("continue").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_at_once_may_come_in_pages_all_the_same() {
    let double = Arc::new(Double::start().await);
    for (name, uid) in [("web-1", "a"), ("web-2", "b"), ("web-3", "c")] {
        double.web(name, &[(uid, Pod::Ready)]);
    }
    double.pages_have(2);
    double.lists_take(secs(4));
    let compacts = double.clone();
    tokio::spawn(async move {
        tokio::time::sleep(secs(6)).await;
        compacts.web("web-3", &[("c", Pod::Ready)]);
        compacts.objects(Objects::compact);
    });
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b", "c"]).await;
    let asked: Vec<_> = double.asked().into_iter().filter(|asked| !asked.is_watch()).collect();
    let asked = asked.iter().map(|of| (of.one("limit").is_some(), of.one("continue").is_some()));
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked, [(true, false), (true, true), (false, false), (false, true)]);
}

#[tokio::test(start_paused = true)]
async fn errors_take_no_endpoint_away_and_none_reaches_the_balancer() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let handle = endpoints.handle();
    let service = calls(endpoints);
    let call = || service.clone().oneshot(());
    assert_eq!(call().await.unwrap(), "a");
    for (status, body) in [
        (500, "etcdserver: no leader"),
        (429, ""),
        (503, ""),
        (504, "{}"),
        (404, ""),
        (200, "{"),
        (200, ""),
    ] {
        double.answers(Some((status, body)));
        double.cuts_watches();
        let failed = handle.failures();
        tokio::time::sleep(secs(120)).await;
        assert!(handle.failures() > failed, "{status} {body}");
        assert_eq!(call().await.unwrap(), "a");
    }
    double.answers(None);
    double.partition();
    double.cuts_watches();
    tokio::time::sleep(secs(400)).await;
    assert!(handle.last_error().unwrap().is_timeout(), "{:#}", handle.last_error().unwrap());
    assert_eq!(call().await.unwrap(), "a");
    double.heal();
    tokio::time::sleep(secs(60)).await;
    assert!(handle.last_error().is_none());
    // An error that is told within a watch.
    double.tells_watches(r#"{"type":"ERROR","object":{"code":503,"message":"no leader"}}"#);
    tokio::time::sleep(ms(50)).await;
    assert!(handle.last_error().unwrap().to_string().contains("no leader"));
    tokio::time::sleep(secs(60)).await;
    assert!(handle.last_error().is_none());
    assert_eq!(call().await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_ten_minutes_is_asked_with_growing_waits() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    double.stop().await;
    quiet(&mut sets, secs(600)).await;
    assert!((20..=90).contains(&handle.failures()), "{}", handle.failures());
    double.web("web-2", &[("b", Pod::Ready)]);
    double.restart().await;
    assert!(expect(&mut sets, &["a", "b"]).await < secs(31));
    // It was cut off, but knows where it stood.
    assert_eq!(double.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_back_is_obeyed() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    for status in [429, 503] {
        double.answers_with(status, ("retry-after", "40"));
        double.cuts_watches();
        tokio::time::sleep(secs(5)).await;
        let asked = double.asked().len();
        tokio::time::sleep(secs(34)).await;
        assert_eq!(double.asked().len(), asked, "{status}");
        double.answers(None);
        tokio::time::sleep(secs(60)).await;
        assert!(double.asked().len() > asked);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_look_endpoints_stay_and_it_is_asked_every_30_seconds() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    double.is(Access::Forbidden);
    double.cuts_watches();
    let before = double.asked().len();
    quiet(&mut sets, secs(600)).await;
    let asked = double.asked().len() - before;
    assert!((15..=21).contains(&asked), "{asked}");
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("cannot list resource") && error.contains("grant"), "{error}");
    double.is(Access::Open);
    double.web("web-2", &[("b", Pod::Ready)]);
    assert!(expect(&mut sets, &["a", "b"]).await < secs(60));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_listed_and_not_watched_is_listed_every_30_seconds() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    double.refuses_watches(Some((403, "Forbidden")));
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    for uid in ["b", "c", "d"] {
        tokio::time::sleep(secs(70)).await;
        double.web("web-2", &[(uid, Pod::Ready)]);
        assert!(expect(&mut sets, &["a", uid]).await < secs(31));
    }
    quiet(&mut sets, secs(600)).await;
    // Which is told all the same.
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("403") && error.contains("`watch`"), "{error}");
    assert!((24..=30).contains(&double.lists()), "{}", double.lists());
    // With the right to watch nothing is late any more.
    double.refuses_watches(None);
    tokio::time::sleep(secs(70)).await;
    let lists = double.lists();
    double.web("web-2", &[("e", Pod::Ready)]);
    assert!(expect(&mut sets, &["a", "e"]).await < ms(200));
    assert_eq!((double.lists(), handle.last_error().is_none()), (lists, true));
}

#[tokio::test(start_paused = true)]
async fn where_only_lists_get_through_they_are_asked_for_all_the_same() {
    for is_held in [true, false] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready)]);
        let fails = |fails: bool| match is_held {
            true => double.holds_watches(fails),
            false => double.refuses_watches(fails.then_some((504, "Timeout"))),
        };
        fails(true);
        let endpoints = kubernetes(&double).service("web").unwrap();
        let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
        expect(&mut sets, &["a"]).await;
        for number in 0..5 {
            let uid = format!("b{number}");
            double.web("web-2", &[(&uid, Pod::Ready)]);
            assert!(expect(&mut sets, &["a", &uid]).await < secs(100), "{is_held} {number}");
            tokio::time::sleep(secs(120)).await;
        }
        while handle.last_error().is_none() {
            tokio::time::sleep(secs(1)).await;
        }
        assert!(double.asked().len() < 150, "{}", double.asked().len());
        fails(false);
        tokio::time::sleep(secs(60)).await;
        double.web("web-2", &[("c", Pod::Ready)]);
        assert!(expect(&mut sets, &["a", "c"]).await < ms(200));
        assert!(handle.last_error().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_begin_is_tried_for_30_seconds_each_time_before_all_is_listed() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let mut sets = endpoints.discover();
    expect(&mut sets, &["a"]).await;
    for round in 0..3 {
        let lists = double.lists();
        double.refuses_watches(Some((504, "Timeout")));
        double.cuts_watches();
        quiet(&mut sets, secs(25)).await;
        assert_eq!(double.lists(), lists, "{round}");
        quiet(&mut sets, secs(275)).await;
        assert!((1..=7).contains(&(double.lists() - lists)), "{}", double.lists() - lists);
        double.refuses_watches(None);
        quiet(&mut sets, secs(60)).await;
        assert!(endpoints.handle().last_error().is_none());
    }
}

/// Slices of a port with another name.
fn other_port(name: &str, pods: &[(&str, &str)]) -> Value {
    let pods = pods.iter().map(|(uid, host)| pod(uid, host, Pod::Ready)).collect();
    let mut slice = slice("web", name, 9001, pods);
    slice["ports"][0]["name"] = json!("web");
    slice
}

#[tokio::test(start_paused = true)]
async fn what_leaves_leaves_though_nothing_that_is_left_has_the_port() {
    let double = Double::start().await;
    let (old, new) = (pod("old", "10.0.0.1", Pod::Ready), [("new", "10.0.0.2")]);
    double.objects(|objects| objects.put(slice("web", "web-1", 9001, vec![old.clone()])));
    let query = KubernetesQuery::default().with_port("http");
    let endpoints = kubernetes(&double).service_with("web", query).unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["old"]).await;
    tokio::time::sleep(secs(30)).await;
    // The pods of a new version have no such port, and those of the old one go.
    double.objects(|objects| objects.put(other_port("web-2", &new)));
    quiet(&mut sets, secs(30)).await;
    double.delete("web-1");
    assert!(expect(&mut sets, &[]).await < ms(200));
    quiet(&mut sets, secs(60)).await;
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("no port `http`"), "{error}");
    // They come back.
    double.objects(|objects| objects.put(slice("web", "web-1", 9001, vec![old])));
    assert!(expect(&mut sets, &["old"]).await < secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_renamed_takes_no_endpoint_along_but_those_that_leave() {
    let double = Double::start().await;
    let pods = [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")];
    let all = pods.map(|(uid, host)| pod(uid, host, Pod::Ready));
    double.objects(|objects| objects.put(slice("web", "web-1", 9001, all.to_vec())));
    let query = KubernetesQuery::default().with_port("http");
    let endpoints = kubernetes(&double).service_with("web", query).unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a", "b", "c"]).await;
    tokio::time::sleep(secs(30)).await;
    // They listen where they did.
    double.objects(|objects| objects.put(other_port("web-1", &pods)));
    quiet(&mut sets, secs(60)).await;
    assert!(handle.last_error().unwrap().to_string().contains("`web` (9001)"));
    double.objects(|objects| objects.put(other_port("web-2", &[("d", "10.0.0.4")])));
    quiet(&mut sets, secs(60)).await;
    // What is listed anew knows what it had.
    double.objects(|objects| {
        objects.put(slice("web", "web-3", 9001, vec![pod("e", "10.0.0.5", Pod::Ready)]))
    });
    assert!(expect(&mut sets, &["a", "b", "c", "e"]).await < secs(31));
    tokio::time::sleep(secs(30)).await;
    assert!(handle.last_error().is_none());
    double.objects(|objects| objects.put(other_port("web-1", &pods[1..])));
    assert!(expect(&mut sets, &["b", "c", "e"]).await < ms(200));
    double.delete("web-1");
    assert!(expect(&mut sets, &["e"]).await < ms(200));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_moves_from_one_slice_to_another_never_leaves() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b"]).await;
    // It is in both, and the old one tells less.
    double.web("web-2", &[("b", Pod::Ready), ("c", Pod::Ready)]);
    expect(&mut sets, &["a", "b", "c"]).await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Terminating)]);
    double.web("web-1", &[("a", Pod::Ready)]);
    quiet(&mut sets, secs(10)).await;
    double.delete("web-1");
    expect(&mut sets, &["b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_of_both_families_has_each_pod_once() {
    let double = Double::start().await;
    for (name, kind, hosts) in [
        ("web-4", "IPv4", [("a", "10.0.0.1"), ("b", "10.0.0.2")]),
        ("web-6", "IPv6", [("a", "fd00::1"), ("c", "fd00::3")]),
    ] {
        let pods = hosts.map(|(uid, host)| pod(uid, host, Pod::Ready));
        let mut slice = slice("web", name, 80, pods.to_vec());
        slice["addressType"] = json!(kind);
        double.objects(|objects| objects.put(slice));
    }
    for (family, expected) in [
        (KubernetesFamily::PreferIpv4, &["10.0.0.1:80", "10.0.0.2:80", "[fd00::3]:80"][..]),
        (KubernetesFamily::PreferIpv6, &["[fd00::1]:80", "10.0.0.2:80", "[fd00::3]:80"][..]),
        (KubernetesFamily::OnlyIpv4, &["10.0.0.1:80", "10.0.0.2:80"][..]),
        (KubernetesFamily::OnlyIpv6, &["[fd00::1]:80", "[fd00::3]:80"][..]),
    ] {
        let query = KubernetesQuery::default().with_family(family);
        let set = next(&mut web_with(&double, query)).await;
        let addresses: Vec<_> = set.iter().map(|of| of.address().as_str()).collect();
        assert_eq!(addresses, expected, "{family:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_is_chosen_by_its_name_and_one_that_is_not_there_is_told() {
    let double = Double::start().await;
    let mut both = slice("web", "web-1", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]);
    both["ports"] = json!([{"name": "grpc", "port": 9000, "appProtocol": "grpc"}, {"name": "http", "port": 80}]);
    double.objects(|objects| objects.put(both));
    for (port, expected) in
        [(None, "10.0.0.1:80"), (Some("grpc"), "grpc://10.0.0.1:9000"), (Some("80"), "10.0.0.1:80")]
    {
        let mut query = KubernetesQuery::default();
        query.port = port.map(str::to_owned);
        let set = next(&mut web_with(&double, query)).await;
        assert_eq!(set[0].address().as_str(), expected);
    }
    let query = KubernetesQuery::default().with_port("admin");
    let endpoints = kubernetes(&double).service_with("web", query).unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    quiet(&mut sets, secs(60)).await;
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("`admin`") && error.contains("`grpc` (9000)"), "{error}");
    // Once it is there, it is found.
    let mut third = slice("web", "web-1", 81, vec![pod("a", "10.0.0.1", Pod::Ready)]);
    third["ports"][0]["name"] = json!("admin");
    double.objects(|objects| objects.put(third));
    assert!(expect(&mut sets, &["a"]).await < secs(31));
}

#[tokio::test(start_paused = true)]
async fn an_external_name_is_one_endpoint_until_the_service_has_slices() {
    let double = Double::start().await;
    let service = json!({"kind": "Service", "spec": {"type": "ExternalName", "externalName": "db.example.com",
                         "ports": [{"port": 5432}]}});
    double.objects(|objects| objects.put_service("default", "web", service));
    let mut sets = web(&double);
    let set = next(&mut sets).await;
    assert_eq!((set.len(), set[0].address().as_str()), (1, "db.example.com:5432"));
    assert_eq!(set[0].metadata().get("name").map(String::as_str), Some("web"));
    quiet(&mut sets, secs(600)).await;
    double.web("web-1", &[("a", Pod::Ready)]);
    expect(&mut sets, &["a"]).await;
    // Without them it may be anything, which is looked at when the watch ends.
    double.delete("web-1");
    expect(&mut sets, &[]).await;
    expect(&mut sets, &["db.example.com:5432"]).await;
    // One that must not be seen is one without endpoints.
    let double = Double::start().await;
    double.is(Access::OnlySlices);
    let mut sets = web(&double);
    assert!(next(&mut sets).await.is_empty());
    double.is(Access::Open);
    let service = json!({"spec": {"type": "ExternalName", "externalName": "db.example.com"}});
    double.objects(|objects| objects.put_service("default", "web", service));
    let handle = kubernetes(&double);
    let query = KubernetesQuery::default().with_port("5432");
    let mut sets = handle.service_with("web", query).unwrap().discover();
    assert_eq!(next(&mut sets).await[0].address().as_str(), "db.example.com:5432");
}

#[tokio::test(start_paused = true)]
async fn an_external_name_that_must_not_be_seen_for_a_moment_stays_until_it_is_gone() {
    let double = Double::start().await;
    let service = json!({"spec": {"type": "ExternalName", "externalName": "db.example.com", "ports": [{"port": 5432}]}});
    double.objects(|objects| objects.put_service("default", "web", service));
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    let name = ["db.example.com:5432"];
    expect(&mut sets, &name).await;
    // As while a server starts.
    tokio::time::sleep(secs(70)).await;
    double.is(Access::OnlySlices);
    double.ends_watches();
    quiet(&mut sets, secs(600)).await;
    assert!(handle.last_error().unwrap().to_string().contains("403"));
    double.is(Access::Open);
    quiet(&mut sets, secs(600)).await;
    assert!(handle.last_error().is_none());
    double.objects(|objects| objects.services.clear());
    double.ends_watches();
    expect(&mut sets, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_has_its_zone_and_the_zones_that_it_is_meant_for() {
    let double = Double::start().await;
    let mut meant = pod("a", "10.0.0.1", Pod::Ready);
    meant["hints"] = json!({"forZones": [{"name": "eu-1a"}, {"name": "eu-1b"}]});
    meant["zone"] = json!("eu-1b");
    double.objects(|objects| objects.put(slice("web", "web-1", 80, vec![meant])));
    let set = next(&mut web(&double)).await;
    assert_eq!(set[0].zone_hints(), ["eu-1a", "eu-1b"]);
    assert_eq!(set[0].locality().zone, "eu-1b");
}

#[tokio::test(start_paused = true)]
async fn services_and_instances_of_a_namespace_are_found() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::NotReady)]);
    double.objects(|objects| {
        objects.put(slice("tax", "tax-1", 80, vec![pod("t", "10.9.0.1", Pod::Ready)]));
        let mut elsewhere = slice("other", "o-1", 80, vec![]);
        elsewhere["metadata"]["namespace"] = json!("shop");
        objects.put(elsewhere);
    });
    let kubernetes = kubernetes(&double);
    assert_eq!(kubernetes.list_services().await.unwrap(), ["tax", "web"]);
    let found = kubernetes.find_instance("t").await.unwrap().unwrap();
    assert_eq!((found.service(), found.endpoint().address().as_str()), ("tax", "10.9.0.1:80"));
    let found = kubernetes.find_instance("b").await.unwrap().unwrap();
    assert_eq!(found.endpoint().status(), Status::Critical);
    assert!(kubernetes.find_instance("none").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn all_balancers_of_a_service_share_one_watch() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let kubernetes = kubernetes(&double);
    let mut all: Vec<_> = (0..20).map(|_| kubernetes.service("web").unwrap().discover()).collect();
    for sets in &mut all {
        expect(sets, &["a"]).await;
    }
    tokio::time::sleep(secs(1)).await;
    assert_eq!((double.lists(), double.watches()), (1, 1));
}
