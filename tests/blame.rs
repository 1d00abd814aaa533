//! Who is blamed for what, and what counts as sent: the rules that several layers must agree on.
#![cfg(all(feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, LeastRequest, Outcome, Reply, breaker::CircuitState, connect_fn,
    discover, error::Kind, serve, transport::HttpTransport,
};

fn over_500(result: Result<&u32, &Error>) -> Outcome {
    match result {
        Ok(500..) | Err(_) => Outcome::Failure,
        Ok(_) => Outcome::Success,
    }
}

/// Five calls that fail for `call`'s own reason, to an endpoint at `address`; the state after them.
async fn circuit_after(address: &str, call: impl Fn() -> Call<u32>, kind: Kind) -> CircuitState {
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(3));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([address]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .service(HttpTransport::<u32, u32>::new());
    for _ in 0..5 {
        let error = stack.clone().oneshot(call()).await.unwrap_err();
        assert!([kind, Kind::CircuitOpen].contains(&error.kind()), "{error}");
    }
    breakers.handle_for(address).unwrap().state()
}

#[tokio::test]
async fn a_callers_mistake_opens_no_circuit() {
    let nobody = "http://127.0.0.1:9";
    let late = || Call::new(1).with_deadline(tokio::time::Instant::now());
    assert_eq!(circuit_after(nobody, late, Kind::Timeout).await, CircuitState::Closed);
    let hostile = || Call::new(1).with_header("x", "a\nb");
    assert_eq!(circuit_after(nobody, hostile, Kind::InvalidConfig).await, CircuitState::Closed);
    // But an endpoint that is not there is to blame.
    let plain = || Call::new(1);
    assert_eq!(circuit_after(nobody, plain, Kind::Connection).await, CircuitState::Open);
}

#[tokio::test]
async fn what_a_plugin_answers_opens_no_circuit() {
    let plugin =
        service_fn(|_: Call<u32>| async { Err::<Reply<u32>, BoxError>("unknown country".into()) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback_service(serve::http(plugin));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let state = circuit_after(&address, || Call::new(1), Kind::Plugin).await;
    assert_eq!(state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_got_an_answer_was_sent() {
    // The first answer opens the only circuit, so the second attempt is refused.
    let sent = Arc::new(AtomicU32::new(0));
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(1));
    let counter = sent.clone();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(over_500))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::default()))
        .layer(breaker.with_classify(|result: Result<&u32, &BoxError>| match result {
            Ok(500..) | Err(_) => Outcome::Failure,
            Ok(_) => Outcome::Success,
        }))
        .service(connect_fn(move |_: &Endpoint| {
            let sent = counter.clone();
            service_fn(move |_: Call<u32>| {
                sent.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Ok::<_, BoxError>(503))
            })
        }));
    let error = stack.oneshot(Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!(sent.load(Ordering::Relaxed), 1);
    assert!(!error.is_unsent() && !error.is_refused(), "{error:?}");
    assert_eq!(error.history().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_the_rule_forgives_is_not_repeated() {
    let sent = Arc::new(AtomicU32::new(0));
    let counter = sent.clone();
    let stack = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(3))
                .with_classify(|_: Result<&u32, &Error>| Outcome::Ignored),
        )
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1", "c:1"]).unwrap(),
            LeastRequest::default(),
        ))
        .service(connect_fn(move |_: &Endpoint| {
            let sent = counter.clone();
            service_fn(move |_: Call<u32>| {
                sent.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Err::<u32, BoxError>("no such thing".into()))
            })
        }));
    assert!(stack.oneshot(Call::new(1).idempotent()).await.is_err());
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_is_let_go_though_the_future_is_kept() {
    struct Held(Arc<AtomicBool>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let dropped = Arc::new(AtomicBool::new(false));
    let flag = dropped.clone();
    let mut stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3).with_timeout(Duration::from_millis(20))))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::default()))
        .service(connect_fn(move |_: &Endpoint| {
            let flag = flag.clone();
            service_fn(move |_: Call<u32>| {
                let held = Held(flag.clone());
                async move {
                    let _held = held;
                    std::future::pending::<Result<u32, BoxError>>().await
                }
            })
        }));
    // Not idempotent, so there is no second attempt.
    let mut call = pin!(stack.ready().await.unwrap().call(Call::new(1)));
    assert!(call.as_mut().await.unwrap_err().is_timeout());
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn failing_over_works_outside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::default()))
        .service(connect_fn(|_: &Endpoint| {
            service_fn(|call: Call<u32>| async move {
                let mut polled = false;
                std::future::poll_fn(|cx| {
                    if std::mem::replace(&mut polled, true) {
                        return std::task::Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                })
                .await;
                Ok::<_, BoxError>(call.into_body())
            })
        }));
    // The set's task runs here; the second call is driven elsewhere.
    runtime.block_on(stack.clone().oneshot(Call::new(1))).unwrap();
    let call = Call::new(7).with_timeout(Duration::from_secs(60));
    assert_eq!(futures::executor::block_on(stack.oneshot(call)).unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_when_told_to_is_let_in() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(1));
    let works = Arc::new(AtomicBool::new(false));
    let answer = works.clone();
    let client = ServiceBuilder::new().layer(layer).service(service_fn(move |()| {
        let works = answer.load(Ordering::Relaxed);
        std::future::ready(if works { Ok(()) } else { Err(BoxError::from("broken")) })
    }));
    client.clone().oneshot(()).await.unwrap_err();
    works.store(true, Ordering::Relaxed);
    let refused = client.clone().oneshot(()).await.unwrap_err();
    // Nothing but the clock moves: no task of ours gets a turn.
    tokio::time::advance(refused.retry_after().unwrap()).await;
    client.oneshot(()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_dies_while_another_is_connected_anew_is_not_forgotten() {
    /// Dead when told so.
    #[derive(Clone)]
    struct Mortal(Arc<AtomicBool>);
    impl Service<u32> for Mortal {
        type Response = u32;
        type Error = BoxError;
        type Future = std::future::Ready<Result<u32, BoxError>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            match self.0.load(Ordering::Relaxed) {
                true => std::task::Poll::Ready(Err("dead".into())),
                false => std::task::Poll::Ready(Ok(())),
            }
        }

        fn call(&mut self, n: u32) -> Self::Future {
            std::future::ready(Ok(n))
        }
    }

    let services = Arc::new(std::sync::Mutex::new(Vec::<(String, Arc<AtomicBool>)>::new()));
    let (entered, in_connector) = std::sync::mpsc::channel();
    let (leave, may_leave) = std::sync::mpsc::channel::<()>();
    let channels = std::sync::Mutex::new((entered, may_leave));
    let all = services.clone();
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(
            discover::fixed(["a:1", "b:1"]).unwrap(),
            tower_upstream::balance::RoundRobin::starting_at(0),
        ))
        .service(connect_fn(move |endpoint: &Endpoint| {
            let mut services = all.lock().unwrap();
            if services.len() == 2 {
                // `a` is connected anew; the test goes on until it lets us.
                drop(services);
                let channels = channels.lock().unwrap();
                channels.0.send(()).unwrap();
                channels.1.recv_timeout(Duration::from_secs(20)).unwrap();
                services = all.lock().unwrap();
            }
            let dead = Arc::new(AtomicBool::new(false));
            services.push((endpoint.key().to_owned(), dead.clone()));
            Mortal(dead)
        }));
    let call = || tokio::spawn(stack.clone().oneshot(1));
    call().await.unwrap().unwrap();

    services.lock().unwrap()[0].1.store(true, Ordering::Relaxed);
    let first = [call(), call()];
    tokio::task::spawn_blocking(move || in_connector.recv().unwrap()).await.unwrap();
    services.lock().unwrap()[1].1.store(true, Ordering::Relaxed);
    // Found dead while the task of the set is in the connector.
    let second = [call(), call()];
    let reported = tokio::time::timeout(Duration::from_millis(100), async {
        for call in second {
            let _ = call.await;
        }
    });
    let _ = reported.await;
    leave.send(()).unwrap();
    for call in first {
        let _ = call.await;
    }
    let anew = || services.lock().unwrap().iter().filter(|(key, _)| key == "b:1").count();
    let found = tokio::time::timeout(Duration::from_secs(20), async {
        while anew() < 2 {
            let _ = call().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.expect("b was never connected anew");
}

/// An endpoint that answers 200 with `body`, whatever it is asked.
async fn answers(body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(move || async move { body });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test]
async fn data_of_another_type_than_the_caller_expects_opens_no_circuit() {
    for (body, state) in [
        (r#"{"data":"text"}"#, CircuitState::Closed),
        (r#"{"data":{"gross":7}}"#, CircuitState::Closed),
        (r#"{"data":7"#, CircuitState::Open),
        ("<html>", CircuitState::Open),
        (r#"{"error":7}"#, CircuitState::Open),
    ] {
        let address = answers(body).await;
        let after = circuit_after(&address, || Call::new(1), Kind::Transport).await;
        assert_eq!(after, state, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_of_ones_own_can_refuse() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(1));
    let set = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::default()))
        .layer(breaker.clone())
        .service(connect_fn(|endpoint: &Endpoint| {
            let is_day = endpoint.key() == "a:1";
            service_fn(move |number: u32| {
                let refused = || BoxError::from(Error::refusal("it is day"));
                std::future::ready(if is_day { Err(refused()) } else { Ok(number) })
            })
        }));
    let handle = set.handle();
    // Another endpoint is tried for nothing, also of a call that is not idempotent.
    let stack = ServiceBuilder::new()
        .layer(
            FailoverLayer::new(Attempts::up_to(2))
                .with_budget(tower_upstream::budget::Budget::none())
                .with_replay(|number: &u32| Some(*number)),
        )
        .service(set.clone());
    for number in 0..20 {
        assert_eq!(stack.clone().oneshot(number).await.unwrap(), number);
    }
    let member = &handle.members()[0];
    assert_eq!((member.key(), member.failures(), member.latency()), ("a:1", 0, None));
    assert_eq!(breaker.handle_for("a:1").unwrap().state(), CircuitState::Closed);
    let mut errors = Vec::new();
    for _ in 0..20 {
        errors.extend(set.clone().oneshot(1).await.err());
    }
    assert!(!errors.is_empty() && errors.iter().all(|error| error.is_refused()), "{errors:?}");
}
