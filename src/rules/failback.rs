use std::time::Duration;

use super::priority::Split;

/// How load returns to a better priority that has recovered.
///
/// Load leaves a priority at once when it cannot carry it. It comes back after `delay`, and then by
/// `percent_per_second` points, so that a priority that flaps does not swing all traffic with it. Envoy follows
/// health at once; this has no source, and property tests instead.
///
/// A worse priority keeps no more than it can carry, and a priority that is new begins without load. Nothing is
/// damped in a total panic.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{FailBack, FailBackRule, Priorities, Priority};
/// let (second, rule) = (Duration::from_secs(1), FailBackRule::default());
/// let split = |healthy| Priorities::default().split(&[Priority::of(10, healthy), Priority::of(10, 10)]);
/// let mut load = FailBack::default();
/// let mut at = |healthy, seconds| load.follow(&rule, &[0, 1], &split(healthy), seconds * second).to_vec();
/// assert_eq!(at(0, 0), [0.0, 100.0]);
/// assert_eq!(at(10, 1), [0.0, 100.0]);
/// assert_eq!(at(10, 12), [25.0, 75.0]);
/// assert_eq!(at(5, 13), [50.0, 50.0]);
/// assert_eq!(at(0, 14), [0.0, 100.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailBackRule {
    /// How long a priority must be able to carry more before it gets more. Default: 10 s.
    pub delay: Duration,
    /// How many percent of the load may come back per second. NaN or less than 0 counts as 0. Default: 25.
    pub percent_per_second: f64,
}

impl Default for FailBackRule {
    fn default() -> Self {
        Self { delay: Duration::from_secs(10), percent_per_second: 25.0 }
    }
}

/// The load of each priority while some of it is on its way back. [`FailBackRule`] has an example.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FailBack {
    steps: Vec<Step>,
    loads: Vec<f64>,
}

/// The load down to a priority, that is of it and all better ones.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    priority: u32,
    load: f64,
    /// Since when it could have more, and until when it was given that.
    rising: Option<(Duration, Duration)>,
}

impl FailBack {
    /// Returns the load of each of `priorities` in percent, healthy and degraded hosts together. They are the
    /// numbers by which they are known the next time, the best first, one for each priority of `split`. The first
    /// time, the load is that of `split`.
    pub fn follow(
        &mut self,
        rule: &FailBackRule,
        priorities: &[u32],
        split: &Split,
        now: Duration,
    ) -> &[f64] {
        let sums = |of: &[u32], others: &[u32]| -> Vec<_> {
            of.iter().zip(others).map(|(of, other)| f64::from(*of) + f64::from(*other)).collect()
        };
        let target = sums(&split.healthy, &split.degraded);
        if self.steps.is_empty() || split.is_total_panic() {
            self.steps = priorities.iter().map(|&of| Step::new(of, 100.0)).collect();
        } else {
            self.know(priorities);
        }
        let (mut sum, mut floor) = (0.0, 0.0);
        for (step, load) in self.steps.iter_mut().zip(&target) {
            sum += load;
            step.follow(rule, sum, now);
            // What comes back to one comes back to it and all worse ones together.
            step.load = step.load.max(floor);
            floor = step.load;
        }
        let mut rest = 100.0;
        let can_carry = sums(&split.health, &split.degraded_health);
        let most = target.iter().zip(can_carry).map(|(target, most)| most.max(*target));
        for (step, most) in self.steps.iter_mut().zip(most).rev() {
            // What a worse one cannot carry comes back at once.
            step.load = step.load.max(rest);
            rest = step.load - most;
        }
        let before = [0.0].into_iter().chain(self.steps.iter().map(|step| step.load));
        self.loads =
            self.steps.iter().zip(before).map(|(step, before)| step.load - before).collect();
        &self.loads
    }

    /// Returns the load of each priority as of the last [`follow`](Self::follow), in percent.
    pub fn loads(&self) -> &[f64] {
        &self.loads
    }

    /// Keeps the steps of these. The load of one that is gone goes to the next better one, which
    /// [leaves](Step::follow) to others what it cannot carry.
    fn know(&mut self, priorities: &[u32]) {
        if self.steps.iter().map(|step| &step.priority).eq(priorities) {
            return;
        }
        let nexts = priorities.iter().skip(1).map(Some).chain([None]);
        let step = |(&priority, next): (&u32, Option<&u32>)| {
            let mut before = self.steps.iter().rev();
            let down_to = before.find(|step| next.is_none_or(|&next| step.priority < next));
            let rising = self.steps.iter().find(|step| step.priority == priority);
            Step {
                rising: rising.and_then(|step| step.rising),
                ..Step::new(priority, down_to.map_or(0.0, |step| step.load))
            }
        };
        self.steps = priorities.iter().zip(nexts).map(step).collect();
    }
}

impl Step {
    fn new(priority: u32, load: f64) -> Self {
        Self { priority, load, rising: None }
    }

    fn follow(&mut self, rule: &FailBackRule, target: f64, now: Duration) {
        if target <= self.load {
            *self = Self::new(self.priority, target);
            return;
        }
        let (since, _) = *self.rising.get_or_insert((now, now));
        let start = since.saturating_add(rule.delay);
        if let Some((_, until)) = &mut self.rising {
            let time = now.saturating_sub(start.max(*until)).as_secs_f64();
            *until = now.max(*until);
            // `max` ignores a NaN.
            self.load = (self.load + time * rule.percent_per_second.max(0.0)).min(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Priorities, Priority};
    use proptest::prelude::*;

    fn split(healthy: &[u32]) -> Split {
        let of: Vec<_> = healthy.iter().map(|&healthy| Priority::of(10, healthy)).collect();
        Priorities::default().split(&of)
    }

    /// `of` is the number of each priority, and how many of its ten hosts are healthy.
    fn follows(load: &mut FailBack, of: &[(u32, u32)], seconds: u64) -> Vec<f64> {
        let (priorities, healthy): (Vec<_>, Vec<_>) = of.iter().copied().unzip();
        let now = Duration::from_secs(seconds);
        load.follow(&FailBackRule::default(), &priorities, &split(&healthy), now).to_vec()
    }

    #[test]
    fn one_that_flaps_gets_nothing_back() {
        let mut load = FailBack::default();
        follows(&mut load, &[(0, 0), (1, 10)], 0);
        for at in 1..200 {
            let healthy = if at % 8 < 4 { 10 } else { 0 };
            assert_eq!(follows(&mut load, &[(0, healthy), (1, 10)], at), [0.0, 100.0]);
        }
    }

    #[test]
    fn one_that_comes_and_goes_gets_nothing_back() {
        let mut load = FailBack::default();
        assert_eq!(follows(&mut load, &[(0, 10), (1, 10)], 0), [100.0, 0.0]);
        for at in (0..200).step_by(8) {
            assert_eq!(follows(&mut load, &[(1, 10)], at), [100.0]);
            assert_eq!(follows(&mut load, &[(0, 10), (1, 10)], at + 4), [0.0, 100.0]);
        }
        assert_eq!(follows(&mut load, &[(0, 10), (1, 10)], 300), [100.0, 0.0]);
    }

    #[test]
    fn others_that_come_and_go_change_nothing() {
        let mut load = FailBack::default();
        follows(&mut load, &[(1, 0), (3, 10)], 0);
        assert_eq!(follows(&mut load, &[(1, 10), (3, 10)], 0), [0.0, 100.0]);
        assert_eq!(follows(&mut load, &[(1, 10), (3, 10)], 11), [25.0, 75.0]);
        assert_eq!(follows(&mut load, &[(1, 10), (3, 10), (9, 10)], 12), [50.0, 50.0, 0.0]);
        assert_eq!(follows(&mut load, &[(1, 10), (2, 10), (3, 10)], 12), [50.0, 0.0, 50.0]);
        assert_eq!(follows(&mut load, &[(0, 10), (1, 10), (3, 10)], 12), [0.0, 50.0, 50.0]);
        // The load of one that goes is for those that can carry it, the best first.
        assert_eq!(follows(&mut load, &[(0, 10), (3, 10)], 12), [50.0, 50.0]);
        assert_eq!(follows(&mut load, &[(0, 5), (9, 10)], 12), [70.0, 30.0]);
        assert!(follows(&mut load, &[], 12).is_empty());
        assert_eq!(follows(&mut load, &[(0, 10), (1, 10)], 12), [100.0, 0.0]);
    }

    #[test]
    fn a_worse_one_keeps_no_more_than_it_can_carry() {
        let mut load = FailBack::default();
        follows(&mut load, &[(0, 0), (1, 10)], 0);
        assert_eq!(follows(&mut load, &[(0, 10), (1, 1)], 0), [86.0, 14.0]);
        follows(&mut load, &[(0, 0), (1, 10)], 0);
        assert_eq!(follows(&mut load, &[(0, 10), (1, 0)], 0), [100.0, 0.0]);
        follows(&mut load, &[(0, 0), (1, 0), (2, 10)], 0);
        assert_eq!(follows(&mut load, &[(0, 10), (1, 10), (2, 5)], 0), [0.0, 30.0, 70.0]);
        assert_eq!(follows(&mut load, &[(0, 0), (1, 0), (2, 0)], 0), [34.0, 33.0, 33.0]);
    }

    proptest! {
        /// Whatever happens: the loads add up, load leaves at once, and comes back no faster than it may.
        #[test]
        fn load_leaves_at_once_and_comes_back_slowly(
            steps in prop::collection::vec((1_u64..5_000, [0_u32..=10, 0..=10, 1..=10]), 1..100),
        ) {
            let (rule, mut load) = (FailBackRule::default(), FailBack::default());
            let (mut now, mut before) = (Duration::ZERO, Vec::new());
            for (wait, healthy) in steps {
                let wait = Duration::from_millis(wait);
                now += wait;
                let split = split(&healthy);
                let loads = load.follow(&rule, &[0, 1, 2], &split, now).to_vec();
                prop_assert!((loads.iter().sum::<f64>() - 100.0).abs() < 1e-9);
                prop_assert!(loads.iter().all(|&load| load >= 0.0), "{:?}", loads);
                // The first never has more than it can carry.
                prop_assert!(loads[0] <= f64::from(split.healthy[0]));
                let most = |of: usize| f64::from(split.health[of].max(split.healthy[of])) + 1e-9;
                prop_assert!([1, 2].iter().all(|&of| loads[of] <= most(of)), "{loads:?} {split:?}");
                // Nor more than it had and comes back, but for what the others cannot carry.
                let is_full = [1, 2].iter().any(|&of| loads[of] >= most(of) - 2e-9);
                if let (false, Some(first)) = (is_full || split.is_total_panic(), before.first()) {
                    prop_assert!(loads[0] <= first + 25.0 * wait.as_secs_f64() + 1e-9);
                }
                before = loads;
            }
        }
    }
}
