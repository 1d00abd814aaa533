use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use super::line::{Left, Line, Look, Turn};
use crate::{
    error::Error,
    limit::telemetry::Telemetry,
    sync::atomic::{AtomicUsize, Mutex, MutexGuard, Ordering, lock},
    time::{self, Instant},
};

/// What calls wait for: the tokens of a rate limit, or the places of a concurrency limit.
pub(in crate::limit) trait Supply: Sized {
    /// Returns the line of the calls that wait for it.
    fn queue(&self) -> &Queue;

    /// Returns what names the limit in errors.
    fn telemetry(&self) -> &Telemetry;

    /// Sets aside what the first that waits is called for, if it can. Runs under the lock of `line`.
    fn set_aside(&self, line: &Line<Waker>) -> bool;

    /// Makes free what was set aside for one that is gone.
    fn put_back(&self);

    /// Notes that none waits. Runs under the lock of the line.
    fn note_that_none_waits(&self) {}

    /// Returns how many nanoseconds one that was called has to wait still; zero if it need not.
    ///
    /// # Errors
    /// If it can never get what it waits for.
    fn lacks(&self, weight: u64) -> Result<u64, Error>;

    /// Takes it for one that was called; fails with the nanoseconds to wait if it is not there.
    fn take(waiter: &Waiter<Self>) -> Result<(), u64>;

    /// Returns what one is answered with that waited in vain.
    fn refusal(&self, weight: u64) -> Error;

    /// Calls those that wait, in order, while it can set aside what they wait for.
    #[cold]
    fn call_next(&self) {
        while let Some(called) = call_one(self) {
            if let Some(waker) = called {
                // Outside the lock.
                waker.wake();
            }
        }
    }
}

/// What a call holds of a supply, once it has taken what it waited for.
pub(in crate::limit) trait Taken<S> {
    fn taken(supply: &Arc<S>) -> Self;

    /// For a call that has taken nothing.
    fn nothing() -> Self;
}

/// Calls the first that waits, if it can, and returns what wakes it.
fn call_one(supply: &impl Supply) -> Option<Option<Waker>> {
    let mut line = supply.queue().lock();
    let can_call = line.waiting() > 0 && supply.set_aside(&line);
    can_call.then(|| line.call_first(time::now))
}

/// Takes out those whose time is over and that are not polled.
fn pass_over_the_late(supply: &impl Supply, now: Instant, own: Option<u64>) {
    loop {
        let late = supply.queue().lock().overdue(now, own);
        match late {
            Some(late) => dismiss(supply, late),
            None => return,
        }
    }
}

/// Takes one out, and puts back what was set aside for it.
fn dismiss(supply: &impl Supply, number: u64) {
    let Some(left) = leave(supply, number) else {
        return;
    };
    if left.was_called {
        supply.put_back();
    }
    if let Some(behind) = left.behind {
        behind.wake();
    }
}

fn leave<S: Supply>(supply: &S, number: u64) -> Option<Left<Waker>> {
    let mut line = supply.queue().lock();
    let left = line.leave(number);
    if line.waiting() == 0 {
        supply.note_that_none_waits();
    }
    // Before the waker, which may do as it likes when it drops.
    drop(line);
    left
}

/// Calls in line, and how many there are.
#[derive(Default)]
pub(in crate::limit) struct Queue {
    line: Mutex<Line<Waker>>,
    /// A copy of the line's length, so that a call that need not wait takes no lock.
    length: AtomicUsize,
}

impl Queue {
    #[inline]
    pub(in crate::limit) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many are in line, called ones included.
    #[inline]
    pub(in crate::limit) fn len(&self) -> usize {
        // Relaxed: of two calls that come at once either may be the first.
        self.length.load(Ordering::Relaxed)
    }

    /// Returns how many wait to be called.
    pub(in crate::limit) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Lets the first of those that were called look again: what it lacks may come sooner, or later.
    pub(in crate::limit) fn wake_called(&self) {
        if self.is_empty() {
            return;
        }
        let waker = self.lock().take_waker();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> Locked<'_> {
        Locked { line: lock(&self.line), length: &self.length }
    }
}

/// The line while it may change. Notes its length before others see it.
struct Locked<'a> {
    line: MutexGuard<'a, Line<Waker>>,
    length: &'a AtomicUsize,
}

impl Deref for Locked<'_> {
    type Target = Line<Waker>;

    fn deref(&self) -> &Line<Waker> {
        &self.line
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Line<Waker> {
        &mut self.line
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.length.store(self.line.len(), Ordering::Relaxed);
    }
}

/// One in line. Dropping it leaves the line, and puts back what was set aside for it.
pub(in crate::limit) struct Waiter<S: Supply> {
    supply: Arc<S>,
    number: u64,
    weight: u64,
    until: Instant,
    come_within: Option<Duration>,
}

impl<S: Supply> Waiter<S> {
    /// Joins the line until `until`, unless `may_wait` says no. That is asked under the lock of the
    /// line, without those in it whose time is over by `now`.
    pub(in crate::limit) fn join<E>(
        supply: &Arc<S>,
        weight: u64,
        (now, until): (Instant, Instant),
        may_wait: impl FnOnce(&Line<Waker>) -> Result<(), E>,
    ) -> Result<Self, E> {
        pass_over_the_late(&**supply, now, None);
        let mut line = supply.queue().lock();
        let number = may_wait(&line).map(|()| line.push(weight, until))?;
        drop(line);
        Ok(Self { supply: supply.clone(), number, weight, until, come_within: None })
    }

    /// Once it is called, it comes within `limit`, or what it waits for goes to another.
    pub(in crate::limit) fn coming_within(mut self, limit: Duration) -> Self {
        self.come_within = Some(limit);
        self
    }

    pub(in crate::limit) fn supply(&self) -> &Arc<S> {
        &self.supply
    }

    /// What it waits for is so much: tokens, say.
    pub(in crate::limit) fn weight(&self) -> u64 {
        self.weight
    }

    /// When it gives up.
    pub(in crate::limit) fn until(&self) -> Instant {
        self.until
    }

    /// Tells where it stands. `waker` is woken when it is called, and when what it lacks may be there.
    pub(in crate::limit) fn turn(&self, waker: &Waker, now: Instant) -> Turn {
        pass_over_the_late(&*self.supply, now, Some(self.number));
        // Wakers are cloned and dropped outside the lock: what they do is not ours.
        let mut waker = Some(waker.clone());
        let Self { number, come_within, .. } = *self;
        self.supply.queue().lock().turn(Look { number, come_within, now, waker: &mut waker })
    }

    /// Leaves the line with what was set aside for it. `false` if that went to another.
    pub(in crate::limit) fn come(&self) -> bool {
        leave(&*self.supply, self.number).is_some_and(|left| left.was_called)
    }
}

impl<S: Supply> Drop for Waiter<S> {
    fn drop(&mut self) {
        dismiss(&*self.supply, self.number);
    }
}

impl<S: Supply> fmt::Debug for Waiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiter").field(&self.number).finish()
    }
}
