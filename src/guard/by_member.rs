//! The states that one layer value made for members, found by key while they live.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use crate::{
    endpoint::identities_of,
    member::Member,
    sync::atomic::{Mutex, lock},
};

/// Keeps none of them alive.
#[derive(Debug)]
pub(crate) struct ByMember<T>(Mutex<Listed<T>>);

#[derive(Debug)]
struct Listed<T> {
    /// Several for one key, where several sets share the layer.
    map: HashMap<Arc<str>, Vec<Weak<T>>>,
    /// How many keys there may be before the dead are swept.
    sweep_at: usize,
}

impl<T> Default for ByMember<T> {
    fn default() -> Self {
        Self(Mutex::new(Listed { map: HashMap::new(), sweep_at: 16 }))
    }
}

impl<T> ByMember<T> {
    /// The live state of `key`, which may be an address in any form; the newest, where there are
    /// several.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<T>> {
        identities_of(key).find_map(|identity| self.all(&identity).into_iter().next_back())
    }

    /// The live state of `member`, which `is_its` knows, or a new one.
    pub(crate) fn get_or_insert(
        &self,
        member: &Arc<Member>,
        is_its: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let find = |live: &[Arc<T>]| live.iter().find(|state| is_its(state)).cloned();
        if let Some(state) = find(&self.all(member.identity())) {
            return state;
        }
        let state = Arc::new(make());
        // Another thread may have made one since.
        let mut listed = lock(&self.0);
        let live = listed.all(member.identity());
        let made = find(&live);
        if made.is_none() {
            listed.insert(member, &state);
        }
        drop(listed);
        made.unwrap_or(state)
    }

    /// All that live.
    pub(crate) fn live(&self) -> Vec<Arc<T>> {
        let all: Vec<_> = lock(&self.0).map.values().flatten().cloned().collect();
        all.into_iter().filter_map(|state| state.upgrade()).collect()
    }

    /// The live states of the members with this identity, the oldest first. Copied out, so that the
    /// last reference to a state never drops under the lock.
    pub(crate) fn all(&self, identity: &str) -> Vec<Arc<T>> {
        lock(&self.0).all(identity)
    }
}

impl<T> Listed<T> {
    fn all(&self, identity: &str) -> Vec<Arc<T>> {
        let of_key = self.map.get(identity).into_iter().flatten();
        of_key.filter_map(Weak::upgrade).collect()
    }

    fn insert(&mut self, member: &Arc<Member>, state: &Arc<T>) {
        if self.map.len() >= self.sweep_at {
            self.map.retain(|_, of_key| {
                of_key.retain(|state| state.strong_count() > 0);
                !of_key.is_empty()
            });
            // Swept only when it has doubled since: a constant share of each insertion.
            self.sweep_at = (2 * self.map.len()).max(16);
        }
        let of_key = self.map.entry(member.identity().clone()).or_default();
        of_key.retain(|state| state.strong_count() > 0);
        of_key.push(Arc::downgrade(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn a_live_state_is_found_again_and_the_dead_are_swept() {
        let states = ByMember::<Arc<Member>>::default();
        let member = |port: u16| Member::new(Endpoint::new(format!("a:{port}")).unwrap());
        let make = |member: &Arc<Member>| {
            states.get_or_insert(member, |of| Arc::ptr_eq(of, member), || member.clone())
        };
        let (one, other) = (member(1), member(1));
        let (first, second) = (make(&one), make(&other));
        assert!(Arc::ptr_eq(&first, &make(&one)) && !Arc::ptr_eq(&first, &second));
        assert!(states.get("a:1").is_some_and(|of| Arc::ptr_eq(&*of, &other)));
        assert!(states.get("a:2").is_none());
        for port in 2..2_000 {
            drop(make(&member(port)));
        }
        assert!(lock(&states.0).map.len() <= 32);
        assert!(states.get("a:1").is_some());
    }

    #[test]
    fn of_two_made_at_once_for_a_member_one_is_kept() {
        let states = ByMember::<u32>::default();
        let member = Member::new(Endpoint::new("a:1").unwrap());
        let make = |state| states.get_or_insert(&member, |_| true, || state);
        let mut first = None;
        // The other thread comes while this one makes its own.
        let kept = states.get_or_insert(&member, |_| true, || *first.insert(make(1)).clone() + 1);
        assert!(first.is_some_and(|first| Arc::ptr_eq(&first, &kept)));
        assert_eq!(states.all("a:1").len(), 1);
    }
}
