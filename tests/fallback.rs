//! What a fallback promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use support::{Answer, Ask, Farm, Inner, Probe, Readiness, ms, secs, settle};
use tokio::time::{Instant, timeout};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, LeastRequest, Outcome, Quota, RateLimitLayer,
    balance::RoundRobin,
    breaker::CircuitState,
    choose::{Choose, Chosen, Tried},
    connect_fn, discover,
    error::Kind,
    fallback::{Backup, Fallback, FallbackLayer, Substitute, Value},
    plugin::Reply,
};

/// Over one service that answers as `answer` says.
fn over<A: Clone>(layer: &FallbackLayer<A>, answer: Answer) -> (Fallback<Probe, A>, Arc<Inner>) {
    let inner = Inner::new("first");
    inner.answers(answer);
    (layer.layer(inner.service()), inner)
}

fn value() -> FallbackLayer<Value<String>> {
    FallbackLayer::value(String::from("instead"))
}

// Which calls fall back.

#[tokio::test(start_paused = true)]
async fn an_answer_passes_and_the_substitute_is_not_asked() {
    let asked = AtomicUsize::new(0);
    let layer = FallbackLayer::from_error(|error| {
        asked.fetch_add(1, SeqCst);
        Err(error)
    });
    let inner = Inner::new("first");
    let service = ServiceBuilder::new().layer(&layer).service(inner.service());
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "first");
    assert_eq!(asked.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_answers_for_every_failure() {
    let (service, inner) = over(&value(), Answer::Fails);
    for ask in [Ask::new(1), Ask::once(2)] {
        assert_eq!(service.clone().oneshot(ask).await.unwrap(), "instead");
    }
    assert_eq!((inner.calls(), inner.running()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_value_answers_for_every_refusal() {
    let inner = Inner::new("first");
    let quota = RateLimitLayer::new(Quota::per_minute(1));
    let breaker = CircuitBreakerLayer::default();
    breaker.handle().force_open();
    let limited = ServiceBuilder::new().layer(value()).layer(quota).service(inner.service());
    assert_eq!(limited.clone().oneshot(Ask::new(1)).await.unwrap(), "first");
    assert_eq!(limited.oneshot(Ask::new(1)).await.unwrap(), "instead");
    let open = ServiceBuilder::new().layer(value()).layer(breaker).service(inner.service());
    assert_eq!(open.oneshot(Ask::new(1)).await.unwrap(), "instead");
    assert_eq!(inner.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_value_answers_once_all_endpoints_are_down() {
    let farm = Farm::default();
    let service = ServiceBuilder::new()
        .layer(value())
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .service(farm.clone());
    assert_ne!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "instead");
    farm.is(Readiness::Dead);
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "instead");
    farm.is(Readiness::Ready);
    farm.answers(Answer::Fails);
    tokio::time::sleep(secs(20)).await;
    let calls = farm.calls();
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "instead");
    assert!(farm.calls() >= calls + 2, "every endpoint was tried first");
}

#[tokio::test(start_paused = true)]
async fn a_value_answers_when_the_time_of_the_call_is_over() {
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let attempts = Attempts::up_to(3).with_overall(ms(50));
    let service = ServiceBuilder::new()
        .layer(value())
        .layer(FailoverLayer::new(attempts))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(farm.clone());
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "instead");
    assert_eq!(start.elapsed(), ms(50));
    let deadline = start + ms(80);
    assert_eq!(service.clone().oneshot(Ask::new(1).until(deadline)).await.unwrap(), "instead");
    assert_eq!(start.elapsed(), ms(80));
    // Also if it had passed before the call, which is not made then.
    let calls = farm.calls();
    assert_eq!(service.oneshot(Ask::new(1).until(deadline)).await.unwrap(), "instead");
    assert_eq!(farm.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_did_is_told_to_the_caller() {
    let (service, _) = over(&value(), Answer::CallersFault);
    let error = service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn a_dead_idle_connection_falls_back() {
    let stale = service_fn(async |_: ()| Err::<&str, _>(Error::connection("reset")));
    let service = FallbackLayer::value("instead").layer(stale);
    assert_eq!(service.oneshot(()).await.unwrap(), "instead");
    // So do several of them, which is all that there was to try.
    let reset = connect_fn(|_: &Endpoint| {
        service_fn(async |_: Call<u64>| Err::<Reply<&str>, _>(Error::connection("reset")))
    });
    let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
        .service(reset);
    let error = service.clone().oneshot(Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::RetryExhausted);
    let service = FallbackLayer::value(Reply::new("instead")).layer(service);
    let reply = service.oneshot(Call::new(1).idempotent()).await.unwrap();
    assert_eq!(*reply.body(), "instead");
}

#[tokio::test(start_paused = true)]
async fn the_rule_decides_of_answers_and_errors() {
    let layer =
        FallbackLayer::value(0).with_classify(|result: Result<&i32, &BoxError>| match result {
            Ok(..0) => Outcome::Failure,
            Err(error) if error.to_string() == "bad" => Outcome::Failure,
            _ => Outcome::Success,
        });
    let service = layer.layer(service_fn(|result: Result<i32, &'static str>| {
        ready(result.map_err(BoxError::from))
    }));
    let ask = async |result| service.clone().oneshot(result).await;
    assert_eq!(ask(Ok(7)).await.unwrap(), 7);
    assert_eq!(ask(Ok(-7)).await.unwrap(), 0);
    assert_eq!(ask(Err("bad")).await.unwrap(), 0);
    assert_eq!(ask(Err("so-so")).await.unwrap_err().kind(), Kind::Service);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn an_http_status_falls_back_where_the_rule_says_so() {
    use http::{Request, Response, StatusCode};
    use tower_upstream::http::HttpClassify;

    let inner = service_fn(|request: Request<StatusCode>| {
        let response = Response::builder().status(*request.body()).body("first");
        ready(response.map_err(BoxError::from))
    });
    let service =
        FallbackLayer::value(Response::new("instead")).with_classify(HttpClassify).layer(inner);
    for (status, body) in [(200, "first"), (404, "first"), (500, "instead"), (503, "instead")] {
        let request = Request::new(StatusCode::from_u16(status).unwrap());
        assert_eq!(*service.clone().oneshot(request).await.unwrap().body(), body, "{status}");
    }
}

// What answers.

#[tokio::test(start_paused = true)]
async fn a_closure_sees_the_error_and_may_return_it() {
    let layer = FallbackLayer::from_error(|error| match error.kind() {
        Kind::CircuitOpen => Ok(format!("{}", error.is_unsent())),
        _ => Err(error),
    });
    let breaker = CircuitBreakerLayer::default();
    let inner = Inner::new("first");
    inner.answers(Answer::Fails);
    let service =
        ServiceBuilder::new().layer(layer).layer(breaker.clone()).service(inner.service());
    let error = service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false));
    breaker.handle().force_open();
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "true");
}

#[tokio::test(start_paused = true)]
async fn a_closure_answers_with_what_was_kept_of_the_request() {
    let layer = FallbackLayer::from_request(
        |ask: &Ask| ask.number,
        |number, error| if number > 1 { Ok(format!("{number} is enough")) } else { Err(error) },
    );
    let (service, _) = over(&layer, Answer::Fails);
    assert_eq!(service.clone().oneshot(Ask::new(7)).await.unwrap(), "7 is enough");
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap_err().kind(), Kind::Service);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_is_better_than_no_substitute() {
    let seen = AtomicUsize::new(0);
    let layer = FallbackLayer::from_error(|error| {
        seen.fetch_add(1, SeqCst);
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false));
        Err::<&str, _>(error)
    });
    let layer = layer.with_classify(|_: Result<&&str, &BoxError>| Outcome::Failure);
    let inner = service_fn(async |_: ()| Ok::<_, BoxError>("a bad answer"));
    let service = ServiceBuilder::new().layer(&layer).service(inner);
    assert_eq!(service.oneshot(()).await.unwrap(), "a bad answer");
    assert_eq!(seen.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_substitute_of_ones_own_may_take_a_while() {
    #[derive(Clone)]
    struct Slow;
    impl Substitute<Ask> for Slow {
        type Response = String;
        type Kept = u32;
        type Future = futures::future::BoxFuture<'static, Result<String, Error>>;

        fn keep(&self, ask: &Ask) -> u32 {
            ask.number
        }

        fn substitute(&self, number: u32, _: Error) -> Self::Future {
            Box::pin(async move {
                tokio::time::sleep(ms(30)).await;
                Ok(number.to_string())
            })
        }
    }
    let (service, _) = over(&FallbackLayer::new(Slow), Answer::Fails);
    let start = Instant::now();
    assert_eq!(service.oneshot(Ask::new(7)).await.unwrap(), "7");
    assert_eq!(start.elapsed(), ms(30));
}

// Another service.

/// Two services, the second of which answers for the first.
struct Pair {
    first: Arc<Inner>,
    second: Arc<Inner>,
    service: Fallback<Probe, Backup<Probe>>,
}

fn pair() -> Pair {
    let (first, second) = (Inner::new("first"), Inner::new("second"));
    first.answers(Answer::Fails);
    let service = FallbackLayer::service(second.service()).layer(first.service());
    Pair { first, second, service }
}

impl Pair {
    async fn send(&self, ask: Ask) -> Result<String, Error> {
        self.service.clone().oneshot(ask).await
    }

    fn calls(&self) -> (usize, usize) {
        (self.first.calls(), self.second.calls())
    }

    fn assert_nothing_left(&self) {
        for inner in [&self.first, &self.second] {
            assert_eq!((inner.running(), inner.readied()), (0, 0));
            assert_eq!(inner.violations.load(SeqCst), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_service_gets_a_copy_of_what_is_idempotent() {
    let pair = pair();
    assert_eq!(pair.send(Ask::new(7)).await.unwrap(), "second");
    let ask = &pair.second.asks()[0];
    assert_eq!((ask.number, ask.attempt), (7, 2));
    pair.first.answers(Answer::Good);
    assert_eq!(pair.send(Ask::new(7)).await.unwrap(), "first");
    assert_eq!(pair.calls(), (2, 1));
    pair.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_sent_is_not_sent_twice_and_what_was_not_is() {
    let pair = pair();
    let error = pair.send(Ask::once(7)).await.unwrap_err();
    assert_eq!((error.kind(), pair.calls()), (Kind::Service, (1, 0)));
    let breaker = CircuitBreakerLayer::default();
    breaker.handle().force_open();
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::service(pair.second.service()))
        .layer(breaker)
        .service(pair.first.service());
    assert_eq!(service.oneshot(Ask::once(7)).await.unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_stays_with_its_error_which_says_so() {
    let second = service_fn(async |_: u32| Ok::<u32, BoxError>(2));
    let layer =
        FallbackLayer::new(Backup::new(second).with_replay(|n: &u32| (*n > 0).then_some(*n)));
    let service = layer.layer(service_fn(async |_: u32| Err::<u32, BoxError>("broken".into())));
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 2);
    let error = service.oneshot(0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Service);
    assert!(error.to_string().contains("cannot be copied"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_other_service_is_asked_past_the_deadline() {
    let pair = pair();
    pair.first.answers(Answer::FailsAfter(ms(20)));
    let until = |wait| Ask::new(1).until(Instant::now() + wait);
    assert_eq!(pair.send(until(ms(21))).await.unwrap(), "second");
    let error = pair.send(until(ms(20))).await.unwrap_err();
    assert_eq!((error.kind(), pair.calls()), (Kind::Service, (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn if_both_fail_the_error_has_both() {
    let pair = pair();
    pair.second.answers(Answer::Fails);
    let error = pair.send(Ask::new(1)).await.unwrap_err();
    let kinds: Vec<_> = error.history().iter().map(Error::kind).collect();
    assert_eq!((error.kind(), kinds), (Kind::RetryExhausted, vec![Kind::Service; 2]));
    assert!(!error.is_unsent());
    // Neither sent it: then it is unsent, and a refusal if both refused.
    let refuses = || {
        let breaker = CircuitBreakerLayer::default();
        breaker.handle().force_open();
        breaker
    };
    let backup = refuses().layer(pair.second.service());
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::service(backup))
        .layer(refuses())
        .service(pair.first.service());
    let error = service.oneshot(Ask::new(1)).await.unwrap_err();
    assert!(error.is_unsent() && error.is_refused(), "{error:?}");
    pair.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn the_other_service_is_made_ready_before_it_is_called() {
    let pair = pair();
    pair.second.is(Readiness::Pending);
    let call = tokio::spawn(pair.service.clone().oneshot(Ask::new(1)));
    tokio::time::sleep(ms(50)).await;
    assert!(!call.is_finished());
    pair.second.is(Readiness::Ready);
    assert_eq!(timeout(ms(5), call).await.expect("woken").unwrap().unwrap(), "second");
    pair.second.is(Readiness::Dead);
    let error = pair.send(Ask::new(1)).await.unwrap_err();
    assert_eq!(error.history().len(), 2);
    pair.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_point_leaves_nothing_behind() {
    let pair = pair();
    let mut service = pair.service.clone();
    // Before it is polled; in the first; before the second is ready; in the second.
    drop(service.ready().await.unwrap().call(Ask::new(1)));
    pair.assert_nothing_left();
    for (first, ready, second) in [
        (Answer::Never, Readiness::Ready, Answer::Good),
        (Answer::Fails, Readiness::Pending, Answer::Good),
        (Answer::Fails, Readiness::Ready, Answer::Never),
    ] {
        pair.first.answers(first);
        pair.second.is(ready);
        pair.second.answers(second);
        let mut call = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
        assert_pending!(call.poll());
        drop(call);
        pair.assert_nothing_left();
    }
    let services = [&pair.first, &pair.second].map(|inner| inner.services.load(SeqCst));
    assert_eq!(services, [2, 1], "the two that are kept, and the one of the layer");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_answers_for_another() {
    let archive =
        service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body() + 1)));
    let broken = service_fn(async |_: Call<u32>| Err::<Reply<u32>, BoxError>("broken".into()));
    let service = FallbackLayer::service(archive).layer(broken);
    let reply = service.clone().oneshot(Call::new(1).idempotent()).await.unwrap();
    assert_eq!(reply.into_body(), 2);
    service.oneshot(Call::new(1)).await.unwrap_err();
}

// Where it stands.

#[tokio::test(start_paused = true)]
async fn between_failover_and_balancer_it_passes_on_whom_the_call_went_to() {
    let farm = Farm::default();
    let balance = ServiceBuilder::new()
        .layer(value())
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .service(farm.clone());
    let mut service = balance.clone();
    farm.get("a:1").answers(Answer::ByHand);
    let call = service.ready().await.unwrap().call_avoiding(Ask::new(1), &Tried::default());
    let mut call = task::spawn(call);
    assert_pending!(call.poll());
    assert_eq!(call.chosen().map(|member| member.key()), Some("a:1"));
    farm.get("a:1").finish(0, false);
    assert_eq!(assert_ready_ok!(call.poll()), "instead");
    assert!(call.chosen().is_none() && !call.is_unsent(), "no member answered");
    // Failover takes it for a success.
    farm.answers(Answer::Fails);
    let calls = farm.calls();
    let service = FailoverLayer::new(Attempts::up_to(3)).layer(balance);
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "instead");
    assert_eq!(farm.calls(), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_each_endpoint_has_one_and_hides_its_failures() {
    let farm = Farm::default();
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(value())
        .layer(breaker.clone())
        .service(farm.clone());
    let handle = balance.handle();
    let service = FailoverLayer::new(Attempts::up_to(3)).layer(balance);
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "a:1");
    farm.get("b:1").answers(Answer::Fails);
    for _ in 0..10 {
        service.clone().oneshot(Ask::new(1)).await.unwrap();
    }
    assert!(handle.members().iter().all(|member| member.failures() == 0));
    // What stands below it sees them: the breaker bars the endpoint.
    assert_eq!(breaker.handle_for("b:1").unwrap().state(), CircuitState::Open);
    assert_eq!(farm.get("b:1").calls(), 3);
}

// The rest.

#[tokio::test(start_paused = true)]
async fn a_substitute_that_panics_takes_nothing_but_its_call_along() {
    let layer = FallbackLayer::from_error(|_| -> Result<String, Error> {
        panic!("the closure of a user panics")
    });
    let (service, inner) = over(&layer, Answer::Fails);
    for _ in 0..3 {
        let unlucky = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        assert!(unlucky.await.unwrap_err().is_panic());
    }
    // Also where the future outlives its panic.
    let mut kept = service.clone();
    let mut call = task::spawn(kept.ready().await.unwrap().call(Ask::new(1)));
    let poll = std::panic::AssertUnwindSafe(|| call.poll());
    assert!(std::panic::catch_unwind(poll).is_err());
    drop(call);
    inner.answers(Answer::Good);
    assert_eq!(service.oneshot(Ask::new(1)).await.unwrap(), "first");
    assert_eq!(inner.running(), 0);
    settle().await;
}

#[test]
fn it_shows_what_it_is_and_gives_its_service_back() {
    let layer = FallbackLayer::value(String::from("hunter2"));
    let mut service = layer.clone().layer(Inner::new("first").service());
    for shown in [format!("{layer:?}"), format!("{service:?}")] {
        assert!(shown.contains("Value") && shown.contains("ErrIsFailure"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let _: (&Probe, &mut Probe) = (&Inner::new("x").service(), service.get_mut());
    let _: &Probe = service.get_ref();
    let _: Probe = service.into_inner();
    fn named<F>(
        _: &tower_upstream::fallback::ResponseFuture<
            F,
            u32,
            Value<u32>,
            tower_upstream::outcome::ErrIsFailure,
        >,
    ) {
    }
    let mut alone = FallbackLayer::value(1)
        .layer(service_fn(|n: u32| -> Ready<Result<u32, Error>> { ready(Ok(n)) }));
    named(&alone.call(1));
    assert!(format!("{:?}", alone.call(1)).contains("fell_back"));
}
