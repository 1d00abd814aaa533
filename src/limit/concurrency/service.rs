use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    ends::{AtResponse, Ends},
    future::{PlaceFuture, QueueFuture, Queued},
    place::{Place, Ticket, Turn},
    state::{Entry, State},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    limit::{Refuse, Wait, turn},
    member::Member,
    replay::Replay,
    time::{self, Instant},
};

/// The service of a [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer), and its connector.
pub struct ConcurrencyLimit<S, M = Refuse, E = AtResponse> {
    inner: S,
    state: Arc<State>,
    /// Below a balancer: reserved by `poll_ready`, for the next call.
    place: Place,
    /// Below a balancer: waits for a place.
    ticket: Option<Box<Ticket>>,
    mode: M,
    ends: PhantomData<fn() -> E>,
}

impl<S, M, E> ConcurrencyLimit<S, M, E> {
    pub(super) fn new(inner: S, state: Arc<State>, mode: M) -> Self {
        Self { inner, state, place: Place::default(), ticket: None, mode, ends: PhantomData }
    }

    /// The right to make one call; `None` if it is refused.
    #[inline]
    fn take(&mut self) -> Option<Place> {
        if self.place.is_there() {
            return Some(std::mem::take(&mut self.place));
        }
        self.state.enter()
    }

    // Out of line, since above a balancer it is never needed.
    #[inline(never)]
    fn poll_ready_below<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        ready!(self.poll_place(cx));
        let ready = self.inner.poll_ready(cx);
        if !matches!(ready, Poll::Ready(Ok(()))) {
            self.place.give_back();
        }
        ready.map_err(Error::from_service)
    }

    /// Below a balancer: reserves a place, or queues for one.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_there() {
            return Poll::Ready(());
        }
        if self.ticket.is_none() {
            if let Some(place) = self.state.enter() {
                self.place = place;
                return Poll::Ready(());
            }
        }
        self.poll_queue(cx)
    }

    #[cold]
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = time::now();
        loop {
            let ticket = match &mut self.ticket {
                Some(ticket) => ticket,
                // As long as it takes, and as many as there are: who waits so is one whom the
                // balancer has taken in already, and it knows how long it wants to wait.
                None => match self.state.enter_or_wait(usize::MAX, never(now), now) {
                    Entry::Now(place) => {
                        self.place = place;
                        return Poll::Ready(());
                    }
                    Entry::Waits(ticket) => self.ticket.insert(Box::new(ticket)),
                    // Never, with so many.
                    Entry::Full => return Poll::Ready(()),
                },
            };
            match ticket.turn(cx.waker(), now) {
                Turn::Come(place) => {
                    self.place = place;
                    self.ticket = None;
                    return Poll::Ready(());
                }
                Turn::Waits(_) => return Poll::Pending,
                // Not within thirty years.
                Turn::Missed => self.ticket = None,
            }
        }
    }
}

fn never(now: Instant) -> Instant {
    time::later(now, Duration::MAX)
}

/// A clone starts unready: without a place.
impl<S: Clone, M: Clone, E> Clone for ConcurrencyLimit<S, M, E> {
    #[inline]
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.state.clone(), self.mode.clone())
    }
}

impl<S, M, E> Connect for ConcurrencyLimit<S, M, E>
where
    S: Connect,
    M: Clone,
{
    type Service = ConcurrencyLimit<S::Service, M, E>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let state = self.state.of_member(member);
        ConcurrencyLimit::new(self.inner.connect(member), state, self.mode.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req, E> Service<Req> for ConcurrencyLimit<S, Refuse, E>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    E: Ends<S::Response>,
{
    type Response = E::Response;
    type Error = Error;
    type Future = PlaceFuture<S::Future, E>;

    /// Ready as the inner service is. Below a balancer also pending while there is no place; the
    /// place is then reserved, and given back if this value is dropped instead of called. So is one
    /// whose turn has come, whether it is polled again or not. No place is kept while the inner
    /// service is not ready, nor is that asked while there is no place.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state.is_bound() {
            return self.poll_ready_below(cx);
        }
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.take() {
            Some(place) => PlaceFuture::called(self.inner.call(request), place),
            None => PlaceFuture::refused(self.state.refusal()),
        }
    }
}

impl<S, Req, E> Choose<Req> for ConcurrencyLimit<S, Refuse, E>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    E: Ends<S::Response>,
{
    type Choosing = PlaceFuture<S::Choosing, E>;

    #[inline]
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        match self.take() {
            Some(place) => PlaceFuture::called(self.inner.call_avoiding(request, tried), place),
            None => PlaceFuture::refused(self.state.refusal()),
        }
    }
}

impl<S: Chooses, M, E> Chooses for ConcurrencyLimit<S, M, E> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }
}

impl<S, Req, E> Service<Req> for ConcurrencyLimit<S, Wait, E>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
    E: Ends<S::Response>,
{
    type Response = E::Response;
    type Error = Error;
    type Future = QueueFuture<S, Req, S::Future, E>;

    /// Ready as the inner service is: waiting is up to the response.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.enter(request, &Tried::default(), |inner, request, _| inner.call(request))
    }
}

impl<S, Req, E> Choose<Req> for ConcurrencyLimit<S, Wait, E>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
    E: Ends<S::Response>,
{
    type Choosing = QueueFuture<S, Req, S::Choosing, E>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.enter(request, tried, |inner, request, tried| inner.call_avoiding(request, tried))
    }
}

impl<S, E> ConcurrencyLimit<S, Wait, E> {
    #[inline]
    fn enter<Req, F>(
        &mut self,
        request: Req,
        tried: &Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> QueueFuture<S, Req, F, E>
    where
        S: Service<Req> + Clone,
        Req: Replay,
    {
        let deadline = request.deadline();
        match self.state.enter() {
            Some(place) => match turn::in_time(deadline) {
                Ok(()) => QueueFuture::called(call(&mut self.inner, request, tried), place),
                Err(late) => QueueFuture::turned_away(&mut self.inner, late),
            },
            None => self.enter_queue(request, deadline, tried, call),
        }
    }

    #[cold]
    fn enter_queue<Req, F>(
        &mut self,
        request: Req,
        deadline: Option<Instant>,
        tried: &Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> QueueFuture<S, Req, F, E>
    where
        S: Service<Req> + Clone,
    {
        let now = time::now();
        let longest = time::later(now, self.mode.max);
        let until = deadline.map_or(longest, |deadline| longest.min(deadline));
        if until <= now || Handle::try_current().is_err() {
            // No time to wait, or nothing to wait with.
            return QueueFuture::turned_away(&mut self.inner, self.state.refusal());
        }
        match self.state.enter_or_wait(self.state.most_pending(), until, now) {
            Entry::Now(place) => QueueFuture::called(call(&mut self.inner, request, tried), place),
            Entry::Waits(ticket) => QueueFuture::waiting(
                Queued::new(ticket, deadline),
                &mut self.inner,
                request,
                tried.clone(),
                call,
            ),
            Entry::Full => QueueFuture::turned_away(&mut self.inner, self.state.refusal()),
        }
    }
}

impl<S: fmt::Debug, M: fmt::Debug, E> fmt::Debug for ConcurrencyLimit<S, M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("inner", &self.inner)
            .field("state", &self.state)
            .field("mode", &self.mode)
            .finish()
    }
}
