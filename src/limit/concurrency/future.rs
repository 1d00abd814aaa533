use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

use super::place::{self, Place, Ticket};
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    guard::ResponseFuture,
    limit::turn::{Turn, TurnFuture},
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

/// The response of a [`ConcurrencyLimit`](super::ConcurrencyLimit) that lets calls wait.
///
/// Cancel safe: dropping it leaves the queue, or gives the call's place to the next.
pub type QueueFuture<S, Req, F> = TurnFuture<S, Req, F, Queued>;

/// Waits for a place, in turn.
#[derive(Debug)]
pub struct Queued {
    sleep: Pin<Box<Sleep>>,
    ticket: Ticket,
    place: Place,
}

impl Queued {
    pub(super) fn new(ticket: Ticket) -> Self {
        let sleep = Box::pin(sleep_until(ticket.until()));
        Self { sleep, ticket, place: Place::default() }
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

impl Turn for Queued {
    type Held = Place;
    type Response<F> = PlaceFuture<F>;

    fn poll<S, Req>(&mut self, inner: &mut S, cx: &mut Context<'_>) -> Poll<Result<Place, Error>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        if !self.place.is_there() {
            self.place = ready!(self.poll_place(cx))?;
        }
        if let Poll::Ready(ready) = inner.poll_ready(cx) {
            let ready = ready.map_err(Error::from_service);
            return Poll::Ready(ready.map(|()| std::mem::take(&mut self.place)));
        }
        ready!(self.poll_sleep(self.ticket.until(), cx));
        Poll::Ready(Err(self.give_up()))
    }

    fn give_up(&self) -> Error {
        self.ticket.state().refusal()
    }

    #[inline]
    fn called<F>(inner: F, place: Place) -> PlaceFuture<F> {
        PlaceFuture::called(inner, place)
    }

    fn refused<F>(error: Error) -> PlaceFuture<F> {
        PlaceFuture::refused(error)
    }
}
