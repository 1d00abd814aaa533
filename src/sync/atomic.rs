//! Atomics and locks, or those of `loom` where a model checks every order in which threads may run.
//!
//! Whatever has a model takes them from here:
//! `RUSTFLAGS="--cfg upstream_loom" cargo test --lib --release loom_`.

#[cfg(all(test, upstream_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(all(test, upstream_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// As [`lock`](super::lock).
#[cfg(all(test, upstream_loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
#[cfg(not(all(test, upstream_loom)))]
pub(crate) use super::lock;

/// Lets others go first, for the `round`-th time: at once if they are about to be done, and as the
/// scheduler sees fit if one of them was interrupted.
#[cfg(all(test, upstream_loom))]
pub(crate) fn give_way(_: u32) {
    loom::thread::yield_now();
}
#[cfg(not(all(test, upstream_loom)))]
pub(crate) fn give_way(round: u32) {
    if round < 64 { std::hint::spin_loop() } else { std::thread::yield_now() }
}
