//! What is heard, and what becomes of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use hickory_resolver::proto::rr::RecordType;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tower_upstream::{
    Endpoint,
    discover::{Catalog, Discover, EndpointSet, Filtered, Mdns},
    endpoint::Status,
    error::Kind,
};

use crate::{
    free_port, keys, loopback, mdns, ms,
    responder::{Responder, Service},
    secs, until, until_keys, until_within,
};

#[tokio::test]
async fn a_goodbye_removes_an_instance_after_about_a_second_even_the_last_one() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    host.announce(Service::new("_tax._tcp", "tax-2", 2)).await;
    let endpoints = mdns(port).service("tax").unwrap();
    let mut sets = endpoints.discover();
    until_keys(&mut sets, &["tax-1", "tax-2"]).await;
    for left in [&["tax-2"][..], &[]] {
        host.goodbye(if left.is_empty() { "tax-2" } else { "tax-1" }).await;
        let (_, took) = until_within(secs(5), &mut sets, |set| keys(set) == left).await;
        assert!(took > ms(800) && took < secs(3), "{took:?}");
    }
}

#[tokio::test]
async fn an_instance_for_which_there_was_no_room_is_used_once_there_is() {
    let port = free_port();
    let host = Responder::start(port);
    for (label, number) in [("tax-1", 1), ("tax-2", 2)] {
        host.announce(Service::new("_tax._tcp", label, number)).await;
    }
    let config = loopback(port).with_max_instances(2);
    let mut sets = Mdns::new(config).unwrap().service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1", "tax-2"]).await;
    host.announce(Service::new("_tax._tcp", "tax-3", 3)).await;
    sleep(ms(500)).await;
    assert!(sets.next().now_or_never().is_none());
    host.goodbye("tax-1").await;
    let (set, _) = until_within(secs(5), &mut sets, |set| keys(set) == ["tax-2", "tax-3"]).await;
    assert_eq!(set.len(), 2);
    // Nor does one that came when there was room leave for that.
    sleep(secs(3)).await;
    assert!(sets.next().now_or_never().is_none());
}

#[tokio::test]
async fn nothing_is_removed_during_three_ttls_although_each_refresh_is_lost_once() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1).ttl(3)).await;
    let endpoints = mdns(port).service("tax").unwrap();
    let mut sets = endpoints.discover();
    until_keys(&mut sets, &["tax-1"]).await;
    let before = host.questions();
    let end = Instant::now() + secs(10);
    while Instant::now() < end {
        host.lose(1);
        tokio::select! {
            set = sets.next() => panic!("it flapped: {set:?}"),
            () = sleep(ms(1_200)) => {}
        }
    }
    assert!(host.questions() >= before + 3, "it is asked for before its records expire");
    assert!(endpoints.handle().last_error().is_none());
}

#[tokio::test]
async fn a_name_with_dots_or_backslashes_is_asked_for_as_any_other() {
    let port = free_port();
    let host = Responder::start(port);
    let labels = ["10.0.0.1:80", "Tax 1.", "a\\.b\\", "a\\b"];
    for (number, label) in (1..).zip(labels) {
        let service = Service::new("_tax._tcp", label, number).ttl(4_500).host_ttl(3);
        host.announce(service.txt(&["team=blue"])).await;
    }
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &labels).await;
    let flaps = async {
        let set = sets.next().await;
        panic!("it flapped: {set:?}")
    };
    tokio::select! {
        () = flaps => {}
        () = sleep(secs(10)) => {}
    }
}

#[tokio::test]
async fn an_instance_that_falls_silent_is_removed_when_its_records_expire() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1).ttl(3)).await;
    host.announce(Service::new("_tax._tcp", "tax-2", 2).ttl(3)).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1", "tax-2"]).await;
    host.kill("tax-1");
    let (_, took) = until_within(secs(8), &mut sets, |set| keys(set) == ["tax-2"]).await;
    assert!(took < secs(6), "{took:?}");
}

#[tokio::test]
async fn a_host_that_falls_silent_takes_its_instance_along_and_brings_it_back() {
    let port = free_port();
    let host = Responder::start(port);
    // The name of an instance lives longer than what says where it is (RFC 6762 §10).
    let tax = || Service::new("_tax._tcp", "tax-1", 1).ttl(4_500).host_ttl(3);
    host.announce(tax()).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1"]).await;
    host.kill("tax-1");
    let (_, took) = until_within(secs(8), &mut sets, |set| set.is_empty()).await;
    assert!(took < secs(6), "{took:?}");
    host.announce(tax()).await;
    let (_, took) = until_within(secs(8), &mut sets, |set| set.len() == 1).await;
    assert!(took < secs(3), "{took:?}");
}

#[tokio::test]
async fn an_instance_that_is_asked_about_and_does_not_answer_is_removed_early() {
    let port = free_port();
    let host = Responder::start(port);
    for (label, number) in [("Tax 1", 1), ("Tax 2", 2)] {
        host.announce(Service::new("_tax._tcp", label, number)).await;
    }
    let mdns = mdns(port);
    let mut sets = mdns.service("tax").unwrap().discover();
    until_keys(&mut sets, &["Tax 1", "Tax 2"]).await;
    host.kill("Tax 1");
    for key in ["Tax 1", "Tax 2", "unknown"] {
        mdns.reconfirm(key, secs(2)).unwrap();
    }
    until_within(secs(8), &mut sets, |set| keys(set) == ["Tax 2"]).await;
}

#[tokio::test]
async fn an_announcement_is_not_trusted_until_its_check_has_passed() {
    let port = free_port();
    let host = Responder::start(port);
    // Nothing listens there yet.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
    host.announce(Service::new("_tax._tcp", "bad", address.port())).await;
    host.announce(Service::new("_tax._tcp", "good", good.local_addr().unwrap().port())).await;
    let config = loopback(port).with_require_health_before_use(true);
    let mut sets = Mdns::new(config).unwrap().service("tax").unwrap().discover();
    assert_eq!(keys(&sets.next().await.unwrap()), ["good"]);
    sleep(ms(500)).await;
    assert!(sets.next().now_or_never().is_none());
    let _listener = TcpListener::bind(address).await.unwrap();
    until_keys(&mut sets, &["bad", "good"]).await;
}

#[tokio::test]
async fn an_instance_that_moves_stays_where_it_was_until_it_is_known_to_be_there() {
    let port = free_port();
    let host = Responder::start(port);
    let (passes, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (of, count) = (passes.clone(), asked.clone());
    let check = move |_: Arc<Endpoint>| {
        count.fetch_add(1, SeqCst);
        std::future::ready(of.load(SeqCst))
    };
    let config = loopback(port).with_require_health_before_use(true);
    let mdns = Mdns::new(config).unwrap().with_check(check);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    host.announce(Service::new("_tax._tcp", "tax-2", 9)).await;
    let mut sets = mdns.service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1", "tax-2"]).await;
    passes.store(false, SeqCst);
    let before = asked.load(SeqCst);
    host.announce(Service::new("_tax._tcp", "tax-1", 2)).await;
    while asked.load(SeqCst) == before {
        sleep(ms(20)).await;
    }
    // Nothing is told, also once it was waited for what comes together.
    sleep(ms(300)).await;
    assert!(sets.next().now_or_never().is_none());
    passes.store(true, SeqCst);
    let moved = until(&mut sets, |set| set[0].address().port() == Some(2)).await;
    assert_eq!(keys(&moved), ["tax-1", "tax-2"]);
}

#[tokio::test]
async fn several_types_stand_side_by_side_and_each_id_is_there_once() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_one._tcp", "a", 1).txt(&["id=a", "name=tax"])).await;
    host.announce(Service::new("_two._tcp", "a", 2).txt(&["id=a", "name=tax"])).await;
    host.announce(Service::new("_two._tcp", "b", 3).txt(&["id=b", "name=vat"])).await;
    let config = loopback(port).with_service_types(["_one._tcp", "_two._tcp", "_none._tcp"]);
    let all = Mdns::new(config).unwrap().all_types().unwrap();
    let mut sets = all.discover();
    let set = until_keys(&mut sets, &["a", "b"]).await;
    assert_eq!(set.get("a").unwrap().address().port(), Some(1), "the first type counts");
    let mut of_vat = Filtered::service(all, "vat").discover();
    assert_eq!(keys(&of_vat.next().await.unwrap()), ["b"]);
    // One leaves a type, and is still there by the other.
    host.goodbye("a").await;
    let set =
        until(&mut sets, |set| set.get("a").is_some_and(|a| a.address().port() == Some(2))).await;
    assert_eq!(keys(&set), ["a", "b"]);
}

#[tokio::test]
async fn a_type_is_found_in_the_spelling_in_which_it_is_announced() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_shipPairing._tcp", "1", 1)).await;
    host.announce(Service::new("_shippairing._tcp", "2", 2)).await;
    let config = loopback(port).with_service_types(["_shipPairing._tcp"]);
    let mut all = Mdns::new(config).unwrap().all_types().unwrap().discover();
    until_keys(&mut all, &["1", "2"]).await;
    host.goodbye("1").await;
    until_keys(&mut all, &["2"]).await;
}

#[tokio::test]
async fn services_that_share_a_type_are_told_apart_by_their_names() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_farp._tcp", "1", 1).txt(&["name=Tax", "id=tax-1"])).await;
    host.announce(Service::new("_farp._tcp", "2", 2).txt(&["name=vat", "id=vat-1"])).await;
    host.announce(Service::new("_farp._tcp", "3", 3).txt(&["id=nameless"])).await;
    let mdns = Mdns::new(loopback(port).with_service_type("_farp._tcp")).unwrap();
    let (tax, vat) = (mdns.service("tax").unwrap(), mdns.service("vat").unwrap());
    let (mut of_tax, mut of_vat) = (tax.discover(), vat.discover());
    until_keys(&mut of_tax, &["tax-1"]).await;
    until_keys(&mut of_vat, &["vat-1"]).await;
    // They share one search, which goes on without either.
    drop(of_tax);
    host.announce(Service::new("_farp._tcp", "4", 4).txt(&["name=VAT", "id=vat-2"])).await;
    until_keys(&mut of_vat, &["vat-1", "vat-2"]).await;
}

#[tokio::test]
async fn a_host_that_is_back_within_a_second_of_its_goodbye_was_never_away() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    host.announce(Service::new("_tax._tcp", "tax-2", 2)).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1", "tax-2"]).await;
    host.goodbye("tax-1").await;
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    // The one that only says goodbye is gone by then.
    host.goodbye("tax-2").await;
    until_keys(&mut sets, &["tax-1"]).await;
    sleep(secs(1)).await;
    assert!(sets.next().now_or_never().is_none());
}

#[tokio::test]
async fn another_address_of_a_host_takes_the_place_of_the_one_before() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    let at = |set: &EndpointSet| set[0].address().host().to_owned();
    assert_eq!(at(&until_keys(&mut sets, &["tax-1"]).await), "127.0.0.1");
    // Of the addresses of a host, only those older than a second are replaced (RFC 6762 §10.2).
    sleep(ms(1_200)).await;
    host.announce(Service::new("_tax._tcp", "tax-1", 1).ip([127, 0, 0, 2])).await;
    until(&mut sets, |set| at(set) == "127.0.0.2").await;
}

#[tokio::test]
async fn a_change_of_the_txt_record_is_an_update_at_the_same_address() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    let before = until_keys(&mut sets, &["tax-1"]).await;
    let strings = ["id=tax-1", "weight=3", "status=warning", "draining=true", "k=1", "k=2"];
    host.announce(Service::new("_tax._tcp", "tax-1", 1).txt(&strings)).await;
    let set = until(&mut sets, |set| set.first().is_none_or(|of| of.weight() == 3)).await;
    assert_eq!(set[0].address(), before[0].address());
    assert_eq!((set[0].status(), set[0].is_draining()), (Status::Warning, true));
    assert_eq!(set[0].metadata()["k"], "1");
}

// python-zeroconf/python-zeroconf#1815: SRV and A are there before TXT.
#[tokio::test]
async fn an_instance_whose_txt_record_comes_later_is_never_one_without_it() {
    let place = [RecordType::PTR, RecordType::SRV, RecordType::A];
    for _ in 0..10 {
        let port = free_port();
        let host = Responder::start(port);
        host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
        let mut sets = mdns(port).service("tax").unwrap().discover();
        until_keys(&mut sets, &["tax-1"]).await;
        let late = Service::new("_tax._tcp", "label", 2).txt(&["id=tax-2", "protocol=https"]);
        let start = Instant::now();
        host.tells_of(&late, &place).await;
        sleep(ms(400)).await;
        host.tells_of(&late, &[RecordType::TXT]).await;
        let set = sets.next().await.unwrap();
        // It is awaited for 1 s: if the machine stalled until then, this tells nothing.
        if start.elapsed() >= secs(1) {
            continue;
        }
        assert_eq!(keys(&set), ["tax-1", "tax-2"]);
        assert_eq!(set[1].address().scheme(), Some("https"));
        // One that says nothing of itself is found all the same.
        host.tells_of(&Service::new("_tax._tcp", "bare", 3), &place).await;
        until_keys(&mut sets, &["bare", "tax-1", "tax-2"]).await;
        return;
    }
    panic!("a TXT record never came into effect within the time for which it is awaited");
}

#[tokio::test]
async fn an_empty_network_is_an_empty_set_after_the_browse_timeout() {
    let endpoints = mdns(free_port()).service("tax").unwrap();
    let start = Instant::now();
    let set = endpoints.first_snapshot(secs(10)).await.unwrap();
    assert!(set.is_empty());
    let took = start.elapsed();
    assert!(took >= secs(2) && took < secs(6), "{took:?}");
}

#[tokio::test]
async fn without_an_interface_there_is_an_error_and_no_empty_set() {
    let mut config = loopback(free_port()).with_browse_timeout(ms(300));
    config.interfaces = vec!["no-such-interface".to_owned()];
    let endpoints = Mdns::new(config).unwrap().service("tax").unwrap();
    let error = endpoints.first_snapshot(secs(2)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(endpoints.handle().set().is_none());
    let error = endpoints.handle().last_error().unwrap().to_string();
    assert!(error.contains("no-such-interface"), "{error}");
}

#[tokio::test]
async fn instances_beyond_the_bound_and_on_foreign_loopbacks_are_ignored() {
    let port = free_port();
    let host = Responder::start(port);
    let mut sets = {
        let config = loopback(port).with_max_instances(3);
        Mdns::new(config).unwrap().service("tax").unwrap().discover()
    };
    host.announce(Service::new("_tax._tcp", "nowhere", 9).ip([0, 0, 0, 0])).await;
    for at in 1..=5 {
        host.announce(Service::new("_tax._tcp", &format!("tax-{at}"), at)).await;
    }
    let set = until(&mut sets, |set| set.len() == 3).await;
    assert!(set.get("nowhere").is_none());
    sleep(ms(500)).await;
    assert!(sets.next().now_or_never().is_none_or(|set| set.unwrap().len() == 3));
}

#[tokio::test]
async fn all_that_ask_for_a_service_share_one_watch_and_nothing_is_asked_without_one() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1).ttl(2)).await;
    let mdns = mdns(port);
    let (one, same) = (mdns.service("tax").unwrap(), mdns.service("tax").unwrap());
    assert!(std::ptr::eq(one.source(), same.source()));
    let (mut first, mut second) = (one.discover(), same.discover());
    until_keys(&mut first, &["tax-1"]).await;
    until_keys(&mut second, &["tax-1"]).await;
    drop((first, second));
    sleep(ms(500)).await;
    let before = host.questions();
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(host.questions(), before, "the daemon ends with the last user");
    // And begins again.
    until_keys(&mut one.discover(), &["tax-1"]).await;
}

#[tokio::test]
async fn services_and_instances_are_listed_without_a_watch() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_farp._tcp", "1", 1).txt(&["name=vat", "id=vat-1"])).await;
    host.announce(Service::new("_tax._tcp", "2", 2).txt(&["name=tax", "id=tax-1"])).await;
    host.announce(Service::new("_tax._tcp", "3", 3).txt(&["id=nameless"])).await;
    let config = loopback(port).with_service_type("_farp._tcp").with_service_types(["_tax._tcp"]);
    let mdns = Mdns::new(config.with_browse_timeout(ms(700))).unwrap();
    let (services, found) = tokio::join!(mdns.list_services(), mdns.find_instance("tax-1"));
    assert_eq!(services.unwrap(), ["tax", "vat"]);
    let found = found.unwrap().unwrap();
    assert_eq!((found.service(), found.endpoint().address().port()), ("tax", Some(2)));
    assert!(mdns.find_instance("unknown").await.unwrap().is_none());
    assert!(crate::mdns(port).list_services().await.is_err(), "it has no types to look for");
}

#[test]
fn a_name_that_is_no_type_is_refused() {
    let mdns = mdns(free_port());
    for name in ["", "a-name-that-is-too-long", "t\u{e4}x", "1"] {
        assert_eq!(mdns.service(name).unwrap_err().kind(), Kind::InvalidConfig, "{name}");
    }
    assert_eq!(mdns.all_types().unwrap_err().kind(), Kind::InvalidConfig);
    let shared = Mdns::new(loopback(1).with_service_type("_farp._tcp")).unwrap();
    assert!(shared.service("a-name-that-is-too-long").is_ok() && shared.service("").is_err());
}
