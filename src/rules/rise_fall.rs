//! Rise and fall, pure: so many results in a row change what is held of a target.

/// How many in a row it takes. Below one means one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    rise: u32,
    fall: u32,
}

/// What is held of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// The first result decides.
    Unknown,
    Healthy,
    Unhealthy,
}

/// What is held of one target, and what came in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streak {
    pub(crate) health: Health,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

impl Streak {
    /// `None`: the first result decides.
    pub(crate) fn new(initially_healthy: Option<bool>) -> Self {
        let health = match initially_healthy {
            Some(true) => Health::Healthy,
            Some(false) => Health::Unhealthy,
            None => Health::Unknown,
        };
        Self { health, successes: 0, failures: 0 }
    }

    /// Whether calls may pass: what is not known to be ill may be well.
    pub(crate) fn is_open(self) -> bool {
        self.health != Health::Unhealthy
    }

    /// Whether there is no reason to look again soon: it was seen to be well, and nothing speaks
    /// against it.
    pub(crate) fn is_settled(self) -> bool {
        self.health == Health::Healthy && self.failures == 0 && self.successes > 0
    }
}

impl Rule {
    pub(crate) fn new(rise: u32, fall: u32) -> Self {
        Self { rise: rise.max(1), fall: fall.max(1) }
    }

    /// Counts one result, and tells whether that changed the health. A change resets no count: only
    /// an opposite result does.
    pub(crate) fn count(self, streak: &mut Streak, success: bool) -> bool {
        let before = streak.health;
        if success {
            streak.failures = 0;
            streak.successes = streak.successes.saturating_add(1);
            if before == Health::Unknown || streak.successes >= self.rise {
                streak.health = Health::Healthy;
            }
        } else {
            streak.successes = 0;
            streak.failures = streak.failures.saturating_add(1);
            if before == Health::Unknown || self.has_fallen(*streak) {
                streak.health = Health::Unhealthy;
            }
        }
        streak.health != before
    }

    /// Whether as many checks failed in a row as it takes, or more.
    pub(crate) fn has_fallen(self, streak: Streak) -> bool {
        streak.failures >= self.fall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where the health changed, by index.
    fn changes(rule: Rule, streak: &mut Streak, results: &str) -> Vec<usize> {
        let results = results.chars().enumerate();
        let changed = results.filter(|(_, result)| rule.count(streak, *result == 'S'));
        changed.map(|(index, _)| index).collect()
    }

    #[test]
    fn three_failures_in_a_row_and_two_successes() {
        let (rule, mut streak) = (Rule::new(2, 3), Streak::new(Some(true)));
        assert_eq!(changes(rule, &mut streak, "FFSFFF"), [5]);
        assert_eq!(streak.health, Health::Unhealthy);
        assert_eq!(changes(rule, &mut streak, "SFSS"), [3]);
        assert_eq!(streak.health, Health::Healthy);
    }

    #[test]
    fn a_change_resets_no_count_and_below_one_means_one() {
        let (rule, mut streak) = (Rule::new(0, 0), Streak::new(Some(true)));
        assert_eq!(changes(rule, &mut streak, "FFF"), [0]);
        assert_eq!((streak.failures, streak.successes), (3, 0));
        assert_eq!(changes(rule, &mut streak, "SS"), [0]);
        assert_eq!((streak.failures, streak.successes), (0, 2));
    }

    #[test]
    fn the_first_result_decides_where_nothing_is_known_and_then_rows_do() {
        let rule = Rule::new(2, 3);
        for (results, expected) in
            [("FSS", vec![0, 2]), ("SFFF", vec![0, 3]), ("FFFS", vec![0]), ("FSFSS", vec![0, 4])]
        {
            let mut streak = Streak::new(None);
            assert!(streak.is_open() && !streak.is_settled());
            assert_eq!(changes(rule, &mut streak, results), expected, "{results}");
        }
        let mut streak = Streak::new(Some(false));
        assert!(!streak.is_open());
        assert_eq!(changes(rule, &mut streak, "FSFSS"), [4]);
        assert!(streak.is_open() && streak.is_settled());
        assert!(changes(rule, &mut streak, "F").is_empty());
        assert!(streak.is_open() && !streak.is_settled(), "in doubt");
    }

    #[test]
    fn what_was_not_looked_at_is_not_settled_whatever_is_held_of_it() {
        for initial in [Some(true), Some(false), None] {
            assert!(!Streak::new(initial).is_settled(), "{initial:?}");
        }
        let mut streak = Streak::new(Some(true));
        Rule::new(2, 3).count(&mut streak, true);
        assert!(streak.is_settled());
    }

    proptest! {
        /// The model looks at the whole history each time.
        #[test]
        fn it_is_n_in_a_row(
            initial: Option<bool>,
            rise in 0..5_u32,
            fall in 0..5_u32,
            results: Vec<bool>,
        ) {
            let (rule, mut streak) = (Rule::new(rise, fall), Streak::new(initial));
            let mut healthy = initial;
            for end in 1..=results.len() {
                let last = results[end - 1];
                let row = results[..end].iter().rev().take_while(|&&result| result == last).count();
                let needed = if last { rise } else { fall }.max(1) as usize;
                let flips = healthy.is_none_or(|healthy| last != healthy && row >= needed);
                if flips {
                    healthy = Some(last);
                }
                prop_assert_eq!(rule.count(&mut streak, last), flips);
                prop_assert_eq!(streak.is_open(), healthy == Some(true));
                let expected = if last { (row, 0) } else { (0, row) };
                prop_assert_eq!((streak.successes as usize, streak.failures as usize), expected);
            }
        }
    }
}
