//! What a member weighs: by discovery or an operator, and by its slow start.

use super::member::Member;
use crate::sync::lock;

#[derive(Debug, Default)]
pub(super) struct Weighing {
    discovered: u32,
    /// What an operator says instead.
    own: Option<u32>,
    /// What a slow start leaves of it, in percent; 0 in a set without one.
    warmth: u32,
}

impl Weighing {
    fn nominal(&self) -> u32 {
        self.own.unwrap_or(self.discovered)
    }

    fn weight(&self) -> u32 {
        match (self.nominal(), self.warmth) {
            (nominal, 0) | (nominal @ 0, _) => nominal,
            (nominal, percent) => nominal.saturating_mul(percent),
        }
    }
}

impl Member {
    /// Takes over the weight of discovery. That of an operator stays in force.
    pub(super) fn discover_weight(&self, discovered: u32) {
        self.weigh(|of| of.discovered = discovered);
    }

    /// Gives it this share of the load, or with `None` that of discovery.
    pub(crate) fn set_own_weight(&self, own: Option<u32>) {
        self.weigh(|of| of.own = own);
        // The task weighs the members anew.
        self.signal.notify();
    }

    /// Weighs it in percent, by so many of them; 0 is not in percent.
    pub(crate) fn set_warmth(&self, percent: u32) {
        self.weigh(|of| of.warmth = percent);
    }

    /// Its weight, whatever a slow start leaves of it.
    pub(super) fn nominal_weight(&self) -> u32 {
        lock(&self.weighing).nominal()
    }

    fn weigh(&self, change: impl FnOnce(&mut Weighing)) {
        // Stored under the lock, so that of two changes none overwrites the other's.
        let mut weighing = lock(&self.weighing);
        change(&mut weighing);
        self.set_weight(weighing.weight());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn an_operator_s_weight_outlives_that_of_discovery_and_a_slow_start_scales_either() {
        let discovered = |weight| Endpoint::new("a:1").unwrap().with_weight(weight);
        let member = Member::new(discovered(3));
        member.set_own_weight(Some(7));
        member.update(Arc::new(discovered(4)));
        assert_eq!(member.weight(), 7);
        member.set_warmth(10);
        assert_eq!((member.weight(), member.nominal_weight()), (70, 7));
        member.set_own_weight(None);
        assert_eq!((member.weight(), member.nominal_weight()), (40, 4));
        member.set_warmth(0);
        assert_eq!(member.weight(), 4);
        for warmth in [1, 100, 0] {
            member.set_own_weight(Some(0));
            member.set_warmth(warmth);
            assert_eq!(member.weight(), 0);
        }
    }
}
