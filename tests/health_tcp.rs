//! What a check of a TCP port promises. It needs tokio's network alone.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    Endpoint, HealthGateLayer,
    error::Kind,
    health::{Check, HealthConfig, TcpCheck, Verdict},
};

fn is_ill(verdict: &Verdict, reason: &str) -> bool {
    matches!(verdict, Verdict::Unhealthy(text) if text.contains(reason))
}

#[tokio::test]
async fn a_connection_is_enough_for_a_tcp_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = |text: String| Some(Arc::new(Endpoint::new(text).unwrap()));
    let here = endpoint(format!("http://127.0.0.1:{port}/x"));
    assert_eq!(TcpCheck::new().check(here.clone()).await, Verdict::Healthy);
    let to = TcpCheck::to(format!("127.0.0.1:{port}"));
    assert_eq!(to.check(None).await, Verdict::Healthy);
    let other = TcpCheck::new().port(port).check(endpoint("127.0.0.1:1".to_owned())).await;
    assert_eq!(other, Verdict::Healthy);
    drop(listener);
    assert!(is_ill(&TcpCheck::new().check(here).await, "connection failed: "));
    assert!(is_ill(&TcpCheck::new().check(None).await, "needs an endpoint"));
}

#[tokio::test]
async fn a_gate_follows_a_port_that_closes_and_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = HealthConfig::default()
        .with_interval(Duration::from_secs(86_400))
        .with_interval_unhealthy(Duration::from_secs(86_400))
        .with_fall(1)
        .with_rise(1);
    let layer = HealthGateLayer::with_config(TcpCheck::to(address.to_string()), config);
    let client = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(())));
    let monitor = layer.monitor();
    client.clone().oneshot(()).await.unwrap();
    assert_eq!(monitor.force_check().await.unwrap().healthy, 1);
    drop(listener);
    assert_eq!(monitor.force_check().await.unwrap().changed, 1);
    assert_eq!(client.clone().oneshot(()).await.unwrap_err().kind(), Kind::Unhealthy);
    let again = TcpListener::bind(address).await.unwrap();
    assert_eq!(monitor.force_check().await.unwrap().changed, 1);
    client.oneshot(()).await.unwrap();
    drop(again);
}
