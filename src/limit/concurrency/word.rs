//! The rule, pure: one word in, a decision and the next word out.

use std::fmt;

/// The most calls at once that a limit can be set to.
pub(super) const MOST: u32 = u32::MAX >> 1;

/// The whole state of a limit, as far as a call that need not wait is concerned: how many are in
/// flight, how many may be, and whether a call waits. In one word, so that a call that takes a place
/// does so under the limit that holds in that moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    /// Bits 0–30: calls in flight. Added and taken away by itself.
    pub(super) const CALL: u64 = 1;
    /// Bit 31: there is a queue. A bit of its own, so that it can be cleared by itself.
    pub(super) const QUEUE: u64 = 1 << 31;
    const MAX_SHIFT: u32 = 32;

    /// None in flight, and `max` may be: from 1 to [`MOST`], else the nearest of the two.
    pub(super) fn new(max: u32) -> Self {
        Self(0).with_max(max)
    }

    pub(super) fn in_flight(self) -> u32 {
        self.0 as u32 & MOST
    }

    pub(super) fn max(self) -> u32 {
        (self.0 >> Self::MAX_SHIFT) as u32
    }

    pub(super) fn has_queue(self) -> bool {
        self.0 & Self::QUEUE != 0
    }

    /// A call has come in, before which none is: takes a place if one is free.
    #[inline]
    pub(super) fn enter(self) -> Option<Self> {
        // The count stays below 2^31, since `max` does.
        (self.in_flight() < self.max()).then_some(Self(self.0 + Self::CALL))
    }

    /// A new call: enters if none waits before it.
    #[inline]
    pub(super) fn enter_behind(self) -> Option<Self> {
        if self.has_queue() { None } else { self.enter() }
    }

    pub(super) fn with_queue(self, there: bool) -> Self {
        if there { Self(self.0 | Self::QUEUE) } else { Self(self.0 & !Self::QUEUE) }
    }

    /// Those in flight stay, even if they are more than that.
    pub(super) fn with_max(self, max: u32) -> Self {
        let max = u64::from(max.clamp(1, MOST));
        Self(self.0 & u64::from(u32::MAX) | max << Self::MAX_SHIFT)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("in_flight", &self.in_flight())
            .field("max", &self.max())
            .field("has_queue", &self.has_queue())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_part_of_the_word_changes_alone(
            in_flight in 0..=MOST, max in 0..=u32::MAX, other in 0..=u32::MAX, queue: bool,
        ) {
            let word = Word(Word::new(max).with_queue(queue).0 + u64::from(in_flight) * Word::CALL);
            let max = max.clamp(1, MOST);
            let parts = |word: Word| (word.in_flight(), word.max(), word.has_queue());
            prop_assert_eq!(parts(word), (in_flight, max, queue));
            let entered = (in_flight < max).then_some((in_flight.saturating_add(1), max, queue));
            prop_assert_eq!(word.enter().map(parts), entered);
            prop_assert_eq!(word.enter_behind().map(parts), entered.filter(|_| !queue));
            prop_assert_eq!(parts(word.with_queue(!queue)), (in_flight, max, !queue));
            let limited = (in_flight, other.clamp(1, MOST), queue);
            prop_assert_eq!(parts(word.with_max(other)), limited);
        }
    }
}
