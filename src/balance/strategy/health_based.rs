use std::sync::Arc;

use super::{
    candidates::{Candidate, Candidates},
    draw::{any, any_free},
    latencies::LatencyTable,
    note::{Note, picks},
    strategy::Strategy,
};
use crate::{
    member::{Measure, Member},
    sync::random_fraction,
};

/// Chooses one of two endpoints that are drawn at random, each with a chance in proportion to its share of
/// calls that succeed, and to how quick it is.
///
/// Softer than [`PeakEwma`](super::PeakEwma): an endpoint that does worse gets less, but always something. The
/// share of calls that fail is an average that fades within 10 s; the latency is the estimate of
/// [`PeakEwma`](super::PeakEwma). Load and weights do not count. Endpoints that discovery warns of are another
/// tier, which the balancer uses when the healthy ones are too few.
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, HealthBased}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, HealthBased::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HealthBased {}

impl HealthBased {
    /// One of two.
    pub const fn new() -> Self {
        Self {}
    }
}

impl Strategy for HealthBased {
    type Table = LatencyTable;

    fn table(&self, members: &[Arc<Member>], _: Option<&LatencyTable>) -> LatencyTable {
        LatencyTable::new(members, Measure { ages: true, ..Measure::DEFAULT }, 0)
    }
}

picks!(HealthBased);

impl HealthBased {
    #[inline]
    fn choose(
        &self,
        table: &LatencyTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        let len = candidates.len();
        let one = any(len);
        let two = (one + 1 + any(len.saturating_sub(1))).checked_rem(len)?;
        let now = table.now();
        // The chance of each is the badness of the other.
        let badness = |of: Candidate<'_>| {
            let succeeds = (1.0 - of.member().failing(now)).max(0.01);
            // A microsecond, so that what is not known is no better than what is at once.
            table.latency(of, now).max(1_000.0) / succeeds
        };
        let (first, second) = (badness(candidates.get(one)?), badness(candidates.get(two)?));
        note.random();
        note.drawn(one, first);
        note.drawn(two, second);
        let (chosen, other) = match random_fraction() * (first + second) < second {
            true => (one, two),
            false => (two, one),
        };
        [chosen, other]
            .into_iter()
            .find(|&index| candidates.is_free(index))
            .or_else(|| any_free(&candidates))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::tests::{counts, members, obeys},
        *,
    };

    #[test]
    fn it_obeys() {
        obeys(&HealthBased::new());
    }

    #[tokio::test(start_paused = true)]
    async fn shares_follow_latency_and_success() {
        let members = members(&[1, 1]);
        members[0].observe(Duration::from_millis(10));
        members[1].observe(Duration::from_millis(30));
        let counted = counts(&HealthBased::new(), &members, 4_000);
        assert!(counted[0].abs_diff(3_000) < 200, "{counted:?}");
        members[0].observe_failure(Duration::from_millis(1), None);
        let counted = counts(&HealthBased::new(), &members, 4_000);
        assert!((1..1_000).contains(&counted[0]), "it costs 600 ms now: {counted:?}");
        tokio::time::advance(Duration::from_secs(120)).await;
        (0..4).for_each(|_| members[0].observe(Duration::from_millis(10)));
        members[1].observe(Duration::from_millis(10));
        let counted = counts(&HealthBased::new(), &members, 4_000);
        assert!(counted[0].abs_diff(2_000) < 200, "{counted:?}");
    }
}
