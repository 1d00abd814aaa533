//! The laws that every layer keeps, run over each of them in each of its places.
//!
//! A new guard is one line in `guards!` and a function that makes it and can shut it; a new way to
//! put layers together is one line in `stacks!`.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use support::{Answer, Ask, Farm, Probe, Readiness, counted, ms, secs, seen, settle};
use tokio::time::{Instant, sleep, timeout};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, util::MapErrLayer};
use tower_upstream::{
    Attempts, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer, Endpoint,
    Error, FailoverLayer, HealthGateLayer, LeastRequest, Outcome, Quota, RateLimitLayer,
    balance::{BalanceHandle, BalanceLayer, RoundRobin},
    breaker::CircuitState,
    budget::Budget,
    connect::{Connect, EachLayer},
    discover::{self, Fixed},
    error::Kind,
    health::{Check, HealthConfig, Verdict},
    member::Member,
};

/// What every composition is.
trait Stack:
    Service<Ask, Response = String, Error = Error, Future: Send + 'static>
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<S> Stack for S where
    S: Service<Ask, Response = String, Error = Error, Future: Send + 'static>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static
{
}

struct Made<S> {
    farm: Farm,
    service: S,
    /// `None` without a balancer.
    set: Option<BalanceHandle>,
}

impl<S: Stack> Made<S> {
    async fn call(&self) -> Result<String, Error> {
        self.service.clone().oneshot(Ask::new(1)).await
    }

    fn in_flight(&self) -> u32 {
        let Some(set) = &self.set else { return 0 };
        set.members().iter().map(|member| member.in_flight()).sum()
    }

    /// Calls that have ended have left nothing.
    fn assert_nothing_left(&self) {
        assert_eq!((self.farm.running(), self.in_flight()), (0, 0));
        assert_eq!(self.farm.violations(), 0);
    }
}

const KEYS: [&str; 3] = ["a:1", "b:1", "c:1"];

fn farm() -> Farm {
    let farm = Farm::default();
    KEYS.iter().for_each(|key| drop(farm.get(key)));
    farm
}

fn endpoints() -> Fixed {
    discover::fixed(KEYS).unwrap()
}

// The guards, as they are when all is well, and how to shut them.

/// Lets the guard say no from now on: the one above, or that of an endpoint.
type Shut = Box<dyn Fn(Option<&str>)>;

fn breaker() -> (CircuitBreakerLayer, Shut) {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(60_000));
    let handles = layer.clone();
    let shut = move |key: Option<&str>| {
        let handle = match key {
            None => (*handles.handle()).clone(),
            Some(key) => handles.handle_for(key).unwrap(),
        };
        handle.force_open();
    };
    (layer, Box::new(shut))
}

fn limit() -> (RateLimitLayer, Shut) {
    limit_of(Quota::per_minute(1).burst(1_000))
}

/// The next token comes while a balancer still waits for it.
fn soon() -> (RateLimitLayer, Shut) {
    limit_of(Quota::new(1, ms(500)).burst(1_000))
}

fn limit_of(quota: Quota) -> (RateLimitLayer, Shut) {
    let layer = RateLimitLayer::new(quota);
    let handles = layer.clone();
    let shut = move |key: Option<&str>| {
        let handle = match key {
            None => (*handles.handle()).clone(),
            Some(key) => handles.handle_for(key).unwrap(),
        };
        handle.take(handle.remaining()).unwrap();
    };
    (layer, Box::new(shut))
}

fn crowd() -> (ConcurrencyLimitLayer, Shut) {
    let layer = ConcurrencyLimitLayer::new(1_000);
    let (handles, taken) = (layer.clone(), Mutex::new(Vec::new()));
    let shut = move |key: Option<&str>| {
        let handle = match key {
            None => (*handles.handle()).clone(),
            Some(key) => handles.handle_for(key).unwrap(),
        };
        handle.set_max(1);
        taken.lock().unwrap().push(handle.take().unwrap());
    };
    (layer, Box::new(shut))
}

fn several() -> RateLimitLayer {
    RateLimitLayer::new([Quota::per_minute(1).burst(1_000), Quota::per_second(1).burst(2_000)])
}

/// The empty key stands for the upstream.
#[derive(Clone, Default)]
struct Sick(Arc<Mutex<BTreeSet<String>>>);

impl Check for Sick {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        let key = endpoint.map_or(String::new(), |endpoint| endpoint.key().to_owned());
        let well = !self.0.lock().unwrap().contains(&key);
        well.into()
    }
}

fn gate() -> (HealthGateLayer, Shut) {
    let sick = Sick::default();
    let config = HealthConfig::default().with_interval(ms(10)).with_fall(1);
    let layer = HealthGateLayer::with_config(sick.clone(), config);
    let shut = move |key: Option<&str>| {
        sick.0.lock().unwrap().insert(key.unwrap_or("").to_owned());
    };
    (layer, Box::new(shut))
}

fn four_at_once() -> ConcurrencyLimitLayer<tower_upstream::limit::Wait> {
    ConcurrencyLimitLayer::new(4).wait(secs(10))
}

fn failover() -> FailoverLayer {
    FailoverLayer::new(Attempts::up_to(3))
}

// The places.

macro_rules! alone {
    ($layer:expr) => {{
        let farm = farm();
        let service = ServiceBuilder::new().layer($layer).service(farm.get("a:1").service());
        Made { farm, service, set: None }
    }};
}

macro_rules! over_balance {
    ($above:expr, $below:expr) => {{
        let farm = farm();
        let balance = ServiceBuilder::new()
            .layer(BalanceLayer::new(endpoints(), LeastRequest::new()))
            .layer($below)
            .service(farm.clone());
        let set = Some(balance.handle());
        let service = ServiceBuilder::new().layer($above).service(balance);
        Made { farm, service, set }
    }};
}

/// No layer.
fn none() -> tower::layer::util::Identity {
    tower::layer::util::Identity::new()
}

macro_rules! laws {
    ($stack:ident, $make:expr; $($law:ident)*) => {
        mod $stack {
            use super::*;

            fn make() -> Made<impl Stack> {
                $make
            }

            $(
                #[tokio::test(start_paused = true)]
                async fn $law() {
                    super::$law(make()).await;
                }
            )*
        }
    };
}

macro_rules! stacks {
    ($($stack:ident = $make:expr;)*) => {
        $(laws! {
            $stack, $make;
            law_1_called_only_when_ready_and_once
            law_2_pending_leaves_a_waker
            law_2_an_idle_layer_rests
            law_2_a_waiting_call_is_polled_seldom
            law_3_a_drop_gives_back_what_was_reserved
            law_4_a_clone_is_unready_and_readiness_reserves_nothing
            law_5_readiness_fails_only_for_good
            law_9_a_panic_is_the_calls_own
            law_10_debug_says_something
            law_14_what_the_caller_did_blames_no_endpoint
            law_15_a_call_that_is_cut_short_is_no_failure
        })*
    };
}

macro_rules! guards {
    ($($guard:ident;)*) => {$(
        mod $guard {
            use super::*;

            stacks! {
                alone = alone!($guard().0);
                above = over_balance!($guard().0, none());
                below = over_balance!(none(), $guard().0);
                both = over_balance!($guard().0, $guard().0);
                one_layer_in_both_places = { let (layer, _) = $guard(); over_balance!(layer.clone(), layer.clone()) };
                above_failover = over_balance!(ServiceBuilder::new().layer($guard().0).layer(failover()).into_inner(), none());
                between = over_balance!(ServiceBuilder::new().layer(failover()).layer($guard().0).into_inner(), none());
                everywhere = over_balance!(
                    ServiceBuilder::new().layer($guard().0).layer(failover()).layer($guard().0).into_inner(),
                    $guard().0
                );
                optional = over_balance!(
                    tower::util::option_layer(Some($guard().0)),
                    ServiceBuilder::new()
                        .layer(tower::util::option_layer(Some($guard().0)))
                        .layer(EachLayer::new(MapErrLayer::new(Error::from_service::<BoxError>)))
                        .into_inner()
                );
            }

            #[tokio::test(start_paused = true)]
            async fn law_5_above_it_refuses_and_is_ready() {
                let (layer, shut) = $guard();
                let made = over_balance!(layer, none());
                refuses(made, &*shut).await;
                let (layer, shut) = $guard();
                refuses(alone!(layer), &*shut).await;
            }

            #[tokio::test(start_paused = true)]
            async fn law_6_a_refusal_is_nobodys_failure() {
                let (layer, shut) = $guard();
                let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default().with_failures(1));
                let above = ServiceBuilder::new().layer(breaker.clone()).layer(layer).into_inner();
                let made = over_balance!(above, none());
                made.call().await.unwrap();
                shut(None);
                sleep(ms(100)).await;
                for _ in 0..10 {
                    assert!(made.call().await.unwrap_err().is_refused());
                }
                let stats = seen(&breaker.handle());
                assert_eq!((stats.failed, stats.ignored, stats.refused), (0, 10, 0));
                let members = made.set.as_ref().unwrap().members();
                assert!(members.iter().all(|member| member.failures() == 0));
            }

            #[tokio::test(start_paused = true)]
            async fn law_6_a_refusal_from_above_the_balancer_costs_no_budget() {
                let (layer, shut) = $guard();
                let budget = Budget::new(0.0, 0, 10);
                let above = ServiceBuilder::new()
                    .layer(failover().with_budget(budget.clone()))
                    .layer(layer)
                    .into_inner();
                let made = over_balance!(above, none());
                made.call().await.unwrap();
                shut(None);
                sleep(ms(100)).await;
                let calls = made.farm.calls();
                for _ in 0..20 {
                    assert!(made.call().await.unwrap_err().is_refused());
                }
                assert_eq!((made.farm.calls(), budget.available()), (calls, 10));
            }

            #[tokio::test(start_paused = true)]
            async fn below_it_is_passed_over_and_refuses_nobody() {
                let (layer, shut) = $guard();
                let made = over_balance!(failover(), layer.clone());
                for _ in 0..10 {
                    made.call().await.unwrap();
                }
                shut(Some("a:1"));
                sleep(ms(100)).await;
                let calls = made.farm.get("a:1").calls();
                let start = Instant::now();
                for _ in 0..30 {
                    made.call().await.unwrap();
                }
                // Limits set no veto: who draws one first waits a step before others are asked.
                let sets_none = ["limit", "crowd"].contains(&stringify!($guard));
                let most = if sets_none { ms(30 * 11) } else { ms(0) };
                assert!(start.elapsed() <= most, "{:?}", start.elapsed());
                assert_eq!(made.farm.get("a:1").calls(), calls);
                made.assert_nothing_left();
            }

            #[tokio::test(start_paused = true)]
            async fn law_3_readiness_that_is_dropped_below_gives_back() {
                let (layer, _) = $guard();
                let member = Member::new("a:1".parse::<Endpoint>().unwrap());
                let farm = farm();
                let service = layer.layer(farm.clone()).connect(&member);
                for _ in 0..2_000 {
                    let mut one = service.clone();
                    assert_ready_ok!(task::spawn(()).enter(|cx, _| Service::<Ask>::poll_ready(&mut one, cx)));
                }
                service.clone().oneshot(Ask::new(1)).await.unwrap();
                assert!(member.is_eligible());
                // Held all at once, then dropped without a call.
                let mut held: Vec<_> = (0..10).map(|_| service.clone()).collect();
                for one in &mut held {
                    one.ready().await.unwrap();
                }
                drop(held);
                service.oneshot(Ask::new(1)).await.unwrap();
                assert_eq!(farm.violations(), 0);
            }

            #[tokio::test(start_paused = true)]
            async fn law_4_clones_of_a_layer_share_its_state_and_a_fresh_one_does_not() {
                let (layer, shut) = $guard();
                let farm = farm();
                let [one, other, fresh] = [layer.clone(), layer.clone(), layer.fresh()]
                    .map(|layer| layer.layer(farm.get("a:1").service()));
                for service in [&one, &other, &fresh] {
                    service.clone().oneshot(Ask::new(1)).await.unwrap();
                }
                shut(None);
                sleep(ms(100)).await;
                for service in [&one, &other, &one.clone()] {
                    assert!(service.clone().oneshot(Ask::new(1)).await.unwrap_err().is_refused());
                }
                // The gate's check is the same, and so says the same; its state is another.
                if stringify!($guard) != "gate" {
                    fresh.oneshot(Ask::new(1)).await.unwrap();
                }
            }

            #[test]
            fn law_10_all_of_it_is_send_sync_and_debug() {
                let (layer, _) = $guard();
                shareable(&layer);
                shareable(&layer.handle());
                shareable(&layer.layer(farm()));
                let service = layer.layer(farm().get("a:1").service());
                shareable(&service);
                assert!(layer.handle_for("nobody").is_none());
            }
        }
    )*};
}

guards! {
    breaker;
    limit;
    crowd;
    gate;
}

stacks! {
    balance = over_balance!(none(), none());
    failover_over_balance = over_balance!(failover(), none());
    failover_with_limits = over_balance!(FailoverLayer::new(Attempts::up_to(3).with_timeout(secs(5)).with_overall(secs(8))), none());
    all_guards_below = over_balance!(none(), ServiceBuilder::new().layer(gate().0).layer(breaker().0).layer(limit().0).into_inner());
    all_guards_above = over_balance!(ServiceBuilder::new().layer(limit().0).layer(gate().0).layer(failover()).layer(breaker().0).into_inner(), none());
    four_at_once_above = over_balance!(four_at_once(), none());
    four_at_once_below = over_balance!(none(), four_at_once());
    two_at_once_for_each = over_balance!(none(), ConcurrencyLimitLayer::new(2));
    a_limit_that_waits = over_balance!(limit().0.wait(secs(1)), none());
    a_limit_that_waits_below = over_balance!(none(), limit().0.wait(secs(1)));
    a_limit_with_costs_below = over_balance!(none(), limit().0.with_cost(|_: &Ask| 2));
    a_limit_by_key = over_balance!(limit().0.by_key(|_: &Ask| "all").with_max_keys(100), none());
    a_limit_by_key_below = over_balance!(none(), limit().0.by_key(|_: &Ask| "all").with_max_keys(100));
    several_quotas = over_balance!(several(), several());
}

fn shareable<T: Debug + Send + Sync + 'static>(it: &T) {
    assert!(format!("{it:?}").len() > 3);
}

async fn refuses<S: Stack>(made: Made<S>, shut: &dyn Fn(Option<&str>)) {
    made.call().await.unwrap();
    shut(None);
    sleep(ms(100)).await;
    let calls = made.farm.calls();
    let start = Instant::now();
    for _ in 0..10 {
        let mut service = made.service.clone();
        assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));
        let error = service.call(Ask::new(1)).await.unwrap_err();
        assert!(error.is_refused() && error.is_unsent(), "{error:?}");
        let kinds = [Kind::CircuitOpen, Kind::RateLimited, Kind::Overloaded, Kind::Unhealthy];
        assert!(kinds.contains(&error.kind()) && error.endpoint().is_none());
    }
    assert_eq!((made.farm.calls(), start.elapsed()), (calls, ms(0)));
    made.assert_nothing_left();
}

// The laws.

async fn law_1_called_only_when_ready_and_once<S: Stack>(made: Made<S>) {
    for _ in 0..20 {
        made.call().await.unwrap();
    }
    // One value, again and again; its clones in between.
    let mut service = made.service.clone();
    for _ in 0..10 {
        let mut clone = service.ready().await.unwrap().clone();
        clone.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
        service.call(Ask::new(1)).await.unwrap();
    }
    // Ready twice, called once.
    service.ready().await.unwrap();
    service.ready().await.unwrap();
    service.call(Ask::new(1)).await.unwrap();
    // Many at once, that end in any order, while readiness comes and goes.
    made.farm.answers(Answer::GoodAfter(ms(3)));
    let calls = (0..50).map(|n| {
        let service = made.service.clone();
        let farm = made.farm.clone();
        async move {
            if n % 7 == 0 {
                farm.is(Readiness::Pending);
                sleep(ms(1)).await;
                farm.is(Readiness::Ready);
            }
            service.oneshot(Ask::new(n)).await
        }
    });
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(made.farm.calls(), 20 + 20 + 1 + 50);
    made.assert_nothing_left();
}

async fn law_2_pending_leaves_a_waker<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    made.farm.is(Readiness::Pending);
    let calls: Vec<_> =
        (0..5).map(|n| tokio::spawn(made.service.clone().oneshot(Ask::new(n)))).collect();
    sleep(ms(100)).await;
    made.farm.is(Readiness::Ready);
    let start = Instant::now();
    for call in calls {
        timeout(secs(1), call).await.expect("nobody woke it").unwrap().unwrap();
    }
    assert!(start.elapsed() <= ms(2), "{:?}", start.elapsed());
    // The answer wakes, too.
    made.farm.answers(Answer::GoodAfter(ms(100)));
    timeout(ms(200), made.call()).await.expect("nobody woke it").unwrap();
    made.assert_nothing_left();
}

async fn law_2_an_idle_layer_rests<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    let mut ready = made.service.clone();
    ready.ready().await.unwrap();
    let idle = made.service.clone();
    settle().await;
    let (polls, connects) = (made.farm.polls(), made.farm.connects());
    sleep(secs(60)).await;
    assert_eq!((made.farm.polls(), made.farm.connects()), (polls, connects));
    idle.oneshot(Ask::new(1)).await.unwrap();
    ready.call(Ask::new(1)).await.unwrap();
}

async fn law_2_a_waiting_call_is_polled_seldom<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    // For an answer.
    made.farm.answers(Answer::GoodAfter(secs(4)));
    let (call, polls) = counted(made.service.clone().oneshot(Ask::new(1)));
    call.await.unwrap();
    assert!(polls.load(SeqCst) <= 4, "{polls:?} for an answer");
    // For readiness.
    made.farm.answers(Answer::Good);
    made.farm.is(Readiness::Pending);
    let (call, polls) = counted(made.service.clone().oneshot(Ask::new(1)));
    let _ = timeout(secs(60), call).await;
    assert!(polls.load(SeqCst) <= 20, "{polls:?} for readiness");
    made.assert_nothing_left();
}

async fn law_3_a_drop_gives_back_what_was_reserved<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    settle().await;
    let services = made.farm.services();
    for round in 0..30 {
        // After readiness.
        let mut service = made.service.clone();
        service.ready().await.unwrap();
        drop(service);
        made.assert_nothing_left();
        // Before the first poll.
        let mut service = made.service.clone();
        drop(service.ready().await.unwrap().call(Ask::new(round)));
        drop(service);
        made.assert_nothing_left();
        // Halfway to the answer.
        made.farm.answers(Answer::Never);
        let mut call = task::spawn(made.service.clone().oneshot(Ask::new(round)));
        assert!(call.poll().is_pending());
        assert_eq!(made.farm.running(), 1);
        if made.set.is_some() {
            assert_eq!(made.in_flight(), 1);
        }
        drop(call);
        made.assert_nothing_left();
        // Halfway to readiness, with several waited for.
        made.farm.is(Readiness::Pending);
        let waits = tokio::spawn(made.service.clone().oneshot(Ask::new(round)));
        sleep(ms(25)).await;
        waits.abort();
        let _ = waits.await;
        made.assert_nothing_left();
        made.farm.is(Readiness::Ready);
        made.farm.answers(Answer::Good);
    }
    settle().await;
    assert_eq!(made.farm.services(), services, "a service is kept");
    made.call().await.unwrap();
}

async fn law_4_a_clone_is_unready_and_readiness_reserves_nothing<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    // As many as would empty any limit, all ready and none called.
    let mut held: Vec<_> = (0..1_200).map(|_| made.service.clone()).collect();
    for service in &mut held {
        assert_ready_ok!(task::spawn(()).enter(|cx, _| service.poll_ready(cx)));
    }
    assert_eq!(made.in_flight(), 0);
    made.call().await.unwrap();
    // A clone of a ready one is not: it asks for itself. The probe panics otherwise.
    let mut clone = held[0].clone();
    clone.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    held[0].call(Ask::new(1)).await.unwrap();
    drop(held);
    made.assert_nothing_left();
}

async fn law_5_readiness_fails_only_for_good<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    let mut service = made.service.clone();
    for answer in [Answer::Fails, Answer::Good] {
        made.farm.answers(answer);
        for _ in 0..20 {
            service.ready().await.unwrap();
            let _ = service.call(Ask::new(1)).await;
        }
    }
    made.farm.is(Readiness::Pending);
    let (mut waits, mut stuck) = (task::spawn(()), made.service.clone());
    for _ in 0..5 {
        let ready = waits.enter(|cx, _| stuck.poll_ready(cx));
        assert!(!matches!(ready, Poll::Ready(Err(_))));
        sleep(secs(1)).await;
    }
    if made.set.is_some() {
        made.farm.is(Readiness::Dead);
        for _ in 0..10 {
            let mut service = made.service.clone();
            timeout(secs(3), service.ready()).await.unwrap().unwrap();
            let error = service.call(Ask::new(1)).await.unwrap_err();
            assert!(error.is_unsent(), "{error:?}");
            sleep(ms(300)).await;
        }
        made.farm.is(Readiness::Ready);
        sleep(secs(20)).await;
        made.call().await.unwrap();
    }
    assert_eq!(made.farm.violations(), 0);
}

async fn law_9_a_panic_is_the_calls_own<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    made.farm.answers(Answer::Panics);
    for _ in 0..10 {
        let unlucky = tokio::spawn(made.service.clone().oneshot(Ask::new(1)));
        assert!(unlucky.await.unwrap_err().is_panic());
    }
    made.farm.answers(Answer::Good);
    made.assert_nothing_left();
    for _ in 0..10 {
        made.call().await.unwrap();
    }
}

async fn law_10_debug_says_something<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    let shown = format!("{:?}", made.service);
    assert!(shown.len() > 10, "{shown}");
    if made.set.is_some() {
        assert!(shown.contains("a:1"), "{shown}");
    }
}

async fn law_14_what_the_caller_did_blames_no_endpoint<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    let calls = made.farm.calls();
    made.farm.answers(Answer::CallersFault);
    for _ in 0..20 {
        let error = made.call().await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest, "{error:?}");
    }
    // Each was sent once, though it is idempotent: it would be the same anywhere.
    assert_eq!(made.farm.calls(), calls + 20);
    let members = made.set.as_ref().map(|set| set.members()).unwrap_or_default();
    assert!(members.iter().all(|member| (member.failures(), member.latency()) == (0, None)));
    // Another caller is served.
    made.farm.answers(Answer::Good);
    for _ in 0..10 {
        made.call().await.unwrap();
    }
    made.assert_nothing_left();
}

async fn law_15_a_call_that_is_cut_short_is_no_failure<S: Stack>(made: Made<S>) {
    made.call().await.unwrap();
    made.farm.answers(Answer::Never);
    for _ in 0..10 {
        // By its deadline, where a layer looks at that, and else by the caller who leaves.
        let ask = Ask::new(1).until(Instant::now() + ms(5));
        match timeout(ms(10), made.service.clone().oneshot(ask)).await {
            Ok(ended) => assert!(ended.unwrap_err().is_timeout()),
            Err(_left) => {}
        }
    }
    let members = made.set.as_ref().map(|set| set.members()).unwrap_or_default();
    for member in members.iter() {
        assert_eq!(member.failures(), 0, "{member:?}");
        assert!(member.latency().is_none_or(|latency| latency <= ms(12)), "{member:?}");
    }
    made.farm.answers(Answer::Good);
    made.call().await.unwrap();
    made.assert_nothing_left();
}

/// Waits in every layer that can, in each of its places: `shut` lets the next call wait.
async fn law_13_waits<S: Stack>(made: Made<S>, shut: impl AsyncFnOnce()) {
    for _ in 0..10 {
        made.call().await.unwrap();
    }
    shut().await;
    let calls = made.farm.calls();
    let mut kept = made.service.clone();
    let call = kept.ready().await.unwrap().call(Ask::new(1));
    // Neither before it is polled for the first time, nor after.
    assert_eq!(made.farm.readied(), 0);
    let waits = tokio::spawn(call);
    sleep(ms(50)).await;
    assert!(!waits.is_finished() && made.farm.calls() == calls);
    assert_eq!(made.farm.readied(), 0, "who waits holds what others may need");
    waits.abort();
    let _ = waits.await;
    drop(kept);
    made.assert_nothing_left();
}

macro_rules! waits {
    ($($stack:ident = $guard:ident, |$layer:ident| $make:expr, $shut:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $stack() {
            let ($layer, shut) = $guard();
            let shut = async || $shut.iter().for_each(|key: &Option<&str>| shut(*key));
            law_13_waits($make, shut).await;
        }
    )*};
}

mod law_13_a_call_that_waits_has_given_back_its_readiness {
    use super::*;

    const ABOVE: [Option<&str>; 1] = [None];
    const BELOW: [Option<&str>; 3] = [Some(KEYS[0]), Some(KEYS[1]), Some(KEYS[2])];
    const LONG: Duration = secs(100);

    waits! {
        for_a_token = limit, |layer| alone!(layer.wait(LONG)), ABOVE;
        for_a_token_above = limit, |layer| over_balance!(layer.wait(LONG), none()), ABOVE;
        for_a_token_above_failover = limit, |layer| over_balance!(ServiceBuilder::new().layer(layer.wait(LONG)).layer(failover()).into_inner(), none()), ABOVE;
        for_a_token_between = limit, |layer| over_balance!(ServiceBuilder::new().layer(failover()).layer(layer.wait(LONG)).into_inner(), none()), ABOVE;
        for_a_token_below = limit, |layer| over_balance!(none(), layer.wait(LONG)), BELOW;
        for_a_token_below_in_readiness = soon, |layer| over_balance!(none(), layer), BELOW;
        for_a_token_below_another = soon, |layer| over_balance!(none(), ServiceBuilder::new().layer(crowd().0).layer(layer).into_inner()), BELOW;
        for_a_place = crowd, |layer| alone!(layer.wait(LONG)), ABOVE;
        for_a_place_above = crowd, |layer| over_balance!(layer.wait(LONG), none()), ABOVE;
        for_a_place_above_failover = crowd, |layer| over_balance!(ServiceBuilder::new().layer(layer.wait(LONG)).layer(failover()).into_inner(), none()), ABOVE;
        for_a_place_between = crowd, |layer| over_balance!(ServiceBuilder::new().layer(failover()).layer(layer.wait(LONG)).into_inner(), none()), ABOVE;
        for_a_place_below = crowd, |layer| over_balance!(none(), layer.wait(LONG)), BELOW;
        for_a_place_below_in_readiness = crowd, |layer| over_balance!(none(), layer), BELOW;
        for_a_place_below_another = crowd, |layer| over_balance!(none(), ServiceBuilder::new().layer(limit().0).layer(layer).into_inner()), BELOW;
    }

    /// An attempt failed, and the next one is a while off.
    #[tokio::test(start_paused = true)]
    async fn for_the_next_attempt() {
        let attempts = Attempts::up_to(5).with_backoff(secs(3_600), secs(3_600));
        let made = over_balance!(FailoverLayer::new(attempts), none());
        made.call().await.unwrap();
        made.farm.answers(Answer::Fails);
        let mut kept = made.service.clone();
        let waits = tokio::spawn(kept.ready().await.unwrap().call(Ask::new(1)));
        settle().await;
        assert!(!waits.is_finished());
        assert_eq!(made.farm.readied(), 0);
        waits.abort();
    }
}

// What only one of them can break.

#[tokio::test(start_paused = true)]
async fn law_14_what_one_caller_does_opens_the_circuit_of_no_other() {
    for below in [false, true] {
        let breaker = || CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
        let (above, each) = (breaker(), breaker());
        let made = over_balance!(
            ServiceBuilder::new().layer(above.clone()).layer(failover()).into_inner(),
            each.clone()
        );
        made.call().await.unwrap();
        made.farm.answers(Answer::CallersFault);
        for _ in 0..30 {
            made.call().await.unwrap_err();
        }
        let circuit =
            if below { each.handle_for("a:1").unwrap() } else { (*above.handle()).clone() };
        let stats = seen(&circuit);
        assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 0));
        made.farm.answers(Answer::Good);
        made.call().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn law_15_an_attempt_that_times_out_is_a_failure_for_each_guard_that_sees_it() {
    let breaker = || CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
    let (between, each) = (breaker(), breaker());
    let made = over_balance!(
        ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(1).with_timeout(ms(5))))
            .layer(between.clone())
            .into_inner(),
        each.clone()
    );
    made.call().await.unwrap();
    made.farm.answers(Answer::Never);
    for _ in 0..3 {
        assert!(made.call().await.unwrap_err().is_timeout());
    }
    let failures = |key: &str| each.handle_for(key).map_or(0, |circuit| seen(&circuit).failed);
    assert_eq!(KEYS.map(failures).iter().sum::<u64>(), 3);
    let members = made.set.as_ref().unwrap().members();
    assert_eq!(members.iter().map(|member| member.failures()).sum::<u64>(), 3);
    assert_eq!(between.handle().state(), CircuitState::Open);
    made.assert_nothing_left();
}

/// A half-open place, in both places of the guard.
#[tokio::test(start_paused = true)]
async fn law_7_a_cancelled_probe_gives_its_place_back_below_a_balancer() {
    let config = CircuitBreakerConfig::consecutive(1).with_probes(1).with_successes(1);
    let layer = CircuitBreakerLayer::new(config);
    let farm = Farm::default();
    let a = farm.get("a:1");
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)))
        .layer(layer.clone())
        .service(farm.clone());
    a.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    sleep(secs(6)).await;
    for _ in 0..10 {
        a.answers(Answer::Never);
        let probe = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        settle().await;
        assert_eq!(a.running(), 1);
        probe.abort();
        let _ = probe.await;
        // While one waits for readiness it has a place, too.
        a.is(Readiness::Pending);
        let probe = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        settle().await;
        probe.abort();
        let _ = probe.await;
        a.is(Readiness::Ready);
    }
    a.answers(Answer::Good);
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(seen(&layer.handle_for("a:1").unwrap()).failed, 1);
}

#[tokio::test(start_paused = true)]
async fn law_8_a_result_from_before_a_trip_does_not_close_it_below_a_balancer() {
    let config = CircuitBreakerConfig::consecutive(1).with_successes(1);
    let layer = CircuitBreakerLayer::new(config);
    let farm = Farm::default();
    let a = farm.get("a:1");
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)))
        .layer(layer.clone())
        .service(farm.clone());
    a.answers(Answer::GoodAfter(secs(6)));
    let late = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    settle().await;
    a.answers(Answer::Fails);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    late.await.unwrap().unwrap();
    let stats = seen(&layer.handle_for("a:1").unwrap());
    assert_eq!(stats.state, CircuitState::HalfOpen);
    assert_eq!((stats.succeeded, stats.failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn law_9_a_rule_that_panics_leaves_the_circuit_whole() {
    let rule = |result: Result<&String, &BoxError>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => panic!("the rule of a user panics"),
    };
    let config = CircuitBreakerConfig::default().with_failures(1).with_probes(1);
    let layer = CircuitBreakerLayer::new(config).with_classify(rule);
    let farm = farm();
    let service = layer.layer(farm.get("a:1").service());
    let fail = |answer| {
        farm.answers(answer);
        tokio::spawn(service.clone().oneshot(Ask::new(1)))
    };
    for _ in 0..5 {
        assert!(fail(Answer::Fails).await.unwrap_err().is_panic());
    }
    fail(Answer::Good).await.unwrap().unwrap();
    // Also of a probe: its place comes back.
    layer.handle().force_open();
    layer.handle().reset();
    let stats = seen(&layer.handle());
    assert_eq!((stats.ignored, stats.succeeded, stats.failed), (5, 1, 0));
}

#[test]
fn law_10_what_is_shared_can_be() {
    shareable(&BalanceLayer::new(endpoints(), LeastRequest::new()));
    shareable(&failover());
    shareable(&Budget::default());
    shareable(&Member::new("a:1".parse::<Endpoint>().unwrap()));
    shareable(&over_balance!(none(), none()).set.unwrap());
    shareable(&"http://user:hunter2@a:1".parse::<Endpoint>().unwrap_err());
    // `Debug` of an error that quotes an address tells no password.
    let error = "http://user:hunter2@a:1".parse::<Endpoint>().unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    fn future<F: Future + Send>(_: &F) {}
    let made = over_balance!(failover(), none());
    let mut service = made.service.clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Service::<Ask>::poll_ready(&mut service, &mut cx).is_ready());
    let call: tower_upstream::failover::ResponseFuture<_, _, _, Ask> = service.call(Ask::new(1));
    future(&call);
    shareable_future(&call);
}

fn shareable_future<F: Future + Debug>(future: &F) {
    assert!(format!("{future:?}").contains("ResponseFuture"));
}

/// Only for its type.
#[allow(dead_code)]
fn probes_are_shared(probe: &Probe) {
    shareable(probe);
}

#[cfg(feature = "http")]
mod law_16 {
    use bytes::Bytes;
    use futures::{SinkExt, channel::mpsc};
    use http::{Request, Response, StatusCode};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tower::service_fn;
    use tower_upstream::{
        breaker::CircuitHandle,
        connect_fn,
        http::{ConnectionSlot, HttpClassify, TrackLayer},
        limit::PermitsHandle,
    };

    use super::*;

    /// What counts a call, in both places: the member, limits and circuits.
    struct Counting {
        set: BalanceHandle,
        limits: [PermitsHandle; 2],
        circuits: [CircuitHandle; 2],
    }

    impl Counting {
        /// Calls that are counted as running, and as over.
        fn assert(&self, running: u32, over: u64) {
            assert_eq!(self.set.members()[0].in_flight(), running);
            assert_eq!(self.limits.each_ref().map(|limit| limit.in_flight()), [running; 2]);
            assert_eq!(self.circuits.each_ref().map(|circuit| seen(circuit).admitted), [over; 2]);
        }
    }

    /// A call whose answer has this status and a body that the test writes: whether that ends well,
    /// breaks, or is dropped, all that counts the call counts it until then.
    async fn counts_until<F, E>(status: StatusCode, end: F)
    where
        F: FnOnce(mpsc::Sender<Result<Frame<Bytes>, BoxError>>, Opened) -> E,
        E: Future<Output = ()>,
    {
        let limits = [4, 4].map(|max| ConcurrencyLimitLayer::new(max).until_body_end());
        let circuits =
            [(); 2].map(|()| CircuitBreakerLayer::default().until_body_end(HttpClassify));
        let (frames, body) = mpsc::channel(4);
        let body = Arc::new(Mutex::new(Some(body)));
        let connector = connect_fn(move |_: &Endpoint| {
            let body = body.clone();
            service_fn(move |_: Request<()>| {
                let mut response =
                    Response::new(StreamBody::new(body.lock().unwrap().take().unwrap()));
                *response.status_mut() = status;
                std::future::ready(Ok::<_, BoxError>(response))
            })
        });
        let set = ServiceBuilder::new()
            .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
            .layer(TrackLayer::new())
            .layer(circuits[1].clone())
            .layer(limits[1].clone())
            .service(connector);
        let handle = set.handle();
        let mut service =
            ServiceBuilder::new().layer(limits[0].clone()).layer(circuits[0].clone()).service(set);
        let response = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        let counting = Counting {
            set: handle,
            limits: [(*limits[0].handle()).clone(), limits[1].handle_for("a:1").unwrap()],
            circuits: [
                CircuitHandle::clone(&circuits[0].handle()),
                circuits[1].handle_for("a:1").unwrap(),
            ],
        };
        counting.assert(1, 0);
        sleep(secs(60)).await;
        counting.assert(1, 0);
        let slot = response.extensions().get::<ConnectionSlot>().cloned();
        end(frames, Opened { body: response.into_body().map_err(Into::into).boxed_unsync(), slot })
            .await;
        counting.assert(0, 1);
        service.ready().await.unwrap();
    }

    struct Opened {
        body: http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>,
        slot: Option<ConnectionSlot>,
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_a_call_counts_it_until_its_body_ends() {
        counts_until(StatusCode::OK, |mut frames, mut opened| async move {
            frames.send(Ok(Frame::data(Bytes::from_static(b"one")))).await.unwrap();
            opened.body.frame().await.unwrap().unwrap();
            drop(frames);
            assert!(opened.body.frame().await.is_none());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_a_call_counts_it_until_its_body_breaks() {
        counts_until(StatusCode::OK, |mut frames, mut opened| async move {
            frames.send(Err("reset".into())).await.unwrap();
            assert!(opened.body.frame().await.unwrap().is_err());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_a_call_counts_it_until_its_body_is_dropped() {
        counts_until(StatusCode::OK, |_frames, opened| async move { drop(opened.body) }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_counts_a_call_counts_it_until_its_upgraded_connection_is_let_go() {
        counts_until(StatusCode::SWITCHING_PROTOCOLS, |_frames, opened| async move {
            drop(opened.body);
            drop(opened.slot.expect("a foreign connector leaves the slot to its caller"));
        })
        .await;
    }
}

// The stack that a config makes, with every section on, and by its name.

#[cfg(feature = "config")]
mod of_config {
    use tower::layer::util::Stack as Both;
    use tower_upstream::{
        Call, Reply,
        config::{Config, PluginConfig, Sections},
        plugins::{AnyConnector, Layers, Plugins},
        replay::Replay,
    };

    use super::*;

    fn sections() -> Sections {
        let mut sections = Sections::default();
        sections.rate_limit.enabled = true;
        sections.rate_limit.requests_per_second = 1e6;
        sections.rate_limit.burst = 1_000_000;
        sections.concurrency.enabled = true;
        sections.concurrency.wait = secs(1);
        sections.concurrency.per_endpoint = Some(1_000);
        sections.circuit_breaker.config.failures = 60_000;
        sections.circuit_breaker.config.failure_ratio = None;
        sections.failover.timeout = Some(secs(60));
        sections.timeout = secs(3_600);
        sections
    }

    fn to_call(ask: Ask) -> Call<u32> {
        let mut call = Call::new(ask.number);
        if ask.idempotent {
            call = call.idempotent();
        }
        if let Some(deadline) = ask.deadline {
            call = call.with_deadline(deadline);
        }
        call.begin_attempt(ask.attempt.max(1));
        call
    }

    fn to_ask(call: Call<u32>) -> Ask {
        Ask {
            number: *call.body(),
            idempotent: call.is_idempotent(),
            deadline: call.deadline(),
            attempt: call.attempt(),
        }
    }

    type Map<A, B> = fn(A) -> B;
    type Asked = tower::util::MapRequestLayer<Map<Ask, Call<u32>>>;
    type Told = tower::util::MapResponseLayer<Map<Reply<String>, String>>;
    type Called = tower::util::MapRequestLayer<Map<Call<u32>, Ask>>;
    type Replied = tower::util::MapResponseLayer<Map<String, Reply<String>>>;

    /// Above the stack.
    fn asked() -> Both<Told, Asked> {
        Both::new(
            tower::util::MapResponseLayer::new(Reply::into_body),
            tower::util::MapRequestLayer::new(to_call),
        )
    }

    /// Below the stack.
    fn called() -> EachLayer<Both<Replied, Called>> {
        EachLayer::new(Both::new(
            tower::util::MapResponseLayer::new(Reply::new),
            tower::util::MapRequestLayer::new(to_ask),
        ))
    }

    fn stack() -> Made<impl Stack> {
        let farm = farm();
        let layers = Layers::<u32, String>::new(&sections(), endpoints()).unwrap();
        let set = Some(layers.balance.handle());
        let stack = layers.layer(called().layer(farm.clone()));
        Made { farm, service: asked().layer(stack), set }
    }

    fn by_name() -> Made<impl Stack> {
        let (farm, plugins) = (farm(), Plugins::<u32, String>::new());
        let connector = farm.clone();
        plugins
            .register_factory("farm", move |_: &PluginConfig| {
                Ok(AnyConnector::new(called().layer(connector.clone())))
            })
            .unwrap();
        let plugin = PluginConfig::new("tax", "farm").with_endpoints(KEYS);
        plugins.apply(Config::default().with_defaults(sections()).with_plugin(plugin)).unwrap();
        let set = Some(plugins.layers("tax").unwrap().balance.handle());
        let service = asked().layer(plugins.get("tax").unwrap());
        Made { farm, service, set }
    }

    stacks! {
        every_section = stack();
        a_plugin_by_its_name = by_name();
    }
}
