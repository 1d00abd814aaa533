//! How often a call allocates.

use super::Subject;

#[path = "../../../tests/support/allocations.rs"]
mod counting;

pub(crate) fn per_call(subject: &mut dyn Subject) -> f64 {
    const CALLS: u64 = 10_000;
    subject.run(CALLS);
    let before = counting::count();
    subject.run(CALLS);
    (counting::count() - before) as f64 / CALLS as f64
}
