//! The gates of a set, whatever happens to it.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    endpoint::Endpoint,
    health::{
        Verdict,
        check::{always, check_upstream},
        config::Initial,
        record::Change,
        roster::Orders,
        schedule::{SWEEP, Schedule},
        word::UNHEALTHY,
    },
    time,
};

fn gates(config: HealthConfig) -> Arc<Gates> {
    Gates::new(config, Setup::new(always(check_upstream(|| async { true }))))
}

fn member(key: usize) -> Arc<Member> {
    Member::new(Endpoint::new("a:1").unwrap().with_key(key.to_string()))
}

#[derive(Debug, Clone)]
enum Step {
    /// Enters, or gets another address and so is another.
    Enter(u8),
    Leave(u8),
    Result(u8, Verdict),
    Config {
        rise: u32,
        fall: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..4_u8;
    let verdict = prop_oneof![
        3 => Just(Verdict::Healthy),
        1 => Just(Verdict::Degraded("cold".into())),
        4 => Just(Verdict::Unhealthy("ill".into())),
        1 => Just(Verdict::Skipped),
    ];
    prop_oneof![
        1 => key.clone().prop_map(Step::Enter),
        1 => key.clone().prop_map(Step::Leave),
        8 => (key, verdict).prop_map(|(key, verdict)| Step::Result(key, verdict)),
        1 => (1..4_u32, 1..4_u32).prop_map(|(rise, fall)| Step::Config { rise, fall }),
    ]
}

/// All results since it entered, and what was held of it after each.
#[derive(Default)]
struct Model {
    results: Vec<bool>,
    healthy: bool,
}

proptest! {
    /// What the gates, the members and the roster say is what a model says that keeps the
    /// whole history of each target and counts it anew.
    #[test]
    fn a_set_is_what_its_history_says(steps in prop::collection::vec(step(), 0..200)) {
        let mut config = HealthConfig::default().with_initial(Initial::Healthy);
        let gates = gates(config.clone());
        let mut watches = BTreeMap::<u8, Arc<Watch>>::new();
        let mut models = BTreeMap::<u8, Model>::new();
        for (port, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enter(key) => {
                    let endpoint = Endpoint::new(format!("a:{}", port + 1)).unwrap();
                    let member = Member::new(endpoint.with_key(key.to_string()));
                    watches.insert(key, gates.watch_member(&member));
                    models.insert(key, Model { healthy: true, ..Model::default() });
                }
                Step::Leave(key) => {
                    watches.remove(&key);
                    models.remove(&key);
                }
                Step::Result(key, verdict) => {
                    let Some(watch) = watches.get(&key) else { continue };
                    let model = models.get_mut(&key).unwrap();
                    let change = watch.gate.settle(watch.gate.finding(verdict.clone()));
                    let changed = matches!(change, Change::Opens | Change::Shuts);
                    let success = match verdict {
                        Verdict::Skipped => {
                            prop_assert!(!changed);
                            continue;
                        }
                        Verdict::Unhealthy(_) => false,
                        _ => true,
                    };
                    model.results.push(success);
                    let same = model.results.iter().rev().take_while(|&&r| r == success);
                    let needed = if success { config.rise } else { config.fall };
                    let flips = success != model.healthy && same.count() >= needed as usize;
                    model.healthy ^= flips;
                    prop_assert_eq!(changed, flips);
                }
                Step::Config { rise, fall } => {
                    config = config.with_rise(rise).with_fall(fall);
                    gates.update(config.clone());
                }
            }
            let expected: Vec<_> =
                models.iter().filter(|(_, model)| model.healthy).map(|(key, _)| *key).collect();
            let set = gates.prober.roster.healthy_set();
            let healthy: Vec<u8> =
                set.endpoints.iter().map(|endpoint| endpoint.key().parse().unwrap()).collect();
            prop_assert_eq!(&healthy, &expected);
            prop_assert_eq!((set.healthy, set.total), (expected.len(), models.len()));
            for (key, watch) in &watches {
                let (gate, model) = (&watch.gate, &models[key]);
                prop_assert_eq!(gate.state().checks as usize, model.results.len());
                prop_assert_eq!(gate.member.as_ref().unwrap().is_eligible(), model.healthy);
                prop_assert_eq!(gate.word() & UNHEALTHY == 0, model.healthy);
            }
        }
    }
}

#[test]
fn rounds_and_comers_and_goers_cost_no_memory() {
    let gates = gates(HealthConfig::default().with_interval(Duration::from_secs(86_400)));
    let roster = &gates.prober.roster;
    let stays: Vec<_> = (0..10).map(|key| gates.watch_member(&member(key))).collect();
    let run = roster.enlist(&stays[0].gate).unwrap();
    let (mut schedule, now) = (Schedule::new(RandomSource::default()), time::now());
    schedule.take_in(roster.enlisted(), now);
    for key in 0..1_000 {
        let comes = gates.watch_member(&member(100 + key));
        assert!(roster.enlist(&comes.gate).is_none(), "the task hears of it");
        let Orders::GoOn { arrivals, .. } = roster.orders(run) else { panic!("it is over") };
        assert_eq!(arrivals.len(), 1);
        schedule.take_in(arrivals, now);
        schedule.begin_round(now);
        drop(comes);
        let Orders::GoOn { departures, .. } = roster.orders(run) else { panic!("it is over") };
        departures.into_iter().for_each(|number| schedule.let_go(number));
        schedule.sweep();
        let (slots, due) = schedule.sizes();
        assert!(due <= 2 * 11 + SWEEP && slots == 10, "{slots} {due}");
    }
}

/// A task that panics while it ends must not take the place of the one that came after it.
#[test]
fn a_task_that_is_over_speaks_for_no_other() {
    let gates = gates(HealthConfig::default());
    let watch = || gates.watch_member(&member(1));
    let roster = &gates.prober.roster;
    let first = watch();
    let old = roster.enlist(&first.gate).unwrap();
    drop(first);
    assert!(matches!(roster.orders(old), Orders::End));

    let second = watch();
    let new = roster.enlist(&second.gate).unwrap();
    assert!(matches!(roster.orders(old), Orders::Stop));
    roster.abandon(old);
    assert!(second.gate.is_enlisted() && roster.end_run(old).is_none());
    assert!(roster.is_running() && matches!(roster.orders(new), Orders::GoOn { .. }));
    roster.abandon(new);
    assert!(!roster.is_running() && !second.gate.is_enlisted());
}

/// One that left before the task heard of it leaves nothing behind, and one that comes again is another.
#[test]
fn what_leaves_before_the_task_hears_of_it_never_came() {
    let gates = gates(HealthConfig::default());
    let roster = &gates.prober.roster;
    let stays = gates.watch_member(&member(1));
    let run = roster.enlist(&stays.gate).unwrap();
    assert_eq!(roster.enlisted().len(), 1);
    let numbers: Vec<_> = (0..2)
        .map(|_| {
            let watch = gates.watch();
            let finding = watch.gate.finding(Verdict::Healthy);
            assert!(roster.enlist(&watch.gate).is_none());
            drop(watch);
            assert_eq!(gates.alone.settle(finding), Change::Void, "it is in use no more");
            let Orders::GoOn { arrivals, departures, .. } = roster.orders(run) else {
                panic!("it is over")
            };
            assert!(arrivals.is_empty());
            departures
        })
        .collect();
    assert!(numbers[0].len() == 1 && numbers[0] != numbers[1]);
}

/// Two stacks over one gate, such as of two connections: it is in use as long as either is.
#[test]
fn a_gate_is_in_use_until_its_last_watch_drops() {
    let gates = gates(HealthConfig::default());
    let roster = &gates.prober.roster;
    let (one, two) = (gates.watch(), gates.watch());
    roster.enlist(&one.gate);
    drop(one);
    assert!(two.gate.is_in_use() && two.gate.is_enlisted());
    assert_eq!(roster.healthy_set().total, 1);
    drop(two);
    assert!(!gates.alone.is_in_use() && !gates.alone.is_enlisted());
    assert_eq!(roster.healthy_set().total, 0);
}
