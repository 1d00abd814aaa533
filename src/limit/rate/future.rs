use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::queue::{Ticket, Turn};
use crate::{
    choose::{Chosen, Tried},
    error::{BoxError, Error},
    guard::ResponseFuture,
    member::Member,
    time::{self, Instant},
};

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit) that lets calls wait.
    ///
    /// Cancel safe: dropping it gives up the turn and takes no token, unless the call was made.
    #[must_use = "futures do nothing unless polled"]
    pub struct WaitFuture<S, Req, F> {
        #[pin]
        state: State<S, Req, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, F> {
        /// Waits for its turn.
        Waiting { waiting: Box<Waiting<S, Req, F>> },
        Settled { #[pin] response: ResponseFuture<F> },
    }
}

/// A call before its turn. On the heap, since it is about to sleep anyway.
struct Waiting<S, Req, F> {
    // First, so that the next in turn is woken last of all when this drops.
    inner: S,
    request: Option<Req>,
    tried: Tried,
    call: fn(&mut S, Req, &Tried) -> F,
    sleep: Pin<Box<Sleep>>,
    ticket: Ticket,
}

impl<S, Req, F> WaitFuture<S, Req, F> {
    #[inline]
    pub(super) fn called(inner: F) -> Self {
        Self::settled(ResponseFuture::called(inner))
    }

    pub(super) fn refused(error: Error) -> Self {
        Self::settled(ResponseFuture::refused(error))
    }

    #[inline]
    fn settled(response: ResponseFuture<F>) -> Self {
        Self { state: State::Settled { response } }
    }

    pub(super) fn waiting(
        ticket: Ticket,
        inner: S,
        request: Req,
        tried: Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> Self {
        let waiting = Box::new(Waiting {
            inner,
            request: Some(request),
            tried,
            call,
            sleep: Box::pin(sleep_until(ticket.until())),
            ticket,
        });
        Self { state: State::Waiting { waiting } }
    }
}

impl<S, Req, F> Waiting<S, Req, F>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    /// Ready with a token, and with the inner service ready; or with why not.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let due = match self.ticket.turn(cx.waker()) {
                Turn::Now => match self.poll_token(cx)? {
                    Some(due) => due,
                    None => return Poll::Ready(Ok(())),
                },
                // To move up, should the one before not be polled any more; or to give up.
                Turn::After(end) => end.min(self.ticket.until()),
                Turn::Missed => return Poll::Ready(Err(self.give_up())),
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

    /// Being the first: takes its tokens once they are there and the inner service is ready. `None`:
    /// taken; else when to look again, at the latest.
    fn poll_token(&mut self, cx: &mut Context<'_>) -> Result<Option<Instant>, Error> {
        let (state, cells) = (self.ticket.state(), self.ticket.cells());
        // The quota may be another since, and so small that they never fit.
        state.fitting(u32::try_from(cells).unwrap_or(u32::MAX))?;
        let mut wait = state.wait(cells);
        if wait == 0 {
            // The token is taken last, so there is nothing to give back if this drops.
            match self.inner.poll_ready(cx) {
                Poll::Pending => return Ok(Some(self.ticket.until())),
                Poll::Ready(ready) => ready.map_err(Error::from_service)?,
            }
            match state.take(cells) {
                Ok(()) => return Ok(None),
                Err(taken) => wait = taken,
            }
        }
        let due = time::later(time::now(), Duration::from_nanos(wait));
        Ok(Some(due.min(self.ticket.until())))
    }
}

impl<S, Req, F, T, E> Future for WaitFuture<S, Req, F>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Waiting { waiting } = state.as_mut().project() {
            let turn = ready!(waiting.poll_turn(cx));
            let response = match (turn, waiting.request.take()) {
                (Ok(()), Some(request)) => {
                    let call = waiting.call;
                    ResponseFuture::called(call(&mut waiting.inner, request, &waiting.tried))
                }
                (Err(error), _) => ResponseFuture::refused(error),
                // The inner `call` panicked, and somebody polls on.
                (Ok(()), None) => ResponseFuture::refused(waiting.ticket.state().refuse(0)),
            };
            state.set(State::Settled { response });
        }
        match state.project() {
            StateProj::Settled { response } => response.poll(cx),
            StateProj::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<S, Req, F: Chosen> Chosen for WaitFuture<S, Req, F> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Settled { response } => response.chosen(),
            State::Waiting { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Settled { response } => response.is_unsent(),
            State::Waiting { .. } => true,
        }
    }
}

impl<S, Req, F> fmt::Debug for WaitFuture<S, Req, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, State::Waiting { .. });
        f.debug_struct("WaitFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
