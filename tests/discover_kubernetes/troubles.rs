//! A cluster in which anything happens in any order: what is there all the time never leaves, and in the end all is as it is in
//! the cluster.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::sleep;

use crate::{
    double::{Double, Forgets},
    objects::{Objects, Pod},
    reading::kubernetes,
    support::secs,
    told::{Told, play, some},
};

/// Pods that are there all the time, the second one in any slice.
const STAYS: &str = "a";
const MOVES: &str = "b";
const OTHERS: [&str; 4] = ["c", "d", "e", "f"];
const SLICES: [&str; 3] = ["web-0", "web-1", "web-2"];

#[derive(Debug, Clone)]
enum Step {
    /// A slice has these of the others.
    Put(usize, [Option<Pod>; OTHERS.len()]),
    /// It is gone, unless it has a pod that stays.
    Delete(usize),
    /// A pod is in two slices for a while, and then in the other.
    Move(usize, u64),
    Cut,
    End,
    /// All is forgotten, and told to be so.
    Expire,
    Compact,
    Tell(&'static str),
    Forgets(Forgets),
    RefusesOne(u16, &'static str),
    Partition(u64),
    Restart(u64),
    Answers(u16, u64),
    Slow(u64),
    Pages(usize),
    Wait(u64),
}

fn pods() -> impl Strategy<Value = [Option<Pod>; OTHERS.len()]> {
    let pod = prop_oneof![
        2 => Just(None),
        2 => Just(Some(Pod::Ready)),
        1 => Just(Some(Pod::Terminating)),
        1 => Just(Some(Pod::NotReady)),
    ];
    proptest::array::uniform4(pod)
}

fn step() -> impl Strategy<Value = Step> {
    let slice = 0..SLICES.len();
    let busy = r#"{"type":"ERROR","object":{"code":500,"message":"etcdserver: no leader"}}"#;
    let forgets = [Forgets::Told, Forgets::ByAnEnd, Forgets::Broken];
    let refuses =
        [(410, "Expired"), (500, "InternalError"), (504, "Timeout"), (429, "TooManyRequests")];
    prop_oneof![
        6 => (slice.clone(), pods()).prop_map(|(slice, pods)| Step::Put(slice, pods)),
        2 => slice.clone().prop_map(Step::Delete),
        2 => (slice, 0_u64..3).prop_map(|(slice, wait)| Step::Move(slice, wait)),
        2 => Just(Step::Cut),
        1 => Just(Step::End),
        2 => Just(Step::Expire),
        2 => Just(Step::Compact),
        1 => Just(Step::Tell(busy)),
        1 => prop::sample::select(forgets.to_vec()).prop_map(Step::Forgets),
        2 => prop::sample::select(refuses.to_vec()).prop_map(|(code, why)| Step::RefusesOne(code, why)),
        1 => (1_u64..500).prop_map(Step::Partition),
        1 => (0_u64..100).prop_map(Step::Restart),
        2 => (prop::sample::select(vec![401, 403, 429, 500, 503]), 0_u64..100)
            .prop_map(|(code, time)| Step::Answers(code, time)),
        1 => (0_u64..8).prop_map(Step::Slow),
        1 => (1_usize..3).prop_map(Step::Pages),
        8 => (0_u64..4).prop_map(Step::Wait),
        3 => (4_u64..400).prop_map(Step::Wait),
    ]
}

/// What is in the cluster, whatever is told of it.
#[derive(Default)]
struct Cluster {
    slices: BTreeMap<usize, BTreeMap<&'static str, Pod>>,
}

impl Cluster {
    fn put(&mut self, double: &Double, slice: usize, pods: BTreeMap<&'static str, Pod>) {
        let all: Vec<_> = pods.iter().map(|(uid, is)| (*uid, *is)).collect();
        double.web(SLICES[slice], &all);
        self.slices.insert(slice, pods);
    }

    fn of(&self, slice: usize) -> BTreeMap<&'static str, Pod> {
        self.slices.get(&slice).cloned().unwrap_or_default()
    }

    /// Those that may be used, and whether they drain.
    fn seen(&self) -> BTreeMap<String, bool> {
        let mut seen = BTreeMap::new();
        for (uid, is) in self.slices.values().flatten().filter(|(_, is)| **is != Pod::NotReady) {
            let drains = seen.entry((*uid).to_owned()).or_insert(true);
            *drains &= *is == Pod::Terminating;
        }
        seen
    }
}

async fn troubles(steps: &[Step]) -> Result<(), TestCaseError> {
    let double = Double::start().await;
    let mut cluster = Cluster::default();
    cluster.put(&double, 0, [(STAYS, Pod::Ready), (MOVES, Pod::Ready)].into());
    let mut at = 0;
    let told = Told::by(&kubernetes(&double).service("web").unwrap());
    sleep(secs(1)).await;
    for step in steps {
        match step.clone() {
            Step::Put(slice, pods) => {
                let mut of: BTreeMap<_, _> =
                    OTHERS.into_iter().zip(pods).filter_map(|(uid, is)| Some((uid, is?))).collect();
                of.extend(cluster.of(slice).into_iter().filter(|(uid, _)| !OTHERS.contains(uid)));
                cluster.put(&double, slice, of);
            }
            Step::Delete(slice) if slice != 0 && slice != at => {
                if cluster.slices.remove(&slice).is_some() {
                    double.delete(SLICES[slice]);
                }
            }
            Step::Delete(_) => {}
            Step::Move(to, wait) => {
                let mut of = cluster.of(to);
                of.insert(MOVES, Pod::Ready);
                cluster.put(&double, to, of);
                sleep(secs(wait)).await;
                if to != at {
                    let mut of = cluster.of(at);
                    of.remove(MOVES);
                    cluster.put(&double, at, of);
                    at = to;
                }
            }
            Step::Cut => double.cuts_watches(),
            Step::End => double.ends_watches(),
            Step::Expire => double.expires_watches(),
            Step::Compact => double.objects(Objects::compact),
            Step::Tell(line) => double.tells_watches(line),
            Step::Forgets(how) => double.forgets(how),
            Step::RefusesOne(code, why) => double.refuses_watches_once((code, why)),
            Step::Partition(time) => {
                double.partition();
                sleep(secs(time)).await;
                double.heal();
            }
            Step::Restart(time) => {
                double.stop().await;
                sleep(secs(time)).await;
                double.restart().await;
            }
            Step::Answers(code, time) => {
                double.answers(Some((code, "")));
                double.cuts_watches();
                sleep(secs(time)).await;
                double.answers(None);
            }
            Step::Slow(time) => double.lists_take(secs(time)),
            Step::Pages(most) => double.pages_have(most),
            Step::Wait(time) => sleep(secs(time)).await,
        }
    }
    // A watch that is silent is given up after 310 s, and what is wrong is waited for 30 s at most.
    sleep(secs(600)).await;
    let last = told.with_each(&[STAYS, MOVES])?;
    let last: BTreeMap<_, _> =
        last.iter().map(|of| (of.key().to_owned(), of.is_draining())).collect();
    prop_assert_eq!(last, cluster.seen());
    Ok(())
}

proptest! {
    #![proptest_config(some())]

    #[test]
    fn whatever_happens_nothing_leaves_that_stays_and_what_is_gone_leaves(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        play(troubles(&steps))?;
    }
}
