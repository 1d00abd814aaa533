//! The calls that are in flight, counted apart from the handles that make them.

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{Ordering, compiler_fence, fence},
};

use crate::sync::{Lease, Leases, Padded};

/// A state whose calls are counted.
pub(super) type Counted<T> = Leases<T, Calls<T>>;

/// The calls of one group of threads. Takes no memory before the first.
///
/// What a call holds is the ticket of its group, and nothing else does: so there are as many calls as clones of it.
/// A count of handles and calls together would be wrong while handles come and go.
pub(super) struct Calls<T>(OnceLock<Arc<Padded<Ticket<T>>>>);

struct Ticket<T> {
    of: Arc<T>,
    /// Not strong: the lease has the ticket.
    lease: Weak<Lease<T, Calls<T>>>,
}

/// One call. It counts until it is dropped.
pub(super) struct Taken<T>(Arc<Padded<Ticket<T>>>);

impl<T> Taken<T> {
    /// Counts a call of `all`. What the caller looks at afterwards is not older than that.
    #[inline]
    pub(super) fn of(all: &Counted<T>) -> Self {
        let ticket = all.with(|lease| {
            let Calls(ticket) = lease.local();
            let make = || Ticket { of: lease.core().clone(), lease: Arc::downgrade(lease) };
            ticket.get_or_init(|| Arc::new(Padded(make()))).clone()
        });
        after_addition();
        Self(ticket)
    }

    #[inline]
    pub(super) fn core(&self) -> &T {
        &self.0.of
    }

    /// Ends the call, and hands out what it was counted by, unless that is gone.
    pub(super) fn end(self) -> Option<Counted<T>> {
        let all = self.0.lease.upgrade().map(Leases::of);
        drop(self);
        all
    }
}

/// How many calls there are. Of a call that begins meanwhile, this tells, or else the call sees whatever was
/// written before this.
pub(super) fn in_flight<T>(all: &Counted<T>) -> usize {
    fence(Ordering::SeqCst);
    all.sum(|Calls(ticket)| {
        // One is the group's own.
        ticket.get().map_or(0, |ticket| Arc::strong_count(ticket).saturating_sub(1) as u64)
    }) as usize
}

/// A fence between an atomic addition of this thread and its later loads. An addition is one already on x86, where
/// another one would cost as much as all else that is done for a call.
#[inline(always)]
fn after_addition() {
    if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn calls_of_all_threads_are_counted_until_they_end() {
        let all = Counted::new(7, 4);
        assert_eq!(in_flight(&all), 0);
        let taken = std::thread::scope(|scope| {
            let taken: Vec<_> = (0..8).map(|_| scope.spawn(|| Taken::of(&all))).collect();
            taken.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!((in_flight(&all), *taken[0].core()), (8, 7));
        for (left, one) in (0..8).rev().zip(taken) {
            let all = one.end().expect("it is there");
            assert_eq!(in_flight(&all), left);
        }
    }

    #[test]
    fn handles_that_come_and_go_hide_no_call() {
        let (all, is_over) = (Counted::new((), 2), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(all.clone());
                    }
                });
            }
            let call = Taken::of(&all);
            let counts: Vec<_> =
                (0..100_000).map(|_| in_flight(&all)).filter(|&n| n != 1).collect();
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(counts, [0; 0]);
            drop(call);
        });
    }

    #[test]
    fn a_call_does_not_keep_the_handles() {
        let all = Counted::new((), 4);
        let call = Taken::of(&all);
        let core = Arc::downgrade(all.core());
        drop(all);
        assert!(call.end().is_none());
        assert_eq!(core.strong_count(), 0);
    }
}
