//! The same with real servers, which `tests/real/run` starts and names.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_upstream::{
    Endpoint,
    discover::{
        Catalog, Consul, ConsulCheck, ConsulCheckKind, ConsulConfig, ConsulConsistency,
        ConsulQuery, ConsulRegistrar, ConsulService, Discover, EndpointSet, Registry, WatchConfig,
        WatchStream, Watched,
    },
    endpoint::Status,
};

use crate::{
    real_servers::{given, script},
    registry_story::{Backend, play},
    sets::{keys, next},
    support::{ms, secs},
};

fn consul_at(address: &str) -> Consul {
    Consul::new(ConsulConfig::default().with_address(address)).unwrap()
}

async fn until(sets: &mut WatchStream, is_so: impl Fn(&EndpointSet) -> bool) -> EndpointSet {
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
async fn a_real_agent_reads_writes_and_forgets_as_the_double_does() {
    let Some(address) = given("CONSUL_DEV") else { return };
    // Version 1.8 does not tell its access policy, so an empty answer is never certain.
    let watch = WatchConfig::default().with_empty_grace(secs(1));
    let config = ConsulConfig::default().with_address(address).with_watch(watch);
    let consul = Consul::new(config).unwrap();
    let query = ConsulQuery::default().with_min_interval(ms(10));
    let endpoints = consul.service_with("tax", query.clone()).unwrap();
    let mut sets = endpoints.discover();
    assert!(next(&mut sets).await.is_empty());

    let registry = Registry::new(consul.registrar(ConsulCheck::default().with_ttl(secs(3))));
    let endpoint = Endpoint::new("https://127.0.0.1:8443")
        .unwrap()
        .with_key("tax-1")
        .with_tag("v2")
        .with_weight(7)
        .with_metadata("farp.manifest", "/m");
    let tax = registry.register("tax", endpoint.clone()).unwrap();
    tax.registered(secs(5)).await.unwrap();
    let set = until(&mut sets, |set| set.len() == 1).await;
    let found = &set[0];
    assert_eq!((found.key(), found.address()), ("tax-1", endpoint.address()));
    assert_eq!(
        (found.weight(), found.tags(), found.status()),
        (7, endpoint.tags(), Status::Passing)
    );
    assert_eq!(found.metadata().get("farp.manifest").map(|of| &**of), Some("/m"));

    // Every way to ask for it that version 1.8 knows.
    for query in [
        query.clone().with_consistency(ConsulConsistency::Consistent),
        query.clone().with_consistency(ConsulConsistency::Stale),
        query.clone().with_consistency(ConsulConsistency::Cached),
        query.clone().with_tag("v2"),
        query.clone().with_filter("\"v2\" in Service.Tags"),
        query.clone().with_near("_agent").with_datacenter("dc1").with_only_passing(true),
    ] {
        let set = next(&mut consul.service_with("tax", query).unwrap().discover()).await;
        assert_eq!(keys(&set), ["tax-1"]);
    }
    assert_eq!(Catalog::list_services(&consul).await.unwrap(), ["consul", "tax"]);
    assert_eq!(consul.find_instance("tax-1").await.unwrap().unwrap().service(), "tax");
    assert!(consul.find_instance("tax-2").await.unwrap().is_none());

    tax.set_status(Status::Warning);
    until(&mut sets, |set| set[0].status() == Status::Warning).await;
    tax.drain();
    let set = until(&mut sets, |set| set[0].is_draining()).await;
    assert_eq!(set[0].status(), Status::Warning);
    tax.update(|endpoint| endpoint.with_tag("v3")).unwrap();
    tax.registered(secs(5)).await.unwrap();
    let set = until(&mut sets, |set| set[0].tags().len() == 2 && set[0].is_draining()).await;
    assert_eq!(set.len(), 1);
    tax.deregister(secs(5)).await.unwrap();
    until(&mut sets, |set| set.is_empty()).await;

    // Checks of the agent itself, of a port that nothing listens on.
    for kind in [ConsulCheckKind::Http, ConsulCheckKind::Tcp, ConsulCheckKind::Grpc] {
        let check = ConsulCheck::default().with_kind(kind).with_interval(secs(1));
        let registry = Registry::new(consul.registrar(check));
        let checked = registry.register("tax", Endpoint::new("127.0.0.1:1").unwrap()).unwrap();
        checked.registered(secs(5)).await.unwrap();
        until(&mut sets, |set| set.len() == 1 && set[0].status() == Status::Critical).await;
        checked.deregister(secs(5)).await.unwrap();
        until(&mut sets, |set| set.is_empty()).await;
    }
}

/// A development agent, which forgets everything when it restarts.
struct Agent(String);

impl Backend for Agent {
    type Registrar = ConsulRegistrar;
    type Source = ConsulService;

    fn registrar(&self) -> ConsulRegistrar {
        consul_at(&self.0).registrar(ConsulCheck::default().with_ttl(secs(3)))
    }

    fn watch(&self, service: &str) -> Watched<ConsulService> {
        consul_at(&self.0).service(service).unwrap()
    }

    async fn stop(&self) {
        script(&["signal", "consul-dev", "KILL"]).await;
    }

    async fn restart(&self) {
        script(&["restart", "consul-dev"]).await;
    }

    async fn partition(&self) {
        script(&["signal", "consul-dev", "STOP"]).await;
    }

    async fn heal(&self) {
        script(&["signal", "consul-dev", "CONT"]).await;
    }

    fn hears_within(&self) -> Duration {
        secs(5)
    }

    fn forgets_within(&self) -> Duration {
        secs(8)
    }

    fn recovers_within(&self) -> Duration {
        secs(45)
    }

    fn outage(&self) -> Duration {
        secs(8)
    }
}

#[tokio::test]
async fn no_call_fails_while_endpoints_come_and_go_and_a_real_agent_is_away() {
    let Some(address) = given("CONSUL_DEV") else { return };
    let figures = play(&Agent(address)).await;
    assert!(figures.calls > 1_000);
}

struct Server {
    name: String,
    http: String,
    rpc: String,
}

async fn leader(at: &str) -> Option<String> {
    let client = reqwest::Client::new();
    let asked = client.get(format!("http://{at}/v1/status/leader")).timeout(secs(1)).send().await;
    let text = asked.ok()?.text().await.ok()?;
    Some(text.trim().trim_matches('"').to_owned()).filter(|leader| leader.contains(':'))
}

#[tokio::test]
async fn three_real_servers_lose_their_leader_and_their_quorum_and_no_endpoint_goes() {
    let Some(servers) = given("CONSUL_SERVERS") else { return };
    let servers: Vec<Server> = servers
        .split(',')
        .map(|server| {
            let parts: Vec<String> = server.split('=').map(str::to_owned).collect();
            let [name, http, rpc] = parts.try_into().unwrap();
            Server { name, http, rpc }
        })
        .collect();
    let first = leader(&servers[0].http).await.unwrap();
    let leading = servers.iter().position(|server| server.rpc == first).unwrap();
    // One that stays, and one that goes with the quorum.
    let (stays, goes) = (&servers[(leading + 1) % 3], &servers[(leading + 2) % 3]);
    let consul = consul_at(&stays.http);
    let registry =
        Registry::new(consul.registrar(ConsulCheck::default().with_kind(ConsulCheckKind::None)));
    let announce = |id: &str| {
        let endpoint = Endpoint::new("127.0.0.1:8443").unwrap().with_key(id);
        registry.register("tax", endpoint).unwrap()
    };
    let one = announce("tax-1");
    one.registered(secs(30)).await.unwrap();
    // A leader without a quorum breaks off no query that waits: it tells at the end of the wait.
    let query = ConsulQuery::default().with_wait(secs(5));
    let endpoints = consul.service_with("tax", query).unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    until(&mut sets, |set| set.len() == 1).await;

    let start = tokio::time::Instant::now();
    script(&["signal", &servers[leading].name, "KILL"]).await;
    let two = announce("tax-2");
    until(&mut sets, |set| {
        assert!(!set.is_empty());
        set.len() == 2
    })
    .await;
    println!("  another leader, and a change that came with it: {:?}", start.elapsed());

    // Until the one that stays has it too: it may hear later than the leader what is certain.
    let stale = ConsulQuery::default().with_consistency(ConsulConsistency::Stale);
    let stale = || consul.service_with("tax", stale.clone()).unwrap().discover();
    until(&mut stale(), |set| set.len() == 2).await;
    script(&["signal", &goes.name, "KILL"]).await;
    let _three = announce("tax-3");
    let start = tokio::time::Instant::now();
    while handle.last_error().is_none() {
        assert!(start.elapsed() < secs(30), "it has a leader still");
        sleep(ms(50)).await;
    }
    println!("  no quorum: {:#}", handle.last_error().unwrap());
    assert_eq!(handle.set().unwrap().len(), 2);
    // A stale read goes on, without a leader.
    assert_eq!(keys(&next(&mut stale()).await), ["tax-1", "tax-2"]);

    let start = tokio::time::Instant::now();
    script(&["restart", &servers[leading].name]).await;
    script(&["restart", &goes.name]).await;
    until(&mut sets, |set| {
        assert!(set.len() >= 2);
        set.len() == 3
    })
    .await;
    println!("  the quorum is back: {:?}", start.elapsed());
    drop((one, two));
}
