//! What is not in use, and would cost something to make.

use std::sync::{Mutex, OnceLock};

use crate::sync::{Padded, shards, thread_number};

/// Keeps one value for each group of threads. Takes no memory before the first.
///
/// Nothing waits: where another thread is at the same place, there is none, and one more is dropped.
pub(super) struct Idle<T>(OnceLock<Places<T>>);

/// A power of two of them. The value is on the heap, so that to take it is to move a pointer.
type Places<T> = Box<[Padded<Mutex<Option<Box<T>>>>]>;

impl<T> Idle<T> {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    #[inline]
    pub(super) fn take(&self) -> Option<Box<T>> {
        of_thread(self.0.get()?).try_lock().ok()?.take()
    }

    /// Keeps `value` while it is current: that of another is not taken again, and would last until it is cleared.
    #[inline]
    pub(super) fn put(&self, value: Box<T>, is_current: impl Fn() -> bool) {
        if !is_current() {
            return;
        }
        self.keep(value);
        // It may be another's by now, and what was kept have been cleared before this one came. By the lock of
        // its place, that was so only if it is seen here.
        if !is_current() {
            self.clear();
        }
    }

    #[inline]
    fn keep(&self, value: Box<T>) {
        let places = self.0.get_or_init(|| {
            (0..shards().next_power_of_two()).map(|_| Padded(Mutex::new(None))).collect()
        });
        // Dropped after the lock: it may be of the user's types.
        let _before = match of_thread(places).try_lock() {
            Ok(mut place) => place.replace(value),
            Err(_) => Some(value),
        };
    }

    pub(super) fn clear(&self) {
        for place in self.0.get().into_iter().flatten() {
            let before = crate::sync::lock(place).take();
            drop(before);
        }
    }
}

#[inline]
fn of_thread<T>(places: &Places<T>) -> &Mutex<Option<Box<T>>> {
    &places[thread_number() & (places.len() - 1)]
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::Arc};

    use super::*;

    #[test]
    fn what_is_put_back_is_taken_once_by_the_same_thread() {
        let idle = Idle::new();
        assert!(idle.take().is_none());
        idle.put(Box::new(1), || true);
        idle.put(Box::new(2), || true);
        assert_eq!((idle.take(), idle.take()), (Some(Box::new(2)), None));
        let kept = Arc::new(());
        let idle = Idle::new();
        idle.put(Box::new(kept.clone()), || true);
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| idle.put(Box::new(kept.clone()), || true))));
        });
        idle.clear();
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(idle.take().is_none());
    }

    #[test]
    fn what_is_no_longer_current_is_not_kept_whenever_that_shows() {
        let put = |looks: [bool; 2]| {
            let (idle, left) = (Idle::new(), Cell::new(looks.as_slice()));
            idle.put(Box::new(1), || {
                let Some((is_current, rest)) = left.get().split_first() else {
                    panic!("a third look")
                };
                left.set(rest);
                // The other comes between the two looks, with all that it does.
                if *is_current && rest == [false] {
                    idle.clear();
                }
                *is_current
            });
            idle.take().is_some()
        };
        assert!(put([true, true]));
        assert!(!put([true, false]), "it came after what was kept had been cleared");
        assert!(!put([false, false]));
    }

    #[test]
    fn nothing_waits_for_a_place_that_another_is_at() {
        let idle = Idle::new();
        idle.put(Box::new(1), || true);
        let places = idle.0.get().unwrap();
        let _at_it = of_thread(places).lock().unwrap();
        assert!(idle.take().is_none());
        idle.put(Box::new(2), || true);
    }
}
