//! The one word of an error: its kind, how far the call got, and when to come back.

use std::num::NonZeroU64;

use super::kind::Kind;

/// Bits 0–4 kind, 5 and 6 how far the call got, 7 timed, 8 blameless; from bit 9 on the moment to come
/// back: the low 55 bits of its stamp, which reach 208 days both ways from now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(NonZeroU64);

impl Word {
    const KIND: u64 = 0b1_1111;
    /// How far the call got; it may have been sent if neither bit is set.
    const SENDING: u64 = 0b11 << 5;
    /// Unsent, if it was the client of the endpoint that said so, and no other that was asked on the
    /// way: the type of the error alone does not tell.
    #[cfg_attr(not(any(feature = "http", feature = "grpc")), allow(dead_code, reason = "read"))]
    pub(super) const UNSENT_BY_TYPE: u64 = 0b01 << 5;
    pub(super) const UNSENT: u64 = 0b10 << 5;
    /// Unsent, since a guard of ours said no.
    pub(super) const REFUSED: u64 = 0b11 << 5;
    const TIMED: u64 = 1 << 7;
    pub(super) const BLAMELESS: u64 = 1 << 8;
    const TIME_SHIFT: u32 = 9;
    /// How far the moment may be from now, in nanoseconds.
    pub(super) const REACH: u64 = 1 << (63 - Self::TIME_SHIFT);

    pub(super) const fn new(kind: Kind, bits: u64) -> Self {
        Self::from(kind as u64 | bits)
    }

    const fn from(word: u64) -> Self {
        // A kind is never zero, so the word is not.
        match NonZeroU64::new(word) {
            Some(word) => Self(word),
            None => Self(NonZeroU64::MIN),
        }
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        let index = (self.0.get() & Self::KIND) as usize;
        Kind::ALL.get(index.wrapping_sub(1)).copied().unwrap_or(Kind::Service)
    }

    /// Whether any of `bits` is set.
    #[inline]
    pub(super) const fn has(self, bits: u64) -> bool {
        self.0.get() & bits != 0
    }

    /// How far the call got: 0, or one of the three.
    #[inline]
    pub(super) const fn sending(self) -> u64 {
        self.0.get() & Self::SENDING
    }

    #[inline]
    pub(super) const fn with_sending(self, sending: u64) -> Self {
        Self::from(self.0.get() & !Self::SENDING | sending)
    }

    #[inline]
    pub(super) const fn with(self, bits: u64) -> Self {
        Self::from(self.0.get() | bits)
    }

    #[inline]
    pub(super) const fn at_stamp(self, stamp: i64) -> Self {
        let low = self.0.get() & ((1 << Self::TIME_SHIFT) - 1);
        Self::from(low | Self::TIMED | (stamp as u64) << Self::TIME_SHIFT)
    }

    pub(super) const fn is_timed(self) -> bool {
        self.has(Self::TIMED)
    }

    /// The stamp that it was given. The word has the low bits of it, so it is the nearest such moment to
    /// now: a process may run for years.
    pub(super) const fn stamp_near(self, now: i64) -> i64 {
        let ahead = (self.0.get() >> Self::TIME_SHIFT).wrapping_sub(now as u64);
        now.wrapping_add((ahead << Self::TIME_SHIFT) as i64 >> Self::TIME_SHIFT)
    }
}

const _: () = {
    assert!(Kind::ALL.len() as u64 <= Word::KIND, "each kind fits, and none is zero");
    assert!(Kind::ALL.len() as u64 == Kind::ALL[Kind::ALL.len() - 1] as u64, "in order");
    let fields = [Word::KIND, Word::SENDING, Word::TIMED, Word::BLAMELESS];
    let (mut seen, mut index) = (0, 0);
    while index < fields.len() {
        assert!(seen & fields[index] == 0, "no two fields share a bit");
        seen |= fields[index];
        index += 1;
    }
    assert!(seen == (1 << Word::TIME_SHIFT) - 1, "the time begins where they end");
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_survives_beside_every_flag() {
        for kind in Kind::ALL {
            for sending in [0, Word::UNSENT_BY_TYPE, Word::UNSENT, Word::REFUSED] {
                for blameless in [0, Word::BLAMELESS] {
                    let word = Word::new(kind, sending | blameless).at_stamp(-1);
                    assert_eq!((word.kind(), word.sending()), (kind, sending));
                    assert_eq!(word.has(Word::BLAMELESS), blameless != 0);
                    let other = word.with_sending(Word::UNSENT);
                    assert_eq!((other.kind(), other.sending()), (kind, Word::UNSENT));
                    assert!(other.is_timed() && !Word::new(kind, sending).is_timed());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_moment_within_reach_is_found_again(
            now in -(1_i64 << 60)..1 << 60,
            ahead in -(Word::REACH as i64)..Word::REACH as i64,
        ) {
            let word = Word::new(Kind::CircuitOpen, Word::REFUSED).at_stamp(now + ahead);
            prop_assert_eq!(word.stamp_near(now), now + ahead);
            prop_assert_eq!((word.kind(), word.sending()), (Kind::CircuitOpen, Word::REFUSED));
        }
    }
}
