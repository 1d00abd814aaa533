//! The layers as methods of tower's builder.
#![cfg(all(feature = "test-util", feature = "tower"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use support::{Answer, Ask, Farm, Inner, ms};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, timeout::TimeoutLayer};
use tower_upstream::{
    Attempts, CircuitBreakerConfig, CircuitBreakerLayer, FailoverLayer, HealthGateLayer, Quota,
    RateLimitLayer,
    balance::{BalanceLayer, RoundRobin},
    boxed::BoxUpstream,
    builder::ServiceBuilderExt,
    connect::EachLayer,
    discover,
    error::Kind,
    fallback::{Backup, FallbackLayer, Value},
    health::check_fn,
    limit::ConcurrencyLimitLayer,
};

/// The type of a stack, for comparison.
fn type_of<T>(_: &T) -> &'static str {
    std::any::type_name::<T>()
}

#[tokio::test(start_paused = true)]
async fn each_method_adds_its_layer() {
    let endpoints = || discover::fixed(["a:1", "b:1"]).unwrap();
    let short = ServiceBuilder::new()
        .quota(Quota::per_second(2).burst(2))
        .max_in_flight(10)
        .fallback(Value(String::from("instead")))
        .failover(Attempts::up_to(2))
        .balance(endpoints(), RoundRobin::starting_at(0))
        .health_gate(check_fn(|_| async { true }))
        .circuit_breaker(CircuitBreakerConfig::default())
        .each(TimeoutLayer::new(Duration::from_millis(20)));
    let long = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(2).burst(2)))
        .layer(ConcurrencyLimitLayer::new(10))
        .layer(FallbackLayer::value(String::from("instead")))
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(endpoints(), RoundRobin::starting_at(0)))
        .layer(HealthGateLayer::new(check_fn(|_| async { true })))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .layer(EachLayer::new(TimeoutLayer::new(Duration::from_millis(20))));
    assert_eq!(type_of(&short), type_of(&long));

    // And in the order in which they are called.
    let farm = Farm::default();
    let service = short.service(farm.clone());
    let send = || service.clone().oneshot(Ask::new(1));
    farm.get("a:1").answers(Answer::Never);
    let start = Instant::now();
    assert_eq!(send().await.unwrap(), "b:1");
    assert_eq!(start.elapsed(), ms(20), "the timeout is each endpoint's");
    farm.get("b:1").answers(Answer::Fails);
    assert_eq!(send().await.unwrap(), "instead", "the fallback is above the failover");
    let refused = send().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::RateLimited, "the quota is above the fallback");
}

#[tokio::test(start_paused = true)]
async fn tower_s_own_methods_stay_beside_them() {
    let inner = Inner::new("a:1");
    let service: BoxUpstream<Ask, String> = ServiceBuilder::new()
        .boxed_upstream()
        .load_shed()
        .concurrency_limit(10)
        .max_in_flight(10)
        .timeout(Duration::from_secs(1))
        .fallback(Backup::new(Inner::new("b:1").service()))
        .option_layer(Some(CircuitBreakerLayer::default()))
        .map_err(tower_upstream::Error::from_service::<tower::BoxError>)
        .map_request(|ask: Ask| ask)
        .service(inner.service());
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "a:1");
    inner.answers(Answer::Fails);
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "b:1");
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn each_method_for_http_adds_its_layer() {
    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::Full;
    use tower::service_fn;
    use tower_upstream::{
        BoxError, Endpoint,
        connect::connect_fn,
        http::{AnsweredBy, ReplayBody},
    };

    let service = ServiceBuilder::new()
        .answer_errors()
        .quota(Quota::per_second(1).burst(1))
        .replay_bodies()
        .failover(Attempts::up_to(2))
        .balance(discover::fixed(["http://a:1/api"]).unwrap(), RoundRobin::new())
        .name_endpoint()
        .track_bodies()
        .at_origin()
        .service(connect_fn(|_: &Endpoint| {
            service_fn(async |request: Request<ReplayBody>| {
                let uri = Bytes::from(request.uri().to_string());
                Ok::<_, BoxError>(Response::new(Full::new(uri)))
            })
        }));
    let send =
        || service.clone().oneshot(Request::get("/tax").body(Full::<Bytes>::default()).unwrap());
    let response = send().await.unwrap();
    assert!(response.extensions().get::<AnsweredBy>().is_some());
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "http://a:1/api/tax");
    assert_eq!(send().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
}
