//! What a balancer promises, with services that get stuck, die and fail.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

use futures::{Stream, StreamExt, future::join_all, stream};
use support::{Answer, Ask, Farm, Probe, Readiness, counted, ms, secs, settle};
use tokio::time::{Instant, sleep, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    balance::{
        Balance, BalanceConfig, BalanceLayer, Candidates, LeastRequest, Pick, Random, RoundRobin,
        Strategy,
    },
    discover::{self, Discover, EndpointSet, Memory},
    endpoint::Status,
    error::Kind,
    member::{Member, Reason},
};

fn over<P: Strategy + Clone>(
    farm: &Farm,
    endpoints: impl Discover,
    strategy: P,
) -> Balance<Probe, P> {
    ServiceBuilder::new().layer(BalanceLayer::new(endpoints, strategy)).service(farm.clone())
}

/// Endpoints `a:1` to `d:1`, and the rest of the alphabet.
fn farm(count: u8) -> (Farm, Memory) {
    let farm = Farm::default();
    let keys: Vec<String> = (0..count).map(|n| format!("{}:1", char::from(b'a' + n))).collect();
    keys.iter().for_each(|key| drop(farm.get(key)));
    (farm, Memory::new(&keys).unwrap())
}

async fn call<S>(service: &S) -> Result<String, Error>
where
    S: Service<Ask, Response = String, Error = Error> + Clone,
{
    // So that what is never woken fails rather than hangs.
    let call = service.clone().oneshot(Ask::new(1));
    match tokio::runtime::Handle::try_current() {
        Ok(_) => timeout(secs(3_600), call).await.expect("a call hangs"),
        Err(_) => call.await,
    }
}

async fn counts<S>(service: &S, calls: usize) -> BTreeMap<String, usize>
where
    S: Service<Ask, Response = String, Error = Error> + Clone,
{
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(call(service).await.unwrap()).or_default() += 1;
    }
    counts
}

fn member<P: Strategy>(service: &Balance<Probe, P>, key: &str) -> Arc<Member> {
    let members = service.handle().members();
    members.iter().find(|m| m.key() == key).unwrap().clone()
}

// Who gets the calls.

#[tokio::test(start_paused = true)]
async fn round_robin_takes_turns() {
    let (farm, endpoints) = farm(4);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    let counts = counts(&service, 400).await;
    assert!(counts.values().all(|&n| n == 100) && counts.len() == 4, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn random_and_two_choices_spread_evenly_where_there_is_no_load() {
    let (farm, endpoints) = farm(4);
    let random = over(&farm, endpoints.clone(), Random::new());
    let least = over(&farm, endpoints, LeastRequest::new());
    for counts in [counts(&random, 4_000).await, counts(&least, 4_000).await] {
        assert!(counts.values().all(|n| (800..1_200).contains(n)), "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_choices_even_out_the_load() {
    let (farm, endpoints) = farm(4);
    let service = over(&farm, endpoints, LeastRequest::new());
    call(&service).await.unwrap();
    farm.answers(Answer::Never);
    let mut calls: Vec<_> = (0..400)
        .map(|_| {
            let mut call = task::spawn(service.clone().oneshot(Ask::new(1)));
            assert_pending!(call.poll());
            call
        })
        .collect();
    for inner in farm.all() {
        assert!((95..=105).contains(&inner.running()), "{}", inner.running());
        let member = member(&service, &inner.key);
        assert_eq!(member.in_flight() as usize, inner.running());
    }
    calls.clear();
    assert!(service.handle().members().iter().all(|m| m.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_fewer_calls() {
    let (farm, endpoints) = farm(4);
    let service = over(&farm, endpoints, LeastRequest::new());
    farm.answers(Answer::GoodAfter(ms(10)));
    farm.get("a:1").answers(Answer::GoodAfter(ms(1_000)));
    let workers = (0..16).map(|_| async {
        for _ in 0..100 {
            call(&service).await.unwrap();
        }
    });
    join_all(workers).await;
    let slow = farm.get("a:1").calls();
    assert!(slow < 200, "{slow} of 1600");
}

// Nobody is held up.

#[tokio::test(start_paused = true)]
async fn three_of_four_stuck_hold_no_call_up() {
    for stuck in [["a:1", "b:1", "c:1"], ["b:1", "c:1", "d:1"]] {
        let (farm, endpoints) = farm(4);
        let service = over(&farm, endpoints, LeastRequest::new());
        stuck.iter().for_each(|key| farm.get(key).is(Readiness::Pending));
        let start = Instant::now();
        let calls = join_all((0..50).map(|_| call(&service))).await;
        assert!(calls.iter().all(Result::is_ok));
        assert!(start.elapsed() <= ms(30), "{:?}", start.elapsed());
        assert!(service.handle().members().iter().all(|m| m.in_flight() == 0));
        assert_eq!(farm.violations(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn oneshot_with_the_only_clone_completes_elsewhere() {
    let (farm, endpoints) = farm(2);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    farm.get("a:1").is(Readiness::Pending);
    let answer = timeout(ms(100), service.oneshot(Ask::new(1))).await.unwrap();
    assert_eq!(answer.unwrap(), "b:1");
    // A future that waits keeps the set at work: here the new endpoint is its way out.
    let (farm, endpoints) = self::farm(1);
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    farm.get("a:1").is(Readiness::Pending);
    let waits = tokio::spawn(service.oneshot(Ask::new(1)));
    sleep(ms(100)).await;
    endpoints.insert("b:1").unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "b:1");
}

#[tokio::test(start_paused = true)]
async fn widening_is_bounded_and_the_wait_too() {
    let (farm, endpoints) = farm(20);
    let service = over(&farm, endpoints, LeastRequest::new());
    call(&service).await.unwrap();
    farm.is(Readiness::Pending);
    let (start, before) = (Instant::now(), farm.polls());
    let (waits, polls) = counted(service.clone().oneshot(Ask::new(1)));
    let error = waits.await.unwrap_err();
    assert!((secs(1)..=secs(1) + ms(2)).contains(&start.elapsed()));
    assert_eq!(error.kind(), Kind::AllEndpointsDown);
    assert!(error.is_unsent(), "{error:?}");
    assert!(error.to_string().contains("20 endpoints"), "{error}");
    assert!(polls.load(SeqCst) <= 12, "{polls:?}");
    // Each contender is polled when the task is, and once more when there are more.
    let inner_polls = farm.polls() - before;
    assert!(inner_polls <= 12 * 20, "{inner_polls}");
    assert!(service.handle().members().iter().all(|m| m.in_flight() == 0));
    assert_eq!(farm.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_ready_first_is_called_and_only_that_value() {
    let (farm, endpoints) = farm(3);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    farm.is(Readiness::Pending);
    let waits = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(ms(50)).await;
    farm.get("c:1").is(Readiness::Ready);
    assert_eq!(waits.await.unwrap().unwrap(), "c:1");
    assert_eq!((farm.calls(), farm.violations()), (1, 0));
}

// Nobody to choose.

#[tokio::test(start_paused = true)]
async fn an_empty_set_is_waited_for_and_then_fails_at_once() {
    let (farm, endpoints) = farm(0);
    let mut service = over(&farm, endpoints.clone(), LeastRequest::new());
    let start = Instant::now();
    let ready = timeout(secs(60), service.ready()).await;
    ready.expect("nobody woke it").unwrap();
    assert!((secs(1)..=secs(1) + ms(2)).contains(&start.elapsed()));
    let at = Instant::now();
    let error = service.call(Ask::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::NoEndpoints, true));
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::NoEndpoints);
    assert_eq!(at.elapsed(), ms(0));
    endpoints.insert("a:1").unwrap();
    settle().await;
    assert_eq!(call(&service).await.unwrap(), "a:1");
    endpoints.remove("a:1");
    settle().await;
    let waits = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(ms(500)).await;
    endpoints.insert("b:1").unwrap();
    assert_eq!(waits.await.unwrap().unwrap(), "b:1");
}

/// Yields what it is told, and says how often it was asked.
#[derive(Clone, Default)]
struct Hand {
    make: Arc<Mutex<Vec<stream::BoxStream<'static, EndpointSet>>>>,
    polls: Arc<AtomicUsize>,
}

struct HandStream(stream::BoxStream<'static, EndpointSet>, Arc<AtomicUsize>);

impl Hand {
    fn new(stream: impl Stream<Item = EndpointSet> + Send + 'static) -> Self {
        let hand = Self::default();
        hand.make.lock().unwrap().push(stream.boxed());
        hand
    }
}

impl Discover for Hand {
    type Stream = HandStream;

    fn discover(&self) -> HandStream {
        let next = self.make.lock().unwrap().pop();
        HandStream(next.unwrap_or_else(|| stream::pending().boxed()), self.polls.clone())
    }
}

impl Stream for HandStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        self.1.fetch_add(1, SeqCst);
        self.0.poll_next_unpin(cx)
    }
}

fn set(keys: &[&str]) -> EndpointSet {
    EndpointSet::new(keys.iter().map(|key| Endpoint::new(key).unwrap()), "1").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_source_that_says_nothing_is_an_empty_one() {
    let service = over(&Farm::default(), Hand::new(stream::pending()), LeastRequest::new());
    let error = timeout(secs(3), call(&service)).await.expect("hangs").unwrap_err();
    assert_eq!(error.kind(), Kind::NoEndpoints);
    let at = Instant::now();
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::NoEndpoints);
    assert_eq!(at.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_discovery_freezes_the_last_set() {
    // `unfold` panics when it is asked again after its end, as a source may.
    let sets =
        stream::unfold(0, |n| async move { (n < 2).then(|| (set(&["a:1", "b:1"][..=n]), n + 1)) });
    let farm = Farm::default();
    let hand = Hand::new(sets);
    let service = over(&farm, hand.clone(), RoundRobin::starting_at(0));
    call(&service).await.unwrap();
    sleep(secs(3_600)).await;
    assert_eq!(counts(&service, 10).await.len(), 2);
    assert!(hand.polls.load(SeqCst) <= 4, "{:?}", hand.polls);
    assert_eq!(farm.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_down_is_said_at_once_after_a_while() {
    let (farm, endpoints) = farm(0);
    let draining = ["a:1", "b:1"].map(|key| Endpoint::new(key).unwrap().with_draining(true));
    endpoints.replace(draining).unwrap();
    let service = over(&farm, endpoints.clone(), LeastRequest::new());
    let start = Instant::now();
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::AllEndpointsDown);
    assert!(start.elapsed() >= secs(1));
    let at = Instant::now();
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::AllEndpointsDown);
    assert_eq!((at.elapsed(), farm.calls(), farm.polls()), (ms(0), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn all_circuits_open_says_when_the_first_closes_and_touches_nobody() {
    let (farm, endpoints) = farm(2);
    let config = CircuitBreakerConfig::consecutive(1).with_open_for(secs(60)).with_open_jitter(0.0);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .layer(CircuitBreakerLayer::new(config))
        .service(farm.clone());
    farm.answers(Answer::Fails);
    assert!(!call(&service).await.unwrap_err().is_refused());
    sleep(secs(10)).await;
    assert!(!call(&service).await.unwrap_err().is_refused());
    sleep(secs(5)).await;
    let (calls, polls) = (farm.calls(), farm.polls());
    let at = Instant::now();
    let error = call(&service).await.unwrap_err();
    assert_eq!((error.kind(), error.is_refused()), (Kind::CircuitOpen, true));
    let wait = error.retry_after().unwrap();
    assert!((secs(44)..=secs(45)).contains(&wait), "{wait:?}");
    assert_eq!((farm.calls(), farm.polls(), at.elapsed()), (calls, polls, ms(0)));
    farm.answers(Answer::Good);
    sleep(wait + ms(1)).await;
    assert_eq!(call(&service).await.unwrap(), "a:1");
}

// Services that die.

#[tokio::test(start_paused = true)]
async fn a_dead_service_is_connected_anew_and_the_call_goes_elsewhere() {
    let (farm, endpoints) = farm(2);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    farm.get("a:1").is(Readiness::Dead);
    for _ in 0..4 {
        assert_eq!(call(&service).await.unwrap(), "b:1");
    }
    assert_eq!(farm.violations(), 0);
    farm.get("a:1").is(Readiness::Ready);
    sleep(secs(20)).await;
    assert_eq!(counts(&service, 10).await.len(), 2);
    assert!(farm.get("a:1").connects() >= 2);
    assert_eq!(farm.get("b:1").connects(), 1, "nobody else is");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_dies_again_and_again_is_connected_with_backoff() {
    let (farm, endpoints) = farm(1);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    farm.get("a:1").is(Readiness::Dead);
    let end = Instant::now() + secs(60);
    while Instant::now() < end {
        let error = call(&service).await.unwrap_err();
        assert!(error.is_unsent(), "{error:?}");
        sleep(ms(1)).await;
    }
    let connects = farm.connects();
    assert!((8..30).contains(&connects), "{connects} in a minute");
    assert!(farm.polls() < 2_000, "{}", farm.polls());
    farm.get("a:1").is(Readiness::Ready);
    sleep(secs(11)).await;
    call(&service).await.unwrap();
    assert_eq!(farm.violations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_for_one_endpoint_leaves_the_others_at_work() {
    struct Picky(Farm, Arc<AtomicUsize>);
    impl tower_upstream::connect::Connect for Picky {
        type Service = Probe;
        fn connect(&self, member: &Arc<Member>) -> Probe {
            if member.key() == "a:1" && self.1.fetch_add(1, SeqCst) < 3 {
                panic!("the connector of a user panics");
            }
            self.0.connect(member)
        }
    }
    let (farm, endpoints) = farm(2);
    let tries = Arc::new(AtomicUsize::new(0));
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(Picky(farm.clone(), tries.clone()));
    let answer = timeout(secs(3), call(&service)).await.unwrap();
    assert_eq!(answer.unwrap(), "b:1");
    sleep(secs(20)).await;
    assert_eq!(counts(&service, 10).await.len(), 2, "{tries:?}");
    assert_eq!(farm.get("b:1").connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_panics_for_one_set_is_asked_again_without_haste() {
    #[derive(Clone, Default)]
    struct Fragile(Arc<AtomicUsize>);
    impl Strategy for Fragile {
        type Table = ();
        fn table(&self, members: &[Arc<Member>], _: Option<&()>) {
            if members.len() == 3 && self.0.fetch_add(1, SeqCst) < 3 {
                panic!("the strategy of a user panics");
            }
        }
    }
    impl Pick<Ask> for Fragile {
        fn pick(&self, _: &(), candidates: Candidates<'_>, ask: &Ask) -> Option<usize> {
            assert_ne!(ask.number, 13, "the strategy of a user panics");
            candidates.free_from(0).next()
        }
    }
    let (farm, endpoints) = farm(2);
    let strategy = Fragile::default();
    let service = over(&farm, endpoints.clone(), strategy.clone());
    call(&service).await.unwrap();
    endpoints.insert("c:1").unwrap();
    for _ in 0..10 {
        call(&service).await.unwrap();
        settle().await;
    }
    assert!(strategy.0.load(SeqCst) <= 2, "again and again, at once");
    sleep(secs(20)).await;
    call(&service).await.unwrap();
    assert_eq!(service.handle().members().len(), 3);
    // In the path of a call it is that call's panic, and nobody else's.
    let unlucky = tokio::spawn(service.clone().oneshot(Ask::new(13)));
    assert!(unlucky.await.unwrap_err().is_panic());
    call(&service).await.unwrap();
    assert!(service.handle().members().iter().all(|m| m.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_takes_its_call_along_and_nothing_else() {
    let (farm, endpoints) = farm(1);
    let service = over(&farm, endpoints, LeastRequest::new());
    farm.answers(Answer::Panics);
    let unlucky = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    assert!(unlucky.await.unwrap_err().is_panic());
    assert_eq!(member(&service, "a:1").in_flight(), 0);
    farm.answers(Answer::Good);
    call(&service).await.unwrap();
}

// Health, and when it is ignored.

#[tokio::test(start_paused = true)]
async fn below_the_panic_threshold_health_is_ignored_and_nothing_else() {
    let (farm, endpoints) = farm(4);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    call(&service).await.unwrap();
    let members = service.handle().members();
    let vetoes: Vec<_> = members.iter().map(|m| m.veto(Reason::Unhealthy)).collect();
    vetoes[0].raise();
    vetoes[1].raise();
    settle().await;
    assert_eq!(counts(&service, 40).await.len(), 2, "half is enough");
    vetoes[2].raise();
    settle().await;
    assert_eq!(counts(&service, 40).await.len(), 4, "a quarter is not");
    let open = members[0].veto(Reason::CircuitOpen);
    let disabled = members[3].veto(Reason::Disabled);
    open.raise();
    disabled.raise();
    settle().await;
    let left = counts(&service, 40).await;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["b:1", "c:1"]);
    drop((vetoes, open, disabled));
    settle().await;
    assert_eq!(counts(&service, 40).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_threshold_of_zero_never_ignores_health() {
    let (farm, endpoints) = farm(2);
    let config = BalanceConfig::default().with_panic_threshold(0).with_fail_fast_after(ms(50));
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::with_config(endpoints, RoundRobin::starting_at(0), config))
        .service(farm.clone());
    call(&service).await.unwrap();
    let members = service.handle().members();
    let vetoes: Vec<_> = members.iter().map(|m| m.veto(Reason::Unhealthy)).collect();
    vetoes.iter().for_each(|veto| veto.raise());
    settle().await;
    let start = Instant::now();
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::AllEndpointsDown);
    assert!((ms(48)..=ms(52)).contains(&start.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_busy_member_is_passed_over_at_once_and_waited_for_if_there_is_no_other() {
    let (farm, endpoints) = farm(2);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    call(&service).await.unwrap();
    let members = service.handle().members();
    let one = members[0].veto(Reason::Busy);
    one.raise();
    assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["b:1"]);
    let other = members[1].veto(Reason::Busy);
    other.raise();
    call(&service).await.unwrap();
}

// The set changes.

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_member_survives_changes_of_the_set() {
    let (farm, endpoints) = farm(2);
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    farm.answers(Answer::ByHand);
    let mut flights: Vec<_> =
        (0..4).map(|_| task::spawn(service.clone().oneshot(Ask::new(1)))).collect();
    flights.iter_mut().for_each(|call| assert_pending!(call.poll()));
    settle().await;
    flights.iter_mut().for_each(|call| assert_pending!(call.poll()));
    let before = member(&service, "a:1");
    assert_eq!((before.in_flight(), before.calls()), (2, 2));
    for change in 0..20 {
        let endpoint = Endpoint::new("a:1").unwrap().with_weight(change + 1);
        endpoints.insert(endpoint.with_metadata("n", change.to_string())).unwrap();
        endpoints.insert(&*format!("x:{}", change + 1)).unwrap();
        settle().await;
        endpoints.remove(&format!("x:{}", change + 1));
        settle().await;
    }
    let after = member(&service, "a:1");
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!((after.in_flight(), after.calls(), after.weight()), (2, 2, 20));
    assert_eq!(after.endpoint().metadata()["n"], "19");
    assert_eq!(farm.get("a:1").connects(), 1, "it is not connected anew");
    for key in ["a:1", "b:1"] {
        farm.get(key).finish(0, true);
        farm.get(key).finish(1, true);
    }
    for call in &mut flights {
        assert_ready_ok!(call.poll());
    }
    assert_eq!((after.in_flight(), after.calls()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn another_address_is_another_connection() {
    let (farm, endpoints) = farm(0);
    let at = |address: &str| Endpoint::new(address).unwrap().with_key("one");
    endpoints.insert(at("a:1")).unwrap();
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    call(&service).await.unwrap();
    let before = member(&service, "one");
    endpoints.insert(at("a:2")).unwrap();
    settle().await;
    call(&service).await.unwrap();
    let after = member(&service, "one");
    assert_eq!(farm.get("one").connects(), 2);
    assert!(!Arc::ptr_eq(&before, &after));
    assert_eq!(after.endpoint().address().as_str(), "a:2");
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_finishes_what_it_has_and_goes() {
    let (farm, endpoints) = farm(2);
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    farm.answers(Answer::GoodAfter(secs(5)));
    let calls: Vec<_> =
        (0..2).map(|_| tokio::spawn(service.clone().oneshot(Ask::new(1)))).collect();
    settle().await;
    let gone = Arc::downgrade(&member(&service, "a:1"));
    endpoints.remove("a:1");
    settle().await;
    farm.answers(Answer::Good);
    assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["b:1"]);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(gone.upgrade().is_none(), "nothing holds it");
    assert_eq!(farm.get("a:1").services.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn draining_and_critical_are_taken_from_discovery() {
    let (farm, endpoints) = farm(3);
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    call(&service).await.unwrap();
    endpoints.insert(Endpoint::new("a:1").unwrap().with_draining(true)).unwrap();
    endpoints.insert(Endpoint::new("b:1").unwrap().with_status(Status::Critical)).unwrap();
    settle().await;
    assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["c:1"]);
    endpoints.insert("a:1").unwrap();
    endpoints.insert("b:1").unwrap();
    settle().await;
    assert_eq!(counts(&service, 12).await.len(), 3);
    assert_eq!(farm.connects(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lower_priority_comes_first() {
    let (farm, endpoints) = farm(2);
    endpoints.insert(Endpoint::new("z:1").unwrap().with_priority(1)).unwrap();
    let service = over(&farm, endpoints.clone(), RoundRobin::starting_at(0));
    assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["a:1", "b:1"]);
    endpoints.remove("a:1");
    endpoints.remove("b:1");
    settle().await;
    assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["z:1"]);
}

// The task.

/// What there is of a source: gone when the task of the set is.
fn traced(keys: &[&str]) -> (Hand, std::sync::Weak<()>) {
    let trace = Arc::new(());
    let weak = Arc::downgrade(&trace);
    let first = set(keys);
    let sets = stream::iter([first]).chain(stream::pending()).map(move |set| {
        let _ = &trace;
        set
    });
    (Hand::new(sets), weak)
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone() {
    let farm = Farm::default();
    let (source, trace) = traced(&["a:1"]);
    let service = over(&farm, source, RoundRobin::starting_at(0));
    let handle = service.handle();
    let clone = service.clone();
    call(&service).await.unwrap();
    drop(service);
    settle().await;
    call(&clone).await.unwrap();
    assert!(trace.upgrade().is_some());
    drop(clone);
    settle().await;
    assert!(trace.upgrade().is_none(), "the task lives on");
    assert_eq!((farm.services(), handle.members().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_future_that_waits() {
    let farm = Farm::default();
    farm.get("a:1").is(Readiness::Pending);
    let (source, trace) = traced(&["a:1"]);
    let service = over(&farm, source, RoundRobin::starting_at(0));
    let mut waits = task::spawn(service.oneshot(Ask::new(1)));
    assert_pending!(waits.poll());
    settle().await;
    assert_pending!(waits.poll());
    sleep(ms(500)).await;
    assert!(trace.upgrade().is_some());
    drop(waits);
    settle().await;
    assert!(trace.upgrade().is_none(), "the task lives on");
    assert_eq!(farm.services(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_set_does_nothing() {
    let (farm, _) = farm(3);
    let hand = Hand::new(stream::iter([set(&["a:1", "b:1", "c:1"])]).chain(stream::pending()));
    let service = over(&farm, hand.clone(), LeastRequest::new());
    call(&service).await.unwrap();
    settle().await;
    let before = (farm.polls(), farm.connects(), hand.polls.load(SeqCst));
    sleep(secs(86_400)).await;
    assert_eq!((farm.polls(), farm.connects(), hand.polls.load(SeqCst)), before);
    drop(service);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[test]
fn a_set_whose_runtime_died_starts_again_and_remembers() {
    let (farm, endpoints) = farm(2);
    let config = CircuitBreakerConfig::consecutive(1).with_open_for(secs(86_400));
    let layer = CircuitBreakerLayer::new(config);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .layer(layer.clone())
        .service(farm.clone());
    let members = runtime().block_on(async {
        farm.get("a:1").answers(Answer::Fails);
        call(&service).await.unwrap_err();
        call(&service).await.unwrap();
        service.handle().members()
    });
    assert_eq!(members[0].calls(), 1);
    runtime().block_on(async {
        for _ in 0..4 {
            assert_eq!(call(&service).await.unwrap(), "b:1", "the circuit of a is open");
        }
        assert!(Arc::ptr_eq(&members[0], &service.handle().members()[0]));
        assert_eq!(farm.get("b:1").connects(), 2, "connected in this runtime");
    });
    assert_eq!(farm.violations(), 0);
}

#[test]
fn a_call_that_waits_when_the_runtime_of_the_set_dies_is_served_by_the_next() {
    let (farm, endpoints) = farm(1);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    farm.get("a:1").is(Readiness::Pending);
    let first = runtime();
    first.block_on(async {
        let mut warm = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(warm.poll());
        settle().await;
    });
    runtime().block_on(async {
        let waits = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        settle().await;
        first.shutdown_background();
        // The connections of then are of no use: only one that is made now is ready.
        settle().await;
        assert_eq!(farm.get("a:1").connects(), 2);
        let polls = farm.get("a:1").polls();
        sleep(ms(50)).await;
        farm.get("a:1").is(Readiness::Ready);
        let start = Instant::now();
        waits.await.unwrap().unwrap();
        assert!(start.elapsed() < ms(5) && farm.get("a:1").polls() > polls);
    });
    assert_eq!(farm.violations(), 0);
}

#[test]
fn a_stale_connection_is_not_waited_for_after_a_restart() {
    /// Ready only if its runtime lives.
    #[derive(Clone)]
    struct Bound(std::sync::Weak<()>);
    impl Service<Ask> for Bound {
        type Response = String;
        type Error = Error;
        type Future = std::future::Ready<Result<String, Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            if self.0.strong_count() > 0 {
                Poll::Ready(Ok(()))
            } else {
                // As a client whose connection task is gone may be.
                Poll::Pending
            }
        }
        fn call(&mut self, _: Ask) -> Self::Future {
            std::future::ready(Ok("bound".into()))
        }
    }
    let alive: Arc<Mutex<std::sync::Weak<()>>> = Arc::default();
    let connect = {
        let alive = alive.clone();
        tower_upstream::connect_fn(move |_: &Endpoint| Bound(alive.lock().unwrap().clone()))
    };
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)))
        .service(connect);
    let first = runtime();
    // Stuck from the start, so that a call comes to wait for it.
    first.block_on(async {
        let mut warm = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(warm.poll());
        settle().await;
    });
    runtime().block_on(async {
        let waits = tokio::spawn(service.clone().oneshot(Ask::new(1)));
        settle().await;
        let life = Arc::new(());
        *alive.lock().unwrap() = Arc::downgrade(&life);
        first.shutdown_background();
        let start = Instant::now();
        waits.await.unwrap().expect("the new connection is ready");
        assert!(start.elapsed() < ms(50), "{:?}", start.elapsed());
    });
}

#[test]
fn what_was_ready_in_a_runtime_that_died_calls_no_connection_of_then() {
    let connections = AtomicUsize::new(0);
    let connect = tower_upstream::connect_fn(move |_: &Endpoint| {
        let number = connections.fetch_add(1, SeqCst);
        tower::service_fn(move |_: Ask| std::future::ready(Ok::<_, Error>(number.to_string())))
    });
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), RoundRobin::starting_at(0)))
        .service(connect);
    let mut ready = service.clone();
    runtime().block_on(async {
        assert_eq!(call(&service).await.unwrap(), "0");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Service::<Ask>::poll_ready(&mut ready, &mut cx).is_ready());
    });
    let answer = runtime().block_on(async { ready.call(Ask::new(1)).await });
    assert_eq!(answer.unwrap(), "1");
}

#[test]
fn outside_a_runtime_it_is_an_error_and_no_panic() {
    let (farm, endpoints) = farm(1);
    let mut service = over(&farm, endpoints, RoundRobin::starting_at(0));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(assert_ready!(Service::<Ask>::poll_ready(&mut service, &mut cx)).is_ok());
    let error = futures::executor::block_on(service.call(Ask::new(1))).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
    assert!(error.to_string().contains("runtime"));
    // It is not broken by that.
    let runtime = runtime();
    runtime.block_on(async { call(&service).await.unwrap() });
    // Polled outside, while its task lives: what is ready is served, and what waits is no panic.
    futures::executor::block_on(call(&service)).unwrap();
    farm.get("a:1").is(Readiness::Pending);
    let error = futures::executor::block_on(call(&service)).unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Unavailable, true));
    assert_eq!(member(&service, "a:1").in_flight(), 0);
}

/// A waker whose last drop uses the balancer again, as that of a task that owns a clone may.
#[test]
fn a_waker_may_do_what_it_likes_when_it_drops() {
    struct Owner(Mutex<Option<Balance<Probe, RoundRobin>>>);
    impl std::task::Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let (farm, endpoints) = farm(0);
    let service = over(&farm, endpoints, RoundRobin::starting_at(0));
    runtime().block_on(async {
        let mut waits = service.clone();
        let mut owned = service.clone();
        let owner = Arc::new(Owner(Mutex::new(None)));
        let waker = Waker::from(owner.clone());
        // Listed itself, so its drop takes it off the list.
        let mut cx = Context::from_waker(Waker::noop());
        assert_pending!(Service::<Ask>::poll_ready(&mut owned, &mut cx));
        let mut cx = Context::from_waker(&waker);
        assert_pending!(Service::<Ask>::poll_ready(&mut waits, &mut cx));
        *owner.0.lock().unwrap() = Some(owned);
        drop(waker);
        drop(owner);
        let (done, told) = std::sync::mpsc::channel();
        let worker = std::thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Service::<Ask>::poll_ready(&mut waits, &mut cx);
            drop(waits);
            let _ = done.send(());
        });
        told.recv_timeout(secs(5)).expect("a deadlock");
        worker.join().unwrap();
    });
}

// Between here and tower.

#[cfg(feature = "tower")]
mod with_tower {
    use std::convert::Infallible;

    use tokio::sync::mpsc;
    use tower::{balance::p2c, discover::Change, load::Load};
    use tower_upstream::discover::{FromChanges, Measured, ToChanges};

    use super::*;

    type Receiver<T> = Arc<Mutex<Option<mpsc::UnboundedReceiver<T>>>>;

    fn receiver<T: Send + 'static>() -> (mpsc::UnboundedSender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Arc::new(Mutex::new(Some(receiver))))
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_tower_become_sets() {
        let (sender, changes) = receiver::<Result<Change<u8, Endpoint>, &'static str>>();
        let source = FromChanges::new(move || {
            let changes = changes.lock().unwrap().take().expect("one stream");
            // Panics when it is asked after its end.
            stream::unfold(changes, |mut changes| async move {
                changes.recv().await.map(|change| (change, changes))
            })
        });
        let farm = Farm::default();
        let service = over(&farm, source, RoundRobin::starting_at(0));
        let at = |address: &str| Endpoint::new(address).unwrap();
        sender.send(Ok(Change::Insert(1, at("a:1")))).unwrap();
        sender.send(Err("a hiccup")).unwrap();
        sender.send(Ok(Change::Insert(2, at("b:1")))).unwrap();
        assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["1", "2"]);
        sender.send(Ok(Change::Remove(1))).unwrap();
        settle().await;
        assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["2"]);
        sender.send(Ok(Change::Insert(3, at("c:1")))).unwrap();
        drop(sender);
        sleep(secs(60)).await;
        assert_eq!(counts(&service, 10).await.keys().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(farm.connects(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn our_sources_drive_towers_balancer() {
        let (farm, endpoints) = farm(2);
        let changes: ToChanges<_> = ToChanges::new(&endpoints, farm.clone());
        let mut balance = p2c::Balance::new(changes);
        let mut seen = BTreeMap::<String, usize>::new();
        for _ in 0..50 {
            let answer = balance.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
            *seen.entry(answer).or_default() += 1;
        }
        assert_eq!(seen.len(), 2);
        endpoints.insert(Endpoint::new("a:1").unwrap().with_weight(7)).unwrap();
        endpoints.insert("c:1").unwrap();
        endpoints.remove("b:1");
        seen.clear();
        for _ in 0..50 {
            let answer = balance.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
            *seen.entry(answer).or_default() += 1;
        }
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["a:1", "c:1"]);
        assert_eq!(farm.get("a:1").connects(), 1, "a weight is no new connection");
        // The source goes; tower asks it again and again all the same.
        drop(endpoints);
        for _ in 0..10 {
            balance.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
        }
    }

    /// The services that tower's balancer would get.
    async fn measured(farm: &Farm, endpoints: &Memory) -> Vec<Measured<Probe>> {
        let changes = ToChanges::new(endpoints, farm.clone()).take(endpoints.snapshot().len());
        let inserted = changes.map(|change| match change {
            Ok(Change::Insert(_, service)) => service,
            other => panic!("{:?}", other.map(|_| ())),
        });
        inserted.collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_that_tower_reads_is_calls_in_flight_times_latency() {
        let (farm, endpoints) = farm(1);
        farm.answers(Answer::GoodAfter(ms(2)));
        let mut service = measured(&farm, &endpoints).await.remove(0);
        sleep(ms(1)).await;
        assert_eq!(service.load(), 1);
        let mut calls = Vec::new();
        for _ in 0..3 {
            let mut call = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
            assert_pending!(call.poll());
            calls.push(call);
        }
        assert_eq!((service.load(), service.member().in_flight()), (4_000_000, 3));
        sleep(ms(2)).await;
        calls.iter_mut().for_each(|call| assert!(assert_ready!(call.poll()).is_ok()));
        assert_eq!(service.load(), 2_000);
        calls.truncate(1);
        let abandoned = task::spawn(service.ready().await.unwrap().call(Ask::new(1)));
        assert_eq!(service.load(), 4_000);
        drop(abandoned);
        assert_eq!(service.load(), 2_000);
        sleep(secs(60)).await;
        assert!(
            service.load() < 10,
            "{}: an endpoint that was slow is tried again",
            service.load()
        );
        farm.answers(Answer::Fails);
        let error = service.ready().await.unwrap().call(Ask::new(1)).await.unwrap_err();
        assert_eq!(error.endpoint(), Some("a:1"));
        // What a failure costs where the latency of the peers is not known.
        assert_eq!((service.load(), service.member().failures()), (1_000_000, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn towers_balancer_keeps_away_from_endpoints_that_are_slow_or_busy() {
        let (farm, endpoints) = farm(3);
        farm.answers(Answer::GoodAfter(ms(10)));
        farm.get("a:1").answers(Answer::GoodAfter(ms(500)));
        farm.get("b:1").answers(Answer::Never);
        let mut balance = p2c::Balance::new(ToChanges::new(&endpoints, farm.clone()));
        let mut calls = Vec::new();
        for _ in 0..300 {
            calls.push(tokio::spawn(balance.ready().await.unwrap().call(Ask::new(1))));
            sleep(ms(2)).await;
        }
        let counts = ["a:1", "b:1", "c:1"].map(|key| farm.get(key).calls());
        // Of two that are drawn, the good one is taken where it is among them: two draws of three.
        assert!(counts[2] > 160, "{counts:?}");
        assert_eq!(farm.violations(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_circuit_that_opens_below_towers_balancer_closes_again() {
        let (farm, endpoints) = farm(2);
        let config = CircuitBreakerConfig::consecutive(1).with_open_for(secs(1));
        let breakers = CircuitBreakerLayer::new(config.with_open_jitter(0.0));
        let connect = ServiceBuilder::new().layer(breakers.clone()).service(farm.clone());
        let mut balance = p2c::Balance::new(ToChanges::new(&endpoints, connect));
        farm.get("a:1").answers(Answer::Fails);
        for _ in 0..50 {
            let _ = balance.ready().await.unwrap().call(Ask::new(1)).await;
        }
        assert_eq!(farm.get("a:1").calls(), 1);
        farm.get("a:1").answers(Answer::Good);
        // As long as its failure makes it look slow.
        for _ in 0..2_000 {
            sleep(ms(100)).await;
            balance.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
        }
        assert!(farm.get("a:1").calls() > 100, "{}", farm.get("a:1").calls());
    }

    #[test]
    fn the_error_of_a_stream_of_changes_never_is() {
        fn error<S: Stream<Item = Result<T, E>>, T, E>(_: &S) -> std::marker::PhantomData<E> {
            std::marker::PhantomData
        }
        let source = discover::fixed(["a:1"]).unwrap();
        let changes = ToChanges::new(&source, tower_upstream::connect_fn(|_: &Endpoint| ()));
        let _: std::marker::PhantomData<Infallible> = error(&changes);
    }
}
