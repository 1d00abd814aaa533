//! The snapshots of before, as long as clones have them.

use std::{mem, sync::Arc};

use super::snapshot::Snapshot;

/// More are left to the clones that hold them.
const MAX_RETIRED: usize = 4;

/// Snapshots of before. A clone may hold one until its next call, and to let go of a large one takes
/// long: that shall not fall on a call.
pub(super) struct Retired<S, T> {
    snapshots: Vec<Arc<Snapshot<S, T>>>,
}

impl<S, T> Retired<S, T> {
    /// There is a next snapshot, after `last`. Returns what is to be dropped, under no lock.
    #[must_use]
    pub(super) fn replace(&mut self, last: Arc<Snapshot<S, T>>) -> Vec<Arc<Snapshot<S, T>>> {
        self.snapshots.push(last);
        let in_use = |snapshot: &Arc<_>| Arc::strong_count(snapshot) > 1;
        let (mut retired, mut gone): (Vec<_>, Vec<_>) =
            mem::take(&mut self.snapshots).into_iter().partition(in_use);
        gone.extend(retired.drain(..retired.len().saturating_sub(MAX_RETIRED)));
        self.snapshots = retired;
        gone
    }
}

impl<S, T> Default for Retired<S, T> {
    fn default() -> Self {
        Self { snapshots: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn what_a_clone_holds_is_retired_and_no_more_than_a_few() {
        let snapshot = || Arc::new(Snapshot::empty((), Error::refused(Kind::NoEndpoints)));
        let mut retired = Retired::<(), ()>::default();
        let mut replace = |last| retired.replace(last).len();
        assert_eq!(replace(snapshot()), 1, "nothing holds it");
        let mut clones: Vec<_> = (0..MAX_RETIRED).map(|_| snapshot()).collect();
        assert!(clones.iter().all(|last| replace(last.clone()) == 0));
        clones.push(snapshot());
        assert_eq!(replace(clones[MAX_RETIRED].clone()), 1, "one too many");
        assert_eq!(Arc::strong_count(&clones[0]), 1, "the oldest");
        clones.clear();
        assert_eq!(replace(snapshot()), MAX_RETIRED + 1);
    }
}
