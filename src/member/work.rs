//! What is known of the work of a member, for a strategy that asks for it.

use super::member::Member;

impl Member {
    /// The calls in flight on average of the last second, as of the last look; those that a strategy did not
    /// ask to [count](super::Measure) are none.
    #[inline]
    pub(crate) fn occupancy(&self) -> f64 {
        self.load().busy.mean()
    }

    /// Wakes the task of its set, so that the strategy looks at the load of the members.
    pub(crate) fn watch(&self) {
        self.signal.watch();
    }

    /// Looks how much it did since the last look: the average as of `now`.
    pub(crate) fn look_at_work(&self, now: u64) -> f64 {
        self.load().busy.look(now)
    }
}
