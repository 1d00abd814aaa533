//! The story of a registry, where there is none: processes announce themselves, and the network may fail.

use std::time::Duration;

use tokio::time::Instant;
use tower_upstream::{
    BoxError, Error,
    discover::{Instance, Kept, Mdns, MdnsService, Registrar, Watched},
};

use crate::{
    free_port, loopback, ms,
    registry_story::{Backend, play},
    responder::{LAST_BREATH, Responder, Service},
    secs,
};

/// What a process announces itself by: records that do not live long, and answers while it lives.
struct Announcer {
    host: Responder,
}

const KIND: &str = "_story._tcp";
const TTL: u32 = 6;

impl Registrar for Announcer {
    type Session = ();

    fn name(&self) -> String {
        "a host".to_owned()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(LAST_BREATH / 4)
    }

    fn max_backoff(&self) -> Duration {
        secs(1)
    }

    async fn put(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
        if self.host.is_silent() {
            return Err(Error::connection("the network is down").into());
        }
        let endpoint = instance.endpoint();
        let mut service = Service::new(KIND, instance.id(), endpoint.address().port().unwrap());
        service.txt.push(format!("weight={}", endpoint.weight()));
        service.txt.push(format!("draining={}", endpoint.is_draining()));
        service.txt.push(format!("tags={}", endpoint.tags().join(",")));
        service.lives_until = Some(Instant::now() + LAST_BREATH);
        self.host.announce(service.ttl(TTL)).await;
        Ok(())
    }

    async fn keep_alive(&self, _: &mut (), instances: &[Instance]) -> Result<Kept, BoxError> {
        for instance in instances {
            self.host.keep_alive(instance.id(), Instant::now() + LAST_BREATH);
        }
        Ok(Kept::Alive)
    }

    async fn remove(&self, _: &mut (), instance: &Instance) -> Result<(), BoxError> {
        self.host.goodbye(instance.id()).await;
        Ok(())
    }
}

struct Network {
    host: Responder,
    port: u16,
}

impl Backend for Network {
    type Registrar = Announcer;
    type Source = MdnsService;

    fn registrar(&self) -> Announcer {
        Announcer { host: self.host.clone() }
    }

    fn watch(&self, service: &str) -> Watched<MdnsService> {
        let config = loopback(self.port).with_require_health_before_use(true);
        let mdns = Mdns::new(config).unwrap().with_check(|_| std::future::ready(true));
        mdns.service(service).unwrap()
    }

    async fn stop(&self) {
        self.host.silence(true);
    }

    async fn restart(&self) {
        self.host.silence(false);
    }

    async fn partition(&self) {
        self.host.silence(true);
    }

    async fn heal(&self) {
        self.host.silence(false);
    }

    fn hears_within(&self) -> Duration {
        secs(6)
    }

    fn forgets_within(&self) -> Duration {
        secs(u64::from(TTL) + 6)
    }

    fn recovers_within(&self) -> Duration {
        secs(10)
    }

    /// Shorter than the time in which a record is asked for again: the last 20 % of its life.
    fn outage(&self) -> Duration {
        ms(600)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_instances_come_and_go_and_the_network_is_silent() {
    let port = free_port();
    let network = Network { host: Responder::start(port), port };
    let figures = play(&network).await;
    assert!(figures.calls > 1_000 && figures.to_dead > 0);
}
