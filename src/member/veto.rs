use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{
    member::Member,
    reason::{Reason, bit},
};
use crate::{sync::lock, time::Instant};

/// The right of one guard to bar one member. A new veto bars nothing; dropping it clears it.
///
/// # Bounds
/// A member has 16 bits each for health, circuits and places, and 4 or 1 for the other reasons. A guard
/// that comes when all are taken gets a veto without effect: it must refuse in `call`, as guards do
/// anyway.
///
/// # Example
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
    member: Arc<Member>,
    bit: u64,
}

impl Veto {
    /// Bars the member until [`clear`](Self::clear).
    pub fn raise(&self) {
        if self.bit != 0 {
            self.member.bar(self.bit, None);
        }
    }

    /// Bars the member until `at`, when the task of its set clears the veto.
    pub fn raise_until(&self, at: Instant) {
        if self.bit != 0 {
            self.member.bar(self.bit, Some(at));
        }
    }

    /// Stops barring the member.
    pub fn clear(&self) {
        if self.bit != 0 {
            self.member.unbar(self.bit);
        }
    }

    /// Returns whether this veto bars the member at present.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.member.word() & self.bit != 0
    }

    /// Returns the member that this veto is about.
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
            .field("member", &self.member.key())
            .field("raised", &self.is_raised())
            .finish()
    }
}

impl Member {
    /// Takes a bit of the eligibility word for one guard. Dropping the [`Veto`] clears it.
    pub fn veto(self: &Arc<Self>, reason: Reason) -> Veto {
        let mut bit = 0;
        // Relaxed: the bits that are given out are only counted here.
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let free = reason.bits() & !taken & !bit::RESERVED;
            bit = free & free.wrapping_neg();
            (bit != 0).then_some(taken | bit)
        });
        Veto { member: self.clone(), bit }
    }

    /// Returns when `reason` stops barring it, if that is known, such as the end of an open circuit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Endpoint, member::{Member, Reason}};
    ///
    /// let member = Member::new("a:1".parse::<Endpoint>()?);
    /// let veto = member.veto(Reason::CircuitOpen);
    /// let end = tokio::time::Instant::now() + Duration::from_secs(5);
    /// veto.raise_until(end);
    /// assert_eq!(member.barred_until(Reason::CircuitOpen), Some(end));
    /// assert_eq!(member.barred_until(Reason::Unhealthy), None);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn barred_until(&self, reason: Reason) -> Option<Instant> {
        let barred = self.word() & reason.bits();
        let ends = lock(&self.ends);
        let of_reason = ends.iter().filter(|(bit, _)| bit & barred != 0);
        let (ending, last) = of_reason
            .fold((0, None), |(ending, last), &(bit, at)| (ending | bit, last.max(Some(at))));
        // What bars it for good does so longer than the rest.
        last.filter(|_| ending == barred)
    }
    /// Bars it by `bits`, for good or until `end`.
    fn bar(&self, bits: u64, end: Option<Instant>) {
        self.remember(bits, end);
        self.set_bits(bits, true);
        if let Some(end) = end {
            self.note(self.signal.wakes_after(end));
        }
    }

    /// Bars it by `bits` no longer.
    fn unbar(&self, bits: u64) {
        self.remember(bits, None);
        self.set_bits(bits, false);
    }

    fn remember(&self, bits: u64, end: Option<Instant>) {
        let mut ends = lock(&self.ends);
        ends.retain(|(bit, _)| *bit != bits);
        ends.extend(end.map(|end| (bits, end)));
    }

    /// Clears what bars it until `now` or earlier, and tells when the next such bit is due.
    pub(crate) fn clear_due(&self, now: Instant) -> Option<Instant> {
        // Nearly always nothing does.
        if self.is_eligible() {
            return None;
        }
        let mut ends = lock(&self.ends);
        // Under the lock: a veto that is raised anew just now is so after this.
        ends.retain(|&(bit, end)| {
            let is_due = end <= now;
            if is_due {
                self.set_bits(bit, false);
            }
            !is_due
        });
        ends.iter().map(|&(_, end)| end).min()
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
        let at = |seconds| start + Duration::from_secs(seconds);
        let end = || member.barred_until(Reason::CircuitOpen);
        veto.raise_until(at(1));
        veto.raise_until(at(3));
        assert_eq!(member.clear_due(at(2)), Some(at(3)));
        assert_eq!((veto.is_raised(), end()), (true, Some(at(3))));
        assert_eq!((member.clear_due(at(3)), end()), (None, None));
        assert!(!veto.is_raised());
        veto.raise_until(at(4));
        veto.raise();
        assert_eq!((member.clear_due(at(9)), end()), (None, None));
        assert!(veto.is_raised(), "raised for good");
    }

    #[test]
    fn a_member_is_barred_until_the_last_of_its_vetoes_ends() {
        let member = member();
        let start = time::now();
        let vetoes = [Reason::CircuitOpen; 2].map(|reason| member.veto(reason));
        vetoes[0].raise_until(start + Duration::from_secs(3));
        vetoes[1].raise_until(start + Duration::from_secs(2));
        assert_eq!(member.barred_until(Reason::CircuitOpen), Some(start + Duration::from_secs(3)));
        vetoes[1].raise();
        assert_eq!(member.barred_until(Reason::CircuitOpen), None, "one of them for good");
    }

    #[test]
    fn the_task_hears_of_an_end_before_it_wakes_and_of_no_other() {
        let member = member();
        let (signal, start) = (&member.signal, time::now());
        let busy = member.veto(Reason::Busy);
        signal.take();
        signal.wakes_at(Some(start + Duration::from_secs(5)));
        busy.raise_until(start + Duration::from_secs(9));
        assert!(!signal.take());
        busy.raise_until(start + Duration::from_secs(4));
        assert!(signal.take());
    }
}
