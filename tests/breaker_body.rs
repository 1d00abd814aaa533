//! Circuits that wait for the end of a response body.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, LeastRequest,
    breaker::{Cancelled, CircuitBreakerHandle, CircuitState},
    connect_fn, discover,
    http::HttpClassify,
};

use support::seen;

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
        assert_eq!(seen(&handle).admitted, 0, "the call goes on");
        let _ = response.into_body().collect().await;
        let stats = seen(&handle);
        assert_eq!((stats.admitted, stats.failed), (1, u64::from(fails)), "{grpc} {last:?}");
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

/// A half-open circuit over what `answer` makes of each request, of which the first fails.
async fn half_open<S>(
    config: CircuitBreakerConfig,
    service: S,
) -> (
    impl Service<
        Option<Answer>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin>,
        Error = tower_upstream::Error,
    > + Clone,
    CircuitBreakerHandle,
)
where
    S: Service<Option<Answer>, Response = Answer, Error = BoxError> + Clone,
{
    let config = config.with_open_for(Duration::from_secs(1));
    let layer = CircuitBreakerLayer::new(config).until_body_end(HttpClassify);
    let (service, handle) = (layer.layer(service), layer.handle());
    assert!(service.clone().oneshot(None).await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    (service, handle)
}

/// Answers with what it is asked for.
async fn echo(answer: Option<Answer>) -> Result<Answer, BoxError> {
    answer.ok_or_else(|| "down".into())
}

/// A response that goes on for ever: of a connection that speaks something else from now on, an
/// event stream, and a gRPC stream whose status is to come.
fn endless() -> [Answer; 3] {
    let head = |head: http::response::Builder| {
        let frames = stream::pending::<Result<Frame<Bytes>, BoxError>>();
        head.body(StreamBody::new(frames).boxed()).unwrap()
    };
    [
        Response::builder()
            .status(101)
            .body(Full::default().map_err(|n| match n {}).boxed())
            .unwrap(),
        head(Response::builder()),
        head(Response::builder().header("content-type", "application/grpc")),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_closes_a_half_open_circuit_with_its_head() {
    for which in 0..3 {
        let config = once().with_probes(1).with_successes(2);
        let (service, handle) = half_open(config, service_fn(echo)).await;
        let mut open = Vec::new();
        for expected in [CircuitState::HalfOpen, CircuitState::Closed, CircuitState::Closed] {
            let [a, b, c] = endless();
            let answer = [Some(a), Some(b), Some(c)].into_iter().nth(which).unwrap();
            open.push(service.clone().oneshot(answer).await.unwrap());
            assert_eq!(handle.state(), expected, "{which}");
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let stats = seen(&handle);
        assert_eq!((stats.state, stats.admitted, stats.opened), (CircuitState::Closed, 1, 1));
        // Each is in the totals once, and no end of one changes anything.
        drop(open);
        let stats = seen(&handle);
        assert_eq!((stats.state, stats.admitted, stats.failed), (CircuitState::Closed, 4, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_gives_its_place_back_with_its_head_and_once() {
    let config = once().with_probes(1).with_successes(3);
    let (service, handle) = half_open(config, service_fn(echo)).await;
    let call = |frames| service.clone().oneshot(Some(answer(Plan { grpc: false, frames })));
    let dropped = call(vec![DATA, DATA]).await.unwrap();
    let read = call(vec![DATA]).await.unwrap();
    let mut probe = service.clone();
    assert!(probe.ready().await.is_ok());
    let probe = probe.call(Some(answer(Plan { grpc: false, frames: vec![] })));
    drop(dropped);
    read.into_body().collect().await.unwrap();
    let stats = seen(&handle);
    assert_eq!((stats.state, stats.ignored, stats.succeeded), (CircuitState::HalfOpen, 1, 1));
    // Neither end gave back the place of another.
    assert!(call(vec![]).await.map(drop).unwrap_err().is_refused());
    probe.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!((handle.state(), seen(&handle).admitted), (CircuitState::Closed, 4));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_body_breaks_has_failed_while_the_circuit_is_half_open() {
    let broken = || Some(answer(Plan { grpc: false, frames: vec![Err("broken")] }));
    let status = || Some(answer(Plan { grpc: true, frames: vec![Ok(Some("14"))] }));
    let cut_off = || Some(answer(Plan { grpc: true, frames: vec![DATA] }));
    for bad in [broken, status, cut_off] {
        let config = once().with_probes(2).with_successes(2).with_probe_failures(0);
        let (service, handle) = half_open(config.clone(), service_fn(echo)).await;
        let probe = service.clone().oneshot(bad()).await.unwrap();
        assert_eq!(handle.state(), CircuitState::HalfOpen);
        let _ = probe.into_body().collect().await;
        let stats = seen(&handle);
        assert_eq!((stats.state, stats.opened, stats.failed), (CircuitState::Open, 2, 2));

        // One that may fail: the good head is taken back.
        let config = config.with_probe_failures(1);
        let (service, handle) = half_open(config.clone(), service_fn(echo)).await;
        let probe = service.clone().oneshot(bad()).await.unwrap();
        let _ = probe.into_body().collect().await;
        for expected in [CircuitState::HalfOpen, CircuitState::Closed] {
            let good = answer(Plan { grpc: false, frames: vec![DATA] });
            let _ = service.clone().oneshot(Some(good)).await.unwrap().into_body().collect().await;
            assert_eq!(handle.state(), expected);
        }

        // Of one that breaks once the circuit has closed only totals tell.
        let (service, handle) = half_open(config.with_successes(1), service_fn(echo)).await;
        let probe = service.clone().oneshot(bad()).await.unwrap();
        assert_eq!(handle.state(), CircuitState::Closed);
        let _ = probe.into_body().collect().await;
        let stats = seen(&handle);
        assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 2));
        assert_eq!(stats.failures_in_a_row, 0);
    }
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
    let stats = seen(&layer.handle());
    assert_eq!((stats.succeeded, stats.failed), (1, 1));
}

/// A head that takes a while, and its frames.
fn slowly(
    config: CircuitBreakerConfig,
) -> (
    impl Service<
        Answer,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin>,
        Error = tower_upstream::Error,
    > + Clone,
    CircuitBreakerHandle,
) {
    let config = config
        .with_failures(0)
        .with_slow_ratio(0.5)
        .with_slow_after(Duration::from_millis(200))
        .with_min_calls(10);
    let layer = CircuitBreakerLayer::new(config).until_body_end(HttpClassify);
    let service = service_fn(async |answer: Answer| {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok::<_, BoxError>(answer)
    });
    (layer.layer(service), layer.handle())
}

#[tokio::test(start_paused = true)]
async fn slow_heads_open_the_circuit_while_their_bodies_go_on() {
    for which in 0..3 {
        let (service, handle) = slowly(once());
        let answers = (0..60).map(|_| endless().into_iter().nth(which).unwrap());
        let calls = answers.map(|answer| service.clone().oneshot(answer));
        let open = futures::future::join_all(calls).await;
        let stats = seen(&handle);
        assert_eq!((stats.state, stats.slow, stats.admitted), (CircuitState::Open, 60, 0));
        drop(open);
        let stats = seen(&handle);
        assert_eq!((stats.slow, stats.admitted), (60, 60), "{which}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_counts_once_however_the_call_ends() {
    let plain = |frames| answer(Plan { grpc: false, frames });
    let grpc = |frames| answer(Plan { grpc: true, frames });
    let status = |status| vec![DATA, Ok(Some(status))];
    let [upgraded, ..] = endless();
    // The end of the body, trailers, a status in them, the connection; and the body breaks.
    for (answer, fails) in [
        (plain(vec![DATA]), 0),
        (plain(status("14")), 0),
        (grpc(status("0")), 0),
        (upgraded, 0),
        (plain(vec![DATA, Err("broken")]), 1),
        (grpc(status("14")), 1),
        (grpc(vec![DATA]), 1),
    ] {
        let (service, handle) = slowly(CircuitBreakerConfig::default());
        let response = service.oneshot(answer).await.unwrap();
        let window = seen(&handle).window;
        assert_eq!((window.calls, window.slow, window.failures), (1, 1, 0));
        let (head, body) = response.into_parts();
        let _ = body.collect().await;
        drop(head);
        let stats = seen(&handle);
        let window = stats.window;
        assert_eq!((window.calls, window.slow, window.failures), (1, 1, fails));
        assert_eq!((stats.admitted, stats.slow, stats.failed), (1, 1, fails));
        assert_eq!(stats.succeeded, 1 - fails);
    }
}

/// What a call ends with that took longer than it may.
async fn cut_short() -> Error {
    let hangs = connect_fn(|_: &Endpoint| {
        service_fn(|_: Call<u32>| std::future::pending::<Result<(), BoxError>>())
    });
    let set =
        BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()).layer(hangs);
    let attempts = Attempts::up_to(1).with_overall(Duration::from_millis(10));
    FailoverLayer::new(attempts).layer(set).oneshot(Call::new(1)).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_the_fault_of_who_broke_it() {
    let refusal = || async {
        let layer = CircuitBreakerLayer::new(once());
        layer.handle().force_open();
        let service = layer.layer(service_fn(async |()| Ok::<_, BoxError>(())));
        service.oneshot(()).await.unwrap_err()
    };
    for (error, when_cancelled, failures) in [
        (Error::caller("the upload was aborted"), Cancelled::Failure, 0),
        (Error::connection("reset"), Cancelled::Failure, 0),
        (refusal().await, Cancelled::Failure, 0),
        (cut_short().await, Cancelled::Failure, 1),
        (cut_short().await, Cancelled::Ignored, 0),
        (Error::unsent("refused"), Cancelled::Ignored, 1),
    ] {
        let config = once().with_cancelled(when_cancelled);
        let layer = CircuitBreakerLayer::new(config).until_body_end(HttpClassify);
        let says = format!("{error:?}");
        let broken = layer.clone().layer(service_fn(async |error: Error| {
            let frames = stream::iter([Err::<Frame<Bytes>, BoxError>(error.into())]);
            Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
        }));
        assert!(broken.oneshot(error).await.unwrap().into_body().collect().await.is_err());
        let stats = seen(&layer.handle());
        assert_eq!((stats.admitted, stats.failed), (1, failures), "{says}");
        assert_eq!((stats.state == CircuitState::Open) as u64, failures, "{says}");
    }
}
