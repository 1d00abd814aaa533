//! Services that tell over HTTP what they are, in this process: on a paused clock.
#![cfg(feature = "http")]
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod server;
mod story;
#[path = "../support/mod.rs"]
mod support;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use futures::{FutureExt, StreamExt};
use server::{Answer, DISCOVERY, MANIFEST, Server};
use support::{ms, secs, settle};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::RoundRobin,
    connect_fn,
    discover::{
        Catalog, Discover, EndpointSet, Farp, FarpConfig, Filtered, WatchStream, Watched, farp,
    },
    endpoint::Status,
    error::Kind,
};

fn document(id: &str, port: u16) -> String {
    format!(
        r#"{{"service_id":"{id}","service_name":"tax","address":"0.0.0.0","port":{port},"farp_enabled":true}}"#
    )
}

fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

async fn next(sets: &mut WatchStream) -> EndpointSet {
    tokio::time::timeout(secs(600), sets.next()).await.expect("no news").unwrap()
}

fn watch(servers: &[&Server], config: FarpConfig) -> Watched<Farp> {
    let farp = Farp::new(servers.iter().map(|server| server.url())).unwrap();
    Watched::new(farp.with_config(config))
}

/// What went wrong last, with all its causes.
async fn error_of(server: &Server) -> String {
    let endpoints = farp([server.url()]).unwrap();
    let error = endpoints.first_snapshot(secs(2)).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |of| of.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test(start_paused = true)]
async fn a_document_is_asked_for_at_its_path_and_its_address_is_that_of_the_seed() {
    let server = Server::of(&document("tax-1", 0)).await;
    let endpoints = farp([format!("{}/", server.url())]).unwrap();
    let set = endpoints.first_snapshot(secs(5)).await.unwrap();
    let tax = &set[0];
    assert_eq!((tax.key(), tax.address().as_str()), ("tax-1", &*server.url()));
    assert_eq!(tax.metadata()["farp.manifest"], format!("{}/_farp/manifest", server.url()));
    let asked = server.asked();
    assert_eq!((asked.len(), &*asked[0].path), (1, DISCOVERY));
    assert_eq!(asked[0].headers["accept"], "application/json");
    assert_eq!(asked[0].headers["host"], server.address.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_fails_twice_never_disappears_and_a_changed_port_is_one_change() {
    let (tax, other) = (Server::of(&document("1", 80)).await, Server::of(&document("2", 80)).await);
    let endpoints = watch(&[&tax, &other], FarpConfig::default());
    let mut sets = endpoints.discover();
    assert_eq!(keys(&next(&mut sets).await), ["1", "2"]);
    tax.does(DISCOVERY, Answer::Closes);
    tax.asked();
    tokio::time::sleep(secs(22)).await;
    assert_eq!(tax.asked().len(), 2);
    tax.tells(&document("1", 81));
    tokio::time::sleep(secs(60)).await;
    let set = sets.next().now_or_never().unwrap().unwrap();
    assert_eq!(keys(&set), ["1", "2"]);
    assert_eq!(set[0].address().port(), Some(81));
    assert!(sets.next().now_or_never().is_none(), "one change");
}

#[tokio::test(start_paused = true)]
async fn the_third_failure_in_a_row_removes_one_of_several() {
    let (tax, other) = (Server::of(&document("1", 80)).await, Server::of(&document("2", 80)).await);
    let endpoints = watch(&[&tax, &other], FarpConfig::default());
    let mut sets = endpoints.discover();
    next(&mut sets).await;
    let start = Instant::now();
    tax.does(DISCOVERY, Answer::Hangs);
    assert_eq!(keys(&next(&mut sets).await), ["2"]);
    assert!((secs(30)..secs(50)).contains(&start.elapsed()), "{:?}", start.elapsed());
    tax.tells(&document("1", 80));
    assert_eq!(keys(&next(&mut sets).await), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_names_no_time_says_none() {
    let tax = Server::of(&document("1", 80)).await;
    tax.does(DISCOVERY, Answer::Closes);
    let endpoints = watch(&[&tax], FarpConfig::default());
    endpoints.first_snapshot(secs(1)).await.unwrap_err();
    let said = endpoints.handle().last_error().unwrap().to_string();
    assert!(said.contains("seed `http://127.0.0.1:") && !said.contains("retry after"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn while_all_seeds_fail_all_endpoints_stay_and_no_call_fails() {
    let (tax, other) = (Server::of(&document("1", 80)).await, Server::of(&document("2", 80)).await);
    let endpoints = watch(&[&tax, &other], FarpConfig::default());
    let handle = endpoints.handle();
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(Filtered::service(endpoints, "tax"), RoundRobin::new()))
        .service(connect_fn(|_: &Endpoint| service_fn(async |n: u32| Ok::<_, BoxError>(n))));
    for round in 0..600 {
        stack.clone().oneshot(7).await.unwrap();
        tokio::time::sleep(secs(1)).await;
        if round == 20 {
            for server in [&tax, &other] {
                server.does(DISCOVERY, Answer::Closes);
            }
        }
    }
    assert!(handle.last_error().unwrap().to_string().contains("seed `http://127.0.0.1:"));
    assert!(handle.staleness().unwrap() > secs(550));
    let polls = tax.asked().len();
    assert!((40..70).contains(&polls), "{polls}");
    for server in [&tax, &other] {
        server.tells(&document(&server.address.to_string(), 80));
    }
    tokio::time::sleep(secs(40)).await;
    assert!(handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn seeds_that_come_back_together_lose_none_of_them() {
    let mut servers = Vec::new();
    for id in ["1", "2", "3"] {
        servers.push((Server::of(&document(id, 80)).await, id));
    }
    let seeds: Vec<&Server> = servers.iter().map(|(server, _)| server).collect();
    let endpoints = watch(&seeds, FarpConfig::default());
    let mut sets = endpoints.discover();
    assert_eq!(next(&mut sets).await.len(), 3);
    for silence in [secs(100), secs(101), secs(103), secs(107)] {
        for server in &seeds {
            server.does(DISCOVERY, Answer::Closes);
        }
        tokio::time::sleep(silence).await;
        for (server, id) in &servers {
            server.tells(&document(id, 80));
        }
        tokio::time::sleep(secs(60)).await;
        assert!(endpoints.handle().last_error().is_none());
        assert!(sets.next().now_or_never().is_none(), "another set after {silence:?} of silence");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_is_not_sent_again() {
    let server = Server::start().await;
    server.does(DISCOVERY, Answer::Tagged("\"a\"", document("1", 80)));
    let endpoints = farp([server.url()]).unwrap();
    let mut sets = endpoints.discover();
    next(&mut sets).await;
    tokio::time::sleep(secs(25)).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].headers.get("if-none-match").is_none());
    assert!(asked[1..].iter().all(|of| of.headers["if-none-match"] == "\"a\""));
    assert!(endpoints.handle().staleness().unwrap() < secs(12));
    server.does(DISCOVERY, Answer::Tagged("\"b\"", document("1", 81)));
    assert_eq!(next(&mut sets).await[0].address().port(), Some(81));
}

#[tokio::test(start_paused = true)]
async fn a_seed_may_ask_for_more_time() {
    let told = document("1", 80);
    for (answer, least) in [
        (Answer::Is(200, &[("cache-control", "public, max-age=60")], told.clone()), 60),
        (Answer::Is(429, &[("retry-after", "60")], String::new()), 54),
        (Answer::Is(200, &[("cache-control", "max-age=1")], told), 9),
    ] {
        let server = Server::start().await;
        server.does(DISCOVERY, answer.clone());
        let other = Server::of(&document("2", 80)).await;
        let endpoints = watch(&[&server, &other], FarpConfig::default());
        let mut sets = endpoints.discover();
        next(&mut sets).await;
        tokio::time::sleep(secs(150)).await;
        let asked = server.asked();
        let waits = asked.windows(2).map(|two| two[1].at - two[0].at);
        let (shortest, longest) = (waits.clone().min().unwrap(), waits.max().unwrap());
        assert!(shortest >= secs(least) && longest < secs(least + 20), "{answer:?}: {shortest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_at_the_same_server_alone() {
    let (server, elsewhere) = (Server::start().await, Server::of(&document("evil", 80)).await);
    server.does(DISCOVERY, Answer::Is(302, &[("location", "/told")], String::new()));
    server.does("/told", Answer::Is(200, &[], document("1", 80)));
    let set = farp([server.url()]).unwrap().first_snapshot(secs(5)).await.unwrap();
    assert_eq!(keys(&set), ["1"]);

    let there: &'static str = format!("{}/x", elsewhere.url()).leak();
    let cases: [&'static [(&'static str, &'static str)]; 3] = [
        vec![("location", there)].leak(),
        &[("location", "http://169.254.169.254/latest/meta-data")],
        &[],
    ];
    for headers in cases {
        server.does(DISCOVERY, Answer::Is(307, headers, String::new()));
        let error = error_of(&server).await;
        assert!(error.contains("not at the same host and port"), "{error}");
    }
    assert!(elsewhere.asked().is_empty());
    server.asked();
    server.does(DISCOVERY, Answer::Is(302, &[("location", DISCOVERY)], String::new()));
    let error = error_of(&server).await;
    assert!(error.contains("redirects more than 3 times"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_hostile_answer_is_refused_with_an_error_that_names_seed_and_limit() {
    let server = Server::start().await;
    let deep = "[".repeat(1 << 19);
    for (answer, what) in [
        (Answer::Endless, "longer than 1048576 bytes"),
        (Answer::Long(10 << 20), "longer than 1048576 bytes"),
        (Answer::Is(200, &[], deep), "cannot be read"),
        (
            Answer::Is(200, &[], r#"{"service_name":"#.to_owned() + &"[".repeat(1 << 18)),
            "cannot be read",
        ),
        (Answer::Is(200, &[], "{}".to_owned()), "no `service_name`"),
        (Answer::Is(500, &[], String::new()), "500"),
        (Answer::Closes, "seed"),
    ] {
        server.does(DISCOVERY, answer);
        let error = error_of(&server).await;
        assert!(error.contains(&format!("seed `{}`", server.url())), "{error}");
        assert!(error.contains(what), "{error}");
    }
    server.does(DISCOVERY, Answer::Hangs);
    let config = FarpConfig::default().with_timeout(ms(700));
    let start = Instant::now();
    let endpoints = watch(&[&server], config);
    drop(endpoints.first_snapshot(secs(1)).await.unwrap_err());
    assert_eq!(start.elapsed(), secs(1));
    let error = endpoints.handle().last_error().unwrap();
    assert_eq!(error.kind(), Kind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn ten_seeds_are_polled_at_once() {
    let server = Server::start().await;
    let urls: Vec<_> = (0..35).map(|of| format!("{}/{of}", server.url())).collect();
    for of in 0..35 {
        let answer = if of % 2 == 0 {
            Answer::Hangs
        } else {
            Answer::Is(200, &[], document(&of.to_string(), 80))
        };
        server.does(&format!("/{of}{DISCOVERY}"), answer);
    }
    let start = Instant::now();
    let set = farp(urls).unwrap().first_snapshot(secs(60)).await.unwrap();
    assert_eq!(set.len(), 17);
    assert_eq!(server.most_waiting.load(SeqCst), 10);
    assert!(start.elapsed() <= secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_registered_yet_is_not_there_and_its_process_is() {
    let server = Server::start().await;
    let not_yet = r#"{"error":"service not registered","farp_enabled":true,"backend":"memory"}"#;
    server.does(DISCOVERY, Answer::Is(503, &[], not_yet.to_owned()));
    let endpoints = watch(&[&server], FarpConfig::default().with_interval(secs(1)));
    let mut sets = endpoints.discover();
    assert!(next(&mut sets).await.is_empty());
    assert!(endpoints.handle().last_error().is_none());
    server.tells(&document("1", 80));
    assert_eq!(keys(&next(&mut sets).await), ["1"]);
    server.does(DISCOVERY, Answer::Is(503, &[], not_yet.to_owned()));
    let start = Instant::now();
    assert!(next(&mut sets).await.is_empty());
    // Three failures, and the grace of an empty answer.
    assert!((secs(12)..secs(16)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_first_of_two_seeds_with_one_id_counts() {
    let (first, second) =
        (Server::of(&document("1", 80)).await, Server::of(&document("1", 81)).await);
    let endpoints = watch(&[&first, &second], FarpConfig::default());
    let set = endpoints.first_snapshot(secs(5)).await.unwrap();
    assert_eq!((set.len(), set[0].address().port()), (1, Some(80)));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_tells_more_and_is_asked_for_at_the_same_server() {
    let (server, elsewhere) = (Server::start().await, Server::start().await);
    let manifest = r#"{"version":"1.1.0","service_name":"tax","instance_id":"1",
        "instance":{"region":"eu","zone":"eu-1a","weight":40,"status":"degraded"},"endpoints":{"health":"/up"}}"#;
    server.tells(&document("1", 80));
    server.does(MANIFEST, Answer::Tagged("\"m\"", manifest.to_owned()));
    let config = FarpConfig::default().with_manifest(true);
    let endpoints = watch(&[&server], config.clone());
    let mut sets = endpoints.discover();
    let set = next(&mut sets).await;
    assert_eq!((set[0].weight(), set[0].status()), (40, Status::Warning));
    assert_eq!(set[0].locality().zone, "eu-1a");
    assert_eq!(set[0].check().map(|check| check.path()), Some("/up"));
    tokio::time::sleep(secs(12)).await;
    assert!(server.asked().iter().any(|of| of.headers.get("if-none-match").is_some()));
    // What is known stays while it cannot be had.
    server.does(MANIFEST, Answer::Closes);
    tokio::time::sleep(secs(60)).await;
    assert!(sets.next().now_or_never().is_none());
    server.does(MANIFEST, Answer::Is(200, &[], manifest.replace("40", "50")));
    assert_eq!(next(&mut sets).await[0].weight(), 50);
    // That of another instance, or elsewhere, says nothing.
    server.does(MANIFEST, Answer::Is(200, &[], manifest.replace("\"1\"", "\"2\"")));
    tokio::time::sleep(secs(60)).await;
    assert!(sets.next().now_or_never().is_none());
    let there = format!(
        r#"{{"service_id":"2","service_name":"tax","metadata":{{"farp.manifest":"{}/m"}}}}"#,
        elsewhere.url()
    );
    server.tells(&there);
    assert_eq!(next(&mut sets).await.get("2").unwrap().weight(), 100);
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_manifest_cannot_be_had_yet_gets_no_calls() {
    let (server, other) =
        (Server::of(&document("1", 80)).await, Server::of(&document("2", 80)).await);
    let not_yet = r#"{"error":"service not registered","farp_enabled":true,"backend":"memory"}"#;
    server.does(MANIFEST, Answer::Is(503, &[], not_yet.to_owned()));
    // This one has none.
    other.does(MANIFEST, Answer::Is(404, &[], String::new()));
    let config = FarpConfig::default().with_manifest(true);
    let mut sets = watch(&[&server, &other], config).discover();
    assert_eq!(keys(&next(&mut sets).await), ["2"]);
    tokio::time::sleep(secs(60)).await;
    assert!(sets.next().now_or_never().is_none());
    let manifest = r#"{"version":"1.1.0","service_name":"tax","instance_id":"1",
        "instance":{"address":"10.0.0.1:80","weight":7},"endpoints":{"health":"/health"}}"#;
    server.does(MANIFEST, Answer::Is(200, &[], manifest.to_owned()));
    let set = next(&mut sets).await;
    assert_eq!((keys(&set), set.get("1").unwrap().weight()), (vec!["1", "2"], 7));
    // What is known stays.
    server.does(MANIFEST, Answer::Is(503, &[], not_yet.to_owned()));
    tokio::time::sleep(secs(60)).await;
    assert!(sets.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_not_sent_in_plain_text_to_another_host() {
    let farp = || Farp::new(["http://192.0.2.1:9"]).unwrap().with_token("secret").unwrap();
    let error = Watched::new(farp()).first_snapshot(secs(2)).await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |of| of.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    assert!(text.contains("allow_plaintext") && !text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_sent_and_never_shown() {
    let server = Server::of(&document("1", 80)).await;
    let farp = Farp::new([server.url()]).unwrap().with_token("secret").unwrap();
    assert!(!format!("{farp:?}").contains("secret"));
    Watched::new(farp).first_snapshot(secs(5)).await.unwrap();
    assert_eq!(server.asked()[0].headers["authorization"], "Bearer secret");
    let error = Farp::new([server.url()]).unwrap().with_token("secret\n").unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn services_and_instances_can_be_listed() {
    let orders = r#"{"service_id":"7","service_name":"orders"}"#;
    let (tax, orders) = (Server::of(&document("1", 80)).await, Server::of(orders).await);
    let farp = Farp::new([tax.url(), orders.url()]).unwrap();
    assert_eq!(farp.list_services().await.unwrap(), ["orders", "tax"]);
    let found = farp.find_instance("7").await.unwrap().unwrap();
    assert_eq!((found.service(), found.endpoint().url("http")), ("orders", orders.url()));
    assert!(farp.find_instance("8").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_list_of_services_that_cannot_be_had_is_an_error() {
    let server = Server::of(&document("1", 80)).await;
    server.does(DISCOVERY, Answer::Is(500, &[], String::new()));
    let farp = Farp::new([server.url()]).unwrap();
    assert!(farp.list_services().await.is_err());
    assert!(farp.find_instance("1").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_leaves_no_request_behind() {
    let server = Server::start().await;
    server.does(DISCOVERY, Answer::Hangs);
    let endpoints = farp([server.url()]).unwrap();
    let mut sets = endpoints.discover();
    assert!(tokio::time::timeout(ms(100), sets.next()).await.is_err());
    assert_eq!(server.waiting.load(SeqCst), 1);
    drop(sets);
    settle().await;
    assert_eq!(server.waiting.load(SeqCst), 0);
    assert!(!endpoints.handle().is_running());
}

#[test]
fn what_cannot_be_polled_is_refused() {
    for url in ["nonsense", "ftp://a:1", "exec:/bin/true", "http://user@a:1"] {
        assert_eq!(farp([url]).unwrap_err().kind(), Kind::InvalidConfig, "{url}");
    }
    let many = (0..1_025).map(|of| format!("http://a:{}", of + 1));
    assert!(farp(many).unwrap_err().to_string().contains("1024 seeds"));
    let _: Duration = FarpConfig::default().interval;
}
