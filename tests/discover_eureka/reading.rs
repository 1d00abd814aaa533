//! How services are read.

use std::time::Duration;

use serde_json::json;
use tower::ServiceExt;
use tower_upstream::{
    discover::{
        Catalog, Discover, Eureka, EurekaConfig, EurekaFetch, EurekaStatus, WatchConfig,
        WatchStream,
    },
    endpoint::Status,
};

use crate::{
    double::Double,
    sets::{calls, expect, keys, next, quiet},
    support::secs,
};

pub fn config(double: &Double) -> EurekaConfig {
    EurekaConfig::default().with_urls([double.url()])
}

pub fn eureka(double: &Double) -> Eureka {
    Eureka::new(config(double)).unwrap()
}

/// What goes is gone at once.
fn trusting(double: &Double) -> Eureka {
    let watch = WatchConfig::default().with_empty_grace(Duration::ZERO).with_max_removed(1.0);
    Eureka::new(config(double).with_watch(watch)).unwrap()
}

fn tax(eureka: &Eureka) -> WatchStream {
    eureka.service("tax").unwrap().discover()
}

const WHOLE: &str = "GET /apps";
const DELTA: &str = "GET /apps/delta";

#[tokio::test(start_paused = true)]
async fn the_registry_is_read_whole_once_and_then_its_changes() {
    let double = Double::start().await;
    for (id, port) in [("tax-1", 1), ("tax-2", 2), ("tax-3", 3)] {
        double.up("tax", id, port);
    }
    let eureka = eureka(&double);
    let mut sets = tax(&eureka);
    assert!(expect(&mut sets, &["tax-1", "tax-2", "tax-3"]).await < secs(1));
    quiet(&mut sets, secs(100)).await;
    assert_eq!(double.take_asked(), [WHOLE, DELTA, DELTA, DELTA]);
    double.up("tax", "tax-4", 4);
    double.cancel("tax", "tax-1");
    assert!(expect(&mut sets, &["tax-2", "tax-3", "tax-4"]).await <= secs(33));
    // The changes come again for three minutes, and are none.
    quiet(&mut sets, secs(200)).await;
    assert!(double.take_asked().iter().all(|asked| asked == DELTA));
}

#[tokio::test(start_paused = true)]
async fn every_read_asks_for_json_and_takes_gzip() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let mut sets = tax(&eureka(&double));
    expect(&mut sets, &["tax-1"]).await;
    quiet(&mut sets, secs(40)).await;
    for asked in double.asked() {
        assert_eq!(asked.headers["accept"], "application/json");
        assert_eq!(asked.headers["accept-encoding"], "gzip");
        assert!(asked.query.is_empty(), "no other region is asked for: {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_the_server_counts_otherwise_the_registry_is_read_whole_and_equals_the_servers() {
    let double = Double::start().await;
    for (id, port) in [("tax-1", 1), ("tax-2", 2), ("tax-3", 3)] {
        double.up("tax", id, port);
    }
    let mut sets = tax(&eureka(&double));
    expect(&mut sets, &["tax-1", "tax-2", "tax-3"]).await;
    // What has changed is not told, so that only the count tells of it.
    double.answers(
        "/apps/delta",
        200,
        r#"{"applications":{"apps__hashcode":"UP_4_","application":[]}}"#,
    );
    double.up("tax", "tax-4", 4);
    double.take_asked();
    expect(&mut sets, &["tax-1", "tax-2", "tax-3", "tax-4"]).await;
    assert_eq!(double.take_asked(), [DELTA, WHOLE]);
}

#[tokio::test(start_paused = true)]
async fn a_change_with_the_right_count_is_no_reason_to_read_all_and_one_with_a_wrong_count_is() {
    for (hash, asked) in [("DOWN_1_UP_5_", &[DELTA][..]), ("DOWN_1_UP_6_", &[DELTA, WHOLE][..])] {
        let double = Double::start().await;
        for port in 1..=4 {
            double.up("orders", &format!("orders-{port}"), port);
        }
        double.put("orders", "orders-5", json!({"status": "DOWN"}));
        let mut sets = eureka(&double).service("orders").unwrap().discover();
        assert_eq!(next(&mut sets).await.len(), 5);
        double.take_asked();
        double.up("orders", "10.1.4.10:orders:8080", 8080);
        let delta = format!(
            r#"{{"applications":{{"versions__delta":"4","apps__hashcode":"{hash}","application":
                {{"name":"ORDERS","instance":{{"instanceId":"10.1.4.10:orders:8080","app":"ORDERS",
                "hostName":"10.1.4.10","ipAddr":"10.1.4.10","status":"UP","port":{{"$":"8080","@enabled":"true"}},
                "securePort":{{"$":443,"@enabled":"false"}},
                "metadata":{{"@class":"java.util.Collections$EmptyMap"}},"actionType":"ADDED"}}}}}}}}"#
        );
        double.answers("/apps/delta", 200, &delta);
        let set = next(&mut sets).await;
        assert_eq!((set.len(), set[0].key()), (6, "10.1.4.10:orders:8080"));
        assert_eq!(double.take_asked(), asked, "{hash}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_in_a_wrong_order_are_not_told_before_the_registry_is_read_whole() {
    let double = Double::start().await;
    for (id, port) in [("tax-1", 1), ("tax-2", 2)] {
        double.up("tax", id, port);
    }
    let mut sets = tax(&trusting(&double));
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    // It left, and came back: in the other order it would be gone.
    let told = |action: &str| {
        let mut info = double.registry(|of| of.get("tax", "tax-1").unwrap().clone());
        info["actionType"] = action.into();
        info
    };
    let instances = json!([told("ADDED"), told("DELETED")]);
    let delta = json!({"applications": {
        "apps__hashcode": "UP_2_", "application": {"name": "TAX", "instance": instances},
    }});
    double.answers("/apps/delta", 200, &delta.to_string());
    double.take_asked();
    // Up to a tenth is added to each of two waits.
    quiet(&mut sets, secs(67)).await;
    assert_eq!(double.take_asked(), [DELTA, WHOLE, DELTA, WHOLE]);
    // Also if it cannot be read just then.
    double.answers("/apps", 503, "");
    double.answers("/apps/delta", 200, &delta.to_string());
    quiet(&mut sets, secs(65)).await;
    double.answers_itself();
    quiet(&mut sets, secs(65)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_counts_right_or_tells_no_changes_is_read_whole() {
    for refuses in [None, Some(403), Some(404)] {
        let double = Double::start().await;
        double.up("tax", "tax-1", 1);
        let mut sets = tax(&eureka(&double));
        expect(&mut sets, &["tax-1"]).await;
        match refuses {
            None => double.registry(|registry| registry.counts_wrong = true),
            Some(status) => double.answers("/apps/delta", status, ""),
        }
        double.take_asked();
        double.up("tax", "tax-2", 2);
        expect(&mut sets, &["tax-1", "tax-2"]).await;
        quiet(&mut sets, secs(70)).await;
        assert_eq!(double.take_asked(), [DELTA, WHOLE, WHOLE, WHOLE], "{refuses:?}");
        if refuses.is_none() {
            // As soon as it counts right, changes are enough again.
            double.registry(|registry| registry.counts_wrong = false);
            quiet(&mut sets, secs(70)).await;
            assert_eq!(double.take_asked(), [WHOLE, DELTA]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_warms_up_is_asked_for_changes_again_afterwards() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let mut sets = tax(&eureka(&double));
    expect(&mut sets, &["tax-1"]).await;
    // It tells nothing at all, and of that not the least.
    double.answers("/apps", 403, "");
    quiet(&mut sets, secs(100)).await;
    double.answers_itself();
    quiet(&mut sets, secs(35)).await;
    double.take_asked();
    double.up("tax", "tax-2", 2);
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    quiet(&mut sets, secs(100)).await;
    let asked = double.take_asked();
    assert!(asked.len() >= 3 && asked.iter().all(|asked| asked == DELTA), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_be_read_costs_no_other_and_no_changes() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    double.put("tax", "tax-2", json!({"metadata": ["x"]}));
    double.put("vat", "vat-1", json!({"securePort": [7]}));
    let eureka = eureka(&double);
    let mut sets = tax(&eureka);
    expect(&mut sets, &["tax-1"]).await;
    // A service of such alone says why.
    let vat = eureka.service("vat").unwrap();
    let error = vat.first_snapshot(secs(5)).await.unwrap_err();
    assert!(format!("{error:#}").contains("`vat-1` of `VAT` cannot be read"), "{error:#}");
    double.take_asked();
    double.put("tax", "tax-3", json!({"port": [3]}));
    double.up("tax", "tax-4", 4);
    expect(&mut sets, &["tax-1", "tax-4"]).await;
    double.up("tax", "tax-3", 3);
    double.cancel("tax", "tax-2");
    expect(&mut sets, &["tax-1", "tax-3", "tax-4"]).await;
    // It counts as it does there.
    let asked = double.take_asked();
    assert!(asked.iter().all(|asked| asked == DELTA), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn after_three_minutes_without_an_answer_changes_are_not_enough() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    double.up("tax", "tax-2", 2);
    let eureka = trusting(&double);
    let mut sets = tax(&eureka);
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    double.partition();
    tokio::time::sleep(secs(5)).await;
    // One for one: the count is the same.
    double.registry(|registry| registry.cancel("tax", "tax-1"));
    double.up("tax", "tax-3", 3);
    tokio::time::sleep(secs(200)).await;
    double.heal();
    double.take_asked();
    expect(&mut sets, &["tax-2", "tax-3"]).await;
    assert!(double.take_asked().contains(&WHOLE.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn all_watches_read_one_registry() {
    let double = Double::start().await;
    let names: Vec<String> = (0..50).map(|of| format!("app-{of}")).collect();
    for name in &names {
        double.up(name, "one", 1);
    }
    let eureka = eureka(&double);
    let mut all: Vec<_> =
        names.iter().map(|name| eureka.service(name).unwrap().discover()).collect();
    for sets in &mut all {
        expect(sets, &["one"]).await;
    }
    tokio::time::sleep(secs(100)).await;
    assert_eq!(double.take_asked(), [WHOLE, DELTA, DELTA, DELTA]);
    // One that comes later does not use what is old.
    double.up("late", "late-1", 1);
    let mut late = eureka.service("LATE").unwrap().discover();
    assert!(expect(&mut late, &["late-1"]).await < secs(1));
    // Nor do all of them ask a server that fails.
    double.answers("/", 503, "");
    double.take_asked();
    tokio::time::sleep(secs(120)).await;
    let asked = double.take_asked().len();
    assert!(asked <= 125, "{asked} in two minutes");
}

#[tokio::test(start_paused = true)]
async fn an_error_or_silence_takes_no_endpoint_away_and_none_reaches_the_balancer() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let endpoints = eureka(&double).service("tax").unwrap();
    let handle = endpoints.handle();
    let service = calls(endpoints);
    let call = || service.clone().oneshot(());
    assert_eq!(call().await.unwrap(), "tax-1");
    for (status, body) in [
        (500, "oops"),
        (429, ""),
        (503, ""),
        (403, ""),
        (401, ""),
        (302, ""),
        (200, "{"),
        (200, ""),
        (200, "{}"),
        (200, "[]"),
    ] {
        double.answers("/", status, body);
        let failed = handle.failures();
        tokio::time::sleep(secs(120)).await;
        assert!(handle.failures() > failed, "{status} {body}");
        assert_eq!(call().await.unwrap(), "tax-1");
    }
    double.answers_itself();
    double.partition();
    tokio::time::sleep(secs(300)).await;
    let error = handle.last_error().unwrap();
    assert!(error.is_timeout(), "{error:#}");
    assert_eq!(call().await.unwrap(), "tax-1");
    double.heal();
    tokio::time::sleep(secs(120)).await;
    assert!(handle.last_error().is_none());
    assert_eq!(call().await.unwrap(), "tax-1");
}

#[tokio::test(start_paused = true)]
async fn xml_is_refused_with_an_error_that_says_so() {
    let double = Double::start().await;
    for (kind, body) in [
        ("application/xml", "<applications/>"),
        ("text/plain", " \n<?xml version=\"1.0\"?><applications/>"),
        ("application/xml;charset=UTF-8", "{}"),
    ] {
        double.answers_as("/apps", 200, kind, body);
        let endpoints = eureka(&double).service("tax").unwrap();
        let error = endpoints.first_snapshot(secs(1)).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("answers in XML") && error.contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_started_anew_and_knows_nothing_takes_nothing_away() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    double.up("tax", "tax-2", 2);
    let eureka = eureka(&double);
    let mut sets = tax(&eureka);
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    double.stop().await;
    double.restart().await;
    quiet(&mut sets, secs(60)).await;
    // Within its lease each instance has told it again.
    double.up("tax", "tax-1", 1);
    double.up("tax", "tax-2", 2);
    quiet(&mut sets, secs(300)).await;
    // What does not come back leaves after all.
    double.restart().await;
    let waited = expect(&mut sets, &[]).await;
    assert!((secs(90)..secs(160)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_changed_port_is_one_change_of_the_same_key_and_metadata_is_another() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let mut sets = tax(&eureka(&double));
    expect(&mut sets, &["tax-1"]).await;
    double.up("tax", "tax-1", 2);
    let set = next(&mut sets).await;
    assert_eq!((set[0].key(), set[0].address().port()), ("tax-1", Some(2)));
    quiet(&mut sets, secs(100)).await;
    double.put("tax", "tax-1", json!({"port": 2, "metadata": {"weight": "3", "zone": "a"}}));
    let set = next(&mut sets).await;
    assert_eq!((set[0].weight(), &*set[0].locality().zone), (3, "a"));
    quiet(&mut sets, secs(100)).await;
}

#[tokio::test(start_paused = true)]
async fn one_application_alone_is_asked_for_by_its_name() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    double.up("other", "other-1", 1);
    let watch = WatchConfig::default().with_empty_grace(Duration::ZERO);
    let config = config(&double).with_fetch(EurekaFetch::Application).with_watch(watch);
    let eureka = Eureka::new(config).unwrap();
    let mut sets = tax(&eureka);
    expect(&mut sets, &["tax-1"]).await;
    double.up("tax", "tax-2", 2);
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    assert_eq!(double.take_asked(), ["GET /apps/TAX"; 2]);
    for id in ["tax-1", "tax-2"] {
        double.cancel("tax", id);
    }
    // 404: there is none.
    expect(&mut sets, &[]).await;
    double.take_asked();
    let mut vip = eureka.vip("other").unwrap().discover();
    expect(&mut vip, &["other-1"]).await;
    assert_eq!(double.take_asked(), ["GET /vips/other"]);
}

#[tokio::test(start_paused = true)]
async fn a_virtual_address_is_all_instances_that_have_it() {
    for fetch in [EurekaFetch::Delta, EurekaFetch::Application] {
        let double = Double::start().await;
        let secure = json!({"$": 8443, "@enabled": "true"});
        for app in ["blue", "green"] {
            let more =
                json!({"vipAddress": "tax,all", "secureVipAddress": "tax", "securePort": secure});
            double.put(app, "one", more);
        }
        double.put("blue", "two", json!({"vipAddress": "all"}));
        double.up("other", "three", 3);
        let eureka = Eureka::new(config(&double).with_fetch(fetch)).unwrap();
        let mut sets = eureka.vip("tax").unwrap().discover();
        // An id is unique in its application alone.
        expect(&mut sets, &["BLUE/one", "GREEN/one"]).await;
        let mut sets = eureka.vip("all").unwrap().discover();
        expect(&mut sets, &["BLUE/one", "GREEN/one", "two"]).await;
        let set = next(&mut eureka.secure_vip("tax").unwrap().discover()).await;
        assert_eq!(keys(&set), ["BLUE/one", "GREEN/one"]);
        assert_eq!(set[0].address().as_str(), "https://127.0.0.1:8443");
    }
}

#[tokio::test(start_paused = true)]
async fn lists_of_one_and_numbers_as_text_are_read_as_they_are_meant() {
    let (plain, xstream) = (Double::start().await, Double::start().await);
    xstream.registry(|registry| registry.is_xstream = true);
    let mut read = Vec::new();
    for double in [&plain, &xstream] {
        double.put("tax", "tax-1", json!({"port": {"$": 8080, "@enabled": true}, "metadata": {}}));
        let mut sets = tax(&eureka(double));
        read.push(next(&mut sets).await);
        assert_eq!(double.take_asked(), [WHOLE]);
        double.put("tax", "tax-1", json!({"port": {"$": 8081, "@enabled": true}}));
        read.push(next(&mut sets).await);
        assert_eq!(double.take_asked(), [DELTA]);
    }
    assert_eq!((&*read[0], &*read[1]), (&*read[2], &*read[3]));
}

#[tokio::test(start_paused = true)]
async fn an_override_takes_an_instance_out_of_traffic_until_it_ends() {
    let double = Double::start().await;
    for port in [1, 2, 3] {
        double.up("tax", &format!("tax-{port}"), port);
    }
    let eureka = eureka(&double);
    let mut sets = tax(&eureka);
    next(&mut sets).await;
    let status = EurekaStatus::OutOfService;
    assert!(eureka.override_status("tax", "tax-1", status).await.unwrap());
    let set = next(&mut sets).await;
    assert!(set[0].is_draining() && set[0].status() == Status::Critical);
    assert!(!set[1].is_draining());
    assert!(eureka.override_status("tax", "tax-1", None).await.unwrap());
    let set = next(&mut sets).await;
    assert!(!set[0].is_draining() && set[0].status() == Status::Passing);
    assert!(!eureka.override_status("tax", "tax-9", None).await.unwrap());
    double.answers("/apps/TAX/tax-1/status", 500, "");
    assert!(eureka.override_status("tax", "tax-1", status).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_cannot_be_reached_is_left_out_and_a_service_of_such_says_why() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let closed = json!({"port": {"$": 80, "@enabled": "false"}});
    double.put("tax", "tax-2", closed.clone());
    double.put("closed", "closed-1", closed);
    let eureka = eureka(&double);
    expect(&mut tax(&eureka), &["tax-1"]).await;
    let error = eureka.service("closed").unwrap().first_snapshot(secs(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("no port that is enabled"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn services_are_listed_and_instances_found() {
    let double = Double::start().await;
    double.up("tax", "10.0.0.1:tax:80", 80);
    double.put("ORDERS", "orders-1", json!({"vipAddress": "other"}));
    let eureka = eureka(&double);
    assert_eq!(eureka.list_services().await.unwrap(), ["ORDERS", "tax"]);
    let found = eureka.find_instance("10.0.0.1:tax:80").await.unwrap().unwrap();
    assert_eq!((found.service(), found.id()), ("tax", "10.0.0.1:tax:80"));
    assert!(eureka.find_instance("tax-9").await.unwrap().is_none());
}
