//! How services are read.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::RoundRobin,
    connect_fn,
    discover::{
        Catalog, Consul, ConsulConfig, ConsulConsistency, ConsulQuery, Discover, Source,
        WatchConfig, WatchStream,
    },
    endpoint::Status,
};

use crate::{
    double::{Asked, Double, May},
    sets::{calls, expect, keys, next, quiet},
    support::{ms, secs},
};

const WEB: &str = "/v1/health/service/web";

pub fn config(double: &Double) -> ConsulConfig {
    ConsulConfig::default().with_address(double.address.to_string())
}

pub fn consul(double: &Double) -> Consul {
    Consul::new(config(double)).unwrap()
}

fn web(double: &Double, query: ConsulQuery) -> WatchStream {
    consul(double).service_with("web", query).unwrap().discover()
}

fn index(asked: &Asked) -> Option<u64> {
    asked.one("index").map(|text| text.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_asks_once_in_each_wait_and_tells_nothing() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1"]).await;
    quiet(&mut sets, secs(600)).await;
    let asked = double.asked_of(WEB);
    assert!((10..=12).contains(&asked.len()), "{}", asked.len());
    assert_eq!((index(&asked[0]), asked[0].one("wait")), (None, None));
    for asked in &asked[1..] {
        assert!(index(asked) >= Some(1));
        assert_eq!(asked.one("wait"), Some("55s"));
    }
    let gaps = asked[1..].windows(2).map(|two| two[1].at - two[0].at);
    assert!(gaps.min().unwrap() >= secs(55));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_told_at_once_and_what_is_no_change_is_not() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1"]).await;
    tokio::time::sleep(secs(10)).await;
    double.up("web", "web-2", 9002);
    assert!(expect(&mut sets, &["web-1", "web-2"]).await < ms(50));
    // Registered again as it was: another index, and the same service.
    tokio::time::sleep(secs(10)).await;
    double.up("web", "web-2", 9002);
    quiet(&mut sets, secs(100)).await;
    double.deregister("web-1");
    assert!(expect(&mut sets, &["web-2"]).await < ms(50));
}

#[tokio::test(start_paused = true)]
async fn a_query_for_a_service_that_is_not_there_is_woken_by_others_and_tells_nothing() {
    let double = Double::start().await;
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &[]).await;
    for number in 0..20 {
        double.up("other", &format!("other-{number}"), 1);
        quiet(&mut sets, secs(5)).await;
    }
    let asked = double.asked_of(WEB).len();
    assert!((20..=24).contains(&asked), "{asked}");
    double.up("web", "web-1", 9001);
    expect(&mut sets, &["web-1"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_index_that_goes_backwards_starts_over_and_nothing_is_missed() {
    let double = Double::start().await;
    double.catalog(|catalog| catalog.index = 50);
    double.up("web", "web-1", 9001);
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1"]).await;
    tokio::time::sleep(secs(10)).await;
    // Restored from a snapshot.
    double.stop().await;
    double.restart(|catalog| *catalog = Default::default()).await;
    double.catalog(|catalog| catalog.index = 20);
    double.up("web", "web-1", 9001);
    double.up("web", "web-2", 9002);
    expect(&mut sets, &["web-1", "web-2"]).await;
    tokio::time::sleep(secs(60)).await;
    double.up("web", "web-3", 9003);
    assert!(expect(&mut sets, &["web-1", "web-2", "web-3"]).await < ms(50));
    assert!(double.asked_of(WEB).iter().all(|asked| index(asked) != Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_was_lost_takes_no_endpoint_away_at_once() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    double.up("web", "web-2", 9002);
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1", "web-2"]).await;
    tokio::time::sleep(secs(10)).await;
    double.stop().await;
    tokio::time::sleep(secs(60)).await;
    double.restart(|catalog| *catalog = Default::default()).await;
    // Others are faster to come back, and wake the query: several answers say that there is none.
    let before = double.asked_of(WEB).len();
    while double.asked_of(WEB).len() < before + 4 {
        double.up("other", "other-1", 1);
        quiet(&mut sets, ms(100)).await;
    }
    double.up("web", "web-1", 9001);
    double.up("web", "web-2", 9002);
    quiet(&mut sets, secs(60)).await;
    // It was seen how these left.
    double.deregister("web-1");
    double.deregister("web-2");
    while !next(&mut sets).await.is_empty() {}
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_lower_index_counts_and_the_next_query_does_not_wait() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    double.shows_index(Some("50"));
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1"]).await;
    double.shows_index(Some("20"));
    double.up("web", "web-2", 9002);
    expect(&mut sets, &["web-1", "web-2"]).await;
    tokio::time::sleep(secs(10)).await;
    let sent: Vec<_> = double.asked_of(WEB).iter().map(index).collect();
    assert_eq!(sent, [None, Some(50), None, Some(20)]);
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_none_does_not_make_it_spin() {
    for shown in ["0", "nothing", "-7"] {
        let double = Double::start().await;
        double.up("web", "web-1", 9001);
        double.shows_index(Some(shown));
        let mut sets = web(&double, ConsulQuery::default());
        expect(&mut sets, &["web-1"]).await;
        quiet(&mut sets, secs(60)).await;
        let asked = double.asked_of(WEB);
        assert!(asked.len() <= 32, "{} queries in a minute", asked.len());
        assert!(asked[1..].iter().all(|asked| index(asked) == Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_service_changes_all_the_time_it_is_asked_for_every_two_seconds() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["web-1"]).await;
    for number in 0..600 {
        double.register(
            json!({"ID": "web-1", "Name": "web", "Port": 9001, "Tags": [number.to_string()]}),
        );
        tokio::time::sleep(ms(100)).await;
    }
    let asked = double.asked_of(WEB).len();
    assert!((30..=33).contains(&asked), "{asked} queries in a minute");
    let set = loop {
        let set = next(&mut sets).await;
        if set[0].tags() == ["599"] {
            break set;
        }
    };
    assert_eq!(set.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_the_last_endpoints_stay_and_the_next_leader_is_heard() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let endpoints = consul(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["web-1"]).await;
    tokio::time::sleep(secs(5)).await;
    double.loses_leader();
    quiet(&mut sets, secs(60)).await;
    let error = format!("{:#}", handle.last_error().unwrap());
    assert!(error.contains("No cluster leader") && error.contains("127.0.0.1"), "{error}");
    assert_eq!(keys(&handle.set().unwrap()), ["web-1"]);
    double.elects_leader();
    double.up("web", "web-2", 9002);
    assert!(expect(&mut sets, &["web-1", "web-2"]).await < secs(40));
    assert!(handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_error_or_silence_takes_no_endpoint_away_and_none_reaches_the_balancer() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let endpoints = consul(&double).service("web").unwrap();
    let handle = endpoints.handle();
    let service = calls(endpoints);
    let call = || service.clone().oneshot(());
    assert_eq!(call().await.unwrap(), "web-1");
    for (status, body) in [(500, "No cluster leader"), (429, ""), (503, ""), (200, "{"), (200, "")]
    {
        double.answers(Some((status, body)));
        double.up("web", "web-1", 9001);
        let failed = handle.failures();
        tokio::time::sleep(secs(120)).await;
        assert!(handle.failures() > failed, "{status} {body}");
        assert_eq!(call().await.unwrap(), "web-1");
    }
    double.answers(None);
    double.partition();
    tokio::time::sleep(secs(300)).await;
    let error = handle.last_error().unwrap();
    assert!(error.is_timeout(), "{error:#}");
    assert_eq!(call().await.unwrap(), "web-1");
    double.heal();
    tokio::time::sleep(secs(120)).await;
    assert!(handle.last_error().is_none());
    assert_eq!(call().await.unwrap(), "web-1");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_for_ten_minutes_is_asked_with_growing_waits() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let endpoints = consul(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["web-1"]).await;
    double.stop().await;
    quiet(&mut sets, secs(600)).await;
    // Full jitter up to 30 s: 15 s on average.
    assert!((20..=90).contains(&handle.failures()), "{}", handle.failures());
    let before = double.asked_of(WEB).len();
    double.restart(|_| ()).await;
    double.up("web", "web-2", 9002);
    assert!(expect(&mut sets, &["web-1", "web-2"]).await < secs(31));
    // Without an index: the answer may come from another server.
    assert_eq!(index(&double.asked_of(WEB)[before]), None);
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_believed_at_once_only_where_no_rule_can_have_hidden_instances() {
    let grace = secs(10);
    for (is_old, query, least) in [
        (false, ConsulQuery::default(), Duration::ZERO),
        (
            false,
            ConsulQuery::default().with_consistency(ConsulConsistency::Consistent),
            Duration::ZERO,
        ),
        (false, ConsulQuery::default().with_consistency(ConsulConsistency::Stale), grace),
        (false, ConsulQuery::default().with_consistency(ConsulConsistency::Cached), grace),
        (false, ConsulQuery::default().with_only_passing(true), grace),
        (true, ConsulQuery::default(), grace),
    ] {
        let double = Double::start().await;
        if is_old {
            double.is_old();
        }
        double.up("web", "web-1", 9001);
        let mut sets = web(&double, query.clone());
        expect(&mut sets, &["web-1"]).await;
        tokio::time::sleep(secs(10)).await;
        double.deregister("web-1");
        let waited = expect(&mut sets, &[]).await;
        assert!((least..least + ms(500)).contains(&waited), "{query:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_may_read_nothing_takes_no_endpoint_away_at_once() {
    for (is_old, token) in [(true, ""), (false, ""), (false, "weak"), (true, "weak")] {
        let double = Double::start().await;
        if is_old {
            double.is_old();
        }
        double.up("web", "web-1", 9001);
        let config = config(&double).with_token(token);
        let watch = WatchConfig::default().with_empty_grace(secs(3_600));
        let consul = Consul::new(config.with_watch(watch)).unwrap();
        let mut sets = consul.service("web").unwrap().discover();
        expect(&mut sets, &["web-1"]).await;
        double.asks_for_tokens(&[("weak", May::Nothing)]);
        quiet(&mut sets, secs(3_000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_is_asked_for_again_after_half_a_minute() {
    let double = Double::start().await;
    double.asks_for_tokens(&[("good", May::All)]);
    let consul = Consul::new(config(&double).with_token("bad")).unwrap();
    let endpoints = consul.service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    quiet(&mut sets, secs(300)).await;
    let asked = double.asked_of(WEB);
    assert!((8..=11).contains(&asked.len()), "{}", asked.len());
    let error = format!("{:#}", handle.last_error().unwrap());
    assert!(error.contains("403") && error.contains("ACL not found"), "{error}");
    let shown = format!("{consul:?} {endpoints:?} {error}");
    assert!(!shown.contains("bad"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_asked_too_much_is_left_alone_for_as_long_as_it_says() {
    let double = Double::start().await;
    double.answers(Some((429, "Too many requests")));
    let mut sets = web(&double, ConsulQuery::default());
    quiet(&mut sets, secs(201)).await;
    let asked = double.asked_of(WEB).len();
    assert!((5..=6).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_token_may_be_replaced_in_its_file() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    double.asks_for_tokens(&[("first", May::All)]);
    let path = std::env::temp_dir().join(format!("tower-upstream-consul-{}", std::process::id()));
    std::fs::write(&path, "first\n").unwrap();
    let consul = Consul::new(config(&double).with_token_file(&path)).unwrap();
    let mut sets = consul.service("web").unwrap().discover();
    expect(&mut sets, &["web-1"]).await;
    double.asks_for_tokens(&[("second", May::All)]);
    std::fs::write(&path, "second").unwrap();
    double.up("web", "web-2", 9002);
    expect(&mut sets, &["web-1", "web-2"]).await;
    let tokens: BTreeSet<_> =
        double.asked().into_iter().map(|asked| asked.token.unwrap()).collect();
    assert_eq!(tokens, ["first", "second"].map(str::to_owned).into());
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(secs(120)).await;
    let error = format!("{:#}", consul.service("web").unwrap().handle().last_error().unwrap());
    assert!(error.contains("`token_file`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_that_lags_is_asked_of_the_leader_once() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let query = ConsulQuery::default().with_consistency(ConsulConsistency::Stale);
    let mut sets = web(&double, query);
    expect(&mut sets, &["web-1"]).await;
    let asked = double.asked_of(WEB);
    assert!(asked.len() <= 2 && asked.iter().all(|asked| asked.has("stale")));
    tokio::time::sleep(secs(5)).await;
    double.loses_leader();
    double.up("web", "web-2", 9002);
    // No leader answers: then it is what the server has.
    let waited = expect(&mut sets, &["web-1", "web-2"]).await;
    assert!((secs(7)..secs(8)).contains(&waited), "{waited:?}");
    let asked = double.asked_of(WEB);
    let of_leader: Vec<_> = asked.iter().filter(|asked| !asked.has("stale")).collect();
    assert_eq!((of_leader.len(), of_leader[0].one("index")), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_cut_off_serves_its_cache_only_if_no_server_answers() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let query = ConsulQuery::default().with_consistency(ConsulConsistency::Cached);
    let mut sets = web(&double, query);
    expect(&mut sets, &["web-1"]).await;
    assert!(double.asked_of(WEB).iter().all(|asked| asked.has("cached")));
}

#[tokio::test(start_paused = true)]
async fn what_is_critical_or_under_maintenance_gets_no_calls() {
    let double = Double::start().await;
    double.catalog(|catalog| catalog.node_address = "10.0.0.9".to_owned());
    for (id, status) in
        [("web-1", "passing"), ("web-2", "passing"), ("web-3", "critical"), ("web-4", "passing")]
    {
        double.register(json!({
            "ID": id, "Name": "web", "Port": 9000, "Check": {"TTL": "10000s", "Status": status},
        }));
    }
    double.catalog(|catalog| catalog.maintain("web-4", Some("update")));
    let endpoints = consul(&double).service("web").unwrap();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints.clone(), RoundRobin::new()))
        .service(connect_fn(|endpoint: &Endpoint| {
            let text = format!("{} {}", endpoint.key(), endpoint.address());
            service_fn(move |_: ()| std::future::ready(Ok::<_, BoxError>(text.clone())))
        }));
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.insert(service.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(seen, ["web-1 10.0.0.9:9000", "web-2 10.0.0.9:9000"].map(str::to_owned).into());
    let set = endpoints.handle().set().unwrap();
    let states: Vec<_> = set.iter().map(|of| (of.status(), of.is_draining())).collect();
    let passing = (Status::Passing, false);
    assert_eq!(states, [passing, passing, (Status::Critical, false), (Status::Passing, true)]);
}

#[tokio::test(start_paused = true)]
async fn instances_whose_ids_make_one_key_cost_no_other_instance() {
    let double = Double::start().await;
    let entry = |node: &str, id: &str, port: u16| {
        json!({"Node": {"Node": node, "Address": "10.0.0.9"},
               "Service": {"ID": id, "Service": "web", "Address": "", "Port": port}, "Checks": []})
    };
    // Of two that share an id, one has the key that a third one takes for its id.
    let mut entries = vec![entry("n1", "a", 1), entry("n2", "a", 2), entry("n3", "n1/a", 3)];
    double.answers(Some((200, &json!(entries).to_string())));
    let mut sets = web(&double, ConsulQuery::default());
    expect(&mut sets, &["n1/a", "n2/a"]).await;
    entries.push(entry("n4", "b", 4));
    double.answers(Some((200, &json!(entries).to_string())));
    expect(&mut sets, &["b", "n1/a", "n2/a"]).await;
}

#[tokio::test(start_paused = true)]
async fn every_setting_of_a_query_selects_what_it_says() {
    let double = Double::start().await;
    for (id, tags, zone, status) in [
        ("web-1", json!(["v1", "eu"]), "a", "passing"),
        ("web-2", json!(["v2", "eu"]), "a", "passing"),
        ("web-3", json!(["v2"]), "b", "passing"),
        ("web-4", json!(["v2", "eu"]), "b", "warning"),
    ] {
        double.register(json!({
            "ID": id, "Name": "web", "Address": "127.0.0.1", "Port": 9000, "Tags": tags, "Meta": {"zone": zone},
            "Check": {"TTL": "10000s", "Status": status},
        }));
    }
    let query = ConsulQuery::default;
    for (query, expected) in [
        (query(), &["web-1", "web-2", "web-3", "web-4"][..]),
        (query().with_tag("v2").with_tag("eu"), &["web-2", "web-4"]),
        (query().with_only_passing(true).with_tag("v2"), &["web-2", "web-3"]),
        (query().with_filter("Service.Meta.zone == \"b\""), &["web-3", "web-4"]),
    ] {
        expect(&mut web(&double, query), expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_asks_for_a_service_in_one_way_shares_a_query() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let consul = consul(&double);
    let mut sets: Vec<_> =
        (0..5).map(|_| consul.clone().service("web").unwrap().discover()).collect();
    for sets in &mut sets {
        expect(sets, &["web-1"]).await;
    }
    tokio::time::sleep(secs(30)).await;
    assert_eq!(double.asked_of(WEB).len(), 2);
    let mut other =
        consul.service_with("web", ConsulQuery::default().with_tag("v2")).unwrap().discover();
    expect(&mut other, &[]).await;
    // The last one that leaves takes its query along.
    drop((sets, other));
    tokio::time::sleep(secs(1)).await;
    let asked = double.asked_of(WEB).len();
    tokio::time::sleep(secs(600)).await;
    assert_eq!(double.asked_of(WEB).len(), asked);
}

#[tokio::test(start_paused = true)]
async fn many_watches_do_not_all_ask_at_once() {
    let double = Double::start().await;
    let consul = consul(&double);
    let start = Instant::now();
    let watches: Vec<_> = (0..100).map(|n| consul.service(&format!("s{n}")).unwrap()).collect();
    let mut sets: Vec<_> = watches.iter().map(|watch| watch.discover()).collect();
    futures::future::join_all(sets.iter_mut().map(next)).await;
    let first: Vec<_> = double.asked().into_iter().filter(|asked| !asked.has("index")).collect();
    assert_eq!(first.len(), 100);
    let in_tenth = |n: u32| {
        let from = start + ms(100) * n;
        first.iter().filter(|asked| (from..from + ms(100)).contains(&asked.at)).count()
    };
    let most = (0..11).map(in_tenth).collect::<Vec<_>>();
    assert!(most[0] >= 16 && most[1..].iter().all(|count| *count < 25), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn a_weight_or_a_tag_that_changes_does_not_reconnect() {
    let double = Double::start().await;
    double.up("web", "web-1", 9001);
    let mut sets = web(&double, ConsulQuery::default());
    let before = next(&mut sets).await;
    double.register(json!({
        "ID": "web-1", "Name": "web", "Address": "127.0.0.1", "Port": 9001, "Tags": ["v2"],
        "Weights": {"Passing": 7, "Warning": 2},
    }));
    let after = next(&mut sets).await;
    assert_eq!((after[0].weight(), after[0].tags()), (7, &["v2".to_owned()][..]));
    let changes: Vec<_> = tower_upstream::discover::diff(&before, &after).collect();
    assert!(
        matches!(&changes[..], [tower_upstream::discover::Difference::Update(_)]),
        "{changes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_services_are_listed_with_their_tags() {
    let double = Double::start().await;
    double.register(json!({"ID": "web-1", "Name": "web", "Port": 1, "Tags": ["v1"]}));
    let listed = consul(&double).services().await.unwrap();
    let expected = [("consul", vec![]), ("web", vec!["v1"])];
    assert_eq!(
        listed
            .iter()
            .map(|(name, tags)| (&**name, tags.iter().map(|tag| &**tag).collect()))
            .collect::<Vec<(&str, Vec<&str>)>>(),
        expected
    );
    double.answers(Some((500, "No cluster leader")));
    let error = format!("{:#}", consul(&double).services().await.unwrap_err());
    assert!(error.contains("No cluster leader"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_of_the_agent_is_found_by_its_id_whatever_its_health() {
    let double = Double::start().await;
    for status in ["passing", "warning", "critical"] {
        double.register(json!({
            "ID": status, "Name": "web", "Port": 9001, "Check": {"TTL": "10000s", "Status": status},
        }));
    }
    double.up("web", "draining", 9001);
    double.catalog(|catalog| catalog.maintain("draining", Some("")));
    let consul = consul(&double);
    for (id, status, is_draining) in [
        ("passing", Status::Passing, false),
        ("warning", Status::Warning, false),
        ("critical", Status::Critical, false),
        ("draining", Status::Passing, true),
    ] {
        let found = consul.find_instance(id).await.unwrap().unwrap();
        assert_eq!((found.service(), found.id()), ("web", id));
        assert_eq!(found.endpoint().address().as_str(), "127.0.0.1:9001");
        assert_eq!(
            (found.endpoint().status(), found.endpoint().is_draining()),
            (status, is_draining)
        );
    }
    assert!(consul.find_instance("nothing").await.unwrap().is_none());
    assert_eq!(consul.list_services().await.unwrap(), ["consul", "web"]);
    double.answers(Some((500, "No")));
    assert!(consul.find_instance("passing").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_name_names_its_service_and_its_server_and_nothing_secret() {
    let double = Double::start().await;
    let consul = Consul::new(config(&double).with_token("secret-token")).unwrap();
    let endpoints = consul.service("web").unwrap();
    let name = endpoints.source().name();
    assert_eq!(name, format!("service `web` in Consul at `{}`", double.address));
    let shown = format!("{name} {endpoints:?} {consul:?} {:?}", endpoints.source());
    assert!(!shown.contains("secret-token"), "{shown}");
}
