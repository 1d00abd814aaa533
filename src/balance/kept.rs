//! The snapshot that a clone keeps from one call to the next.

use std::sync::Arc;

use super::{set::Set, snapshot::Snapshot, state::State, strategy::Strategy};

/// A larger one is not kept: a clone at rest would keep much memory, and the last to let go of one would
/// take long over it.
const MAX_MEMBERS: usize = 1_024;

/// The snapshot that a clone saw last. To look whether it is still the set's costs one load; to take that of
/// the set costs two atomic exchanges.
///
/// A clone may rest for ever. It keeps the list of members that it saw, but no service: see
/// [`Connected`](super::snapshot::Connected).
pub(super) struct Kept<S, T> {
    /// As the set's was when the snapshot was taken.
    state: State,
    snapshot: Option<Arc<Snapshot<S, T>>>,
    called: bool,
}

impl<S, T> Kept<S, T> {
    /// The snapshot, if it is that of `state`, which is up then.
    #[inline]
    pub(super) fn of(&self, state: State) -> Option<&Snapshot<S, T>> {
        if state == self.state { self.snapshot.as_deref() } else { None }
    }

    /// Keeps what the set has now, from the second call on: many clones make only one. `state` is up, and
    /// was seen before.
    pub(super) fn renew<P>(&mut self, set: &Set<S, P>, state: State)
    where
        P: Strategy<Table = T>,
    {
        self.snapshot = None;
        if std::mem::replace(&mut self.called, true) {
            let snapshot = set.snapshot.load();
            if snapshot.all.len() <= MAX_MEMBERS {
                self.state = state;
                self.snapshot = Some(arc_swap::Guard::into_inner(snapshot));
            }
        }
    }
}

impl<S, T> Default for Kept<S, T> {
    #[inline]
    fn default() -> Self {
        Self { state: State::default(), snapshot: None, called: false }
    }
}
