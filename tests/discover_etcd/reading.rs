//! What is read: each test is named after what it promises.

use futures::FutureExt;
use support::{ms, settle};
use tokio::time::{Instant, sleep};
use tower_upstream::{
    discover::{Catalog, Discover, WatchConfig},
    endpoint::Status,
};

use super::*;
use crate::{double::Mood, messages::LeaseGrantRequest};

#[tokio::test(start_paused = true)]
async fn instances_are_read_and_followed() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    let set = next(&mut sets).await;
    assert_eq!(keys(&set), ["a", "b"]);
    let a = set.get("a").unwrap();
    assert_eq!((a.address().as_str(), a.status()), ("10.0.0.1:8097", Status::Passing));
    assert_eq!(a.metadata().get("zone").map(|of| &**of), Some("a"));
    add(&cluster, &["c"]);
    expect(&mut sets, &["a", "b", "c"]).await;
    cluster.delete(&key("b"));
    expect(&mut sets, &["a", "c"]).await;
    cluster.put(&key("a"), instance("a").replace("8097", "9"));
    assert_eq!(next(&mut sets).await.get("a").unwrap().address().port(), Some(9));
    // What says the same is no news, and neither is what is below another name.
    add(&cluster, &["c"]);
    cluster.put("/services/taxes/x", instance("x"));
    sleep(secs(5)).await;
    assert!(sets.next().now_or_never().is_none());
    assert_eq!((cluster.asked("Range"), cluster.asked("Created")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_services_share_one_connection_and_one_stream() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let etcd = etcd(&[&member]);
    let services: Vec<_> = (0..50).map(|number| format!("s{number}")).collect();
    for service in &services {
        cluster.put(&format!("/services/{service}/a"), instance("a"));
    }
    let watched: Vec<_> = services.iter().map(|name| etcd.service(name).unwrap()).collect();
    let mut sets: Vec<_> = watched.iter().map(Discover::discover).collect();
    for sets in &mut sets {
        expect(sets, &["a"]).await;
    }
    let again = etcd.service("s7").unwrap();
    expect(&mut again.discover(), &["a"]).await;
    cluster.put("/services/s7/b", instance("b"));
    expect(&mut sets[7], &["a", "b"]).await;
    let asked = ["Range", "Watch", "Created"].map(|name| cluster.asked(name));
    assert_eq!(asked, [50, 1, 50]);
    assert_eq!(member.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_registry_is_not_asked() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    sleep(secs(600)).await;
    let asked = ["Range", "Watch", "Created"].map(|name| cluster.asked(name));
    assert_eq!((asked, tax.handle().failures()), ([1, 1, 1], 0));
    assert!(sets.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_leaves_by_the_end_of_a_lease_leaves_at_once() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let lease = |ttl| cluster.change(|of| of.grant(&LeaseGrantRequest { ttl, id: 0 }).unwrap().id);
    let (short, long) = (lease(10), lease(1_000));
    for (id, lease) in [("a", short), ("b", short), ("c", short), ("d", long)] {
        cluster.put_with(&key(id), instance(id), lease);
    }
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c", "d"]).await;
    // Most of them, and then all.
    let waited = expect(&mut sets, &["d"]).await;
    assert!((secs(9)..=ms(10_300)).contains(&waited), "{waited:?}");
    cluster.delete(&key("d"));
    assert!(expect(&mut sets, &[]).await < ms(300));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_goes_on_where_it_stood() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b", "c"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c"]).await;
    for round in 1..=5 {
        watched(&cluster).await;
        member.cut().await;
        let id = format!("d{round}");
        cluster.put(&key(&id), instance(&id));
        cluster.delete(&key(&id));
        cluster.put(&key(&id), instance(&id));
        let set = next(&mut sets).await;
        assert_eq!((set.len(), set.get(&id).is_some()), (3 + round, true));
        assert_eq!(tax.handle().failures(), 0);
        sleep(secs(61)).await;
    }
    watched(&cluster).await;
    member.cut().await;
    for id in ["a", "b", "c"] {
        cluster.delete(&key(id));
    }
    assert!(expect(&mut sets, &["d1", "d2", "d3", "d4", "d5"]).await < ms(600));
    assert_eq!((cluster.asked("Range"), cluster.asked("Watch")), (1, 7));
}

#[tokio::test(start_paused = true)]
async fn after_compaction_all_is_read_anew_and_the_watch_starts_over_without_spinning() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b", "c", "d"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c", "d"]).await;
    watched(&cluster).await;
    member.cut().await;
    cluster.delete(&key("b"));
    add(&cluster, &["e"]);
    let revision = cluster.store().revision;
    cluster.change(|store| store.compact(revision));
    expect(&mut sets, &["a", "c", "d", "e"]).await;
    sleep(secs(60)).await;
    let asked = ["Range", "Watch", "Created"].map(|name| cluster.asked(name));
    assert_eq!(asked, [2, 2, 3]);
    add(&cluster, &["f"]);
    expect(&mut sets, &["a", "c", "d", "e", "f"]).await;
    assert_eq!(cluster.asked("Range"), 2);
}

#[tokio::test(start_paused = true)]
async fn too_many_that_are_missing_after_compaction_stay_for_their_grace() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b", "c", "d"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c", "d"]).await;
    watched(&cluster).await;
    member.cut().await;
    for id in ["a", "b", "c"] {
        cluster.delete(&key(id));
    }
    add(&cluster, &["e"]);
    let revision = cluster.store().revision;
    cluster.change(|store| store.compact(revision));
    expect(&mut sets, &["a", "b", "c", "d", "e"]).await;
    // An event meanwhile does not make the rest certain.
    add(&cluster, &["f"]);
    expect(&mut sets, &["a", "b", "c", "d", "e", "f"]).await;
    let waited = expect(&mut sets, &["d", "e", "f"]).await;
    assert!((secs(14)..=secs(16)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn most_that_lost_their_lease_while_the_stream_was_broken_have_time_to_come_back() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b", "c"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c"]).await;
    watched(&cluster).await;
    member.cut().await;
    for id in ["a", "b", "c"] {
        cluster.delete(&key(id));
    }
    sleep(secs(9)).await;
    assert!(sets.next().now_or_never().is_none());
    add(&cluster, &["a", "b"]);
    // What is not back leaves, and from then on what is deleted leaves at once.
    let waited = expect(&mut sets, &["a", "b"]).await;
    assert!(waited <= secs(7), "{waited:?}");
    sleep(secs(20)).await;
    cluster.delete(&key("a"));
    cluster.delete(&key("b"));
    assert!(expect(&mut sets, &[]).await <= ms(300));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_quiet_is_not_read_anew_after_compaction() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    watched(&cluster).await;
    for number in 0..10 {
        cluster.put("/other", number.to_string());
    }
    cluster.progress();
    sleep(secs(1)).await;
    let revision = cluster.store().revision;
    cluster.change(|store| store.compact(revision));
    watched(&cluster).await;
    member.cut().await;
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!(cluster.asked("Range"), 1);
}

#[tokio::test(start_paused = true)]
async fn another_member_takes_over() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.member().await, cluster.member().await);
    add(&cluster, &["a"]);
    let tax = tax(&[&one, &other]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    // Whichever it is.
    let (in_use, rest) = if one.connections() == 1 { (one, other) } else { (other, one) };
    drop(in_use);
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!((rest.connections(), cluster.asked("Range")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_member_without_a_leader_is_left_and_the_endpoints_stay() {
    let cluster = Cluster::new();
    let members = [cluster.member().await, cluster.member().await];
    add(&cluster, &["a"]);
    let tax = tax(&members.iter().collect::<Vec<_>>());
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    let in_use = usize::from(members[1].connections() == 1);
    members[in_use].is(Mood::WithoutLeader);
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    // Nor has the other: a read waits for a quorum, and what is known stays.
    members[1 - in_use].is(Mood::WithoutLeader);
    until("no failure", || tax.handle().failures() >= 4).await;
    assert!(sets.next().now_or_never().is_none());
    let error = tax.handle().last_error().unwrap().to_string();
    assert!(error.contains("no leader"), "{error}");
    members.iter().for_each(|member| member.is(Mood::Well));
    add(&cluster, &["c"]);
    expect(&mut sets, &["a", "b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_is_left_after_the_request_timeout() {
    let cluster = Cluster::new();
    let members = [cluster.member().await, cluster.member().await];
    add(&cluster, &["a"]);
    members[0].is(Mood::Frozen);
    for timeout in [secs(2), secs(7)] {
        // With a random member to begin with, one of some is the frozen one.
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let config = config(&[&members[0], &members[1]]).with_request_timeout(timeout);
            let tax = Etcd::new(config).unwrap().service("tax").unwrap();
            longest = longest.max(expect(&mut tax.discover(), &["a"]).await);
        }
        assert!((timeout..timeout + secs(1)).contains(&longest), "{longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_connect_is_left_after_the_dial_timeout() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    // Lets connections in and says nothing, so it is TLS that takes for ever.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let url = if cfg!(feature = "tls") { url.replace("http", "https") } else { return };
    for timeout in [secs(1), secs(3)] {
        let config = config(&[&member]).with_dial_timeout(timeout).with_endpoints([&url]);
        let tax = Etcd::new(config).unwrap().service("tax").unwrap();
        let start = Instant::now();
        let mut sets = tax.discover();
        assert!(sets.next().now_or_never().is_none());
        until("no failure", || tax.handle().failures() > 0).await;
        assert!((timeout..timeout + ms(50)).contains(&start.elapsed()), "{:?}", start.elapsed());
        let error = tax.handle().last_error().unwrap().to_string();
        assert!(
            error.contains("none of the 1 endpoints of etcd") && error.contains(&url),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_read_loses_nothing_else() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b"]);
    cluster.put(&key("c"), "not JSON");
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b"]).await;
    // The last that could be read stays.
    cluster.put(&key("a"), "{}");
    cluster.put(&key("b"), " ".repeat(70_000));
    add(&cluster, &["d"]);
    expect(&mut sets, &["a", "b", "d"]).await;
    cluster.delete(&key("b"));
    expect(&mut sets, &["a", "d"]).await;
    add(&cluster, &["c"]);
    expect(&mut sets, &["a", "c", "d"]).await;
    // What would be a program or a socket of this host, and what has an unknown key in a part of it.
    for (id, address) in [("x", "exec:/usr/bin/x"), ("y", "unix:/run/y.sock")] {
        cluster.put(&key(id), format!(r#"{{"address":"{address}","port":0}}"#));
    }
    let place = instance("z").replace("\"tags\":null", r#""locality":{"zone":"a","rack":"7"}"#);
    cluster.put(&key("z"), place);
    expect(&mut sets, &["a", "c", "d", "z"]).await;
    cluster.delete(&key("z"));
    expect(&mut sets, &["a", "c", "d"]).await;
    // Of an unknown key, or without an id.
    let unknown = instance("e").replace("\"tags\":null", "\"created_at\":\"2026\",\"weight\":3");
    cluster.put(&key("e"), unknown);
    cluster.put(&key("f"), r#"{"address":"10.0.0.9","port":1}"#);
    let set = next(&mut sets).await;
    assert_eq!((set.get("e").unwrap().weight(), set.get("f").is_some()), (3, true));
}

#[tokio::test(start_paused = true)]
async fn of_two_instances_with_one_id_the_first_counts() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b"]);
    cluster.put(&key("c"), instance("a").replace("10.0.0.1", "10.0.0.9"));
    let tax = tax(&[&member]);
    let set = next(&mut tax.discover()).await;
    assert_eq!(keys(&set), ["a", "b"]);
    assert_eq!(set[0].address().host(), "10.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn a_service_without_instances_is_an_answer() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &[]).await;
    add(&cluster, &["a"]);
    expect(&mut sets, &["a"]).await;
    cluster.delete(&key("a"));
    expect(&mut sets, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_comes_in_fragments_is_taken_over_as_a_whole() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let lease = cluster.change(|of| of.grant(&LeaseGrantRequest { ttl: 5, id: 0 }).unwrap().id);
    let ids: Vec<_> = (0..100).map(|number| format!("a{number}")).collect();
    for id in &ids {
        cluster.put_with(&key(id), instance(id), lease);
    }
    cluster.fragments(7);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    assert_eq!(next(&mut sets).await.len(), 100);
    expect(&mut sets, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_service_is_read_in_pages_of_one_revision() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let ids: Vec<_> = (0..2_500).map(|number| format!("a{number:04}")).collect();
    for id in &ids {
        cluster.put(&key(id), instance(id).replace("10.0.0.1", &format!("{id}.test")));
    }
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    // Changes while it is read.
    assert!(sets.next().now_or_never().is_none());
    until("no page", || cluster.asked("Range") > 0).await;
    cluster.delete(&key("a0001"));
    cluster.delete(&key("a2499"));
    let mut set = next(&mut sets).await;
    if set.len() > 2_498 {
        set = next(&mut sets).await;
    }
    assert_eq!((set.len(), cluster.asked("Range")), (2_498, 3));
}

#[tokio::test(start_paused = true)]
async fn a_page_has_as_many_values_as_fit_in_a_message() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    for number in 0..200 {
        let id = format!("{number}");
        let value = instance(&id).replace(":\"a\"}", &format!(":\"{}\"}}", "x".repeat(60_000)));
        cluster.put(&key(&id), value);
    }
    let etcd = etcd(&[&member]);
    let tax = etcd.service("tax").unwrap();
    assert_eq!(next(&mut tax.discover()).await.len(), 200);
    // 1,000, 500, 250 and 125 do not fit; 62 do.
    assert_eq!((cluster.asked("Range"), tax.handle().failures()), (8, 0));
    // Keys alone are longer here than a message may be.
    for number in 0..80 {
        cluster.put(&format!("/services/{}/{number}", "x".repeat(60_000)), "");
    }
    assert_eq!(etcd.list_services().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_replaced_and_cannot_be_read_at_once_is_read_later() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b"]).await;
    watched(&cluster).await;
    cluster.change(|store| *store = store::Store::new());
    cluster.change(|store| store.cluster_id = 8);
    cluster.put(&key("c"), "x".repeat(5 << 20));
    member.cut().await;
    sleep(secs(5)).await;
    let error = tax.handle().last_error().unwrap().to_string();
    assert!(error.contains("4194304"), "{error}");
    cluster.put(&key("c"), instance("c"));
    expect(&mut sets, &["a", "b", "c"]).await;
    expect(&mut sets, &["c"]).await;
    assert!(tax.handle().last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn data_that_was_replaced_is_read_anew() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a", "b", "c"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a", "b", "c"]).await;
    // Restored from a backup that has less, and is behind.
    cluster.change(|store| *store = store::Store::new());
    cluster.change(|store| store.cluster_id = 8);
    cluster.put(&key("a"), instance("a").replace("10.0.0.1", "10.0.0.2"));
    watched(&cluster).await;
    member.cut().await;
    let set = next(&mut sets).await;
    assert_eq!((keys(&set), set[0].address().host()), (vec!["a", "b", "c"], "10.0.0.2"));
    expect(&mut sets, &["a"]).await;
    add(&cluster, &["d"]);
    expect(&mut sets, &["a", "d"]).await;
    assert!(cluster.asked("Range") <= 4, "{}", cluster.asked("Range"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_watched_any_more_is_not_kept_open() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let etcd = etcd(&[&member]);
    let (tax, other) = (etcd.service("tax").unwrap(), etcd.service("other").unwrap());
    let (mut sets, mut others) = (tax.discover(), other.discover());
    expect(&mut sets, &["a"]).await;
    expect(&mut others, &[]).await;
    drop(others);
    until("it is not cancelled", || cluster.asked("Cancelled") == 1).await;
    assert_eq!(member.connections(), 1);
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    drop(sets);
    until("it is not closed", || member.connections() == 0).await;
    assert!(!tax.handle().is_running());
    // And again.
    expect(&mut tax.discover(), &["a", "b"]).await;
    until("it is not closed", || member.connections() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn services_are_listed_without_their_instances() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    let etcd = etcd(&[&member]);
    assert_eq!(etcd.list_services().await.unwrap(), [""; 0]);
    for number in 0..3_000 {
        cluster.put(&format!("/services/big/{number}"), "");
    }
    for key in [
        "/services/tax/a",
        "/services/tax-old/a",
        "/services/zoo/a/b",
        "/services/none",
        "/servicesx/x/a",
    ] {
        cluster.put(key, "");
    }
    let before = cluster.asked("Range");
    assert_eq!(etcd.list_services().await.unwrap(), ["big", "tax", "tax-old", "zoo"]);
    assert_eq!(cluster.asked("Range") - before, 2);
    cluster.put(&key("a1"), instance("a1"));
    let found = etcd.find_instance("a1").await.unwrap().unwrap();
    assert_eq!((found.service(), found.id()), ("tax", "a1"));
    assert!(etcd.find_instance("a2").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_prefix_of_keys_can_be_chosen() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    cluster.put("/my/services/tax/a", instance("a"));
    let config = config(&[&member]).with_key_prefix("/my/services/");
    let etcd = Etcd::new(config).unwrap();
    expect(&mut etcd.service("tax").unwrap().discover(), &["a"]).await;
    assert_eq!(etcd.list_services().await.unwrap(), ["tax"]);
    for name in ["", "a/b", "..", "/"] {
        assert!(etcd.service(name).is_err(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_registry_is_read_anew_before_its_set_is_too_old() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let watch = WatchConfig::default().with_max_stale(secs(60));
    let tax = Etcd::new(config(&[&member]).with_watch(watch)).unwrap().service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    sleep(secs(605)).await;
    assert!(sets.next().now_or_never().is_none());
    let asked = ["Range", "Created"].map(|name| cluster.asked(name));
    assert_eq!((asked, member.connections(), tax.handle().failures()), ([21, 21], 1, 0));
    add(&cluster, &["b"]);
    assert!(expect(&mut sets, &["a", "b"]).await < secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_set_is_emptied_when_it_is_too_old() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let watch = WatchConfig::default().with_max_stale(secs(60));
    let tax = Etcd::new(config(&[&member]).with_watch(watch)).unwrap().service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    let address = member.address;
    drop(member);
    let waited = expect(&mut sets, &[]).await;
    assert!((secs(55)..=secs(61)).contains(&waited), "{waited:?}");
    let _member = cluster.member_at(address, None).await;
    expect(&mut sets, &["a"]).await;
    settle().await;
}

#[test]
fn a_runtime_that_ends_leaves_those_on_another_their_watches() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let servers = runtime();
    let (cluster, member) = servers.block_on(async {
        let cluster = Cluster::new();
        add(&cluster, &["a"]);
        let member = cluster.member().await;
        (cluster, member)
    });
    let etcd = etcd(&[&member]);
    let (one, other) = (runtime(), runtime());
    let first = etcd.service("other").unwrap();
    // The connection and the stream are of this one.
    let mut firsts = first.discover();
    one.block_on(expect(&mut firsts, &[]));
    let tax = etcd.service("tax").unwrap();
    let mut sets = tax.discover();
    other.block_on(async {
        expect(&mut sets, &["a"]).await;
        until("no watch", || cluster.asked("Created") == 2).await;
    });
    one.shutdown_background();
    add(&cluster, &["b"]);
    other.block_on(expect(&mut sets, &["a", "b"]));
    // And so does whichever was there, once it is asked from elsewhere.
    cluster.put("/services/other/x", instance("x"));
    other.block_on(expect(&mut firsts, &["x"]));
}
