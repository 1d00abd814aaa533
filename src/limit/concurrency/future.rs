use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::{
    ends::{AtResponse, Ends},
    place::{self, Place, Ticket},
};
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    guard::ResponseFuture,
    limit::turn::{self, Turn, TurnFuture},
    member::Member,
    time::{self, Instant},
};

pin_project! {
    /// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that refuses.
    ///
    /// Cancel safe: the call's place is given back when this is done, or dropped. With `AtBodyEnd`
    /// the response keeps it.
    #[must_use = "futures do nothing unless polled"]
    pub struct PlaceFuture<F, E = AtResponse> {
        // First, so that what a dropped call holds is gone when another takes its place. A call that
        // is done gives its place back at once, or on to its response, though what is left of it
        // lives until this drops.
        #[pin]
        response: ResponseFuture<F>,
        place: Place,
        ends: PhantomData<fn() -> E>,
    }
}

impl<F, E> PlaceFuture<F, E> {
    #[inline]
    pub(super) fn called(inner: F, place: Place) -> Self {
        Self { response: ResponseFuture::called(inner), place, ends: PhantomData }
    }

    #[inline]
    pub(super) fn refused(error: Error) -> Self {
        let (response, place) = (ResponseFuture::refused(error), Place::default());
        Self { response, place, ends: PhantomData }
    }
}

impl<F, E, T, Err> Future for PlaceFuture<F, E>
where
    F: Future<Output = Result<T, Err>>,
    E: Ends<T>,
    Err: Into<BoxError> + 'static,
{
    type Output = Result<E::Response, Error>;

    // Out of line, the result goes through memory, which costs more than a refusal itself.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.response.poll(cx));
        Poll::Ready(E::end(result, this.place))
    }
}

impl<F: Chosen, E> Chosen for PlaceFuture<F, E> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        self.response.chosen()
    }

    fn is_unsent(&self) -> bool {
        self.response.is_unsent()
    }
}

impl<F, E> fmt::Debug for PlaceFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceFuture")
            .field("has_place", &self.place.is_there())
            .finish_non_exhaustive()
    }
}

/// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that lets calls wait.
///
/// Cancel safe: dropping it leaves the queue, or gives the call's place to the next.
pub type QueueFuture<S, Req, F, E = AtResponse> = TurnFuture<S, Req, F, Queued<E>>;

/// Waits for a place, in turn.
#[derive(Debug)]
pub struct Queued<E> {
    sleep: Pin<Box<Sleep>>,
    ticket: Ticket,
    /// Of the call: it is not made after that.
    deadline: Option<Instant>,
    place: Place,
    ends: PhantomData<fn() -> E>,
}

impl<E> Queued<E> {
    pub(super) fn new(ticket: Ticket, deadline: Option<Instant>) -> Self {
        let sleep = Box::pin(sleep_until(ticket.until()));
        Self { sleep, ticket, deadline, place: Place::default(), ends: PhantomData }
    }

    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<Place, Error>> {
        let until = self.ticket.until();
        loop {
            let now = time::now();
            let look_at = match self.ticket.turn(cx.waker(), now) {
                place::Turn::Come(place) => return Poll::Ready(Ok(place)),
                place::Turn::Waits(look_at) if now < until => look_at,
                place::Turn::Waits(_) | place::Turn::Missed => {
                    return Poll::Ready(Err(self.give_up()));
                }
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
}

impl<E> Turn for Queued<E> {
    type Held = Place;
    type Response<F> = PlaceFuture<F, E>;

    fn poll<S, Req>(&mut self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<Place, Error>>
    where
        S: Service<Req> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        if !self.place.is_there() {
            self.place = ready!(self.poll_place(cx))?;
        }
        if let Poll::Ready(ready) = inner.poll_ready(cx) {
            let ready = ready.map_err(Error::from_service);
            let ready = ready.and_then(|()| turn::came_in_time(self.deadline));
            return Poll::Ready(ready.map(|()| std::mem::take(&mut self.place)));
        }
        ready!(self.poll_sleep(self.ticket.until(), cx));
        Poll::Ready(Err(self.give_up()))
    }

    fn give_up(&self) -> Error {
        self.ticket.state().refusal()
    }

    #[inline]
    fn called<F>(inner: F, place: Place) -> PlaceFuture<F, E> {
        PlaceFuture::called(inner, place)
    }

    fn refused<F>(error: Error) -> PlaceFuture<F, E> {
        PlaceFuture::refused(error)
    }
}
