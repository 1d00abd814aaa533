//! The members and services of a set, in the lists that its snapshots share.

use std::{
    mem,
    sync::{Arc, Weak},
};

use super::{super::group::Services, entry::Entry};
use crate::member::Member;

pub(super) struct Lists<S> {
    pub(super) members: Arc<[Arc<Member>]>,
    /// One for each member. That of a member which has none, or is on probation, is gone from the start.
    pub(super) services: Services<S>,
    /// Those of before. There is none for the members: nothing may keep those that have left.
    spare: Services<S>,
}

/// The index of what was not in a list before.
pub(super) const NEW: usize = usize::MAX;

impl<S> Lists<S> {
    /// Makes the lists of `entries`. What was at `before` stays as it was.
    pub(super) fn renew(&mut self, entries: &[Box<Entry<S>>], before: &[usize]) {
        let known = entries.iter().zip(before);
        let known = known.map(|(entry, &at)| self.members.get(at).unwrap_or(&entry.member));
        self.members = known.cloned().collect();
        self.renew_services(entries, before);
    }

    /// Makes the list of services anew, for the same members.
    pub(super) fn renew_services(&mut self, entries: &[Box<Entry<S>>], before: &[usize]) {
        let others = entries.iter().zip(before).filter(|(_, at)| **at == NEW);
        let others: Vec<_> = others.map(|(entry, _)| entry.open_service()).collect();
        let (mut others, gone) = (others.iter(), Weak::new());
        let known = before
            .iter()
            .map(|&at| self.services.get(at).unwrap_or_else(|| others.next().unwrap_or(&gone)));
        let services = next(mem::take(&mut self.spare), known, Weak::ptr_eq);
        self.spare = mem::replace(&mut self.services, services);
    }
}

impl<S> Default for Lists<S> {
    fn default() -> Self {
        Self { members: Arc::default(), services: Arc::default(), spare: Arc::default() }
    }
}

/// The list of what is `wanted`, made of `spare` if nothing has that any more and it is as long. To count each
/// anew takes long, and takes the counts of services from the calls.
fn next<'a, T: Clone + 'a>(
    mut spare: Arc<[T]>,
    wanted: impl ExactSizeIterator<Item = &'a T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Arc<[T]> {
    match Arc::get_mut(&mut spare).filter(|spare| spare.len() == wanted.len()) {
        Some(list) => arrange(list, wanted, is_same),
        None => return wanted.cloned().collect(),
    }
    spare
}

/// Makes `list` what is `wanted`. Fast if nearly all of it is there, in the same order.
fn arrange<'a, T: Clone + 'a>(
    list: &mut [T],
    wanted: impl Iterator<Item = &'a T>,
    is_same: impl Fn(&T, &T) -> bool,
) {
    /// So far is looked for what others have moved.
    const NEAR: usize = 8;
    let mut displaced = Vec::<T>::new();
    for (at, wanted) in wanted.enumerate() {
        let Some((here, after)) = list.get_mut(at..).and_then(<[T]>::split_first_mut) else {
            break;
        };
        if is_same(here, wanted) {
            continue;
        }
        let moved = displaced.iter_mut().chain(after.iter_mut().take(NEAR));
        match moved.take(2 * NEAR).find(|of| is_same(of, wanted)) {
            Some(moved) => mem::swap(here, moved),
            None => displaced.push(mem::replace(here, wanted.clone())),
        }
    }
}

/// The list of what is `wanted`: that of before, if it is the same.
pub(super) fn list_of<'a, T: Clone + 'a>(
    wanted: impl ExactSizeIterator<Item = &'a T> + Clone,
    before: &Arc<[T]>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Arc<[T]> {
    let mut pairs = wanted.clone().zip(before.iter());
    if wanted.len() == before.len() && pairs.all(|(wanted, before)| is_same(wanted, before)) {
        return before.clone();
    }
    wanted.cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_spare_list_becomes_what_is_wanted(
            mut wanted in vec(0..40_u8, 0..40),
            changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..20),
        ) {
            let mut list = wanted.clone();
            for (from, to, other) in changes {
                if list.is_empty() {
                    break;
                }
                list.remove(from.index(list.len()));
                list.insert(to.index(list.len() + 1), other);
            }
            arrange(&mut list, wanted.iter(), |one, other| one == other);
            prop_assert_eq!(&list, &wanted);
            let was: Arc<[_]> = list.into();
            let at = was.as_ptr();
            prop_assert_eq!(next(was, wanted.iter(), u8::eq).as_ptr(), at, "made of it");
            let held: Arc<[_]> = wanted.clone().into();
            wanted.push(1);
            prop_assert_eq!(&next(held, wanted.iter(), u8::eq)[..], &wanted);
        }
    }

    #[test]
    fn what_is_arranged_is_hardly_counted_anew() {
        let all: Vec<_> = (0..1_000).map(Arc::new).collect();
        let (mut list, mut wanted) = (all[..999].to_vec(), all.clone());
        wanted.remove(200);
        let counts = |list: &[Arc<i32>]| list.iter().map(Arc::strong_count).sum::<usize>();
        let before = counts(&all);
        // 999 moves from the end to the place before 100, and 200 leaves.
        wanted.rotate_right(1);
        wanted[..100].rotate_left(1);
        arrange(&mut list, wanted.iter(), Arc::ptr_eq);
        assert!(list.iter().zip(&wanted).all(|(is, wanted)| Arc::ptr_eq(is, wanted)));
        assert_eq!(counts(&all), before);
    }
}
