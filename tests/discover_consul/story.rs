//! The story of a registry, with the double.

use std::time::Duration;

use tower_upstream::discover::{ConsulCheck, ConsulRegistrar, ConsulService, Watched};

use crate::{
    double::Double,
    reading::consul,
    registry_story::{Backend, play},
    support::secs,
};

impl Backend for Double {
    type Registrar = ConsulRegistrar;
    type Source = ConsulService;

    fn registrar(&self) -> ConsulRegistrar {
        consul(self).registrar(ConsulCheck::default().with_ttl(secs(6)))
    }

    fn watch(&self, service: &str) -> Watched<ConsulService> {
        consul(self).service(service).unwrap()
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }

    async fn restart(&self) {
        Self::restart(self, |catalog| *catalog = Default::default()).await;
    }

    async fn partition(&self) {
        Self::partition(self);
    }

    async fn heal(&self) {
        Self::heal(self);
    }

    fn hears_within(&self) -> Duration {
        secs(3)
    }

    fn forgets_within(&self) -> Duration {
        secs(9)
    }

    fn recovers_within(&self) -> Duration {
        secs(31)
    }

    fn outage(&self) -> Duration {
        secs(90)
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_endpoints_come_and_go_and_consul_is_away() {
    let figures = play(&Double::start().await).await;
    assert!(figures.calls > 10_000 && figures.to_dead > 0);
}
