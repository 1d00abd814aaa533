//! How the calls on one member ended. What succeeded is not counted: it is what is left of those that were
//! begun, so that a good call pays nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::Calls;

#[derive(Default)]
pub(super) struct Ends {
    failures: AtomicU64,
    /// Those that are no evidence, such as calls that were given up.
    neutral: AtomicU64,
    /// How many failed in a row in the low 16 bits; above, how many had succeeded when the last of them did.
    row: AtomicU64,
}

const ROW: u64 = (1 << 16) - 1;

/// What has ended, of what was begun: a call that ends is still in flight when it is counted, and one whose body is
/// tracked is no longer.
pub(super) struct Begun {
    pub(super) begun: u64,
    pub(super) in_flight: u32,
}

// Relaxed everywhere: each is a count by itself, and what is read of several is an estimate.
impl Ends {
    /// Counts a failure. Returns how many there are in a row, if this is one of them; 0 if not.
    pub(super) fn failed(&self, begun: Begun, is_in_row: bool) -> u32 {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if !is_in_row {
            return 0;
        }
        // This one has failed and is in flight still: counted twice otherwise. Others that are just ending
        // make it too low for a moment, never too high.
        let good = self.good(&begun, failures).wrapping_add(1) & (u64::MAX >> 16);
        let mut row = 1;
        let _ = self.row.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (before, count) = (word >> 16, word & ROW);
            // Signed: the count starts below zero while calls are ending.
            let has_succeeded = (good.wrapping_sub(before) << 16) as i64 > 0;
            row = if has_succeeded { 1 } else { (count + 1).min(ROW) };
            let since = if has_succeeded || count == 0 { good } else { before };
            Some(since << 16 | row)
        });
        row as u32
    }

    pub(super) fn neutral(&self) {
        self.neutral.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn row(&self) -> u32 {
        (self.row.load(Ordering::Relaxed) & ROW) as u32
    }

    pub(super) fn reset_row(&self) {
        self.row.fetch_and(!ROW, Ordering::Relaxed);
    }

    pub(super) fn calls(&self, begun: Begun) -> Calls {
        let failures = self.failures();
        let good = self.good(&begun, failures) as i64;
        Calls { successes: good.max(0).unsigned_abs(), failures }
    }

    /// Below zero, wrapped, while calls are ending.
    fn good(&self, Begun { begun, in_flight }: &Begun, failures: u64) -> u64 {
        let landed = begun.wrapping_sub(u64::from(*in_flight));
        landed.wrapping_sub(failures).wrapping_sub(self.neutral.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum End {
        Good,
        Failed,
        Overload,
        Neutral,
    }

    proptest! {
        /// As if each call were counted by itself.
        #[test]
        fn failures_in_a_row_are_counted_without_counting_successes(
            calls in prop::collection::vec(
                prop::sample::select(vec![End::Good, End::Failed, End::Failed, End::Overload, End::Neutral]),
                0..60,
            ),
            others_in_flight in 0_u32..5,
            resets in prop::collection::vec(0_usize..60, 0..4),
        ) {
            let ends = Ends::default();
            let (mut begun, mut good, mut failures, mut row) = (u64::from(others_in_flight), 0, 0, 0);
            for (index, end) in calls.into_iter().enumerate() {
                begun += 1;
                let now = || Begun { begun, in_flight: others_in_flight + 1 };
                match end {
                    End::Good => (good, row) = (good + 1, 0),
                    End::Failed => {
                        (failures, row) = (failures + 1, row + 1);
                        prop_assert_eq!(ends.failed(now(), true), row);
                    }
                    End::Overload => {
                        failures += 1;
                        prop_assert_eq!(ends.failed(now(), false), 0);
                    }
                    End::Neutral => ends.neutral(),
                }
                let calls = ends.calls(Begun { begun, in_flight: others_in_flight });
                prop_assert_eq!(calls, Calls { successes: good, failures });
                if resets.contains(&index) {
                    ends.reset_row();
                    row = 0;
                }
            }
        }
    }
}
