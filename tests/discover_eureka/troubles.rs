//! A registry to which anything happens in any order: what is there all the time never leaves, and in the end all is as it is in
//! the registry.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tokio::time::sleep;
use tower_upstream::discover::{Eureka, EurekaFetch};

use crate::{
    double::Double,
    reading::config,
    support::secs,
    told::{Told, play, some},
};

/// Of the first application the first instance stays all the time.
const ALL: [(&str, &str); 6] = [
    ("tax", "tax-0"),
    ("tax", "tax-1"),
    ("tax", "tax-2"),
    ("tax", "tax-3"),
    ("vat", "vat-0"),
    ("vat", "vat-1"),
];
const STATUSES: [&str; 4] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize, &'static str, u16),
    Cancel(usize),
    Overrides(usize, bool),
    /// It forgets all, which is announced again after a while.
    Restart(u64, u64),
    Partition(u64),
    Answers(&'static str, u16, u64),
    CountsWrong(bool),
    WritesAsXStream(bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let other = 1..ALL.len();
    let status = prop_oneof![3 => Just("UP"), 2 => prop::sample::select(STATUSES.to_vec())];
    let paths = ["", "/apps", "/apps/delta", "/apps/TAX"];
    let answers = (
        prop::sample::select(paths.to_vec()),
        prop::sample::select(vec![200, 403, 404, 429, 500, 503]),
        0_u64..200,
    );
    prop_oneof![
        6 => (other.clone(), status, 1_u16..3).prop_map(|(of, status, port)| Step::Put(of, status, port)),
        3 => other.clone().prop_map(Step::Cancel),
        2 => (other, any::<bool>()).prop_map(|(of, is_on)| Step::Overrides(of, is_on)),
        1 => (0_u64..30, 0_u64..40).prop_map(|(away, empty)| Step::Restart(away, empty)),
        1 => (1_u64..400).prop_map(Step::Partition),
        3 => answers
            // One that tells of no application, or of no registry at all, is another thing than one that fails.
            .prop_filter("it is no trouble", |(path, status, _)| *status != 404 || *path == "/apps/delta")
            .prop_map(|(path, status, time)| Step::Answers(path, status, time)),
        1 => any::<bool>().prop_map(Step::CountsWrong),
        1 => any::<bool>().prop_map(Step::WritesAsXStream),
        8 => (0_u64..40).prop_map(Step::Wait),
        2 => (40_u64..250).prop_map(Step::Wait),
    ]
}

/// What is announced: the status, the port, and whether it is overridden.
type Announced = BTreeMap<usize, (&'static str, u16, bool)>;

fn announce(double: &Double, of: usize, (status, port, is_overridden): (&str, u16, bool)) {
    let (app, id) = ALL[of];
    let more = json!({"status": status, "port": {"$": port, "@enabled": "true"}});
    // What it was before tells nothing of how it is.
    double.registry(|registry| registry.cancel(app, id));
    double.put(app, id, more);
    if is_overridden {
        let out = "OUT_OF_SERVICE";
        double.registry(|registry| registry.set_override(app, id, Some(out), out));
    }
}

async fn troubles(steps: &[Step], fetch: EurekaFetch) -> Result<(), TestCaseError> {
    let double = Double::start().await;
    let mut all = Announced::from([(0, ("UP", 1, false))]);
    announce(&double, 0, all[&0]);
    let eureka = Eureka::new(config(&double).with_fetch(fetch)).unwrap();
    let told = Told::by(&eureka.service("tax").unwrap());
    sleep(secs(1)).await;
    for step in steps {
        match *step {
            Step::Put(of, status, port) => {
                all.insert(of, (status, port, false));
                announce(&double, of, all[&of]);
            }
            Step::Cancel(of) => {
                if all.remove(&of).is_some() {
                    double.cancel(ALL[of].0, ALL[of].1);
                }
            }
            Step::Overrides(of, is_on) => {
                if let Some(announced) = all.get_mut(&of) {
                    announced.2 = is_on;
                    announce(&double, of, *announced);
                }
            }
            Step::Restart(away, empty) => {
                double.stop().await;
                sleep(secs(away)).await;
                double.restart().await;
                sleep(secs(empty)).await;
                for (of, announced) in &all {
                    announce(&double, *of, *announced);
                }
                // It is read before it is empty again: what is empty for 90 s is.
                sleep(secs(40)).await;
            }
            Step::Partition(time) => {
                double.partition();
                sleep(secs(time)).await;
                double.heal();
            }
            Step::Answers(path, status, time) => {
                double.answers(path, status, "{}");
                sleep(secs(time)).await;
                double.answers_itself();
            }
            Step::CountsWrong(is_on) => double.registry(|of| of.counts_wrong = is_on),
            Step::WritesAsXStream(is_on) => double.registry(|of| of.is_xstream = is_on),
            Step::Wait(time) => sleep(secs(time)).await,
        }
    }
    // A wait after failures is of 30 s at most, a read comes after 33 s at most, and a doubt takes 90 s.
    sleep(secs(200)).await;
    let last = told.with_each(&[ALL[0].1])?;
    let last: Vec<_> =
        last.iter().map(|of| (of.key(), of.address().port(), of.is_draining())).collect();
    let mut expected = Vec::new();
    for (of, (status, port, is_overridden)) in &all {
        let (app, id) = ALL[*of];
        let gets_none = matches!(*status, "STARTING" | "OUT_OF_SERVICE") || *is_overridden;
        if app == "tax" {
            expected.push((id, Some(*port), gets_none));
        }
    }
    prop_assert_eq!(last, expected);
    Ok(())
}

proptest! {
    #![proptest_config(some())]

    #[test]
    fn whatever_happens_nothing_leaves_that_stays_and_what_is_gone_leaves(
        steps in prop::collection::vec(step(), 1..30),
        is_whole in any::<bool>(),
    ) {
        let fetch = if is_whole { EurekaFetch::Delta } else { EurekaFetch::Application };
        play(troubles(&steps, fetch))?;
    }
}
