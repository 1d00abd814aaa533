//! What a health gate promises.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    convert::Infallible,
    future::{Ready, pending, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    Endpoint, Error, HealthGateLayer,
    choose::{Choose, Chooses, Chosen, Tried},
    connect::Connect,
    connect_fn,
    error::Kind,
    health::{CheckService, HealthConfig, HealthGate, Verdict, check_fn, check_upstream},
    member::{Member, Reason},
};

/// Answers at once; counts how often it was polled, and notes what was called without readiness.
#[derive(Clone, Default)]
struct Upstream {
    polls: Arc<AtomicUsize>,
    ready: bool,
}

impl Service<u32> for Upstream {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        ready(Ok(number))
    }
}

fn member(key: impl Into<Arc<str>>) -> Arc<Member> {
    Member::new(Endpoint::new("http://10.0.0.1:80").unwrap().with_key(key))
}

fn connect(layer: &HealthGateLayer, member: &Arc<Member>) -> HealthGate<Upstream> {
    layer.layer(connect_fn(|_: &Endpoint| Upstream::default())).connect(member)
}

/// A check every second, on time.
fn every_second() -> HealthConfig {
    HealthConfig::default().with_interval(SECOND).with_interval_unhealthy(SECOND).with_jitter(0.0)
}

const SECOND: Duration = Duration::from_secs(1);

async fn call(gate: &HealthGate<Upstream>) -> Result<u32, Error> {
    gate.clone().oneshot(7).await
}

/// A check with a switch, and how often it was asked.
#[derive(Clone)]
struct Switch {
    well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Switch {
    fn new() -> Self {
        Self { well: Arc::new(AtomicBool::new(true)), asked: Arc::default() }
    }

    fn turn(&self, well: bool) {
        self.well.store(well, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self) -> Result<(), &'static str> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.well.load(Ordering::Relaxed).then_some(()).ok_or("switched off")
    }

    /// Waits for a check, and half a second more: from here on, n seconds are n checks.
    async fn between_checks(&self) {
        let before = self.asked();
        while self.asked() == before {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(SECOND / 2).await;
    }

    fn upstream(&self, config: HealthConfig) -> HealthGateLayer {
        let switch = self.clone();
        HealthGateLayer::with_config(check_upstream(move || ready(switch.ask())), config)
    }

    fn each(&self, config: HealthConfig) -> HealthGateLayer {
        let switch = self.clone();
        HealthGateLayer::with_config(check_fn(move |_| ready(switch.ask())), config)
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_above_refuses_after_three_failures_and_opens_after_two_successes() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second());
    let upstream = Upstream::default();
    let gate = layer.layer(upstream.clone());
    assert_eq!(call(&gate).await.unwrap(), 7);
    switch.between_checks().await;
    sleep(SECOND * 5).await;
    switch.turn(false);
    let mut failed = 0;
    while layer.handle().is_healthy() {
        sleep(SECOND).await;
        failed += 1;
    }
    assert_eq!((failed, layer.handle().state().failures), (3, 3));

    let polls = upstream.polls.load(Ordering::Relaxed);
    let refused = call(&gate).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code().as_str()), (Kind::Unhealthy, "HEALTH_1601"));
    assert!(refused.is_refused() && refused.is_unsent());
    assert_eq!(upstream.polls.load(Ordering::Relaxed), polls, "the inner is not even asked");

    switch.turn(true);
    sleep(SECOND).await;
    assert!(call(&gate).await.is_err(), "one success is not enough");
    sleep(SECOND).await;
    assert_eq!(call(&gate).await.unwrap(), 7);
    let state = layer.handle().state();
    assert_eq!((state.failed, state.last_error.as_deref()), (3, Some("switched off")));
    assert_eq!(state.last_latency, Some(Duration::ZERO));
    assert!(state.checks >= 10 && state.lasting <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn rise_and_fall_are_as_set() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second().with_fall(1).with_rise(4));
    let gate = layer.layer(Upstream::default());
    call(&gate).await.unwrap();
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND).await;
    assert!(call(&gate).await.is_err());
    switch.turn(true);
    sleep(SECOND * 3).await;
    assert!(call(&gate).await.is_err());
    sleep(SECOND).await;
    call(&gate).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_stands_though_the_gate_opens_before_the_call() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second().with_fall(1).with_rise(1));
    let mut gate = layer.layer(Upstream::default());
    call(&gate).await.unwrap();
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND).await;
    gate.ready().await.unwrap();
    switch.turn(true);
    sleep(SECOND).await;
    assert!(layer.handle().is_healthy());
    assert!(gate.call(1).await.is_err(), "its inner service is not ready");
    assert_eq!(gate.ready().await.unwrap().call(2).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_gate_below_bars_its_member_and_lets_every_call_pass() {
    let switch = Switch::new();
    let layer = switch.each(every_second());
    let member = member("a");
    let gate = connect(&layer, &member);
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND * 3).await;
    assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Unhealthy]);
    assert!(!layer.handle_for("a").unwrap().is_healthy());
    assert_eq!(call(&gate).await.unwrap(), 7, "a panic may use it");
    switch.turn(true);
    sleep(SECOND * 2).await;
    assert!(member.is_eligible());
    switch.turn(false);
    sleep(SECOND * 3).await;
    assert!(!member.is_eligible());
    let handle = layer.handle_for("a").unwrap();
    drop(gate);
    assert!(member.is_eligible(), "a veto ends with its gate, whatever the handles");
    assert!(layer.handle_for("a").is_none() && !handle.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_connected_anew_keeps_its_state_and_is_checked_once() {
    let switch = Switch::new();
    let layer = switch.each(every_second());
    let member = member("a");
    let first = connect(&layer, &member);
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND * 3).await;
    let second = connect(&layer, &member);
    drop(first);
    assert!(!member.is_eligible());
    let asked = switch.asked();
    sleep(SECOND * 10).await;
    assert_eq!(switch.asked() - asked, 10);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn what_is_unhealthy_is_checked_more_often() {
    let switch = Switch::new();
    let config = every_second()
        .with_interval(SECOND * 10)
        .with_interval_unhealthy(SECOND)
        .with_fall(1)
        .with_rise(100);
    let layer = switch.upstream(config);
    let gate = layer.layer(Upstream::default());
    call(&gate).await.unwrap();
    switch.between_checks().await;
    let asked = switch.asked();
    sleep(SECOND * 20).await;
    assert_eq!(switch.asked() - asked, 2);
    switch.turn(false);
    sleep(SECOND * 10).await;
    let asked = switch.asked();
    sleep(SECOND * 20).await;
    assert_eq!(switch.asked() - asked, 20);
}

#[tokio::test(start_paused = true)]
async fn the_first_checks_are_spread_and_all_are_jittered() {
    let moments = Arc::new(Mutex::new(Vec::<(Arc<str>, Instant)>::new()));
    let seen = moments.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        seen.lock().unwrap().push((endpoint.key().into(), Instant::now()));
        ready(true)
    });
    let config = HealthConfig::default().with_interval(SECOND * 10);
    let layer = HealthGateLayer::with_config(check, config.with_interval_unhealthy(SECOND * 10));
    let members: Vec<_> = (0..1_000).map(|index| member(format!("m{index}"))).collect();
    let began = Instant::now();
    let gates: Vec<_> = members.iter().map(|member| connect(&layer, member)).collect();
    sleep(SECOND * 10 + Duration::from_millis(2)).await;
    {
        let moments = moments.lock().unwrap();
        let checked: HashSet<_> = moments.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(checked.len(), 1_000, "each within the first interval");
        for second in 0..10 {
            let within = moments.iter().filter(|(_, at)| (*at - began).as_secs() == second);
            assert!((50..=160).contains(&within.count()), "spread evenly");
        }
    }
    sleep(SECOND * 90).await;
    let moments = moments.lock().unwrap();
    let of_one: Vec<_> =
        moments.iter().filter(|(key, _)| &**key == "m7").map(|(_, at)| *at).collect();
    let gaps: Vec<_> = of_one.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 8);
    let near = |gap: &Duration| (8_900..=11_100).contains(&gap.as_millis());
    assert!(gaps.iter().all(near), "{gaps:?}");
    assert!(gaps.iter().any(|gap| gap.as_millis().abs_diff(10_000) > 20), "{gaps:?}");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_looked_at_is_asked_soon_and_then_spread_over_the_interval() {
    let moments = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let seen = moments.clone();
    let check = check_fn(move |_| {
        seen.lock().unwrap().push(Instant::now());
        ready(true)
    });
    let layer = HealthGateLayer::with_config(check, every_second().with_interval(SECOND * 3_600));
    let began = Instant::now();
    let gates: Vec<_> =
        (0..1_000).map(|index| connect(&layer, &member(format!("m{index}")))).collect();
    sleep(SECOND * 7_202).await;
    let moments = moments.lock().unwrap();
    let within = |from: u64, to: u64| {
        moments.iter().filter(|at| (from..to).contains(&(**at - began).as_secs())).count()
    };
    assert!(within(0, 2) >= 1_000, "calls pass already, so each is asked at once");
    for tenth in 0..10 {
        let count = within(2 + tenth * 360, 2 + (tenth + 1) * 360);
        assert!((50..=160).contains(&count), "they do not go on as they came: {count}");
    }
    let again = within(3_602, 7_202);
    assert!((995..=1_005).contains(&again), "and then each every hour: {again}");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn many_that_hang_delay_only_themselves() {
    let check = check_fn(|endpoint: Arc<Endpoint>| async move {
        if endpoint.key().starts_with("hangs") {
            pending::<()>().await;
        }
        true
    });
    let layer = HealthGateLayer::with_config(check, every_second().with_timeout(SECOND * 5));
    let keys = (0..100).map(|index| format!("hangs{index}"));
    let keys = keys.chain((0..100).map(|index| format!("well{index}")));
    let members: Vec<_> = keys.map(member).collect();
    let gates: Vec<_> = members.iter().map(|member| connect(&layer, member)).collect();
    sleep(SECOND * 30).await;
    for member in &members[100..] {
        let checks = layer.handle_for(member.key()).unwrap().state().checks;
        assert!((29..=31).contains(&checks), "{}: {checks}", member.key());
    }
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_run_at_once_and_who_waits_keeps_its_turn() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let check = check_fn(move |_| {
        let (now, peak) = (now.clone(), peak.clone());
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(SECOND).await;
            now.fetch_sub(1, Ordering::Relaxed);
            true
        }
    });
    let layer = HealthGateLayer::with_config(check, every_second().with_parallel_scheduled(3));
    let members: Vec<_> = (0..12).map(|index| member(format!("m{index}"))).collect();
    let gates: Vec<_> = members.iter().map(|member| connect(&layer, member)).collect();
    sleep(SECOND * 41).await;
    assert_eq!(most.load(Ordering::Relaxed), 3);
    // 3 a second for 12 members: every four seconds.
    for member in &members {
        let checks = layer.handle_for(member.key()).unwrap().state().checks;
        assert!((8..=11).contains(&checks), "{checks}");
    }
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_has_failed_after_the_timeout_and_skips_its_own_ticks() {
    let check = check_fn(|endpoint: Arc<Endpoint>| async move {
        if endpoint.key() == "hangs" {
            pending::<()>().await;
        }
        true
    });
    let config = every_second().with_timeout(SECOND * 3).with_fall(2);
    let layer = HealthGateLayer::with_config(check, config);
    let (hangs, well) = (member("hangs"), member("well"));
    let gates = (connect(&layer, &hangs), connect(&layer, &well));
    sleep(SECOND * 41).await;
    let state = layer.handle_for("hangs").unwrap().state();
    assert_eq!(state.last_error.as_deref(), Some("no answer within 3s"));
    assert_eq!(state.last_latency, Some(SECOND * 3));
    assert!((9..=10).contains(&state.checks), "every fourth tick: {}", state.checks);
    assert!(layer.handle_for("well").unwrap().state().checks >= 40);
    assert!(!hangs.is_eligible() && well.is_eligible());
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_has_failed_and_the_others_go_on() {
    let check = check_fn(|endpoint: Arc<Endpoint>| {
        assert!(endpoint.key() != "at once", "panics before its future");
        async move {
            assert!(endpoint.key() != "later", "panics in its future");
            true
        }
    });
    let layer = HealthGateLayer::with_config(check, every_second());
    let members = ["at once", "later", "well"].map(member);
    let gates = members.each_ref().map(|member| connect(&layer, member));
    sleep(SECOND * 5).await;
    assert_eq!(members.each_ref().map(|member| member.is_eligible()), [false, false, true]);
    let state = layer.handle_for("later").unwrap().state();
    assert_eq!(state.last_error.as_deref(), Some("the check panicked"));
    assert!(state.checks >= 4);
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn skipped_checks_and_refusals_of_ours_count_for_nothing() {
    let layer =
        HealthGateLayer::with_config(check_upstream(|| ready(Verdict::Skipped)), every_second());
    let gate = layer.layer(Upstream::default());
    call(&gate).await.unwrap();
    sleep(SECOND * 10).await;
    assert_eq!(layer.handle().state().checks, 0);

    let limited = tower_upstream::RateLimitLayer::new(tower_upstream::Quota::per_minute(1));
    let ping = limited.layer(service_fn(|_: Arc<Endpoint>| ready(Ok::<_, Infallible>(()))));
    let layer = HealthGateLayer::with_config(CheckService::new(ping), every_second());
    let member = member("a");
    let gate = connect(&layer, &member);
    sleep(SECOND * 30).await;
    assert_eq!(layer.handle_for("a").unwrap().state().checks, 1);
    assert!(member.is_eligible());
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_a_check() {
    let ping = service_fn(|endpoint: Arc<Endpoint>| {
        ready(match endpoint.key() {
            "well" => Ok(()),
            _ => Err(std::io::Error::other("no route")),
        })
    });
    let layer = HealthGateLayer::with_config(CheckService::new(ping), every_second());
    let (well, ill) = (member("well"), member("ill"));
    let gates = (connect(&layer, &well), connect(&layer, &ill));
    sleep(SECOND * 4).await;
    assert!(well.is_eligible() && !ill.is_eligible());
    let state = layer.handle_for("ill").unwrap().state();
    assert_eq!(state.last_error.as_deref(), Some("no route"));
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_gate_and_begins_again_with_the_next() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let gate = layer.layer(Upstream::default());
    sleep(SECOND * 3).await;
    assert_eq!((switch.asked(), tasks()), (0, before), "not before its first use");
    call(&gate).await.unwrap();
    switch.between_checks().await;
    sleep(SECOND * 2).await;
    assert_eq!((switch.asked(), tasks()), (3, before + 1));
    drop(gate);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before);
    sleep(SECOND * 3).await;
    assert_eq!(switch.asked(), 3);
    assert_eq!(layer.handle().state().checks, 3, "what was found is kept");
    let again = layer.layer(Upstream::default());
    call(&again).await.unwrap();
    switch.between_checks().await;
    sleep(SECOND * 2).await;
    assert_eq!((switch.asked(), tasks()), (6, before + 1));
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn members_that_left_are_forgotten() {
    let switch = Switch::new();
    let layer = switch.each(every_second());
    let keep = member("keep");
    let kept = connect(&layer, &keep);
    switch.between_checks().await;
    for round in 0..50 {
        let gates: Vec<_> =
            (0..20).map(|index| connect(&layer, &member(format!("{round}/{index}")))).collect();
        sleep(SECOND).await;
        drop(gates);
    }
    sleep(SECOND * 2).await;
    let asked = switch.asked();
    sleep(SECOND * 10).await;
    assert_eq!(switch.asked() - asked, 10);
    drop(kept);
}

#[test]
fn without_a_runtime_there_is_an_error_and_a_runtime_that_ended_is_replaced() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    let switch = Switch::new();
    let layer = switch.upstream(every_second());
    let gate = layer.layer(Upstream::default());
    let mut outside = gate.clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Service::<u32>::poll_ready(&mut outside, &mut cx).is_ready());
    let mut answer = tokio_test::task::spawn(outside.call(1));
    let Poll::Ready(Err(error)) = answer.poll() else {
        panic!("no error");
    };
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.is_unsent());

    for round in 1..=3 {
        runtime().block_on(async {
            call(&gate).await.unwrap();
            switch.between_checks().await;
            sleep(SECOND * 2).await;
        });
        assert_eq!(switch.asked(), round * 3);
    }

    // A runtime that ends before the task was polled at all.
    let switch = Switch::new();
    let layer = switch.each(every_second());
    let member = member("a");
    let short = runtime();
    let guard = short.enter();
    let gate = connect(&layer, &member);
    drop(guard);
    drop(short);
    runtime().block_on(async {
        call(&gate).await.unwrap();
        switch.between_checks().await;
        sleep(SECOND * 2).await;
    });
    assert_eq!(switch.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_needs_an_endpoint_refuses_every_call_above() {
    let layer = HealthGateLayer::new(check_fn(|_| ready(true)));
    let gate = layer.layer(Upstream::default());
    let error = call(&gate).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.is_unsent() && error.to_string().contains("check_upstream"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_one_layer_value_makes_shares_its_state_and_a_fresh_one_does_not() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second());
    let gates = [layer.layer(Upstream::default()), layer.clone().layer(Upstream::default())];
    for gate in &gates {
        call(gate).await.unwrap();
    }
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND * 3).await;
    assert_eq!(switch.asked(), 4, "one task for both");
    for gate in &gates {
        assert!(call(gate).await.is_err());
    }
    let fresh = layer.fresh();
    call(&fresh.layer(Upstream::default())).await.unwrap();
    assert!(fresh.handle().is_healthy() && !layer.handle().is_healthy());
    // Kept though all gates are gone.
    drop(gates);
    assert!(call(&layer.layer(Upstream::default())).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_are_checked_on_time() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let check = check_fn(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        ready(true)
    });
    let layer = HealthGateLayer::with_config(check, every_second());
    let connector = layer.layer(connect_fn(|_: &Endpoint| Upstream::default()));
    let members: Vec<_> = (0..10_000).map(|index| member(format!("m{index}"))).collect();
    let gates: Vec<_> = members.iter().map(|member| connector.connect(member)).collect();
    sleep(SECOND * 3 + Duration::from_millis(5)).await;
    let asked = asked.load(Ordering::Relaxed);
    assert!((29_900..=30_100).contains(&asked), "{asked}");
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn the_go_defaults_of_a_plugin_and_of_the_monitor() {
    for (config, interval, rise) in [(HealthConfig::go(), 30, 1), (HealthConfig::monitor(), 15, 2)]
    {
        let switch = Switch::new();
        let layer = switch.upstream(config);
        let gate = layer.layer(Upstream::default());
        call(&gate).await.unwrap();
        switch.between_checks().await;
        switch.turn(false);
        sleep(SECOND * interval * 2).await;
        assert_eq!((switch.asked(), layer.handle().is_healthy()), (3, true));
        sleep(SECOND * interval).await;
        assert_eq!((switch.asked(), layer.handle().is_healthy()), (4, false));
        // As seldom while it is unhealthy, and then after as many as it takes.
        switch.turn(true);
        sleep(SECOND * interval * rise).await;
        assert_eq!((switch.asked(), layer.handle().is_healthy()), (4 + rise as usize, true));
        drop(gate);
    }
}

/// Chooses one member.
#[derive(Clone)]
struct Chooser(Arc<Member>);

struct Choosing(Arc<Member>);

impl Service<u32> for Chooser {
    type Response = ();
    type Error = Infallible;
    type Future = Choosing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Choosing {
        Choosing(self.0.clone())
    }
}

impl Chooses for Chooser {
    fn has_untried(&self, tried: &Tried) -> bool {
        !tried.contains(&self.0)
    }
}

impl Choose<u32> for Chooser {
    type Choosing = Choosing;

    fn call_avoiding(&mut self, _: u32, _: &Tried) -> Choosing {
        Choosing(self.0.clone())
    }
}

impl Future for Choosing {
    type Output = Result<(), Infallible>;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

impl Chosen for Choosing {
    fn chosen(&self) -> Option<&Arc<Member>> {
        Some(&self.0)
    }

    fn is_unsent(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_choice_passes_through() {
    let switch = Switch::new();
    let layer = switch.upstream(every_second().with_fall(1));
    let mut gate = layer.layer(Chooser(member("a")));
    assert!(Chooses::has_untried(&gate, &Tried::default()));
    gate.ready().await.unwrap();
    let choosing = gate.call_avoiding(1, &Tried::default());
    assert!(choosing.chosen().is_some() && !choosing.is_unsent());
    switch.between_checks().await;
    switch.turn(false);
    sleep(SECOND).await;
    gate.ready().await.unwrap();
    let refused = gate.call_avoiding(1, &Tried::default());
    assert!(refused.chosen().is_none() && refused.is_unsent());
    assert!(timeout(SECOND, refused).await.unwrap().is_err());
}

#[test]
fn everything_is_send_sync_and_debug() {
    fn is<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let layer = HealthGateLayer::new(check_upstream(|| ready(true)));
    is(&layer);
    is(&layer.layer(()));
    is(&layer.handle());
    assert!(format!("{:?}", layer.layer(())).contains("healthy: true"));
}

#[cfg(feature = "http")]
mod http {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tower_upstream::{HttpCheck, health::Check};

    use super::*;

    /// Answers every connection with `answer`, and notes the heads of what it was asked.
    async fn serve(answer: impl Into<Vec<u8>>) -> (Arc<Endpoint>, Arc<Mutex<Vec<String>>>) {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = heads.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                noted.lock().unwrap().push(String::from_utf8(head).unwrap());
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        let endpoint = Endpoint::new(format!("http://{address}/base/")).unwrap();
        (Arc::new(endpoint), heads)
    }

    #[tokio::test]
    async fn statuses_from_200_to_399_are_healthy_and_redirects_are_not_followed() {
        let (target, redirected) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        for (status, healthy) in [
            (200, true),
            (204, true),
            (301, true),
            (399, true),
            (101, false),
            (400, false),
            (404, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let location = target.address();
            let (endpoint, heads) = serve(format!(
                "HTTP/1.1 {status} X\r\nlocation: {location}\r\nretry-after: 1\r\n\r\n"
            ))
            .await;
            let verdict = HttpCheck::get("/health").check(Some(endpoint.clone())).await;
            let expected = match healthy {
                true => Verdict::Healthy,
                false => Verdict::Unhealthy(format!("unhealthy status code: {status}").into()),
            };
            assert_eq!(verdict, expected);
            let heads = heads.lock().unwrap();
            assert_eq!(heads.len(), 1);
            let head = heads[0].to_ascii_lowercase();
            assert!(head.starts_with("get /base/health http/1.1\r\n"), "{head}");
            let host = format!("\r\nhost: {}\r\n", endpoint.address().authority());
            assert!(head.contains(&host) && head.contains("\r\nconnection: close\r\n"));
            assert!(head.contains("\r\nuser-agent: tower-upstream/"), "{head}");
        }
        assert!(redirected.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn other_statuses_can_be_expected_and_headers_sent() {
        let (endpoint, heads) = serve("HTTP/1.1 301 X\r\n\r\n").await;
        let check = HttpCheck::get("health").expect(200..=299).header("x-key", "abc");
        let verdict = check.check(Some(endpoint)).await;
        assert_ne!(verdict, Verdict::Healthy);
        assert!(heads.lock().unwrap()[0].contains("x-key: abc\r\n"));
    }

    #[tokio::test]
    async fn garbage_silence_and_endless_heads_are_unhealthy() {
        for answer in [
            b"garbage\r\n\r\n".to_vec(),
            Vec::new(),
            b"HTTP/1.1 200 OK\r\nx: ".iter().copied().chain([b'a'; 100_000]).collect(),
        ] {
            let (endpoint, _) = serve(answer).await;
            match HttpCheck::get("/").check(Some(endpoint)).await {
                Verdict::Unhealthy(reason) => {
                    assert!(reason.starts_with("request failed: "), "{reason}")
                }
                other => panic!("{other:?}"),
            }
        }
        let gone = Arc::new(Endpoint::new("http://127.0.0.1:1").unwrap());
        assert!(matches!(HttpCheck::get("/").check(Some(gone)).await, Verdict::Unhealthy(_)));
    }

    #[tokio::test]
    async fn an_endless_body_is_not_read() {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n".to_vec();
        answer.resize(4_000_000, b'x');
        let (endpoint, _) = serve(answer).await;
        assert_eq!(HttpCheck::get("/").check(Some(endpoint)).await, Verdict::Healthy);
    }

    /// On a paused clock, which runs ahead to the timeout as soon as all wait.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_unhealthy_after_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(listener.local_addr().unwrap().to_string()).unwrap();
        let member = Member::new(endpoint.with_key("mute"));
        let layer = HealthGateLayer::with_config(HttpCheck::get("/"), every_second());
        let gate = connect(&layer, &member);
        while member.is_eligible() {
            sleep(SECOND).await;
        }
        let state = layer.handle_for("mute").unwrap().state();
        assert_eq!(state.last_error.as_deref(), Some("no answer within 2s"));
        drop((gate, listener));
    }

    #[tokio::test]
    async fn above_a_balancer_a_url_is_needed() {
        let (endpoint, heads) = serve("HTTP/1.1 200 OK\r\n\r\n").await;
        let url = format!("http://{}/ready", endpoint.address().authority());
        assert_eq!(HttpCheck::get(url).check(None).await, Verdict::Healthy);
        assert!(heads.lock().unwrap()[0].starts_with("GET /ready "));

        let gate = HealthGateLayer::new(HttpCheck::get("/health")).layer(Upstream::default());
        let error = call(&gate).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidConfig);
        assert!(error.to_string().contains("absolute URL"), "{error}");
    }

    #[tokio::test]
    async fn a_member_that_cannot_be_asked_refuses_with_its_name() {
        let member = Member::new(Endpoint::new("ftp://a").unwrap());
        let gate = connect(&HealthGateLayer::new(HttpCheck::get("/health")), &member);
        let error = call(&gate).await.unwrap_err();
        assert_eq!((error.kind(), error.endpoint()), (Kind::InvalidConfig, Some("ftp://a")));
        assert!(member.is_eligible());
    }
}
