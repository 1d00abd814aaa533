//! Sessions: when the calls of one stay at an endpoint, and when they move.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod cases;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use support::{Answer, Ask, Farm, Probe, Readiness, ms, secs, settle};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Endpoint, Error, FailoverLayer, Outcome,
    balance::{Balance, BalanceConfig, BalanceHandle, Regime, RoundRobin, Seeded, Sticky},
    discover::Memory,
    endpoint::Status,
    key,
    member::{Member, Reason, Veto},
    session::SessionTable,
    telemetry::{EventKind, Events, Subscription},
};

type Key = key::Optional<fn(&Ask) -> Option<u32>>;
type Strategy = Sticky<RoundRobin, SessionTable<Key>>;

/// Asks of no session have numbers from 1,000 on.
fn table() -> SessionTable<Key> {
    fn session(ask: &Ask) -> Option<u32> {
        (ask.number < 1_000).then_some(ask.number)
    }
    SessionTable::by_key(key::optional(session as fn(&Ask) -> Option<u32>))
}

struct Story {
    set: Balance<Probe, Strategy>,
    farm: Farm,
    endpoints: Memory,
    handle: BalanceHandle,
    moves: Arc<Mutex<Vec<String>>>,
    _listening: Subscription,
}

impl Story {
    fn new(keys: &[&str]) -> Self {
        Self::of(keys.iter().map(|key| Endpoint::new(*key).unwrap()).collect(), table())
    }

    fn of(endpoints: Vec<Endpoint>, sessions: SessionTable<Key>) -> Self {
        let (farm, endpoints) = (Farm::default(), Memory::new(endpoints).unwrap());
        let (events, moves) = (Events::new(), Arc::new(Mutex::new(Vec::new())));
        let seen = moves.clone();
        let listening = events.subscribe(move |event| {
            if event.kind == EventKind::SessionMoved {
                assert_eq!(event.kind.as_str(), "sticky_rebind");
                seen.lock().unwrap().push(event.endpoint.as_deref().unwrap().to_owned());
            }
        });
        let strategy = Sticky::new(RoundRobin::new(), sessions).with_drain_timeout(secs(20));
        let layer = BalanceLayer::new(endpoints.clone(), strategy).with_events(&events);
        let handle = layer.handle();
        let set = layer.layer(farm.clone());
        Self { set, farm, endpoints, handle, moves, _listening: listening }
    }

    async fn ask(&self, number: u32) -> String {
        let answer = self.set.clone().oneshot(Ask::new(number)).await.unwrap();
        settle().await;
        answer
    }

    /// Where the session stays, which it does.
    async fn home(&self, session: u32) -> String {
        let home = self.ask(session).await;
        for _ in 0..5 {
            assert_eq!(self.ask(session).await, home);
        }
        home
    }

    fn member(&self, key: &str) -> Arc<Member> {
        self.handle.members().into_iter().find(|member| member.key() == key).unwrap()
    }

    fn moves(&self) -> Vec<String> {
        std::mem::take(&mut *self.moves.lock().unwrap())
    }
}

const THREE: [&str; 3] = ["a:1", "b:1", "c:1"];

#[tokio::test(start_paused = true)]
async fn calls_of_a_session_stay_and_others_are_balanced() {
    let story = Story::new(&THREE);
    let homes = [story.home(1).await, story.home(2).await, story.home(3).await];
    assert!(homes.iter().any(|home| *home != homes[0]), "{homes:?}");
    let mut others = Vec::new();
    for number in 1_000..1_006 {
        others.push(story.ask(number).await);
    }
    others.sort();
    assert_eq!(others, ["a:1", "a:1", "b:1", "b:1", "c:1", "c:1"]);
    // Others come and go.
    let all = ["a:1", "b:1", "c:1", "d:1", "e:1"].map(|key| Endpoint::new(key).unwrap());
    story.endpoints.replace(all).unwrap();
    settle().await;
    let again = [story.home(1).await, story.home(2).await, story.home(3).await];
    assert_eq!(again, homes);
    assert_eq!(story.moves(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_moves_once_its_endpoint_can_take_no_call_and_stays_where_it_came() {
    type Bars = fn(&Story, &str) -> Option<Veto>;
    fn raised(story: &Story, key: &str, reason: Reason) -> Option<Veto> {
        let veto = story.member(key).veto(reason);
        veto.raise();
        Some(veto)
    }
    let ways: [Bars; 6] = [
        |story, key| raised(story, key, Reason::CircuitOpen),
        |story, key| raised(story, key, Reason::Unhealthy),
        |story, key| raised(story, key, Reason::Ejected),
        |story, key| {
            assert!(story.handle.disable(key));
            None
        },
        |story, key| {
            let sick = |of: &Endpoint| {
                if of.key() == key { of.clone().with_status(Status::Critical) } else { of.clone() }
            };
            let all = story.handle.members();
            story
                .endpoints
                .replace(all.iter().map(|member| sick(&member.endpoint())).collect::<Vec<_>>())
                .unwrap();
            None
        },
        |story, key| {
            let left = THREE.iter().filter(|of| **of != key);
            story
                .endpoints
                .replace(left.map(|key| Endpoint::new(*key).unwrap()).collect::<Vec<_>>())
                .unwrap();
            None
        },
    ];
    for (way, bar) in ways.into_iter().enumerate() {
        let story = Story::new(&THREE);
        let home = story.home(7).await;
        let veto = bar(&story, &home);
        settle().await;
        let next = story.home(7).await;
        assert_ne!(next, home, "{way}");
        assert_eq!(story.moves(), [&*next], "{way}");
        drop(veto);
        story.handle.enable(&home);
        story.endpoints.replace(THREE.map(|key| Endpoint::new(key).unwrap())).unwrap();
        settle().await;
        assert_eq!(story.home(7).await, next, "{way}: it does not go back");
        assert_eq!(story.moves(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_drains_keeps_its_sessions_until_its_time_is_over() {
    for by_operator in [true, false] {
        let story = Story::new(&THREE);
        let home = story.home(7).await;
        if by_operator {
            assert!(story.handle.drain(&home));
        } else {
            let drains = |key: &str| Endpoint::new(key).unwrap().with_draining(key == home);
            story.endpoints.replace(THREE.map(drains)).unwrap();
        }
        settle().await;
        for number in (20..30).chain(1_000..1_010) {
            assert_ne!(story.ask(number).await, home, "no new ones");
        }
        for _ in 0..9 {
            assert_eq!(story.home(7).await, home);
            sleep(secs(2)).await;
        }
        sleep(secs(3)).await;
        let next = story.home(7).await;
        assert_ne!(next, home);
        assert_eq!(story.moves(), [next]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_drains_and_is_unhealthy_keeps_none() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    let veto = story.member(&home).veto(Reason::Unhealthy);
    story.handle.drain(&home);
    settle().await;
    assert_eq!(story.home(7).await, home);
    veto.raise();
    settle().await;
    assert_ne!(story.home(7).await, home);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_it_belongs_to_what_answered() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    let stack = FailoverLayer::new(Attempts::up_to(3)).layer(story.set.clone());
    let ask = async || {
        let answer: Result<String, Error> = stack.clone().oneshot(Ask::new(7)).await;
        settle().await;
        answer
    };
    story.farm.get(&home).answers(Answer::Fails);
    let next = ask().await.unwrap();
    assert_ne!(next, home);
    assert_eq!(story.moves(), [&*next]);
    assert_eq!(story.home(7).await, next, "it is remembered");
    // Where none answers, it stays where it was.
    story.farm.answers(Answer::Fails);
    assert!(ask().await.is_err());
    story.farm.answers(Answer::Good);
    assert_eq!(story.home(7).await, next);
    assert_eq!(story.moves(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_remembered_once_it_was_answered() {
    let sessions = table();
    let endpoints = THREE.map(|key| Endpoint::new(key).unwrap());
    let story = Story::of(endpoints.into(), sessions.clone());
    story.ask(1_000).await;
    story.farm.answers(Answer::Never);
    let call = tokio::spawn(story.set.clone().oneshot(Ask::new(7)));
    settle().await;
    assert!(!call.is_finished());
    call.abort();
    settle().await;
    story.farm.answers(Answer::Fails);
    assert!(story.set.clone().oneshot(Ask::new(7)).await.is_err());
    assert!(sessions.is_empty());
    story.farm.answers(Answer::Good);
    story.home(7).await;
    assert_eq!(sessions.len(), 1);
    assert_eq!(story.moves(), [""; 0], "it never had another");
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_in_another_priority_that_has_no_load_any_more() {
    let endpoints = ["a:1", "b:1"].map(|key| Endpoint::new(key).unwrap());
    let [first, second] = endpoints;
    let story = Story::of(vec![first, second.with_priority(1)], table());
    assert_eq!(story.home(1).await, "a:1");
    let veto = story.member("a:1").veto(Reason::CircuitOpen);
    veto.raise();
    settle().await;
    assert_eq!((story.home(1).await, story.home(2).await), ("b:1".into(), "b:1".into()));
    veto.clear();
    sleep(secs(120)).await;
    assert_eq!(story.home(3).await, "a:1", "new ones");
    assert_eq!((story.home(1).await, story.home(2).await), ("b:1".into(), "b:1".into()));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_own_endpoint_and_then_for_any() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    story.farm.get(&home).is(Readiness::Pending);
    let start = Instant::now();
    let call = tokio::spawn(story.set.clone().oneshot(Ask::new(7)));
    sleep(ms(400)).await;
    assert!(!call.is_finished(), "others are ready");
    story.farm.get(&home).is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), home);

    story.farm.get(&home).is(Readiness::Pending);
    let begin = Instant::now();
    let next = story.ask(7).await;
    assert!(next != home && begin.elapsed() >= ms(500) && begin.elapsed() < ms(600));
    assert_eq!(story.moves(), [&*next]);
    assert_eq!(story.home(7).await, next);
    // Dead: there is nothing to wait for.
    story.farm.get(&next).is(Readiness::Dead);
    let begin = Instant::now();
    assert_ne!(story.ask(7).await, next);
    assert!(begin.elapsed() < ms(20), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_a_time_without_a_call() {
    let story = Story::of(
        THREE.map(|key| Endpoint::new(key).unwrap()).into(),
        table().with_session_timeout(secs(60)),
    );
    let home = story.home(7).await;
    for _ in 0..10 {
        advance(secs(59)).await;
        assert_eq!(story.ask(7).await, home, "each call makes it last");
    }
    // A new session is in turn.
    let mut seen = Vec::new();
    for _ in 0..3 {
        advance(secs(60)).await;
        seen.push(story.ask(7).await);
    }
    seen.sort();
    assert_eq!(seen, THREE);
    assert_eq!(story.moves(), [""; 0], "it has not moved, but ended");
}

#[tokio::test(start_paused = true)]
async fn a_table_has_a_bound_and_those_that_call_stay() {
    let sessions = table().with_max_sessions(10);
    let story = Story::of(THREE.map(|key| Endpoint::new(key).unwrap()).into(), sessions.clone());
    let home = story.home(0).await;
    for number in 1..500 {
        story.ask(number).await;
        assert_eq!(story.ask(0).await, home);
        assert!(sessions.len() <= 10);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_of_sessions_are_not_hedged_and_their_decisions_say_why() {
    let farm = Farm::default();
    let config = BalanceConfig::default().with_explain(1.0);
    let endpoints = Memory::new(THREE).unwrap();
    let strategy = Sticky::new(RoundRobin::new(), table());
    let mut set = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2).hedge(ms(5))))
        .layer(BalanceLayer::with_config(endpoints, strategy, config))
        .service(farm.clone());
    THREE.iter().for_each(|key| farm.get(key).answers(Answer::GoodAfter(ms(100))));
    let home = set.ready().await.unwrap().call(Ask::new(7)).await.unwrap();
    assert_eq!(set.ready().await.unwrap().call(Ask::new(7)).await.unwrap(), home);
    assert_eq!(farm.calls(), 2, "one each");
    farm.all().iter().for_each(|inner| inner.answers(Answer::Fails));
    let error = set.ready().await.unwrap().call(Ask::new(7)).await.unwrap_err();
    let first = error.history()[0].decision().unwrap();
    assert_eq!((first.endpoint(), first.regime()), (Some(&*home), Regime::Session));
    assert_eq!(error.decision().unwrap().regime(), Regime::Failover);
}

#[tokio::test(start_paused = true)]
async fn of_calls_at_once_the_first_answer_decides_and_later_ones_move_nothing() {
    let story = Story::new(&THREE);
    story.ask(1_000).await;
    for (key, after) in THREE.iter().zip([10, 20, 30]) {
        story.farm.get(key).answers(Answer::GoodAfter(ms(after)));
    }
    for session in 0..6 {
        let call = || tokio::spawn(story.set.clone().oneshot(Ask::new(session)));
        let (one, other) = (call(), call());
        let answers = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
        assert_ne!(answers[0], answers[1]);
        assert_eq!(Some(&story.home(session).await), answers.iter().min());
    }
    assert_eq!(story.moves(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_counts_as_a_failure_begins_and_moves_no_session() {
    let (farm, sessions) = (Farm::default(), table());
    let fails = Arc::new(AtomicBool::new(true));
    let judged = fails.clone();
    let layer = BalanceLayer::new(
        Memory::new(THREE).unwrap(),
        Sticky::new(RoundRobin::new(), sessions.clone()),
    )
    .with_classify(move |_: Result<&String, &BoxError>| match judged.load(Ordering::SeqCst) {
        true => Outcome::Failure,
        false => Outcome::Success,
    });
    let handle = layer.handle();
    let set = layer.layer(farm);
    let ask = async || set.clone().oneshot(Ask::new(7)).await.unwrap();
    let mut seen = [ask().await, ask().await, ask().await];
    seen.sort();
    assert_eq!(seen, THREE, "in turn");
    assert!(sessions.is_empty());
    fails.store(false, Ordering::SeqCst);
    let home = ask().await;
    assert_eq!(ask().await, home);
    fails.store(true, Ordering::SeqCst);
    let veto = handle.members().iter().find(|of| of.key() == home).unwrap().veto(Reason::Ejected);
    veto.raise();
    settle().await;
    assert_ne!(ask().await, home);
    veto.clear();
    settle().await;
    assert_eq!(ask().await, home, "nothing else has answered");
}

#[tokio::test(start_paused = true)]
async fn a_choice_for_a_call_elsewhere_is_remembered_once_that_went_well() {
    let story = Story::new(&THREE);
    story.ask(1_000).await;
    let pick = || story.set.pick(&Ask::new(7)).unwrap();
    let mut seen = Vec::new();
    for end in [Some(Outcome::Failure), Some(Outcome::Ignored), None] {
        let picked = pick();
        seen.push(picked.endpoint().key().to_owned());
        if let Some(outcome) = end {
            picked.report(outcome);
        }
    }
    seen.sort();
    assert_eq!(seen, THREE, "in turn");
    let first = pick();
    let home = first.endpoint().key().to_owned();
    first.report(Outcome::Success);
    for _ in 0..5 {
        assert_eq!(pick().endpoint().key(), home);
    }
    assert_eq!(story.home(7).await, home);
    assert_eq!(story.moves(), [""; 0]);
    let veto = story.member(&home).veto(Reason::Ejected);
    veto.raise();
    settle().await;
    let next = pick();
    let moved_to = next.endpoint().key().to_owned();
    next.report(Outcome::Success);
    assert_eq!(story.moves(), [moved_to]);
}

#[tokio::test(start_paused = true)]
async fn where_all_endpoints_drain_they_keep_their_sessions_until_their_time_is_over() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    THREE.iter().for_each(|key| assert!(story.handle.drain(key)));
    settle().await;
    let ask = |number| tokio::spawn(story.set.clone().oneshot(Ask::new(number)));
    assert_eq!(ask(7).await.unwrap().unwrap(), home, "at once");
    assert!(ask(1_000).await.unwrap().is_err(), "no others");
    for _ in 0..7 {
        assert_eq!(story.home(7).await, home, "also once others fail fast");
        assert_eq!(story.set.pick(&Ask::new(7)).unwrap().endpoint().key(), home);
        assert!(story.set.pick(&Ask::new(1_000)).is_err());
        sleep(secs(2)).await;
    }
    // It is waited for as ever.
    story.farm.get(&home).is(Readiness::Pending);
    let call = ask(7);
    sleep(ms(300)).await;
    story.farm.get(&home).is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), home);
    sleep(secs(8)).await;
    assert!(ask(7).await.unwrap().is_err());
    assert!(story.set.pick(&Ask::new(7)).is_err());
    assert_eq!(story.moves(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_longer_than_a_session_lasts_moves_it_all_the_same() {
    let endpoints = THREE.map(|key| Endpoint::new(key).unwrap());
    let story = Story::of(endpoints.into(), table().with_session_timeout(secs(60)));
    let home = story.home(7).await;
    let veto = story.member(&home).veto(Reason::Ejected);
    veto.raise();
    settle().await;
    story.farm.answers(Answer::GoodAfter(secs(100)));
    let next = story.ask(7).await;
    assert_ne!(next, home);
    story.farm.answers(Answer::Good);
    assert_eq!(story.home(7).await, next);
    assert_eq!(story.moves(), [next]);
}
