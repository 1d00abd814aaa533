//! What is to be done once the lock of a pool is released: that is no work for under it.

use super::kept::Kept;

#[derive(Debug)]
#[must_use]
pub(super) struct After<C, E, W> {
    /// To be woken.
    pub(super) woken: Vec<W>,
    /// To be dropped, which closes them.
    pub(super) closed: Vec<Kept<C>>,
    /// Whether a call might find a connection now that would not have before.
    pub(super) has_room: bool,
    /// To be dropped: why no connection could be made, if no call waits for it.
    pub(super) unheard: Option<E>,
    /// To be dropped.
    pub(super) unneeded: Option<W>,
}

impl<C, E, W> Default for After<C, E, W> {
    fn default() -> Self {
        let (woken, closed) = (Vec::new(), Vec::new());
        Self { woken, closed, has_room: false, unheard: None, unneeded: None }
    }
}
