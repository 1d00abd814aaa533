//! When a client comes to another endpoint, and when it does not.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{advance, sleep};
use tower_upstream::{
    Endpoint,
    endpoint::{Locality, Status},
    http::SessionCookieLayer,
};

use super::proxy::{KEYS, NEW, OLD, Proxy, settle};

fn all(change: impl Fn(Endpoint) -> Endpoint) -> Vec<Endpoint> {
    KEYS.map(|key| change(Endpoint::new(key).unwrap())).into()
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_to_an_endpoint_that_was_away_between_its_calls() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    for _ in 0..3 {
        assert!(proxy.endpoints.remove(&first.by));
        settle().await;
        proxy.endpoints.replace(all(|of| of)).unwrap();
        settle().await;
        assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_and_goes_does_not_pull_a_client_to_and_fro() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    proxy.handle.disable(&first.by);
    settle().await;
    let next = proxy.ask(&[&first.pair()]).await;
    assert_ne!(next.by, first.by);
    for round in 0..6 {
        match round % 2 {
            0 => proxy.handle.enable(&first.by),
            _ => proxy.handle.disable(&first.by),
        };
        settle().await;
        let again = proxy.ask(&[&next.pair()]).await;
        assert_eq!((again.by, again.set), (next.by.clone(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_discovery_says_of_an_endpoint_but_its_key_changes_no_session() {
    let zone = Locality::of_zone("b");
    let changes: [(&str, &dyn Fn(Endpoint) -> Endpoint); 7] = [
        ("weight", &|of| of.with_weight(7)),
        ("metadata", &|of| of.with_metadata("version", "2")),
        ("tag", &|of| of.with_tag("blue")),
        ("zone", &|of| of.with_locality(zone.clone())),
        ("status", &|of| of.with_status(Status::Warning)),
        ("priority", &|of| of.with_priority(3)),
        ("draining", &|of| of.with_draining(true)),
    ];
    for (what, change) in changes {
        let mut proxy = Proxy::of(&[NEW]);
        let first = proxy.ask(&[]).await;
        let home = |of: Endpoint| if of.key() == first.by { change(of) } else { of };
        proxy.endpoints.replace(all(home)).unwrap();
        settle().await;
        for _ in 0..5 {
            let next = proxy.ask(&[&first.pair()]).await;
            assert_eq!((next.by, next.set), (first.by.clone(), None), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_leaves_an_endpoint_that_gets_no_weight_any_more() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    assert!(proxy.handle.set_weight(&first.by, 0));
    settle().await;
    let next = proxy.ask(&[&first.pair()]).await;
    assert_ne!(next.by, first.by);
    assert!(proxy.handle.reset_weight(&first.by));
    settle().await;
    assert_eq!(proxy.ask(&[&next.pair()]).await.by, next.by);
}

#[tokio::test(start_paused = true)]
async fn in_a_panic_a_client_stays_where_it_is() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    proxy.endpoints.replace(all(|of| of.with_status(Status::Critical))).unwrap();
    settle().await;
    assert!(proxy.handle.is_health_ignored());
    for _ in 0..5 {
        assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_an_endpoint_that_is_gone_spread_over_all_others() {
    let mut proxy = Proxy::of(&[NEW]);
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(proxy.ask(&[]).await);
    }
    let gone = KEYS[0];
    assert!(proxy.endpoints.remove(gone));
    settle().await;
    let mut moved = BTreeMap::<_, usize>::new();
    for client in clients.iter().filter(|client| client.by == gone) {
        *moved.entry(proxy.ask(&[&client.pair()]).await.by).or_default() += 1;
    }
    assert_eq!(moved.values().copied().collect::<Vec<_>>(), [5, 5], "{moved:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_session_take_no_turn_of_those_without_one() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    let mut begun = BTreeMap::<_, usize>::new();
    for _ in 0..30 {
        *begun.entry(proxy.ask(&[]).await.by).or_default() += 1;
        for _ in 0..2 {
            assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
        }
    }
    assert_eq!(begun.into_values().collect::<Vec<_>>(), [10; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_spreads_no_one_anew_and_new_clients_as_ever() {
    let mut before = Proxy::of(&[NEW]);
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(before.ask(&[]).await);
    }
    let mut after = Proxy::of(&[NEW]);
    for client in &clients {
        assert_eq!(after.ask(&[&client.pair()]).await.by, client.by);
    }
    let mut begun = BTreeMap::<_, usize>::new();
    for _ in 0..12 {
        *begun.entry(after.ask(&[]).await.by).or_default() += 1;
    }
    assert_eq!(begun.into_values().collect::<Vec<_>>(), [4; 3]);
}

#[tokio::test(start_paused = true)]
async fn while_a_secret_changes_in_a_fleet_no_proxy_loses_a_session() {
    let mut fleet = [Proxy::of(&[OLD, NEW]), Proxy::of(&[NEW, OLD]), Proxy::of(&[NEW])];
    let first = fleet[0].ask(&[]).await;
    let mut pair = first.pair();
    // The last one has the old secret no more, and comes after each client was asked by the second.
    for turn in [1, 0, 1, 2, 1, 2, 0, 1, 2] {
        let next = fleet[turn].ask(&[&pair]).await;
        assert_eq!(next.by, first.by, "{turn}");
        pair = if next.set.is_some() { next.pair() } else { pair };
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_its_cookie_for_too_long_has_no_session() {
    let timeout = Duration::from_secs(160);
    let mut proxy =
        Proxy::new(SessionCookieLayer::new([NEW]).unwrap().with_session_timeout(timeout));
    // It lasts 10 s longer than the session, and not a second more.
    for (after, stays) in [(160, true), (169, true), (170, false), (100_000, false)] {
        let first = proxy.ask(&[]).await;
        advance(Duration::from_secs(after)).await;
        let next = proxy.ask(&[&first.pair()]).await;
        assert!(next.set.is_some(), "{after}: it is set anew");
        assert_eq!(next.by == first.by, stays, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_keeps_its_clients_for_a_time_and_gets_no_new_ones() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    assert!(proxy.handle.drain(&first.by));
    settle().await;
    for _ in 0..9 {
        assert_ne!(proxy.ask(&[]).await.by, first.by);
    }
    sleep(Duration::from_secs(29)).await;
    assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
    sleep(Duration::from_secs(2)).await;
    let next = proxy.ask(&[&first.pair()]).await;
    assert!(next.by != first.by && next.set.is_some());
}
