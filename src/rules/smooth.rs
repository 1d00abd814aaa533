use std::time::Duration;

/// Smooth weighted round robin, as in nginx: in a cycle each entry gets as many picks as its weight, spread
/// out over the cycle.
///
/// Each pick adds its weight to the current value of every entry, takes the first with the largest value,
/// and subtracts the sum of the weights from that one. The weights 5, 1 and 1 give a a b a c a a. O(n) per
/// pick; for many entries, use [`Edf`](super::Edf) or [`StaticStride`](super::StaticStride).
///
/// Source: nginx, `ngx_http_upstream_round_robin.c`, with its effective weights and `max_fails`: an entry
/// that fails loses `weight / max_fails` of its weight and gains 1 at each pick; after `max_fails` failures
/// it is skipped for `fail_timeout`.
///
/// # Bounds
/// An entry of weight 0 is never picked. Weights are up to `u32::MAX`.
///
/// ```
/// use tower_upstream::rules::SmoothWrr;
/// let mut turns = SmoothWrr::new(&[5, 1, 1]);
/// let picks: Vec<_> = (0..7).filter_map(|_| turns.pick()).collect();
/// assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
/// ```
#[derive(Debug, Clone)]
pub struct SmoothWrr {
    entries: Vec<Entry>,
    max_fails: u32,
    fail_timeout: Duration,
}

#[derive(Debug, Clone)]
struct Entry {
    weight: u32,
    effective: u32,
    current: i64,
    fails: u32,
    /// Of the last failure.
    failed: Option<Duration>,
    /// When the time began within which failures count together.
    checked: Option<Duration>,
}

impl SmoothWrr {
    /// Creates a scheduler in which failures have no effect.
    pub fn new(weights: &[u32]) -> Self {
        let entry = |&weight| Entry {
            weight,
            effective: weight,
            current: 0,
            fails: 0,
            failed: None,
            checked: None,
        };
        let entries = weights.iter().map(entry).collect();
        Self { entries, max_fails: 0, fail_timeout: Duration::from_secs(10) }
    }

    /// Sets how many failures within `fail_timeout` make an entry be skipped for that long. 0 switches
    /// this off. nginx's own default is 1 failure. Default: 0, 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::rules::SmoothWrr;
    /// let mut turns = SmoothWrr::new(&[1, 1]).with_max_fails(1, Duration::from_secs(10));
    /// turns.failed(0, Duration::ZERO);
    /// assert_eq!(turns.pick_free(Duration::from_secs(10), |_| true), Some(1));
    /// assert_eq!(turns.pick_free(Duration::from_secs(10), |_| true), Some(1));
    /// // Its weight comes back with the first pick in which it takes part.
    /// assert_eq!(turns.pick_free(Duration::from_secs(11), |_| true), Some(1));
    /// assert_eq!(turns.pick_free(Duration::from_secs(11), |_| true), Some(0));
    /// ```
    #[must_use]
    pub fn with_max_fails(mut self, max_fails: u32, fail_timeout: Duration) -> Self {
        (self.max_fails, self.fail_timeout) = (max_fails, fail_timeout);
        self
    }

    /// Picks the next entry. `None` if there is none with a weight.
    pub fn pick(&mut self) -> Option<usize> {
        self.pick_free(Duration::ZERO, |_| true)
    }

    /// Picks the next entry for which `is_free` returns `true`. The others keep their state.
    pub fn pick_free(
        &mut self,
        now: Duration,
        mut is_free: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let (max_fails, timeout) = (self.max_fails, self.fail_timeout);
        let (mut total, mut best) = (0_i64, None);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.weight == 0 || entry.is_skipped(now, max_fails, timeout) || !is_free(index) {
                continue;
            }
            let effective = i64::from(entry.effective);
            entry.current = entry.current.saturating_add(effective);
            total = total.saturating_add(effective);
            entry.effective += u32::from(entry.effective < entry.weight);
            if best.is_none_or(|(_, current)| entry.current > current) {
                best = Some((index, entry.current));
            }
        }
        let (index, _) = best?;
        let entry = self.entries.get_mut(index)?;
        entry.current = entry.current.saturating_sub(total);
        if entry.checked.is_none_or(|checked| now.saturating_sub(checked) > timeout) {
            entry.checked = Some(now);
        }
        Some(index)
    }

    /// Counts a failure of the entry at `index`.
    pub fn failed(&mut self, index: usize, now: Duration) {
        let max_fails = self.max_fails;
        let Some(entry) = self.entries.get_mut(index) else { return };
        entry.fails = entry.fails.saturating_add(1);
        (entry.failed, entry.checked) = (Some(now), Some(now));
        if let Some(loss) = entry.weight.checked_div(max_fails) {
            entry.effective = entry.effective.saturating_sub(loss);
        }
    }

    /// Counts a success of the entry at `index`. It clears the failures if the entry was tried again after
    /// `fail_timeout`.
    pub fn succeeded(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            if entry.failed < entry.checked {
                entry.fails = 0;
            }
        }
    }

    /// Changes the weight of the entry at `index`, effective at once. Its place in the cycle stays.
    pub fn set_weight(&mut self, index: usize, weight: u32) {
        if let Some(entry) = self.entries.get_mut(index) {
            (entry.weight, entry.effective) = (weight, weight);
        }
    }

    /// Returns the current values, which are all 0 after each whole cycle.
    pub fn current(&self) -> Vec<i64> {
        self.entries.iter().map(|entry| entry.current).collect()
    }
}

impl Entry {
    fn is_skipped(&self, now: Duration, max_fails: u32, timeout: Duration) -> bool {
        let is_recent = || self.checked.is_some_and(|at| now.saturating_sub(at) <= timeout);
        max_fails > 0 && self.fails >= max_fails && is_recent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_with_a_weight_means_no_pick() {
        assert_eq!(SmoothWrr::new(&[]).pick(), None);
        assert_eq!(SmoothWrr::new(&[0, 0]).pick(), None);
        let mut large = SmoothWrr::new(&[u32::MAX; 3]);
        assert_eq!((0..3).filter_map(|_| large.pick()).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_failure_costs_weight_that_comes_back_by_and_by() {
        let mut turns = SmoothWrr::new(&[8, 8]).with_max_fails(2, Duration::from_secs(1));
        turns.failed(0, Duration::ZERO);
        // 4 against 8, 5 against 8.
        assert_eq!([turns.pick(), turns.pick()], [Some(1), Some(0)]);
        let picks = (0..100).filter_map(|_| turns.pick()).filter(|&index| index == 0).count();
        assert!((49..52).contains(&picks), "{picks}");
    }

    #[test]
    fn a_success_after_the_timeout_clears_the_failures() {
        let second = Duration::from_secs(1);
        let mut turns = SmoothWrr::new(&[1]).with_max_fails(1, second);
        turns.failed(0, second);
        turns.succeeded(0);
        assert_eq!(turns.pick_free(2 * second, |_| true), None);
        assert_eq!(turns.pick_free(3 * second, |_| true), Some(0));
        turns.succeeded(0);
        assert_eq!(turns.pick_free(3 * second, |_| true), Some(0));
    }

    proptest! {
        /// In each cycle every entry has its weight in picks, at no moment is one more than a turn ahead of
        /// its share, and the state is where it began.
        #[test]
        fn a_cycle_is_exact_and_smooth(weights in prop::collection::vec(0_u32..20, 1..8)) {
            let total: u32 = weights.iter().sum();
            let (mut turns, mut counts) = (SmoothWrr::new(&weights), vec![0_u32; weights.len()]);
            for done in 1..=total {
                counts[turns.pick().unwrap()] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let share = f64::from(done * weight) / f64::from(total);
                    prop_assert!((f64::from(*count) - share).abs() <= weights.len() as f64 / 2.0);
                }
            }
            prop_assert_eq!(&counts, &weights);
            prop_assert!(turns.current().iter().all(|&current| current == 0));
        }
    }
}
