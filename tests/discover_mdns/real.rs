//! The same with foreign hosts, which `tests/real/run` starts and names.

use std::process::Stdio;

use futures::{FutureExt, StreamExt};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    time::{sleep, timeout},
};
use tower_upstream::{
    Endpoint,
    discover::{Discover, Mdns, MdnsConfig, Registry},
};

use crate::{ms, secs, until, until_within};

/// What the script says. `None`: it does not run.
fn given(name: &str) -> Option<String> {
    let given = std::env::var(name).ok();
    if given.is_none() {
        println!("skipped: no `{name}`; TOWER_UPSTREAM_REAL=mdns tests/real/run");
    }
    given
}

/// At the usual port, on one interface.
fn at(address: &str) -> Mdns {
    let config = MdnsConfig::default().with_interface(address);
    Mdns::new(config.with_require_health_before_use(false)).unwrap()
}

struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(command: &str) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it tells that.
    async fn tells(&mut self, what: &str, parts: &[&str]) -> String {
        let wait = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("it has ended");
                println!("{line}");
                if line.starts_with(what) && parts.iter().all(|part| line.contains(part)) {
                    return line;
                }
            }
        };
        timeout(secs(20), wait).await.unwrap_or_else(|_| panic!("{what} {parts:?}"))
    }
}

#[tokio::test]
async fn a_foreign_host_is_found_and_finds_what_is_announced() {
    let (Some(command), Some(own)) = (given("MDNS_PEER"), given("MDNS_OWN")) else { return };
    let mut peer = Peer::start(&command);
    let mdns = at(&own);
    let mut sets = mdns.service("tax").unwrap().discover();
    let set = until(&mut sets, |set| set.get("py-1").is_some()).await;
    let found = set.get("py-1").unwrap();
    assert_eq!(found.address().port(), Some(9002));
    assert_eq!((found.tags(), &*found.locality().zone), (&["v2".into(), "eu".into()][..], "b"));

    let registry = Registry::new(mdns.registrar());
    let endpoint = Endpoint::new(format!("{own}:8080")).unwrap().with_key("rust-1");
    let registered = registry.register("tax", endpoint.with_metadata("team", "blue")).unwrap();
    let place = format!("{own}:8080");
    peer.tells("ADD rust-1._tax._tcp.local.", &[&place, "id=rust-1", "name=tax", "team=blue"])
        .await;
    registered.update(|of| of.with_weight(3)).unwrap();
    peer.tells("UPDATE rust-1", &["weight=3"]).await;
    until(&mut sets, |set| set.get("rust-1").is_some_and(|of| of.weight() == 3)).await;
    registered.deregister(secs(10)).await.unwrap();
    peer.tells("REMOVE rust-1", &[]).await;

    // It leaves with a goodbye.
    drop(peer.child.stdin.take());
    let (_, took) = until_within(secs(10), &mut sets, |set| set.is_empty()).await;
    println!("a goodbye of python-zeroconf: {took:?}");
    assert!(peer.child.wait().await.unwrap().success());

    // It is killed, and asked about.
    let mut peer = Peer::start(&command);
    until(&mut sets, |set| set.get("py-1").is_some()).await;
    peer.child.kill().await.unwrap();
    mdns.reconfirm("py-1", secs(3)).unwrap();
    let (_, took) = until_within(secs(15), &mut sets, |set| set.is_empty()).await;
    println!("killed, and asked about: {took:?}");
}

#[tokio::test]
async fn an_interface_that_goes_down_takes_nothing_away() {
    let (Some(command), Some(own), Some(link)) =
        (given("MDNS_PEER"), given("MDNS_OWN"), given("MDNS_LINK"))
    else {
        return;
    };
    let link = async |state: &str| {
        let set = Command::new("ip").args(["link", "set", &link, state]).status();
        assert!(set.await.unwrap().success());
    };
    let peer = Peer::start(&command);
    let endpoints = at(&own).service("tax").unwrap();
    let mut sets = endpoints.discover();
    until(&mut sets, |set| set.get("py-1").is_some()).await;
    link("down").await;
    let failed = async {
        while endpoints.handle().last_error().is_none() {
            sleep(ms(50)).await;
        }
    };
    // The system is asked every 5 s.
    timeout(secs(15), failed).await.unwrap();
    sleep(secs(3)).await;
    link("up").await;
    let works = async {
        while endpoints.handle().last_error().is_some() {
            sleep(ms(50)).await;
        }
    };
    timeout(secs(60), works).await.unwrap();
    sleep(secs(1)).await;
    let told = sets.next().now_or_never();
    assert!(told.is_none(), "it flapped: {told:?}");
    assert!(endpoints.handle().set().unwrap().get("py-1").is_some());
    drop(peer);
}

/// Loopback has no multicast over IPv6, so this is not to be had there.
#[tokio::test]
async fn an_address_of_the_link_is_found_and_checked_with_its_interface() {
    let Some(link) = given("MDNS_LINK") else { return };
    let own = async || {
        let arguments = ["-6", "-o", "addr", "show", "dev", &link, "scope", "link", "-tentative"];
        let told = Command::new("ip").args(arguments).output().await.unwrap().stdout;
        let told = String::from_utf8(told).unwrap();
        let address = told.split_whitespace().find(|word| word.starts_with("fe80:"));
        address.map(|address| address.split('/').next().unwrap().to_owned())
    };
    let found = async {
        loop {
            match own().await {
                Some(own) => return own,
                None => sleep(ms(100)).await,
            }
        }
    };
    let own = timeout(secs(10), found).await.unwrap();
    let listener = TcpListener::bind(format!("[{own}%{link}]:0")).await;
    let listener = match listener {
        Ok(listener) => listener,
        // As the system writes it.
        Err(_) => {
            let place = tokio::net::lookup_host((format!("{own}%{link}"), 0)).await.unwrap().next();
            TcpListener::bind(place.unwrap()).await.unwrap()
        }
    };
    let port = listener.local_addr().unwrap().port();

    let config = MdnsConfig::default().with_interface(&link).with_ipv6(true);
    let mdns = || Mdns::new(config.clone()).unwrap();
    let registry = Registry::new(mdns().registrar());
    let endpoint = Endpoint::new(format!("[{own}%25{link}]:{port}")).unwrap().with_key("rust-6");
    let registered = registry.register("six", endpoint.clone()).unwrap();
    registered.registered(secs(15)).await.unwrap();
    let mut sets = mdns().service("six").unwrap().discover();
    let set = until(&mut sets, |set| !set.is_empty()).await;
    println!("{}", set[0].address());
    assert_eq!(set[0].address(), endpoint.address());
    registered.deregister(secs(10)).await.unwrap();
}

#[tokio::test]
async fn avahi_is_found_and_its_goodbye_is_heard() {
    let Some(own) = given("MDNS_AVAHI_ON") else { return };
    let mut sets = at(&own).service("tax").unwrap().discover();
    let set = until(&mut sets, |set| set.get("av-1").is_some()).await;
    let found = set.get("av-1").unwrap();
    assert_eq!(found.address().as_str(), "10.77.0.1:9001");
    assert_eq!((found.weight(), &*found.locality().zone), (10, "a"));
    assert_eq!(found.metadata()["k"], "v with space");
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/run");
    let stop = Command::new(run).args(["signal", "avahi", "TERM"]).stdin(Stdio::null()).status();
    assert!(stop.await.unwrap().success());
    let (_, took) = until_within(secs(10), &mut sets, |set| set.is_empty()).await;
    println!("a goodbye of avahi: {took:?}");
}
