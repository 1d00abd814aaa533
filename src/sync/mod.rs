//! Small pieces for state that many tasks share.

pub(crate) mod atomic;
mod event_queue;
mod leases;
mod random;
mod wait_list;

use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(crate) use self::{
    event_queue::EventQueue,
    leases::{Lease, Leases},
    random::{
        RandomSource, Seed, fraction, random, random_below, random_fraction, scale, weighed, wyrand,
    },
    wait_list::{WaitKey, WaitList},
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

/// How many leases pay off: one for each processor, at most eight.
pub(crate) fn shards() -> usize {
    static SHARDS: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *SHARDS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(8)))
}
