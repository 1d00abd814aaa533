//! Calls that wait for their turn, whatever they wait for.

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
    error::{BoxError, Error},
    member::Member,
};

/// What a call waits for before it is made.
pub trait Turn {
    /// What the call holds from then on.
    type Held;

    /// The response of a call that was made, or refused.
    type Response<F>;

    /// Ready with the turn, and with the inner service ready; or with why not.
    fn poll<S, Req>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Held, Error>>
    where
        S: Service<Req>,
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
    // First, so that the next in turn is woken last of all when this drops.
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

    pub(super) fn waiting(
        turn: T,
        inner: S,
        request: Req,
        tried: Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> Self {
        let waiting = Box::new(Waiting { inner, request: Some(request), tried, call, turn });
        Self { state: State::Waiting { waiting } }
    }
}

impl<S, Req, F, T> Future for TurnFuture<S, Req, F, T>
where
    S: Service<Req>,
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
