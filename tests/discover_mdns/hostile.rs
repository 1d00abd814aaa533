//! Anything may come from the network.

use tower_upstream::discover::Discover;

use crate::{
    free_port, mdns,
    responder::{Responder, Service},
    until, until_keys,
};

/// Numbers that look random, the same each time.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    }
}

#[tokio::test]
async fn packets_that_are_none_take_nothing_away() {
    let port = free_port();
    let host = Responder::start(port);
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    let mut sets = mdns(port).service("tax").unwrap().discover();
    until_keys(&mut sets, &["tax-1"]).await;
    let mut next = noise(7);
    for length in 0..400 {
        let mut packet: Vec<u8> = (0..length).map(|_| next()).collect();
        // Half of them have the head of an answer.
        if length >= 12 && length % 2 == 0 {
            packet[..12].copy_from_slice(&[0, 0, 0x84, 0, 0, 0, 0, 9, 0, 0, 0, 9]);
        }
        host.send(&packet).await;
    }
    let strange = "x".repeat(63);
    let strings = ["=", "=x", "a", "a=1", "A=2", "id=", "weight=-1", "priority=x", "tags=,,a,"];
    host.announce(Service::new("_tax._tcp", &strange, 2).txt(&strings)).await;
    host.announce(Service::new("_tax._tcp", "bad", 3).txt(&["protocol=exec"])).await;
    host.announce(Service::new("_tax._tcp", "\u{1f980} a.b\\", 4).txt(&["weight=4"])).await;
    let set = until(&mut sets, |set| set.len() == 3).await;
    let of = set.get(&strange).unwrap();
    assert_eq!((of.weight(), of.tags()), (1, &["a".to_owned()][..]));
    assert_eq!(of.metadata()["a"], "true");
    assert_eq!(set.iter().find(|of| of.weight() == 4).unwrap().key(), "\u{1f980} a.b\\");
    assert!(set.get("tax-1").is_some());
}

#[tokio::test]
async fn what_is_listed_under_a_type_and_is_none_of_it_is_ignored() {
    let port = free_port();
    let host = Responder::start(port);
    let mut sets = mdns(port).service("tax").unwrap().discover();
    for label in ["vat-1", "nameless"] {
        let other = Service::new("_vat._tcp", label, 9);
        let other = if label == "nameless" { other.txt(&["weight=2"]) } else { other };
        host.lists_under("_tax._tcp", &other).await;
    }
    host.announce(Service::new("_tax._tcp", "tax-1", 1)).await;
    let set = until(&mut sets, |set| set.get("tax-1").is_some()).await;
    assert_eq!(set.len(), 1, "{set:?}");
    // Nor does it come later.
    host.announce(Service::new("_tax._tcp", "tax-2", 2)).await;
    let set = until(&mut sets, |set| set.get("tax-2").is_some()).await;
    assert_eq!(set.len(), 2, "{set:?}");
}
