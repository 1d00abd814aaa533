//! Measures, counts and reports.

#[path = "../../../layers/harness/allocations.rs"]
mod allocations;
mod alone;
#[path = "../../../layers/harness/callgrind.rs"]
mod callgrind;
mod clock;
mod contender;
mod crowd;
mod options;
mod report;
mod row;
mod summary;

pub(crate) use self::contender::{Contender, Workload};

use self::{
    alone::Subject,
    contender::{Case, Role},
    options::Options,
    report::Report,
    row::Row,
};

pub(crate) fn run(workloads: Vec<Workload>) {
    let options = Options::from_args();
    if let Some((case, calls)) = &options.under_callgrind {
        let cases: Vec<Case> = workloads.into_iter().flat_map(Workload::into_cases).collect();
        return callgrind::child(&cases, case, *calls);
    }
    let mut report = Report::new(&options);
    let chosen = workloads.iter().filter(|workload| options.wants(workload.name));
    for workload in chosen {
        report.add(workload.name, alone::measure(workload, &options));
        report.add(workload.name, crowd::measure(workload, &options));
    }
    report.finish();
}
