use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::queue::{self, Ticket};
use crate::{
    error::{BoxError, Error},
    guard::ResponseFuture,
    limit::turn::{self, Turn, TurnFuture},
    time::{self, Instant},
};

/// The response of a [`RateLimit`](super::RateLimit) that lets calls wait.
///
/// Cancel safe: dropping it gives up the turn and takes no token, unless the call was made.
pub type WaitFuture<S, Req, F> = TurnFuture<S, Req, F, Tokens>;

/// Waits for its tokens, in turn.
#[derive(Debug)]
pub struct Tokens {
    sleep: Pin<Box<Sleep>>,
    ticket: Ticket,
    /// Of the call: it is not made after that.
    deadline: Option<Instant>,
    /// Whether the inner service was asked for readiness, and may have reserved something since.
    asked: bool,
}

impl Tokens {
    pub(super) fn new(ticket: Ticket, deadline: Option<Instant>) -> Self {
        let sleep = Box::pin(sleep_until(ticket.until()));
        Self { sleep, ticket, deadline, asked: false }
    }

    /// Being the first: takes its tokens once they are there and the inner service is ready. `None`:
    /// taken; else when to look again, at the latest.
    fn poll_token<S, Req>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
    ) -> Result<Option<Instant>, Error>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        let (state, cells) = (self.ticket.state(), self.ticket.cells());
        // The quota may be another since, and so small that they never fit.
        state.fitting(u32::try_from(cells).unwrap_or(u32::MAX))?;
        let mut wait = state.wait(cells);
        if wait == 0 {
            self.asked = true;
            // The token is taken last, so there is nothing to give back if this drops.
            match inner.poll_ready(cx) {
                Poll::Pending => return Ok(Some(self.ticket.until())),
                Poll::Ready(ready) => ready.map_err(Error::from_service)?,
            }
            turn::came_in_time(self.deadline)?;
            match state.take(cells) {
                Ok(()) => return Ok(None),
                Err(taken) => wait = taken,
            }
        }
        if std::mem::take(&mut self.asked) {
            // The token went to one that does not wait in line.
            turn::unready(inner);
        }
        let due = time::later(time::now(), Duration::from_nanos(wait));
        Ok(Some(due.min(self.ticket.until())))
    }
}

impl Turn for Tokens {
    type Held = ();
    type Response<F> = ResponseFuture<F>;

    fn poll<S, Req>(&mut self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<(), Error>>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        loop {
            let due = match self.ticket.turn(cx.waker()) {
                queue::Turn::Now => match self.poll_token(inner, cx)? {
                    Some(due) => due,
                    None => return Poll::Ready(Ok(())),
                },
                // To move up, should the one before not be polled any more; or to give up.
                queue::Turn::After(end) => end.min(self.ticket.until()),
                queue::Turn::Missed => return Poll::Ready(Err(self.give_up())),
            };
            if self.sleep.deadline() != due {
                self.sleep.as_mut().reset(due);
            }
            ready!(self.sleep.as_mut().poll(cx));
            if time::now() >= self.ticket.until() {
                return Poll::Ready(Err(self.give_up()));
            }
        }
    }

    fn give_up(&self) -> Error {
        let state = self.ticket.state();
        state.refuse(state.wait(self.ticket.cells()))
    }

    #[inline]
    fn called<F>(inner: F, (): ()) -> ResponseFuture<F> {
        ResponseFuture::called(inner)
    }

    fn refused<F>(error: Error) -> ResponseFuture<F> {
        ResponseFuture::refused(error)
    }
}
