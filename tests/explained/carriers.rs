//! Who tells a decision: each kind of answer and of error, under each regime, and wherever the call ended.

use std::{sync::Arc, task::Poll, time::Duration};

use http::{Request, Response};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::option_layer};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerLayer, Endpoint, Error, FailoverLayer,
    LeastRequest, Quota, RateLimitLayer, Reply,
    balance::{BalanceConfig, Decision, PassedOver, Random, Regime, RoundRobin, Sticky, Strategy},
    codec::CodecLayer,
    connect_fn, discover,
    error::Kind,
    fallback::FallbackLayer,
    http::AnswerLayer,
    plugin::Encoded,
    session::SessionTable,
};

use super::{answer, find, fixed, over};

type Answered = Result<Response<String>, Error>;

/// What an endpoint does: `f` fails, `s` is slow, and others do so if the request says it.
async fn respond(key: String, request: Request<()>) -> Result<Response<String>, BoxError> {
    if key.starts_with('s') {
        sleep(Duration::from_secs(1)).await;
    }
    let fails = key.starts_with('f') || request.headers().contains_key("fails");
    if fails { Err("broken".into()) } else { Ok(Response::new(key)) }
}

macro_rules! over_http {
    ($balance:expr $(, $above:expr)?) => {
        ServiceBuilder::new()
            $(.layer($above))?
            .layer($balance)
            .service(connect_fn(|endpoint: &Endpoint| {
                let key = endpoint.key().to_owned();
                service_fn(move |request: Request<()>| respond(key.clone(), request))
            }))
    };
}

fn explained<P: Strategy>(
    endpoints: Vec<Endpoint>,
    strategy: P,
) -> BalanceLayer<discover::Fixed, P> {
    BalanceLayer::new(discover::fixed(endpoints).unwrap(), strategy)
}

fn endpoints(keys: &[&str]) -> Vec<Endpoint> {
    keys.iter().map(|key| Endpoint::new(*key).unwrap()).collect()
}

fn sick(key: &str) -> Endpoint {
    use tower_upstream::endpoint::Status;
    Endpoint::new(key).unwrap().with_status(Status::Critical)
}

/// Asks until a call was decided under `regime`, and returns what told that.
async fn until<S>(mut stack: S, regime: Regime, fails: bool) -> Answered
where
    S: Service<Request<()>, Response = Response<String>, Error = Error>,
{
    for turn in 0..200 {
        let mut request = Request::get("/");
        // Before a probation, and before a session belongs to any, something else has to happen.
        let first = if regime == Regime::Probation { !fails } else { false };
        if fails && (turn > 0 || regime != Regime::Session) || first && turn < 2 {
            request = request.header("fails", "1");
        }
        let answer = stack.ready().await.unwrap().call(request.body(()).unwrap()).await;
        let decision = match &answer {
            Ok(response) => response.extensions().get::<Arc<Decision>>().map(|of| &**of),
            Err(error) => error.decision(),
        };
        let all = match &answer {
            Ok(_) => &[][..],
            Err(error) => error.history(),
        };
        let told = decision.into_iter().chain(all.iter().filter_map(Error::decision));
        let is_told = told.into_iter().any(|of| of.regime() == regime);
        if is_told && answer.is_err() == fails {
            assert!(decision.is_some(), "{answer:?}");
            return answer;
        }
        sleep(Duration::from_secs(2)).await;
    }
    panic!("{regime} was told by none, {fails}");
}

#[tokio::test(start_paused = true)]
async fn each_regime_is_told_by_responses_and_by_errors() {
    for fails in [false, true] {
        let two = || endpoints(&["a:1", "b:1"]);
        let normal = over_http!(explained(two(), LeastRequest::new()).explained(1.0));
        until(normal, Regime::Normal, fails).await.ok();

        let drawn = over_http!(explained(two(), Random::new()).explained(1.0));
        until(drawn, Regime::Random, fails).await.ok();

        let mut all = vec![sick("b:1"), sick("c:1")];
        all.extend(endpoints(&["a:1"]));
        let panic = over_http!(explained(all.clone(), LeastRequest::new()).explained(1.0));
        until(panic, Regime::Panic, fails).await.ok();

        let next = ["d:1", "e:1", "g:1"].map(|key| Endpoint::new(key).unwrap().with_priority(1));
        all.extend(next);
        let spills = over_http!(explained(all, LeastRequest::new()).explained(1.0));
        until(spills, Regime::Spill, fails).await.ok();

        let twice = FailoverLayer::new(Attempts::up_to(2));
        let further = explained(endpoints(&["a:1", "f:1"]), RoundRobin::new()).explained(1.0);
        until(over_http!(further, twice), Regime::Failover, fails).await.ok();

        // The slow one first, also where both fail.
        let hedges = FailoverLayer::new(Attempts::up_to(2).hedge(Duration::from_millis(10)));
        let slow = explained(endpoints(&["s:1", "a:1"]), RoundRobin::starting_at(1)).explained(1.0);
        until(over_http!(slow, hedges), Regime::Hedge, fails).await.ok();

        let table = SessionTable::by_key(|_: &Request<()>| 7);
        let session = explained(two(), Sticky::new(RoundRobin::new(), table)).explained(1.0);
        until(over_http!(session), Regime::Session, fails).await.ok();

        let mut config = BalanceConfig::default();
        config.outlier.consecutive_failures = 1;
        let ejects = BalanceLayer::with_config(fixed(&["a:1", "b:1"]), RoundRobin::new(), config);
        until(over_http!(ejects.explained(1.0)), Regime::Probation, fails).await.ok();
    }
}

/// The decision of a call that took too long at `s:1`.
fn of_slow(error: &Error) -> &Decision {
    assert_eq!((error.kind(), error.endpoint()), (Kind::Timeout, Some("s:1")));
    let decision = error.decision().expect("explained");
    assert_eq!(decision.endpoint(), Some("s:1"));
    decision
}

#[tokio::test(start_paused = true)]
async fn a_call_that_took_too_long_tells_where_it_went() {
    let limit = Duration::from_millis(10);
    let slow = |keys: &[&str]| BalanceLayer::new(fixed(keys), RoundRobin::new()).explained(1.0);
    let call = || Call::new(1_000).idempotent();
    let once = FailoverLayer::new(Attempts::up_to(1).with_timeout(limit));
    let error = over!(slow(&["s:1"]), once).oneshot(call()).await.unwrap_err();
    assert_eq!(of_slow(&error).regime(), Regime::Normal);

    let overall = FailoverLayer::new(Attempts::up_to(1).with_overall(limit));
    let error = over!(slow(&["s:1"]), overall).oneshot(call()).await.unwrap_err();
    assert_eq!(of_slow(&error).regime(), Regime::Normal);

    let any = FailoverLayer::new(Attempts::up_to(1));
    let due = call().with_timeout(limit);
    let error = over!(slow(&["s:1"]), any).oneshot(due).await.unwrap_err();
    assert_eq!(of_slow(&error).regime(), Regime::Normal);

    let twice = FailoverLayer::new(Attempts::up_to(2).with_timeout(limit));
    let error = over!(slow(&["s:1", "s:2"]), twice).oneshot(call()).await.unwrap_err();
    let regimes: Vec<_> =
        error.history().iter().map(|of| of.decision().expect("explained").regime()).collect();
    assert_eq!(regimes, [Regime::Normal, Regime::Failover]);
    assert_eq!(error.decision().expect("explained").endpoint(), error.endpoint());

    // Not explained, it tells nothing.
    let plain = BalanceLayer::new(fixed(&["s:1"]), RoundRobin::new());
    let once = FailoverLayer::new(Attempts::up_to(1).with_timeout(limit));
    let error = over!(plain, once).oneshot(call()).await.unwrap_err();
    assert!(error.decision().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_too_long_for_an_endpoint_tells_of_which() {
    let limit = Duration::from_millis(100);
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(1).with_timeout(limit)))
        .layer(BalanceLayer::new(fixed(&["a:1", "b:1"]), RoundRobin::new()).explained(1.0))
        .service(connect_fn(|_: &Endpoint| Never));
    let error = stack.oneshot(Call::new(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true));
    let decision = error.decision().expect("explained");
    assert_eq!(decision.endpoint(), None);
    for key in ["a:1", "b:1"] {
        assert_eq!(find(decision, key).passed_over(), Some(PassedOver::NotReady), "{decision}");
    }
}

/// A service that never gets ready.
#[derive(Clone)]
struct Never;

impl Service<Call<u64>> for Never {
    type Response = Reply<String>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Reply<String>, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, call: Call<u64>) -> Self::Future {
        std::future::ready(Ok(Reply::new(call.body().to_string())))
    }
}

#[tokio::test(start_paused = true)]
async fn layers_between_failover_and_balancer_pass_it_on() {
    let limit = Duration::from_millis(10);
    let above = || FailoverLayer::new(Attempts::up_to(1).with_timeout(limit));
    let slow = || BalanceLayer::new(fixed(&["s:1"]), RoundRobin::new()).explained(1.0);
    let call = || Call::new(1_000).idempotent();
    let quota = || RateLimitLayer::new(Quota::per_second(1_000));
    let (refuses, waits) = (quota(), quota().wait(limit));
    macro_rules! check {
        ($between:expr) => {
            let layers = ServiceBuilder::new().layer(above()).layer($between).into_inner();
            of_slow(&over!(slow(), layers).oneshot(call()).await.unwrap_err());
        };
    }
    check!(refuses);
    check!(waits);
    check!(CircuitBreakerLayer::default());
    check!(FallbackLayer::from_error(Err::<Reply<String>, Error>));
    check!(option_layer(Some(CircuitBreakerLayer::default())));
    check!(option_layer(None::<CircuitBreakerLayer>));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_becomes_a_response_tells_it_there() {
    let fails = || explained(endpoints(&["f:1"]), LeastRequest::new()).explained(1.0);
    let error = over_http!(fails()).oneshot(Request::new(())).await.unwrap_err();
    let of = |response: &Response<String>| {
        let decision = response.extensions().get::<Arc<Decision>>().expect("explained");
        assert_eq!(decision.endpoint(), Some("f:1"));
    };
    of(&error.into_response());
    for content in ["text/plain", "application/grpc"] {
        let stack = AnswerLayer::new().layer(over_http!(fails()));
        let request = Request::get("/").header("content-type", content).body(()).unwrap();
        of(&stack.oneshot(request).await.unwrap());
    }
    let plain = explained(endpoints(&["f:1"]), LeastRequest::new());
    let answered = AnswerLayer::new().layer(over_http!(plain)).oneshot(Request::new(())).await;
    assert!(answered.unwrap().extensions().get::<Arc<Decision>>().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_typed_call_tells_it_once_its_reply_was_decoded() {
    let balance = BalanceLayer::new(fixed(&["a:1"]), LeastRequest::new()).explained(1.0);
    let typed = ServiceBuilder::new().layer(CodecLayer::<u64, u64>::new()).layer(balance).service(
        connect_fn(|_: &Endpoint| {
            service_fn(async |call: Call<Encoded>| {
                Ok::<_, BoxError>(Reply::new(call.body().clone()).answering(&call, "a:1"))
            })
        }),
    );
    let reply = typed.oneshot(Call::new(7)).await.unwrap();
    assert_eq!((*reply.body(), reply.decision().unwrap().endpoint()), (7, Some("a:1")));
}
