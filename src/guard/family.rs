//! The states of one layer value, and the settings that all of them go by.
//!
//! A guard has the state of the layer itself (above a balancer, or without one), one for each member
//! below a balancer, and maybe some by key. A [`Family`] is their cold half: it knows the newest
//! settings, finds the state of a member while that lives, and pushes an update into all of them. A
//! call never reads it: what a call goes by stands in words of its state, where
//! [`Configured::apply`] puts it.
//!
//! ```text
//!   layer.handle().update(..) ──► Family ──► every state: apply(newest)
//!                                   ▲
//!            connect(member) ───────┘  found again, or made by the newest settings
//!   layer.handle_for(key).update(..) ──────► that one state: apply(these)
//! ```
//!
//! # How updates meet
//! * Of two updates at once, one is the last everywhere: a state reads the newest settings under a
//!   lock of its own, so whichever push comes last, it brings the same ones. No state needs to know
//!   which version it has.
//! * A state that is made while an update runs does not miss it: it is listed first, and then looks
//!   whether the settings that it was made by are still the newest.
//! * Settings that one state got alone stay until the next update of the family, and `fresh` does not
//!   take them over.
//!
//! # Handles
//! A type says what its `update` is for. The handle of a layer has the family and updates all of it;
//! it derefs to the handle of the layer's own state. The handle of one state, which `handle_for`
//! answers with, has no family, and updates that state alone.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::by_member::ByMember;
use crate::{
    member::Member,
    sync::atomic::{Mutex, lock},
};

/// State of a guard that goes by settings which may change; or what keeps many such states.
pub(crate) trait Configured<S>: Send + Sync {
    /// Goes by the newest settings from now on, and does what follows: wakes, tells, logs.
    ///
    /// No lock of the family is held. [`Newest::get`] must be asked under the lock under which the
    /// settings are put into words: that is what makes one of two updates the last.
    fn apply(self: Arc<Self>, newest: &Newest<S>);

    /// Whose state it is, where it is a member's.
    fn member(&self) -> Option<&Arc<Member>> {
        None
    }
}

/// The newest settings, at any time.
pub(crate) struct Newest<S>(Mutex<Arc<S>>);

impl<S> Newest<S> {
    /// For one state alone.
    pub(crate) fn new(settings: S) -> Self {
        Self(Mutex::new(Arc::new(settings)))
    }

    pub(crate) fn get(&self) -> Arc<S> {
        lock(&self.0).clone()
    }

    fn set(&self, settings: S) {
        let before = std::mem::replace(&mut *lock(&self.0), Arc::new(settings));
        drop(before);
    }

    fn is(&self, settings: &Arc<S>) -> bool {
        Arc::ptr_eq(&lock(&self.0), settings)
    }
}

/// The states of one layer value. Keeps none of them alive.
pub(crate) struct Family<T, S> {
    newest: Newest<S>,
    members: ByMember<T>,
    /// The layer's own, and those that keep many by key.
    others: Mutex<Vec<Weak<dyn Configured<S>>>>,
}

impl<T: Configured<S> + 'static, S: 'static> Family<T, S> {
    pub(crate) fn new(settings: S) -> Self {
        Self {
            newest: Newest::new(settings),
            members: ByMember::default(),
            others: Mutex::new(Vec::new()),
        }
    }

    /// What a state that is made now goes by.
    pub(crate) fn settings(&self) -> Arc<S> {
        self.newest.get()
    }

    /// A state that is no member's: the layer's own, or what keeps many.
    pub(crate) fn own<L>(&self, make: impl FnOnce(&Arc<S>) -> Arc<L>) -> Arc<L>
    where
        L: Configured<S> + 'static,
    {
        let made_by = self.settings();
        let own = make(&made_by);
        let weak: Weak<L> = Arc::downgrade(&own);
        {
            let mut others = lock(&self.others);
            others.retain(|of| of.strong_count() > 0);
            if others.is_empty() {
                // Mostly there is but this one.
                others.reserve_exact(1);
            }
            others.push(weak);
        }
        self.catch_up(&own, &made_by);
        own
    }

    /// The state of `member`: the one it has, if its service is only connected anew.
    pub(crate) fn of_member(
        &self,
        member: &Arc<Member>,
        make: impl FnOnce(&Arc<S>) -> T,
    ) -> Arc<T> {
        let is_its =
            |state: &T| state.member().is_some_and(|of_state| Arc::ptr_eq(of_state, member));
        let made_by = self.settings();
        let state = self.members.get_or_insert(member, is_its, || make(&made_by));
        self.catch_up(&state, &made_by);
        state
    }

    /// The state of the member with `key`, which may be an address in any form; the newest, where
    /// several sets share the layer.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<T>> {
        self.members.get(key)
    }

    /// The states of all members that there are.
    #[cfg(feature = "http")]
    pub(crate) fn of_members(&self) -> Vec<Arc<T>> {
        self.members.live()
    }

    /// New settings for all states that there are, and those to come.
    pub(crate) fn update(&self, settings: S) {
        // First those to come, so that none is missed.
        self.newest.set(settings);
        let others: Vec<_> = lock(&self.others).iter().filter_map(Weak::upgrade).collect();
        others.into_iter().for_each(|state| state.apply(&self.newest));
        self.members.live().into_iter().for_each(|state| state.apply(&self.newest));
    }

    /// For a state that is listed by now, and may have been made while an update ran.
    pub(crate) fn catch_up<L: Configured<S>>(&self, state: &Arc<L>, made_by: &Arc<S>) {
        if !self.newest.is(made_by) {
            state.clone().apply(&self.newest);
        }
    }
}

impl<T, S: fmt::Debug> fmt::Debug for Family<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("settings", &self.newest.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    struct State {
        member: Option<Arc<Member>>,
        goes_by: Mutex<u32>,
    }

    impl State {
        fn new(member: Option<&Arc<Member>>, settings: u32) -> Self {
            Self { member: member.cloned(), goes_by: Mutex::new(settings) }
        }

        fn goes_by(&self) -> u32 {
            *lock(&self.goes_by)
        }
    }

    impl Configured<u32> for State {
        fn apply(self: Arc<Self>, newest: &Newest<u32>) {
            let mut goes_by = lock(&self.goes_by);
            *goes_by = *newest.get();
        }

        fn member(&self) -> Option<&Arc<Member>> {
            self.member.as_ref()
        }
    }

    fn member(port: u16) -> Arc<Member> {
        Member::new(Endpoint::new(format!("a:{port}")).unwrap())
    }

    #[test]
    fn the_state_of_a_member_is_found_again() {
        let family = Family::<State, u32>::new(0);
        let state_of = |member: &Arc<Member>| {
            family.of_member(member, |settings| State::new(Some(member), **settings))
        };
        let (one, other) = (member(1), member(1));
        let (first, second) = (state_of(&one), state_of(&other));
        assert!(Arc::ptr_eq(&first, &state_of(&one)) && !Arc::ptr_eq(&first, &second));
        assert!(family.get("a:1").is_some_and(|state| Arc::ptr_eq(&state, &second)));
        assert!(family.get("a:2").is_none());
    }

    #[test]
    fn an_update_is_for_all_that_are_there_and_those_to_come() {
        let family = Family::<State, u32>::new(0);
        let (here, later) = (member(1), member(2));
        let state_of = |member: &Arc<Member>| {
            family.of_member(member, |settings| State::new(Some(member), **settings))
        };
        let own = family.own(|settings| Arc::new(State::new(None, **settings)));
        let of_member = state_of(&here);
        family.update(1);
        assert_eq!([own.goes_by(), of_member.goes_by(), state_of(&later).goes_by()], [1; 3]);
        // One alone, until the next that is for all.
        of_member.clone().apply(&Newest::new(7));
        assert_eq!((own.goes_by(), of_member.goes_by(), *family.settings()), (1, 7, 1));
        assert_eq!(state_of(&here).goes_by(), 7);
        family.update(2);
        assert_eq!((own.goes_by(), of_member.goes_by()), (2, 2));
    }

    #[test]
    fn a_state_that_is_made_while_an_update_runs_does_not_miss_it() {
        let (family, one) = (Family::<State, u32>::new(0), member(1));
        let state = family.of_member(&one, |settings| {
            let state = State::new(Some(&one), **settings);
            // It is not listed yet, so this does not find it.
            family.update(1);
            state
        });
        assert_eq!(state.goes_by(), 1);
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use loom::thread;

    use super::*;

    struct State(Mutex<u32>);

    impl Configured<u32> for State {
        fn apply(self: Arc<Self>, newest: &Newest<u32>) {
            let mut goes_by = lock(&self.0);
            *goes_by = *newest.get();
        }
    }

    fn own(family: &Family<State, u32>) -> Arc<State> {
        family.own(|settings| Arc::new(State(Mutex::new(**settings))))
    }

    /// Of two updates at once, one is the last everywhere.
    #[test]
    fn loom_two_updates_leave_all_states_alike() {
        loom::model(|| {
            let family = Arc::new(Family::new(0));
            let states = [own(&family), own(&family)];
            let other = family.clone();
            let updates = thread::spawn(move || other.update(1));
            family.update(2);
            updates.join().unwrap();
            let newest = *family.settings();
            assert!(states.iter().all(|state| *lock(&state.0) == newest));
        });
    }

    #[test]
    fn loom_a_state_that_comes_meanwhile_misses_no_update() {
        loom::model(|| {
            let family = Arc::new(Family::new(0));
            let other = family.clone();
            let updates = thread::spawn(move || other.update(1));
            let state = own(&family);
            updates.join().unwrap();
            assert_eq!(*lock(&state.0), 1);
        });
    }
}
