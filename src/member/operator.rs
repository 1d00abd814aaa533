//! What an operator says of a member while it is in its set: a word beside that of discovery and of guards.

use std::sync::atomic::Ordering;

use super::{
    member::Member,
    reason::{Reason, bit},
};
use crate::sync::lock;

impl Member {
    /// Gives it this share of the load, or with `None` that of discovery.
    pub(crate) fn set_own_weight(&self, own: Option<u32>) {
        // Under the lock, so that of this and an update by discovery none overwrites the other's word.
        let mut operator = lock(&self.own_weight);
        *operator = own;
        let weight = own.unwrap_or_else(|| self.endpoint().weight());
        self.set_weight(weight);
        drop(operator);
        // The task weighs the members anew.
        self.signal.notify();
    }

    /// Takes over the weight of discovery, unless an operator gave another.
    pub(super) fn discover_weight(&self, discovered: u32) {
        let operator = lock(&self.own_weight);
        self.set_weight(operator.unwrap_or(discovered));
    }

    /// Bars it for `reason` by the word of an operator, or ends that. Other words stay.
    pub(crate) fn set_operator(&self, reason: Reason, barred: bool) {
        self.set_bits(reason.bits() & bit::OPERATOR, barred);
    }

    /// Counts a call that failed.
    pub(super) fn count_failure(&self) {
        // Before it is counted: it is in flight yet, so it would be taken off twice.
        self.score.failed(self.succeeded());
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that says nothing about the endpoint: a refusal, a mistake of the caller, or one that
    /// was given up.
    pub(super) fn count_neutral(&self) {
        self.neutral.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls have ended well. A call that is tracked to the end of its body has not ended before.
    pub(super) fn succeeded(&self) -> u64 {
        let others = self.failures() + self.neutral.load(Ordering::Relaxed);
        self.calls().saturating_sub(u64::from(self.in_flight()) + others)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn the_words_of_an_operator_of_discovery_and_of_guards_stand_apart() {
        let discovered = |draining| Endpoint::new("a:1").unwrap().with_draining(draining);
        let member = Member::new(discovered(true));
        for reason in [Reason::Draining, Reason::Disabled, Reason::Ejected] {
            let veto = member.veto(reason);
            member.set_operator(reason, true);
            veto.raise();
            member.update(Arc::new(discovered(false)));
            veto.clear();
            assert_eq!(member.reasons().collect::<Vec<_>>(), [reason]);
            veto.raise();
            member.set_operator(reason, false);
            member.update(Arc::new(discovered(false)));
            assert!(veto.is_raised() && !member.is_eligible());
            veto.clear();
            assert!(member.is_eligible());
        }
    }

    #[test]
    fn an_operator_s_weight_outlives_that_of_discovery() {
        let discovered = |weight| Endpoint::new("a:1").unwrap().with_weight(weight);
        let member = Member::new(discovered(3));
        member.set_own_weight(Some(7));
        member.update(Arc::new(discovered(4)));
        assert_eq!(member.weight(), 7);
        member.set_own_weight(None);
        assert_eq!(member.weight(), 4);
    }
}
