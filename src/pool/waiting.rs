use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    kept::Pooled,
    pool::{Dialing, Lease, Pool},
};
use crate::time;

/// A call that wants a connection. It is in the line from its first poll, until it has one or drops.
pub(crate) struct Waiting<C: Pooled, E> {
    pool: Arc<Pool<C, E>>,
    ticket: Option<u64>,
}

impl<C: Pooled, E> Waiting<C, E> {
    pub(crate) fn new(pool: &Arc<Pool<C, E>>) -> Self {
        Self { pool: pool.clone(), ticket: None }
    }

    /// Polls for a connection. `dial` begins to make one, which it does in a task of its own.
    ///
    /// An error is that of a connection that could not be made.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        dial: impl Fn(Dialing<C, E>),
    ) -> Poll<Result<Lease<C, E>, E>> {
        let now = time::now();
        if self.ticket.is_none() {
            let taken = self.pool.change(|ledger, after| ledger.take(now, after));
            if let Some(kept) = taken {
                return Poll::Ready(Ok(Lease::new(self.pool.clone(), kept)));
            }
        }
        // Not under the lock: what a waker does is not ours.
        let waker = cx.waker().clone();
        let ticket = &mut self.ticket;
        let (found, due, epoch) = self.pool.change(|ledger, after| {
            let found = ledger.look(ticket, waker, now, after);
            (found, ledger.dials_due(), ledger.epoch())
        });
        for _ in 0..due {
            dial(Dialing::begun(&self.pool, epoch));
        }
        match found {
            None => Poll::Pending,
            Some(found) => Poll::Ready(found.map(|kept| Lease::new(self.pool.clone(), kept))),
        }
    }
}

impl<C: Pooled, E> Drop for Waiting<C, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let now = time::now();
            self.pool.change(|ledger, after| ledger.leave(ticket, now, after));
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Waiting<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        task::{Wake, Waker},
        time::Duration,
    };

    use super::*;
    use crate::pool::{Limits, model::Conn};

    /// A waker that comes back for more.
    struct Asks(Arc<Pool<Conn, ()>>);

    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.live();
        }
    }

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.0.live();
        }
    }

    /// Otherwise this hangs.
    #[test]
    fn what_a_waker_does_is_done_under_no_lock() {
        let idle_timeout = Duration::from_secs(9);
        let limits = Limits { max: Some(1), max_idle: 1, idle_timeout, max_age: None };
        let (pool, dials) = (Pool::new(limits, false), RefCell::new(Vec::new()));
        let poll = |waiting: &mut Waiting<Conn, ()>| {
            let waker = Waker::from(Arc::new(Asks(pool.clone())));
            let dial = |dialing| dials.borrow_mut().push(dialing);
            waiting.poll(&mut Context::from_waker(&waker), dial)
        };
        let [mut one, mut two] = [(); 2].map(|()| Waiting::new(&pool));
        assert!(poll(&mut one).is_pending() && poll(&mut one).is_pending());
        assert!(poll(&mut two).is_pending());
        drop(two);
        dials.take().into_iter().for_each(|dialing| dialing.finish(Ok(Conn::new(1))));
        assert!(poll(&mut one).is_ready());
    }
}
