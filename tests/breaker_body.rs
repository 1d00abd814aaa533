//! Circuits that wait for the end of a response body.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, HttpClassify,
    breaker::{CircuitBreakerHandle, CircuitState},
};

type Body = BoxBody<Bytes, BoxError>;
type Answer = Response<Body>;

/// What a response is made of: gRPC or not, and its frames; the last may break it.
#[derive(Clone)]
struct Plan {
    grpc: bool,
    frames: Vec<Result<Option<&'static str>, &'static str>>,
}

fn answer(plan: Plan) -> Answer {
    let frames = plan.frames.into_iter().map(|frame| match frame {
        Ok(None) => Ok(Frame::data(Bytes::from_static(b"data"))),
        Ok(Some(status)) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            trailers.insert("grpc-retry-pushback-ms", HeaderValue::from_static("9000"));
            Ok(Frame::trailers(trailers))
        }
        Err(broken) => Err(BoxError::from(broken)),
    });
    let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed());
    if plan.grpc {
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
    }
    response
}

fn over(
    config: CircuitBreakerConfig,
) -> (
    impl Service<
        Plan,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin>,
        Error = tower_upstream::Error,
    > + Clone,
    CircuitBreakerHandle,
) {
    let layer = CircuitBreakerLayer::new(config).until_body_end(HttpClassify);
    let service = service_fn(async |plan: Plan| Ok::<_, Infallible>(answer(plan)));
    (layer.layer(service), layer.handle())
}

fn once() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(1).with_open_jitter(0.0)
}

const DATA: Result<Option<&str>, &str> = Ok(None);

#[tokio::test(start_paused = true)]
async fn the_end_of_the_body_is_the_verdict() {
    let status = |status| Ok(Some(status));
    for (grpc, last, fails) in [
        (false, DATA, false),
        (false, Err("broken"), true),
        (true, status("0"), false),
        (true, status("5"), false),
        (true, status("14"), true),
        (true, status("nonsense"), true),
        (true, Err("broken"), true),
        // A gRPC answer that ends without a status was cut off.
        (true, DATA, true),
        (false, status("14"), false),
    ] {
        let (service, handle) = over(once());
        let plan = Plan { grpc, frames: vec![DATA, last] };
        let response = service.oneshot(plan).await.unwrap();
        assert_eq!(handle.stats().requests, 0, "the call goes on");
        let _ = response.into_body().collect().await;
        let stats = handle.stats();
        assert_eq!((stats.requests, stats.failures), (1, u64::from(fails)), "{grpc} {last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_in_the_trailers_keeps_it_open() {
    let (service, _) = over(once());
    let plan = Plan { grpc: true, frames: vec![Ok(Some("8"))] };
    let body = service.clone().oneshot(plan.clone()).await.unwrap().into_body();
    body.collect().await.unwrap();
    let refusal = service.oneshot(plan).await.map(drop).unwrap_err();
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(9)));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_held_until_the_body_ends_or_is_dropped() {
    let config = once().with_probes(1).with_successes(2).with_open_for(Duration::from_secs(1));
    let (service, handle) = over(config);
    let plan = |frames| Plan { grpc: false, frames };
    let call = |frames| service.clone().oneshot(plan(frames));
    let broken = call(vec![Err("broken")]).await.unwrap();
    let _ = broken.into_body().collect().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    let probe = call(vec![DATA, DATA]).await.unwrap();
    assert!(call(vec![]).await.map(drop).unwrap_err().is_refused());
    drop(probe);
    assert_eq!((handle.state(), handle.stats().ignored), (CircuitState::HalfOpen, 1));
    for _ in 0..2 {
        let mut body = call(vec![DATA]).await.unwrap().into_body();
        while body.frame().await.is_some() {}
    }
    assert_eq!(handle.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_bad_head_and_an_empty_body_need_no_reader() {
    let layer =
        CircuitBreakerLayer::new(CircuitBreakerConfig::default()).until_body_end(HttpClassify);
    let service = layer.layer(service_fn(async |status: u16| {
        let body = Full::new(Bytes::new());
        Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
    }));
    let _kept =
        [service.clone().oneshot(200).await.unwrap(), service.clone().oneshot(500).await.unwrap()];
    let stats = layer.handle().stats();
    assert_eq!((stats.successes, stats.failures), (1, 1));
}
