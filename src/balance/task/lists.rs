//! The members and services of a set, in the lists that its snapshots share.

use std::{
    mem, slice,
    sync::{Arc, Weak},
};

use super::{
    super::snapshot::{Connected, Services},
    entry::Entry,
};
use crate::member::Member;

pub(super) struct Lists<S> {
    pub(super) members: Arc<[Arc<Member>]>,
    /// One for each member. That of a member which has none, or is on probation, is gone from the start.
    pub(super) services: Services<S>,
    /// Those of before. As soon as no snapshot has them, the next list is made of them: to count each service
    /// anew would take its count from the calls.
    spare: Services<S>,
}

/// The index of what was not in a list before.
pub(super) const NEW: usize = usize::MAX;

impl<S> Lists<S> {
    /// Makes the lists of `entries`. What was at `before` stays as it was.
    pub(super) fn renew(&mut self, entries: &[Box<Entry<S>>], before: &[usize]) {
        let known = |(entry, &at): (&Box<Entry<S>>, &usize)| {
            self.members.get(at).unwrap_or(&entry.member).clone()
        };
        self.members = entries.iter().zip(before).map(known).collect();
        self.renew_services(entries, before);
    }

    /// Makes the list of services anew, for the same members.
    pub(super) fn renew_services(&mut self, entries: &[Box<Entry<S>>], before: &[usize]) {
        let mut spare = mem::replace(&mut self.spare, self.services.clone());
        let mut spare = Arc::get_mut(&mut spare).unwrap_or_default().iter_mut();
        let service = |(entry, &at): (&Box<Entry<S>>, &usize)| match self.services.get(at) {
            Some(same) => take(&mut spare, same).unwrap_or_else(|| same.clone()),
            None => entry.open_service(),
        };
        self.services = entries.iter().zip(before).map(service).collect();
    }
}

impl<S> Default for Lists<S> {
    fn default() -> Self {
        Self { members: Arc::new([]), services: Arc::new([]), spare: Arc::new([]) }
    }
}

/// Takes the next that is `same` out of a list in which nearly all are the same, in the same order.
fn take<S>(
    spare: &mut slice::IterMut<'_, Weak<Connected<S>>>,
    same: &Weak<Connected<S>>,
) -> Option<Weak<Connected<S>>> {
    /// So many may have left since.
    const AHEAD: usize = 8;
    let at = spare.as_slice().iter().take(AHEAD).position(|of| of.ptr_eq(same))?;
    spare.nth(at).map(mem::take)
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
