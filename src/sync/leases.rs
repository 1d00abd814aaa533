use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;

use super::{Padded, lock, thread_number};

/// State that is read by all and written by few, reached through one [`Lease`] per group of
/// threads. This is a handle to it; clones are handles to the same state.
///
/// A single `Arc` that every call clones is a counter that all processors write to, and costs
/// four fifths of the throughput of a layer that does nothing else. So there are several `Arc`s,
/// one for each group of threads, each with counters of its own, and a call clones the one of its
/// thread.
///
/// The leases know each other, which is a cycle. It is cut when the last handle drops. Each is made when a
/// thread of its group first asks, so that what is idle takes the memory of one.
pub(crate) struct Leases<T, L> {
    lease: Arc<Lease<T, L>>,
}

pub(crate) struct Lease<T, L> {
    local: Padded<Local<L>>,
    /// What all read, away from what anybody writes.
    shared: Padded<Shared<T, L>>,
}

type Siblings<T, L> = Box<[OnceLock<Arc<Lease<T, L>>>]>;

/// What one group of threads writes.
struct Local<L> {
    counters: L,
    handles: AtomicUsize,
}

struct Shared<T, L> {
    core: Arc<T>,
    index: usize,
    /// A power of two, so that finding one's lease takes no division.
    shards: usize,
    /// All leases, this one included; `None` where it is the only one, and after the cut.
    siblings: ArcSwapOption<Siblings<T, L>>,
    cut: Arc<Mutex<()>>,
}

impl<T, L: Default> Leases<T, L> {
    /// As many shards as asked for, or up to twice as many.
    pub(crate) fn new(core: T, shards: usize) -> Self {
        Self::over(Arc::new(core), shards)
    }

    /// The same, over a state that others may know already.
    pub(crate) fn over(core: Arc<T>, shards: usize) -> Self {
        Self::of(Lease::one(core, shards))
    }
}

impl<T, L: Default> Lease<T, L> {
    /// The only lease of a state.
    pub(crate) fn single(core: T) -> Self {
        Self::new(Arc::new(core), 0, 1, Arc::default())
    }

    /// The first of as many leases as asked for, or up to twice as many, all of which are made. Make a handle
    /// of it before anything else: the cycle is cut when the last handle drops.
    pub(crate) fn first(core: T, shards: usize) -> Arc<Self> {
        let first = Self::one(Arc::new(core), shards);
        (1..first.shared.shards).for_each(|index| first.with_sibling(index, |_| ()));
        first
    }

    /// The same, of which only this one is made.
    fn one(core: Arc<T>, shards: usize) -> Arc<Self> {
        let shards = shards.max(1).next_power_of_two();
        let first = Arc::new(Self::new(core, 0, shards, Arc::default()));
        if shards > 1 {
            let siblings: Siblings<T, L> = (0..shards).map(|_| OnceLock::new()).collect();
            let _ = siblings[0].set(first.clone());
            first.shared.siblings.store(Some(Arc::new(siblings)));
        }
        first
    }

    #[inline]
    fn take(self: &Arc<Self>) -> Arc<Self> {
        self.with(Arc::clone)
    }

    /// What `of` makes of the lease of the thread that asks.
    #[inline]
    fn with<R>(self: &Arc<Self>, of: impl FnOnce(&Arc<Self>) -> R) -> R {
        if !self.is_sharded() {
            return of(self);
        }
        let index = thread_number() & (self.shared.shards - 1);
        if index == self.shared.index {
            return of(self);
        }
        self.with_other(index, of)
    }

    /// For a handle that was made on another thread.
    #[inline(never)]
    fn with_other<R>(self: &Arc<Self>, index: usize, of: impl FnOnce(&Arc<Self>) -> R) -> R {
        self.with_sibling(index, of)
    }

    /// The lease with this number, or this one after the cut.
    #[inline]
    fn with_sibling<R>(self: &Arc<Self>, index: usize, of: impl FnOnce(&Arc<Self>) -> R) -> R {
        match self.shared.siblings.load().as_ref() {
            None => of(self),
            Some(all) => match all[index].get() {
                Some(lease) => of(lease),
                None => of(&self.make(index)),
            },
        }
    }

    #[cold]
    fn make(self: &Arc<Self>, index: usize) -> Arc<Self> {
        // Not while the cycle is cut: it would be whole again.
        let _one_at_a_time = lock(&self.shared.cut);
        let Some(all) = self.shared.siblings.load_full() else {
            return self.clone();
        };
        let lease = all[index].get_or_init(|| {
            let Shared { core, shards, cut, .. } = &*self.shared;
            let lease = Self::new(core.clone(), index, *shards, cut.clone());
            lease.shared.siblings.store(Some(all.clone()));
            Arc::new(lease)
        });
        lease.clone()
    }

    fn new(core: Arc<T>, index: usize, shards: usize, cut: Arc<Mutex<()>>) -> Self {
        let local = Local { counters: L::default(), handles: AtomicUsize::new(0) };
        let siblings = ArcSwapOption::empty();
        let shared = Shared { core, index, shards, siblings, cut };
        Self { local: Padded(local), shared: Padded(shared) }
    }
}

impl<T, L: Default> Leases<T, L> {
    /// The lease of the thread that asks, for the time of a call.
    #[inline]
    pub(crate) fn take(&self) -> Arc<Lease<T, L>> {
        self.lease.take()
    }

    /// What `of` makes of the lease of the thread that asks, which is not kept.
    #[cfg(feature = "config")]
    #[inline]
    pub(crate) fn with<R>(&self, of: impl FnOnce(&Arc<Lease<T, L>>) -> R) -> R {
        self.lease.with(of)
    }
}

impl<T, L> Leases<T, L> {
    /// A handle made of a lease.
    pub(crate) fn of(lease: Arc<Lease<T, L>>) -> Self {
        if lease.is_sharded() {
            // Relaxed: if this comes while the last other handle goes, the cycle may be cut under
            // it. Then every take gives this lease, until this handle is gone too.
            lease.local.handles.fetch_add(1, Ordering::Relaxed);
        }
        Self { lease }
    }

    #[inline]
    pub(crate) fn core(&self) -> &Arc<T> {
        &self.lease.shared.core
    }

    /// The counters of the thread that made this handle.
    #[inline]
    pub(crate) fn local(&self) -> &L {
        &self.lease.local.counters
    }

    /// Shows `to` the counters of all threads.
    pub(crate) fn each(&self, to: impl Fn(&L)) {
        self.sum(|counters| {
            to(counters);
            0
        });
    }

    /// What `count` is over all threads.
    pub(crate) fn sum(&self, count: impl Fn(&L) -> u64) -> u64 {
        self.lease.sum(count)
    }
}

impl<T, L: Default> Clone for Leases<T, L> {
    #[inline]
    fn clone(&self) -> Self {
        Self::of(self.lease.take())
    }
}

impl<T, L> Drop for Leases<T, L> {
    #[inline]
    fn drop(&mut self) {
        // AcqRel: the handle that cuts must come after all that the other handles did.
        if self.lease.is_sharded() && self.lease.local.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.lease.cut_if_last();
        }
    }
}

impl<T, L> Lease<T, L> {
    #[inline]
    pub(crate) fn core(&self) -> &Arc<T> {
        &self.shared.core
    }

    #[inline]
    pub(crate) fn local(&self) -> &L {
        &self.local.counters
    }

    /// Whether there are several.
    #[inline]
    pub(crate) fn is_sharded(&self) -> bool {
        self.shared.shards > 1
    }

    pub(crate) fn sum(&self, count: impl Fn(&L) -> u64) -> u64 {
        match self.shared.siblings.load().as_deref() {
            None => count(&self.local.counters),
            Some(siblings) => {
                let made = siblings.iter().filter_map(OnceLock::get);
                made.map(|lease| count(&lease.local.counters)).sum()
            }
        }
    }

    /// The last handle of this lease has dropped. If it was the last of all, no other can take a
    /// lease any more, and the cycle goes.
    #[cold]
    fn cut_if_last(&self) {
        // Two last handles of two leases may come at once: the lock makes one of them the later,
        // which sees both counts at zero.
        let _one_at_a_time = lock(&self.shared.cut);
        let Some(siblings) = self.shared.siblings.load_full() else {
            return;
        };
        let made = || siblings.iter().filter_map(OnceLock::get);
        if made().all(|lease| lease.local.handles.load(Ordering::Acquire) == 0) {
            made().for_each(|lease| lease.shared.siblings.store(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_lease_and_all_the_core() {
        let leases = Leases::<u32, AtomicUsize>::new(7, 4);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mine = leases.take();
                    assert_eq!(**mine.core(), 7);
                    mine.local().fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(leases.sum(|n| n.load(Ordering::Relaxed) as u64), 8);
    }

    #[test]
    fn a_lease_is_made_for_the_first_thread_that_asks() {
        let made = |leases: &Leases<u32, AtomicUsize>| {
            let siblings = leases.lease.shared.siblings.load();
            siblings.as_deref().map(|all| all.iter().filter(|one| one.get().is_some()).count())
        };
        let leases = Leases::<u32, AtomicUsize>::new(7, 4);
        assert_eq!(made(&leases), Some(1));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| drop(leases.take()));
            }
        });
        assert!(made(&leases).is_some_and(|made| made > 1));
        let whole = Leases::of(Lease::<u32, AtomicUsize>::first(7, 4));
        assert_eq!(made(&whole), Some(4));
    }

    #[test]
    fn the_last_handle_takes_the_state_with_it() {
        for _ in 0..200 {
            let leases = Leases::<u32, AtomicUsize>::new(7, 4);
            let core = Arc::downgrade(leases.core());
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    let mine = leases.clone();
                    scope.spawn(move || drop((mine.clone(), mine.take(), mine)));
                }
                drop(leases);
            });
            assert_eq!(core.strong_count(), 0);
        }
    }
}
