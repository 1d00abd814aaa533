use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::{
    body::{Request, Response},
    generation::{Generation, Held, replace},
    idle::Idle,
    passage::Passage,
};

/// The place of a plugin, whichever generation stands there. Handles keep it, so they stay valid.
pub(super) struct Slot<Req, Res> {
    pub(super) name: Arc<str>,
    /// Counts the generations, so that a handle sees by one load whether it has the current one.
    epoch: AtomicU64,
    current: ArcSwap<Held<Req, Res>>,
    /// For calls by name.
    idle: Idle<Passage<Req, Res>>,
}

impl<Req, Res> Slot<Req, Res> {
    pub(super) fn new(name: &Arc<str>) -> Arc<Self> {
        let current = ArcSwap::from_pointee(Generation::gone(name));
        let epoch = AtomicU64::new(0);
        Arc::new(Self { name: name.clone(), epoch, current, idle: Idle::new() })
    }

    #[inline]
    fn epoch(&self) -> u64 {
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
        self.idle.clear();
        replace(&before);
        Held::clone(&before)
    }
}

impl<Req: Request, Res: Response> Slot<Req, Res> {
    /// The way through the generation that stands here now.
    pub(super) fn passage(&self) -> Passage<Req, Res> {
        // First the number: at worst the next look finds another one.
        let epoch = self.epoch();
        Passage::new(epoch, self.current())
    }

    /// Leads `passage` through the generation that stands here now.
    #[inline]
    pub(super) fn renew(&self, passage: &mut Passage<Req, Res>) {
        if passage.epoch != self.epoch() {
            self.lead(passage);
        }
    }

    #[cold]
    fn lead(&self, passage: &mut Passage<Req, Res>) {
        *passage = self.passage();
    }

    /// A passage for one call, to be [given back](Self::give_back).
    #[inline]
    pub(super) fn borrow(&self) -> Box<Passage<Req, Res>> {
        self.idle.take().unwrap_or_else(|| Box::new(self.passage()))
    }

    /// Takes back a passage that has made its call.
    #[inline]
    pub(super) fn give_back(&self, passage: Box<Passage<Req, Res>>) {
        // One of a generation that has gone would keep it, and lead the next call there.
        let epoch = passage.epoch;
        if epoch == self.epoch() {
            self.idle.put(passage);
            // It may have gone meanwhile, and what was idle have been cleared before this one came. By the
            // lock of its place, that was so only if the new number is seen here.
            if epoch != self.epoch() {
                self.idle.clear();
            }
        }
    }
}
