//! What is announced: found by another daemon, and as it is on the wire.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use tokio::time::sleep;
use tower_upstream::{
    Endpoint,
    discover::{Discover, EndpointSet, Instance, Mdns, MdnsRegistrar, Registrar, Registry},
    endpoint::{Locality, Status},
    error::Kind,
};

use crate::{free_port, loopback, mdns, ms, responder::Responder, secs, until, until_keys};

fn tax(id: &str) -> Endpoint {
    Endpoint::new("http://127.0.0.1:8080/v1").unwrap().with_key(id)
}

#[tokio::test]
async fn an_instance_is_found_as_it_was_announced_and_gone_when_it_left() {
    let port = free_port();
    let registry = Registry::new(mdns(port).registrar());
    let endpoint = tax("tax-1.a")
        .with_weight(3)
        .with_priority(1)
        .with_status(Status::Passing)
        .with_tag("v2")
        .with_tag("eu")
        .with_metadata("version", "2")
        .with_metadata("farp.manifest", "/m")
        .with_locality(Locality { zone: "a".into(), ..Locality::default() });
    let registered = registry.register("tax", endpoint.clone()).unwrap();
    registered.registered(secs(15)).await.unwrap();

    let mut sets = mdns(port).service("tax").unwrap().discover();
    let set = until_keys(&mut sets, &["tax-1.a"]).await;
    assert_eq!(*set[0], endpoint.with_metadata("name", "tax"));

    registered.update(|endpoint| endpoint.with_weight(5)).unwrap();
    until(&mut sets, |set| set[0].weight() == 5).await;
    let moved = Endpoint::new("http://127.0.0.1:8081/v1").unwrap();
    registered.update(|_| moved.clone()).unwrap();
    until(&mut sets, |set| set[0].address() == moved.address()).await;
    registered.drain();
    until(&mut sets, |set| set[0].is_draining()).await;
    registered.deregister(secs(10)).await.unwrap();
    until_keys(&mut sets, &[]).await;
}

#[tokio::test]
async fn a_record_has_the_layout_of_the_go_library_and_a_goodbye_is_said_twice() {
    let port = free_port();
    let host = Responder::start(port);
    let registry = Registry::new(mdns(port).registrar());
    let endpoint = Endpoint::new("127.0.0.1:8080").unwrap().with_key("tax-7");
    let endpoint = endpoint.with_metadata("team", "blue").with_tag("v2").with_tag("eu");
    let registered = registry.register("Tax_API", endpoint).unwrap();
    registered.registered(secs(15)).await.unwrap();
    sleep(ms(200)).await;
    let strings = host.heard("tax-7._tax-api._tcp.local").unwrap();
    assert_eq!(
        strings,
        [
            "name=Tax_API",
            "version=",
            "id=tax-7",
            "team=blue",
            "tags=v2,eu",
            "mdns.service_type=_tax-api._tcp"
        ]
    );
    registry.deregister_all(secs(10)).await.unwrap();
    sleep(ms(200)).await;
    let goodbyes = host.goodbyes();
    assert!(
        goodbyes.len() >= 2 && goodbyes.iter().all(|of| of.starts_with("tax-7.")),
        "{goodbyes:?}"
    );
}

#[tokio::test]
async fn a_type_is_announced_in_the_spelling_that_others_share() {
    let port = free_port();
    let host = Responder::start(port);
    let here = Mdns::new(loopback(port).with_service_type("_shipPairing._tcp")).unwrap();
    let registry = Registry::new(here.registrar());
    let registered = registry.register("tax", tax("tax-1")).unwrap();
    registered.registered(secs(15)).await.unwrap();
    sleep(ms(200)).await;
    let strings = host.heard("tax-1._shipPairing._tcp.local").unwrap();
    assert!(strings.contains(&"mdns.service_type=_shipPairing._tcp".to_owned()), "{strings:?}");
    let mut sets = here.service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1"]).await;
    registered.deregister(secs(10)).await.unwrap();
    until_keys(&mut sets, &[]).await;
}

#[tokio::test]
async fn instances_of_one_process_leave_alone() {
    let port = free_port();
    let mdns_here = mdns(port);
    let registry = Registry::new(mdns_here.registrar());
    let one = registry.register("tax", tax("one")).unwrap();
    let two = registry.register("tax", tax("two")).unwrap();
    let of_vat = registry.register("vat", tax("one-of-vat")).unwrap();
    for of in [&one, &two, &of_vat] {
        of.registered(secs(15)).await.unwrap();
    }
    // The same daemon hears itself.
    let mut here = mdns_here.service("tax").unwrap().discover();
    let mut there = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut here, &["one", "two"]).await;
    until_keys(&mut there, &["one", "two"]).await;
    drop(one);
    for sets in [&mut here, &mut there] {
        let is_alone = |set: &EndpointSet| {
            assert!(set.get("two").is_some(), "its address left with the other");
            set.len() == 1
        };
        until(sets, is_alone).await;
    }
    sleep(ms(1_500)).await;
    for sets in [&mut here, &mut there] {
        assert!(sets.next().now_or_never().is_none());
    }
    drop(of_vat);
    two.deregister(secs(10)).await.unwrap();
    until_keys(&mut there, &[]).await;
}

#[tokio::test]
async fn of_two_hosts_with_one_name_both_are_announced_and_one_is_used() {
    let port = free_port();
    let (first, second) =
        (Registry::new(mdns(port).registrar()), Registry::new(mdns(port).registrar()));
    let one = first.register("tax", tax("tax-1")).unwrap();
    one.registered(secs(15)).await.unwrap();
    let other = Endpoint::new("127.0.0.1:9090").unwrap().with_key("tax-1");
    let two = second.register("tax", other).unwrap();
    two.registered(secs(15)).await.unwrap();
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1"]).await;
    // The other one goes on under the name that it has got.
    two.update(|endpoint| endpoint.with_weight(5)).unwrap();
    two.registered(secs(15)).await.unwrap();
    one.deregister(secs(10)).await.unwrap();
    let is_other = |of: &Arc<Endpoint>| (of.address().port(), of.weight()) == (Some(9090), 5);
    until(&mut sets, |set| set.get("tax-1").is_some_and(is_other)).await;
    two.deregister(secs(10)).await.unwrap();
    until_keys(&mut sets, &[]).await;
}

#[tokio::test]
async fn what_is_announced_answers_to_its_name_also_to_one_that_it_had_to_change() {
    let port = free_port();
    let host = Responder::start(port);
    let (first, second) =
        (Registry::new(mdns(port).registrar()), Registry::new(mdns(port).registrar()));
    let ids = ["tax-1", "10.0.0.1:80", "Tax\\1", &"x".repeat(63), &"\u{fc}".repeat(31)];
    let mut all = Vec::new();
    for (registry, port) in [(&first, 8080), (&second, 9090)] {
        for id in ids {
            let endpoint = Endpoint::new(format!("127.0.0.1:{port}")).unwrap().with_key(id);
            all.push(registry.register("tax", endpoint).unwrap());
        }
        for of in &all {
            of.registered(secs(60)).await.unwrap();
        }
    }
    let names = host.names();
    assert_eq!(names.len(), 10, "{names:?}");
    // What was just told is not told again for a second (RFC 6762 §6).
    sleep(ms(2_500)).await;
    for name in &names {
        assert_eq!(name.num_labels(), 4, "one, and those of its type and domain: {name}");
        assert!(host.asks_for(name).await, "{name}");
    }
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until(&mut sets, |set| set.len() == 5 && ids.iter().all(|id| set.get(id).is_some())).await;
    for registry in [&first, &second] {
        registry.deregister_all(secs(10)).await.unwrap();
    }
    sleep(ms(200)).await;
    let goodbyes = host.goodbyes();
    for name in names {
        assert!(goodbyes.contains(&name.to_utf8()), "{name}: {goodbyes:?}");
    }
}

#[tokio::test]
async fn an_id_is_of_the_registration_that_was_announced_last() {
    let port = free_port();
    let here = mdns(port);
    let (first, second) = (Registry::new(here.registrar()), Registry::new(here.registrar()));
    let one = first.register("tax", tax("tax-1")).unwrap();
    one.registered(secs(15)).await.unwrap();
    let two = second.register("tax", tax("tax-1").with_weight(5)).unwrap();
    two.registered(secs(15)).await.unwrap();
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until(&mut sets, |set| set.get("tax-1").is_some_and(|of| of.weight() == 5)).await;
    one.deregister(secs(10)).await.unwrap();
    sleep(ms(1_500)).await;
    assert!(sets.next().now_or_never().is_none());
    two.deregister(secs(10)).await.unwrap();
    until_keys(&mut sets, &[]).await;
}

#[tokio::test]
async fn what_a_session_has_announced_ends_with_it_though_the_thread_has_other_users() {
    let port = free_port();
    let mdns = mdns(port);
    let registrar = mdns.registrar();
    let mut others = mdns.service("vat").unwrap().discover();
    until_keys(&mut others, &[]).await;
    let mut found = Mdns::new(loopback(port)).unwrap().service("tax").unwrap().discover();
    let mut session = <MdnsRegistrar as Registrar>::Session::default();
    for id in ["tax-1", "tax-2"] {
        let instance = Instance::new("tax", tax(id)).unwrap();
        registrar.put(&mut session, &instance).await.unwrap();
    }
    until_keys(&mut found, &["tax-1", "tax-2"]).await;
    drop(session);
    until_keys(&mut found, &[]).await;
    assert!(others.next().now_or_never().is_none());
}

#[tokio::test]
async fn an_address_outside_of_all_networks_is_an_error_that_says_so() {
    let registry = Registry::new(mdns(free_port()).registrar());
    let endpoint = Endpoint::new("192.0.2.1:80").unwrap().with_key("tax-1");
    let registered = registry.register("tax", endpoint).unwrap();
    let error = loop {
        sleep(ms(50)).await;
        if let Some(error) = registered.last_error() {
            break error;
        }
    };
    assert!(!registered.is_registered());
    assert_eq!(error.kind(), Kind::Connection);
    assert!(error.to_string().contains("network of `192.0.2.1`"), "{error}");
}

#[tokio::test]
async fn what_mdns_cannot_announce_is_refused_with_the_reason() {
    let registrar = Mdns::new(loopback(1)).unwrap().registrar();
    for (service, address, id, part) in [
        ("tax", "tax.internal:80", "tax-1", "an IP address"),
        ("tax", "[::1]:80", "tax-1", "`ipv6` is false"),
        ("tax", "ftp://127.0.0.1", "tax-1", "no port"),
        ("a-name-that-is-too-long", "127.0.0.1:80", "tax-1", "`service_type`"),
        ("tax", "127.0.0.1:80", &"x".repeat(64), "63 bytes"),
    ] {
        let endpoint = Endpoint::new(address).unwrap().with_key(id);
        let instance = Instance::new(service, endpoint).unwrap();
        let error = registrar.left_out(&instance).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains(part), "{error}");
    }
}
