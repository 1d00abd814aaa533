//! Counts instructions: runs this program again under valgrind's callgrind, twice, so that what
//! does not belong to the calls cancels out.

use std::{env, fs, process::Command};

use super::{Case, Subject};

/// The option that makes this program such a run: name and number of calls follow.
pub(crate) const CASE: &str = "--callgrind-case";

const FEW: u64 = 1_000;
const MANY: u64 = 21_000;

/// `None` where there is no valgrind.
pub(crate) fn instructions_per_call(case: &str) -> Option<f64> {
    let (few, many) = (total(case, FEW)?, total(case, MANY)?);
    Some((many as f64 - few as f64) / (MANY - FEW) as f64)
}

fn total(case: &str, calls: u64) -> Option<u64> {
    let out = env::temp_dir().join(format!("callgrind.layers.{}", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*callgrind*window*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().ok()?)
        .args([CASE, case, &calls.to_string()])
        .status()
        .ok()?;
    let text = fs::read_to_string(&out).ok()?;
    fs::remove_file(&out).ok()?;
    assert!(status.success(), "{case} fails under callgrind");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:"));
    totals?.trim().parse().ok()
}

/// What such a run does.
pub(crate) fn child(cases: &[Case], name: &str, calls: u64) {
    let case = cases.iter().find(|case| case.name() == name);
    window(case.expect("a case").prepare().as_mut(), calls);
}

/// Instructions are counted in here only.
#[inline(never)]
fn window(subject: &mut dyn Subject, calls: u64) {
    subject.run(calls);
}
