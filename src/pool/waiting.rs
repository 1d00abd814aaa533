use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    kept::Pooled,
    ledger::{After, Found},
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
        let mut after = After::default();
        let ticket = self.ticket;
        let (found, ticket, due) = self.pool.change(|ledger| {
            let (found, ticket) = match ticket {
                Some(ticket) => {
                    let waker = |waker: &mut _| cx.waker().clone_into(waker);
                    (ledger.collect(ticket, waker), Some(ticket))
                }
                None => match ledger.take(time::now(), &mut after) {
                    Some(kept) => return (Found::Connection(kept), None, 0),
                    None => (Found::Nothing, Some(ledger.join(cx.waker().clone()))),
                },
            };
            (found, ticket, ledger.dials_due())
        });
        self.pool.finish(after);
        self.ticket = ticket;
        for _ in 0..due {
            dial(Dialing::begun(&self.pool));
        }
        match found {
            Found::Nothing => Poll::Pending,
            Found::Connection(kept) => {
                self.ticket = None;
                Poll::Ready(Ok(Lease::new(self.pool.clone(), kept)))
            }
            Found::Error(error) => {
                self.ticket = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<C: Pooled, E> Drop for Waiting<C, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let after = self.pool.change(|ledger| ledger.leave(ticket, time::now()));
            self.pool.finish(after);
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Waiting<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}
