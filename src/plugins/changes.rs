//! Changes of one state, one after the other.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::generation::refusal;
use crate::{
    error::{Code, Error},
    sync::{lock, thread_number},
};

/// State that is changed for long: a change may run code of others, which must not wait for itself.
#[derive(Default)]
pub(super) struct Changes<T> {
    state: Mutex<T>,
    /// Number of the thread that changes it, from 1; 0 is none.
    by: AtomicUsize,
}

/// A change that goes on.
pub(super) struct Change<'c, T> {
    state: MutexGuard<'c, T>,
    by: &'c AtomicUsize,
}

impl<T> Changes<T> {
    /// Waits until no other change goes on.
    ///
    /// # Errors
    /// `REGISTRY_1901` if it is this thread that changes it: the call comes from code that the change runs.
    pub(super) fn begin(&self) -> Result<Change<'_, T>, Error> {
        let this = thread_number() + 1;
        // Relaxed: no other thread writes the number of this one.
        if self.by.load(Ordering::Relaxed) == this {
            let text = "the plugins are being changed by what calls this, such as for a factory";
            return Err(refusal(Code::REGISTRY_1901, text.to_owned()));
        }
        let state = lock(&self.state);
        self.by.store(this, Ordering::Relaxed);
        Ok(Change { state, by: &self.by })
    }
}

impl<T> Drop for Change<'_, T> {
    fn drop(&mut self) {
        // The lock is given back after this.
        self.by.store(0, Ordering::Relaxed);
    }
}

impl<T> Deref for Change<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.state
    }
}

impl<T> DerefMut for Change<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_those_of_other_threads_and_not_for_itself() {
        let changes = Changes::<u32>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut change = changes.begin().unwrap();
                        let error = changes.begin().map(drop).unwrap_err();
                        assert_eq!(error.code(), Code::REGISTRY_1901);
                        *change += 1;
                    }
                });
            }
        });
        assert_eq!(*changes.begin().unwrap(), 400);
    }
}
