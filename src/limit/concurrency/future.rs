use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::place::{Place, Ticket, Turn};
use crate::{
    choose::{Chosen, Tried},
    error::{BoxError, Error},
    guard::ResponseFuture,
    member::Member,
    time::{self, Instant},
};

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that refuses.
    ///
    /// Cancel safe: the call's place is given back when this is done, or dropped.
    #[must_use = "futures do nothing unless polled"]
    pub struct PlaceFuture<F> {
        // First, so that what a dropped call holds is gone when another takes its place. A call that
        // is done gives its place back at once, though what is left of it lives until this drops.
        #[pin]
        response: ResponseFuture<F>,
        place: Place,
    }
}

impl<F> PlaceFuture<F> {
    #[inline]
    pub(super) fn called(inner: F, place: Place) -> Self {
        Self { response: ResponseFuture::called(inner), place }
    }

    #[inline]
    pub(super) fn refused(error: Error) -> Self {
        Self { response: ResponseFuture::refused(error), place: Place::default() }
    }
}

impl<F, T, E> Future for PlaceFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    // Out of line, the result goes through memory, which costs more than a refusal itself.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.response.poll(cx));
        this.place.give_back();
        Poll::Ready(result)
    }
}

impl<F: Chosen> Chosen for PlaceFuture<F> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        self.response.chosen()
    }

    fn is_unsent(&self) -> bool {
        self.response.is_unsent()
    }
}

impl<F> fmt::Debug for PlaceFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceFuture")
            .field("has_place", &self.place.is_there())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that lets calls wait.
    ///
    /// Cancel safe: dropping it leaves the queue, or gives the call's place to the next.
    #[must_use = "futures do nothing unless polled"]
    pub struct QueueFuture<S, Req, F> {
        #[pin]
        state: State<S, Req, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Req, F> {
        /// Waits for a place.
        Waiting { waiting: Box<Waiting<S, Req, F>> },
        Settled { #[pin] response: PlaceFuture<F> },
    }
}

/// A call before its turn. On the heap, since it is about to sleep anyway.
struct Waiting<S, Req, F> {
    // First, so that the next is woken last of all when this drops.
    inner: S,
    request: Option<Req>,
    tried: Tried,
    call: fn(&mut S, Req, &Tried) -> F,
    sleep: Pin<Box<Sleep>>,
    ticket: Ticket,
    place: Place,
}

impl<S, Req, F> QueueFuture<S, Req, F> {
    #[inline]
    pub(super) fn called(inner: F, place: Place) -> Self {
        Self { state: State::Settled { response: PlaceFuture::called(inner, place) } }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Settled { response: PlaceFuture::refused(error) } }
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
            place: Place::default(),
        });
        Self { state: State::Waiting { waiting } }
    }
}

impl<S, Req, F> Waiting<S, Req, F>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    /// Ready to make the call, or with why not.
    fn poll_call(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.place.is_there() {
            self.place = ready!(self.poll_turn(cx))?;
        }
        if let Poll::Ready(ready) = self.inner.poll_ready(cx) {
            return Poll::Ready(ready.map_err(Error::from_service));
        }
        ready!(self.poll_sleep(self.ticket.until(), cx));
        Poll::Ready(Err(self.give_up()))
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Place, Error>> {
        let until = self.ticket.until();
        loop {
            let now = time::now();
            let look_at = match self.ticket.turn(cx.waker(), now) {
                Turn::Come(place) => return Poll::Ready(Ok(place)),
                Turn::Waits(look_at) if now < until => look_at,
                Turn::Waits(_) | Turn::Missed => return Poll::Ready(Err(self.give_up())),
            };
            ready!(self.poll_sleep(look_at.map_or(until, |at| at.min(until)), cx));
        }
    }

    fn poll_sleep(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() != until {
            self.sleep.as_mut().reset(until);
        }
        self.sleep.as_mut().poll(cx)
    }

    fn give_up(&self) -> Error {
        self.ticket.state().refusal()
    }
}

impl<S, Req, F, T, E> Future for QueueFuture<S, Req, F>
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
            let ready = ready!(waiting.poll_call(cx));
            let response = match (ready, waiting.request.take()) {
                (Ok(()), Some(request)) => {
                    // Before the call, which may panic.
                    let place = std::mem::take(&mut waiting.place);
                    let call = waiting.call;
                    PlaceFuture::called(call(&mut waiting.inner, request, &waiting.tried), place)
                }
                (Err(error), _) => PlaceFuture::refused(error),
                // It did, and somebody polls on.
                (Ok(()), None) => PlaceFuture::refused(waiting.give_up()),
            };
            state.set(State::Settled { response });
        }
        match state.project() {
            StateProj::Settled { response } => response.poll(cx),
            StateProj::Waiting { .. } => Poll::Pending,
        }
    }
}

impl<S, Req, F: Chosen> Chosen for QueueFuture<S, Req, F> {
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

impl<S, Req, F> fmt::Debug for QueueFuture<S, Req, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, State::Waiting { .. });
        f.debug_struct("QueueFuture").field("waits", &waits).finish_non_exhaustive()
    }
}
