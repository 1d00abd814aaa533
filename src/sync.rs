//! Small pieces for state that many tasks share.

use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering, fence},
    },
    task::Waker,
};

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
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER
        .try_with(|number| {
            if number.get() == usize::MAX {
                // Relaxed: only the count itself matters.
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            number.get()
        })
        .unwrap_or(0)
}

/// State that is read by all and written by few, in one `Lease` per group of threads.
///
/// A single `Arc` that every call clones is a counter that all processors write to, and costs
/// four fifths of the throughput of a layer that does nothing else. So the state is reached
/// through several `Arc`s, one for each group of threads; each has counters of its own.
#[derive(Debug)]
pub(crate) struct Leases<T, L> {
    leases: Box<[Arc<Lease<T, L>>]>,
}

#[derive(Debug)]
pub(crate) struct Lease<T, L> {
    /// What this group of threads writes.
    pub(crate) local: Padded<L>,
    /// What all read. Behind padding on both sides, so that nobody's counters invalidate it.
    core: Padded<(Arc<T>, usize)>,
    siblings: Padded<std::sync::OnceLock<Box<[Weak<Self>]>>>,
}

impl<T, L: Default> Leases<T, L> {
    pub(crate) fn new(core: T, shards: usize) -> Self {
        let core = Arc::new(core);
        let leases: Box<[_]> = (0..shards.max(1))
            .map(|index| {
                Arc::new(Lease {
                    local: Padded::default(),
                    core: Padded((core.clone(), index)),
                    siblings: Padded::default(),
                })
            })
            .collect();
        let siblings: Vec<_> = leases.iter().map(Arc::downgrade).collect();
        if leases.len() > 1 {
            for lease in &leases {
                let _ = lease.siblings.set(siblings.clone().into_boxed_slice());
            }
        }
        Self { leases }
    }
}

impl<T, L> Leases<T, L> {
    /// The lease of the thread that asks.
    pub(crate) fn take(&self) -> Arc<Lease<T, L>> {
        self.leases[thread_number() % self.leases.len()].clone()
    }

    pub(crate) fn core(&self) -> &Arc<T> {
        &self.leases[0].core.0.0
    }

    pub(crate) fn locals(&self) -> impl Iterator<Item = &L> {
        self.leases.iter().map(|lease| &lease.local.0)
    }
}

impl<T, L> Lease<T, L> {
    #[inline]
    pub(crate) fn core(&self) -> &Arc<T> {
        &self.core.0.0
    }

    /// The lease of the thread that asks; this one, where its own is gone.
    #[inline]
    pub(crate) fn take(self: &Arc<Self>) -> Arc<Self> {
        match self.siblings.get() {
            None => self.clone(),
            Some(siblings) => {
                let index = thread_number() % siblings.len();
                if index == self.core.0.1 {
                    self.clone()
                } else {
                    siblings[index].upgrade().unwrap_or_else(|| self.clone())
                }
            }
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
        let mut waiters = lock(&self.state);
        if let WaitKey(Some((round, slot))) = *key {
            if round == waiters.round {
                if let Some(Some(listed)) = waiters.slots.get_mut(slot) {
                    listed.clone_from(waker);
                    return;
                }
            }
        }
        let slot = match waiters.free.pop() {
            Some(slot) => {
                waiters.slots[slot] = Some(waker.clone());
                slot
            }
            None => {
                waiters.slots.push(Some(waker.clone()));
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
        if round == waiters.round && waiters.slots.get_mut(slot).and_then(Option::take).is_some() {
            waiters.free.push(slot);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
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
        let leases = Arc::new(Leases::<u32, AtomicUsize>::new(7, 4));
        let first = leases.take();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mine = first.take();
                    assert_eq!(**mine.core(), 7);
                    mine.local.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let total: usize = leases.locals().map(|n| n.load(Ordering::Relaxed)).sum();
        assert_eq!(total, 8);
    }

    #[test]
    fn a_fraction_stays_below_one() {
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&random_fraction())));
        assert!((0..10_000).all(|_| random_below(3) < 3));
    }
}
