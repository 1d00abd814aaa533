//! Rise and fall, pure: so many results in a row change the standing.

use super::config::Initial;

/// How many in a row it takes. Below one means one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    rise: u32,
    fall: u32,
}

/// What is held of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The first result decides.
    Unknown,
    Healthy,
    Unhealthy,
}

/// A standing, and what came in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) standing: Standing,
    pub(super) successes: u32,
    pub(super) failures: u32,
}

impl Counts {
    pub(super) fn new(initial: Initial) -> Self {
        let standing = match initial {
            Initial::Healthy => Standing::Healthy,
            Initial::Unhealthy => Standing::Unhealthy,
            Initial::FirstResult => Standing::Unknown,
        };
        Self { standing, successes: 0, failures: 0 }
    }

    /// Whether calls may pass: what is not known to be ill may be well.
    pub(super) fn is_open(self) -> bool {
        self.standing != Standing::Unhealthy
    }

    /// Whether there is no reason to look again soon: it was seen to be well, and nothing speaks
    /// against it.
    pub(super) fn is_settled(self) -> bool {
        self.standing == Standing::Healthy && self.failures == 0 && self.successes > 0
    }
}

impl Rule {
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1) }
    }

    /// Counts one result, and tells whether the standing changed. A change resets no count: only
    /// an opposite result does.
    pub(super) fn record(self, counts: &mut Counts, success: bool) -> bool {
        let before = counts.standing;
        if success {
            counts.failures = 0;
            counts.successes = counts.successes.saturating_add(1);
            if before == Standing::Unknown || counts.successes >= self.rise {
                counts.standing = Standing::Healthy;
            }
        } else {
            counts.successes = 0;
            counts.failures = counts.failures.saturating_add(1);
            if before == Standing::Unknown || self.has_fallen(*counts) {
                counts.standing = Standing::Unhealthy;
            }
        }
        counts.standing != before
    }

    /// Whether as many checks failed in a row as it takes, or more.
    pub(super) fn has_fallen(self, counts: Counts) -> bool {
        counts.failures >= self.fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where the standing changed, by index.
    fn changes(rule: Rule, counts: &mut Counts, results: &str) -> Vec<usize> {
        let results = results.chars().enumerate();
        let changed = results.filter(|(_, result)| rule.record(counts, *result == 'S'));
        changed.map(|(index, _)| index).collect()
    }

    #[test]
    fn three_failures_in_a_row_and_two_successes() {
        let (rule, mut counts) = (Rule::new(2, 3), Counts::new(Initial::Healthy));
        assert_eq!(changes(rule, &mut counts, "FFSFFF"), [5]);
        assert_eq!(counts.standing, Standing::Unhealthy);
        assert_eq!(changes(rule, &mut counts, "SFSS"), [3]);
        assert_eq!(counts.standing, Standing::Healthy);
    }

    #[test]
    fn a_change_resets_no_count_and_below_one_means_one() {
        let (rule, mut counts) = (Rule::new(0, 0), Counts::new(Initial::Healthy));
        assert_eq!(changes(rule, &mut counts, "FFF"), [0]);
        assert_eq!((counts.failures, counts.successes), (3, 0));
        assert_eq!(changes(rule, &mut counts, "SS"), [0]);
        assert_eq!((counts.failures, counts.successes), (0, 2));
    }

    #[test]
    fn the_first_result_decides_where_nothing_is_known_and_then_rows_do() {
        let rule = Rule::new(2, 3);
        for (results, expected) in
            [("FSS", vec![0, 2]), ("SFFF", vec![0, 3]), ("FFFS", vec![0]), ("FSFSS", vec![0, 4])]
        {
            let mut counts = Counts::new(Initial::FirstResult);
            assert!(counts.is_open() && !counts.is_settled());
            assert_eq!(changes(rule, &mut counts, results), expected, "{results}");
        }
        let mut counts = Counts::new(Initial::Unhealthy);
        assert!(!counts.is_open());
        assert_eq!(changes(rule, &mut counts, "FSFSS"), [4]);
        assert!(counts.is_open() && counts.is_settled());
        assert!(changes(rule, &mut counts, "F").is_empty());
        assert!(counts.is_open() && !counts.is_settled(), "in doubt");
    }

    #[test]
    fn what_nobody_looked_at_is_not_settled_whatever_is_held_of_it() {
        for initial in [Initial::Healthy, Initial::Unhealthy, Initial::FirstResult] {
            assert!(!Counts::new(initial).is_settled(), "{initial:?}");
        }
        let mut counts = Counts::new(Initial::Healthy);
        Rule::new(2, 3).record(&mut counts, true);
        assert!(counts.is_settled());
    }

    fn initial() -> impl Strategy<Value = Initial> {
        prop_oneof![Just(Initial::Healthy), Just(Initial::Unhealthy), Just(Initial::FirstResult)]
    }

    proptest! {
        /// The model looks at the whole history each time.
        #[test]
        fn it_is_n_in_a_row(
            initial in initial(),
            rise in 0..5_u32,
            fall in 0..5_u32,
            results: Vec<bool>,
        ) {
            let (rule, mut counts) = (Rule::new(rise, fall), Counts::new(initial));
            let mut healthy = match initial {
                Initial::Healthy => Some(true),
                Initial::Unhealthy => Some(false),
                Initial::FirstResult => None,
            };
            for end in 1..=results.len() {
                let last = results[end - 1];
                let row = results[..end].iter().rev().take_while(|&&result| result == last).count();
                let needed = if last { rise } else { fall }.max(1) as usize;
                let flips = healthy.is_none_or(|healthy| last != healthy && row >= needed);
                if flips {
                    healthy = Some(last);
                }
                prop_assert_eq!(rule.record(&mut counts, last), flips);
                prop_assert_eq!(counts.is_open(), healthy == Some(true));
                let expected = if last { (row, 0) } else { (0, row) };
                prop_assert_eq!((counts.successes as usize, counts.failures as usize), expected);
            }
        }
    }
}
