//! What the members of a set know of each other.

use std::sync::{Arc, Weak};

use super::{member::Member, signal::Signal};
use crate::rules;

/// So many of them stand for all.
const SAMPLE: usize = 64;

impl Signal {
    /// These are the members of the set.
    pub(crate) fn know(&self, members: &Arc<[Arc<Member>]>) {
        let members = Arc::downgrade(members);
        self.median.of(move || Weak::upgrade(&members).and_then(|members| median(&members)));
    }
}

/// The median latency of those whose latency is known, in nanoseconds; of many, of some.
pub(crate) fn median(members: &[Arc<Member>]) -> Option<f64> {
    let step = members.len().div_ceil(SAMPLE).max(1);
    rules::median(members.iter().step_by(step).filter_map(|member| member.load().nanos()))
}
