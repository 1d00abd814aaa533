//! A set that changes while its endpoints fail comes to the same as one that is built of the last endpoints.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use support::{Answer, Ask, Farm, Probe, Readiness, ms, secs, settle};
use tower::{Layer, ServiceExt};
use tower_upstream::{
    BalanceLayer, Endpoint,
    balance::{Balance, BalanceConfig, BalanceHandle, RoundRobin, SlowStartConfig},
    discover::Memory,
    endpoint::Status,
    member::{Member, Reason},
};

type Set = Balance<Probe, RoundRobin>;

const KEYS: u32 = 9;

#[derive(Debug, Clone, Copy)]
struct Say {
    port: u16,
    weight: u32,
    priority: u32,
    status: Status,
    draining: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32, Say),
    Remove(u32),
    /// All at once, and what stays is a value of its own.
    Replace(BTreeMap<u32, Say>),
    /// The same again, as a registry that is polled gives it.
    Again,
    Answers(u32, bool),
    Dies(u32),
    Calls(u32),
    Eject(u32),
    Uneject(u32),
    Disable(u32, bool),
    Passes(u64),
}

fn says() -> impl Strategy<Value = Say> {
    let status = prop_oneof![
        6 => Just(Status::Passing),
        1 => Just(Status::Warning),
        1 => Just(Status::Critical),
    ];
    (1..3_u16, 0..4_u32, 0..2_u32, status, prop::bool::weighted(0.1)).prop_map(
        |(port, weight, priority, status, draining)| Say {
            port,
            weight,
            priority,
            status,
            draining,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..KEYS, says()).prop_map(|(key, say)| Step::Insert(key, say)),
        3 => (0..KEYS).prop_map(Step::Remove),
        2 => prop::collection::btree_map(0..KEYS, says(), 0..9).prop_map(Step::Replace),
        1 => Just(Step::Again),
        4 => (0..KEYS, any::<bool>()).prop_map(|(key, good)| Step::Answers(key, good)),
        2 => (0..KEYS).prop_map(Step::Dies),
        5 => (1..60_u32).prop_map(Step::Calls),
        1 => (0..KEYS).prop_map(Step::Eject),
        1 => (0..KEYS).prop_map(Step::Uneject),
        2 => (0..KEYS, any::<bool>()).prop_map(|(key, on)| Step::Disable(key, on)),
        3 => (1..40_000_u64).prop_map(Step::Passes),
    ];
    prop::collection::vec(step, 1..40)
}

fn key(number: u32) -> String {
    format!("k{number}")
}

fn endpoint(number: u32, say: Say) -> Endpoint {
    Endpoint::new(format!("h{number}:{}", say.port))
        .unwrap()
        .with_key(key(number))
        .with_weight(say.weight)
        .with_priority(say.priority)
        .with_status(say.status)
        .with_draining(say.draining)
}

fn config(slow_start: bool) -> BalanceConfig {
    let config = BalanceConfig::default().with_fail_fast_after(ms(20)).with_panic_threshold(0);
    if slow_start { config.with_slow_start(SlowStartConfig::over(secs(5))) } else { config }
}

fn set(farm: &Farm, source: &Memory, config: BalanceConfig) -> (Set, BalanceHandle) {
    let layer = BalanceLayer::with_config(source.clone(), RoundRobin::starting_at(0), config);
    let handle = layer.handle();
    (layer.layer(farm.clone()), handle)
}

async fn calls(set: &Set, count: u32) -> BTreeSet<String> {
    let mut served = BTreeSet::new();
    for number in 0..count {
        match set.clone().oneshot(Ask::new(number)).await {
            Ok(key) => drop(served.insert(key)),
            Err(error) => served.extend(error.endpoint().map(str::to_owned)),
        }
    }
    served
}

/// All that there is to say of a member, but for what it counted.
fn says_of(handle: &BalanceHandle) -> Vec<(Endpoint, u32, u32, Vec<Reason>)> {
    let of = |member: Arc<Member>| {
        let endpoint = (*member.endpoint()).clone();
        (endpoint, member.weight(), member.tier(), member.reasons().collect())
    };
    handle.members().into_iter().map(of).collect()
}

/// Those of the members that a set of one priority chooses from.
fn expected(members: &[Arc<Member>]) -> Vec<&Arc<Member>> {
    let is_in = |member: &&Arc<Member>| member.reasons().all(|reason| reason == Reason::Busy);
    let well: Vec<_> = members.iter().filter(is_in).collect();
    let weighted: Vec<_> = well.iter().copied().filter(|member| member.weight() > 0).collect();
    if weighted.is_empty() { well } else { weighted }
}

struct World {
    farm: Farm,
    source: Memory,
    set: Set,
    handle: BalanceHandle,
}

impl World {
    async fn step(&self, step: Step) {
        let farm = |number| self.farm.get(&key(number));
        match step {
            Step::Insert(number, say) => self.source.insert(endpoint(number, say)).unwrap(),
            Step::Remove(number) => drop(self.source.remove(&key(number))),
            Step::Replace(all) => {
                let all = all.into_iter().map(|(number, say)| endpoint(number, say));
                self.source.replace(all).unwrap();
            }
            Step::Again => {
                let same: Vec<_> = self.source.snapshot().iter().map(|of| (**of).clone()).collect();
                self.source.replace(same).unwrap();
            }
            Step::Answers(number, good) => {
                farm(number).answers(if good { Answer::Good } else { Answer::Fails });
            }
            Step::Dies(number) => {
                farm(number).is(Readiness::Dead);
                calls(&self.set, 3 * KEYS).await;
                farm(number).is(Readiness::Ready);
            }
            Step::Calls(count) => drop(calls(&self.set, count).await),
            Step::Eject(number) => drop(self.handle.eject(&key(number))),
            Step::Uneject(number) => drop(self.handle.uneject(&key(number))),
            Step::Disable(number, true) => drop(self.handle.disable(&key(number))),
            Step::Disable(number, false) => drop(self.handle.enable(&key(number))),
            Step::Passes(millis) => tokio::time::sleep(ms(millis)).await,
        }
    }

    /// What holds at any time, given the members of before.
    async fn check(&self, before: &[Arc<Member>]) -> Result<(), TestCaseError> {
        let members = self.handle.members();
        let endpoints = self.source.snapshot();
        prop_assert_eq!(members.len(), endpoints.len());
        for (member, endpoint) in members.iter().zip(endpoints.iter()) {
            prop_assert_eq!(&member.endpoint(), endpoint);
            let was = before.iter().find(|was| was.key() == member.key());
            if let Some(was) = was.filter(|was| was.endpoint().address() == endpoint.address()) {
                prop_assert!(Arc::ptr_eq(was, member), "{} is another", member.key());
            }
        }
        let expected = expected(&members);
        if members.iter().all(|member| member.endpoint().priority() == 0 && member.tier() == 0) {
            prop_assert_eq!(self.handle.candidates(), expected.len());
            let served = calls(&self.set, 2 * members.len() as u32).await;
            // A call may eject or kill what was well before it.
            for of in expected.iter().filter(|of| of.is_eligible()) {
                prop_assert!(served.contains(of.key()), "{} gets nothing: {served:?}", of.key());
            }
        }
        Ok(())
    }

    /// All faults are over, and nobody says anything.
    async fn rest(&self) {
        for number in 0..KEYS {
            let inner = self.farm.get(&key(number));
            inner.answers(Answer::Good);
            inner.is(Readiness::Ready);
            self.handle.enable(&key(number));
            self.handle.uneject(&key(number));
        }
        for _ in 0..3 {
            tokio::time::sleep(secs(400)).await;
            calls(&self.set, 3 * KEYS).await;
        }
        tokio::time::sleep(secs(20)).await;
    }
}

async fn run(steps: Vec<Step>, slow_start: bool) -> Result<(), TestCaseError> {
    let (farm, source) = (Farm::default(), Memory::new(Vec::<Endpoint>::new()).unwrap());
    let (set, handle) = set(&farm, &source, config(slow_start));
    let world = World { farm, source, set, handle };
    calls(&world.set, 1).await;
    for step in steps {
        let (before, rebuilds) = (world.handle.members(), world.handle.rebuilds());
        let revision = world.source.snapshot().revision().to_owned();
        world.step(step).await;
        settle().await;
        if revision != world.source.snapshot().revision() {
            prop_assert!(world.handle.rebuilds() > rebuilds, "a rebuild is counted");
        }
        world.check(&before).await?;
    }
    world.rest().await;
    let (new, fresh) = self::set(&world.farm, &world.source, config(slow_start));
    calls(&new, 1).await;
    tokio::time::sleep(secs(20)).await;
    prop_assert_eq!(says_of(&world.handle), says_of(&fresh));
    prop_assert_eq!(world.handle.candidates(), fresh.candidates());
    prop_assert_eq!(world.handle.is_health_ignored(), fresh.is_health_ignored());
    // Where nothing changes, nothing is made anew.
    let rebuilds = world.handle.rebuilds();
    tokio::time::sleep(secs(100)).await;
    prop_assert_eq!(world.handle.rebuilds(), rebuilds);
    drop((new, world.set));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_set_that_changed_is_as_one_that_is_new(steps in steps(), slow_start: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, slow_start))?;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_again_changes_nothing_and_a_member_that_stays_keeps_what_it_counted() {
    let farm = Farm::default();
    let endpoints = || (0..100).map(|of| Endpoint::new(format!("h{of:02}:1")).unwrap());
    let source = Memory::new(endpoints()).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    assert_eq!(calls(&set, 100).await.len(), 100);
    let before = handle.members();
    source.replace(endpoints()).unwrap();
    settle().await;
    source.replace(endpoints().skip(1).chain([Endpoint::new("new:1").unwrap()])).unwrap();
    settle().await;
    let after = handle.members();
    assert!(before[1..].iter().zip(&after).all(|(was, is)| Arc::ptr_eq(was, is)));
    assert!(after[..99].iter().all(|member| member.calls() == 1));
    assert_eq!(calls(&set, 100).await.len(), 100);
    assert_eq!(after[99].calls(), 1);
    assert!(after.iter().all(|member| farm.get(member.key()).connects() == 1));
    // The one that left is let go of, and the service of none is kept twice.
    assert_eq!(farm.get("h00:1").services.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(farm.get("h01:1").services.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_on_probation_that_no_call_goes_to_changes_nothing() {
    let farm = Farm::default();
    let standby = |port| Endpoint::new(format!("standby:{port}")).unwrap().with_priority(1);
    let source = Memory::new([Endpoint::new("first:1").unwrap(), standby(1), standby(2)]).unwrap();
    let (set, handle) = set(&farm, &source, BalanceConfig::default());
    calls(&set, 3).await;
    for standby in ["standby:1", "standby:2"] {
        farm.get(standby).answers(Answer::Fails);
    }
    farm.get("first:1").is(Readiness::Dead);
    calls(&set, 60).await;
    farm.get("first:1").is(Readiness::Ready);
    tokio::time::sleep(secs(1_000)).await;
    assert_eq!(calls(&set, 20).await, ["first:1".to_owned()].into());
    settle().await;
    let before = handle.rebuilds();
    tokio::time::sleep(secs(1_000)).await;
    assert_eq!(handle.rebuilds(), before);
}
