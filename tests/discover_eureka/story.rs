//! The story of a registry, with the double.

use std::time::Duration;

use tower_upstream::discover::{
    Eureka, EurekaConfig, EurekaRegistrar, EurekaService, WatchConfig, Watched,
};

use crate::{
    double::Double,
    reading::config,
    registry_story::{Backend, play},
    support::secs,
};

/// As fast as it may be.
pub fn fast(config: EurekaConfig) -> EurekaConfig {
    config
        .with_registry_fetch_interval(secs(1))
        .with_lease(secs(2), secs(6))
        .with_watch(WatchConfig::default().with_empty_grace(secs(10)).with_removal_grace(secs(10)))
}

fn eureka(double: &Double) -> Eureka {
    Eureka::new(fast(config(double))).unwrap()
}

impl Backend for Double {
    type Registrar = EurekaRegistrar;
    type Source = EurekaService;

    fn registrar(&self) -> EurekaRegistrar {
        eureka(self).registrar()
    }

    fn watch(&self, service: &str) -> Watched<EurekaService> {
        eureka(self).service(service).unwrap()
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }

    async fn restart(&self) {
        Self::restart(self).await;
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
        secs(45)
    }

    fn outage(&self) -> Duration {
        secs(90)
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_endpoints_come_and_go_and_eureka_is_away() {
    let figures = play(&Double::start().await).await;
    assert!(figures.calls > 10_000 && figures.to_dead > 0);
}
