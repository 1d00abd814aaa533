//! What users of other crates ran into, one test for each: here it does not happen.
//!
//! What another test proves already is named in this table instead, by its file or module; `peers` is
//! this file. What is no matter of guards is named as such.
//!
//! | what goes wrong elsewhere | proved by |
//! |---|---|
//! | *Readiness* | |
//! | a clone that is ready and idle keeps a place from the others | `peers`: `an_idle_clone_holds_no_permit` |
//! | a layer calls a clone that was not made ready, or panics if it is | `laws`: `law_1_called_only_when_ready_and_once`, over every layer; `peers`: `a_call_without_readiness_panics_nowhere` |
//! | one error of readiness kills all clones | `peers`: `an_error_of_readiness_is_that_of_one_value` |
//! | clones that wait for one timer or one future are not all woken | `peers`: `every_clone_that_waits_is_woken` |
//! | permission is asked for at the first poll, not by the call | `peers`: `what_is_called_counts_before_it_is_polled` |
//! | a barred endpoint is polled in a busy loop until it comes back | `laws`: `law_2_an_idle_layer_rests`; `breaker`: `waiting_for_an_open_circuit_below_a_balancer_ends_in_time_with_few_polls` |
//! | *Limits* | |
//! | a token is lost when a service that is ready is dropped | `limit`: `a_reserved_token_comes_back_and_wakes_who_waits_for_it`; `laws`: `law_3_readiness_that_is_dropped_below_gives_back` |
//! | who waits for a token holds what others could use | `peers`: `who_waits_holds_nothing_of_the_service_below` |
//! | all who wait are woken for one token, and race for it | `limit`: `an_idle_waiter_is_polled_a_bounded_number_of_times`; `concurrency`: `one_who_waits_is_polled_seldom`; `peers`: `two_thousand_who_wait_are_polled_a_few_times_each` |
//! | a refusal does not say when to come back | `limit`: `coming_back_exactly_when_told_works` |
//! | a limit takes the program down when its clock goes back | `limit::rate::gcra`: `nothing_overflows` |
//! | there is one limit for all keys, or memory for each that ever came | `limit_keyed`: `each_key_has_its_quota`, `a_flood_of_keys_takes_no_memory_and_frees_nobody` |
//! | one limit for each route or connection, so none for all | `ecosystem`: `a_layer_value_is_one_policy_however_often_axum_applies_it` |
//! | a limit that adapts itself grows unused, and never forgets the best time it saw | not a guard: none here adapts itself. Whoever decides sets it: `concurrency`: `a_lower_limit_holds_at_once_and_forgets_no_place_twice` |
//! | *Circuits* | |
//! | a window of the last calls holds all since the last transition, and after many good ones never opens | `breaker_rules`: `a_window_of_calls_slides_however_many_went_before`; `breaker::machine::tests::window`: `a_ring_holds_the_last_calls` |
//! | the least number of calls has no effect below the size of the window | `breaker_rules`: `so_few_calls_prove_nothing_but_enough_need_not_fill_the_window` |
//! | a call costs more the more are in the window | `breaker::machine::tests::window`: `a_window_of_time_is_ten_sums_whatever_it_holds`; `breaker::machine::counts`: `at_a_low_rate_every_call_looks_and_at_a_high_one_few` |
//! | what a timeout further out cancels, the loser of a race and who hangs up are not seen | `breaker_rules`: `a_timeout_outside_is_seen_as_the_policy_says`; `peers`: `a_call_that_is_cancelled_from_outside_is_seen_and_leaks_nothing` |
//! | a call from before a trip closes a half-open circuit | `breaker`: `results_of_an_older_generation_change_only_totals`; `laws`: `law_8_a_result_from_before_a_trip_does_not_close_it_below_a_balancer` |
//! | an open circuit comes back with the next request only | `breaker`: `it_becomes_half_open_in_time_and_without_traffic` |
//! | half-open lets everybody through | `breaker`: `half_open_it_lets_so_many_calls_pass_at_once` |
//! | half-open, probes slide out of the window and their places are never free again | `breaker_rules`: `half_open_has_a_window_of_its_own`; `breaker`: `a_probe_that_nobody_polls_is_timed_out_all_the_same` |
//! | a cancelled probe holds its place for ever | `laws`: `law_7_a_cancelled_probe_gives_its_place_back_below_a_balancer`; `breaker`: `a_cancelled_probe_gives_its_place_back` |
//! | one bad probe opens it whatever the others say | `breaker_rules`: `half_open_has_a_window_of_its_own` |
//! | it is open for the same time each time, for all clients | `breaker_rules`: `each_opening_in_a_row_lasts_longer_up_to_a_cap`; `breaker::machine::tests`: `jitter_goes_both_ways` |
//! | what was forced open half-opens by itself | `breaker`: `what_is_forced_stays` |
//! | control waits for a lock | `peers`: `guards_are_controlled_from_drop_and_without_a_runtime` |
//! | a listener runs under the lock and sees the state of before | `breaker_rules`: `who_listens_is_told_in_order_after_the_state_is_visible_and_outside_of_locks` |
//! | there is one circuit for all hosts | `breaker_rules`: `each_key_has_a_circuit_of_its_own`, `a_flood_of_keys_costs_no_memory_and_no_open_circuit`; `breaker`: `below_a_balancer_each_endpoint_has_a_circuit_and_an_open_one_is_passed_over` |
//! | a stream that breaks has gone well | `breaker_body`: `the_end_of_the_body_is_the_verdict` |
//! | a clock that goes back stops it, or brings back what is over | `breaker::machine::tests`: `a_clock_that_goes_back_harms_nothing`; `breaker::machine::tests::window`: `who_comes_late_with_an_older_time_erases_nothing` |
//! | repeating sleeps, and spends its budget, before an open circuit | `retry`: `a_refusal_costs_neither_time_nor_budget`; `failover`: `a_refusal_from_above_is_final`; `laws`: `law_6_a_refusal_from_above_the_balancer_costs_no_budget` |
//! | the gauge of a state that is left stays up | not a guard: nothing here exports gauges, and a state is one value: `breaker_rules`: `who_listens_is_told_in_order_after_the_state_is_visible_and_outside_of_locks` |
//! | *Health* | |
//! | health checks are a picker, and no layer | `health`: `a_gate_above_refuses_after_three_failures_and_opens_after_two_successes`, `a_gate_below_bars_its_member_and_lets_every_call_pass` |
//! | *All of them* | |
//! | a refusal has no way to HTTP and gRPC | `peers`: `a_refusal_is_an_http_answer_that_says_when_to_come_back`, `a_refusal_is_a_grpc_status_that_says_when_to_come_back`; `limit_http`: `every_answer_of_an_axum_server_says_how_it_stands`, `a_grpc_client_gets_trailers_only` |
//! | futures are boxed, and services must be `Clone + Send + 'static` | `peers`: `futures_have_names_and_are_no_boxes`, `a_service_needs_neither_clone_nor_send_nor_static` |
//! | there is no config to read | `config`: `circuit_breaker`, `rate_limit`, `concurrency_limit`, `health`, `retry`, `budgets` |
//! | settings hold until the next start | `breaker_rules`: `new_settings_hold_from_the_next_call_on_and_keep_what_was_counted`; `limit_tokens`: `new_settings_keep_the_share_that_is_used_here_and_at_every_endpoint`; `concurrency`: `an_update_keeps_calls_and_waiters_and_a_wrong_one_changes_nothing` |
//! | there is nothing to find endpoints with, and no transport | not a guard: `balance`: `what_is_known_of_a_member_survives_changes_of_the_set` |
//! | *Balancing* | |
//! | one service that died takes a whole set along | not a guard: `balance`: `a_dead_service_is_connected_anew_and_the_call_goes_elsewhere` |
//! | a place in a list that has changed is called as if it were ready | not a guard: `balance`: `whoever_gets_ready_first_is_called_and_only_that_value`, `who_is_removed_finishes_what_it_has_and_goes` |
//! | an endpoint that is slow to get ready is driven by new requests only | not a guard: `laws`: `law_2_pending_leaves_a_waker`; `balance`: `three_of_four_stuck_hold_no_call_up` |
//! | reading a load writes it, under a lock | not a guard: a load changes when calls begin and end: `balance`: `two_choices_even_out_the_load` |
//! | random choice is a fixed rotation, and all must be ready for one to be called | not a guard: `balance`: `random_and_two_choices_spread_evenly_where_there_is_no_load`, `three_of_four_stuck_hold_no_call_up` |
//! | a set in which every weight is 0 panics | not a guard: `balance::select`: `weight_zero_gets_nothing_unless_all_have_it` |
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use futures::future::join_all;
use support::{Answer, Ask, Farm, Inner, Probe, Readiness, counted, ms, secs, seen, settle};
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, service_fn,
    timeout::TimeoutLayer,
};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer, Endpoint, Error,
    HealthGateLayer, Quota, RateLimitLayer,
    breaker::{self, CircuitState},
    connect::Connect,
    connect_fn,
    error::Kind,
    guard,
    health::{self, check_upstream},
    http::AnswerLayer,
    limit::{self, Permit, WaitFuture},
    member::Member,
};

/// A token a second, and one to begin with.
fn one_a_second() -> RateLimitLayer {
    RateLimitLayer::new(Quota::per_second(1).burst(1))
}

fn one_at_once() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1)
}

/// One failure opens it for five seconds; then one probe may pass, and closes it.
fn breaker() -> CircuitBreakerLayer {
    let config = CircuitBreakerConfig::default().with_failures(1).with_open_for(secs(5));
    CircuitBreakerLayer::new(config.with_probes(1).with_successes(1))
}

fn gate() -> HealthGateLayer {
    HealthGateLayer::new(check_upstream(async || true))
}

fn member() -> Arc<Member> {
    Member::new("a:1".parse::<Endpoint>().unwrap())
}

fn poll_ready<S: Service<Ask>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

// Readiness that is kept.

/// Elsewhere each clone that is ready holds a place, so two idle clones of a limit of two shut out
/// everybody else for ever.
#[tokio::test(start_paused = true)]
async fn an_idle_clone_holds_no_permit() {
    async fn idle_clones_of<L>(layer: L)
    where
        L: Layer<Probe>,
        L::Service: Service<Ask, Response = String, Error = Error> + Clone,
    {
        let service = layer.layer(Inner::new("a:1").service());
        let mut idle: Vec<_> = (0..10).map(|_| service.clone()).collect();
        for clone in &mut idle {
            assert_ready_ok!(poll_ready(clone));
        }
        service.oneshot(Ask::new(1)).await.unwrap();
    }
    idle_clones_of(one_at_once()).await;
    idle_clones_of(one_at_once().wait(secs(1))).await;
    idle_clones_of(one_a_second()).await;
    idle_clones_of(one_a_second().wait(secs(1))).await;
    idle_clones_of(gate()).await;
    let half_open = breaker();
    let inner = Inner::new("a:1");
    inner.answers(Answer::Fails);
    half_open.layer(inner.service()).oneshot(Ask::new(1)).await.unwrap_err();
    sleep(secs(9)).await;
    assert_eq!(half_open.handle().state(), CircuitState::HalfOpen);
    idle_clones_of(half_open).await;
}

/// Elsewhere a call waits asleep while its service holds the place of a service further down, which
/// nobody else can use meanwhile.
#[tokio::test(start_paused = true)]
async fn who_waits_holds_nothing_of_the_service_below() {
    async fn waits_over_one_place<L>(layer: L, spend: impl FnOnce())
    where
        L: Layer<ConcurrencyLimit<Probe>>,
        L::Service: Service<Ask, Response = String, Error = Error, Future: Send + 'static>
            + Clone
            + Send
            + 'static,
    {
        let below = ConcurrencyLimit::new(Inner::new("a:1").service(), 1);
        let service = layer.layer(below.clone());
        spend();
        let waits = tokio::spawn(service.oneshot(Ask::new(1)));
        settle().await;
        assert!(!waits.is_finished());
        let mut other = task::spawn(below.oneshot(Ask::new(2)));
        assert!(assert_ready!(other.poll()).is_ok());
        waits.abort();
    }
    let (tokens, places) = (one_a_second(), one_at_once());
    let mut permit = None;
    let (token, place) = (tokens.handle(), places.handle());
    waits_over_one_place(tokens.wait(secs(60)), || token.take(1).unwrap()).await;
    waits_over_one_place(places.wait(secs(60)), || permit = place.take().ok()).await;
    assert!(permit.is_some());
}

/// Elsewhere whoever calls a clone that was never polled takes the program down.
#[tokio::test(start_paused = true)]
async fn a_call_without_readiness_panics_nowhere() {
    let service = || service_fn(|ask: Ask| ready(Ok::<_, Infallible>(ask.number)));
    async fn call<S>(service: &S) -> Result<u32, Error>
    where
        S: Service<Ask, Response = u32, Error = Error> + Clone,
    {
        service.clone().call(Ask::new(7)).await
    }
    let (tokens, places, circuit) = (one_a_second(), one_at_once(), breaker());
    assert_eq!(call(&tokens.layer(service())).await.unwrap(), 7);
    assert_eq!(call(&places.layer(service())).await.unwrap(), 7);
    assert_eq!(call(&circuit.layer(service())).await.unwrap(), 7);
    let _ = call(&gate().layer(service())).await;
    let permit = places.handle().take().unwrap();
    circuit.handle().force_open();
    let kind = |result: Result<u32, Error>| result.unwrap_err().kind();
    assert_eq!(kind(call(&tokens.layer(service())).await), Kind::RateLimited);
    assert_eq!(kind(call(&places.layer(service())).await), Kind::Overloaded);
    assert_eq!(kind(call(&circuit.layer(service())).await), Kind::CircuitOpen);
    drop(permit);
    assert_eq!(call(&tokens.wait(secs(9)).layer(service())).await.unwrap(), 7);
    assert_eq!(call(&places.wait(secs(9)).layer(service())).await.unwrap(), 7);
    // Below a balancer too, where readiness does take something.
    let (member, connector) = (member(), connect_fn(|_: &Endpoint| service()));
    assert_eq!(call(&one_a_second().layer(connector).connect(&member)).await.unwrap(), 7);
    assert_eq!(call(&one_at_once().layer(connector).connect(&member)).await.unwrap(), 7);
    assert_eq!(call(&breaker().layer(connector).connect(&member)).await.unwrap(), 7);
}

/// Elsewhere one error of readiness kills the service for all its clones.
#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_that_of_one_value() {
    async fn one_dies<L>(layer: L)
    where
        L: Layer<Probe>,
        L::Service: Service<Ask, Response = String, Error = Error> + Clone,
    {
        let inner = Inner::new("a:1");
        let service = layer.layer(inner.service());
        let (mut dies, lives) = (service.clone(), service.clone());
        inner.is(Readiness::Dead);
        let error = assert_ready!(poll_ready(&mut dies)).unwrap_err();
        assert_eq!(error.kind(), Kind::Service);
        inner.is(Readiness::Ready);
        lives.oneshot(Ask::new(1)).await.unwrap();
        drop(dies);
    }
    one_dies(one_at_once()).await;
    one_dies(one_at_once().wait(secs(1))).await;
    one_dies(one_a_second()).await;
    one_dies(one_a_second().wait(secs(1))).await;
    one_dies(breaker()).await;
    one_dies(gate()).await;
}

// Who is woken.

/// Elsewhere clones that wait for the same thing share one timer or one future without a list of
/// whom to wake, so one is woken and the others sleep on.
#[tokio::test(start_paused = true)]
async fn every_clone_that_waits_is_woken() {
    /// Makes three clones wait, lets them come in, and expects each to.
    async fn three_wait<S, P>(service: S, spend: impl FnOnce() -> P, come: impl AsyncFn())
    where
        S: Service<Ask, Response = String, Error = Error> + Clone + Unpin,
    {
        let spent = spend();
        let mut clones: Vec<_> = (0..3).map(|_| task::spawn(service.clone())).collect();
        for clone in &mut clones {
            assert_pending!(clone.enter(|cx, mut clone| clone.poll_ready(cx)));
        }
        drop(spent);
        for left in (0..3).rev() {
            come().await;
            let woken = clones.iter().position(|clone| clone.is_woken()).expect("nobody is woken");
            // Each that is woken calls, or the next need not come.
            let mut clone = clones.remove(woken);
            if clone.enter(|cx, mut clone| clone.poll_ready(cx)).is_ready() {
                clone.enter(|_, mut clone| clone.call(Ask::new(1))).await.unwrap();
            }
            assert_eq!(clones.len(), left);
        }
    }
    let (member, farm) = (member(), Farm::default());
    let tokens = one_a_second();
    let service = tokens.layer(farm.clone()).connect(&member);
    let handle = tokens.handle_for("a:1").unwrap();
    three_wait(service, || handle.take(1).unwrap(), async || sleep(ms(1_001)).await).await;
    let places = one_at_once();
    let service = places.layer(farm.clone()).connect(&member);
    let handle = places.handle_for("a:1").unwrap();
    three_wait(service, || handle.take().unwrap(), async || {}).await;
    let circuit = breaker();
    let service = circuit.layer(farm).connect(&member);
    let handle = circuit.handle_for("a:1").unwrap();
    three_wait(service, || handle.force_open(), async || handle.reset()).await;
}

/// Elsewhere each token wakes all who wait, and the more there are the more polls one admission
/// takes.
#[tokio::test(start_paused = true)]
async fn two_thousand_who_wait_are_polled_a_few_times_each() {
    async fn polls_of_each<S>(service: S, end: impl AsyncFn()) -> usize
    where
        S: Service<Ask, Response = String, Error = Error, Future: Send + 'static>
            + Clone
            + Send
            + 'static,
    {
        let (calls, polls): (Vec<_>, Vec<_>) =
            (0..2_000).map(|number| counted(service.clone().oneshot(Ask::new(number)))).unzip();
        let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
        end().await;
        assert!(join_all(calls).await.into_iter().all(|call| call.unwrap().is_ok()));
        polls.iter().map(|polls| polls.load(SeqCst)).sum::<usize>() / 2_000
    }
    let inner = Inner::new("a:1");
    let rate = RateLimitLayer::new(Quota::per_second(1_000).burst(1)).wait(secs(60));
    let polls = polls_of_each(rate.layer(inner.service()), async || {}).await;
    assert!(polls <= 3, "{polls} for a token");
    inner.answers(Answer::GoodAfter(ms(1)));
    let places = ConcurrencyLimitLayer::with_config(
        limit::ConcurrencyLimitConfig::default().with_max(10).with_pending(2_000),
    );
    let polls = polls_of_each(places.wait(secs(60)).layer(inner.service()), async || {}).await;
    assert!(polls <= 3, "{polls} for a place");
}

// What counts, and from when on.

/// Elsewhere permission is asked for at the first poll, so calls that are made and not yet polled
/// are reserved nothing, and more pass than may.
#[tokio::test(start_paused = true)]
async fn what_is_called_counts_before_it_is_polled() {
    let inner = Inner::new("a:1");
    let (places, tokens, circuit) = (one_at_once(), one_a_second(), breaker());
    inner.answers(Answer::Fails);
    circuit.layer(inner.service()).oneshot(Ask::new(0)).await.unwrap_err();
    sleep(secs(9)).await;
    inner.answers(Answer::Good);

    fn twice<S: Service<Ask, Error = Error> + Clone>(service: &S) -> (S::Future, S::Future) {
        let (mut one, mut other) = (service.clone(), service.clone());
        assert!(poll_ready(&mut one).is_ready() && poll_ready(&mut other).is_ready());
        (one.call(Ask::new(1)), other.call(Ask::new(2)))
    }
    let (first, second) = twice(&places.layer(inner.service()));
    assert_eq!(second.await.unwrap_err().kind(), Kind::Overloaded);
    first.await.unwrap();
    let (first, second) = twice(&tokens.layer(inner.service()));
    assert_eq!(second.await.unwrap_err().kind(), Kind::RateLimited);
    first.await.unwrap();
    // The one place of a half-open circuit.
    let (first, second) = twice(&circuit.layer(inner.service()));
    assert_eq!(second.await.unwrap_err().kind(), Kind::CircuitOpen);
    first.await.unwrap();
    assert_eq!(circuit.handle().state(), CircuitState::Closed);
}

/// Elsewhere what a timeout further out cancels, what lost a race and what a client left is nothing
/// to the guards.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_from_outside_is_seen_and_leaks_nothing() {
    let inner = Inner::new("a:1");
    let (places, circuit) = (one_at_once(), breaker());
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(100)))
        .layer(places.clone())
        .layer(circuit.clone())
        .service(inner.service());
    inner.answers(Answer::Never);
    for number in 1..=5 {
        circuit.handle().reset();
        let error: BoxError = service.clone().oneshot(Ask::new(number)).await.unwrap_err();
        assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
        let stats = seen(&circuit.handle());
        assert_eq!((stats.admitted, stats.succeeded), (u64::from(number), 0));
        assert_eq!((inner.running(), places.handle().in_flight()), (0, 0));
    }
    circuit.handle().reset();
    inner.answers(Answer::Good);
    service.oneshot(Ask::new(6)).await.unwrap();
}

// Control.

/// Elsewhere control takes an async lock, so neither `Drop` nor a thread without a runtime can use
/// it.
#[test]
fn guards_are_controlled_from_drop_and_without_a_runtime() {
    struct Maintenance(breaker::CircuitBreakerHandle, limit::ConcurrencyLimitHandle);

    impl Drop for Maintenance {
        fn drop(&mut self) {
            self.0.auto();
            self.1.set_max(10);
        }
    }
    let (circuit, places) = (breaker(), one_at_once());
    let during = Maintenance(circuit.handle(), places.handle());
    during.0.force_open();
    assert_eq!(circuit.handle().state(), CircuitState::ForcedOpen);
    std::thread::spawn(move || drop(during)).join().unwrap();
    assert_eq!(circuit.handle().state(), CircuitState::Closed);
    assert_eq!(places.handle().max(), 10);
    // In a call that is on its way, too: nothing is locked while it runs.
    let handle = circuit.handle();
    let service = circuit.layer(service_fn(move |()| {
        handle.force_open();
        ready(Ok::<_, Infallible>(handle.state()))
    }));
    let answer = assert_ready!(task::spawn(service.oneshot(())).poll());
    assert_eq!(answer.unwrap(), CircuitState::ForcedOpen);
}

// What a refusal says.

/// Elsewhere a refusal has no way to HTTP, and a wait of less than a second is told as none.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_http_answer_that_says_when_to_come_back() {
    let inner = Inner::new("a:1");
    let (tokens, places, circuit) = (one_a_second(), one_at_once(), breaker());
    inner.answers(Answer::Fails);
    circuit.layer(inner.service()).oneshot(Ask::new(0)).await.unwrap_err();
    tokens.handle().take(1).unwrap();
    sleep(ms(100)).await;
    let _permit = places.handle().take().unwrap();
    async fn answer<S>(service: S) -> (u16, Option<String>, Option<std::time::Duration>)
    where
        S: Service<Ask, Response = String, Error = Error>,
    {
        let error = service.oneshot(Ask::new(1)).await.unwrap_err();
        let wait = error.retry_after();
        let response = error.into_response::<String>();
        let told = response.headers().get("retry-after");
        let told = told.map(|told| told.to_str().unwrap().to_owned());
        (response.status().as_u16(), told, wait)
    }
    let (status, told, wait) = answer(tokens.layer(inner.service())).await;
    assert_eq!((status, told.as_deref(), wait), (429, Some("1"), Some(ms(900))));
    let (status, told, wait) = answer(circuit.layer(inner.service())).await;
    let seconds = wait.unwrap().as_secs_f64().ceil().to_string();
    assert_eq!((status, told), (503, Some(seconds)));
    // When one of those in flight ends nobody knows.
    assert_eq!(answer(places.layer(inner.service())).await, (503, None, None));
}

/// Elsewhere a gRPC client is told nothing it can read, or the wrong code.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_grpc_status_that_says_when_to_come_back() {
    use http::{Request, Response, header::CONTENT_TYPE};

    fn request() -> Request<()> {
        Request::post("/a.B/C").header(CONTENT_TYPE, "application/grpc").body(()).unwrap()
    }
    let good = || service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(())));
    let bad = service_fn(async |_: Request<()>| Err::<Response<()>, BoxError>("broken".into()));
    let (tokens, places, circuit) = (one_a_second(), one_at_once(), breaker());
    circuit.layer(bad).oneshot(request()).await.unwrap_err();
    tokens.handle().take(1).unwrap();
    sleep(ms(100)).await;
    let _permit = places.handle().take().unwrap();
    async fn answer<S>(service: S) -> (String, Option<u64>)
    where
        S: Service<Request<()>, Response = Response<()>, Error = Error>,
    {
        let answer = AnswerLayer::new().layer(service).oneshot(request()).await.unwrap();
        let field = |name| answer.headers().get(name).map(|value| value.to_str().unwrap());
        let pushback = field("grpc-retry-pushback-ms").map(|millis| millis.parse().unwrap());
        (field("grpc-status").unwrap().to_owned(), pushback)
    }
    assert_eq!(answer(tokens.layer(good())).await, ("8".to_owned(), Some(900)));
    let (status, pushback) = answer(circuit.layer(good())).await;
    assert_eq!(status, "14");
    assert!((4_400..=5_400).contains(&pushback.unwrap()), "{pushback:?}");
    assert_eq!(answer(places.layer(good())).await, ("8".to_owned(), None));
}

// What a guard asks of a service.

/// Elsewhere futures are boxed, so each call allocates and its type cannot be named.
#[tokio::test(start_paused = true)]
async fn futures_have_names_and_are_no_boxes() {
    type Call = <Probe as Service<Ask>>::Future;

    fn call<L, S>(layer: L) -> S::Future
    where
        L: Layer<Probe, Service = S>,
        S: Service<Ask>,
    {
        let mut service = layer.layer(Inner::new("a:1").service());
        let _ = poll_ready(&mut service);
        service.call(Ask::new(1))
    }
    let calls: (breaker::ResponseFuture<Call, _>, health::ResponseFuture<Call>) =
        (call(breaker()), call(gate()));
    let limits: (guard::ResponseFuture<Call>, WaitFuture<Probe, Ask, Call>) =
        (call(one_a_second()), call(one_a_second().wait(secs(1))));
    let places: (guard::ResponseFuture<Call, Permit>, WaitFuture<Probe, Ask, Call, Permit>) =
        (call(one_at_once()), call(one_at_once().wait(secs(1))));
    // The call itself is inside.
    let own = size_of::<Call>();
    for size in [
        size_of_val(&calls.0),
        size_of_val(&calls.1),
        size_of_val(&limits.0),
        size_of_val(&limits.1),
        size_of_val(&places.0),
        size_of_val(&places.1),
    ] {
        assert!((own..=own + 64).contains(&size), "{size} for a call of {own}");
    }
    calls.0.await.unwrap();
}

/// Elsewhere a guard wants a service that is `Clone + Send + 'static`, and requests that are.
#[tokio::test(start_paused = true)]
async fn a_service_needs_neither_clone_nor_send_nor_static() {
    /// Neither, and for requests that are borrowed.
    struct Local<'a> {
        calls: &'a Cell<usize>,
        not_send: PhantomData<Rc<()>>,
    }

    impl<'r> Service<&'r str> for Local<'_> {
        type Response = &'r str;
        type Error = Infallible;
        type Future = Ready<Result<&'r str, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: &'r str) -> Self::Future {
            self.calls.set(self.calls.get() + 1);
            ready(Ok(request))
        }
    }
    let calls = Cell::new(0);
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(100)))
        .layer(ConcurrencyLimitLayer::default())
        .layer(breaker())
        .layer(gate())
        .service(Local { calls: &calls, not_send: PhantomData });
    for text in ["one".to_owned(), "two".to_owned()] {
        assert_eq!(service.ready().await.unwrap().call(&text).await.unwrap(), text);
    }
    assert_eq!(calls.get(), 2);
}

/// The table above names nothing that is not there.
#[test]
fn every_test_of_the_table_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| {
        let of_module = root.join("src").join(file.replace("::", "/"));
        let of_tests = root.join("tests").join(file).with_extension("rs");
        if !file.contains("::") {
            return std::fs::read_to_string(of_tests).unwrap();
        }
        // The tests of a module may have a file of their own, or a folder.
        let beside = of_module.to_str().unwrap().to_owned() + "_tests.rs";
        let inside = std::fs::read_dir(&of_module).into_iter().flatten();
        let files = inside.map(|entry| entry.unwrap().path());
        files
            .chain([of_module.with_extension("rs"), beside.into()])
            .map(|file| std::fs::read_to_string(file).unwrap_or_default())
            .collect()
    };
    let mut names = 0;
    for row in include_str!("peers.rs").lines().filter(|line| line.starts_with("//! |")) {
        let Some((_, proof)) = row.trim_end_matches(" |").rsplit_once(" | ") else {
            continue;
        };
        let mut tests = String::new();
        let mut parts = proof.split('`').skip(1);
        while let Some(name) = parts.next() {
            if parts.next().is_some_and(|after| after.starts_with(':')) {
                tests = read(name);
            } else {
                assert!(tests.contains(&format!("fn {name}")), "{name}");
                names += 1;
            }
        }
    }
    assert!(names > 60, "{names}");
}
