//! An agent to which anything happens in any order: what is there all the time never leaves, and in the end all is as it is in the
//! catalog.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::sleep;

use crate::{
    double::Double,
    reading::consul,
    support::secs,
    told::{Told, play, some},
};

/// The first one stays all the time.
const IDS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Up(usize, u16),
    Down(usize),
    /// Another service, which moves the index.
    Other,
    LosesLeader(u64),
    Answers(u16, u64),
    ShowsIndex(&'static str, u64),
    Partition(u64),
    /// What it knew is kept, or is announced again after a while.
    Restart(u64, Option<u64>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..IDS.len();
    let statuses = prop::sample::select(vec![403, 404, 429, 500, 503]);
    let indices = prop::sample::select(vec!["0", "nothing", "1", "20", "99999"]);
    prop_oneof![
        6 => (id.clone(), 1_u16..3).prop_map(|(id, port)| Step::Up(id, port)),
        4 => id.prop_map(Step::Down),
        1 => Just(Step::Other),
        1 => (0_u64..60).prop_map(Step::LosesLeader),
        2 => (statuses, 0_u64..100).prop_map(|(status, time)| Step::Answers(status, time)),
        1 => (indices, 0_u64..70).prop_map(|(index, time)| Step::ShowsIndex(index, time)),
        1 => (1_u64..200).prop_map(Step::Partition),
        1 => (0_u64..60, prop::option::of(0_u64..9)).prop_map(|(away, empty)| Step::Restart(away, empty)),
        8 => (0_u64..4).prop_map(Step::Wait),
        2 => (4_u64..100).prop_map(Step::Wait),
    ]
}

async fn troubles(steps: &[Step]) -> Result<(), TestCaseError> {
    let double = Double::start().await;
    let mut all = BTreeMap::from([(0, 1)]);
    double.up("web", IDS[0], 1);
    let told = Told::by(&consul(&double).service("web").unwrap());
    sleep(secs(1)).await;
    for step in steps {
        match *step {
            Step::Up(id, port) => {
                all.insert(id, port);
                double.up("web", IDS[id], port);
            }
            Step::Down(id) => {
                if all.remove(&id).is_some() {
                    double.deregister(IDS[id]);
                }
            }
            Step::Other => double.up("other", "other", 1),
            Step::LosesLeader(time) => {
                double.loses_leader();
                sleep(secs(time)).await;
                double.elects_leader();
            }
            Step::Answers(status, time) => {
                double.answers(Some((status, "No")));
                sleep(secs(time)).await;
                double.answers(None);
            }
            Step::ShowsIndex(index, time) => {
                double.shows_index(Some(index));
                sleep(secs(time)).await;
                double.shows_index(None);
            }
            Step::Partition(time) => {
                double.partition();
                sleep(secs(time)).await;
                double.heal();
            }
            Step::Restart(away, empty) => {
                double.stop().await;
                sleep(secs(away)).await;
                double
                    .restart(|catalog| {
                        if empty.is_some() {
                            *catalog = Default::default();
                        }
                    })
                    .await;
                if let Some(empty) = empty {
                    sleep(secs(empty)).await;
                    all.iter().for_each(|(id, port)| double.up("web", IDS[*id], *port));
                }
            }
            Step::Wait(time) => sleep(secs(time)).await,
        }
    }
    // A query waits for a minute, what is wrong for half of one, and a doubt for 10 s.
    sleep(secs(200)).await;
    let last = told.with_each(&[IDS[0]])?;
    let last: Vec<_> = last.iter().map(|of| (of.key(), of.address().port())).collect();
    let expected: Vec<_> = all.iter().map(|(id, port)| (IDS[*id], Some(*port))).collect();
    prop_assert_eq!(last, expected);
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
