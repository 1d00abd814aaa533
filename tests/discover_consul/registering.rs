//! How instances are announced.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tokio::time::Instant;
use tower_upstream::{
    Endpoint,
    discover::{
        Consul, ConsulCheck, ConsulCheckKind, ConsulQuery, ConsulRegistrar, Discover, Registration,
        Registry,
    },
    endpoint::{Locality, Status},
};

use crate::{
    double::{Double, May},
    reading::{config, consul},
    sets::{is_as_announced, keys, next},
    support::{ms, secs},
};

const REGISTER: &str = "/v1/agent/service/register";
const UPDATE: &str = "/v1/agent/check/update/";

fn registry(double: &Double) -> Registry<ConsulRegistrar> {
    Registry::new(consul(double).registrar(ConsulCheck::default()))
}

fn tax(id: &str) -> Endpoint {
    Endpoint::new("https://10.0.0.1:8443").unwrap().with_key(id)
}

async fn announce(registry: &Registry<ConsulRegistrar>, endpoint: Endpoint) -> Registration {
    let registration = registry.register("tax", endpoint).unwrap();
    registration.registered(secs(5)).await.unwrap();
    registration
}

/// The status of each check of an instance.
fn checks(double: &Double, id: &str) -> Vec<(String, String)> {
    double.catalog(|catalog| {
        let checks = catalog.instances.get(id).map(|instance| instance.checks.clone());
        checks.unwrap_or_default().into_values().map(|check| (check.id, check.status)).collect()
    })
}

fn check(double: &Double, id: &str) -> String {
    let checks = checks(double, id);
    let found = checks.into_iter().find(|(check, _)| *check == format!("service:{id}"));
    found.map_or("none".to_owned(), |(_, status)| status)
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_found_as_it_was() {
    let double = Double::start().await;
    let registry = registry(&double);
    let endpoint = tax("tax-1")
        .with_weight(7)
        .with_tag("v2")
        .with_locality(Locality { region: "eu".into(), zone: "eu-1a".into(), sub_zone: "".into() })
        .with_metadata("version", "2.3.0")
        .with_metadata("farp.enabled", "true");
    let _registration = announce(&registry, endpoint.clone()).await;
    let mut sets = consul(&double).service("tax").unwrap().discover();
    let set = next(&mut sets).await;
    let found = &set[0];
    assert_eq!((found.key(), found.weight()), ("tax-1", 7));
    is_as_announced(found, &endpoint);
    // What was found may be announced as it is.
    let again = announce(&registry, (**found).clone().with_key("tax-2")).await;
    assert_eq!(next(&mut sets).await[1].metadata(), found.metadata());
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn one_id_is_kept_alive_for_a_hundred_ticks_and_nothing_remains_after_the_end() {
    let double = Double::start().await;
    let registry = registry(&double);
    let endpoint = Endpoint::new("10.0.0.1:80").unwrap().with_metadata("farp.manifest", "/m");
    let registration = announce(&registry, endpoint).await;
    let id = registration.id().to_owned();
    let start = Instant::now();
    while start.elapsed() < secs(1_000) {
        tokio::time::sleep(secs(7)).await;
        assert_eq!(check(&double, &id), "passing");
    }
    let updates = double.asked_of(UPDATE);
    assert!((100..=113).contains(&updates.len()), "{}", updates.len());
    let ids: BTreeSet<_> = double.asked().into_iter().map(|asked| asked.path).collect();
    assert!(ids.iter().all(|path| path == REGISTER || path.ends_with(&id)), "{ids:?}");
    assert_eq!(double.asked_of(REGISTER).len(), 1);
    let meta = double.catalog(|catalog| catalog.instances[&id].body["Meta"].clone());
    assert_eq!(meta["farp_manifest"], "/m");
    registration.deregister(secs(5)).await.unwrap();
    assert!(double.catalog(|catalog| catalog.instances.is_empty()));
    let asked = double.asked().len();
    tokio::time::sleep(secs(600)).await;
    assert_eq!(double.asked().len(), asked, "it is quiet after the end");
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_has_forgotten_is_announced_again_under_its_id() {
    for is_old in [false, true] {
        let double = Double::start().await;
        if is_old {
            double.is_old();
        }
        let registry = registry(&double);
        let (one, two) =
            (announce(&registry, tax("tax-1")).await, announce(&registry, tax("tax-2")).await);
        double.catalog(|catalog| catalog.instances.clear());
        tokio::time::sleep(secs(11)).await;
        assert_eq!(double.catalog(|catalog| catalog.instances.len()), 2);
        // An agent that was away, and lost what it knew.
        double.stop().await;
        tokio::time::sleep(secs(300)).await;
        double.restart(|catalog| catalog.instances.clear()).await;
        tokio::time::sleep(secs(31)).await;
        let ids = double.catalog(|catalog| catalog.instances.keys().cloned().collect::<Vec<_>>());
        assert_eq!(ids, ["tax-1", "tax-2"]);
        assert!(one.is_registered() && two.is_registered());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_heard_of_is_critical_after_its_ttl_and_passes_when_it_is_back() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    double.partition();
    tokio::time::sleep(secs(20)).await;
    assert_eq!(check(&double, "tax-1"), "passing");
    tokio::time::sleep(secs(11)).await;
    assert_eq!(check(&double, "tax-1"), "critical");
    double.heal();
    tokio::time::sleep(secs(31)).await;
    assert_eq!(check(&double, "tax-1"), "passing");
    // For longer than Consul keeps what is critical: then it is announced again.
    double.partition();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(check(&double, "tax-1"), "none");
    double.heal();
    tokio::time::sleep(secs(31)).await;
    assert_eq!(check(&double, "tax-1"), "passing");
    drop(registration);
}

#[tokio::test(start_paused = true)]
async fn draining_is_maintenance_and_ends_with_the_registration() {
    let double = Double::start().await;
    let registry = registry(&double);
    let registration = announce(&registry, tax("tax-1")).await;
    let mut sets = consul(&double).service("tax").unwrap().discover();
    assert!(!next(&mut sets).await[0].is_draining());
    registration.drain();
    registration.registered(secs(5)).await.unwrap();
    let set = next(&mut sets).await;
    assert!(set[0].is_draining() && set[0].status() == Status::Passing);
    assert_eq!(double.asked_of(REGISTER).len(), 1, "nothing else changed");
    let ids: Vec<_> = checks(&double, "tax-1").into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["_service_maintenance:tax-1", "service:tax-1"]);
    // Another change while it drains: a new registration would end that.
    registration.update(|endpoint| endpoint.with_tag("v3")).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(checks(&double, "tax-1").len(), 2);
    registration.deregister(secs(5)).await.unwrap();
    assert!(double.catalog(|catalog| catalog.instances.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn maintenance_that_a_process_before_left_ends_when_its_id_is_announced() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    double.catalog(|catalog| catalog.maintain("tax-1", Some("draining")));
    let _registration = announce(&registry(&double), tax("tax-1")).await;
    assert_eq!(checks(&double, "tax-1"), [("service:tax-1".to_owned(), "passing".to_owned())]);
    // Whether the registration alone ends it is up to the server.
    let asked = double.asked_of("/v1/agent/service/maintenance/tax-1");
    assert_eq!(asked[0].one("enable"), Some("false"));
}

#[tokio::test(start_paused = true)]
async fn a_status_is_told_to_the_check_and_is_no_new_registration() {
    let double = Double::start().await;
    let registration = announce(&registry(&double), tax("tax-1")).await;
    for (status, expected) in [
        (Status::Warning, "warning"),
        (Status::Critical, "critical"),
        (Status::Unknown, "passing"),
        (Status::Passing, "passing"),
    ] {
        registration.set_status(status);
        registration.registered(secs(5)).await.unwrap();
        assert_eq!(check(&double, "tax-1"), expected);
        tokio::time::sleep(secs(40)).await;
        assert_eq!(check(&double, "tax-1"), expected);
    }
    assert_eq!(double.asked_of(REGISTER).len(), 1);
    registration.set_status(Status::Warning);
    registration.update(|endpoint| endpoint.with_weight(3)).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!(double.asked_of(REGISTER).len(), 2);
    assert_eq!(check(&double, "tax-1"), "warning");
}

#[tokio::test(start_paused = true)]
async fn checks_of_the_agent_need_no_word_of_the_instance_but_it_is_looked_after() {
    let double = Double::start().await;
    let check = ConsulCheck::default().with_kind(ConsulCheckKind::Http).with_path("/ready");
    let registry = Registry::new(consul(&double).registrar(check));
    let _registration = announce(&registry, tax("tax-1")).await;
    let body: Value = serde_json::from_str(&double.asked_of(REGISTER)[0].body).unwrap();
    assert_eq!(body["Check"]["HTTP"], "https://10.0.0.1:8443/ready");
    assert!(double.asked_of(REGISTER)[0].has("replace-existing-checks"));
    tokio::time::sleep(secs(300)).await;
    assert!(double.asked_of(UPDATE).is_empty());
    double.catalog(|catalog| catalog.instances.clear());
    tokio::time::sleep(secs(31)).await;
    assert_eq!(double.catalog(|catalog| catalog.instances.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_announced_says_why_and_holds_no_other_up() {
    let double = Double::start().await;
    let registry = registry(&double);
    let wrong = registry.register("tax", tax("tax-1").with_weight(0)).unwrap();
    let _right = announce(&registry, tax("tax-2")).await;
    let error = wrong.registered(secs(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("weight"), "{error:#}");
    assert_eq!(double.catalog(|catalog| catalog.instances.len()), 1);
    wrong.update(|endpoint| endpoint.with_weight(1)).unwrap();
    wrong.registered(secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_lets_no_other_expire() {
    let double = Double::start().await;
    let registry = registry(&double);
    let ids: Vec<String> = (0..40).map(|number| format!("tax-{number:02}")).collect();
    let mut kept = Vec::new();
    for id in &ids {
        kept.push(announce(&registry, tax(id)).await);
    }
    double.refuses("update/service:tax-00");
    tokio::time::sleep(secs(300)).await;
    let passing = |id: &&String| check(&double, id) == "passing";
    assert_eq!(ids.iter().filter(passing).count(), ids.len() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_agent_hears_of_all_in_turn_and_nothing_is_announced_again() {
    let double = Double::start().await;
    let registry = registry(&double);
    let ids: Vec<String> = (0..150).map(|number| format!("tax-{number:03}")).collect();
    let mut kept = Vec::new();
    for id in &ids {
        kept.push(announce(&registry, tax(id)).await);
    }
    let announced = double.asked_of(REGISTER).len();
    // One after another it would take longer than a TTL.
    double.is_slow(ms(1_300));
    for _ in 0..60 {
        tokio::time::sleep(secs(5)).await;
        assert!(ids.iter().all(|id| check(&double, id) == "passing"));
    }
    assert_eq!(double.asked_of(REGISTER).len(), announced);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_may_not_write_is_tried_again_after_half_a_minute() {
    let double = Double::start().await;
    double.asks_for_tokens(&[("reads", May::Nothing)]);
    let consul = Consul::new(config(&double).with_token("reads")).unwrap();
    let registry = Registry::new(consul.registrar(ConsulCheck::default()));
    let registration = registry.register("tax", tax("tax-1")).unwrap();
    assert!(registration.registered(secs(1)).await.is_err());
    let error = format!("{:#}", registration.last_error().unwrap());
    assert!(error.contains("Missing service:write on tax"), "{error}");
    double.asks_for_tokens(&[("reads", May::All)]);
    let waited = Instant::now();
    registration.registered(secs(60)).await.unwrap();
    assert!(waited.elapsed() > secs(28) && waited.elapsed() < secs(31));
}

#[tokio::test(start_paused = true)]
async fn what_was_announced_with_a_replaced_token_is_announced_again() {
    // An agent goes on telling the servers of a service with the token that it was announced with.
    let file = std::env::temp_dir().join(format!("consul-token-{}", std::process::id()));
    for (kind, soon) in [(ConsulCheckKind::Ttl, secs(11)), (ConsulCheckKind::Tcp, secs(31))] {
        let double = Double::start().await;
        double.asks_for_tokens(&[("first", May::All), ("second", May::All)]);
        std::fs::write(&file, "first\n").unwrap();
        let consul = Consul::new(config(&double).with_token_file(&file)).unwrap();
        let registry = Registry::new(consul.registrar(ConsulCheck::default().with_kind(kind)));
        let one = announce(&registry, tax("tax-1")).await;
        std::fs::write(&file, "second\n").unwrap();
        let two = announce(&registry, tax("tax-2")).await;
        let tokens = || {
            let asked = double.asked_of(REGISTER).into_iter();
            asked.map(|asked| asked.token.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(tokens(), ["first", "second"]);
        tokio::time::sleep(soon).await;
        assert!(one.is_registered() && two.is_registered());
        assert_eq!(tokens(), ["first", "second", "second", "second"]);
        tokio::time::sleep(secs(300)).await;
        assert_eq!(tokens().len(), 4, "once is enough");
        assert_eq!(double.catalog(|catalog| catalog.instances.len()), 2);
    }
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_a_leader_takes_registrations_all_the_same() {
    let double = Double::start().await;
    double.loses_leader();
    let _registration = announce(&registry(&double), tax("tax-1")).await;
    assert_eq!(check(&double, "tax-1"), "passing");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_registration_deregisters_and_the_watch_hears_it_at_once() {
    let double = Double::start().await;
    let registry = registry(&double);
    let (one, _two) =
        (announce(&registry, tax("tax-1")).await, announce(&registry, tax("tax-2")).await);
    let query = ConsulQuery::default().with_min_interval(Duration::ZERO);
    let mut sets = consul(&double).service_with("tax", query).unwrap().discover();
    assert_eq!(keys(&next(&mut sets).await), ["tax-1", "tax-2"]);
    let start = Instant::now();
    drop(one);
    assert_eq!(keys(&next(&mut sets).await), ["tax-2"]);
    assert!(start.elapsed() < ms(200));
}
