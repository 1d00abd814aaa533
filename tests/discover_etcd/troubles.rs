//! A cluster to which anything happens in any order: what is there all the time never leaves, and in the end all is as it is in the
//! cluster.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::sleep;
use tower_upstream::discover::Discover;

use super::*;
use crate::{
    double::Mood,
    told::{Told, play, some},
};

const SERVICES: [&str; 2] = ["tax", "vat"];
/// The first one stays all the time.
const IDS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize, u16),
    /// All others at once.
    PutAll(usize, u16),
    Delete(usize, usize),
    Cut(usize),
    Is(usize, Mood, u64),
    Compact,
    Fragments(usize),
    Progress,
    /// Another user of a service comes, and goes after a while.
    Looks(usize, u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (service, id, member) = (0..SERVICES.len(), 1..IDS.len(), 0_usize..2);
    let mood = prop::sample::select(vec![Mood::Frozen, Mood::WithoutLeader]);
    prop_oneof![
        6 => (service.clone(), id.clone(), 1_u16..3).prop_map(|(of, id, port)| Step::Put(of, id, port)),
        1 => (service.clone(), 1_u16..3).prop_map(|(of, port)| Step::PutAll(of, port)),
        4 => (service.clone(), id).prop_map(|(of, id)| Step::Delete(of, id)),
        3 => member.clone().prop_map(Step::Cut),
        2 => (member, mood, 0_u64..100).prop_map(|(of, mood, time)| Step::Is(of, mood, time)),
        2 => Just(Step::Compact),
        1 => (1_usize..4).prop_map(Step::Fragments),
        1 => Just(Step::Progress),
        1 => (service, 0_u64..20).prop_map(|(of, time)| Step::Looks(of, time)),
        8 => (0_u64..4).prop_map(Step::Wait),
        2 => (4_u64..100).prop_map(Step::Wait),
    ]
}

type Ports = BTreeMap<(usize, usize), u16>;

fn put(cluster: &Cluster, all: &mut Ports, of: usize, id: usize, port: u16) {
    all.insert((of, id), port);
    let value = format!(
        r#"{{"id":"{}","name":"{}","address":"10.0.0.{id}","port":{port}}}"#,
        IDS[id], SERVICES[of]
    );
    cluster.put(&format!("/services/{}/{}", SERVICES[of], IDS[id]), value);
}

async fn troubles(steps: &[Step]) -> Result<(), TestCaseError> {
    let cluster = Cluster::new();
    let members = [cluster.member().await, cluster.member().await];
    let mut all = Ports::new();
    for of in 0..SERVICES.len() {
        put(&cluster, &mut all, of, 0, 1);
    }
    let etcd = etcd(&[&members[0], &members[1]]);
    let watched = SERVICES.map(|name| etcd.service(name).unwrap());
    let told = watched.each_ref().map(Told::by);
    sleep(secs(1)).await;
    for step in steps {
        match *step {
            Step::Put(of, id, port) => put(&cluster, &mut all, of, id, port),
            Step::PutAll(of, port) => {
                for id in 1..IDS.len() {
                    put(&cluster, &mut all, of, id, port);
                }
            }
            Step::Delete(of, id) => {
                if all.remove(&(of, id)).is_some() {
                    cluster.delete(&format!("/services/{}/{}", SERVICES[of], IDS[id]));
                }
            }
            Step::Cut(of) => members[of].cut().await,
            Step::Is(of, mood, time) => {
                members[of].is(mood);
                sleep(secs(time)).await;
                members[of].is(Mood::Well);
            }
            Step::Compact => cluster.change(|store| store.compact(store.revision)),
            Step::Fragments(most) => cluster.fragments(most),
            Step::Progress => cluster.progress(),
            Step::Looks(of, time) => {
                let mut sets = watched[of].discover();
                let _ = tokio::time::timeout(secs(time), sets.next()).await;
            }
            Step::Wait(time) => sleep(secs(time)).await,
        }
    }
    // What is wrong is waited for 30 s at most, and a doubt takes 10 s.
    sleep(secs(120)).await;
    for (of, told) in told.into_iter().enumerate() {
        let last = told.with_each(&[IDS[0]])?;
        let last: Vec<_> = last.iter().map(|of| (of.key(), of.address().port())).collect();
        let expected = all.iter().filter(|((service, _), _)| *service == of);
        let expected: Vec<_> = expected.map(|((_, id), port)| (IDS[*id], Some(*port))).collect();
        prop_assert_eq!(last, expected);
    }
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
