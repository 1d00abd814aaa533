//! The one word of an error: its kind, how far the call got, and when to come back.

use std::num::NonZeroU64;
#[cfg(any(all(test, feature = "tower"), feature = "http"))]
use std::time::Duration;

use super::{Error, Kind};
use crate::time::{self, Instant};

/// The layout of [`Error::word`]: bits 0–3 kind, 4 and 5 how far the call got, 6 timed, 7 blameless; from
/// bit 8 on the moment to come back: the low 56 bits of its stamp, which reach 416 days both ways
/// from now.
pub(super) struct Word;

impl Word {
    pub(super) const KIND: u64 = 0b1111;
    /// How far the call got; it may have been sent if neither bit is set.
    pub(super) const SENDING: u64 = 0b11 << 4;
    /// Unsent, if it was the client of the endpoint that said so, and no other that was asked on the
    /// way: the type of the error alone does not tell.
    pub(super) const UNSENT_BY_TYPE: u64 = 0b01 << 4;
    pub(super) const UNSENT: u64 = 0b10 << 4;
    /// Unsent, since a guard of ours said no.
    pub(super) const REFUSED: u64 = 0b11 << 4;
    pub(super) const TIMED: u64 = 1 << 6;
    pub(super) const BLAMELESS: u64 = 1 << 7;
    pub(super) const TIME_SHIFT: u32 = 8;
}

impl Error {
    pub(crate) const fn from_word(word: u64) -> Self {
        // A kind is never zero, so the word is not.
        match NonZeroU64::new(word) {
            Some(word) => Self { word, rest: None },
            None => Self { word: NonZeroU64::MIN, rest: None },
        }
    }

    /// A failure: something was, or may have been, sent.
    pub(crate) const fn failed(kind: Kind) -> Self {
        Self::from_word(kind as u64)
    }

    /// A failure before anything was sent.
    pub(crate) const fn not_sent(kind: Kind) -> Self {
        Self::from_word(kind as u64 | Word::UNSENT)
    }

    /// A failure before anything was sent that says nothing about an endpoint: a caller's mistake,
    /// or a deadline that had passed already.
    pub(crate) const fn blameless(kind: Kind) -> Self {
        Self::from_word(kind as u64 | Word::UNSENT | Word::BLAMELESS)
    }

    /// The same failure, of which the endpoint is not the cause. See [`Fault`](super::Fault) for whose it is then.
    pub(crate) fn without_blame(mut self) -> Self {
        self.word |= Word::BLAMELESS;
        self
    }

    /// A guard of ours said no.
    #[inline]
    pub(crate) const fn refused(kind: Kind) -> Self {
        Self::from_word(kind as u64 | Word::REFUSED)
    }

    /// A failure of which its type says that nothing was sent. Counts as sent until
    /// [`confirm_unsent`](Self::confirm_unsent).
    #[cfg(any(feature = "http", feature = "grpc"))]
    pub(crate) const fn not_sent_by_type(kind: Kind) -> Self {
        Self::from_word(kind as u64 | Word::UNSENT_BY_TYPE)
    }

    pub(super) fn sending(&self) -> u64 {
        self.word.get() & Word::SENDING
    }

    pub(super) fn with_sending(mut self, sending: u64) -> Self {
        self.word = Self::from_word(self.word.get() & !Word::SENDING | sending).word;
        self
    }

    /// The error comes from the client of the endpoint itself: what its type says holds.
    pub(crate) fn confirm_unsent(self) -> Self {
        if self.sending() == Word::UNSENT_BY_TYPE { self.with_sending(Word::UNSENT) } else { self }
    }

    /// Come back at `instant`, which is at most a year from now.
    pub(crate) fn retry_at(self, instant: Instant) -> Self {
        self.retry_at_stamp(time::stamp(instant))
    }

    /// The same for a moment that was kept as a stamp.
    #[inline]
    pub(crate) fn retry_at_stamp(mut self, stamp: i64) -> Self {
        let low = self.word.get() & ((1 << Word::TIME_SHIFT) - 1);
        let stamp = (stamp as u64) << Word::TIME_SHIFT;
        self.word = Self::from_word(low | Word::TIMED | stamp).word;
        self
    }

    /// Come back `wait` after `now`; an absurd wait is told as a year.
    #[cfg(any(all(test, feature = "tower"), feature = "http"))]
    pub(crate) fn retry_in(self, now: Instant, wait: Duration) -> Self {
        pub(super) const YEAR: Duration = Duration::from_secs(86_400 * 365);
        self.retry_at(time::later(now, wait.min(YEAR)))
    }

    /// The call may have been sent after all.
    pub(crate) fn maybe_sent(self) -> Self {
        self.with_sending(0)
    }

    /// Moves the error out without counting references, and leaves a bare one of its kind.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        Self { word: self.word, rest: self.rest.take() }
    }

    pub(crate) fn retry_instant(&self) -> Option<Instant> {
        (self.word.get() & Word::TIMED != 0).then(|| {
            // The word has the low bits of the stamp, so it is the nearest such moment to now:
            // a process may run for years.
            let now = time::stamp(time::now());
            let ahead = (self.word.get() >> Word::TIME_SHIFT).wrapping_sub(now as u64);
            time::at_stamp(now + ((ahead << Word::TIME_SHIFT) as i64 >> Word::TIME_SHIFT))
        })
    }
}
