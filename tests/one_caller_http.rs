//! What one caller does over HTTP costs the others nothing: a stalled upload, an unread answer, a body that
//! panics, requests that an endpoint cannot serve.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use support::{ms, secs, seen, settle};
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer,
    ConcurrencyLimitLayer, Endpoint, FailoverLayer,
    balance::{BalanceHandle, RoundRobin},
    breaker::CircuitState,
    budget::{Budget, BudgetConfig, ThrottleBudget},
    connect_fn, discover,
    error::{Error, Kind},
    http::{HttpClassify, Idempotent, ReplayBody, TrackLayer},
};

// An upload that stalls.

/// Half of it comes, and then nothing.
struct Stalls {
    announced: Option<u64>,
    sent: bool,
}

impl Body for Stalls {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match std::mem::replace(&mut self.sent, true) {
            false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"half"))))),
            true => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = |all: u64| SizeHint::with_exact(if self.sent { all - 4 } else { all });
        self.announced.map_or_else(SizeHint::default, left)
    }
}

struct Uploads {
    budget: Budget,
    breaker: CircuitBreakerLayer,
    set: BalanceHandle,
}

/// Two endpoints that answer once they have read all, if they answer, and get 50 ms for that.
fn uploads(
    answers: bool,
) -> (Uploads, impl Service<Request<ReplayBody>, Response = Response<()>, Error = Error> + Clone) {
    let mut throttle = ThrottleBudget::default();
    throttle.max_tokens = 10;
    let budget = Budget::with_config(BudgetConfig::Throttle(throttle));
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0));
    let set = balance.handle();
    let service = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(2).with_timeout(ms(50))).with_budget(budget.clone()),
        )
        .layer(balance)
        .layer(breaker.clone())
        .service(connect_fn(move |_: &Endpoint| {
            service_fn(move |request: Request<ReplayBody>| async move {
                let mut body = request.into_body();
                while let Some(frame) = body.frame().await {
                    frame?;
                    if !answers {
                        // Reads no more of it.
                        pending::<()>().await;
                    }
                }
                if !answers {
                    pending::<()>().await;
                }
                Ok::<_, BoxError>(Response::new(()))
            })
        }));
    (Uploads { budget, breaker, set }, service)
}

fn upload<B>(body: B) -> Request<ReplayBody>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Request::put("/").extension(Idempotent).body(ReplayBody::new(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalls_is_held_against_no_endpoint_and_not_sent_elsewhere() {
    let (it, service) = uploads(true);
    let before = it.budget.available();
    for _ in 0..10 {
        let body = Stalls { announced: Some(100), sent: false };
        let start = Instant::now();
        let error = service.clone().oneshot(upload(body)).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Kind::Timeout, 1), "{error}");
        assert!(error.to_string().contains("the rest of its request"), "{error}");
        assert!(start.elapsed() < ms(60));
    }
    for key in ["a:1", "b:1"] {
        let stats = seen(&it.breaker.handle_for(key).unwrap());
        assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 0), "{key}");
    }
    assert!(
        it.set.members().iter().all(|member| (member.failures(), member.in_flight()) == (0, 0))
    );
    assert_eq!(it.budget.available(), before);
    // Another caller is served.
    service.oneshot(upload(Full::new(Bytes::from_static(b"all")))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_to_blame_whatever_is_left_of_the_upload() {
    // All has come; or there is more, for which it does not ask; or it is a conversation, in which it may
    // be the turn of either.
    for (answers, body) in [
        (false, upload(Full::new(Bytes::from_static(b"all")))),
        (false, upload(Stalls { announced: Some(100), sent: false })),
        (true, upload(Stalls { announced: None, sent: false })),
    ] {
        let (it, service) = uploads(answers);
        let error = service.clone().oneshot(body).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (Kind::RetryExhausted, 2), "{error}");
        let failures: u64 = it.set.members().iter().map(|member| member.failures()).sum();
        assert_eq!(failures, 2);
    }
}

// Answers that are not read.

#[tokio::test(start_paused = true)]
async fn one_that_reads_none_of_its_answers_leaves_the_other_endpoint_to_the_others() {
    let limit = ConcurrencyLimitLayer::new(2).until_body_end();
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .layer(TrackLayer::new())
        .layer(limit.clone())
        .service(connect_fn(|endpoint: &Endpoint| {
            let key = Bytes::from(endpoint.key().to_owned());
            service_fn(move |_: Request<()>| {
                let key = key.clone();
                async move { Ok::<_, Infallible>(Response::new(Full::new(key))) }
            })
        }));
    let send = || service.clone().oneshot(Request::new(()));
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(send().await.unwrap());
    }
    for _ in 0..20 {
        let start = Instant::now();
        let body = send().await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "b:1");
        assert!(start.elapsed() < ms(20));
    }
    drop(unread);
    for key in ["a:1", "b:1"] {
        assert_eq!(limit.handle_for(key).unwrap().in_flight(), 0);
    }
}

/// Panics when it is read.
struct Mine;

impl Body for Mine {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the body of an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_panics_when_it_is_read_gives_back_all_that_it_holds() {
    let above = ConcurrencyLimitLayer::new(1).until_body_end();
    let config = CircuitBreakerConfig::consecutive(1).with_probes(1);
    let breaker = CircuitBreakerLayer::new(config).until_body_end(HttpClassify);
    let balance = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0));
    let set = balance.handle();
    let service = ServiceBuilder::new()
        .layer(above.clone())
        .layer(balance)
        .layer(TrackLayer::new())
        .layer(breaker.clone())
        .service(connect_fn(|_: &Endpoint| {
            service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(Mine)) })
        }));
    for _ in 0..5 {
        let mut response = service.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!((above.handle().in_flight(), set.members()[0].in_flight()), (1, 1));
        let read = tokio::spawn(async move { response.body_mut().frame().await.map(drop) });
        assert!(read.await.unwrap_err().is_panic());
        assert_eq!((above.handle().in_flight(), set.members()[0].in_flight()), (0, 0));
    }
    assert_eq!(breaker.handle_for("a:1").unwrap().state(), CircuitState::Closed);
}

// Requests that an endpoint cannot serve.

async fn state_after(
    status: StatusCode,
    kind: Option<&'static str>,
    until_body_end: bool,
) -> CircuitState {
    let answer = service_fn(move |()| async move {
        let mut response = Response::new(Full::new(Bytes::from_static(b"no")));
        *response.status_mut() = status;
        if let Some(kind) = kind {
            response.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        Ok::<_, Infallible>(response)
    });
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
    for _ in 0..5 {
        if until_body_end {
            let service = ServiceBuilder::new()
                .layer(breaker.clone().until_body_end(HttpClassify))
                .service(answer);
            let Ok(response) = service.oneshot(()).await else { continue };
            response.into_body().collect().await.unwrap();
        } else {
            let service = ServiceBuilder::new()
                .layer(breaker.clone().with_classify(HttpClassify))
                .service(answer);
            let _ = service.oneshot(()).await;
        }
    }
    breaker.handle().state()
}

#[tokio::test(start_paused = true)]
async fn methods_and_versions_that_an_endpoint_does_not_know_open_no_circuit() {
    for until_body_end in [false, true] {
        for (status, state) in [
            (StatusCode::NOT_IMPLEMENTED, CircuitState::Closed),
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, CircuitState::Closed),
            (StatusCode::PAYLOAD_TOO_LARGE, CircuitState::Closed),
            (StatusCode::REQUEST_TIMEOUT, CircuitState::Closed),
            (StatusCode::INTERNAL_SERVER_ERROR, CircuitState::Open),
            (StatusCode::BAD_GATEWAY, CircuitState::Open),
            (StatusCode::INSUFFICIENT_STORAGE, CircuitState::Open),
        ] {
            assert_eq!(state_after(status, None, until_body_end).await, state, "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_that_a_proxy_turns_away_owes_no_status() {
    let grpc = Some("application/grpc");
    for status in [400, 401, 403, 404, 415] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(state_after(status, grpc, true).await, CircuitState::Closed, "{status}");
    }
    for status in [200, 429, 502, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(state_after(status, grpc, true).await, CircuitState::Open, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_endpoint_can_serve_are_sent_once_and_spend_no_budget() {
    let budget = Budget::new(0.0, 0, 3);
    for status in [400, 404, 413, 501, 505] {
        let service = ServiceBuilder::new()
            .layer(
                FailoverLayer::new(Attempts::up_to(3))
                    .with_budget(budget.clone())
                    .with_classify(HttpClassify),
            )
            .layer(BalanceLayer::new(
                discover::fixed(["a:1", "b:1"]).unwrap(),
                RoundRobin::starting_at(0),
            ))
            .service(connect_fn(move |_: &Endpoint| {
                service_fn(move |_: Request<()>| async move {
                    Ok::<_, BoxError>(Response::builder().status(status).body(()).unwrap())
                })
            }));
        let answer = timeout(secs(1), service.oneshot(Request::new(()))).await.unwrap().unwrap();
        assert_eq!(answer.status(), status);
        settle().await;
    }
    assert_eq!(budget.available(), 3);
}
