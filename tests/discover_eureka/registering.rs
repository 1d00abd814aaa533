//! How instances are announced.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::time::Instant;
use tower_upstream::{
    Endpoint,
    discover::{Discover, Eureka, EurekaRegistrar, EurekaStatus, Registration, Registry},
    endpoint::{Locality, Status},
};

use crate::{
    double::{Asked, Double},
    reading::{config, eureka},
    sets::{is_as_announced, next},
    support::{ms, secs},
};

fn registry(double: &Double) -> Registry<EurekaRegistrar> {
    Registry::new(eureka(double).registrar())
}

fn tax(id: &str) -> Endpoint {
    Endpoint::new("https://10.0.0.1:8443").unwrap().with_key(id)
}

async fn announce(registry: &Registry<EurekaRegistrar>, endpoint: Endpoint) -> Registration {
    let registration = registry.register("tax", endpoint).unwrap();
    registration.registered(secs(5)).await.unwrap();
    registration
}

fn asked(double: &Double, method: &str, path: &str) -> Vec<Asked> {
    let is = |asked: &Asked| asked.method == method && asked.path == path;
    double.asked().into_iter().filter(is).collect()
}

fn posts(double: &Double) -> Vec<Value> {
    let posts = asked(double, "POST", "/apps/TAX");
    posts.iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_found_as_it_was() {
    let double = Double::start().await;
    let registry = registry(&double);
    let endpoint = tax("tax-1")
        .with_weight(7)
        .with_tag("v2")
        .with_tag("eu")
        .with_locality(Locality {
            region: "eu".into(),
            zone: "eu-1a".into(),
            sub_zone: "r1".into(),
        })
        .with_metadata("version", "2.3.0")
        .with_metadata("farp.enabled", "true");
    let _registration = announce(&registry, endpoint.clone()).await;
    let mut sets = eureka(&double).service("tax").unwrap().discover();
    let set = next(&mut sets).await;
    let found = &set[0];
    assert_eq!((found.key(), found.weight()), ("tax-1", 7));
    is_as_announced(found, &endpoint);
    // What was found may be announced as it is.
    let _again = announce(&registry, (**found).clone().with_key("tax-2")).await;
    let set = next(&mut sets).await;
    assert_eq!((set[1].metadata(), set[1].weight()), (found.metadata(), 7));
}

#[tokio::test(start_paused = true)]
async fn one_id_is_kept_alive_for_a_hundred_ticks_and_nothing_remains_after_the_end() {
    let double = Double::start().await;
    let registry = registry(&double);
    let endpoint = Endpoint::new("10.0.0.1:80").unwrap().with_metadata("farp.manifest", "/m");
    let registration = announce(&registry, endpoint).await;
    let id = registration.id().to_owned();
    let start = Instant::now();
    while start.elapsed() < secs(3_000) {
        tokio::time::sleep(secs(7)).await;
        assert_eq!(double.status("tax", &id), "UP");
    }
    let beats = asked(&double, "PUT", &format!("/apps/TAX/{id}"));
    assert!((100..=115).contains(&beats.len()), "{}", beats.len());
    let time = posts(&double)[0]["instance"]["lastDirtyTimestamp"].as_str().unwrap().to_owned();
    for beat in beats {
        assert_eq!((&*beat.query["status"], &beat.query["lastDirtyTimestamp"]), ("UP", &time));
    }
    assert_eq!(posts(&double).len(), 1);
    assert_eq!(posts(&double)[0]["instance"]["metadata"], json!({"farp.manifest": "/m"}));
    let paths: BTreeSet<_> = double.asked().into_iter().map(|asked| asked.path).collect();
    assert!(paths.iter().all(|path| path == "/apps/TAX" || path.ends_with(&id)), "{paths:?}");
    registration.deregister(secs(5)).await.unwrap();
    assert!(double.registry(|registry| registry.ids().is_empty()));
    let asked = double.asked().len();
    tokio::time::sleep(secs(600)).await;
    assert_eq!(double.asked().len(), asked, "it is quiet after the end");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_answered_with_404_announces_again_under_the_same_id() {
    let double = Double::start().await;
    let registry = registry(&double);
    let (one, two) =
        (announce(&registry, tax("tax-1")).await, announce(&registry, tax("tax-2")).await);
    double.registry(|registry| registry.cancel("tax", "tax-1"));
    tokio::time::sleep(secs(31)).await;
    assert_eq!(double.status("tax", "tax-1"), "UP");
    // A server that was away, and lost what it knew.
    double.stop().await;
    tokio::time::sleep(secs(300)).await;
    double.restart().await;
    tokio::time::sleep(secs(31)).await;
    let ids = double.registry(|of| of.ids().into_iter().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(ids, ["tax-1", "tax-2"]);
    assert!(one.is_registered() && two.is_registered());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_refused_ends_no_lease_of_another() {
    let double = Double::start().await;
    let registry = registry(&double);
    let ids: Vec<_> = (0..30).map(|number| format!("tax-{number:02}")).collect();
    let mut all = Vec::new();
    for id in &ids {
        all.push(announce(&registry, tax(id)).await);
    }
    double.answers("/apps/TAX/tax-00", 400, "");
    let start = Instant::now();
    while start.elapsed() < secs(900) {
        tokio::time::sleep(secs(10)).await;
        for id in &ids[1..] {
            assert_eq!(double.status("tax", id), "UP", "{id} after {:?}", start.elapsed());
        }
    }
    // What is lost is announced again all the same.
    double.registry(|registry| registry.cancel("tax", "tax-29"));
    tokio::time::sleep(secs(62)).await;
    assert_eq!(double.status("tax", "tax-29"), "UP");
    assert!(all.iter().filter(|of| of.is_registered()).count() >= 29);
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_lease_ends_in_a_partition_is_back_within_one_wait() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    double.partition();
    tokio::time::sleep(secs(85)).await;
    assert_eq!(double.status("tax", "tax-1"), "UP");
    tokio::time::sleep(secs(40)).await;
    assert_eq!(double.status("tax", "tax-1"), "none");
    double.heal();
    tokio::time::sleep(secs(31)).await;
    assert_eq!(double.status("tax", "tax-1"), "UP");
    assert!(registration.is_registered());
}

#[tokio::test(start_paused = true)]
async fn an_id_with_colons_is_percent_encoded() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("10.0.0.1:tax:8443")).await;
    tokio::time::sleep(secs(40)).await;
    assert_eq!(asked(&double, "PUT", "/apps/TAX/10.0.0.1%3Atax%3A8443").len(), 1);
    assert_eq!(posts(&double).len(), 1);
    registration.deregister(secs(5)).await.unwrap();
    assert!(double.registry(|registry| registry.ids().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn draining_is_an_override_and_ends_with_it_or_the_registration() {
    let double = Double::start().await;
    let registry = registry(&double);
    let registration = announce(&registry, tax("tax-1")).await;
    registration.drain();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "OUT_OF_SERVICE");
    assert_eq!(posts(&double).len(), 1, "nothing else changed");
    // Another change while it drains, and a server that has lost it.
    registration.update(|endpoint| endpoint.with_tag("v3")).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "OUT_OF_SERVICE");
    double.restart().await;
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        tokio::time::sleep(ms(100)).await;
        seen.insert(double.status("tax", "tax-1"));
    }
    assert_eq!(seen, ["OUT_OF_SERVICE", "none"].map(str::to_owned).into(), "it is never up");
    registration.update(|endpoint| endpoint.with_draining(false)).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "UP");
    registration.drain();
    registration.registered(secs(5)).await.unwrap();
    registration.deregister(secs(5)).await.unwrap();
    let again = announce(&registry, tax("tax-1")).await;
    assert_eq!(double.status("tax", "tax-1"), "UP");
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn draining_that_ends_while_the_server_is_away_ends_there_too() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    registration.drain();
    registration.registered(secs(5)).await.unwrap();
    double.partition();
    registration.update(|endpoint| endpoint.with_draining(false)).unwrap();
    tokio::time::sleep(secs(60)).await;
    double.heal();
    registration.registered(secs(60)).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "UP");
}

#[tokio::test(start_paused = true)]
async fn draining_that_ends_after_the_session_was_lost_ends_at_the_server_too() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    registration.drain();
    registration.registered(secs(5)).await.unwrap();
    // It is lost to the registrar, and not to the server.
    double.answers("/apps/TAX/tax-1", 404, "");
    tokio::time::sleep(secs(40)).await;
    assert!(!registration.is_registered());
    registration.update(|endpoint| endpoint.with_draining(false)).unwrap();
    double.answers_itself();
    registration.registered(secs(60)).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "UP");
}

#[tokio::test(start_paused = true)]
async fn an_override_of_others_stays() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    let operator = eureka(&double);
    operator.override_status("tax", "tax-1", EurekaStatus::OutOfService).await.unwrap();
    registration.update(|endpoint| endpoint.with_weight(3)).unwrap();
    registration.registered(secs(5)).await.unwrap();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(double.status("tax", "tax-1"), "OUT_OF_SERVICE");
    operator.override_status("tax", "tax-1", None).await.unwrap();
    assert_eq!(double.status("tax", "tax-1"), "UP");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_announced() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    for (status, expected) in [
        (Status::Critical, "DOWN"),
        (Status::Warning, "UP"),
        (Status::Critical, "DOWN"),
        (Status::Unknown, "UP"),
        (Status::Passing, "UP"),
    ] {
        registration.set_status(status);
        registration.registered(secs(5)).await.unwrap();
        assert_eq!(double.status("tax", "tax-1"), expected, "{status:?}");
        tokio::time::sleep(secs(40)).await;
        assert_eq!(double.status("tax", "tax-1"), expected, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_in_an_older_form_is_announced_again() {
    let double = Double::start().await;
    let config = config(&double).with_instance_info_replication_interval(secs(120));
    let registry = Registry::new(Eureka::new(config).unwrap().registrar());
    let registration = announce(&registry, tax("tax-1").with_weight(7)).await;
    // A server that does not compare the times of heartbeats.
    double.answers("/apps/TAX/tax-1?", 200, "");
    let older = |double: &Double| {
        double.registry(|registry| {
            let info = registry.get_mut("tax", "tax-1").unwrap();
            info["lastDirtyTimestamp"] = "1".into();
            info["metadata"] = json!({});
        });
    };
    older(&double);
    let weight =
        || double.registry(|of| of.get("tax", "tax-1").unwrap()["metadata"]["weight"].clone());
    assert_eq!(weight(), Value::Null);
    tokio::time::sleep(secs(151)).await;
    assert_eq!(weight(), "7");
    drop(registration);
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_replaces_what_the_server_has_whatever_its_date() {
    let double = Double::start().await;
    // Of a process whose clock was ahead.
    let later = json!({"lastDirtyTimestamp": "8000000000000", "ipAddr": "10.0.0.9"});
    double.put("tax", "tax-1", later);
    let registration = announce(&registry(&double), tax("tax-1")).await;
    let has = |what: &str| double.registry(|of| of.get("tax", "tax-1").unwrap()[what].clone());
    assert_eq!((has("ipAddr"), has("metadata")), (json!("10.0.0.1"), json!({})));
    registration.update(|endpoint| endpoint.with_weight(7)).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(has("metadata"), json!({"weight": "7"}));
    tokio::time::sleep(secs(300)).await;
    assert_eq!(posts(&double).len(), 2, "it is what the server has");
    // A server that does not tell what it has, since it warms up, takes it all the same.
    double.cancel("tax", "tax-1");
    double.forbids_reads();
    tokio::time::sleep(secs(31)).await;
    assert_eq!(has("metadata"), json!({"weight": "7"}));
}

#[tokio::test(start_paused = true)]
async fn an_override_of_others_that_leaves_no_status_ends_although_the_server_dates_it() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    double.registry(|registry| {
        let status = "OUT_OF_SERVICE";
        assert!(registry.set_override("tax", "tax-1", Some(status), status));
        assert!(registry.set_override("tax", "tax-1", None, "UNKNOWN"));
        let info = registry.get_mut("tax", "tax-1").unwrap();
        info["lastDirtyTimestamp"] = "8000000000000".into();
    });
    // With the next heartbeat.
    tokio::time::sleep(secs(31)).await;
    assert_eq!(double.status("tax", "tax-1"), "UP");
    assert!(registration.is_registered());
}

#[tokio::test(start_paused = true)]
async fn how_often_the_server_is_looked_at_is_up_to_the_replication_interval() {
    for (interval, least, most) in [(30, 9, 20), (300, 1, 2)] {
        let double = Double::start().await;
        let config = config(&double).with_instance_info_replication_interval(secs(interval));
        let registry = Registry::new(Eureka::new(config).unwrap().registrar());
        let _registration = announce(&registry, tax("tax-1")).await;
        let looks = || asked(&double, "GET", "/apps/TAX/tax-1").len();
        assert_eq!(looks(), 1, "before it is announced");
        tokio::time::sleep(secs(620)).await;
        let looks = looks() - 1;
        assert!((least..=most).contains(&looks), "{interval}: {looks}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_announced_says_why_and_holds_no_other_up() {
    let double = Double::start().await;
    let registry = registry(&double);
    let wrong = registry.register("tax", tax("tax-1").with_tag("a,b")).unwrap();
    let _right = announce(&registry, tax("tax-2")).await;
    let error = wrong.registered(secs(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("comma"), "{error:#}");
    assert_eq!(double.registry(|registry| registry.ids().len()), 1);
    double.answers("/apps/TAX", 400, r#"{"error":"Missing hostName"}"#);
    let refused = registry.register("tax", tax("tax-3")).unwrap();
    let error = refused.registered(secs(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("Missing hostName"), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_what_the_config_says() {
    let double = Double::start().await;
    let config = config(&double).with_lease(secs(5), secs(15));
    let registry = Registry::new(Eureka::new(config).unwrap().registrar());
    let _registration = announce(&registry, tax("tax-1")).await;
    let lease = &posts(&double)[0]["instance"]["leaseInfo"];
    assert_eq!(*lease, json!({"renewalIntervalInSecs": 5, "durationInSecs": 15}));
    tokio::time::sleep(secs(100)).await;
    let beats = asked(&double, "PUT", "/apps/TAX/tax-1").len();
    assert!((19..=23).contains(&beats), "{beats}");
    double.partition();
    tokio::time::sleep(secs(16)).await;
    assert_eq!(double.status("tax", "tax-1"), "none");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_registration_deregisters() {
    let double = Double::start().await;
    let registry = registry(&double);
    let (one, _two) =
        (announce(&registry, tax("tax-1")).await, announce(&registry, tax("tax-2")).await);
    drop(one);
    tokio::time::sleep(ms(200)).await;
    assert_eq!(double.registry(|of| of.ids().len()), 1);
}
