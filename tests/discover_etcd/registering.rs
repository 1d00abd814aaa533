//! What is announced: each test is named after what it promises.

use support::ms;
use tokio::time::{Instant, sleep};
use tower_upstream::{
    Endpoint,
    discover::{Catalog, Discover, EtcdRegistrar, Registration, Registry},
    endpoint::Status,
};

use super::*;
use crate::{double::Mood, messages::LeaseRequest};

fn registry(members: &[&Member]) -> Registry<EtcdRegistrar> {
    Registry::new(etcd(members).registrar())
}

fn endpoint(id: &str) -> Endpoint {
    Endpoint::new("http://10.0.0.1:8080").unwrap().with_key(id)
}

async fn announced(registry: &Registry<EtcdRegistrar>, id: &str) -> Registration {
    let registration = registry.register("tax", endpoint(id)).unwrap();
    registration.registered(secs(5)).await.unwrap();
    registration
}

fn ids(cluster: &Cluster) -> Vec<String> {
    let keys = cluster.store().keys_below("/services/");
    keys.iter().map(|key| key.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Ends every lease, as if the time had passed.
fn end_leases(cluster: &Cluster) {
    cluster.change(|store| {
        for id in store.leases.keys().copied().collect::<Vec<_>>() {
            store.revoke(&LeaseRequest { id }).unwrap();
        }
        store.revoked.clear();
    });
}

/// The leases of all keys, each once.
fn leases(cluster: &Cluster) -> Vec<i64> {
    let keys = cluster.store().keys_below("/services/");
    let mut leases: Vec<_> =
        keys.iter().map(|key| cluster.store().value(key).unwrap().lease).collect();
    leases.dedup();
    leases
}

#[tokio::test(start_paused = true)]
async fn instances_are_announced_under_one_lease_kept_and_gone_after_a_clean_end() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let one = announced(&registry, "a").await;
    let other = announced(&registry, "b").await;
    assert_eq!((ids(&cluster), leases(&cluster).len()), (vec!["a".into(), "b".into()], 1));
    assert_eq!(cluster.store().leases.values().map(|of| of.ttl).collect::<Vec<_>>(), [30]);
    sleep(secs(600)).await;
    assert_eq!(ids(&cluster), ["a", "b"]);
    let kept = cluster.asked("KeptAlive");
    assert!((60..=68).contains(&kept), "{kept}");
    assert_eq!((cluster.asked("LeaseGrant"), cluster.asked("LeaseKeepAlive")), (1, 1));
    assert_eq!(member.connections(), 1);
    one.deregister(secs(5)).await.unwrap();
    assert_eq!(ids(&cluster), ["b"]);
    drop(other);
    until("something is left", || ids(&cluster).is_empty()).await;
    until("the lease is left", || cluster.store().leases.is_empty()).await;
    assert_eq!(cluster.store().revoked.len(), 1);
    until("it is not closed", || member.connections() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_read() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let etcd = etcd(&[&member]);
    let registry = Registry::new(etcd.registrar());
    let tax = etcd.service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &[]).await;
    let announced = registry.register("tax", endpoint("a").with_weight(3)).unwrap();
    let set = next(&mut sets).await;
    let expected = endpoint("a").with_weight(3).with_status(Status::Passing);
    assert_eq!(*set[0], expected);
    announced.set_status(Status::Critical);
    assert_eq!(next(&mut sets).await[0].status(), Status::Critical);
    announced.drain();
    assert!(next(&mut sets).await[0].is_draining());
    drop(announced);
    expect(&mut sets, &[]).await;
    assert_eq!(etcd.list_services().await.unwrap(), [""; 0]);
    assert_eq!(member.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_lease_that_ended_in_a_partition_all_is_there_again_under_a_new_one() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let registrations = [announced(&registry, "a").await, announced(&registry, "b").await];
    let before = leases(&cluster);
    member.is(Mood::WithoutLeader);
    sleep(secs(65)).await;
    assert!(ids(&cluster).is_empty(), "{:?}", ids(&cluster));
    member.is(Mood::Well);
    let start = Instant::now();
    until("they are not back", || ids(&cluster) == ["a", "b"]).await;
    // A step of the backoff is at most a third of the time to live here, and a request may be under way.
    assert!(start.elapsed() <= secs(10) + secs(5), "{:?}", start.elapsed());
    let after = leases(&cluster);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    drop(registrations);
    until("something is left", || cluster.store().leases.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_is_of_the_process_that_has_announced_it_last() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let (old, new) = (registry(&[&member]), registry(&[&member]));
    let before = announced(&old, "a").await;
    before.set_status(Status::Warning);
    before.registered(secs(5)).await.unwrap();
    // The new process announces itself before the old one, which it replaces, ends.
    let after = announced(&new, "a").await;
    let written = cluster.store().value(&key("a")).cloned();
    before.drain();
    let error = before.registered(secs(5)).await.unwrap_err().to_string();
    assert!(error.contains("another process"), "{error}");
    before.deregister(secs(5)).await.unwrap();
    assert_eq!(cluster.store().value(&key("a")).cloned(), written);
    // It stays its own, even if its lease was lost.
    end_leases(&cluster);
    until("it is not back", || ids(&cluster) == ["a"]).await;
    after.drain();
    after.registered(secs(5)).await.unwrap();
    after.deregister(secs(5)).await.unwrap();
    assert!(ids(&cluster).is_empty() && cluster.store().leases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_something_else_deletes_comes_back_within_a_third_of_the_lease() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let all = [announced(&registry, "a").await, announced(&registry, "b").await];
    sleep(secs(100)).await;
    assert_eq!(cluster.asked("LeaseGrant"), 1);
    cluster.delete(&key("a"));
    let start = Instant::now();
    until("it is not back", || ids(&cluster) == ["a", "b"]).await;
    assert!(start.elapsed() <= secs(10) + ms(100), "{:?}", start.elapsed());
    until("they are not in one lease", || leases(&cluster).len() == 1).await;
    drop(all);
    until("something is left", || ids(&cluster).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_another_process_has_left_can_be_had_again() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let (one, other) = (registry(&[&member]), registry(&[&member]));
    let first = announced(&one, "a").await;
    let second = announced(&other, "a").await;
    first.set_status(Status::Critical);
    assert!(first.registered(secs(5)).await.is_err());
    second.deregister(secs(5)).await.unwrap();
    first.registered(secs(60)).await.unwrap();
    assert_eq!(ids(&cluster), ["a"]);
    // One that was put without a lease, by whatever, is nobody's.
    first.deregister(secs(5)).await.unwrap();
    let again = announced(&one, "a").await;
    cluster.put(&key("a"), "{}");
    again.drain();
    again.registered(secs(5)).await.unwrap();
    again.deregister(secs(5)).await.unwrap();
    assert!(ids(&cluster).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_written_in_a_call_that_hung_is_still_its_own() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let a = announced(&registry, "a").await;
    // Long enough for a session to be given up, and short enough for its lease.
    member.is(Mood::Frozen);
    a.drain();
    sleep(secs(22)).await;
    member.is(Mood::Well);
    a.registered(secs(5)).await.unwrap();
    member.is(Mood::Frozen);
    let (ended, ()) = tokio::join!(a.deregister(secs(40)), async {
        sleep(secs(22)).await;
        member.is(Mood::Well);
    });
    ended.unwrap();
    assert!(ids(&cluster).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_is_noticed_within_a_third_of_its_time() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let (a, _b) = (announced(&registry, "a").await, announced(&registry, "b").await);
    end_leases(&cluster);
    let start = Instant::now();
    until("they are not back", || ids(&cluster) == ["a", "b"]).await;
    assert!(start.elapsed() <= secs(10) + ms(100), "{:?}", start.elapsed());
    // Sooner by what is written meanwhile, and for the others no later.
    end_leases(&cluster);
    a.set_status(Status::Warning);
    let start = Instant::now();
    until("it is not back", || ids(&cluster) == ["a"]).await;
    assert!(start.elapsed() <= secs(1), "{:?}", start.elapsed());
    until("the other is not back", || ids(&cluster) == ["a", "b"]).await;
    assert!(start.elapsed() <= secs(10) + ms(100), "{:?}", start.elapsed());
    until("they are not in one lease", || leases(&cluster).len() == 1).await;
    // Of the lease that only one had, nothing is left after its time.
    sleep(secs(31)).await;
    assert_eq!((ids(&cluster).len(), cluster.store().leases.len()), (2, 1));
}

#[test]
fn nothing_outlives_a_killed_process_longer_than_the_lease() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    runtime().block_on(async {
        let cluster = Cluster::new();
        let member = cluster.member().await;
        let config = config(&[&member]).with_lease_ttl(secs(6));
        let registry = Registry::new(Etcd::new(config).unwrap().registrar());
        let registration = announced(&registry, "a").await;
        // No clean end: it is never dropped, and its connection breaks and cannot be made again.
        std::mem::forget(registration);
        let address = member.address;
        drop(member);
        let start = Instant::now();
        until("it is left", || ids(&cluster).is_empty()).await;
        assert!(start.elapsed() <= secs(7), "{:?}", start.elapsed());
        let _ = address;
    });
}

#[tokio::test(start_paused = true)]
async fn another_member_takes_the_lease_over() {
    let cluster = Cluster::new();
    let members = [cluster.member().await, cluster.member().await];
    let registry = registry(&members.iter().collect::<Vec<_>>());
    let _a = announced(&registry, "a").await;
    let in_use = usize::from(members[1].connections() == 1);
    for mood in [Mood::Frozen, Mood::WithoutLeader] {
        members[in_use].is(mood);
        sleep(secs(60)).await;
        assert_eq!((ids(&cluster), cluster.asked("LeaseGrant")), (vec!["a".into()], 1));
        members[in_use].is(Mood::Well);
    }
    let kept = cluster.asked("KeptAlive");
    let [one, other] = members;
    drop(if one.connections() > 0 { one } else { other });
    sleep(secs(60)).await;
    assert_eq!((ids(&cluster), cluster.asked("LeaseGrant")), (vec!["a".into()], 1));
    assert!(cluster.asked("KeptAlive") >= kept + 5);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_changes_leave_one_id_and_the_end_leaves_none() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    // Without an id of its own.
    let endpoint = Endpoint::new("10.0.0.1:8080").unwrap();
    let registration = registry.register("tax", endpoint).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for tick in 0..100 {
        registration.set_status(if tick % 2 == 0 { Status::Passing } else { Status::Critical });
        registration.registered(secs(5)).await.unwrap();
        seen.extend(ids(&cluster));
        sleep(secs(10)).await;
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen.iter().all(|id| id.starts_with("tax-")), "{seen:?}");
    registry.deregister_all(secs(5)).await.unwrap();
    assert_eq!((ids(&cluster).len(), cluster.store().leases.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_is_replaced_for_writing() {
    let cluster = Cluster::new();
    cluster.store().user = Some(("tax".into(), "s3cret".into(), "/services/".into()));
    let member = cluster.member().await;
    let etcd = Etcd::new(config(&[&member]).with_user("tax", "s3cret")).unwrap();
    let registry = Registry::new(etcd.registrar());
    let a = announced(&registry, "a").await;
    cluster.store().tokens.clear();
    a.set_status(Status::Warning);
    a.registered(secs(5)).await.unwrap();
    assert_eq!((a.last_error().is_none(), cluster.asked("Authenticate")), (true, 2));
    // What is forbidden is told.
    let config = config(&[&member]).with_user("tax", "s3cret").with_key_prefix("/other");
    let other = Registry::new(Etcd::new(config).unwrap().registrar());
    let refused = other.register("tax", endpoint("a")).unwrap();
    assert!(refused.registered(secs(5)).await.is_err());
    let error = refused.last_error().unwrap().to_string();
    assert!(error.contains("permission denied") && !error.contains("s3cret"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_for_good_does_not_hold_up_the_end() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let registry = registry(&[&member]);
    let a = announced(&registry, "a").await;
    drop(member);
    let start = Instant::now();
    assert!(a.deregister(secs(3)).await.is_err());
    assert!(registry.deregister_all(secs(3)).await.is_err());
    assert!(start.elapsed() <= secs(7));
}
