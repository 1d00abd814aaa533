//! What is not in use, and would cost something to make.

use std::sync::OnceLock;

use crossbeam_utils::atomic::AtomicCell;

use crate::sync::{Padded, shards, thread_number};

/// Keeps one value for each group of threads. Takes no memory before the first.
///
/// Nothing waits: where there is none, another thread of the group has it, and where there is one already, one is
/// dropped.
pub(super) struct Idle<T>(OnceLock<Places<T>>);

/// A power of two of them. The value is on the heap, so that to take it is to exchange a pointer.
type Places<T> = Box<[Padded<AtomicCell<Option<Box<T>>>>]>;

impl<T> Idle<T> {
    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        of_thread(self.0.get()?).take()
    }

    #[inline]
    pub(super) fn put(&self, value: Box<T>) {
        let places = self.0.get_or_init(|| {
            (0..shards().next_power_of_two()).map(|_| Padded(AtomicCell::new(None))).collect()
        });
        drop(of_thread(places).swap(Some(value)));
    }
}

#[inline]
fn of_thread<T>(places: &Places<T>) -> &AtomicCell<Option<Box<T>>> {
    &places[thread_number() & (places.len() - 1)]
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_put_back_is_taken_once_by_the_same_thread() {
        let idle = Idle::default();
        assert!(idle.take().is_none());
        idle.put(Box::new(1));
        idle.put(Box::new(2));
        assert_eq!((idle.take(), idle.take()), (Some(Box::new(2)), None));
    }

    #[test]
    fn what_is_kept_goes_with_it() {
        let kept = Arc::new(());
        let idle = Idle::default();
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| idle.put(Box::new(kept.clone())))));
        });
        drop(idle);
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[test]
    fn no_lock_is_taken() {
        assert!(AtomicCell::<Option<Box<u64>>>::is_lock_free());
    }
}
