//! The story of a registry, with the double.

use std::{net::SocketAddr, sync::Mutex};

use tower_upstream::discover::EtcdRegistrar;

use super::*;
use crate::{
    double::Mood,
    registry_story::{Backend, play},
};

struct Double {
    cluster: Cluster,
    address: SocketAddr,
    member: Mutex<Option<Member>>,
}

impl Double {
    async fn start() -> Self {
        let cluster = Cluster::new();
        let member = cluster.member().await;
        Self { cluster, address: member.address, member: Mutex::new(Some(member)) }
    }

    fn etcd(&self) -> Etcd {
        let url = format!("http://{}", self.address);
        let config = EtcdConfig::default().with_endpoints([url]).with_lease_ttl(secs(6));
        Etcd::new(config).unwrap()
    }
}

impl Backend for Double {
    type Registrar = EtcdRegistrar;
    type Source = EtcdService;

    fn registrar(&self) -> EtcdRegistrar {
        self.etcd().registrar()
    }

    fn watch(&self, service: &str) -> Watched<EtcdService> {
        self.etcd().service(service).unwrap()
    }

    async fn stop(&self) {
        self.cluster.change(|store| store.sleeps(true));
        drop(self.member.lock().unwrap().take());
    }

    async fn restart(&self) {
        let member = self.cluster.member_at(self.address, None).await;
        self.cluster.change(|store| store.sleeps(false));
        *self.member.lock().unwrap() = Some(member);
    }

    async fn partition(&self) {
        let member = self.member.lock().unwrap().take().unwrap();
        member.is(Mood::Frozen);
        member.cut().await;
        *self.member.lock().unwrap() = Some(member);
    }

    async fn heal(&self) {
        self.member.lock().unwrap().as_ref().unwrap().is(Mood::Well);
    }

    fn hears_within(&self) -> Duration {
        secs(1)
    }

    fn forgets_within(&self) -> Duration {
        secs(7)
    }

    fn recovers_within(&self) -> Duration {
        secs(36)
    }

    fn outage(&self) -> Duration {
        secs(90)
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_endpoints_come_and_go_and_etcd_is_away() {
    let figures = play(&Double::start().await).await;
    assert!(figures.calls > 10_000 && figures.to_dead > 0);
}
