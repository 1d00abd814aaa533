//! What the members of a set know of each other.

use std::sync::{Arc, Weak};

use super::{load::Load, member::Member, signal::Signal};
use crate::rules;

/// So many of them stand for all.
const SAMPLE: usize = 64;

impl Signal {
    /// These are the members of the set.
    pub(crate) fn know(&self, members: &Arc<[Arc<Member>]>) {
        let members = Arc::downgrade(members);
        let typical = |members: Arc<[_]>| median(&members, Load::typical);
        self.median.of(move || Weak::upgrade(&members).and_then(typical));
    }
}

/// The median estimate, in nanoseconds, which stands for that of a newcomer.
pub(crate) fn median_estimate(members: &[Arc<Member>]) -> Option<f64> {
    median(members, Load::nanos)
}

/// The median of those of which it is known; of many, of some.
fn median(members: &[Arc<Member>], nanos: impl Fn(&Load) -> Option<f64>) -> Option<f64> {
    let step = members.len().div_ceil(SAMPLE).max(1);
    rules::median(members.iter().step_by(step).filter_map(|member| nanos(member.load())))
}
