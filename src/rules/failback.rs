use std::time::Duration;

use super::priority::Split;

/// How load returns to a better priority that has recovered.
///
/// Load leaves a priority at once when it cannot carry it. It comes back after `delay`, and then by
/// `percent_per_second` points, so that a priority that flaps does not swing all traffic with it. Envoy follows
/// health at once; this has no source, and property tests instead.
///
/// Nothing is damped in a total panic, or if a worse priority could not carry what it would keep.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{FailBack, FailBackRule, Priorities, Priority};
/// let (second, rule) = (Duration::from_secs(1), FailBackRule::default());
/// let split = |healthy| Priorities::default().split(&[Priority::of(10, healthy), Priority::of(10, 10)]);
/// let mut load = FailBack::default();
/// assert_eq!(load.follow(&rule, &split(0), Duration::ZERO), [0.0, 100.0]);
/// assert_eq!(load.follow(&rule, &split(10), 1 * second), [0.0, 100.0]);
/// assert_eq!(load.follow(&rule, &split(10), 12 * second), [25.0, 75.0]);
/// assert_eq!(load.follow(&rule, &split(5), 13 * second), [50.0, 50.0]);
/// assert_eq!(load.follow(&rule, &split(0), 14 * second), [0.0, 100.0]);
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
    /// For each priority but the last: the load down to it, that is of it and all better ones.
    steps: Vec<Step>,
    loads: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    load: f64,
    /// Since when it could have more, and until when it was given that.
    rising: Option<(Duration, Duration)>,
}

impl FailBack {
    /// Returns the load of each priority in percent, healthy and degraded hosts together. The first time, and
    /// when the number of priorities changes, it is that of `split`.
    pub fn follow(&mut self, rule: &FailBackRule, split: &Split, now: Duration) -> &[f64] {
        let target: Vec<_> = split
            .healthy
            .iter()
            .zip(&split.degraded)
            .map(|(healthy, degraded)| f64::from(healthy + degraded))
            .collect();
        if self.steps.len() != target.len() || split.is_total_panic() {
            self.jump(target);
            return &self.loads;
        }
        let (mut sum, mut floor) = (0.0, 0.0);
        for (step, load) in self.steps.iter_mut().zip(&target) {
            sum += load;
            step.follow(rule, sum, now);
            // What comes back to one comes back to it and all worse ones together.
            step.load = step.load.max(floor);
            floor = step.load;
        }
        if let Some(last) = self.steps.last_mut() {
            last.load = 100.0;
        }
        let before = [0.0].into_iter().chain(self.steps.iter().map(|step| step.load));
        self.loads =
            self.steps.iter().zip(before).map(|(step, before)| step.load - before).collect();
        let can_carry = split.health.iter().zip(&split.degraded_health);
        let mut each = self.loads.iter().zip(&target).zip(can_carry);
        if each.any(|((load, target), health)| load > target && health == (&0, &0)) {
            self.jump(target);
        }
        &self.loads
    }

    /// Returns the load of each priority as of the last [`follow`](Self::follow), in percent.
    pub fn loads(&self) -> &[f64] {
        &self.loads
    }

    fn jump(&mut self, target: Vec<f64>) {
        let mut load = 0.0;
        let step = |of: &f64| {
            load += of;
            Step { load, rising: None }
        };
        self.steps = target.iter().map(step).collect();
        self.loads = target;
    }
}

impl Step {
    fn follow(&mut self, rule: &FailBackRule, target: f64, now: Duration) {
        if target <= self.load {
            *self = Self { load: target, rising: None };
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

    #[test]
    fn one_that_flaps_gets_nothing_back() {
        let (rule, mut load) = (FailBackRule::default(), FailBack::default());
        load.follow(&rule, &split(&[0, 10]), Duration::ZERO);
        for at in (1..200).map(Duration::from_secs) {
            let healthy = if at.as_secs() % 8 < 4 { 10 } else { 0 };
            assert_eq!(load.follow(&rule, &split(&[healthy, 10]), at), [0.0, 100.0]);
        }
    }

    #[test]
    fn what_cannot_carry_load_keeps_none() {
        let (rule, mut load) = (FailBackRule::default(), FailBack::default());
        load.follow(&rule, &split(&[0, 10]), Duration::ZERO);
        assert_eq!(load.follow(&rule, &split(&[10, 0]), Duration::ZERO), [100.0, 0.0]);
        load.follow(&rule, &split(&[0, 10]), Duration::ZERO);
        assert_eq!(load.follow(&rule, &split(&[0, 0]), Duration::ZERO), [50.0, 50.0]);
        assert_eq!(load.follow(&rule, &split(&[10]), Duration::ZERO), [100.0]);
        assert!(load.follow(&rule, &split(&[]), Duration::ZERO).is_empty());
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
                let loads = load.follow(&rule, &split, now).to_vec();
                prop_assert!((loads.iter().sum::<f64>() - 100.0).abs() < 1e-9);
                prop_assert!(loads.iter().all(|&load| load >= 0.0), "{:?}", loads);
                // The first never has more than it can carry.
                prop_assert!(loads[0] <= f64::from(split.healthy[0]));
                let is_damped = healthy[1..].iter().all(|&of| of > 0) && !split.is_total_panic();
                if let (true, Some(first)) = (is_damped, before.first()) {
                    prop_assert!(loads[0] <= first + 25.0 * wait.as_secs_f64() + 1e-9);
                }
                before = loads;
            }
        }
    }
}
