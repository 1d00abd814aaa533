use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::generation::{Generation, Held, replace};

/// The place of a plugin, whichever generation stands there. Handles keep it, so they stay valid.
pub(super) struct Slot<Req, Res> {
    pub(super) name: Arc<str>,
    /// Counts the generations, so that a handle sees by one load whether it has the current one.
    epoch: AtomicU64,
    current: ArcSwap<Held<Req, Res>>,
}

impl<Req, Res> Slot<Req, Res> {
    pub(super) fn new(name: &Arc<str>) -> Arc<Self> {
        let current = ArcSwap::from_pointee(Generation::gone(name));
        Arc::new(Self { name: name.clone(), epoch: AtomicU64::new(0), current })
    }

    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        // Acquire: the generation of this number is there.
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn current(&self) -> Held<Req, Res> {
        Held::clone(&self.current.load())
    }

    /// Puts another generation into its place. The one before ends with its last call.
    pub(super) fn put(&self, next: Held<Req, Res>) -> Held<Req, Res> {
        let before = self.current.swap(Arc::new(next));
        // Release: see `epoch`.
        self.epoch.fetch_add(1, Ordering::Release);
        replace(&before);
        Held::clone(&before)
    }
}
