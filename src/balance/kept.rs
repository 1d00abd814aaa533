//! The snapshot that a clone keeps from one call to the next.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{snapshot::Snapshot, state::State};

/// So many members at most: a clone at rest keeps no more than 256 KiB.
const MAX_MEMBERS: usize = 1 << 14;

/// The snapshot that a clone saw last. To look whether it is still that of the set takes one load; to
/// take that of the set takes two atomic exchanges, which is as much as half of a choice.
///
/// A clone may rest for ever. It keeps the lists of members that it saw, but no service: see
/// [`Connected`](super::group::Connected).
pub(super) struct Kept<S, T> {
    /// As the set's was when the snapshot was taken.
    state: State,
    snapshot: Option<Arc<Snapshot<S, T>>>,
    /// Whether it was called before.
    calls_again: bool,
}

impl<S, T> Kept<S, T> {
    /// The snapshot, if it is that of `state`, which is up then.
    #[inline]
    pub(super) fn of(&self, state: State) -> Option<&Snapshot<S, T>> {
        if state == self.state { self.snapshot.as_deref() } else { None }
    }

    /// The snapshot that the set has now. Keeps it from the second call on: many clones make only one.
    /// `state` was seen before, and is up.
    #[inline]
    pub(super) fn renew(
        &mut self,
        state: State,
        of_set: &ArcSwap<Snapshot<S, T>>,
    ) -> Guard<Arc<Snapshot<S, T>>> {
        let newest = of_set.load();
        if self.calls_again {
            self.keep(state, &newest);
        }
        self.calls_again = true;
        newest
    }

    #[inline(never)]
    fn keep(&mut self, state: State, newest: &Arc<Snapshot<S, T>>) {
        let is_small = newest.all.len() <= MAX_MEMBERS;
        self.snapshot = is_small.then(|| newest.clone());
        self.state = state;
    }
}

impl<S, T> Default for Kept<S, T> {
    #[inline]
    fn default() -> Self {
        Self { state: State::default(), snapshot: None, calls_again: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        balance::state::{Availability, SharedState},
        endpoint::Endpoint,
        error::{Error, Kind},
        member::Member,
    };

    fn of_size(members: usize) -> ArcSwap<Snapshot<(), ()>> {
        let member = Member::new(Endpoint::new("a:1").unwrap());
        let empty = Snapshot::empty((), Error::refused(Kind::NoEndpoints));
        ArcSwap::from_pointee(Snapshot { all: vec![member; members].into(), ..empty })
    }

    #[test]
    fn a_clone_keeps_a_snapshot_from_its_second_call_until_the_next_state() {
        let (set, shared) = (of_size(MAX_MEMBERS), SharedState::default());
        shared.set(Availability::Up);
        let (state, mut kept) = (shared.load(), Kept::default());
        drop(kept.renew(state, &set));
        assert!(kept.of(state).is_none(), "many make only one call");
        drop(kept.renew(state, &set));
        assert!(kept.of(state).is_some_and(|kept| std::ptr::eq(kept, &**set.load())));
        shared.set(Availability::Up);
        assert!(kept.of(shared.load()).is_none());
    }

    #[test]
    fn one_that_is_too_large_is_not_kept_nor_the_one_before() {
        let (small, large) = (of_size(1), of_size(MAX_MEMBERS + 1));
        let (shared, mut kept) = (SharedState::default(), Kept::default());
        for (set, is_kept) in [(&small, false), (&small, true), (&large, false), (&small, true)] {
            shared.set(Availability::Up);
            drop(kept.renew(shared.load(), set));
            assert_eq!(kept.of(shared.load()).is_some(), is_kept);
        }
        let before = Arc::downgrade(&small.load());
        shared.set(Availability::Up);
        drop((kept.renew(shared.load(), &large), small));
        assert_eq!(before.strong_count(), 0);
    }
}
