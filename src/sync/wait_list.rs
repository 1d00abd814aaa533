use std::task::Waker;

use super::atomic::{AtomicUsize, Mutex, Ordering, fence, lock};

/// Tasks that wait for something, each listed once however often it is polled.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    state: Mutex<Waiters>,
    /// How many wait, so that a wake without waiters costs one load.
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
        // more after this, sees it met, or the one that met it sees the count.
        fence(Ordering::SeqCst);
    }

    /// Takes `key` off the list.
    #[inline]
    pub(crate) fn leave(&self, key: &mut WaitKey) {
        // Nearly always there is nothing to take.
        if let Some((round, slot)) = key.0.take() {
            self.take_off(round, slot);
        }
    }

    #[cold]
    fn take_off(&self, round: u64, slot: usize) {
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

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::{sync::Arc, task::Wake};

    use super::*;
    use loom::{sync::atomic::AtomicBool, thread};

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A task that finds the condition unmet after it was listed is woken by the one that meets it.
    #[test]
    fn loom_no_wake_up_is_lost() {
        loom::model(|| {
            let shared = Arc::new((WaitList::default(), AtomicBool::new(false)));
            let other = shared.clone();
            let meets = thread::spawn(move || {
                other.1.store(true, Ordering::Relaxed);
                other.0.wake_all();
            });
            let flag = Arc::new(Flag(AtomicBool::new(false)));
            let mut key = WaitKey::default();
            shared.0.wait(&mut key, &Waker::from(flag.clone()));
            let met = shared.1.load(Ordering::Relaxed);
            meets.join().unwrap();
            assert!(met || flag.0.load(Ordering::SeqCst));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, task::Wake};

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
}
