//! Rise and fall, pure: so many results in a row change the state.

/// How many in a row it takes. Below one means one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    rise: u32,
    fall: u32,
}

/// A state, and what came in a row. Starts healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) healthy: bool,
    pub(super) successes: u32,
    pub(super) failures: u32,
}

impl Default for Counts {
    fn default() -> Self {
        Self { healthy: true, successes: 0, failures: 0 }
    }
}

impl Rule {
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1) }
    }

    /// Counts one result, and tells whether the state changed. A change resets no count: only an
    /// opposite result does.
    pub(super) fn record(self, counts: &mut Counts, success: bool) -> bool {
        if success {
            counts.failures = 0;
            counts.successes = counts.successes.saturating_add(1);
            let rises = !counts.healthy && counts.successes >= self.rise;
            counts.healthy |= rises;
            rises
        } else {
            counts.successes = 0;
            counts.failures = counts.failures.saturating_add(1);
            let falls = counts.healthy && counts.failures >= self.fall;
            counts.healthy &= !falls;
            falls
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where the state changed, by index.
    fn changes(rule: Rule, counts: &mut Counts, results: &str) -> Vec<usize> {
        let results = results.chars().enumerate();
        let changed = results.filter(|(_, result)| rule.record(counts, *result == 'S'));
        changed.map(|(index, _)| index).collect()
    }

    #[test]
    fn three_failures_in_a_row_and_two_successes() {
        let (rule, mut counts) = (Rule::new(2, 3), Counts::default());
        assert_eq!(changes(rule, &mut counts, "FFSFFF"), [5]);
        assert!(!counts.healthy);
        assert_eq!(changes(rule, &mut counts, "SFSS"), [3]);
        assert!(counts.healthy);
    }

    #[test]
    fn a_change_resets_no_count_and_below_one_means_one() {
        let (rule, mut counts) = (Rule::new(0, 0), Counts::default());
        assert_eq!(changes(rule, &mut counts, "FFF"), [0]);
        assert_eq!((counts.failures, counts.successes), (3, 0));
        assert_eq!(changes(rule, &mut counts, "SS"), [0]);
        assert_eq!((counts.failures, counts.successes), (0, 2));
    }

    proptest! {
        /// The model looks at the whole history each time.
        #[test]
        fn it_is_n_in_a_row(rise in 0..5_u32, fall in 0..5_u32, results: Vec<bool>) {
            let (rule, mut counts) = (Rule::new(rise, fall), Counts::default());
            let mut healthy = true;
            for end in 1..=results.len() {
                let last = results[end - 1];
                let row = results[..end].iter().rev().take_while(|&&result| result == last).count();
                let needed = if healthy { fall } else { rise }.max(1) as usize;
                let flips = last != healthy && row >= needed;
                healthy ^= flips;
                prop_assert_eq!(rule.record(&mut counts, last), flips);
                prop_assert_eq!(counts.healthy, healthy);
                let expected = if last { (row, 0) } else { (0, row) };
                prop_assert_eq!((counts.successes as usize, counts.failures as usize), expected);
            }
        }
    }
}
