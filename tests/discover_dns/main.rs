//! Endpoints in DNS, against a name server in this process: on a paused clock.
#![cfg(feature = "dns")]
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod server;
#[path = "../support/mod.rs"]
mod support;

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt, StreamExt};
use hickory_resolver::proto::{
    op::ResponseCode,
    rr::RecordType::{A, AAAA, CNAME, SRV},
};
use server::{NEGATIVE_TTL, Server, Zone};
use support::{ms, secs, settle};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::RoundRobin,
    connect_fn,
    discover::{Discover, Dns, DnsConfig, DnsService, EndpointSet, IpFamily, WatchStream, Watched},
};

const TAX: &str = "tax.internal";

fn dns(server: &Server) -> Dns {
    Dns::new([server.address], DnsConfig::default())
}

fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

async fn next(sets: &mut WatchStream) -> EndpointSet {
    tokio::time::timeout(secs(600), sets.next()).await.expect("no news").unwrap()
}

async fn expect(sets: &mut WatchStream, expected: &[&str]) -> Duration {
    let start = Instant::now();
    assert_eq!(keys(&next(sets).await), expected);
    start.elapsed()
}

async fn tax(server: &Server) -> (Watched<DnsService>, WatchStream) {
    let endpoints = dns(server).service("http://tax.internal:8080/v1").unwrap();
    let sets = endpoints.discover();
    (endpoints, sets)
}

#[tokio::test(start_paused = true)]
async fn both_families_are_found_and_asked_again_when_the_shortest_ttl_ends() {
    let server = Server::start().await;
    server.has(TAX, A, 30, &["10.0.0.2", "10.0.0.1"]);
    server.has(TAX, AAAA, 60, &["fd00::1"]);
    let (_endpoints, mut sets) = tax(&server).await;
    let one = "http://10.0.0.1:8080/v1";
    let all = [one, "http://10.0.0.2:8080/v1", "http://[fd00::1]:8080/v1"];
    expect(&mut sets, &all).await;
    server.has(TAX, A, 30, &["10.0.0.1"]);
    let waited = expect(&mut sets, &[one, all[2]]).await;
    assert!((secs(30)..=ms(33_100)).contains(&waited), "{waited:?}");
    assert_eq!((server.asked(TAX, A), server.asked(TAX, AAAA)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_is_kept_within_its_bounds() {
    for (ttl, expected) in [(0, 1), (1, 1), (7, 7), (86_400, 300)] {
        let server = Server::start().await;
        server.has(TAX, A, ttl, &["10.0.0.1"]);
        server.has(TAX, AAAA, 86_400, &["fd00::1"]);
        let (_endpoints, mut sets) = tax(&server).await;
        next(&mut sets).await;
        tokio::time::sleep(secs(expected) * 10).await;
        let asked = server.asked(TAX, A);
        assert!((9..=11).contains(&asked), "TTL {ttl}: {asked} times");
    }
}

#[tokio::test(start_paused = true)]
async fn aliases_are_followed_and_their_ttl_counts() {
    let server = Server::start().await;
    // The whole chain in one answer, and one that ends at a name that has to be asked for.
    let chain =
        vec![("CNAME", 20, "a.internal"), ("CNAME", 90, "b.internal"), ("A", 90, "10.0.0.1")];
    server.set(TAX, A, Zone::Has(chain));
    server.set(TAX, AAAA, Zone::Has(vec![("CNAME", 90, "c.internal")]));
    server.has("c.internal", AAAA, 90, &["fd00::1"]);
    let (_endpoints, mut sets) = tax(&server).await;
    expect(&mut sets, &["http://10.0.0.1:8080/v1", "http://[fd00::1]:8080/v1"]).await;
    tokio::time::sleep(secs(200)).await;
    let asked = server.asked(TAX, A);
    assert!((10..=11).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn srv_records_tell_ports_priorities_and_weights() {
    let server = Server::start().await;
    let service = "_http._tcp.tax.internal";
    server.has(
        service,
        SRV,
        30,
        &["10 20 8080 a.internal", "10 60 8081 b.internal", "20 0 8082 c.internal"],
    );
    server.has("a.internal", A, 90, &["10.0.0.1", "10.0.0.2"]);
    server.has("b.internal", A, 90, &["10.0.0.3"]);
    server.has("c.internal", AAAA, 90, &["fd00::1"]);
    let endpoints = dns(&server).service("http://_http._tcp.tax.internal").unwrap();
    let mut sets = endpoints.discover();
    let set = next(&mut sets).await;
    let found: Vec<_> = set.iter().map(|of| (of.key(), of.priority(), of.weight())).collect();
    let expected = [
        ("http://10.0.0.1:8080", 10, 1),
        ("http://10.0.0.2:8080", 10, 1),
        ("http://10.0.0.3:8081", 10, 6),
        ("http://[fd00::1]:8082", 20, 1),
    ];
    assert_eq!(found, expected);
    // A weight alone is news too.
    server.has(
        service,
        SRV,
        30,
        &["10 60 8080 a.internal", "10 60 8081 b.internal", "20 0 8082 c.internal"],
    );
    assert_eq!(next(&mut sets).await[2].weight(), 2);

    // One target, that is no host at all: the service says that it is gone.
    server.has(service, SRV, 30, &["0 0 0 ."]);
    let start = Instant::now();
    assert!(next(&mut sets).await.is_empty());
    assert!(start.elapsed() <= ms(33_100), "without grace");
}

#[tokio::test(start_paused = true)]
async fn srv_records_behind_aliases_are_found_in_one_answer_and_in_several() {
    let (service, next, last) =
        ("_http._tcp.tax.internal", "_http._tcp.next.internal", "_http._tcp.last.internal");
    let records = || [("SRV", 90, "0 1 8080 a.internal"), ("SRV", 90, "0 1 8081 b.internal")];
    let aliases = |of: &[(&'static str, u32, &'static str)], with: bool| {
        let records = records().into_iter().filter(|_| with);
        Zone::Has(of.iter().copied().chain(records).collect())
    };
    // As of a server that looks on by itself, and of one that tells its own alone.
    for is_whole in [true, false] {
        let server = Server::start().await;
        let (first, second) = (("CNAME", 20, next), ("CNAME", 60, last));
        let all = if is_whole { vec![first, second] } else { vec![first] };
        server.set(service, SRV, aliases(&all, is_whole));
        server.set(service, CNAME, aliases(&[first], false));
        server.set(next, SRV, aliases(&[second], is_whole));
        server.set(next, CNAME, aliases(&[second], false));
        server.set(last, SRV, aliases(&[], true));
        server.has("a.internal", A, 90, &["10.0.0.1"]);
        server.has("b.internal", A, 90, &["10.0.0.2"]);
        let config = DnsConfig::default().with_family(IpFamily::V4);
        let endpoints = Dns::new([server.address], config).service(service).unwrap();
        let mut sets = endpoints.discover();
        expect(&mut sets, &["10.0.0.1:8080", "10.0.0.2:8081"]).await;
        // The alias is the first to end.
        server.has(service, SRV, 90, &["0 0 0 ."]);
        let waited = expect(&mut sets, &[]).await;
        assert!((secs(20)..=ms(22_100)).contains(&waited), "{is_whole}: {waited:?}");
    }
}

/// As during a change, which not all servers of a name have yet.
#[tokio::test(start_paused = true)]
async fn aliases_that_lead_nowhere_take_nothing_away() {
    let (service, next) = ("_http._tcp.tax.internal", "_http._tcp.next.internal");
    let alias = |to: &'static str| Zone::Has(vec![("CNAME", 30, to)]);
    // One that is there only where SRV records are asked for, and a circle of two.
    for is_circle in [false, true] {
        let server = Server::start().await;
        server.has(service, SRV, 30, &["0 1 8080 a.internal"]);
        server.has("a.internal", A, 30, &["10.0.0.1"]);
        let config = DnsConfig::default().with_family(IpFamily::V4);
        let endpoints = Dns::new([server.address], config).service(service).unwrap();
        let mut sets = endpoints.discover();
        expect(&mut sets, &["10.0.0.1:8080"]).await;
        server.set(service, SRV, alias(next));
        if is_circle {
            server.set(service, CNAME, alias(next));
            server.set(next, SRV, alias(service));
            server.set(next, CNAME, alias(service));
        }
        tokio::time::sleep(secs(600)).await;
        assert!(sets.next().now_or_never().is_none(), "{is_circle}");
        let error = endpoints.handle().last_error().unwrap();
        let error = format!("{:#}", tower_upstream::Error::from_service(error));
        assert_eq!(error.contains("more than 8 aliases"), is_circle, "{error}");
        server.has(service, SRV, 30, &["0 1 8080 a.internal", "0 1 8081 a.internal"]);
        expect(&mut sets, &["10.0.0.1:8080", "10.0.0.1:8081"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_empties_the_set_after_the_grace() {
    let server = Server::start().await;
    server.has(TAX, A, 30, &["10.0.0.1"]);
    server.has(TAX, AAAA, 30, &["fd00::1"]);
    let (endpoints, mut sets) = tax(&server).await;
    next(&mut sets).await;
    server.forget(TAX);
    let waited = expect(&mut sets, &[]).await;
    // The TTL of the records, and then ten seconds of the same answer.
    assert!((secs(40)..=secs(44)).contains(&waited), "{waited:?}");
    assert!(endpoints.handle().last_error().is_none(), "it was answered");

    // That it is not there holds for as long as the zone says.
    settle().await;
    let asked = server.asked(TAX, A);
    tokio::time::sleep(Duration::from_secs(u64::from(NEGATIVE_TTL) * 20)).await;
    let more = server.asked(TAX, A) - asked;
    assert!((18..=20).contains(&more), "{more}");
    server.has(TAX, A, 30, &["10.0.0.9"]);
    expect(&mut sets, &["http://10.0.0.9:8080/v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_takes_nothing_away() {
    for zone in [
        Zone::Code(ResponseCode::ServFail),
        Zone::Code(ResponseCode::Refused),
        Zone::Code(ResponseCode::FormErr),
        Zone::Silent,
    ] {
        let server = Server::start().await;
        server.has(TAX, A, 30, &["10.0.0.1"]);
        let (endpoints, mut sets) = tax(&server).await;
        expect(&mut sets, &["http://10.0.0.1:8080/v1"]).await;
        for of in [A, AAAA] {
            server.set(TAX, of, zone.clone());
        }
        tokio::time::sleep(secs(3_600)).await;
        assert!(sets.next().now_or_never().is_none(), "{zone:?}");
        let handle = endpoints.handle();
        let error = handle.last_error().unwrap().to_string();
        assert!(error.contains("DNS name `tax.internal`"), "{error}");
        assert!(handle.staleness().unwrap() > secs(3_500));
        server.has(TAX, A, 30, &["10.0.0.1", "10.0.0.2"]);
        server.has(TAX, AAAA, 30, &[]);
        assert_eq!(next(&mut sets).await.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_family_that_fails_stays_as_it_was() {
    let server = Server::start().await;
    server.has(TAX, A, 30, &["10.0.0.1", "10.0.0.2"]);
    server.has(TAX, AAAA, 30, &["fd00::1"]);
    let (_endpoints, mut sets) = tax(&server).await;
    next(&mut sets).await;
    server.set(TAX, AAAA, Zone::Code(ResponseCode::ServFail));
    server.has(TAX, A, 30, &["10.0.0.1"]);
    expect(&mut sets, &["http://10.0.0.1:8080/v1", "http://[fd00::1]:8080/v1"]).await;
    tokio::time::sleep(secs(600)).await;
    assert!(sets.next().now_or_never().is_none());

    // One that never answered keeps the other from nothing.
    let server = Server::start().await;
    server.has(TAX, A, 30, &["10.0.0.1"]);
    server.set(TAX, AAAA, Zone::Silent);
    let (_endpoints, mut sets) = tax(&server).await;
    expect(&mut sets, &["http://10.0.0.1:8080/v1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_answered_costs_no_other() {
    const OF: &str = "_http._tcp.tax.internal";
    for zone in [Zone::Code(ResponseCode::ServFail), Zone::Silent] {
        let server = Server::start().await;
        let two = ["0 1 80 a.internal", "0 1 80 b.internal"];
        server.has(OF, SRV, 30, &two);
        server.has("a.internal", A, 30, &["10.0.0.1"]);
        for of in [A, AAAA] {
            server.set("b.internal", of, zone.clone());
        }
        let endpoints = dns(&server).service(OF).unwrap();
        let mut sets = endpoints.discover();
        // It has none yet, and is asked for again soon.
        expect(&mut sets, &["10.0.0.1:80"]).await;
        server.has("b.internal", A, 30, &["10.0.0.2"]);
        server.has("b.internal", AAAA, 30, &[]);
        let waited = expect(&mut sets, &["10.0.0.1:80", "10.0.0.2:80"]).await;
        assert!(waited <= secs(21), "{waited:?}");
        // Later it stays what it was, and the others follow.
        for of in [A, AAAA] {
            server.set("b.internal", of, zone.clone());
        }
        server.has(OF, SRV, 30, &[two[0], two[1], "0 1 80 c.internal"]);
        server.has("c.internal", A, 30, &["10.0.0.3"]);
        expect(&mut sets, &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).await;
        assert!(endpoints.handle().last_error().is_none());
        // Once none is answered, that is an error.
        for host in ["a.internal", "c.internal"] {
            for of in [A, AAAA] {
                server.set(host, of, zone.clone());
            }
        }
        tokio::time::sleep(secs(120)).await;
        assert!(sets.next().now_or_never().is_none() && endpoints.handle().last_error().is_some());
    }
}

/// For the records of a server.
fn leaked(texts: impl IntoIterator<Item = String>) -> Vec<&'static str> {
    texts.into_iter().map(|text| &*text.leak()).collect()
}

#[tokio::test(start_paused = true)]
async fn targets_that_are_silent_leave_time_for_the_others() {
    const OF: &str = "_http._tcp.tax.internal";
    // Ten are asked for at once: as many are silent, or the first of each ten, or but a few.
    let cases: [fn(usize) -> bool; 3] =
        [|index| index < 10, |index| index % 10 == 0, |index| index < 2];
    for is_silent in cases {
        let server = Server::start().await;
        let hosts: Vec<String> = (0..12).map(|index| format!("h{index}.internal")).collect();
        server.has(OF, SRV, 30, &leaked(hosts.iter().map(|host| format!("0 1 80 {host}"))));
        let mut there = BTreeSet::new();
        for (index, host) in hosts.iter().enumerate() {
            if is_silent(index) {
                [A, AAAA].into_iter().for_each(|of| server.set(host, of, Zone::Silent));
            } else {
                let address = format!("10.0.0.{}", index + 10);
                server.has(host, A, 30, &leaked([address.clone()]));
                there.insert(format!("{address}:80"));
            }
        }
        let endpoints = dns(&server).service(OF).unwrap();
        let mut sets = endpoints.discover();
        let there: Vec<_> = there.iter().map(|of| &**of).collect();
        let waited = expect(&mut sets, &there).await;
        assert!(waited <= secs(6), "none waits for one that is silent: {waited:?}");
    }
}

/// As if the first question had been lost on its way.
#[tokio::test(start_paused = true)]
async fn each_of_a_few_targets_has_the_time_for_a_second_question() {
    const OF: &str = "_http._tcp.tax.internal";
    let server = Server::start().await;
    server.has(OF, SRV, 30, &["0 1 80 a.internal", "0 1 80 b.internal"]);
    server.has("a.internal", A, 30, &["10.0.0.1"]);
    [A, AAAA].into_iter().for_each(|of| server.set("b.internal", of, Zone::Silent));
    let endpoints = dns(&server).service(OF).unwrap();
    let mut sets = endpoints.discover();
    assert!(tokio::time::timeout(secs(4), sets.next()).await.is_err());
    server.has("b.internal", A, 30, &["10.0.0.2"]);
    server.has("b.internal", AAAA, 30, &[]);
    let waited = expect(&mut sets, &["10.0.0.1:80", "10.0.0.2:80"]).await;
    assert!(waited <= secs(3), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_none_of_a_host_is_left_out() {
    let server = Server::start().await;
    server.has(TAX, A, 30, &["0.0.0.0", "10.0.0.1"]);
    server.has(TAX, AAAA, 30, &["::", "fe80::1"]);
    let (_endpoints, mut sets) = tax(&server).await;
    expect(&mut sets, &["http://10.0.0.1:8080/v1"]).await;
    // As of a resolver that blocks the name: there may be some reason, or a mistake.
    server.has(TAX, A, 30, &["0.0.0.0"]);
    let waited = expect(&mut sets, &[]).await;
    assert!((secs(40)..=secs(75)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_is_asked_for_over_tcp() {
    let server = Server::start().await;
    server.cut();
    server.has(TAX, A, 30, &leaked((0..200).map(|number| format!("10.0.1.{number}"))));
    let (_endpoints, mut sets) = tax(&server).await;
    assert_eq!(next(&mut sets).await.len(), 200);
    assert!(server.over_tcp() >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_family_that_is_not_wanted_is_not_asked_for() {
    for (family, of, other) in [(IpFamily::V4, A, AAAA), (IpFamily::V6, AAAA, A)] {
        let server = Server::start().await;
        server.has(TAX, A, 30, &["10.0.0.1"]);
        server.has(TAX, AAAA, 30, &["fd00::1"]);
        let dns = Dns::new([server.address], DnsConfig::default().with_family(family));
        let set = dns.service("tax.internal:80").unwrap().first_snapshot(secs(30)).await.unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!((server.asked(TAX, of), server.asked(TAX, other)), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn all_that_ask_for_a_name_share_one_watch() {
    let server = Server::start().await;
    server.has(TAX, A, 3_600, &["10.0.0.1"]);
    let dns = dns(&server);
    for _ in 0..2 {
        let watch = || dns.service("tax.internal:8080").unwrap();
        let mut all: Vec<_> = (0..5).map(|_| watch().discover()).collect();
        for sets in &mut all {
            assert_eq!(next(sets).await.len(), 1);
        }
        drop(all);
        settle().await;
    }
    // One for each time that there were users.
    assert_eq!(server.asked(TAX, A), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_is_told() {
    let nowhere = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let endpoints = Dns::new([nowhere], DnsConfig::default()).service("tax.internal:80").unwrap();
    let error = endpoints.first_snapshot(secs(60)).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let handle = endpoints.handle();
    assert!(handle.last_error().is_some() && handle.failures() >= 1);
}

/// A balancer under load, while addresses come and go, and the name server fails and comes back.
#[tokio::test(start_paused = true)]
async fn no_call_fails_while_names_move_and_their_server_fails() {
    let server = Server::start().await;
    server.has(TAX, A, 5, &["10.0.0.1"]);
    let endpoints = dns(&server).service("tax.internal:8080").unwrap();
    let handle = endpoints.handle();
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::new()))
        .service(connect_fn(|endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            service_fn(move |()| std::future::ready(Ok::<_, BoxError>(key.clone())))
        }));
    let steps: [(Zone, &[&str]); 5] = [
        (zone(&["10.0.0.1", "10.0.0.2"]), &["10.0.0.1:8080", "10.0.0.2:8080"]),
        (Zone::Code(ResponseCode::ServFail), &["10.0.0.1:8080", "10.0.0.2:8080"]),
        (zone(&["10.0.0.2", "10.0.0.3"]), &["10.0.0.2:8080", "10.0.0.3:8080"]),
        (Zone::Silent, &["10.0.0.2:8080", "10.0.0.3:8080"]),
        (zone(&["10.0.0.4"]), &["10.0.0.4:8080"]),
    ];
    for (zone, expected) in steps {
        server.set(TAX, A, zone);
        for _ in 0..900 {
            stack.clone().oneshot(()).await.expect("a call failed");
            tokio::time::sleep(ms(100)).await;
        }
        let mut used = BTreeSet::new();
        for _ in 0..20 {
            used.insert(stack.clone().oneshot(()).await.unwrap());
        }
        assert!(used.iter().eq(expected), "{used:?}");
    }
    drop(stack);
    settle().await;
    assert!(!handle.is_running());
}

fn zone(addresses: &[&'static str]) -> Zone {
    Zone::Has(addresses.iter().map(|address| ("A", 5, *address)).collect())
}

#[tokio::test(start_paused = true)]
async fn a_user_may_leave_at_any_point_of_a_resolution() {
    let server = Server::start().await;
    server.has("_http._tcp.tax", SRV, 30, &["0 1 80 a.internal", "0 1 80 b.internal"]);
    server.has("a.internal", A, 30, &["10.0.0.1"]);
    server.has("b.internal", AAAA, 30, &["fd00::1"]);
    let dns = dns(&server);
    for points in 0..60 {
        let endpoints = dns.service("_http._tcp.tax").unwrap();
        let mut sets = endpoints.discover();
        for _ in 0..=points {
            let _ = sets.next().now_or_never();
            tokio::task::yield_now().await;
        }
        drop(sets);
        settle().await;
        assert!(!endpoints.handle().is_running());
        if points % 10 == 0 {
            assert_eq!(endpoints.first_snapshot(secs(60)).await.unwrap().len(), 2);
        }
    }
}
