//! What a circuit logs.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/log.rs"]
mod log;
mod support;

use log::Log;
use support::{Answer, Ask, Farm, secs};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    CircuitBreakerConfig, CircuitBreakerLayer,
    balance::{BalanceLayer, RoundRobin},
    discover,
};
use tracing::Level;

#[tokio::test(start_paused = true)]
async fn circuits_that_open_are_a_warning_and_those_that_close_news() {
    let (log, _guard) = Log::of("tower_upstream::breaker");
    let farm = Farm::default();
    let inner = farm.get("a:1");
    let config = CircuitBreakerConfig::consecutive(1).with_successes(1).with_open_jitter(0.0);
    let layer = CircuitBreakerLayer::new(config);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::new()))
        .layer(layer.clone())
        .service(farm);
    for answer in [Answer::Fails, Answer::Good] {
        inner.answers(answer);
        let _ = service.clone().oneshot(Ask::new(1)).await;
        sleep(secs(6)).await;
    }
    layer.handle().force_open();
    layer.handle().metrics_only();
    layer.handle().reset();
    layer.handle().reset();
    let log = log.take();
    let levels: Vec<_> = log.iter().map(|(level, _)| *level).collect();
    let (warn, info, debug) = (Level::WARN, Level::INFO, Level::DEBUG);
    assert_eq!(levels, [warn, debug, info, warn, debug, info, debug], "{log:?}");
    for field in ["endpoint=\"a:1\"", "from=closed", "to=open", "circuit opened"] {
        assert!(log[0].1.contains(field), "{field} in {log:?}");
    }
    assert!(log[2].1.contains("circuit closed") && !log[3].1.contains("endpoint"), "{log:?}");
}
