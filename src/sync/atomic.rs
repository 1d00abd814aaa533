//! Atomics and locks, or those of `loom` where a model checks every order in which threads may run.
//!
//! Whatever has a model takes them from here:
//! `RUSTFLAGS="--cfg upstream_loom" cargo test --lib --release loom_`.

#[cfg(all(test, upstream_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(all(test, upstream_loom)))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};

/// As [`lock`](super::lock).
#[cfg(all(test, upstream_loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
#[cfg(not(all(test, upstream_loom)))]
pub(crate) use super::lock;
