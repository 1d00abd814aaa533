//! What one endpoint does costs the others nothing: its wishes, its panics, its coming and going.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use support::{Answer, Ask, Farm, ms, secs, seen, settle};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Classify,
    Endpoint, Error, FailoverLayer, Outcome,
    balance::{BalanceConfig, BalanceHandle, OutlierConfig, RoundRobin},
    breaker::CircuitState,
    budget::Budget,
    connect_fn, discover,
    discover::Memory,
    http::HttpClassify,
    member::Reason,
};

fn once() -> CircuitBreakerConfig {
    CircuitBreakerConfig::consecutive(1).with_open_jitter(0.0)
}

// Wishes.

type Headers = &'static [(&'static str, &'static str)];

/// What comes of it when a:1 answers with `status` and `headers`, and b:1 is well: the answer of the stack,
/// how long it took, for how long the circuit of a:1 is open, and what is left of three retries.
async fn wishes(status: u16, headers: Headers) -> (u16, Duration, Option<Duration>, u32) {
    let (breaker, budget) = (CircuitBreakerLayer::new(once()), Budget::new(0.0, 0, 3));
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(2))
                .with_budget(budget.clone())
                .with_classify(HttpClassify),
        )
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).with_classify(HttpClassify))
        .layer(breaker.clone().with_classify(HttpClassify))
        .service(connect_fn(move |endpoint: &Endpoint| {
            let is_well = endpoint.key() == "b:1";
            service_fn(move |_: Request<()>| async move {
                let mut response = Response::builder().status(if is_well { 200 } else { status });
                for (name, value) in headers.iter().filter(|_| !is_well) {
                    response = response.header(*name, *value);
                }
                Ok::<_, BoxError>(response.body(()).unwrap())
            })
        }));
    let start = Instant::now();
    let answer = service.oneshot(Request::new(())).await.unwrap();
    let took = start.elapsed();
    let circuit = breaker.handle_for("a:1").unwrap();
    let open = (circuit.state() == CircuitState::Open)
        .then(|| circuit.next_transition().unwrap() - Instant::now());
    let grpc = answer.headers().get("grpc-status").is_some();
    let status = if grpc { 0 } else { answer.status().as_u16() };
    (status, took, open, budget.available())
}

#[tokio::test(start_paused = true)]
async fn a_wish_of_years_is_heard_for_as_long_as_a_circuit_may_be_open() {
    let cases: [(u16, Headers); 6] = [
        (503, &[("retry-after", "99999999999999999999")]),
        (429, &[("retry-after", "315360000")]),
        (503, &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]),
        // By a clock that is at its beginning.
        (
            503,
            &[
                ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
                ("retry-after", "Mon, 05 Aug 2030 09:27:05 GMT"),
            ],
        ),
        (429, &[("ratelimit", "\"a\";r=0;t=999999999999999")]),
        (
            200,
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", "14"),
                (
                    "grpc-status-details-bin",
                    "CA4aNAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIICgYIgIawlgE",
                ),
            ],
        ),
    ];
    for (status, headers) in cases {
        let (answer, took, open, left) = wishes(status, headers).await;
        assert_eq!((answer, left), (200, 2), "{headers:?}");
        assert!(took < ms(10), "another endpoint does not wait for that: {took:?}");
        let open = open.unwrap();
        assert!(open <= secs(60) && open > secs(59), "{open:?} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_no_wish() {
    let cases: [(u16, Headers); 7] = [
        (503, &[("retry-after", "-1")]),
        (503, &[("retry-after", "1e9")]),
        (503, &[("retry-after", "")]),
        (503, &[("retry-after", "0x10")]),
        (503, &[("retry-after", "Fri, 31 Dec 99999 23:59:59 GMT")]),
        (429, &[("ratelimit", "r=0;t=60")]),
        (500, &[("retry-after", "50")]),
    ];
    for (status, headers) in cases {
        let (answer, took, open, left) = wishes(status, headers).await;
        assert_eq!((answer, left), (200, 2), "{headers:?}");
        assert!(took < ms(10));
        assert_eq!(open.map(|open| open.as_secs_f64().round()), Some(5.0), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_asks_for_no_time() {
    let past: Headers = &[
        ("date", "Mon, 05 Aug 2030 09:27:05 GMT"),
        ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    let (answer, _, open, _) = wishes(503, past).await;
    assert_eq!((answer, open.map(|open| open.as_secs_f64().round())), (200, Some(5.0)));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_forbids_repeats_ends_its_own_call_alone() {
    for pushback in ["-1", "soon", "99999999999999999999", "1.5", ""] {
        let headers: [(&str, &str); 3] = [
            ("content-type", "application/grpc"),
            ("grpc-status", "14"),
            ("grpc-retry-pushback-ms", pushback),
        ];
        let (answer, _, open, left) = wishes(200, Box::leak(Box::new(headers))).await;
        assert_eq!(
            (answer, left),
            (0, 3),
            "the call ends with it, and is not paid for: {pushback}"
        );
        assert_eq!(open.map(|open| open.as_secs_f64().round()), Some(5.0), "{pushback}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushback_of_zero_is_no_flood() {
    let (calls, budget) = (Arc::new(AtomicUsize::new(0)), Budget::new(0.0, 0, 5));
    let count = calls.clone();
    let service = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(4))
                .with_budget(budget.clone())
                .with_classify(HttpClassify),
        )
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)))
        .service(connect_fn(move |_: &Endpoint| {
            let count = count.clone();
            service_fn(move |_: Request<()>| {
                count.fetch_add(1, SeqCst);
                let response = Response::builder()
                    .header("content-type", "application/grpc")
                    .header("grpc-status", "3")
                    .header("grpc-retry-pushback-ms", "0");
                ready(Ok::<_, BoxError>(response.body(()).unwrap()))
            })
        }));
    for (sent, left) in [(4, 2), (7, 0), (8, 0)] {
        service.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!((calls.load(SeqCst), budget.available()), (sent, left));
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_circuit_hears_a_wish_too() {
    let layer = CircuitBreakerLayer::new(once().with_probes(1));
    let answer = Arc::new(AtomicBool::new(false));
    let asks = answer.clone();
    let service = ServiceBuilder::new().layer(layer.clone().with_classify(HttpClassify)).service(
        service_fn(move |()| {
            let mut response = Response::builder().status(503);
            if asks.load(SeqCst) {
                response = response.header("retry-after", "40");
            }
            ready(Ok::<_, Infallible>(response.body(()).unwrap()))
        }),
    );
    service.clone().oneshot(()).await.unwrap();
    sleep(secs(5)).await;
    answer.store(true, SeqCst);
    for _ in 0..2 {
        service.clone().oneshot(()).await.unwrap();
    }
    let left = service.oneshot(()).await.unwrap_err().retry_after().unwrap();
    assert!((secs(39)..=secs(40)).contains(&left), "{left:?}");
}

/// Each error asks for ever.
#[derive(Clone, Copy)]
struct ForEver;

impl<Res, E> Classify<Res, E> for ForEver {
    fn classify(&self, result: Result<&Res, &E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Overload { retry_after: Some(Duration::MAX) },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_ever_delays_no_other() {
    let breaker = CircuitBreakerLayer::new(once());
    let balance =
        BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::starting_at(0));
    let set = balance.handle();
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Fails);
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)).with_classify(ForEver))
        .layer(balance.with_classify(ForEver))
        .layer(breaker.clone().with_classify(ForEver))
        .service(farm.clone());
    let start = Instant::now();
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    assert!(start.elapsed() < ms(10));
    let circuit = breaker.handle_for("a:1").unwrap();
    assert_eq!(circuit.state(), CircuitState::Open);
    assert!(circuit.next_transition().unwrap() - start <= secs(61));
    let latency = set.members().iter().find(|m| m.key() == "a:1").unwrap().latency().unwrap();
    assert!(latency <= secs(300), "{latency:?}");
    // It alone is left: the call does not wait for ever either.
    farm.get("b:1").answers(Answer::Fails);
    let error = service.oneshot(Ask::new(0)).await.unwrap_err();
    assert!(start.elapsed() < secs(1) && error.retry_after().is_none_or(|wait| wait <= secs(61)));
}

// Panics, and what is no error.

/// How the service of a:1 goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trap {
    None,
    Readiness,
    Flaps,
    Drop,
    Clone,
    FutureDrop,
}

#[derive(Debug)]
struct Trapped {
    key: String,
    trap: Trap,
    set: Arc<AtomicBool>,
    turn: bool,
}

impl Clone for Trapped {
    fn clone(&self) -> Self {
        assert!(!(self.trap == Trap::Clone && self.set.load(SeqCst)), "a clone of a service");
        Self { key: self.key.clone(), trap: self.trap, set: self.set.clone(), turn: false }
    }
}

impl Drop for Trapped {
    fn drop(&mut self) {
        if self.trap == Trap::Drop && self.set.load(SeqCst) && !std::thread::panicking() {
            panic!("the drop of a service");
        }
    }
}

impl Service<Ask> for Trapped {
    type Response = String;
    type Error = BoxError;
    type Future = TrappedCall;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.trap {
            Trap::Readiness if self.set.load(SeqCst) => panic!("readiness of a service"),
            Trap::Flaps if !std::mem::replace(&mut self.turn, true) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Ask) -> TrappedCall {
        self.turn = false;
        let hangs = self.trap == Trap::FutureDrop && self.set.load(SeqCst);
        TrappedCall { answer: (!hangs).then(|| ready(Ok(self.key.clone()))), hangs }
    }
}

struct TrappedCall {
    answer: Option<Ready<Result<String, BoxError>>>,
    hangs: bool,
}

impl Future for TrappedCall {
    type Output = Result<String, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            Some(answer) => Pin::new(answer).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for TrappedCall {
    fn drop(&mut self) {
        if self.hangs && !std::thread::panicking() {
            panic!("the drop of a call");
        }
    }
}

struct Three {
    endpoints: Memory,
    set: BalanceHandle,
    is_set: Arc<AtomicBool>,
}

/// a:1 is trapped once that is set; b:1 and c:1 are well.
fn three(
    trap: Trap,
) -> (
    Three,
    impl Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static,
) {
    let (endpoints, is_set) =
        (Memory::new(["a:1", "b:1", "c:1"]).unwrap(), Arc::new(AtomicBool::new(false)));
    let balance = BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0));
    let (handle, trapped) = (balance.handle(), is_set.clone());
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2).with_timeout(ms(50))))
        .layer(balance)
        .service(connect_fn(move |endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            let trap = if key == "a:1" { trap } else { Trap::None };
            Trapped { key, trap, set: trapped.clone(), turn: false }
        }));
    (Three { endpoints, set: handle, is_set }, service)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_anywhere_takes_its_own_calls_along() {
    for trap in [Trap::Readiness, Trap::Clone, Trap::FutureDrop] {
        let (it, service) = three(trap);
        service.clone().oneshot(Ask::new(0)).await.unwrap();
        it.is_set.store(true, SeqCst);
        let mut good = 0;
        for _ in 0..30 {
            match tokio::spawn(service.clone().oneshot(Ask::new(0))).await {
                Ok(answer) => {
                    assert_ne!(answer.unwrap(), "a:1");
                    good += 1;
                }
                Err(error) => assert!(error.is_panic()),
            }
        }
        assert!(good >= 20, "{trap:?}: {good}");
        assert!(it.set.members().iter().all(|member| member.in_flight() == 0), "{trap:?}");
        // And it is removed like any other.
        it.is_set.store(false, SeqCst);
        it.endpoints.remove("a:1");
        settle().await;
        for _ in 0..10 {
            service.clone().oneshot(Ask::new(0)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_it_drops_does_not_stop_its_set() {
    let (it, service) = three(Trap::Drop);
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    it.is_set.store(true, SeqCst);
    it.endpoints.remove("a:1");
    settle().await;
    it.endpoints.insert("d:1").unwrap();
    sleep(secs(1)).await;
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..12 {
        if let Ok(answer) = tokio::spawn(service.clone().oneshot(Ask::new(0))).await {
            keys.insert(answer.unwrap());
        }
        settle().await;
    }
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["b:1", "c:1", "d:1"]);
    it.is_set.store(false, SeqCst);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_ready_by_turns_costs_few_polls() {
    let (_it, service) = three(Trap::Flaps);
    for number in 0..60 {
        let (call, polls) = support::counted(service.clone().oneshot(Ask::new(number)));
        call.await.unwrap();
        assert!(polls.load(SeqCst) <= 4, "{polls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_after_its_head_is_the_last_and_counts_once() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(breaker.clone().until_body_end(HttpClassify))
        .service(connect_fn(move |_: &Endpoint| {
            let count = count.clone();
            service_fn(move |_: Request<()>| {
                count.fetch_add(1, SeqCst);
                let frames: [Result<_, BoxError>; 2] =
                    [Ok(Frame::data(Bytes::from_static(b"half"))), Err("reset".into())];
                ready(Ok::<_, BoxError>(Response::new(StreamBody::new(stream::iter(frames)))))
            })
        }));
    for sent in 1..=3 {
        let response = service.clone().oneshot(Request::new(())).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(calls.load(SeqCst), sent);
    }
    let failed = |key| seen(&breaker.handle_for(key).unwrap()).failed;
    assert_eq!(failed("a:1") + failed("b:1"), 3);
}

// Coming and going.

fn ejecting(
    keys: &'static [&'static str],
) -> (
    Farm,
    Memory,
    BalanceHandle,
    impl Service<Ask, Response = String, Error = Error, Future: Send> + Clone + Send + 'static,
) {
    let (farm, endpoints) = (Farm::default(), Memory::new(keys.iter().copied()).unwrap());
    let mut outlier = OutlierConfig::default();
    outlier.jitter_percent = 0;
    let mut config = BalanceConfig::default();
    config.outlier = outlier;
    let layer = BalanceLayer::with_config(endpoints.clone(), RoundRobin::starting_at(0), config);
    let handle = layer.handle();
    (farm.clone(), endpoints, handle, layer.layer(farm))
}

fn ejected(handle: &BalanceHandle) -> Vec<String> {
    let is_ejected = |member: &Arc<tower_upstream::member::Member>| {
        member.reasons().any(|reason| reason == Reason::Ejected)
    };
    handle.members().iter().filter(|m| is_ejected(m)).map(|m| m.key().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_leaves_while_it_is_ejected_leaves_its_turn_to_another() {
    let (farm, endpoints, handle, service) = ejecting(&["a:1", "b:1", "c:1", "d:1"]);
    let calls = async |times: u32| {
        for number in 0..times {
            let _ = service.clone().oneshot(Ask::new(number)).await;
            settle().await;
        }
    };
    calls(4).await;
    farm.get("a:1").answers(Answer::Fails);
    farm.get("b:1").answers(Answer::Fails);
    calls(40).await;
    let first = ejected(&handle);
    assert_eq!(first.len(), 1, "of four, one at a time: {first:?}");
    let other = if first[0] == "a:1" { "b:1" } else { "a:1" };
    endpoints.remove(&first[0]);
    settle().await;
    assert!(!ejected(&handle).contains(&first[0]));
    calls(40).await;
    // The next sweep looks at those that were spared.
    sleep(secs(11)).await;
    assert_eq!(ejected(&handle), [other]);
}

#[tokio::test(start_paused = true)]
async fn calls_of_an_endpoint_that_left_are_none_of_the_others() {
    let (farm, endpoints, handle, service) = ejecting(&["a:1", "b:1", "c:1"]);
    for number in 0..3 {
        service.clone().oneshot(Ask::new(number)).await.unwrap();
    }
    farm.answers(Answer::ByHand);
    let calls: Vec<_> =
        (0..18).map(|number| tokio::spawn(service.clone().oneshot(Ask::new(number)))).collect();
    settle().await;
    let a = farm.get("a:1");
    assert_eq!(a.running(), 6);
    endpoints.remove("a:1");
    settle().await;
    for index in 1..=6 {
        a.finish(index, false);
    }
    settle().await;
    assert_eq!(calls.iter().filter(|call| call.is_finished()).count(), 6);
    for member in handle.members() {
        assert_eq!((member.failures(), member.in_flight()), (0, 6), "{}", member.key());
    }
    assert!(ejected(&handle).is_empty());
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_says_it_is_dead_for_ever_is_not_asked_all_the_time() {
    let (farm, _endpoints, _, service) = ejecting(&["a:1", "b:1"]);
    service.clone().oneshot(Ask::new(0)).await.unwrap();
    farm.get("a:1").is(support::Readiness::Dead);
    let start = Instant::now();
    for number in 0..1_000 {
        assert_eq!(service.clone().oneshot(Ask::new(number)).await.unwrap(), "b:1");
        settle().await;
    }
    let connects = farm.get("a:1").connects();
    assert!(start.elapsed() >= secs(1) && connects < 30, "{connects}");
}
