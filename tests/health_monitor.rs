//! What a monitor promises: checks that are asked for, rounds, starts and stops, the healthy set, and
//! events.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    Endpoint, HealthGateLayer, LeastRequest,
    balance::BalanceLayer,
    connect::Connect,
    connect_fn,
    discover::Memory,
    health::{
        Check, HealthConfig, HealthGate, HealthMonitor, HealthySet, RetryChecks, Verdict, check_fn,
        check_upstream,
    },
    member::Member,
    telemetry::{EventKind, Events},
};

const SECOND: Duration = Duration::from_secs(1);

fn every_second() -> HealthConfig {
    HealthConfig::default()
        .with_interval(SECOND)
        .with_interval_unhealthy(SECOND)
        .with_jitter(0.0)
        .with_fall(1)
        .with_rise(1)
}

/// Checks that come only when they are asked for.
fn seldom() -> HealthConfig {
    every_second().with_interval(SECOND * 86_400).with_interval_unhealthy(SECOND * 86_400)
}

fn endpoint(key: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key))
}

fn member(key: &str) -> Arc<Member> {
    Member::new(endpoint(key).as_ref().clone())
}

fn connect(layer: &HealthGateLayer, key: &str) -> HealthGate<()> {
    layer.layer(connect_fn(|_: &Endpoint| ())).connect(&member(key))
}

/// Endpoints that are ill, slow or never answer, and what was asked.
#[derive(Clone, Default)]
struct World(Arc<State>);

#[derive(Default)]
struct State {
    ill: Mutex<BTreeSet<String>>,
    takes: Mutex<HashMap<String, Duration>>,
    asked: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    abandoned: AtomicUsize,
}

struct Running(Arc<State>, bool);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        self.0.abandoned.fetch_add(usize::from(!self.1), SeqCst);
    }
}

impl World {
    fn is(&self, key: &str, well: bool) {
        let mut ill = self.0.ill.lock().unwrap();
        if well {
            ill.remove(key)
        } else {
            ill.insert(key.to_owned())
        };
    }

    fn takes(&self, key: &str, time: Duration) {
        self.0.takes.lock().unwrap().insert(key.to_owned(), time);
    }

    fn asked(&self) -> usize {
        self.0.asked.lock().unwrap().len()
    }

    fn running(&self) -> usize {
        self.0.running.load(SeqCst)
    }
}

impl Check for World {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        let key = endpoint.map_or(String::new(), |endpoint| endpoint.key().to_owned());
        self.0.asked.lock().unwrap().push(key.clone());
        let now = self.0.running.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(now, SeqCst);
        let mut running = Running(self.0.clone(), false);
        let takes = self.0.takes.lock().unwrap().get(&key).copied();
        if let Some(takes) = takes {
            sleep(takes).await;
        }
        running.1 = true;
        let ill = self.0.ill.lock().unwrap().contains(&key);
        if ill { Verdict::Unhealthy("ill".into()) } else { Verdict::Healthy }
    }
}

fn made(config: HealthConfig) -> (World, HealthGateLayer, HealthMonitor) {
    let world = World::default();
    let layer = HealthGateLayer::with_config(world.clone(), config);
    let monitor = layer.monitor();
    (world, layer, monitor)
}

// Checks that are asked for.

#[tokio::test(start_paused = true)]
async fn a_check_that_is_asked_for_counts_for_nothing() {
    let (world, layer, monitor) = made(seldom());
    let gate = connect(&layer, "a");
    world.is("a", false);
    world.takes("a", SECOND);
    for checked in
        [monitor.check(Some(endpoint("a"))).await, layer.handle_for("a").unwrap().check().await]
    {
        assert_eq!(checked.verdict, Verdict::Unhealthy("ill".into()));
        assert_eq!(checked.latency, SECOND);
        assert_eq!(checked.endpoint.unwrap().key(), "a");
    }
    let state = layer.handle_for("a").unwrap().state();
    assert!(state.healthy && state.checks == 0);

    world.takes("b", SECOND * 60);
    let checked = monitor.check(Some(endpoint("b"))).await;
    assert_eq!(checked.verdict, Verdict::Unhealthy("no answer within 2s".into()));
    assert_eq!(checked.latency, SECOND * 2);
    assert_eq!(monitor.check(None).await.verdict, Verdict::Healthy);

    let each = HealthGateLayer::new(check_fn(async |_| true)).monitor();
    let Verdict::Unhealthy(problem) = each.check(None).await.verdict else { panic!("healthy") };
    assert!(problem.contains("needs an endpoint"), "{problem}");
    let panics = HealthGateLayer::new(check_upstream(async || -> bool { panic!("as it does") }));
    let checked = panics.monitor().check(None).await;
    assert_eq!(checked.verdict, Verdict::Unhealthy("the check panicked".into()));
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn many_are_checked_in_their_order_ten_at_once_and_each_once() {
    let (world, _, monitor) = made(HealthConfig::default());
    assert!(monitor.check_all([]).await.is_empty());
    let keys: Vec<_> = (0..25).map(|index| format!("m{}", index % 20)).collect();
    for (index, key) in keys.iter().enumerate() {
        world.takes(key, Duration::from_millis(100 + (index as u64 * 37) % 50));
    }
    world.is("m3", false);
    let began = Instant::now();
    let found = monitor.check_all(keys.iter().map(|key| endpoint(key))).await;
    assert_eq!((world.asked(), world.0.most.load(SeqCst)), (20, 10));
    assert!(began.elapsed() < Duration::from_millis(310), "two at a time, ten at once");
    assert_eq!(found.len(), 25);
    for (checked, key) in found.iter().zip(&keys) {
        assert_eq!(checked.endpoint.as_ref().unwrap().key(), key);
        assert_eq!(checked.verdict == Verdict::Healthy, key != "m3");
        assert!(checked.latency >= Duration::from_millis(100));
    }
    let (world, _, monitor) = made(HealthConfig::default().with_parallel(3));
    monitor.check_all(keys.iter().map(|key| endpoint(key))).await;
    assert_eq!(world.0.most.load(SeqCst), 1, "they do not wait");
    keys.iter().for_each(|key| world.takes(key, SECOND));
    monitor.check_all(keys.iter().map(|key| endpoint(key))).await;
    assert_eq!(world.0.most.load(SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_deadline_cuts_off_is_skipped() {
    let (world, layer, monitor) = made(seldom().with_parallel(2));
    let keys = ["a", "b", "c", "d", "e", "f"];
    let gates = keys.map(|key| connect(&layer, key));
    keys.iter().for_each(|key| world.takes(key, SECOND));
    let began = Instant::now();
    let deadline = began + SECOND + SECOND / 2;
    let found = monitor.check_all_until(keys.map(endpoint), deadline).await;
    assert_eq!(began.elapsed(), SECOND + SECOND / 2);
    let verdicts: Vec<_> = found.iter().map(|checked| checked.verdict.clone()).collect();
    let (well, skipped) = (Verdict::Healthy, Verdict::Skipped);
    assert_eq!(verdicts[..2], [well.clone(), well]);
    assert!(verdicts[2..].iter().all(|verdict| *verdict == skipped));
    assert_eq!((world.asked(), world.running()), (4, 0));
    for key in keys {
        assert_eq!(layer.handle_for(key).unwrap().state().checks, 0);
    }
    let passed = monitor.check_all_until(keys.map(endpoint), began).await;
    assert!(passed.iter().all(|checked| checked.verdict == skipped));
    assert_eq!(world.asked(), 4, "none was begun");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_at_the_deadline_counts_and_nothing_begins_after_it() {
    let (world, _, monitor) = made(seldom().with_parallel(3));
    let keys = ["a", "b", "c", "d", "e"];
    keys.iter().for_each(|key| world.takes(key, SECOND));
    let found = monitor.check_all_until(keys.map(endpoint), Instant::now() + SECOND).await;
    let well = found.iter().filter(|checked| checked.verdict == Verdict::Healthy).count();
    assert_eq!((well, world.asked()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn one_key_at_two_addresses_is_two_to_check() {
    let layer = HealthGateLayer::new(check_fn(async |endpoint: Arc<Endpoint>| {
        endpoint.address().as_str() == "a:1"
    }));
    let at = |address: &str| Arc::new(Endpoint::new(address).unwrap().with_key("x"));
    let found = layer.monitor().check_all(["a:1", "b:1", "a:1"].map(at)).await;
    let well: Vec<_> = found.iter().map(|checked| checked.verdict == Verdict::Healthy).collect();
    assert_eq!(well, [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_checked_is_not_tried_again() {
    let monitor = HealthGateLayer::new(check_fn(async |_| true)).monitor();
    let began = Instant::now();
    let no_wait = |_, _| panic!("there is nothing to wait for");
    let found = monitor.check_with_retry(None, RetryChecks::default(), None, no_wait).await;
    let Verdict::Unhealthy(problem) = found.verdict else { panic!("healthy") };
    assert!(problem.starts_with("this health check needs an endpoint"), "{problem}");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_checked_again_until_it_is_well() {
    let (world, _, monitor) = made(seldom());
    let waits = Mutex::new(Vec::new());
    let note = |retry: u32, wait: Duration| waits.lock().unwrap().push((retry, wait.as_millis()));
    let retry = RetryChecks::default();
    let target = || Some(endpoint("a"));

    world.is("a", false);
    let began = Instant::now();
    let found = monitor.check_with_retry(target(), retry.clone(), None, note).await;
    assert_eq!(began.elapsed().as_millis(), 15_500);
    let expected = [(1, 500), (2, 1_000), (3, 2_000), (4, 4_000), (5, 8_000)];
    assert_eq!(std::mem::take(&mut *waits.lock().unwrap()), expected);
    assert_eq!(world.asked(), 6);
    let text = "health check failed after 6 attempts: ill";
    assert_eq!(found.verdict, Verdict::Unhealthy(text.into()));

    // The first success ends it.
    let healer = world.clone();
    let heal = move |retry: u32, _: Duration| healer.is("a", retry > 2);
    let found = monitor.check_with_retry(target(), retry.clone(), None, heal).await;
    assert_eq!((found.verdict, world.asked()), (Verdict::Healthy, 10));

    // A deadline that lets no further attempt in ends it at once.
    world.is("a", false);
    let deadline = Instant::now() + SECOND * 4;
    let found = monitor.check_with_retry(target(), retry.clone(), Some(deadline), note).await;
    assert_eq!(deadline - Instant::now(), SECOND / 2, "3.5 s of waits, and 4 more do not fit");
    let text = "health check failed after 4 attempts: ill";
    assert_eq!(found.verdict, Verdict::Unhealthy(text.into()));
    // And bounds an attempt.
    world.takes("a", SECOND * 60);
    let deadline = Instant::now() + SECOND;
    let found = monitor.check_with_retry(target(), retry.clone(), Some(deadline), note).await;
    let text = "health check failed after 1 attempts: no answer within 1s";
    assert_eq!(found.verdict, Verdict::Unhealthy(text.into()));
    assert_eq!(Instant::now(), deadline);

    let skips = HealthGateLayer::new(check_upstream(async || Verdict::Skipped)).monitor();
    let found = skips.check_with_retry(None, retry.with_max_retries(1), None, note).await;
    assert_eq!(found.verdict, Verdict::Skipped);
}

// Rounds.

#[tokio::test(start_paused = true)]
async fn a_forced_round_begins_after_the_call_and_serves_all_who_called_before() {
    let (world, layer, monitor) = made(seldom());
    assert_eq!(monitor.force_check().await, None, "no gate is in use");
    let gates = ["a", "b", "c"].map(|key| connect(&layer, key));
    world.is("b", false);
    let round = monitor.force_check().await.unwrap();
    assert_eq!((round.total, round.healthy, round.unhealthy, round.changed), (3, 2, 1, 1));
    assert_eq!(world.asked(), 3);
    assert!(!layer.handle_for("b").unwrap().is_healthy(), "it counts");
    assert_eq!(monitor.force_check().await.unwrap().changed, 0);
    assert_eq!(world.asked(), 6);

    // While one runs, all who call wait for the one after it.
    ["a", "b", "c"].iter().for_each(|key| world.takes(key, SECOND));
    let began = Instant::now();
    let running = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.force_check().await }
    });
    sleep(SECOND / 2).await;
    world.is("b", true);
    world.is("c", false);
    let rounds = join_all((0..50).map(|_| monitor.force_check())).await;
    assert_eq!(began.elapsed(), SECOND * 2);
    assert_eq!(world.asked(), 12, "two rounds for fifty-one calls");
    let first = running.await.unwrap().unwrap();
    assert_eq!((first.healthy, first.changed), (2, 2));
    assert!(rounds.iter().all(|round| round.as_ref().unwrap().changed == 0));
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_began_before_the_round_is_not_of_it() {
    let (world, layer, monitor) = made(every_second().with_timeout(SECOND * 10));
    world.takes("a", SECOND * 3);
    let gate = connect(&layer, "a");
    while world.running() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    sleep(SECOND).await;
    let round = monitor.force_check().await.unwrap();
    let took = began.elapsed().as_millis();
    assert!((5_990..=6_000).contains(&took), "the rest of that one, and one more: {took}");
    assert_eq!((round.total, world.asked()), (1, 2));
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_round_waits_neither_for_who_has_left_nor_for_who_comes() {
    let (world, layer, monitor) = made(seldom().with_timeout(SECOND * 100));
    let stays = connect(&layer, "stays");
    let leaves = connect(&layer, "leaves");
    world.takes("stays", SECOND * 2);
    world.takes("leaves", SECOND * 50);
    world.takes("comes", SECOND * 50);
    let began = Instant::now();
    let mut round = Box::pin(monitor.force_check());
    assert!((&mut round).now_or_never().is_none());
    sleep(SECOND).await;
    drop(leaves);
    let comes = connect(&layer, "comes");
    let round = round.await.unwrap();
    assert_eq!((began.elapsed(), round.total), (SECOND * 2, 2));

    // Checks that are off are of no round.
    layer.handle_for("comes").unwrap().update(&seldom().with_enabled(false)).unwrap();
    let began = Instant::now();
    assert!(monitor.force_check().await.is_some());
    assert_eq!(began.elapsed(), SECOND * 2);
    layer.handle().update(&seldom().with_enabled(false)).unwrap();
    let round = monitor.force_check().await.unwrap();
    assert_eq!((round.total, round.healthy), (2, 2));
    drop((stays, comes));
}

#[tokio::test(start_paused = true)]
async fn a_round_of_which_all_have_left_holds_up_no_other() {
    let (world, layer, monitor) = made(seldom());
    world.takes("leaves", SECOND);
    let leaves = connect(&layer, "leaves");
    assert!(timeout(SECOND / 2, monitor.force_check()).await.is_err());
    drop(leaves);
    // The task ends, as nobody is there.
    sleep(SECOND).await;
    assert!(!monitor.is_running());
    let comes = connect(&layer, "comes");
    let round = timeout(SECOND, monitor.force_check()).await.unwrap().unwrap();
    assert_eq!((round.total, world.asked()), (1, 2));
    drop(comes);
}

#[tokio::test(start_paused = true)]
async fn a_round_does_not_wait_for_what_is_switched_off_while_it_is_checked() {
    let (world, layer, monitor) = made(every_second().with_timeout(SECOND * 10));
    world.takes("a", SECOND * 3);
    let gate = connect(&layer, "a");
    while world.running() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    // It waits for the check after this one; which never comes.
    let mut round = Box::pin(monitor.force_check());
    assert!(timeout(SECOND, &mut round).await.is_err());
    layer.handle().update(&every_second().with_enabled(false)).unwrap();
    let round = timeout(SECOND * 5, round).await.unwrap().unwrap();
    assert_eq!((round.total, round.changed, world.asked()), (1, 0, 1));
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_forced_round_keeps_to_the_places_and_moves_the_schedule() {
    let config = every_second().with_interval(SECOND * 10).with_parallel_scheduled(4);
    let (world, layer, monitor) = made(config);
    let gates: Vec<_> = (0..40).map(|index| connect(&layer, &format!("m{index}"))).collect();
    for index in 0..40 {
        world.takes(&format!("m{index}"), Duration::from_millis(10));
    }
    monitor.force_check().await.unwrap();
    assert_eq!((world.asked(), world.0.most.load(SeqCst)), (40, 4));
    sleep(SECOND * 9).await;
    assert_eq!(world.asked(), 40, "the next is an interval after the round");
    sleep(SECOND * 2).await;
    assert_eq!(world.asked(), 80);
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn the_first_round_can_be_waited_for() {
    let config = every_second().with_interval(SECOND * 10).with_interval_unhealthy(SECOND * 10);
    let (world, layer, monitor) = made(config);
    assert!(!monitor.wait_first_round(SECOND).await, "there is nothing to check");
    let gates: Vec<_> = (0..20).map(|index| connect(&layer, &format!("m{index}"))).collect();
    assert!(!monitor.wait_first_round(SECOND).await);
    let began = Instant::now();
    assert!(monitor.wait_first_round(SECOND * 11).await);
    assert!(began.elapsed() <= SECOND * 9 + Duration::from_millis(10));
    assert_eq!(world.0.asked.lock().unwrap().iter().collect::<BTreeSet<_>>().len(), 20);
    assert!(monitor.wait_first_round(Duration::ZERO).await, "it stays so");
    monitor.stop().await;
    assert!(!monitor.wait_first_round(SECOND).await, "until the next start");
    monitor.start();
    // The last of them may be due just at the end of the interval.
    assert!(monitor.wait_first_round(SECOND * 11).await);
    let late = connect(&layer, "late");
    assert!(!monitor.wait_first_round(Duration::ZERO).await, "one that came was not checked");
    assert!(monitor.wait_first_round(SECOND * 11).await);
    drop((gates, late));
    assert!(!monitor.wait_first_round(Duration::ZERO).await, "nobody is left");

    // One that can only be skipped has had its turn, and one that is not checked has none.
    let skips = check_fn(async |_| Verdict::Skipped);
    let layer = HealthGateLayer::with_config(skips, every_second());
    let gate = connect(&layer, "a");
    assert!(layer.monitor().wait_first_round(SECOND * 3).await);
    drop(gate);
}

// Starts and stops.

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_what_runs_and_a_start_goes_on() {
    let (world, layer, monitor) = made(every_second().with_timeout(SECOND * 60));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    world.takes("slow", SECOND * 60);
    world.is("ill", false);
    let gates = ["slow", "ill"].map(|key| connect(&layer, key));
    sleep(SECOND * 2).await;
    assert!(monitor.is_running() && world.running() == 1);
    assert!(!layer.handle_for("ill").unwrap().is_healthy());

    let began = Instant::now();
    monitor.stop().await;
    assert_eq!((began.elapsed(), world.running(), tasks()), (Duration::ZERO, 0, before));
    assert_eq!(world.0.abandoned.load(SeqCst), 1);
    assert!(!monitor.is_running());
    assert!(!layer.handle_for("ill").unwrap().is_healthy(), "gates stay as they are");
    assert_eq!(layer.handle_for("slow").unwrap().state().checks, 0, "a stop is no failure");
    let asked = world.asked();
    let late = connect(&layer, "late");
    assert_eq!(monitor.force_check().await, None);
    sleep(SECOND * 10).await;
    monitor.stop().await;
    assert_eq!((world.asked(), tasks()), (asked, before));

    world.takes("slow", Duration::ZERO);
    for _ in 0..3 {
        monitor.start();
    }
    sleep(SECOND * 2).await;
    assert_eq!(tasks(), before + 1, "never two");
    let asked = world.asked();
    sleep(SECOND * 10).await;
    assert_eq!(world.asked() - asked, 30);
    drop((gates, late));
    sleep(SECOND).await;
    assert_eq!(tasks(), before, "the last gate ends it, whatever the handles");
    assert!(!monitor.is_running());
    monitor.start();
    monitor.stop().await;
    assert_eq!(tasks(), before);
}

#[test]
fn what_was_begun_outside_of_a_runtime_is_checked_in_the_next() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let (world, layer, monitor) = made(seldom());
    let gate = connect(&layer, "a");
    monitor.start();
    assert!(!monitor.is_running());
    let mut rounds = 0;
    for starts_outside in [false, true, true] {
        let round = runtime().block_on(async {
            let round = monitor.force_check().await;
            if starts_outside {
                monitor.stop().await;
            }
            round
        });
        rounds += 1;
        assert_eq!((round.unwrap().total, world.asked()), (1, rounds));
        assert!(!monitor.is_running(), "the runtime has ended, or checks were stopped");
        if starts_outside {
            monitor.start();
            assert!(!monitor.is_running(), "there is nothing to run in");
        }
    }
    futures::executor::block_on(monitor.stop());
    drop(gate);
}

/// Three members of a balanced set, of which `c` is found ill; what calls them.
fn balanced(layer: &HealthGateLayer) -> impl AsyncFn() {
    let members = ["a", "b", "c"].map(|key| endpoint(key).as_ref().clone());
    let client = BalanceLayer::new(Memory::new(members).unwrap(), LeastRequest::new()).layer(
        layer.layer(connect_fn(|_: &Endpoint| service_fn(async |(): ()| Ok::<_, Infallible>(())))),
    );
    async move || {
        for _ in 0..6 {
            client.clone().oneshot(()).await.unwrap();
            sleep(SECOND).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_barred_member_is_checked_again_wherever_checks_are_started() {
    for in_a_runtime in [false, true] {
        let (world, layer, monitor) = made(every_second());
        let calls = balanced(&layer);
        world.is("c", false);
        calls().await;
        assert_eq!(monitor.healthy().healthy, 2);
        monitor.stop().await;
        let other = monitor.clone();
        std::thread::spawn(move || match in_a_runtime {
            false => other.start(),
            // It ends at once, and with it the task.
            true => tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async { other.start() }),
        })
        .join()
        .unwrap();
        world.is("c", true);
        calls().await;
        assert_eq!(monitor.healthy().healthy, 3, "no call goes to the third, but checks do");
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_while_it_is_given_up_harms_no_other() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "as it does");
        }
    }
    let armed = Arc::new(AtomicBool::new(true));
    let is_armed = armed.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        let bomb = Bomb(endpoint.key() == "c" && is_armed.load(SeqCst));
        async move {
            if bomb.0 {
                std::future::pending::<()>().await;
            }
            true
        }
    });
    let layer = HealthGateLayer::with_config(check, every_second());
    let monitor = layer.monitor();
    let calls = balanced(&layer);
    calls().await;
    assert_eq!(monitor.healthy().healthy, 2, "it did not answer in time");
    assert!(monitor.is_running());
    monitor.stop().await;
    armed.store(false, SeqCst);
    monitor.start();
    sleep(SECOND * 5).await;
    assert_eq!(monitor.healthy().healthy, 3);
}

/// On the real clock, since there is no other outside of a runtime.
#[test]
fn a_stop_outside_of_a_runtime_waits_no_longer_than_a_second_either() {
    let stops = |monitor: HealthMonitor| {
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            futures::executor::block_on(monitor.stop());
            let _ = done.send(());
        });
        is_done.recv_timeout(SECOND * 10).unwrap();
    };
    // One whose runtime is not driven.
    let (_world, layer, monitor) = made(every_second());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gate = runtime.block_on(async { connect(&layer, "a") });
    assert!(monitor.is_running());
    stops(monitor.clone());
    assert!(!monitor.is_running());
    drop((gate, runtime));

    // One whose listener is stuck.
    let (release, stuck) = std::sync::mpsc::channel::<()>();
    let (entered, is_in) = std::sync::mpsc::channel();
    let (stuck, events) = (Mutex::new(stuck), Events::new());
    let listens = events.subscribe(move |_| {
        let _ = entered.send(());
        let _ = stuck.lock().unwrap().recv();
    });
    let world = World::default();
    let layer = HealthGateLayer::with_config(world.clone(), every_second()).with_events(&events);
    world.is("a", false);
    let monitor = layer.monitor();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gate = runtime.block_on(async { connect(&layer, "a") });
    is_in.recv_timeout(SECOND * 10).unwrap();
    stops(monitor);
    drop((release, gate, runtime, listens));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_who_waits_for_a_round() {
    let (world, layer, monitor) = made(seldom());
    let gate = connect(&layer, "a");
    world.takes("a", SECOND);
    let waits = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.force_check().await }
    });
    sleep(SECOND / 2).await;
    monitor.stop().await;
    // At once again: what waits is of the run that was stopped.
    monitor.start();
    assert_eq!(waits.await.unwrap(), None);
    assert_eq!(monitor.force_check().await.unwrap().total, 1);
    drop(gate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn starts_and_stops_from_many_tasks_leave_one_loop_or_none() {
    let config = every_second().with_interval(Duration::from_millis(1)).with_parallel(100);
    let (busy, twice) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (flag, count) = (busy.clone(), twice.clone());
    let check = check_fn(move |_| {
        // One target: two checks of it at once are two loops.
        let (flag, count) = (flag.clone(), count.clone());
        async move {
            struct Clear(Arc<AtomicBool>);
            impl Drop for Clear {
                fn drop(&mut self) {
                    self.0.store(false, SeqCst);
                }
            }
            if flag.swap(true, SeqCst) {
                count.fetch_add(1, SeqCst);
            }
            let _clear = Clear(flag);
            tokio::task::yield_now().await;
            true
        }
    });
    let layer = HealthGateLayer::with_config(check, config);
    let gate = connect(&layer, "a");
    let monitor = layer.monitor();
    let tasks = (0..16).map(|number| {
        let monitor = monitor.clone();
        tokio::spawn(async move {
            for round in 0..200 {
                match (number + round) % 3 {
                    0 => monitor.start(),
                    1 => monitor.stop().await,
                    _ => {
                        let _ = monitor.force_check().await;
                    }
                }
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    monitor.stop().await;
    assert!(!busy.load(SeqCst), "what ran was given up");
    monitor.start();
    assert!(monitor.force_check().await.is_some());
    assert_eq!(twice.load(SeqCst), 0);
    drop(gate);
}

// The healthy set.

/// Each set that a task was told which follows them.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn following(monitor: &HealthMonitor, mut known: Option<HealthySet>) -> Self {
        let (told, monitor) = (Self::default(), monitor.clone());
        let tells = told.clone();
        tokio::spawn(async move {
            loop {
                let set = monitor.changed(known.as_ref()).await;
                let keys: Vec<_> = set.endpoints.iter().map(|endpoint| endpoint.key()).collect();
                assert_eq!(set.healthy, keys.len());
                let text = format!("{}/{}", keys.join(""), set.total);
                tells.0.lock().unwrap().push(text);
                known = Some(set);
            }
        });
        told
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn each_healthy_set_is_told_once() {
    let (world, layer, monitor) = made(seldom());
    let told = Told::following(&monitor, None);
    let mut gates: Vec<_> = ["a", "b", "c"].iter().map(|key| connect(&layer, key)).collect();
    sleep(SECOND).await;
    assert!(told.take().is_empty(), "not before each was checked");
    monitor.force_check().await;
    sleep(SECOND).await;
    assert_eq!(told.take(), ["abc/3"], "once after the first round");
    monitor.force_check().await;
    sleep(SECOND).await;
    assert!(told.take().is_empty(), "nothing has changed");

    // Two that change at once are one set.
    world.is("a", false);
    world.is("c", false);
    monitor.force_check().await;
    sleep(SECOND).await;
    assert_eq!(told.take(), ["b/3"]);
    // Those who change places are another set of the same size.
    world.is("a", true);
    world.is("b", false);
    monitor.force_check().await;
    sleep(SECOND).await;
    assert_eq!(told.take(), ["a/3"]);
    // One that comes, one that leaves, and an ill one that leaves.
    gates.push(connect(&layer, "d"));
    sleep(SECOND).await;
    assert_eq!(told.take(), ["ad/4"]);
    drop(gates.remove(0));
    sleep(SECOND).await;
    assert_eq!(told.take(), ["d/3"]);
    drop(gates.remove(0));
    sleep(SECOND).await;
    assert!(told.take().is_empty(), "who is healthy has not changed");
    // All of the rest.
    gates.clear();
    sleep(SECOND).await;
    assert_eq!(told.take(), ["/0"], "also when the last one goes");
    gates.push(connect(&layer, "e"));
    sleep(SECOND).await;
    assert_eq!(told.take(), ["e/1"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_set_that_is_known_the_first_change_is_told() {
    let (world, layer, monitor) = made(seldom());
    let gates = ["a", "b"].map(|key| connect(&layer, key));
    let all = monitor.healthy();
    assert_eq!(all.healthy, 2);
    let told = Told::following(&monitor, Some(all.clone()));
    monitor.force_check().await;
    sleep(SECOND).await;
    assert!(told.take().is_empty());
    world.is("b", false);
    monitor.force_check().await;
    sleep(SECOND).await;
    assert_eq!(told.take(), ["a/2"]);

    // After a stop nothing is told before the first round, which here finds one of two.
    monitor.stop().await;
    let (again, known) = (Told::following(&monitor, None), Told::following(&monitor, Some(all)));
    sleep(SECOND).await;
    monitor.start();
    sleep(SECOND).await;
    assert!(again.take().is_empty() && known.take().is_empty());
    monitor.force_check().await;
    sleep(SECOND).await;
    assert_eq!((again.take(), known.take()), (vec!["a/2".to_owned()], vec!["a/2".to_owned()]));
    assert!(told.take().is_empty(), "it knows this one");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn a_gate_above_is_in_the_set_by_its_number() {
    let (world, layer, monitor) = made(seldom());
    let gate = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(())));
    gate.clone().oneshot(()).await.unwrap();
    monitor.force_check().await;
    let one = monitor.changed(None).await;
    assert!(one.endpoints.is_empty());
    world.is("", false);
    monitor.force_check().await;
    let none = monitor.changed(Some(&one)).await;
    assert_eq!(monitor.status().message, "Issues detected: Exceeded consecutive failure limit");
    drop(gate);
    let gone = monitor.changed(Some(&none)).now_or_never();
    let sets = [Some(one), Some(none), gone].map(|set| set.map(|set| (set.healthy, set.total)));
    assert_eq!(sets, [Some((1, 1)), Some((0, 1)), None], "of the healthy none has gone");
}

#[tokio::test(start_paused = true)]
async fn who_is_late_holds_up_no_check_and_is_told_the_latest() {
    let (world, layer, monitor) = made(seldom());
    let gates: Vec<_> = (0..5).map(|index| connect(&layer, &format!("m{index}"))).collect();
    monitor.force_check().await;
    let first = monitor.changed(None).await;
    for index in 0..5 {
        world.is(&format!("m{index}"), false);
        assert_eq!(monitor.force_check().await.unwrap().healthy, 4 - index);
    }
    let latest = monitor.changed(Some(&first)).await;
    assert_eq!((first.healthy, latest.healthy), (5, 0));
    drop(gates);
}

// Events.

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_is_told_again_and_checks_go_on() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, events) = (calls.clone(), Events::new());
    let listens = events.subscribe(move |_| {
        counted.fetch_add(1, SeqCst);
        panic!("as it does");
    });
    let world = World::default();
    let layer = HealthGateLayer::with_config(world.clone(), seldom()).with_events(&events);
    let gate = connect(&layer, "a");
    let monitor = layer.monitor();
    for turn in 1..=4 {
        world.is("a", turn % 2 == 0);
        monitor.force_check().await;
        sleep(SECOND).await;
        assert_eq!(calls.load(SeqCst), turn);
    }
    monitor.stop().await;
    drop((gate, listens));
}

/// On the real clock, since a thread that blocks holds a paused one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_a_listener_but_not_for_ever() {
    let (entered, stuck) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let left = Arc::new(AtomicUsize::new(0));
    let (enters, held, leaves) = (entered.clone(), stuck.clone(), left.clone());
    let events = Events::new();
    let listens = events.subscribe(move |_| {
        assert_eq!(enters.fetch_add(1, SeqCst), leaves.load(SeqCst), "twice at once");
        while held.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        leaves.fetch_add(1, SeqCst);
    });
    let world = World::default();
    let layer = HealthGateLayer::with_config(world.clone(), seldom()).with_events(&events);
    let (monitor, gates) = (layer.monitor(), ["a", "b"].map(|key| connect(&layer, key)));
    world.is("a", false);
    let round = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.force_check().await }
    });
    while entered.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // The gate shut before it was told.
    assert!(!layer.handle_for("a").unwrap().is_healthy());
    let began = Instant::now();
    monitor.stop().await;
    let took = began.elapsed();
    assert!((SECOND..SECOND * 2).contains(&took), "{took:?}");
    stuck.store(false, SeqCst);
    monitor.stop().await;
    assert_eq!(round.await.unwrap(), None);
    let calls = entered.load(SeqCst);
    drop(gates);
    sleep(Duration::from_millis(50)).await;
    assert_eq!((entered.load(SeqCst), left.load(SeqCst)), (calls, calls));
    drop(listens);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_told_after_a_stop() {
    let config = every_second().with_interval(Duration::from_millis(1)).with_jitter(1.0);
    let (stopped, late) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_stopped, counted) = (stopped.clone(), late.clone());
    let (told, flips) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (events, all) = (Events::new(), told.clone());
    let listens = events.subscribe(move |event| {
        assert!(matches!(event.kind, EventKind::Health { .. }));
        all.fetch_add(1, SeqCst);
        counted.fetch_add(usize::from(is_stopped.load(SeqCst)), SeqCst);
    });
    let layer = HealthGateLayer::with_config(
        check_fn(move |_| {
            let well = flips.fetch_add(1, SeqCst) % 2 == 0;
            async move { well }
        }),
        config.with_interval_unhealthy(Duration::from_millis(1)),
    )
    .with_events(&events);
    let gates: Vec<_> = (0..20).map(|index| connect(&layer, &format!("m{index}"))).collect();
    let monitor = layer.monitor();
    for _ in 0..30 {
        stopped.store(false, SeqCst);
        monitor.start();
        monitor.wait_first_round(SECOND).await;
        sleep(Duration::from_millis(3)).await;
        monitor.stop().await;
        stopped.store(true, SeqCst);
        sleep(Duration::from_millis(3)).await;
    }
    assert!(late.load(SeqCst) == 0 && told.load(SeqCst) > 0);
    drop((gates, listens));
}

// Futures that are given up.

/// Makes a future, polls it so often, gives it up; once for each number of polls until it is done.
async fn given_up_everywhere<F: Future>(mut make: impl FnMut() -> F) {
    for polls in 0.. {
        let mut future = Box::pin(make());
        let mut done = false;
        for _ in 0..polls {
            done = timeout(Duration::ZERO, &mut future).await.is_ok();
            if done {
                break;
            }
            sleep(SECOND / 4).await;
        }
        drop(future);
        if done {
            return;
        }
        assert!(polls < 1_000, "it never ends");
    }
}

#[tokio::test(start_paused = true)]
async fn every_future_may_be_given_up_anywhere() {
    let (world, layer, monitor) = made(every_second());
    let keys = ["a", "b", "c"];
    let gates = keys.map(|key| connect(&layer, key));
    keys.iter().for_each(|key| world.takes(key, SECOND / 2));
    world.is("b", false);
    let (handle, probed) = (layer.handle_for("a").unwrap(), world.clone());
    let retry = RetryChecks::default().with_max_retries(2);

    given_up_everywhere(|| monitor.check(Some(endpoint("a")))).await;
    given_up_everywhere(|| handle.check()).await;
    given_up_everywhere(|| monitor.check_all(keys.map(endpoint))).await;
    let later = || Instant::now() + SECOND * 3;
    given_up_everywhere(|| monitor.check_all_until(keys.map(endpoint), later())).await;
    given_up_everywhere(|| {
        monitor.check_with_retry(Some(endpoint("b")), retry.clone(), None, |_, _| {})
    })
    .await;
    given_up_everywhere(|| monitor.force_check()).await;
    given_up_everywhere(|| monitor.wait_first_round(SECOND * 5)).await;
    given_up_everywhere(|| monitor.changed(None)).await;
    monitor.stop().await;
    assert_eq!(probed.running(), 0, "nothing was left behind");
    given_up_everywhere(|| {
        monitor.start();
        monitor.stop()
    })
    .await;

    // And all is as ever.
    monitor.start();
    let told = Told::following(&monitor, None);
    let round = timeout(SECOND * 5, monitor.force_check()).await.unwrap().unwrap();
    assert_eq!((round.total, round.healthy), (3, 2));
    sleep(SECOND).await;
    assert_eq!(told.take(), ["ac/3"]);
    let asked = world.asked();
    sleep(SECOND * 10).await;
    assert_eq!(world.asked() - asked, 30);
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn two_sets_that_share_a_layer_are_both_checked() {
    let (world, layer, monitor) = made(every_second());
    let gates = [connect(&layer, "a"), connect(&layer, "a"), connect(&layer, "b")];
    sleep(SECOND * 2).await;
    let asked = world.asked();
    sleep(SECOND * 10).await;
    assert_eq!(world.asked() - asked, 30);
    assert_eq!((monitor.healthy().total, monitor.statuses().len()), (2, 2));
    assert!(format!("{monitor:?}").contains("total: 2"));
    assert_eq!(monitor.status().message, "All components healthy");
    world.is("b", false);
    sleep(SECOND * 2).await;
    let status = monitor.status();
    assert_eq!(status.message, "Issues detected: b: Exceeded consecutive failure limit");
    drop(gates);
}
