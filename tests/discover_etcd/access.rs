//! Users, tokens and TLS.

use tower_upstream::{
    discover::{Catalog, Discover},
    error::Kind,
};

use super::*;

const SECRET: &str = "s3cret";

/// A cluster that lets in one user, to what is below `/services/`.
async fn guarded() -> (Cluster, Member) {
    let cluster = Cluster::new();
    cluster.store().user = Some(("tax".into(), SECRET.into(), "/services/".into()));
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    (cluster, member)
}

fn watching(config: EtcdConfig) -> Watched<EtcdService> {
    Etcd::new(config).unwrap().service("tax").unwrap()
}

async fn error_of(config: EtcdConfig) -> tower_upstream::Error {
    let tax = watching(config);
    let _sets = tax.first_snapshot(secs(3)).await.unwrap_err();
    tax.handle().last_error().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_user_is_let_in_once_for_all_services() {
    let (cluster, member) = guarded().await;
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let services = ["tax", "x", "y"].map(|name| etcd.service(name).unwrap());
    let mut sets = services.map(|service| service.discover());
    expect(&mut sets[0], &["a"]).await;
    expect(&mut sets[1], &[]).await;
    expect(&mut sets[2], &[]).await;
    add(&cluster, &["b"]);
    expect(&mut sets[0], &["a", "b"]).await;
    assert_eq!(cluster.asked("Authenticate"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_is_replaced_for_reading_and_for_watching() {
    let (cluster, member) = guarded().await;
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let tax = etcd.service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    watched(&cluster).await;
    // The stream goes on; whoever reads needs another.
    cluster.store().tokens.clear();
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!(etcd.list_services().await.unwrap(), ["tax"]);
    assert_eq!(cluster.asked("Authenticate"), 2);
    // The stream has the old one still, so the next watch opens it anew, for all.
    cluster.put("/services/other/x", instance("x"));
    let other = etcd.service("other").unwrap();
    let mut others = other.discover();
    expect(&mut others, &["x"]).await;
    until("no stream", || cluster.asked("Watch") == 2).await;
    add(&cluster, &["c"]);
    expect(&mut sets, &["a", "b", "c"]).await;
    cluster.put("/services/other/y", instance("y"));
    expect(&mut others, &["x", "y"]).await;
    assert_eq!((tax.handle().failures(), other.handle().failures()), (0, 0));
    // The token may be over when the stream is opened.
    watched(&cluster).await;
    cluster.store().tokens.clear();
    member.cut().await;
    add(&cluster, &["d"]);
    expect(&mut sets, &["a", "b", "c", "d"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_told_and_never_shown() {
    let (_cluster, member) = guarded().await;
    let error = error_of(config(&[&member]).with_user("tax", "wr0ng")).await;
    let text = error.to_string();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(text.contains("invalid user ID or password") && !text.contains("wr0ng"), "{text}");
    let error = error_of(config(&[&member])).await.to_string();
    assert!(error.contains("user name is empty"), "{error}");
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let shown = format!("{etcd:?} {:?}", etcd.service("tax").unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_is_asked_again_seldom_and_harms_no_other_service() {
    let (cluster, member) = guarded().await;
    cluster.store().user = Some(("tax".into(), SECRET.into(), TAX.into()));
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let (tax, other) = (etcd.service("tax").unwrap(), etcd.service("other").unwrap());
    let (mut sets, _others) = (tax.discover(), other.discover());
    expect(&mut sets, &["a"]).await;
    assert!(other.first_snapshot(secs(100)).await.is_err());
    let error = other.handle().last_error().unwrap();
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!((3..=5).contains(&other.handle().failures()), "{}", other.handle().failures());
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!((tax.handle().failures(), cluster.asked("Watch")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_becomes_forbidden_is_tried_with_a_new_token_once() {
    let (cluster, member) = guarded().await;
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let tax = etcd.service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    watched(&cluster).await;
    cluster.store().user = Some(("tax".into(), SECRET.into(), "/nothing".into()));
    member.cut().await;
    tokio::time::sleep(secs(25)).await;
    let error = tax.handle().last_error().unwrap().to_string();
    assert!(error.contains("permission denied"), "{error}");
    assert!(cluster.asked("Authenticate") <= 3, "{}", cluster.asked("Authenticate"));
    assert!(cluster.asked("Created") <= 4, "{}", cluster.asked("Created"));
    assert_eq!(tax.handle().set().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_stays_forbidden_harms_no_other_service() {
    let (cluster, member) = guarded().await;
    let etcd = Etcd::new(config(&[&member]).with_user("tax", SECRET)).unwrap();
    let (tax, other) = (etcd.service("tax").unwrap(), etcd.service("other").unwrap());
    cluster.put("/services/other/x", instance("x"));
    let (mut sets, mut others) = (tax.discover(), other.discover());
    expect(&mut sets, &["a"]).await;
    expect(&mut others, &["x"]).await;
    watched(&cluster).await;
    cluster.store().user = Some(("tax".into(), SECRET.into(), TAX.into()));
    member.cut().await;
    tokio::time::sleep(secs(25)).await;
    let asked = || ["Authenticate", "Watch", "Created"].map(|name| cluster.asked(name));
    let before = asked();
    tokio::time::sleep(secs(600)).await;
    // It is read, and that is all.
    assert_eq!(asked(), before);
    assert!((15..=25).contains(&other.handle().failures()), "{}", other.handle().failures());
    assert_eq!(other.handle().set().unwrap().len(), 1);
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    // It comes back.
    cluster.store().user = Some(("tax".into(), SECRET.into(), "/services/".into()));
    cluster.put("/services/other/y", instance("y"));
    expect(&mut others, &["x", "y"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_users_asks_for_none() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let tax = watching(config(&[&member]).with_user("tax", SECRET));
    expect(&mut tax.discover(), &["a"]).await;
}

#[cfg(feature = "tls")]
mod over_tls {
    use super::*;
    use crate::tls::{Authority, Files, acceptor};

    const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    #[tokio::test(start_paused = true)]
    async fn a_member_proves_itself_and_asks_for_a_certificate() {
        let (files, ours, theirs) = (Files::new(), Authority::new(), Authority::new());
        let server = || ours.identity("localhost", |_| {});
        let client = ours.identity("client", |_| {});
        let (cert, key) =
            (files.write("c.pem", &client.pem), files.write("k.pem", &client.key_pem));
        let (ca, wrong) = (files.write("ca.pem", &ours.pem), files.write("x.pem", &theirs.pem));
        let cluster = Cluster::new();
        add(&cluster, &["a"]);
        let open = cluster.member_at(ADDRESS.into(), Some(acceptor(server(), None))).await;
        let mutual = cluster.member_at(ADDRESS.into(), Some(acceptor(server(), Some(&ours)))).await;
        let at = |member: &Member| {
            EtcdConfig::default()
                .with_endpoints([format!("localhost:{}", member.address.port())])
                .with_tls(true)
        };
        let shown = |config: EtcdConfig| config.with_tls_certificate(&cert, &key);
        for config in [at(&open).with_tls_ca_file(&ca), shown(at(&mutual).with_tls_ca_file(&ca))] {
            expect(&mut watching(config).discover(), &["a"]).await;
        }
        for (config, problem) in [
            (at(&open).with_tls_ca_file(&wrong), "certificate"),
            (at(&open).with_tls_ca_file("/nowhere/ca.pem"), "ca_file"),
        ] {
            let error = error_of(config).await.to_string();
            assert!(error.contains(problem), "{error}");
        }
        // hyper's words depend on how much of the greeting was sent.
        let plain = at(&open).with_tls_ca_file(&ca).with_tls(false);
        let error = error_of(plain).await.to_string();
        assert!(error.contains("connection error") || error.contains("http2 error"), "{error}");
        // Of TLS 1.3, the other end refuses after the handshake.
        assert!(watching(at(&mutual).with_tls_ca_file(&ca)).first_snapshot(secs(3)).await.is_err());
    }
}
