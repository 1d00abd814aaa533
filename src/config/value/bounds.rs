//! How much a file may hold, counted before anything is made of it.

use super::{
    flaw::Flaw,
    tree::{MAX_DEPTH, MAX_VALUES, Place},
};

/// What was counted so far.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    values: usize,
    open: usize,
}

impl Bounds {
    /// A value begins.
    pub(super) fn value(&mut self, place: impl FnOnce() -> Place) -> Result<(), Flaw> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(Flaw::too_many(place())) } else { Ok(()) }
    }

    /// A list or a map begins.
    pub(super) fn open(&mut self, place: impl FnOnce() -> Place) -> Result<(), Flaw> {
        self.open += 1;
        if self.open > MAX_DEPTH { Err(Flaw::too_deep(place())) } else { Ok(()) }
    }

    /// A list or a map ends.
    pub(super) fn close(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// How many lists and maps are around what comes next.
    pub(super) fn depth(&self) -> usize {
        self.open
    }
}
