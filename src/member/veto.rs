use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::Member;
use crate::time::Instant;

/// Why a member is not eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A health check says so, or discovery does. Ignored in a panic.
    Unhealthy,
    /// A circuit breaker is open.
    CircuitOpen,
    /// A guard has no place free just now, such as for another probe. Seen by requests at once,
    /// without a new snapshot.
    Busy,
    /// It does much worse than the others. Ignored in a panic.
    Ejected,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// Somebody switched it off.
    Disabled,
}

pub(super) mod bit {
    //! The layout of the eligibility word.
    pub(in crate::member) const UNHEALTHY: u64 = 0xffff | DISCOVERED_CRITICAL;
    pub(in crate::member) const CIRCUIT_OPEN: u64 = 0xffff << 16;
    pub(in crate::member) const BUSY: u64 = 0xffff << 32;
    pub(in crate::member) const EJECTED: u64 = 0xf << 48;
    pub(in crate::member) const DISABLED: u64 = 0xf << 52;
    pub(in crate::member) const DRAINING: u64 = 1 << 56;
    pub(in crate::member) const DISCOVERED_CRITICAL: u64 = 1 << 57;
    /// Set from what discovery says, so nobody may take them.
    pub(in crate::member) const DISCOVERED: u64 = DISCOVERED_CRITICAL;
    /// A change of these makes a new snapshot.
    pub(in crate::member) const SLOW: u64 = !BUSY;
}

impl Reason {
    pub(super) const ALL: [Self; 6] = [
        Self::Unhealthy,
        Self::CircuitOpen,
        Self::Busy,
        Self::Ejected,
        Self::Draining,
        Self::Disabled,
    ];

    /// What a panic overlooks.
    pub(crate) const OVERLOOKED_IN_PANIC: u64 = bit::UNHEALTHY | bit::EJECTED;

    /// What takes a member out of the snapshot, rather than only out of a choice.
    pub(crate) const IN_SNAPSHOT: u64 = bit::SLOW;

    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::Unhealthy => bit::UNHEALTHY,
            Self::CircuitOpen => bit::CIRCUIT_OPEN,
            Self::Busy => bit::BUSY,
            Self::Ejected => bit::EJECTED,
            Self::Draining => bit::DRAINING,
            Self::Disabled => bit::DISABLED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "unhealthy",
            Self::CircuitOpen => "circuit open",
            Self::Busy => "busy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}

/// The right of one guard to bar one member. Clear when made; dropping it clears it.
///
/// A member has 16 bits for health, circuits and places each, and fewer for the rest. A guard that
/// comes when all are taken gets a veto without effect: it must refuse in `call`, as guards do
/// anyway.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Endpoint, member::{Member, Reason}};
///
/// let member = Member::new("a:1".parse::<Endpoint>()?);
/// let veto = member.veto(Reason::Disabled);
/// veto.raise_until(tokio::time::Instant::now() + Duration::from_secs(5));
/// assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Disabled]);
/// veto.clear();
/// assert!(member.is_eligible());
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct Veto {
    pub(super) member: Arc<Member>,
    pub(super) bit: u64,
}

impl Veto {
    /// Bars the member until [`clear`](Self::clear).
    pub fn raise(&self) {
        if self.bit != 0 {
            self.member.signal.forget(&self.member, self.bit);
            self.member.set_bits(self.bit, true);
        }
    }

    /// Bars the member until `at`, when the task of its set clears the bit.
    pub fn raise_until(&self, at: Instant) {
        if self.bit != 0 {
            self.member.signal.remember(&self.member, self.bit, at);
            self.member.set_bits(self.bit, true);
        }
    }

    /// Bars it no longer.
    pub fn clear(&self) {
        if self.bit != 0 {
            self.member.signal.forget(&self.member, self.bit);
            self.member.set_bits(self.bit, false);
        }
    }

    /// Whether it bars the member just now.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.member.word() & self.bit != 0
    }

    /// The member that this veto is about.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Veto {
    fn drop(&mut self) {
        self.clear();
        self.member.taken.fetch_and(!self.bit, Ordering::Relaxed);
    }
}

impl fmt::Debug for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Veto")
            .field("member", &self.member.key)
            .field("raised", &self.is_raised())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{endpoint::Endpoint, time};

    fn member() -> Arc<Member> {
        Member::new(Endpoint::new("a:1").unwrap())
    }

    #[test]
    fn guards_of_one_kind_do_not_clear_each_others_bit() {
        let member = member();
        let (one, two) = (member.veto(Reason::CircuitOpen), member.veto(Reason::CircuitOpen));
        one.raise();
        two.raise();
        one.clear();
        assert!(!member.is_eligible());
        drop(two);
        assert!(member.is_eligible());
    }

    #[test]
    fn a_veto_too_many_has_no_effect_and_a_place_given_back_is_given_again() {
        let member = member();
        let mut vetoes: Vec<_> = (0..16).map(|_| member.veto(Reason::Busy)).collect();
        let late = member.veto(Reason::Busy);
        late.raise();
        assert!(member.is_eligible());
        vetoes.pop();
        let veto = member.veto(Reason::Busy);
        veto.raise();
        assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Busy]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_raised_until_a_time_ends_then_and_the_last_word_counts() {
        let member = member();
        let veto = member.veto(Reason::CircuitOpen);
        let start = time::now();
        veto.raise_until(start + Duration::from_secs(1));
        veto.raise_until(start + Duration::from_secs(3));
        let signal = &member.signal;
        assert_eq!(signal.clear_due(start + Duration::from_secs(2)), veto_end(start));
        assert!(veto.is_raised());
        assert_eq!(signal.earliest(Reason::CircuitOpen), veto_end(start));
        assert_eq!(signal.clear_due(start + Duration::from_secs(3)), None);
        assert!(!veto.is_raised());
        veto.raise_until(start + Duration::from_secs(4));
        veto.raise();
        signal.clear_due(start + Duration::from_secs(9));
        assert!(veto.is_raised(), "raised for good");
    }

    fn veto_end(start: Instant) -> Option<Instant> {
        Some(start + Duration::from_secs(3))
    }
}
