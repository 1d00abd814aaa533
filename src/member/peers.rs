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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::Endpoint;

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_by_what_calls_take_and_a_newcomer_by_the_estimates() {
        let signal = Arc::<Signal>::default();
        let member = |key| Member::in_set(Arc::new(Endpoint::new(key).unwrap()), signal.clone());
        let members: Arc<[_]> = ["a:1", "b:1", "c:1", "d:1"].map(member).into();
        signal.know(&members);
        for member in &members[..3] {
            // The slowest of many is not what calls take.
            (0..100).for_each(|_| member.observe(Duration::from_millis(50)));
            member.observe(Duration::from_millis(90));
        }
        // Where the clock of a set begins, no median was asked for yet.
        tokio::time::advance(Duration::from_secs(1)).await;
        members[3].observe_failure(Duration::from_millis(1), None);
        let counted = members[3].latency().unwrap().as_millis();
        assert!((1_000..1_020).contains(&counted), "{counted} ms, of 50 ms");
        assert_eq!(median_estimate(&members[..3]), Some(90e6));
    }
}
