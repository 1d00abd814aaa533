//! Whose turn it is: a count that goes on from snapshot to snapshot.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::random_below;

#[derive(Debug, Default)]
pub(super) struct Turn(AtomicUsize);

impl Turn {
    /// The turn goes on where it was before; without that it is `start`, or a random one, so that many
    /// clients that make one call each do not all call the same.
    pub(super) fn after(before: Option<&Self>, start: Option<usize>) -> Self {
        // Small, since a division takes longer the larger its result is.
        let start = || start.unwrap_or_else(|| random_below(1 << 20) as usize);
        Self(AtomicUsize::new(before.map_or_else(start, |before| before.0.load(Ordering::Relaxed))))
    }

    #[inline]
    pub(super) fn take(&self) -> usize {
        // Relaxed: each turn is given out once, and nothing else hangs on it.
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
