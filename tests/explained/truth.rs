//! That what a decision tells is so: each reason, each cost, and under what circumstances.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tower::limit::ConcurrencyLimitLayer;
use tower_upstream::{
    balance::{
        Geographic, HealthBased, LeastLatency, OutlierConfig, Pick, Sticky, Strategy,
        WeightedRandom,
    },
    connect::EachLayer,
    endpoint::Locality,
    key,
    member::{InFlight, Member, Reason},
    session::SessionTable,
};

use super::*;

fn endpoint(key: &str) -> Endpoint {
    Endpoint::new(key).unwrap()
}

fn sick(key: &str) -> Endpoint {
    endpoint(key).with_status(Status::Critical)
}

fn layer<P: Strategy>(endpoints: Vec<Endpoint>, strategy: P) -> BalanceLayer<discover::Fixed, P> {
    BalanceLayer::new(discover::fixed(endpoints).unwrap(), strategy)
}

fn why(decision: &Decision, key: &str) -> Option<PassedOver> {
    find(decision, key).passed_over()
}

#[tokio::test(start_paused = true)]
async fn a_session_that_waits_for_its_endpoint_is_told_as_one_also_once_others_are_asked() {
    let by_user = key::optional(|call: &Call<u64>| call.headers().get("x-user").cloned());
    let strategy = Sticky::new(RoundRobin::new(), SessionTable::by_key(by_user));
    let endpoints = ["s:1", "s:2", "s:3"].map(endpoint).into();
    let stack = ServiceBuilder::new()
        .layer(layer(endpoints, strategy).explained(1.0))
        .layer(EachLayer::new(ConcurrencyLimitLayer::new(1)))
        .service(connect_fn(|endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            service_fn(move |call: Call<u64>| answer(key.clone(), call))
        }));
    let call = |user: &str, takes: u64| {
        let call = Call::new(takes).with_header("x-user", user).idempotent();
        tokio::spawn(stack.clone().oneshot(call))
    };
    // Each has one that takes long; that of the session's endpoint ends first.
    let home = call("ann", 600).await.unwrap().unwrap().into_body();
    let mut calls = vec![call("ann", 600)];
    sleep(Duration::from_millis(1)).await;
    calls.extend(["bob", "cid"].map(|user| call(user, 900)));
    sleep(Duration::from_millis(1)).await;
    let reply = call("ann", 0).await.unwrap().unwrap();
    let decision = of(&reply);
    assert_eq!((reply.body(), decision.regime()), (&home, Regime::Session), "{decision}");
    for other in decision.candidates().iter().skip(1) {
        assert_eq!(other.passed_over(), Some(PassedOver::NotReady), "{decision}");
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_panic_health_is_no_reason_and_what_an_operator_said_is() {
    // Nor is it of one that gets none of the load.
    let without = sick("w:1").with_weight(0);
    let endpoints = vec![endpoint("a:1"), sick("b:1"), sick("c:1"), sick("e:1"), without];
    let mut stack = over!(layer(endpoints, LeastRequest::new()).explained(1.0));
    let handle = stack.handle();
    ask(&mut stack, 0).await.unwrap();
    handle.disable("e:1");
    sleep(Duration::from_millis(1)).await;
    for _ in 0..50 {
        let reply = ask(&mut stack, 0).await.unwrap();
        let decision = of(&reply);
        assert_eq!(decision.regime(), Regime::Panic, "{decision}");
        assert_eq!(why(decision, "e:1"), Some(PassedOver::Disabled), "it is unhealthy as well");
        let others = decision.candidates().iter().filter(|of| of.key() != "e:1").skip(1);
        for of in others {
            let reason = of.passed_over().unwrap();
            assert!([PassedOver::Costlier, PassedOver::NotDrawn].contains(&reason), "{decision}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_in_a_panic_health_counts_while_a_healthy_one_is_left() {
    let endpoints = vec![endpoint("a:1"), sick("f:1"), sick("f:2"), sick("f:3")];
    let failover = FailoverLayer::new(Attempts::up_to(4));
    let mut stack = over!(layer(endpoints, RoundRobin::new()).explained(1.0), failover);
    let mut tried = 0;
    for _ in 0..20 {
        let reply = ask(&mut stack, 0).await.unwrap();
        let decision = of(&reply);
        match decision.regime() {
            Regime::Failover => {
                tried += 1;
                let of = |reason| move |of: &&Considered| of.passed_over() == Some(reason);
                let count = |reason| decision.candidates().iter().filter(of(reason)).count();
                let told = (count(PassedOver::Tried), count(PassedOver::Unhealthy));
                assert_eq!(told, (1, 2), "{decision}");
            }
            regime => assert_eq!(regime, Regime::Panic, "{decision}"),
        }
    }
    assert!(tried > 0);
}

#[tokio::test(start_paused = true)]
async fn where_chance_decides_a_lower_cost_is_no_reason() {
    let endpoints = ["a:1", "b:1", "c:1"].map(endpoint).into();
    let mut stack = over!(layer(endpoints, HealthBased::new()).explained(1.0));
    let mut was_dearer = false;
    let handle = stack.handle();
    ask(&mut stack, 0).await.unwrap();
    for (member, ms) in handle.members().iter().zip([10, 12, 14]) {
        member.observe(Duration::from_millis(ms));
    }
    for _ in 0..100 {
        let reply = ask(&mut stack, 0).await.unwrap();
        let decision = of(&reply);
        assert_eq!(decision.regime(), Regime::Random, "{decision}");
        let costs: Vec<_> = decision.candidates().iter().filter_map(Considered::cost).collect();
        assert_eq!(costs.len(), 2, "{decision}");
        was_dearer |= costs[0] > costs[1];
        let reasons = decision.candidates().iter().filter_map(Considered::passed_over);
        assert!(reasons.into_iter().all(|of| of == PassedOver::NotDrawn), "{decision}");
    }
    assert!(was_dearer);
}

#[tokio::test(start_paused = true)]
async fn the_chosen_one_of_many_that_cost_the_same_tells_its_cost() {
    let endpoints = (100..300).map(|port| endpoint(&format!("a:{port}"))).collect();
    let strategy = LeastRequest::new().with_full_scan();
    let mut stack = over!(layer(endpoints, strategy).explained(1.0));
    for _ in 0..50 {
        let reply = ask(&mut stack, 0).await.unwrap();
        assert_eq!(of(&reply).candidates()[0].cost(), Some(0.0), "{}", of(&reply));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_go_farther_since_the_nearest_are_too_few_are_told() {
    let at = |key: &str, zone: &str| endpoint(key).with_locality(Locality::of_zone(zone));
    let near = |of: &dyn Fn(Endpoint) -> Endpoint| {
        vec![at("a:1", "a"), of(at("a:2", "a")), of(at("a:3", "a")), at("b:1", "b"), at("b:2", "b")]
    };
    let sick = |of: Endpoint| of.with_status(Status::Critical);
    let config = BalanceConfig::default().with_panic_threshold(0);
    for (endpoints, spills) in [(near(&|of| of), false), (near(&sick), true)] {
        let strategy = Geographic::from(Locality::of_zone("a"));
        let endpoints = discover::fixed(endpoints).unwrap();
        let layer = BalanceLayer::with_config(endpoints, strategy, config.clone());
        let mut stack = over!(layer.explained(1.0));
        let mut far = 0;
        for _ in 0..60 {
            let reply = ask(&mut stack, 0).await.unwrap();
            let is_far = reply.body().starts_with('b');
            far += usize::from(is_far);
            let regime = if is_far { Regime::Spill } else { Regime::Normal };
            assert_eq!(of(&reply).regime(), regime, "{}", of(&reply));
        }
        assert_eq!(far > 0, spills);
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_on_probation_the_one_that_is_in_turn_gets_the_call() {
    let mut outlier = OutlierConfig::default();
    (outlier.consecutive_failures, outlier.max_ejected_percent) = (1, 100);
    let config = BalanceConfig::default().with_outlier(outlier);
    let endpoints = fixed(&["a:1", "f:1", "f:2", "f:3"]);
    let layer = BalanceLayer::with_config(endpoints, RoundRobin::new(), config);
    let mut stack = over!(layer.explained(1.0));
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let answer = ask(&mut stack, 0).await;
        let decision = match &answer {
            Ok(reply) => of(reply).clone(),
            Err(error) => error.decision().unwrap().clone(),
        };
        if decision.regime() == Regime::Probation {
            seen.insert(decision.endpoint().unwrap().to_owned());
            let not_ready = |of: &Considered| of.passed_over() == Some(PassedOver::NotReady);
            assert!(!decision.candidates().iter().any(not_ready), "{decision}");
        }
        sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_for_which_none_gets_ready_tells_that_of_each() {
    let stack = ServiceBuilder::new()
        .layer(layer(["s:1", "s:2"].map(endpoint).into(), LeastRequest::new()).explained(1.0))
        .layer(EachLayer::new(ConcurrencyLimitLayer::new(1)))
        .service(connect_fn(|endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            service_fn(move |call: Call<u64>| answer(key.clone(), call))
        }));
    let call = |takes: u64| tokio::spawn(stack.clone().oneshot(Call::new(takes)));
    let calls = [call(5_000), call(5_000)];
    sleep(Duration::from_millis(50)).await;
    let error = call(0).await.unwrap().unwrap_err();
    let decision = error.decision().unwrap();
    assert_eq!(decision.endpoint(), None);
    let reasons = decision.candidates().iter().map(Considered::passed_over);
    assert_eq!(reasons.collect::<Vec<_>>(), [Some(PassedOver::NotReady); 2], "{decision}");
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// An endpoint, how busy it is, and what an operator said of it.
#[derive(Debug, Clone)]
struct Instance {
    weight: u32,
    priority: u32,
    status: Status,
    draining: bool,
    fails: bool,
    load: usize,
    millis: u64,
    disabled: bool,
}

prop_compose! {
    fn any_endpoint()(
        weight in 0_u32..4,
        priority in prop_oneof![4 => Just(0_u32), 1 => Just(1)],
        status in prop_oneof![
            4 => Just(Status::Passing), 1 => Just(Status::Warning), 2 => Just(Status::Critical),
        ],
        draining in prop::bool::weighted(0.1),
        fails in prop::bool::weighted(0.2),
        load in 0_usize..6,
        millis in 1_u64..50,
        disabled in prop::bool::weighted(0.1),
    ) -> Instance {
        Instance { weight, priority, status, draining, fails, load, millis, disabled }
    }
}

fn endpoints(all: &[Instance]) -> Vec<Endpoint> {
    let of = |(number, of): (usize, &Instance)| {
        let letter = if of.fails { 'f' } else { 'a' };
        let key = format!("{letter}:{}", number + 1);
        let made = endpoint(&key);
        // Some go by a key of their own.
        let made = if of.millis % 2 == 0 { made.with_key(key) } else { made };
        made.with_weight(of.weight)
            .with_priority(of.priority)
            .with_status(of.status)
            .with_draining(of.draining)
    };
    all.iter().enumerate().map(of).collect()
}

/// Makes calls, and checks what each attempt tells.
async fn tells_the_truth<P>(all: &[Instance], strategy: P, costs: fn(&Member, f64) -> bool)
where
    P: Strategy + Clone + Pick<Call<u64>>,
{
    let mut outlier = OutlierConfig::default();
    outlier.consecutive_failures = 0;
    let config = BalanceConfig::default().with_fail_fast_after(Duration::from_millis(20));
    let config = config.with_outlier(outlier);
    let endpoints = discover::fixed(endpoints(all)).unwrap();
    let layer = BalanceLayer::with_config(endpoints, strategy, config).explained(1.0);
    let mut stack = over!(layer, FailoverLayer::new(Attempts::up_to(3)));
    let handle = stack.get_ref().handle();
    let _ = ask(&mut stack, 9).await;
    let members = handle.members();
    let number = |member: &Member| member.key()[2..].parse::<usize>().unwrap() - 1;
    let mut in_flight: Vec<InFlight> = Vec::new();
    for member in &members {
        let of = &all[number(member)];
        member.observe(Duration::from_millis(of.millis));
        in_flight.extend((0..of.load).map(|_| member.begin()));
        if of.disabled {
            handle.disable(member.key());
        }
    }
    sleep(Duration::from_millis(1)).await;
    let is_panic = handle.is_health_ignored();
    let mut homes = BTreeMap::new();
    for body in (0..8).map(|call| call % 4) {
        let answer = ask(&mut stack, body).await;
        let (told, endpoint): (Vec<_>, _) = match &answer {
            Ok(reply) => (vec![(reply.decision(), reply.attempts() > 1)], reply.endpoint()),
            Err(error) => {
                let attempts = error.history().iter().chain([error]).enumerate();
                let told = attempts.map(|(number, error)| (error.decision(), number > 0));
                (told.collect(), error.endpoint())
            }
        };
        let mut told =
            told.into_iter().map(|(of, is_further)| (of.expect("explained"), is_further));
        for (decision, is_further) in told.clone() {
            assert_eq!(decision.regime() == Regime::Failover, is_further, "{decision}");
            check(decision, &members, is_panic, costs);
            let of_session = decision.regime() == Regime::Session;
            assert!(
                !of_session || homes.get(&body).map(|of: &String| &**of) == decision.endpoint()
            );
        }
        let last = told.next_back().map(|(decision, _)| decision);
        assert_eq!(last.and_then(Decision::endpoint), endpoint);
        homes.extend(answer.ok().map(|reply| (body, reply.into_body())));
    }
}

fn check(
    decision: &Decision,
    members: &[Arc<Member>],
    is_panic: bool,
    costs: fn(&Member, f64) -> bool,
) {
    let keys: BTreeSet<_> = decision.candidates().iter().map(Considered::key).collect();
    assert_eq!(keys.len(), decision.candidates().len(), "each once: {decision}");
    assert_eq!((keys.len(), decision.members()), (members.len(), members.len()), "{decision}");
    let member = |key: &str| members.iter().find(|member| member.key() == key).unwrap();
    let overlooked =
        |reason: Reason| is_panic && matches!(reason, Reason::Unhealthy | Reason::Ejected);
    let chosen = decision.endpoint().map(|key| find(decision, key));
    for of in decision.candidates() {
        let member = member(of.key());
        let has = |reason| member.reasons().any(|of| of == reason);
        let is_barred = member.reasons().any(|reason| !overlooked(reason));
        if let Some(cost) = of.cost() {
            assert!(costs(member, cost), "{}: {decision}", of.key());
        }
        match of.passed_over() {
            None => {
                assert_eq!(Some(of.key()), decision.endpoint(), "{decision}");
                assert!(!is_barred, "{decision}");
            }
            Some(PassedOver::Costlier) => {
                let least = chosen.and_then(Considered::cost).expect("it was compared");
                assert!(of.cost().unwrap() >= least && !is_barred, "{decision}");
            }
            Some(PassedOver::NotDrawn) => assert!(!is_barred, "{}: {decision}", of.key()),
            Some(PassedOver::OverBound) => {
                assert!(of.cost() > of.bound() && of.bound().is_some() && !is_barred, "{decision}");
                // Where all have too much, the call goes to one that has.
                let goes_on = chosen.is_none_or(|chosen| chosen.cost() <= chosen.bound());
                let is_over = |of: &Considered| of.cost() > of.bound();
                let is_of_group =
                    |of: &&Considered| of.cost().is_some() && Some(of.key()) != decision.endpoint();
                let mut others = decision.candidates().iter().filter(is_of_group);
                assert!(goes_on || others.all(is_over), "{decision}");
            }
            Some(PassedOver::Tried) => assert_eq!(decision.regime(), Regime::Failover),
            Some(PassedOver::Unhealthy) => {
                assert!(has(Reason::Unhealthy), "{decision}");
                // Health is a reason unless it is ignored; a further attempt goes by it first.
                let is_ignored = is_panic && decision.regime() == Regime::Panic;
                assert!(!is_ignored || has_other_tier(members, member), "{decision}");
            }
            Some(PassedOver::Draining) => assert!(has(Reason::Draining), "{decision}"),
            Some(PassedOver::Disabled) => assert!(has(Reason::Disabled), "{decision}"),
            Some(reason) => panic!("{}: {reason}: {decision}", of.key()),
        }
    }
    let tier = |key: &str| member(key).tier();
    let lowest = members.iter().map(|member| member.tier()).min().unwrap_or(0);
    match (decision.regime(), decision.endpoint()) {
        (Regime::Panic, _) => assert!(is_panic, "{decision}"),
        (Regime::Normal, Some(key)) => assert_eq!(tier(key), lowest, "{decision}"),
        (Regime::Spill, Some(key)) => {
            let is_over = |of: &Considered| of.passed_over() == Some(PassedOver::OverBound);
            let has_spilled = decision.candidates().iter().any(is_over);
            assert!(tier(key) > lowest || has_spilled, "{decision}");
        }
        (Regime::Random, _) => {
            assert!(["HealthBased", "WeightedRandom"].contains(&decision.strategy()), "{decision}");
        }
        (Regime::Failover | Regime::Session, _) => {}
        (Regime::Normal | Regime::Spill, None) => {}
        (regime, _) => panic!("{regime}: {decision}"),
    }
}

/// Whether another priority has endpoints, which may be in a panic while that of `member` is not.
fn has_other_tier(members: &[Arc<Member>], member: &Member) -> bool {
    members.iter().any(|other| other.tier() / 2 != member.tier() / 2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn of_any_set_by_any_strategy(all in prop::collection::vec(any_endpoint(), 1..9), which in 0..11) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let load: fn(&Member, f64) -> bool = |member, cost| {
            let load = f64::from(member.in_flight());
            cost == load || cost == load / f64::from(member.weight().max(1))
        };
        let any_cost: fn(&Member, f64) -> bool = |_, cost| cost > 0.0;
        let none: fn(&Member, f64) -> bool = |_, _| false;
        runtime.block_on(async {
            match which {
                0 => tells_the_truth(&all, LeastRequest::new(), load).await,
                1 => tells_the_truth(&all, LeastRequest::new().with_full_scan(), load).await,
                2 => tells_the_truth(&all, PeakEwma::new(), any_cost).await,
                3 => tells_the_truth(&all, LeastLatency::new().with_choices(3), any_cost).await,
                4 => tells_the_truth(&all, HealthBased::new(), any_cost).await,
                5 => tells_the_truth(&all, WeightedRandom::new(), none).await,
                6 => tells_the_truth(&all, RoundRobin::new(), none).await,
                7 => {
                    let sessions = SessionTable::by_key(|call: &Call<u64>| *call.body());
                    let strategy = Sticky::new(LeastRequest::new(), sessions);
                    tells_the_truth(&all, strategy, load).await;
                }
                #[cfg(feature = "hash")]
                which => {
                    use tower_upstream::balance::{ConsistentHash, HashScheme};
                    let scheme = match which {
                        8 => HashScheme::Maglev { size: 1_009 },
                        9 => HashScheme::Nginx,
                        _ => HashScheme::Skipper { points: 100 },
                    };
                    let key: fn(&Call<u64>) -> u64 = |call| *call.body();
                    let strategy = ConsistentHash::by_key(key).with_scheme(scheme);
                    tells_the_truth(&all, strategy, load).await;
                }
                #[cfg(not(feature = "hash"))]
                _ => {}
            }
        });
    }
}

#[cfg(feature = "hash")]
#[tokio::test(start_paused = true)]
async fn a_key_that_goes_past_many_tells_what_the_last_one_has_and_may_have() {
    use tower_upstream::{balance::ConsistentHash, rules::hash::BoundedLoad};

    let endpoints = (100..300).map(|port| endpoint(&format!("a:{port}"))).collect();
    let key: fn(&Call<u64>) -> u64 = |call| *call.body();
    let strategy = ConsistentHash::by_key(key).with_bounded_load(BoundedLoad::new(1.0));
    let mut stack = over!(layer(endpoints, strategy).explained(1.0));
    let handle = stack.handle();
    ask(&mut stack, 0).await.unwrap();
    // But for ten, each has more than its share.
    let members = handle.members();
    let busy = members.iter().skip(10).flat_map(|of| std::iter::repeat_n(of, 40));
    let _in_flight: Vec<_> = busy.map(|member| member.begin()).collect();
    let mut far = 0;
    for key in 0..300 {
        let reply = ask(&mut stack, key).await.unwrap();
        let decision = of(&reply);
        let chosen = &decision.candidates()[0];
        let (has, bound) = (chosen.cost().unwrap(), chosen.bound().unwrap());
        assert!(has <= bound && has < 40.0, "{decision}");
        let over = |of: &&Considered| of.passed_over() == Some(PassedOver::OverBound);
        far += usize::from(decision.candidates().iter().filter(over).count() == 63);
    }
    assert!(far > 0);
}
