//! What a set keeps alive itself, so that calls and clones need not.

use std::{mem, sync::Arc};

use super::snapshot::{Connected, Snapshot};

/// More are left to the clones that hold them.
const MAX_RETIRED: usize = 4;

/// Services of the set, whose task alone changes this. The set has it and not the task, which may end
/// before the next one makes a snapshot.
pub(super) struct Held<S, T> {
    /// Those of the snapshot.
    connected: Arc<[Arc<Connected<S>>]>,
    /// Snapshots of before. A clone may hold one until its next call, and to let go of a large one takes
    /// long: that shall not fall on a call.
    retired: Vec<Arc<Snapshot<S, T>>>,
}

/// What a set keeps no longer: to be dropped under no lock, since services are of the user's types.
pub(super) type Released<S, T> = (Arc<[Arc<Connected<S>>]>, Vec<Arc<Snapshot<S, T>>>);

impl<S, T> Held<S, T> {
    /// There is a next snapshot, with these services, after `last`.
    #[must_use]
    pub(super) fn replace(
        &mut self,
        connected: Arc<[Arc<Connected<S>>]>,
        last: Arc<Snapshot<S, T>>,
    ) -> Released<S, T> {
        self.retired.push(last);
        let in_use = |snapshot: &Arc<_>| Arc::strong_count(snapshot) > 1;
        let (mut retired, mut gone): (Vec<_>, Vec<_>) =
            mem::take(&mut self.retired).into_iter().partition(in_use);
        gone.extend(retired.drain(..retired.len().saturating_sub(MAX_RETIRED)));
        self.retired = retired;
        (mem::replace(&mut self.connected, connected), gone)
    }
}

impl<S, T> Default for Held<S, T> {
    fn default() -> Self {
        Self { connected: Arc::new([]), retired: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn what_a_clone_holds_is_retired_and_no_more_than_a_few() {
        let snapshot = || Arc::new(Snapshot::empty((), Error::refused(Kind::NoEndpoints)));
        let mut held = Held::<(), ()>::default();
        let mut replace = |last| held.replace(Arc::new([]), last).1.len();
        assert_eq!(replace(snapshot()), 1, "nobody holds it");
        let mut clones: Vec<_> = (0..MAX_RETIRED).map(|_| snapshot()).collect();
        assert!(clones.iter().all(|last| replace(last.clone()) == 0));
        clones.push(snapshot());
        assert_eq!(replace(clones[MAX_RETIRED].clone()), 1, "one too many");
        assert_eq!(Arc::strong_count(&clones[0]), 1, "the oldest");
        clones.clear();
        assert_eq!(replace(snapshot()), MAX_RETIRED + 1);
    }
}
