//! Small pieces for state that many tasks share.

use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
    task::Waker,
};

use arc_swap::ArcSwapOption;

/// Locks even if a holder panicked: what we keep under locks is whole after every statement.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a value on cache lines of its own. 128 bytes, since processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A small number of this thread, given in the order in which threads first ask.
#[inline]
pub(crate) fn thread_number() -> usize {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    #[cold]
    fn next_number() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the count itself matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let _ = NUMBER.try_with(|known| known.set(number));
        number
    }

    let known = NUMBER.try_with(Cell::get).unwrap_or(0);
    if known == usize::MAX { next_number() } else { known }
}

/// State that is read by all and written by few, reached through one [`Lease`] per group of
/// threads. This is a handle to it; clones are handles to the same state.
///
/// A single `Arc` that every call clones is a counter that all processors write to, and costs
/// four fifths of the throughput of a layer that does nothing else. So there are several `Arc`s,
/// one for each group of threads, each with counters of its own, and a call clones the one of its
/// thread.
///
/// The leases know each other, which is a cycle. It is cut when the last handle drops.
pub(crate) struct Leases<T, L> {
    lease: Arc<Lease<T, L>>,
}

pub(crate) struct Lease<T, L> {
    local: Padded<Local<L>>,
    /// What all read, away from what anybody writes.
    shared: Padded<Shared<T, L>>,
}

type Siblings<T, L> = Box<[Arc<Lease<T, L>>]>;

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
        let shards = shards.max(1).next_power_of_two();
        let (core, cut) = (Arc::new(core), Arc::<Mutex<()>>::default());
        let lease = |index| Arc::new(Lease::new(core.clone(), index, shards, cut.clone()));
        let leases: Box<[_]> = (0..shards).map(lease).collect();
        let first = leases[0].clone();
        if leases.len() > 1 {
            let siblings = Arc::new(leases);
            for lease in siblings.iter() {
                lease.shared.siblings.store(Some(siblings.clone()));
            }
        }
        Self::of(first)
    }
}

impl<T, L: Default> Lease<T, L> {
    /// The only lease of a state.
    pub(crate) fn single(core: T) -> Self {
        Self::new(Arc::new(core), 0, 1, Arc::default())
    }

    fn new(core: Arc<T>, index: usize, shards: usize, cut: Arc<Mutex<()>>) -> Self {
        let local = Local { counters: L::default(), handles: AtomicUsize::new(0) };
        let siblings = ArcSwapOption::empty();
        let shared = Shared { core, index, shards, siblings, cut };
        Self { local: Padded(local), shared: Padded(shared) }
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

    /// The lease of the thread that asks, for the time of a call.
    #[inline]
    pub(crate) fn take(&self) -> Arc<Lease<T, L>> {
        self.lease.take()
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

    /// What `count` is over all threads.
    pub(crate) fn sum(&self, count: impl Fn(&L) -> u64) -> u64 {
        self.lease.sum(count)
    }
}

impl<T, L> Clone for Leases<T, L> {
    #[inline]
    fn clone(&self) -> Self {
        Self::of(self.lease.take())
    }
}

impl<T, L> Drop for Leases<T, L> {
    #[inline]
    fn drop(&mut self) {
        // AcqRel: whoever cuts must come after all that the other handles did.
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

    #[inline]
    fn is_sharded(&self) -> bool {
        self.shared.shards > 1
    }

    #[inline]
    fn take(self: &Arc<Self>) -> Arc<Self> {
        if !self.is_sharded() {
            return self.clone();
        }
        let index = thread_number() & (self.shared.shards - 1);
        if index == self.shared.index {
            return self.clone();
        }
        self.take_other(index)
    }

    /// For a handle that was made on another thread.
    #[inline(never)]
    fn take_other(self: &Arc<Self>, index: usize) -> Arc<Self> {
        self.shared
            .siblings
            .load()
            .as_deref()
            .map_or_else(|| self.clone(), |all| all[index].clone())
    }

    pub(crate) fn sum(&self, count: impl Fn(&L) -> u64) -> u64 {
        match self.shared.siblings.load().as_deref() {
            None => count(&self.local.counters),
            Some(siblings) => siblings.iter().map(|lease| count(&lease.local.counters)).sum(),
        }
    }

    /// The last handle of this lease has dropped. If it was the last of all, nobody can take a
    /// lease any more, and the cycle goes.
    #[cold]
    fn cut_if_last(&self) {
        // Two last handles of two leases may come at once: the lock makes one of them the later,
        // which sees both counts at zero.
        let _one_at_a_time = lock(&self.shared.cut);
        let Some(siblings) = self.shared.siblings.load_full() else {
            return;
        };
        if siblings.iter().all(|lease| lease.local.handles.load(Ordering::Acquire) == 0) {
            siblings.iter().for_each(|lease| lease.shared.siblings.store(None));
        }
    }
}

/// How many leases pay off: one for each processor, at most eight.
pub(crate) fn shards() -> usize {
    static SHARDS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *SHARDS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(8)))
}

/// Tasks that wait for something, each listed once however often it is polled.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    state: Mutex<Waiters>,
    /// How many wait, so that waking nobody costs one load.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiters {
    slots: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// A waiter that was woken has no slot any more, and its old key means nothing.
    round: u64,
}

/// A place in a [`WaitList`]. Give it back with [`WaitList::leave`], or drop the list.
#[derive(Debug, Default)]
pub(crate) struct WaitKey(Option<(u64, usize)>);

impl WaitList {
    /// Lists `waker`, or replaces the one listed under `key` before. Look at the condition once
    /// more afterwards: it may have been met in between.
    pub(crate) fn wait(&self, key: &mut WaitKey, waker: &Waker) {
        // Wakers are cloned and dropped outside the lock: what they do is not ours.
        let mut waker = waker.clone();
        let mut waiters = lock(&self.state);
        if let WaitKey(Some((round, slot))) = *key {
            if round == waiters.round {
                if let Some(Some(listed)) = waiters.slots.get_mut(slot) {
                    std::mem::swap(listed, &mut waker);
                    drop(waiters);
                    return;
                }
            }
        }
        let slot = match waiters.free.pop() {
            Some(slot) => {
                waiters.slots[slot] = Some(waker);
                slot
            }
            None => {
                waiters.slots.push(Some(waker));
                waiters.slots.len() - 1
            }
        };
        *key = WaitKey(Some((waiters.round, slot)));
        self.count.fetch_add(1, Ordering::Relaxed);
        drop(waiters);
        // Pairs with the fence in `wake_all`. Either the waiter, who looks at its condition once
        // more after this, sees it met, or whoever met it sees the count.
        fence(Ordering::SeqCst);
    }

    /// Takes `key` off the list.
    pub(crate) fn leave(&self, key: &mut WaitKey) {
        let WaitKey(Some((round, slot))) = std::mem::take(key) else {
            return;
        };
        let mut waiters = lock(&self.state);
        if round != waiters.round {
            return;
        }
        let listed = waiters.slots.get_mut(slot).and_then(Option::take);
        if listed.is_some() {
            waiters.free.push(slot);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        // Before the waker, which may do as it likes when it drops.
        drop(waiters);
    }

    /// Wakes all that wait. The wakers run after the lock is released.
    pub(crate) fn wake_all(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let woken = {
            let mut waiters = lock(&self.state);
            waiters.round += 1;
            waiters.free.clear();
            self.count.store(0, Ordering::Relaxed);
            std::mem::take(&mut waiters.slots)
        };
        for waker in woken.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// A fast random number, from a state of this thread. Not for secrets.
#[inline]
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(seed());
    }
    STATE
        .try_with(|state| {
            // wyrand, from the wyhash family by Wang Yi (public domain).
            let next = state.get().wrapping_add(0xa076_1d64_78bd_642f);
            state.set(next);
            let product = u128::from(next).wrapping_mul(u128::from(next ^ 0xe703_7ed1_a0b4_28db));
            (product >> 64) as u64 ^ product as u64
        })
        .unwrap_or(0)
}

/// A number below `bound`, without a division (Lemire, "Fast random integer generation in an
/// interval", 2019). The bias is below `bound / 2^32`.
#[inline]
pub(crate) fn random_below(bound: u32) -> u32 {
    scale(random() as u32, bound)
}

/// Maps the whole range of `random` onto `0..bound`.
#[inline]
pub(crate) fn scale(random: u32, bound: u32) -> u32 {
    ((u64::from(random) * u64::from(bound)) >> 32) as u32
}

/// Between zero and one, one excluded.
pub(crate) fn random_fraction() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(thread_number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, task::Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiter_is_listed_once_and_woken_once() {
        let (list, count) = (WaitList::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let mut key = WaitKey::default();
        list.wait(&mut key, &waker);
        list.wait(&mut key, &waker);
        list.wake_all();
        list.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_old_key_takes_nobody_elses_place() {
        let (list, count) = (WaitList::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        let (mut old, mut new) = (WaitKey::default(), WaitKey::default());
        list.wait(&mut old, &waker);
        list.wake_all();
        list.wait(&mut new, &waker);
        list.leave(&mut old);
        list.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn places_are_used_again() {
        let list = WaitList::default();
        for _ in 0..100 {
            let mut key = WaitKey::default();
            list.wait(&mut key, Waker::noop());
            list.leave(&mut key);
        }
        assert_eq!(lock(&list.state).slots.len(), 1);
    }

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

    #[test]
    fn a_fraction_stays_below_one() {
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&random_fraction())));
        assert!((0..10_000).all(|_| random_below(3) < 3));
    }
}
