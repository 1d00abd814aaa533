//! More of when a session moves: what others were bitten by.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_and_goes_moves_each_session_once() {
    let story = Story::new(&THREE);
    let homes = [story.home(1).await, story.home(2).await, story.home(3).await];
    let flapping = &homes[0];
    let mut moves = Vec::new();
    for _ in 0..10 {
        assert!(story.handle.disable(flapping));
        settle().await;
        for session in 1..=3 {
            story.ask(session).await;
        }
        moves.extend(story.moves());
        assert!(story.handle.enable(flapping));
        settle().await;
        for session in 1..=3 {
            story.ask(session).await;
        }
        moves.extend(story.moves());
    }
    let there = homes.iter().filter(|home| *home == flapping).count();
    assert_eq!(moves.len(), there, "{moves:?}");
}

#[tokio::test(start_paused = true)]
async fn no_session_begins_with_a_call_that_panics_or_that_the_caller_spoiled() {
    for answer in [Answer::Panics, Answer::CallersFault, Answer::Fails] {
        let sessions = table();
        let endpoints = THREE.map(|key| Endpoint::new(key).unwrap());
        let story = Story::of(endpoints.into(), sessions.clone());
        story.ask(1_000).await;
        story.farm.answers(answer);
        let call = tokio::spawn(story.set.clone().oneshot(Ask::new(7))).await;
        assert!(!matches!(call, Ok(Ok(_))), "{answer:?}");
        settle().await;
        assert!(sessions.is_empty(), "{answer:?}");
        // And none ends by it.
        story.farm.answers(Answer::Good);
        let home = story.home(7).await;
        story.farm.answers(answer);
        let _ = tokio::spawn(story.set.clone().oneshot(Ask::new(7))).await;
        story.farm.answers(Answer::Good);
        assert_eq!(story.home(7).await, home, "{answer:?}");
        assert_eq!(story.moves(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_leaves_an_endpoint_without_weight_and_none_does_if_all_have_none() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    assert!(THREE.iter().all(|key| story.handle.set_weight(key, 0)));
    settle().await;
    assert_eq!(story.home(7).await, home);
    THREE.iter().filter(|key| **key != home).for_each(|key| {
        story.handle.set_weight(key, 1);
    });
    settle().await;
    let next = story.home(7).await;
    assert_ne!(next, home);
    assert_eq!(story.moves(), [next]);
}

#[tokio::test(start_paused = true)]
async fn seeded_choices_have_sessions_as_well() {
    async fn check<P>(strategy: P)
    where
        P: tower_upstream::balance::Pick<Ask> + Clone,
    {
        let endpoints = Memory::new(THREE).unwrap();
        let set = BalanceLayer::new(endpoints, strategy).layer(Farm::default());
        let ask = async || set.clone().oneshot(Ask::new(7)).await.unwrap();
        let home = ask().await;
        for _ in 0..9 {
            assert_eq!(ask().await, home);
        }
    }
    check(Seeded::new(Sticky::new(RoundRobin::new(), table()), 7)).await;
    check(Sticky::new(Seeded::new(RoundRobin::new(), 7), table())).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_are_told_apart_by_all_of_their_keys() {
    let sessions = SessionTable::by_key(|ask: &Ask| (ask.number % 10, ask.number / 10));
    let strategy = Sticky::new(RoundRobin::new(), sessions.clone());
    let set = BalanceLayer::new(Memory::new(THREE).unwrap(), strategy).layer(Farm::default());
    let ask = async |number| set.clone().oneshot(Ask::new(number)).await.unwrap();
    let mut homes = Vec::new();
    for number in 0..300 {
        homes.push(ask(number).await);
    }
    assert_eq!(sessions.len(), 300);
    for (number, home) in (0..).zip(&homes) {
        assert_eq!(&ask(number).await, home);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_the_endpoints_waits_for_its_own_as_ever() {
    let sessions = table();
    let before = Story::of(THREE.map(|key| Endpoint::new(key).unwrap()).into(), sessions.clone());
    let home = before.home(7).await;
    for becomes_ready in [true, false] {
        // As after a restart that keeps sessions, or as a cookie does.
        let after = Story::of(Vec::new(), sessions.clone());
        for key in THREE {
            let is_home = key == home;
            after.farm.get(key).is(if is_home { Readiness::Pending } else { Readiness::Ready });
        }
        let start = Instant::now();
        let call = tokio::spawn(after.set.clone().oneshot(Ask::new(7)));
        sleep(ms(100)).await;
        after.endpoints.replace(THREE.map(|key| Endpoint::new(key).unwrap())).unwrap();
        sleep(ms(400)).await;
        assert!(!call.is_finished(), "others are ready, and it waits for its own");
        if becomes_ready {
            after.farm.get(&home).is(Readiness::Ready);
        }
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer == home, becomes_ready);
        assert!(start.elapsed() < ms(700), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_set_makes_no_call_leave_its_endpoint() {
    let story = Story::new(&THREE);
    let home = story.home(7).await;
    story.farm.get(&home).is(Readiness::Pending);
    let call = tokio::spawn(story.set.clone().oneshot(Ask::new(7)));
    for port in 1..8 {
        sleep(ms(50)).await;
        story.endpoints.insert(&*format!("d:{port}")).unwrap();
    }
    assert!(!call.is_finished());
    story.farm.get(&home).is(Readiness::Ready);
    assert_eq!(call.await.unwrap().unwrap(), home);
}

/// Some go by a key of their own, and some, which are between those, by their address.
fn of_both_kinds() -> Vec<Endpoint> {
    let endpoint = |(key, port): (&str, u16)| match key.contains(':') {
        true => Endpoint::new(key).unwrap(),
        false => Endpoint::new(format!("10.0.0.1:{port}")).unwrap().with_key(key),
    };
    ["a", "b:1", "c", "d:1", "e", "f:1", "g"].into_iter().zip(1..).map(endpoint).collect()
}

#[tokio::test(start_paused = true)]
async fn sessions_stay_whether_endpoints_go_by_keys_or_by_addresses() {
    let story = Story::of(of_both_kinds(), table());
    let mut homes = Vec::new();
    for session in 0..7 {
        homes.push(story.home(session).await);
    }
    homes.sort();
    assert_eq!(homes, ["a", "b:1", "c", "d:1", "e", "f:1", "g"]);
    assert_eq!(story.moves(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_drains_has_its_time_once_whichever_others_leave_meanwhile() {
    for drains in ["b:1", "c", "f:1", "g"] {
        let story = Story::of(of_both_kinds(), table());
        let mut session = 0;
        while story.home(session).await != drains {
            session += 1;
        }
        story.handle.drain(drains);
        for gone in ["a", "e", "d:1"] {
            sleep(secs(5)).await;
            assert!(story.endpoints.remove(gone));
            assert_eq!(story.home(session).await, drains);
        }
        sleep(secs(6)).await;
        assert_ne!(story.home(session).await, drains);
    }
}
