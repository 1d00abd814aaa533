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
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    choose::{Chosen, Tried},
    error::{BoxError, Error, Kind},
    member::Member,
    time::{self, Instant},
};

/// Gives back what `poll_ready` reserved: a clone, which is unready, takes the place of `inner`. What
/// drops may run code of others, so no lock may be held here.
#[cold]
pub(super) fn unready<S: Clone>(inner: &mut S) {
    let clone = inner.clone();
    drop(std::mem::replace(inner, clone));
}

/// Says no to a call whose deadline has passed: its answer is of no use any more, so it is not made.
/// Reads the clock only where there is a deadline.
#[inline]
pub(super) fn in_time(deadline: Option<Instant>) -> Result<(), Error> {
    match deadline {
        Some(deadline) if time::now() >= deadline => Err(too_late()),
        _ => Ok(()),
    }
}

/// The same once its turn has come. One that comes with the deadline, as it was told, is in time.
pub(super) fn came_in_time(deadline: Option<Instant>) -> Result<(), Error> {
    match deadline {
        Some(deadline) if time::now() > deadline => Err(too_late()),
        _ => Ok(()),
    }
}

#[cold]
fn too_late() -> Error {
    Error::blameless(Kind::Timeout).message("the deadline of the call passed before it was made")
}

/// What a call waits for before it is made.
pub trait Turn {
    /// What the call holds from then on.
    type Held;

    /// The response of a call that was made, or refused.
    type Response<F>;

    /// Ready with the turn, and with the inner service ready; or with why not, such as that the
    /// deadline has passed meanwhile.
    fn poll<S, Req>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Held, Error>>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError> + 'static;

    /// Says no, though its turn had come.
    fn give_up(&self) -> Error;

    /// The call was made.
    fn called<F>(inner: F, held: Self::Held) -> Self::Response<F>;

    /// It is not.
    fn refused<F>(error: Error) -> Self::Response<F>;
}

pin_project! {
    /// The response of a limit that lets calls wait.
    ///
    /// Cancel safe: dropping it gives up the turn, and what the call holds.
    #[must_use = "futures do nothing unless polled"]
    pub struct TurnFuture<S, Req, F, T>
    where
        T: Turn,
    {
        #[pin]
        state: State<S, Req, F, T>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, F, T>
    where
        T: Turn,
    {
        Waiting { waiting: Box<Waiting<S, Req, F, T>> },
        Settled { #[pin] response: T::Response<F> },
    }
}

/// A call before its turn. On the heap, since it is about to sleep anyway.
struct Waiting<S, Req, F, T> {
    // First, so that the next in turn is woken last of all when this drops. Unready until then.
    inner: S,
    request: Option<Req>,
    tried: Tried,
    call: fn(&mut S, Req, &Tried) -> F,
    turn: T,
}

impl<S, Req, F, T: Turn> TurnFuture<S, Req, F, T> {
    #[inline]
    pub(super) fn called(inner: F, held: T::Held) -> Self {
        Self { state: State::Settled { response: T::called(inner, held) } }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Settled { response: T::refused(error) } }
    }

    /// A call that waits for `turn`. Nothing of what `inner` had reserved is kept.
    pub(super) fn waiting(
        turn: T,
        inner: &mut S,
        request: Req,
        tried: Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> Self
    where
        S: Clone,
    {
        unready(inner);
        let (inner, request) = (inner.clone(), Some(request));
        let waiting = Box::new(Waiting { inner, request, tried, call, turn });
        Self { state: State::Waiting { waiting } }
    }

    /// A call that is refused, and leaves `inner` as if it had never been ready.
    #[cold]
    pub(super) fn turned_away(inner: &mut S, error: Error) -> Self
    where
        S: Clone,
    {
        unready(inner);
        Self::refused(error)
    }
}

impl<S, Req, F, T> Future for TurnFuture<S, Req, F, T>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    T: Turn,
    T::Response<F>: Future,
{
    type Output = <T::Response<F> as Future>::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Waiting { waiting } = state.as_mut().project() {
            let Waiting { inner, request, tried, call, turn } = &mut **waiting;
            let turned = ready!(turn.poll(inner, cx));
            let response = match (turned, request.take()) {
                (Ok(held), Some(request)) => T::called(call(inner, request, tried), held),
                (Err(error), _) => T::refused(error),
                // The inner `call` panicked, and somebody polls on.
                (Ok(_), None) => T::refused(turn.give_up()),
            };
            state.set(State::Settled { response });
        }
        match state.project() {
            StateProj::Settled { response } => response.poll(cx),
            StateProj::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<S, Req, F, T> Chosen for TurnFuture<S, Req, F, T>
where
    T: Turn,
    T::Response<F>: Chosen,
{
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

impl<S, Req, F, T: Turn> fmt::Debug for TurnFuture<S, Req, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, State::Waiting { .. });
        f.debug_struct("TurnFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
