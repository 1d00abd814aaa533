//! Measures, counts and reports.

mod allocations;
mod callgrind;
mod case;
mod crowd;
mod options;
mod report;

pub(crate) use self::{case::Case, crowd::Crowd};

use self::{
    case::Subject,
    options::{Mode, Options},
    report::{CaseRow, CrowdRow},
};

pub(crate) fn run(cases: &[Case], crowds: &[Crowd]) {
    let options = Options::from_args();
    match &options.mode {
        Mode::UnderCallgrind { case, calls } => callgrind::child(cases, case, *calls),
        Mode::Check => check(cases),
        Mode::Measure => measure(cases, crowds, &options),
    }
}

/// What `cargo test --benches` does: each case still has the outcome that it says.
fn check(cases: &[Case]) {
    for case in cases {
        case.prepare().run(10);
    }
}

fn measure(cases: &[Case], crowds: &[Crowd], options: &Options) {
    // The first is the loop alone, which all are compared with.
    let chosen: Vec<&Case> = cases
        .iter()
        .enumerate()
        .filter(|(index, case)| *index == 0 || options.wants(case.name()))
        .map(|(_, case)| case)
        .collect();
    let mut subjects: Vec<Box<dyn Subject>> = chosen.iter().map(|case| case.prepare()).collect();
    let warming: Vec<u64> = chosen.iter().map(|case| case.warming()).collect();
    let times = case::nanos_per_call(&mut subjects, &warming);
    let rows: Vec<CaseRow> = chosen
        .iter()
        .zip(&mut subjects)
        .zip(&times)
        .map(|((case, subject), &nanos)| CaseRow {
            name: case.name(),
            nanos,
            over_bare: nanos - times[0],
            target: case.target(),
            allocations: allocations::per_call(subject.as_mut()),
            instructions: options
                .instructions
                .then(|| callgrind::instructions_per_call(case.name()))
                .flatten(),
        })
        .collect();
    report::cases(&rows, options);
    drop(subjects);

    let chosen: Vec<&Crowd> = crowds.iter().filter(|crowd| options.wants(crowd.name())).collect();
    let rows: Vec<CrowdRow> = crowd::throughput(&chosen);
    report::crowds(&rows, options);
}
