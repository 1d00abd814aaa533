//! How many calls there may be at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[derive(Debug, Clone)]
pub(super) struct Places {
    max: usize,
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// `None` if all are taken.
    pub(super) fn take(&self) -> Option<Place> {
        let free = |taken| (taken < self.max).then_some(taken + 1);
        // Relaxed: only the number itself matters.
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Place(self.taken.clone()))
    }
}

/// The place of one call.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
