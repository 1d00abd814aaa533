//! One call at a time to a member that was ejected, until one of them succeeds.

use std::sync::{Arc, Mutex};

use crate::{
    member::{Ending, Member, Veto},
    rules::CallEnd,
    sync::lock,
};

/// The place of one call on a member, as long as it is on probation.
pub(super) struct Probation {
    /// Bars the member while a call is there, for calls that choose.
    busy: Arc<Veto>,
    place: Mutex<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Taken,
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
}

impl Probation {
    pub(super) fn new(busy: Arc<Veto>) -> Arc<Self> {
        Arc::new(Self { busy, place: Mutex::new(Place::Free) })
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        self.busy.member()
    }

    /// Takes the place, if it is free.
    pub(super) fn claim(self: &Arc<Self>) -> Option<Probe> {
        let mut place = lock(&self.place);
        if *place != Place::Free {
            return None;
        }
        *place = Place::Taken;
        self.busy.raise();
        Some(Probe { probation: Some(self.clone()) })
    }

    /// How the call ended that had the place, for the task. No call gets it meanwhile.
    pub(super) fn ended(&self) -> Option<CallEnd> {
        match *lock(&self.place) {
            Place::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// The member is on probation no longer: a call that has the place still is as any other.
    pub(super) fn end(&self) {
        let mut place = lock(&self.place);
        *place = Place::Over;
        self.busy.clear();
    }

    fn leave(&self, end: CallEnd) {
        let mut place = lock(&self.place);
        if *place != Place::Taken {
            return;
        }
        if end == CallEnd::Ignored {
            *place = Place::Free;
            self.busy.clear();
        } else {
            *place = Place::Ended(end);
            drop(place);
            self.member().note(true);
        }
    }
}

impl Probe {
    /// The call has ended, which had the place if any.
    pub(super) fn settle(this: Option<Self>, end: Option<CallEnd>) {
        if let (Some(mut this), Some(end)) = (this, end) {
            if let Some(probation) = this.probation.take() {
                probation.leave(end);
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(probation) = self.probation.take() {
            probation.leave(match Ending::at(probation.member()) {
                Ending::TimedOut => CallEnd::Failed,
                Ending::Cancelled => CallEnd::Ignored,
            });
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

        let next = Probation::new(busy);
        let late = next.claim().unwrap();
        next.end();
        drop(late);
        assert!(member.is_eligible() && next.claim().is_none());
    }
}
