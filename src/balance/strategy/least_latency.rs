use std::sync::Arc;

use super::{
    candidates::{Candidate, Candidates},
    draw::{Look, any, better_of_two, least},
    latencies::LatencyTable,
    note::{Note, picks},
    strategy::Strategy,
};
use crate::member::{Measure, Member};

/// Chooses the endpoint with the lower latency, of two that are drawn at random, whatever its load.
///
/// For endpoints that are near or far and have capacity to spare. Where load makes them slow, use
/// [`PeakEwma`](super::PeakEwma), whose estimate of the latency this uses. Weights do not count.
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, LeastLatency}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastLatency::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastLatency {
    look: Look,
}

impl LeastLatency {
    /// Compares two.
    pub const fn new() -> Self {
        Self { look: Look::TWO }
    }

    /// Compares this many: from 2 to 10. Default: 2.
    ///
    /// ```
    /// use tower_upstream::balance::LeastLatency;
    /// let strategy = LeastLatency::new().with_choices(3);
    /// ```
    #[must_use]
    pub fn with_choices(mut self, choices: u32) -> Self {
        self.look = Look::at(choices);
        self
    }

    /// Compares all endpoints: all calls go to the quickest. O(n).
    ///
    /// ```
    /// use tower_upstream::balance::LeastLatency;
    /// let strategy = LeastLatency::new().with_full_scan();
    /// ```
    #[must_use]
    pub fn with_full_scan(mut self) -> Self {
        self.look = Look::AtAll;
        self
    }
}

impl Strategy for LeastLatency {
    type Table = LatencyTable;

    fn table(&self, members: &[Arc<Member>], _: Option<&LatencyTable>) -> LatencyTable {
        let measure = Measure { ages: true, ..Measure::DEFAULT };
        LatencyTable::new(members, measure, self.look.two_of(members.len()))
    }
}

picks!(LeastLatency);

impl LeastLatency {
    #[inline(always)]
    fn choose(
        &self,
        table: &LatencyTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        let now = table.now();
        let latency = |candidate: Candidate<'_>| table.latency(candidate, now);
        if table.two_of > 0 {
            return better_of_two(candidates, table.two_of, latency, note);
        }
        least(&candidates, self.look, || any(candidates.len()), latency, note)
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
    fn every_way_obeys() {
        let new = LeastLatency::new();
        for strategy in [new, new.with_choices(5), new.with_full_scan()] {
            obeys(&strategy);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_quicker_wins_however_busy_it_is() {
        let members = members(&[1, 1, 1]);
        for (member, millis) in members.iter().zip([30, 10, 20]) {
            member.observe(Duration::from_millis(millis));
        }
        let _busy: Vec<_> = (0..100).map(|_| members[1].begin()).collect();
        assert_eq!(counts(&LeastLatency::new().with_full_scan(), &members, 100), [0, 100, 0]);
        let two = counts(&LeastLatency::new(), &members, 3_000);
        assert!(two[0] == 0 && two[1].abs_diff(2_000) < 200, "{two:?}");
    }
}
