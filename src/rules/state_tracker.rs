use std::{collections::BTreeMap, sync::Arc};

use super::rise_fall::{Rule, Streak};

/// Rise and fall of targets whose results come from outside: the rule of the health gate without its checks.
///
/// Pure: no clock, lock or task. `T` is what is kept of a target, such as its
/// [`Endpoint`](crate::Endpoint); `()` if the key is all.
///
/// # When to use
/// If something else checks the targets, such as a control plane, an agent or a script, or to replay a history of
/// results. To check endpoints and act on it, use a
/// [`HealthGateLayer`](crate::health::HealthGateLayer).
///
/// # The rule
/// A healthy target becomes unhealthy with `fall` failures in a row, an unhealthy one healthy with `rise`
/// successes in a row. A change resets no count, only an opposite result does. A target that is not tracked is
/// unhealthy.
///
/// # Example
/// ```
/// use tower_upstream::rules::StateTracker;
///
/// let mut tracker = StateTracker::new(2, 3);
/// assert!(tracker.sync([("a:1", ()), ("b:1", ())]));
/// assert!(!tracker.record("a:1", false) && !tracker.record("a:1", false));
/// assert!(tracker.record("a:1", false), "the third in a row");
/// assert!(!tracker.is_healthy("a:1") && tracker.is_healthy("b:1"));
/// assert_eq!(tracker.counts().healthy, 1);
/// ```
#[derive(Debug, Clone)]
pub struct StateTracker<T = ()> {
    rule: Rule,
    initially_healthy: Option<bool>,
    /// Ordered by key.
    targets: BTreeMap<Arc<str>, Tracked<T>>,
}

#[derive(Debug, Clone)]
struct Tracked<T> {
    target: T,
    streak: Streak,
}

/// Number of targets of a [`StateTracker`], by their state.
///
/// ```
/// use tower_upstream::rules::StateTracker;
/// assert_eq!(StateTracker::<()>::new(2, 3).counts(), Default::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateCounts {
    /// All targets.
    pub total: usize,
    /// Targets that are healthy.
    pub healthy: usize,
    /// Targets that are unhealthy.
    pub unhealthy: usize,
}

impl<T> StateTracker<T> {
    /// Creates a tracker without targets, whose new targets are healthy. A number below 1 is 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rule, targets) = (Rule::new(rise, fall), BTreeMap::new());
        Self { rule, initially_healthy: Some(true), targets }
    }

    /// Sets whether a target is healthy before its first result. With `None` it is healthy until then, and the
    /// first result decides alone. Default: `Some(true)`.
    #[must_use]
    pub fn with_initially_healthy(mut self, initially_healthy: Option<bool>) -> Self {
        self.initially_healthy = initially_healthy;
        self
    }

    /// Tracks these targets and no others, and returns whether one came or went.
    ///
    /// A target that stays keeps its state and its counts; what is kept of it is replaced. Of two with one key the
    /// last counts.
    pub fn sync<K: Into<Arc<str>>>(&mut self, targets: impl IntoIterator<Item = (K, T)>) -> bool {
        let mut before = std::mem::take(&mut self.targets);
        let mut came = false;
        for (key, target) in targets {
            let key = key.into();
            let again = self.targets.get(&key).map(|tracked| tracked.streak);
            let known = before.remove(&key).map(|tracked| tracked.streak).or(again);
            came |= known.is_none();
            let streak = known.unwrap_or_else(|| Streak::new(self.initially_healthy));
            self.targets.insert(key, Tracked { target, streak });
        }
        came || !before.is_empty()
    }

    /// Counts one result, and returns whether it changed the state of the target. Does nothing for a target
    /// that is not tracked.
    pub fn record(&mut self, key: &str, success: bool) -> bool {
        let Some(tracked) = self.targets.get_mut(key) else { return false };
        let before = tracked.is_healthy();
        self.rule.count(&mut tracked.streak, success);
        tracked.is_healthy() != before
    }

    /// Returns whether the target is healthy: `false` if it is not tracked.
    pub fn is_healthy(&self, key: &str) -> bool {
        self.targets.get(key).is_some_and(Tracked::is_healthy)
    }

    /// Returns all targets, ordered by key.
    pub fn all(&self) -> impl Iterator<Item = (&str, &T)> {
        self.targets.iter().map(|(key, tracked)| (&**key, &tracked.target))
    }

    /// Returns the healthy targets, ordered by key.
    pub fn healthy(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all().filter(|(key, _)| self.is_healthy(key))
    }

    /// Returns the unhealthy targets, ordered by key.
    pub fn unhealthy(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all().filter(|(key, _)| !self.is_healthy(key))
    }

    /// Returns how many targets there are.
    pub fn counts(&self) -> StateCounts {
        let (total, healthy) = (self.targets.len(), self.healthy().count());
        StateCounts { total, healthy, unhealthy: total - healthy }
    }
}

impl<T> Tracked<T> {
    fn is_healthy(&self) -> bool {
        self.streak.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which results, by number from 1, changed the state.
    fn changes(tracker: &mut StateTracker, results: &str) -> Vec<usize> {
        let results = (1..).zip(results.chars());
        let changed = results.filter(|(_, result)| tracker.record("a", *result == 'S'));
        changed.map(|(number, _)| number).collect()
    }

    #[test]
    fn it_falls_and_rises_by_results_in_a_row() {
        let mut tracker = StateTracker::new(2, 3);
        tracker.sync([("a", ())]);
        assert_eq!(changes(&mut tracker, "FFSFFFSFSS"), [6, 10]);
        assert!(tracker.is_healthy("a"));
        let mut strict = StateTracker::new(0, 0);
        strict.sync([("a", ())]);
        assert_eq!(changes(&mut strict, "FFSF"), [1, 3, 4]);
    }

    #[test]
    fn what_is_not_tracked_is_unhealthy_and_counts_nothing() {
        let mut tracker = StateTracker::<()>::new(1, 1);
        assert!(!tracker.record("a", true) && !tracker.is_healthy("a"));
        assert_eq!(tracker.all().count(), 0);
    }

    #[test]
    fn sync_tells_what_came_and_went_and_keeps_the_rest() {
        let mut tracker = StateTracker::new(2, 1);
        assert!(!tracker.sync(Vec::<(&str, u32)>::new()));
        assert!(tracker.sync([("b", 1), ("a", 1)]));
        assert!(tracker.record("b", false));
        assert!(!tracker.sync([("a", 2), ("b", 2)]), "only what is kept of them");
        assert_eq!(tracker.all().collect::<Vec<_>>(), [("a", &2), ("b", &2)]);
        assert_eq!(tracker.unhealthy().collect::<Vec<_>>(), [("b", &2)]);
        assert_eq!(tracker.counts(), StateCounts { total: 2, healthy: 1, unhealthy: 1 });
        assert!(tracker.sync([("b", 3), ("b", 4)]), "one went");
        assert_eq!(tracker.all().collect::<Vec<_>>(), [("b", &4)]);
        // One that comes back is new.
        assert!(tracker.sync([("a", 5)]) && tracker.sync([("b", 6)]));
        assert_eq!(tracker.healthy().collect::<Vec<_>>(), [("b", &6)]);
    }

    #[test]
    fn the_state_before_the_first_result_is_what_was_set() {
        for (initial, healthy, after) in
            [(Some(true), true, "S"), (Some(false), false, "SS"), (None, true, "")]
        {
            let mut tracker = StateTracker::new(2, 3).with_initially_healthy(initial);
            tracker.sync([("a", ())]);
            assert_eq!(tracker.is_healthy("a"), healthy, "{initial:?}");
            changes(&mut tracker, after);
            assert!(tracker.is_healthy("a"), "{initial:?}");
        }
        let mut first = StateTracker::new(2, 3).with_initially_healthy(None);
        first.sync([("a", ())]);
        assert_eq!(changes(&mut first, "FSS"), [1, 3]);
    }
}
