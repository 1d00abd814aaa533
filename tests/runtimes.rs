//! What runs in the background runs on the runtime that was given, wherever calls come from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::Instant,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, HealthGateLayer, LeastRequest,
    balance::RoundRobin,
    connect_fn,
    discover::{self, Memory},
    error::Kind,
    health::{HealthConfig, check_fn, check_upstream},
    member::Reason,
};

/// Not driven but within `block_on`.
fn undriven() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn driven() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits for what another thread is about to do.
fn eventually(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never happened");
        std::thread::yield_now();
    }
}

type Answer = std::future::Ready<Result<String, BoxError>>;

/// Says who it is, and where it was connected.
fn named(
    endpoint: &Endpoint,
) -> impl Service<(), Response = String, Error = BoxError, Future = Answer> + Clone + use<> {
    let name = format!("{} on {}", endpoint.key(), Handle::current().id());
    service_fn(move |()| std::future::ready(Ok(name.clone())))
}

#[test]
fn a_set_lives_on_its_runtime_though_it_was_first_used_in_another() {
    let (home, first, second) = (driven(), undriven(), undriven());
    let source = Memory::new(["old:1"]).unwrap();
    let stack = BalanceLayer::new(source.clone(), LeastRequest::new())
        .with_runtime(home.handle().clone())
        .layer(connect_fn(named));
    let on_home = |name: &str| format!("{name} on {}", home.handle().id());
    let call = |runtime: &Runtime| runtime.block_on(stack.clone().oneshot(())).unwrap();
    assert_eq!(call(&first), on_home("old:1"));
    // The first runtime is alive, and nothing drives it any more.
    source.replace([Endpoint::new("new:1").unwrap()]).unwrap();
    eventually(|| call(&second) == on_home("new:1"));
    // Nor does it take a runtime to look.
    assert_eq!(futures::executor::block_on(stack.clone().oneshot(())).unwrap(), on_home("new:1"));
    drop(first);
    assert_eq!(call(&second), on_home("new:1"));
}

#[test]
fn once_its_runtime_has_ended_a_set_runs_where_it_is_used() {
    let (home, other) = (driven(), driven());
    let stack = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .with_runtime(home.handle().clone())
        .layer(connect_fn(named));
    other.block_on(stack.clone().oneshot(())).unwrap();
    drop(home);
    let expected = format!("a:1 on {}", other.handle().id());
    for _ in 0..3 {
        assert_eq!(other.block_on(stack.clone().oneshot(())).unwrap(), expected);
    }
    // With none left there is an error that says so.
    let ended = driven();
    let stack = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .with_runtime(ended.handle().clone())
        .layer(connect_fn(named));
    drop(ended);
    let error = futures::executor::block_on(stack.oneshot(())).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn how_endpoints_stand_outlives_the_runtime_of_their_set() {
    let (first, second) = (driven(), driven());
    let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), RoundRobin::new());
    let handle = layer.handle();
    let stack = layer.layer(connect_fn(|endpoint: &Endpoint| {
        let fails = endpoint.key() == "a:1";
        service_fn(move |()| {
            ready(if fails { Err(BoxError::from("broken")) } else { Ok::<_, BoxError>(()) })
        })
    }));
    let a_is_ejected = || {
        let a = handle.members().into_iter().find(|member| member.key() == "a:1");
        a.is_some_and(|a| a.reasons().any(|reason| reason == Reason::Ejected))
    };
    eventually(|| {
        let _ = first.block_on(stack.clone().oneshot(()));
        a_is_ejected()
    });
    drop(first);
    for _ in 0..20 {
        second.block_on(stack.clone().oneshot(())).unwrap();
        assert!(a_is_ejected());
    }
}

fn quick() -> HealthConfig {
    let mut config = HealthConfig::default().with_rise(1).with_fall(1);
    config.interval = Duration::from_millis(5);
    config.interval_unhealthy = Duration::from_millis(5);
    config
}

#[test]
fn checks_go_on_on_their_runtime() {
    let (home, first, second) = (driven(), undriven(), undriven());
    let well = Arc::new(AtomicBool::new(true));
    let says = well.clone();
    let gate = HealthGateLayer::with_config(
        check_upstream(move || std::future::ready(says.load(SeqCst))),
        quick(),
    )
    .with_runtime(home.handle().clone());
    let stack = gate.layer(service_fn(|()| std::future::ready(Ok::<_, BoxError>(()))));
    first.block_on(stack.clone().oneshot(())).unwrap();
    for is_well in [false, true, false] {
        well.store(is_well, SeqCst);
        eventually(|| second.block_on(stack.clone().oneshot(())).is_ok() == is_well);
    }
    let monitor = gate.monitor();
    second.block_on(monitor.stop());
    assert!(!monitor.is_running());
    well.store(true, SeqCst);
    monitor.start();
    eventually(|| second.block_on(stack.clone().oneshot(())).is_ok());
}

#[test]
fn a_whole_stack_outlives_the_runtime_that_is_not_driven_any_more() {
    let (home, first, second) = (driven(), undriven(), undriven());
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = sick.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        std::future::ready(endpoint.key() != "a:1" || !is_sick.load(SeqCst))
    });
    let stack = ServiceBuilder::new()
        .layer(
            BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new())
                .with_runtime(home.handle().clone()),
        )
        .layer(HealthGateLayer::with_config(check, quick()).with_runtime(home.handle().clone()))
        .service(connect_fn(named));
    first.block_on(stack.clone().oneshot(())).unwrap();
    sick.store(true, SeqCst);
    let all_at_b =
        || (0..20).all(|_| second.block_on(stack.clone().oneshot(())).unwrap().starts_with("b:1"));
    eventually(all_at_b);
    sick.store(false, SeqCst);
    eventually(|| !all_at_b());
}
