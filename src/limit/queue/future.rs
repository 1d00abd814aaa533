//! Calls that wait for their turn, whatever they wait for.
//!
//! The rule of all of them: a call that waits has given back what `poll_ready` reserved. What `self`
//! had readied is dropped, and a clone takes its place ([`unready`]); the future gets another clone,
//! which is asked for readiness when the turn has come, and not before. Else a call that sleeps would
//! keep a place, a connection or a permit of the inner service from those whose turn it is.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::{
    line::Turn,
    waiter::{Supply, Taken, Waiter},
};
use crate::{
    choose::Chosen,
    decision::Decision,
    error::{BoxError, Error, Kind},
    guard::{Hold, Later, ResponseFuture},
    member::Member,
    time::{self, Instant},
};

/// Gives back what `poll_ready` reserved: a clone, which is unready, takes the place of `inner`. What
/// drops may run code of others, so no lock may be held here.
#[cold]
fn unready<S: Clone>(inner: &mut S) {
    let clone = inner.clone();
    drop(std::mem::replace(inner, clone));
}

/// Says no to a call whose deadline has passed: its answer is of no use any more, so it is not made.
/// Reads the clock only where there is a deadline.
#[inline]
pub(in crate::limit) fn in_time(deadline: Option<Instant>) -> Result<(), Error> {
    match deadline {
        Some(deadline) if time::now() >= deadline => Err(too_late()),
        _ => Ok(()),
    }
}

/// The same once its turn has come. One that comes with the deadline, as it was told, is in time.
fn came_in_time(deadline: Option<Instant>) -> Result<(), Error> {
    match deadline {
        Some(deadline) if time::now() > deadline => Err(too_late()),
        _ => Ok(()),
    }
}

#[cold]
fn too_late() -> Error {
    Error::blameless(Kind::Timeout).message("the deadline of the call passed before it was made")
}

pin_project! {
    /// Response future of a limit whose calls wait: the response of the inner service, or a refusal.
    ///
    /// `H` is what the call holds once it has its turn, such as a [`Permit`](crate::limit::Permit).
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue, or drops the call and what it holds. A call that waits has taken
    /// nothing yet.
    #[must_use = "futures do nothing unless polled"]
    pub struct WaitFuture<S, Req, F, H = ()> {
        #[pin]
        state: State<S, Req, F, H>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, F, H> {
        Waits { call: Pin<Box<WaitingCall<S, Req, F, H>>> },
        Settled { #[pin] response: ResponseFuture<F, H> },
    }
}

pin_project! {
    /// On the heap, since it is about to sleep anyway.
    struct WaitingCall<S, Req, F, H> {
        // First, so that the next in line is woken last of all when this drops. Unready until then.
        inner: S,
        request: Option<Req>,
        way: Later<S, Req, F>,
        // The deadline of the call: it is not made after that.
        deadline: Option<Instant>,
        // Whether the inner service was asked for readiness, and may have reserved something since.
        asked: bool,
        turn: Box<dyn WaitForTurn<H> + Send + Sync>,
        #[pin]
        sleep: Sleep,
    }
}

/// A [`Waiter`], whatever it waits for. `H` is what it gets.
trait WaitForTurn<H> {
    fn until(&self) -> Instant;
    fn turn(&self, waker: &Waker, now: Instant) -> Turn;
    fn lacks(&self) -> Result<Duration, Error>;
    fn take(&self) -> Result<H, Duration>;
    fn refusal(&self) -> Error;
    fn named(&self, error: Error) -> Error;
    fn nothing(&self) -> H;
}

impl<T: Supply, H: Taken<T>> WaitForTurn<H> for Waiter<T> {
    fn until(&self) -> Instant {
        self.until()
    }

    fn turn(&self, waker: &Waker, now: Instant) -> Turn {
        self.turn(waker, now)
    }

    fn lacks(&self) -> Result<Duration, Error> {
        self.supply().lacks(self.weight()).map(Duration::from_nanos)
    }

    fn take(&self) -> Result<H, Duration> {
        T::take(self).map(|()| H::taken(self.supply())).map_err(Duration::from_nanos)
    }

    fn refusal(&self) -> Error {
        self.supply().refusal(self.weight())
    }

    fn named(&self, error: Error) -> Error {
        self.supply().telemetry().named(error)
    }

    fn nothing(&self) -> H {
        H::nothing()
    }
}

impl<S, Req, F, H> WaitFuture<S, Req, F, H> {
    #[inline]
    pub(in crate::limit) fn settled(response: ResponseFuture<F, H>) -> Self {
        Self { state: State::Settled { response } }
    }

    /// A call that waits in line. Nothing of what `inner` had reserved is kept.
    pub(in crate::limit) fn waiting<T>(
        waiter: Waiter<T>,
        deadline: Option<Instant>,
        inner: &mut S,
        request: Req,
        way: Later<S, Req, F>,
    ) -> Self
    where
        S: Clone,
        T: Supply + Send + Sync + 'static,
        H: Taken<T>,
    {
        unready(inner);
        let call = Box::pin(WaitingCall {
            inner: inner.clone(),
            request: Some(request),
            way,
            deadline,
            asked: false,
            sleep: sleep_until(waiter.until()),
            turn: Box::new(waiter),
        });
        Self { state: State::Waits { call } }
    }

    /// A call that is refused, and leaves `inner` as if it had never been ready.
    #[cold]
    pub(in crate::limit) fn turned_away(inner: &mut S, nothing: H, error: Error) -> Self
    where
        S: Clone,
    {
        unready(inner);
        Self::settled(ResponseFuture::refused_with(nothing, error))
    }
}

impl<S, Req, F, H> WaitFuture<S, Req, Option<F>, H> {
    /// That of a hedge, if it was made: one that would have to wait is none.
    pub(in crate::limit) fn hedge(self) -> Option<WaitFuture<S, Req, F, H>> {
        match self.state {
            State::Settled { response } => response.hedge().map(WaitFuture::settled),
            State::Waits { .. } => None,
        }
    }
}

impl<S, Req, F, H> WaitingCall<S, Req, F, H>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    /// Waits for its turn, and makes the call.
    fn poll_call(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ResponseFuture<F, H>> {
        let turned = ready!(self.as_mut().poll_turn(cx));
        let this = self.project();
        let error = match (turned, this.request.take()) {
            (Ok(held), Some(request)) => {
                let inner = this.way.pass(this.inner, request);
                return Poll::Ready(ResponseFuture::holding(held, inner));
            }
            (Err(error), _) => error,
            // The inner `call` panicked, and is polled on.
            (Ok(_), None) => this.turn.refusal(),
        };
        Poll::Ready(ResponseFuture::refused_with(this.turn.nothing(), error))
    }

    fn poll_turn(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<H, Error>> {
        let until = self.turn.until();
        loop {
            let look_at = match self.turn.turn(cx.waker(), time::now()) {
                Turn::Called => match self.as_mut().poll_called(cx)? {
                    Looked::Takes(held) => return Poll::Ready(Ok(held)),
                    Looked::Waits(look_at) => Some(look_at),
                },
                Turn::Waits(look_at) => look_at,
                Turn::Missed => return Poll::Ready(Err(self.turn.refusal())),
            };
            let look_at = look_at.map_or(until, |at| at.min(until));
            let mut sleep = self.as_mut().project().sleep;
            if sleep.deadline() != look_at {
                sleep.as_mut().reset(look_at);
            }
            ready!(sleep.poll(cx));
            if time::now() >= until {
                return Poll::Ready(Err(self.turn.refusal()));
            }
        }
    }

    /// Takes what it waits for, once that is there and the inner service is ready.
    fn poll_called(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Result<Looked<H>, Error> {
        let this = self.project();
        let mut lacks = this.turn.lacks()?;
        if lacks.is_zero() {
            *this.asked = true;
            match this.inner.poll_ready(cx) {
                Poll::Pending => return Ok(Looked::Waits(this.turn.until())),
                Poll::Ready(ready) => ready.map_err(Error::from_service)?,
            }
            came_in_time(*this.deadline).map_err(|late| this.turn.named(late))?;
            // Last, so that there is nothing to give back if this drops.
            match this.turn.take() {
                Ok(held) => return Ok(Looked::Takes(held)),
                Err(taken) => lacks = taken,
            }
        }
        if std::mem::take(this.asked) {
            // It went to one that is not in line.
            unready(this.inner);
        }
        Ok(Looked::Waits(time::later(time::now(), lacks)))
    }
}

/// What comes of it when one that was called looks.
enum Looked<H> {
    Takes(H),
    /// It has to look again at this time, at the latest.
    Waits(Instant),
}

impl<S, Req, F, H, T, E> Future for WaitFuture<S, Req, F, H>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    F: Future<Output = Result<T, E>>,
    H: Hold<T, E>,
{
    type Output = Result<H::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Waits { call } = state.as_mut().project() {
            let response = ready!(call.as_mut().poll_call(cx));
            state.set(State::Settled { response });
        }
        match state.project() {
            StateProj::Settled { response } => response.poll(cx),
            StateProj::Waits { .. } => Poll::Pending,
        }
    }
}

impl<S, Req, F: Chosen, H> Chosen for WaitFuture<S, Req, F, H> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Settled { response } => response.chosen(),
            State::Waits { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Settled { response } => response.is_unsent(),
            State::Waits { .. } => true,
        }
    }

    fn decision(&self) -> Option<Arc<Decision>> {
        match &self.state {
            State::Settled { response } => response.decision(),
            State::Waits { .. } => None,
        }
    }
}

impl<S, Req, F, H> fmt::Debug for WaitFuture<S, Req, F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, State::Waits { .. });
        f.debug_struct("WaitFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
