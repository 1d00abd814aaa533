//! What is held of a target, from its first check on, and by which settings.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Endpoint, HealthGateLayer, LeastRequest,
    balance::BalanceLayer,
    connect::Connect,
    connect_fn,
    discover::Memory,
    error::Kind,
    health::{
        Check, HealthConfig, HealthGate, HealthState, Initial, PluginCheck, Verdict, check_fn,
        check_upstream,
    },
    member::Member,
    plugin::{HealthStatus, PluginHealth, PluginStatus},
};

const SECOND: Duration = Duration::from_secs(1);

fn every_second() -> HealthConfig {
    HealthConfig::default()
        .with_timeout(SECOND)
        .with_interval(SECOND)
        .with_interval_unhealthy(SECOND)
        .with_jitter(0.0)
}

fn member(key: &str) -> Arc<Member> {
    Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key))
}

fn connect(layer: &HealthGateLayer, member: &Arc<Member>) -> HealthGate<()> {
    layer.layer(connect_fn(|_: &Endpoint| ())).connect(member)
}

/// A check that answers what is next on the list, and nothing after that.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Verdict>>>);

impl Script {
    fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        Self(Arc::new(Mutex::new(verdicts.into_iter().collect())))
    }

    fn then(&self, verdict: Verdict) {
        self.0.lock().unwrap().push_back(verdict);
    }

    /// Waits until all was answered, for as long as that takes.
    async fn played(&self) {
        while !self.0.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

impl Check for Script {
    async fn check(&self, _: Option<Arc<Endpoint>>) -> Verdict {
        self.0.lock().unwrap().pop_front().unwrap_or(Verdict::Skipped)
    }
}

fn ill() -> Verdict {
    Verdict::Unhealthy("ill".into())
}

fn cold() -> Verdict {
    Verdict::Degraded("cold".into())
}

/// What is held after each of `results`, in which `F` is a failure.
async fn play(config: HealthConfig, results: &str) -> Vec<HealthState> {
    let script = Script::default();
    let layer = HealthGateLayer::with_config(script.clone(), config);
    let member = member("a");
    let gate = connect(&layer, &member);
    let handle = layer.handle_for("a").unwrap();
    let mut states = Vec::new();
    for result in results.chars() {
        script.then(if result == 'F' { ill() } else { Verdict::Healthy });
        script.played().await;
        let state = handle.state();
        assert_eq!(member.is_eligible(), state.healthy);
        states.push(state);
    }
    drop(gate);
    states
}

#[tokio::test(start_paused = true)]
async fn haproxy_rise_fall() {
    let text = include_str!("vectors/haproxy_rise_fall.json");
    let suite: Value = serde_json::from_str(text).unwrap();
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let mut kinds = BTreeMap::<&str, usize>::new();
    for case in suite["cases"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        *kinds.entry(kind).or_default() += 1;
        match kind {
            "checks" => {
                let (rise, fall) = (number(&case["rise"]), number(&case["fall"]));
                let config = every_second().with_rise(rise).with_fall(fall).with_initial(
                    if case["start"] == "UP" { Initial::Healthy } else { Initial::Unhealthy },
                );
                let events = case["events"].as_array().unwrap();
                let events: String = events.iter().map(|event| event.as_str().unwrap()).collect();
                let states = play(config, &events).await;
                for (index, state) in states.iter().enumerate() {
                    let is_up = case["expect_state"][index] == "UP";
                    assert_eq!(state.healthy, is_up, "{case}");
                    // Its one counter is our two.
                    let counter =
                        if is_up { rise + fall - 1 - state.failures } else { state.successes };
                    assert_eq!(counter, number(&case["expect_counter"][index]), "{case}");
                }
            }
            // Slow start is for who was seen as failed, not for who starts.
            "rule" => {
                assert_eq!(case["expect"], "full weight at start");
                let states = play(every_second(), "SSFFFSS").await;
                let recovered = states.iter().map(|state| state.recovered_at.is_some());
                let expected = [false, false, false, false, false, false, true];
                assert_eq!(recovered.collect::<Vec<_>>(), expected);
            }
            // Verdicts from calls and from agents are not those of checks, and a ramp is the
            // balancer's.
            "on_error" | "observe" | "agent" | "slowstart" => {}
            other => panic!("{other}"),
        }
    }
    let out_of_scope = [("on_error", 7), ("observe", 1), ("agent", 1), ("slowstart", 5)];
    let expected =
        BTreeMap::from_iter([("checks", 7), ("rule", 1)].into_iter().chain(out_of_scope));
    assert_eq!(kinds, expected);
}

#[tokio::test(start_paused = true)]
async fn what_holds_before_the_first_check() {
    let open = |states: Vec<HealthState>| -> String {
        states.iter().map(|state| if state.healthy { 'o' } else { '-' }).collect()
    };
    let config = |initial| every_second().with_initial(initial);
    assert_eq!(open(play(config(Initial::Healthy), "FFFSS").await), "oo--o");
    assert_eq!(open(play(config(Initial::Unhealthy), "SFSSF").await), "---oo");
    assert_eq!(open(play(config(Initial::FirstResult), "FSSFFF").await), "--ooo-");
    assert_eq!(open(play(config(Initial::FirstResult), "SFFF").await), "ooo-");

    for (initial, before) in
        [(Initial::Healthy, true), (Initial::Unhealthy, false), (Initial::FirstResult, true)]
    {
        let layer = HealthGateLayer::with_config(Script::default(), config(initial));
        let member = member("a");
        let gate = connect(&layer, &member);
        sleep(SECOND * 5).await;
        let state = layer.handle_for("a").unwrap().state();
        assert_eq!((member.is_eligible(), state.healthy), (before, before), "{initial:?}");
        assert_eq!((state.status, state.checks), (PluginStatus::Unknown, 0));
        drop(gate);

        let alone = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(())));
        assert_eq!(alone.oneshot(()).await.is_ok(), before, "{initial:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_says_how_well_it_does() {
    use PluginStatus::{Degraded, Healthy, Offline, Unhealthy, Unknown};
    let script = Script::default();
    let layer = HealthGateLayer::with_config(script.clone(), every_second());
    let member = member("a");
    let gate = connect(&layer, &member);
    let handle = layer.handle_for("a").unwrap();
    assert_eq!(handle.status().status, Unknown);
    for (verdict, status, message, open) in [
        (Verdict::Healthy, Healthy, "OK", true),
        (cold(), Degraded, "cold", true),
        (Verdict::Skipped, Degraded, "cold", true),
        (ill(), Unhealthy, "ill", true),
        (ill(), Unhealthy, "ill", true),
        (ill(), Offline, "Exceeded consecutive failure limit", false),
        (ill(), Offline, "Exceeded consecutive failure limit", false),
        (cold(), Unhealthy, "Recovering: 1 of 2 checks succeeded", false),
        (ill(), Unhealthy, "ill", false),
        (cold(), Unhealthy, "Recovering: 1 of 2 checks succeeded", false),
        (cold(), Degraded, "cold", true),
        (Verdict::Healthy, Healthy, "OK", true),
    ] {
        script.then(verdict.clone());
        script.played().await;
        let health = handle.status();
        assert_eq!((health.status, &*health.message), (status, message), "{verdict:?}");
        assert_eq!(handle.state().status, status);
        assert_eq!((handle.is_healthy(), member.is_eligible()), (open, open));
        assert!(health.last_check.is_some());
        let reason = health.metadata.get("last_error").map(String::as_str);
        assert_eq!(reason, (!status.is_usable()).then_some("ill"));
    }
    let alone = HealthGateLayer::with_config(ill_check(), every_second().with_enabled(false));
    assert_eq!(alone.handle().status().message, "Health checking disabled");
    drop(gate);
}

fn ill_check() -> impl Check {
    check_upstream(async || false)
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_asked_how_it_does() {
    #[derive(Clone)]
    struct Client(PluginStatus);

    impl PluginHealth for Client {
        async fn health(&self) -> HealthStatus {
            HealthStatus::new(self.0).with_message("its word")
        }
    }

    let verdict = async |status| {
        let check = PluginCheck::new(connect_fn(move |_: &Endpoint| Client(status)));
        assert!(check.problem(None).is_some());
        check.check(Some(member("a").endpoint())).await
    };
    let word = || "its word".into();
    assert_eq!(verdict(PluginStatus::Healthy).await, Verdict::Healthy);
    assert_eq!(verdict(PluginStatus::Degraded).await, Verdict::Degraded(word()));
    assert_eq!(verdict(PluginStatus::Unhealthy).await, Verdict::Unhealthy(word()));
    assert_eq!(verdict(PluginStatus::Offline).await, Verdict::Unhealthy(word()));
    assert_eq!(verdict(PluginStatus::Unknown).await, Verdict::Skipped);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_is_noted_each_time_and_before_the_member_is_eligible() {
    let script = Script::default();
    let config = every_second().with_fall(1).with_rise(1);
    let layer = HealthGateLayer::with_config(script.clone(), config);
    let member = member("a");
    let gate = connect(&layer, &member);
    let handle = layer.handle_for("a").unwrap();
    let mut last = None;
    for _ in 0..3 {
        script.then(ill());
        script.played().await;
        assert_eq!(member.recovered_at(), last, "not while it is ill");
        script.then(Verdict::Healthy);
        script.played().await;
        let (state, now) = (handle.state(), Instant::now());
        assert!(member.recovered_at() > last);
        assert_eq!(member.recovered_at(), state.recovered_at);
        assert_eq!((state.recovered_at, now - state.since), (Some(state.since), state.lasting));
        script.then(Verdict::Healthy);
        script.played().await;
        assert_eq!(handle.state().since, state.since);
        last = member.recovered_at();
    }
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_settled_soon() {
    let checks = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let config = HealthConfig::default()
        .with_interval(SECOND * 60)
        .with_interval_unhealthy(SECOND)
        .with_jitter(0.0);
    let moments = async |config: HealthConfig, script: Script, wait: Duration| {
        let noted = checks.clone();
        let check = check_fn(move |_| {
            noted.lock().unwrap().push(Instant::now());
            let verdict = script.0.lock().unwrap().pop_front().unwrap_or(Verdict::Skipped);
            std::future::ready(verdict)
        });
        let layer = HealthGateLayer::with_config(check, config);
        let (member, began) = (member("a"), Instant::now());
        let gate = connect(&layer, &member);
        sleep(wait).await;
        drop(gate);
        let checks = std::mem::take(&mut *checks.lock().unwrap());
        checks.into_iter().map(|at| (at - began).as_millis()).collect::<Vec<_>>()
    };
    // After a failure, and until nothing is left of it.
    let well = || Verdict::Healthy;
    let script = Script::of([well(), well(), ill(), ill(), well(), well()]);
    let at = moments(config.clone(), script, SECOND * 300).await;
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps[1..5], [60_000, 1_000, 1_000, 60_000]);
    assert!(at[0] <= 1_000 && gaps[0] <= 60_000, "at once, and then within an interval");
    // While nothing is known: within a second, and each second until there is a result.
    for initial in [Initial::FirstResult, Initial::Unhealthy, Initial::Healthy] {
        let at =
            moments(config.clone().with_initial(initial), Script::default(), SECOND * 10).await;
        assert!(at.len() >= 10 && at[0] <= 1_000, "{initial:?}: {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_address_behind_a_key_is_another_target() {
    let ill = Arc::new(Mutex::new(BTreeSet::from(["a:1"])));
    let known = ill.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        std::future::ready(!known.lock().unwrap().contains(endpoint.address().as_str()))
    });
    let layer = HealthGateLayer::with_config(check, every_second());
    let at = |address: &str| Endpoint::new(address).unwrap().with_key("a");
    let endpoints = Memory::new([at("a:1")]).unwrap();
    let balance = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints.clone(), LeastRequest::new()))
        .layer(layer.clone())
        .service(connect_fn(|_: &Endpoint| service_fn(async |(): ()| Ok::<_, Infallible>(()))));
    let _ = balance.clone().oneshot(()).await;
    sleep(SECOND * 5).await;
    let before = layer.handle_for("a").unwrap().state();
    assert!(!before.healthy && before.failures >= 3);

    // A new weight is the same target.
    endpoints.replace([at("a:1").with_weight(7)]).unwrap();
    sleep(SECOND / 10).await;
    let state = layer.handle_for("a").unwrap().state();
    assert!(!state.healthy && state.checks >= before.checks);

    endpoints.replace([at("a:2")]).unwrap();
    sleep(SECOND / 10).await;
    let state = layer.handle_for("a").unwrap().state();
    assert!(state.healthy && state.failures == 0 && state.recovered_at.is_none());
    assert_eq!(layer.monitor().healthy().total, 1, "the newest speaks for its key");
    sleep(SECOND * 5).await;
    assert!(layer.handle_for("a").unwrap().is_healthy());
    assert_eq!(layer.monitor().statuses()["a"].status, PluginStatus::Healthy);
}

// Settings, changed while it runs.

#[tokio::test(start_paused = true)]
async fn an_update_is_for_all_that_the_layer_made_and_will_make() {
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let noted = asked.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        noted.lock().unwrap().push(endpoint.key().to_owned());
        std::future::ready(false)
    });
    let slow = every_second().with_interval(SECOND * 3_600).with_interval_unhealthy(SECOND * 3_600);
    let layer = HealthGateLayer::with_config(check, slow);
    let (one, two, three) = (member("one"), member("two"), member("three"));
    let gates = [connect(&layer, &one), connect(&layer, &two)];
    let count = |key: &str| asked.lock().unwrap().iter().filter(|asked| *asked == key).count();
    sleep(SECOND * 5).await;
    let before = (count("one"), count("two"));

    let invalid = every_second().with_fall(0).with_rise(0);
    let error = layer.handle().update(&invalid).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("fall") && error.to_string().contains("rise"), "{error}");
    sleep(SECOND * 5).await;
    assert_eq!((count("one"), count("two")), before, "nothing was changed");

    layer.handle().update(&every_second().with_fall(100)).unwrap();
    sleep(SECOND * 10 + SECOND / 2).await;
    assert!((10..=11).contains(&(count("one") - before.0)), "the new interval holds at once");
    let kept = layer.handle_for("one").unwrap().state();
    assert!(kept.healthy && kept.failures >= 10);
    layer.handle().update(&every_second().with_fall(3)).unwrap();
    assert_eq!(layer.handle_for("one").unwrap().state().failures, kept.failures);
    sleep(SECOND).await;
    assert!(!one.is_eligible() && !two.is_eligible(), "enough failures in a row already");

    // One that comes later is under the same settings, and one may have others.
    let gate = connect(&layer, &three);
    assert_eq!(layer.handle_for("three").unwrap().config().interval, SECOND);
    let own = every_second().with_interval_unhealthy(SECOND * 3_600);
    layer.handle_for("two").unwrap().update(&own).unwrap();
    assert_eq!(layer.handle_for("two").unwrap().config(), own);
    sleep(SECOND * 2).await;
    let before = (count("one"), count("two"));
    sleep(SECOND * 10).await;
    assert_eq!((count("one") - before.0, count("two") - before.1), (10, 0));
    drop((gates, gate));
}

#[tokio::test(start_paused = true)]
async fn without_checks_every_gate_is_open() {
    let script = Script::default();
    let off = every_second().with_enabled(false).with_initial(Initial::Unhealthy).with_fall(1);
    let layer = HealthGateLayer::with_config(script.clone(), off.clone());
    let member = member("a");
    let gate = connect(&layer, &member);
    script.then(ill());
    sleep(SECOND * 10).await;
    assert_eq!(script.0.lock().unwrap().len(), 1, "nobody asked");
    assert!(member.is_eligible() && layer.handle_for("a").unwrap().is_healthy());

    // On: what holds at first, and then the checks do.
    let on = off.clone().with_enabled(true).with_initial(Initial::Healthy);
    layer.handle().update(&on).unwrap();
    script.played().await;
    assert!(!member.is_eligible());
    let checks = layer.handle_for("a").unwrap().state().checks;
    assert_eq!(checks, 1);

    // Off again: open at once. And on: nothing of before is held against it.
    layer.handle().update(&off).unwrap();
    assert!(member.is_eligible());
    assert_eq!(layer.handle_for("a").unwrap().state().status, PluginStatus::Healthy);
    layer.handle().update(&on).unwrap();
    assert!(member.is_eligible());
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_check_from_before_they_were_off_counts_for_nothing() {
    let (running, finish) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (began, may_end) = (running.clone(), finish.clone());
    let script = Script::of([cold(), ill()]);
    let answers = script.clone();
    let check = check_fn(move |_| {
        let verdict = answers.0.lock().unwrap().pop_front().unwrap_or(Verdict::Healthy);
        let (began, may_end) = (began.clone(), may_end.clone());
        async move {
            began.fetch_add(1, SeqCst);
            may_end.notified().await;
            verdict
        }
    });
    let on = every_second().with_fall(1);
    let layer = HealthGateLayer::with_config(check, on.clone());
    let (member, monitor) = (member("a"), layer.monitor());
    let gate = connect(&layer, &member);
    let handle = layer.handle_for("a").unwrap();
    let begun = async |count: usize| {
        while running.load(SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    begun(1).await;
    finish.notify_one();
    begun(2).await;
    assert_eq!(handle.state().status, PluginStatus::Degraded);
    assert!(monitor.wait_first_round(Duration::ZERO).await);

    layer.handle().update(&on.clone().with_enabled(false)).unwrap();
    layer.handle().update(&on).unwrap();
    assert_eq!(handle.state().status, PluginStatus::Unknown, "nothing is known any more");
    finish.notify_one();
    begun(3).await;
    let state = handle.state();
    assert!(state.healthy && member.is_eligible(), "{state:?}");
    assert_eq!((state.checks, state.failed, state.last_error), (0, 0, None));
    assert!(!monitor.wait_first_round(Duration::ZERO).await, "that was no check of now");
    finish.notify_one();
    begun(4).await;
    assert_eq!((handle.state().checks, handle.state().status), (1, PluginStatus::Healthy));
    assert!(monitor.wait_first_round(Duration::ZERO).await);
    drop(gate);
}

#[test]
fn a_check_may_look_at_its_layer_when_it_is_asked_what_is_wrong() {
    struct Looks(Arc<Mutex<Option<HealthGateLayer>>>);
    impl Check for Looks {
        async fn check(&self, _: Option<Arc<Endpoint>>) -> Verdict {
            Verdict::Healthy
        }

        fn problem(&self, _: Option<&Endpoint>) -> Option<String> {
            let layer = self.0.lock().unwrap().take()?;
            layer.handle().update(&HealthConfig::default()).unwrap();
            drop(layer.layer(()));
            None
        }
    }
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let slot = Arc::new(Mutex::new(None));
        let layer = HealthGateLayer::new(Looks(slot.clone()));
        *slot.lock().unwrap() = Some(layer.clone());
        drop(layer.layer(()));
        *slot.lock().unwrap() = Some(layer.clone());
        drop(connect(&layer, &member("a")));
        done.send(()).unwrap();
    });
    is_done.recv_timeout(SECOND * 10).expect("it waits for its own lock");
}

#[test]
fn without_checks_no_runtime_is_needed() {
    let layer = HealthGateLayer::with_config(ill_check(), every_second().with_enabled(false));
    let mut gate = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(7)));
    let answer = futures::executor::block_on(async {
        Service::<()>::call(gate.ready().await.unwrap(), ()).await
    });
    assert_eq!(answer.unwrap(), 7);

    // A check that could never work makes no difference either.
    let off = HealthConfig::default().with_enabled(false);
    let layer = HealthGateLayer::with_config(check_fn(async |_| true), off);
    let gate = layer.layer(service_fn(async |(): ()| Ok::<_, Infallible>(7)));
    assert_eq!(futures::executor::block_on(gate.oneshot(())).unwrap(), 7);
}
