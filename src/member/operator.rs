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
        self.weigh(|of| of.own = own);
        // The task weighs it anew.
        self.note(true);
    }

    /// Its share of the load by the word of discovery or an operator, whatever a slow start leaves of it.
    pub(crate) fn nominal_weight(&self) -> u32 {
        lock(&self.weighing).nominal()
    }

    /// Bars it for `reason` by the word of an operator, or ends that. Other words stay.
    pub(crate) fn set_operator(&self, reason: Reason, barred: bool) {
        self.set_bits(reason.bits() & bit::OPERATOR, barred);
    }

    /// Ends its ejection, whichever said so: at once that of an operator; that of the balancer, and probation,
    /// as soon as the task of its set looks.
    pub(crate) fn uneject(&self) {
        self.set_operator(Reason::Ejected, false);
        // Relaxed: the note publishes it.
        self.unejected.store(true, Ordering::Relaxed);
        self.note(true);
    }

    /// Whether an operator ended its ejection since the last time this was asked.
    pub(crate) fn take_unejected(&self) -> bool {
        self.unejected.load(Ordering::Relaxed) && self.unejected.swap(false, Ordering::Relaxed)
    }

    /// Whether an operator ejected it.
    pub(crate) fn is_ejected_by_operator(&self) -> bool {
        self.word() & Reason::Ejected.bits() & bit::OPERATOR != 0
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
