//! The same with real servers, which `tests/real/run` starts and names.

use std::process::Stdio;

use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};
use tower_upstream::{
    Endpoint,
    discover::{Catalog, Discover, EtcdRegistrar, Registry},
    endpoint::Status,
};

use super::*;
pub use crate::real_servers::given;
use crate::{
    real_servers::script,
    registry_story::{Backend, play},
    support::ms,
};

async fn run(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let status = command.args(arguments).stdin(Stdio::null()).status().await.unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

fn etcd_at(urls: &[String]) -> Etcd {
    let config = EtcdConfig::default().with_endpoints(urls).with_lease_ttl(secs(5));
    Etcd::new(config.with_request_timeout(secs(2)).with_dial_timeout(secs(1))).unwrap()
}

async fn set_that(sets: &mut WatchStream, is_so: impl Fn(&EndpointSet) -> bool) -> EndpointSet {
    timeout(secs(60), async {
        loop {
            let set = next(sets).await;
            if is_so(&set) {
                return set;
            }
        }
    })
    .await
    .expect("not within a minute")
}

#[tokio::test]
async fn a_real_etcd_reads_writes_and_forgets_as_the_double_does() {
    let Some(url) = given("ETCD_DEV") else { return };
    let etcd = etcd_at(&[url]);
    let tax = etcd.service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &[]).await;
    let registry = Registry::new(etcd.registrar());
    let endpoint = Endpoint::new("https://127.0.0.1:8443").unwrap().with_key("tax-1");
    let endpoint = endpoint.with_tag("v2").with_weight(7).with_metadata("zone", "a");
    let registered = registry.register("tax", endpoint.clone()).unwrap();
    let set = set_that(&mut sets, |set| set.len() == 1).await;
    assert_eq!(*set[0], endpoint.with_status(Status::Passing));
    assert_eq!(etcd.list_services().await.unwrap(), ["tax"]);
    assert_eq!(etcd.find_instance("tax-1").await.unwrap().unwrap().service(), "tax");
    registered.set_status(Status::Warning);
    set_that(&mut sets, |set| set[0].status() == Status::Warning).await;
    registered.drain();
    set_that(&mut sets, |set| set[0].is_draining()).await;
    // Longer than the lease.
    sleep(secs(7)).await;
    assert_eq!(tax.handle().set().unwrap().len(), 1);
    registry.deregister_all(secs(5)).await.unwrap();
    set_that(&mut sets, |set| set.is_empty()).await;
}

/// One member, which keeps what it knew.
struct Single(String);

impl Backend for Single {
    type Registrar = EtcdRegistrar;
    type Source = EtcdService;

    fn registrar(&self) -> EtcdRegistrar {
        etcd_at(std::slice::from_ref(&self.0)).registrar()
    }

    fn watch(&self, service: &str) -> Watched<EtcdService> {
        etcd_at(std::slice::from_ref(&self.0)).service(service).unwrap()
    }

    async fn stop(&self) {
        script(&["signal", "etcd-dev", "KILL"]).await;
    }

    async fn restart(&self) {
        script(&["restart", "etcd-dev"]).await;
    }

    async fn partition(&self) {
        script(&["signal", "etcd-dev", "STOP"]).await;
    }

    async fn heal(&self) {
        script(&["signal", "etcd-dev", "CONT"]).await;
    }

    fn hears_within(&self) -> Duration {
        secs(2)
    }

    fn forgets_within(&self) -> Duration {
        secs(10)
    }

    fn recovers_within(&self) -> Duration {
        secs(40)
    }

    fn outage(&self) -> Duration {
        secs(10)
    }
}

#[tokio::test]
async fn no_call_fails_while_endpoints_come_and_go_and_a_real_etcd_is_away() {
    let Some(url) = given("ETCD_DEV") else { return };
    let figures = play(&Single(url)).await;
    assert!(figures.calls > 1_000 && figures.to_dead > 0);
}

/// The numbers of the members, with their URLs.
fn members() -> Option<Vec<String>> {
    let given = given("ETCD_SERVERS")?;
    Some(given.split(',').map(str::to_owned).collect())
}

/// The number of the leader, from 1.
async fn leader(urls: &[String]) -> usize {
    for _ in 0..300 {
        for (number, url) in urls.iter().enumerate() {
            let status = reqwest::Client::new()
                .post(format!("{url}/v3/maintenance/status"))
                .body("{}")
                .timeout(secs(1))
                .send()
                .await;
            let Ok(answer) = status else { continue };
            let text = answer.text().await.unwrap_or_default();
            let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if status["leader"].is_string() && status["leader"] == status["header"]["member_id"] {
                return number + 1;
            }
        }
        sleep(ms(100)).await;
    }
    panic!("no leader");
}

/// Plays with a cluster of three: `away` takes the leader away, and `back` brings it back.
async fn without_its_leader<A: Future, B: Future>(
    urls: &[String],
    service: &str,
    away: impl FnOnce(usize) -> A,
    back: impl FnOnce(usize) -> B,
) {
    let etcd = etcd_at(urls);
    let tax = etcd.service(service).unwrap();
    let mut sets = tax.discover();
    let registry = Registry::new(etcd.registrar());
    let at = |id: &str| Endpoint::new("127.0.0.1:1").unwrap().with_key(id);
    let _one = registry.register(service, at("one")).unwrap();
    set_that(&mut sets, |set| keys(set) == ["one"]).await;
    let number = leader(urls).await;
    away(number).await;
    let start = Instant::now();
    let two = registry.register(service, at("two")).unwrap();
    set_that(&mut sets, |set| keys(set) == ["one", "two"]).await;
    println!("without the leader m{number}, a new instance is seen after {:?}", start.elapsed());
    assert!(start.elapsed() < secs(20), "{:?}", start.elapsed());
    // The lease is kept by the others.
    sleep(secs(10)).await;
    assert_eq!(tax.handle().set().unwrap().len(), 2);
    let start = Instant::now();
    back(number).await;
    drop(two);
    set_that(&mut sets, |set| keys(set) == ["one"]).await;
    println!("a change after it is back is seen after {:?}", start.elapsed());
    registry.deregister_all(secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_cluster_whose_leader_is_killed_goes_on() {
    let Some(urls) = members() else { return };
    let name = |number: usize| format!("etcd-{number}");
    // At once: to wait for its end would be to wait for the election.
    let kill = async |number: usize| {
        let file = format!("{}/{}.pid", given("REAL_DIR").unwrap(), name(number));
        let pid = std::fs::read_to_string(file).unwrap();
        run("kill", &["-KILL", pid.trim()]).await;
    };
    without_its_leader(&urls, "killed", kill, async |number| {
        script(&["restart", &name(number)]).await
    })
    .await;
}

#[tokio::test]
async fn a_cluster_whose_leader_is_cut_off_goes_on() {
    let Some(cut) = given("ETCD_CUT") else { return };
    let urls: Vec<_> = (1..=3).map(|number| format!("http://10.77.0.{number}:2379")).collect();
    without_its_leader(
        &urls,
        "cut",
        async |number| run(&cut, &["cut", &number.to_string()]).await,
        async |number| run(&cut, &["heal", &number.to_string()]).await,
    )
    .await;
}
