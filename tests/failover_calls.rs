//! What one call may ask of a failover, what a failover waits for, and what it counts and tells.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{error::Error as _, sync::Arc, task::Poll};

use support::{Answer, Ask, Farm, Probe, ms, secs, settle};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer,
    balance::{Balance, BalanceHandle, BalanceLayer, RoundRobin},
    budget::Budget,
    connect_fn,
    discover::Memory,
    error::Kind,
    failover::Failover,
    member::Reason,
    telemetry::{EventKind, Events, History},
};

/// Each call is answered with the endpoint and the number of the attempt, of which the first `fails` fail.
fn calls(
    layer: FailoverLayer,
    fails: u32,
) -> impl Service<Call<u32>, Response = (String, u32), Error = Error> + Clone {
    ServiceBuilder::new()
        .layer(layer)
        .layer(BalanceLayer::new(
            tower_upstream::discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .service(connect_fn(move |endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            tower::service_fn(move |call: Call<u32>| {
                let key = key.clone();
                async move {
                    match call.attempt() {
                        attempt if attempt > fails => Ok((key, attempt)),
                        1 if *call.body() == 1 => std::future::pending().await,
                        _ => Err(BoxError::from("broken")),
                    }
                }
            })
        }))
}

const HANGS: u32 = 1;

#[tokio::test(start_paused = true)]
async fn the_attempts_of_one_call_are_in_place_of_those_of_the_layer() {
    for (layer, fails, retries, attempts) in [
        (1, 1, Some(1), Ok(2)),
        (3, 1, Some(0), Err(1)),
        (2, 9, Some(3), Err(4)),
        (2, 9, None, Err(2)),
    ] {
        let budget = Budget::new(0.0, 0, 100);
        let service =
            calls(FailoverLayer::new(Attempts::up_to(layer)).with_budget(budget.clone()), fails);
        let call = Call::new(0).idempotent();
        let call = match retries {
            Some(retries) => call.with_max_retries(retries),
            None => call,
        };
        let made = match service.oneshot(call).await {
            Ok((_, attempt)) => Ok(attempt),
            Err(error) => Err(error.attempts()),
        };
        assert_eq!(made, attempts, "{layer} {retries:?}");
        let (Ok(made) | Err(made)) = made;
        assert_eq!(budget.available(), 100 - (made - 1), "each is paid for");
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_goes_beyond_what_the_budget_pays_or_what_is_safe() {
    let layer = FailoverLayer::new(Attempts::up_to(2)).with_budget(Budget::new(0.0, 0, 2));
    let service = calls(layer, 9);
    let once = service.clone().oneshot(Call::new(0).with_max_retries(9)).await.unwrap_err();
    assert_eq!(once.attempts(), 1);
    let call = Call::new(0).idempotent().with_max_retries(u32::MAX);
    let error = service.oneshot(call).await.unwrap_err();
    assert_eq!(error.attempts(), 3);
    let layer = FailoverLayer::new(Attempts::up_to(2).with_backoff(ms(0), ms(0)));
    let service = calls(layer.with_budget(Budget::unlimited()), 99);
    let call = Call::new(0).idempotent().with_max_retries(u32::MAX);
    assert_eq!(service.oneshot(call).await.unwrap_err().attempts(), 64, "and no more than 64");
}

#[tokio::test(start_paused = true)]
async fn the_attempt_timeout_of_one_call_is_in_place_of_that_of_the_layer() {
    for layer in [Attempts::up_to(2), Attempts::up_to(2).with_timeout(secs(5))] {
        let service = calls(FailoverLayer::new(layer), 1);
        let start = Instant::now();
        let call = Call::new(HANGS).idempotent().with_attempt_timeout(ms(50));
        assert_eq!(service.oneshot(call).await.unwrap(), ("b:1".to_owned(), 2));
        assert!((ms(50)..=ms(52)).contains(&start.elapsed()));
    }
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn an_extension_of_a_request_says_the_same_to_failover_and_to_retries() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tower_upstream::{
        replay::CallOptions,
        retry::{RetryConfig, RetryPolicy},
    };

    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let inner = tower::service_fn(move |_: http::Request<()>| {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Err::<(), _>(BoxError::from("broken")))
    });
    let set = BalanceLayer::new(
        tower_upstream::discover::fixed(["a:1", "b:1"]).unwrap(),
        RoundRobin::starting_at(0),
    );
    let failing = inner.clone();
    let failover = FailoverLayer::new(Attempts::up_to(2))
        .layer(set.layer(connect_fn(move |_: &Endpoint| failing.clone())));
    let retry = RetryPolicy::new(RetryConfig::up_to(2)).layer(inner);
    for (options, attempts) in [
        (CallOptions::default(), 2),
        (CallOptions::default().with_max_retries(3), 4),
        (CallOptions::default().with_max_attempts(1), 1),
    ] {
        let request = || http::Request::get("/").extension(options).body(()).unwrap();
        failover.clone().oneshot(request()).await.unwrap_err();
        assert_eq!(sent.swap(0, SeqCst), attempts, "failover {options:?}");
        retry.clone().oneshot(request()).await.unwrap_err();
        assert_eq!(sent.swap(0, SeqCst), attempts, "retry {options:?}");
    }
    let call = Call::new(()).idempotent().with_max_retries(4);
    let counted = sent.clone();
    let inner = tower::service_fn(move |_: Call<()>| {
        counted.fetch_add(1, SeqCst);
        std::future::ready(Err::<(), _>(BoxError::from("broken")))
    });
    RetryPolicy::new(RetryConfig::up_to(1)).layer(inner).oneshot(call).await.unwrap_err();
    assert_eq!(sent.load(SeqCst), 5);
}

// Waiting for an endpoint.

struct Waits {
    farm: Farm,
    endpoints: Memory,
    handle: BalanceHandle,
    service: Failover<Balance<Probe, RoundRobin>>,
}

/// Begins without endpoints, and long enough ago for the balancer to fail fast.
async fn waits(attempts: Attempts) -> Waits {
    let farm = Farm::default();
    let endpoints = Memory::new(["a:1"; 0]).unwrap();
    let balance =
        BalanceLayer::new(endpoints.clone(), RoundRobin::starting_at(0)).layer(farm.clone());
    let handle = balance.handle();
    let service = FailoverLayer::new(attempts).layer(balance);
    let refused = service.clone().oneshot(Ask::once(0).until(Instant::now() + secs(3))).await;
    let error = refused.unwrap_err();
    assert!(matches!(error.kind(), Kind::NoEndpoints | Kind::Timeout), "{error}");
    sleep(secs(3)).await;
    Waits { farm, endpoints, handle, service }
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_a_call_fails_as_soon_as_the_balancer_says_so() {
    let it = waits(Attempts::up_to(3)).await;
    let start = Instant::now();
    let error = it.service.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_refused(), start.elapsed()),
        (Kind::NoEndpoints, true, ms(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_discovery_reports_an_endpoint() {
    // Also one that is made once, and must not be sent twice.
    let it = waits(Attempts::up_to(1).with_wait_for_endpoint(secs(60))).await;
    let mut call = task::spawn(it.service.clone().oneshot(Ask::once(1)));
    assert_pending!(call.poll());
    sleep(secs(20)).await;
    assert_pending!(call.poll());
    assert!(!call.is_woken(), "it waits, and looks at nothing");
    it.endpoints.insert("a:1").unwrap();
    let start = Instant::now();
    let answer = std::future::poll_fn(|cx| call.enter(|_, f| f.poll(cx))).await;
    assert_eq!(answer.unwrap(), "a:1");
    assert!(start.elapsed() <= ms(2), "{:?}", start.elapsed());
    assert_eq!((it.farm.calls(), it.farm.get("a:1").asks()[0].attempt), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_an_endpoint_is_up_again_and_no_longer_than_it_may() {
    let it = waits(Attempts::up_to(3).with_wait_for_endpoint(secs(10))).await;
    it.endpoints.insert("a:1").unwrap();
    it.endpoints.insert("b:1").unwrap();
    settle().await;
    let reason = Reason::Draining;
    let vetoes: Vec<_> = it.handle.members().iter().map(|member| member.veto(reason)).collect();
    vetoes.iter().for_each(|veto| veto.raise());
    sleep(secs(5)).await;
    let start = Instant::now();
    let error = it.service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::AllEndpointsDown, true));
    assert!(error.to_string().contains("wait_for_endpoint"), "{error}");
    assert!((secs(10)..=secs(10) + ms(2)).contains(&start.elapsed()), "{:?}", start.elapsed());
    let call = tokio::spawn(it.service.clone().oneshot(Ask::new(1)));
    sleep(secs(5)).await;
    drop(vetoes);
    settle().await;
    assert!(call.is_finished());
    call.await.unwrap().unwrap();
    assert_eq!(it.farm.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_for_an_endpoint_and_a_drop_leaves_nothing() {
    let it = waits(Attempts::up_to(3).with_wait_for_endpoint(secs(600))).await;
    let start = Instant::now();
    let ask = Ask::new(1).until(start + secs(2));
    let error = it.service.clone().oneshot(ask).await.unwrap_err();
    assert!((secs(2)..=secs(2) + ms(2)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, true));
    let why = error.source().and_then(|source| source.downcast_ref::<Error>()).unwrap();
    assert_eq!(why.kind(), Kind::NoEndpoints);
    let mut call = task::spawn(it.service.clone().oneshot(Ask::new(1)));
    assert_pending!(call.poll());
    drop(call);
    it.endpoints.insert("a:1").unwrap();
    sleep(secs(700)).await;
    assert_eq!(it.farm.calls(), 0);
    assert_eq!(it.service.oneshot(Ask::new(2)).await.unwrap(), "a:1");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_above_the_balancer_is_not_waited_for_and_those_below_are() {
    let attempts = || Attempts::up_to(2).with_wait_for_endpoint(secs(60));
    let farm = Farm::default();
    let circuit = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let set = || {
        let endpoints = tower_upstream::discover::fixed(["a:1"]).unwrap();
        BalanceLayer::new(endpoints, RoundRobin::starting_at(0))
    };
    let above = ServiceBuilder::new()
        .layer(FailoverLayer::new(attempts()))
        .layer(circuit.clone())
        .layer(set())
        .service(farm.clone());
    circuit.handle().force_open();
    let start = Instant::now();
    let error = above.oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (Kind::CircuitOpen, ms(0)));
    let below = ServiceBuilder::new()
        .layer(FailoverLayer::new(attempts()))
        .layer(set())
        .layer(circuit.clone())
        .service(farm.clone());
    below.clone().oneshot(Ask::new(1)).await.unwrap();
    circuit.handle_for("a:1").unwrap().force_open();
    sleep(secs(5)).await;
    let call = tokio::spawn(below.oneshot(Ask::new(2)));
    sleep(secs(5)).await;
    assert!(!call.is_finished());
    circuit.handle_for("a:1").unwrap().auto();
    assert_eq!(call.await.unwrap().unwrap(), "a:1");
}

// Counts.

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_once_however_it_ends() {
    let farm = Farm::default();
    let layer = FailoverLayer::new(Attempts::up_to(2).with_timeout(secs(1))).named("tax");
    let handle = layer.handle();
    let endpoints = tower_upstream::discover::fixed(["a:1", "b:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(farm.clone());
    let send = |ask: Ask| service.clone().oneshot(ask);
    send(Ask::new(1)).await.unwrap();
    farm.answers(Answer::GoodAfter(ms(300)));
    send(Ask::new(1)).await.unwrap();
    // Before its first poll, and in both attempts.
    drop(service.clone().ready().await.unwrap().call(Ask::new(1)));
    farm.answers(Answer::Never);
    for secs_before in [0, 1] {
        let call = tokio::spawn(send(Ask::new(1)));
        sleep(secs(secs_before) + ms(500)).await;
        call.abort();
        settle().await;
    }
    // Both attempts take a second.
    send(Ask::new(1)).await.unwrap_err();
    send(Ask::new(1).until(Instant::now())).await.unwrap_err();
    drop(service.clone().ready().await.unwrap().call(Ask::new(1).until(Instant::now())));
    let summary = handle.summary().unwrap();
    assert_eq!(
        (summary.successful_requests, summary.failed_requests, summary.cancelled_requests),
        (2, 3, 3)
    );
    assert_eq!(summary.total_requests, 8);
    assert_eq!(summary.failovers, 2, "of the call that failed, and of one that was dropped");
    assert!(summary.last_failover.is_some());
    let average = summary.average_response_time;
    assert!((ms(460)..=ms(462)).contains(&average), "2.3 s by 5: {average:?}");
    let stats = handle.stats();
    let counts = [stats.admitted, stats.succeeded, stats.failed, stats.ignored, stats.refused];
    assert_eq!(counts, [6, 2, 1, 3, 2].map(Some));
    #[cfg(feature = "serde")]
    {
        let json = serde_json::to_value(summary).unwrap();
        assert_eq!((&json["total_requests"], &json["failovers"]), (&8.into(), &2.into()));
        assert!(json["average_response_time"].as_u64().unwrap() >= 460_000_000);
        assert!(json["last_failover"].as_u64().unwrap() > 1_600_000_000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_time_is_told_and_a_history_keeps_the_last_events() {
    let events = Events::new();
    let (all, two) = (History::new(&events), History::with_capacity(&events, 2));
    let layer = FailoverLayer::new(Attempts::up_to(3).with_timeout(ms(40)).with_overall(ms(100)))
        .with_events(&events)
        .named("tax");
    let service = calls(layer, 9);
    let hangs = Call::new(HANGS).idempotent();
    let error = service.clone().oneshot(hangs).await.unwrap_err();
    assert_ne!(error.kind(), Kind::Timeout, "three attempts, of which the second fails");
    let farm = Farm::default();
    farm.get("a:1").answers(Answer::Never);
    let endpoints = tower_upstream::discover::fixed(["a:1"]).unwrap();
    let late = FailoverLayer::new(Attempts::up_to(1).with_overall(ms(50))).with_events(&events);
    let set = BalanceLayer::new(endpoints, RoundRobin::starting_at(0));
    late.layer(set.layer(farm)).oneshot(Ask::new(1)).await.unwrap_err();
    let kinds = |history: &History| -> Vec<_> {
        history.all().iter().map(|event| event.kind.as_str()).collect()
    };
    assert_eq!(kinds(&all).last(), Some(&"timeout"));
    assert_eq!(kinds(&two).len(), 2);
    assert_eq!(kinds(&two), kinds(&all)[kinds(&all).len() - 2..]);
    assert_eq!(all.last(1).len(), 1);
    let last = all.last(1).remove(0);
    assert!(matches!(last.kind, EventKind::Timeout { attempts: 1, .. }), "{last:?}");
    assert_eq!(last.endpoint.as_deref(), Some("a:1"));
}

#[test]
fn without_a_runtime_a_call_does_not_wait_for_an_endpoint() {
    let endpoints = Memory::new(["a:1"; 0]).unwrap();
    let balance = BalanceLayer::new(endpoints, RoundRobin::starting_at(0)).layer(Farm::default());
    let attempts = Attempts::up_to(2).with_wait_for_endpoint(secs(60));
    let mut call = task::spawn(FailoverLayer::new(attempts).layer(balance).oneshot(Ask::new(1)));
    let Poll::Ready(Err(error)) = call.poll() else { panic!("it waits") };
    assert_eq!(error.kind(), Kind::Unavailable);
}
