//! One call at a time to a member that was ejected, until one of them succeeds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    member::{Ending, Member, Veto},
    rules::CallEnd,
    sync::lock,
    time::{self, Instant},
};

/// The place of one call on a member, as long as it is on probation.
pub(super) struct Probation {
    /// Bars the member while a call is there, for calls that choose.
    busy: Arc<Veto>,
    /// And how many calls have had it, to tell one apart that has lost it.
    place: Mutex<(Place, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    /// Since then.
    Taken(Instant),
    /// The call has ended, and the task has not looked yet.
    Ended(CallEnd),
    /// The member is on probation no longer.
    Over,
}

/// A call that has the place. Dropping it gives the place back, unless its attempt timed out: that is a
/// failure.
pub(super) struct Probe {
    /// `None` once it has ended.
    probation: Option<Arc<Probation>>,
    number: u64,
}

impl Probation {
    pub(super) fn new(busy: Arc<Veto>) -> Arc<Self> {
        Arc::new(Self { busy, place: Mutex::new((Place::Free, 0)) })
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        self.busy.member()
    }

    /// Takes the place, if it is free.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Probe> {
        let mut place = lock(&self.place);
        if place.0 != Place::Free {
            return None;
        }
        *place = (Place::Taken(time::now()), place.1 + 1);
        let number = place.1;
        self.busy.raise();
        drop(place);
        // The task asks when the place is to be free again.
        self.member().note(true);
        Some(Probe { probation: Some(self.clone()), number })
    }

    /// How the call ended that had the place, for the task. No call gets it meanwhile.
    pub(super) fn ended(&self) -> Option<CallEnd> {
        match lock(&self.place).0 {
            Place::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// Takes the place from a call that has had it for so long, or tells when to ask that again. `None` while no
    /// call has it.
    pub(super) fn free_at(&self, now: Instant, timeout: Duration) -> Option<Instant> {
        let mut place = lock(&self.place);
        let Place::Taken(since) = place.0 else { return None };
        let until = time::later(since, timeout);
        if until > now {
            return Some(until);
        }
        place.0 = Place::Free;
        self.busy.clear();
        None
    }

    /// The member is on probation no longer: a call that has the place still is as any other.
    pub(super) fn end(&self) {
        let mut place = lock(&self.place);
        place.0 = Place::Over;
        self.busy.clear();
    }

    fn leave(&self, number: u64, end: CallEnd) {
        let mut place = lock(&self.place);
        if !matches!(place.0, Place::Taken(_)) || place.1 != number {
            return;
        }
        place.0 = if end == CallEnd::Ignored { Place::Free } else { Place::Ended(end) };
        if place.0 == Place::Free {
            self.busy.clear();
        }
        drop(place);
        // The task decides what it means, or wakes the calls that wait for the place.
        self.member().note(true);
    }
}

impl Probe {
    /// The call has ended, which had the place if any.
    pub(super) fn settle(this: Option<Self>, end: Option<CallEnd>) {
        if let (Some(mut this), Some(end)) = (this, end) {
            if let Some(probation) = this.probation.take() {
                probation.leave(this.number, end);
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(probation) = self.probation.take() {
            probation.leave(
                self.number,
                match Ending::at(probation.member()) {
                    Ending::TimedOut => CallEnd::Failed,
                    Ending::Cancelled => CallEnd::Ignored,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{endpoint::Endpoint, member::Reason};

    #[test]
    fn there_is_one_place_and_it_is_given_back() {
        let member = Member::new(Endpoint::new("a:1").unwrap());
        let busy = Arc::new(member.veto(Reason::Busy));
        let probation = Probation::new(busy.clone());
        let probe = probation.claim().unwrap();
        assert!(probation.claim().is_none() && !member.is_eligible());
        drop(probe);
        assert!(member.is_eligible() && probation.ended().is_none());
        Probe::settle(probation.claim(), Some(CallEnd::Succeeded));
        assert!(probation.claim().is_none(), "the task decides first");
        assert_eq!(probation.ended(), Some(CallEnd::Succeeded));
        probation.end();
        assert!(member.is_eligible() && probation.claim().is_none());

        let next = Probation::new(busy.clone());
        let late = next.claim().unwrap();
        next.end();
        drop(late);
        assert!(member.is_eligible() && next.claim().is_none());

        let again = Probation::new(busy);
        let (late, timeout) = (again.claim(), Duration::from_secs(30));
        let now = time::now();
        assert!(again.free_at(now, timeout).unwrap() <= now + timeout && !member.is_eligible());
        assert_eq!(
            again.free_at(now + timeout, timeout),
            None,
            "it is free, so time changes nothing"
        );
        assert!(member.is_eligible());
        let next = again.claim().unwrap();
        Probe::settle(late, Some(CallEnd::Failed));
        assert!(again.ended().is_none() && !member.is_eligible(), "it has lost its place");
        drop(next);
        assert!(member.is_eligible());
    }
}
