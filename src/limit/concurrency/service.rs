use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::runtime::Handle;
use tower_service::Service;

use super::{
    in_line::InLine,
    permit::{AtResponse, Entered, Permit},
    state::State,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    deadline::DeadlineOf,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Hold, Pass, Plain, ResponseFuture},
    limit::{
        mode::{Refuse, Wait},
        queue::{self, Taken, Turn, WaitFuture},
    },
    member::Member,
    time::{self, Instant},
};

/// Service of a [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer), and its connector below a
/// balancer.
pub struct ConcurrencyLimit<S, M = Refuse, E = AtResponse> {
    inner: S,
    state: Arc<State>,
    /// Below a balancer: reserved by `poll_ready`, for the next call.
    permit: Permit<E>,
    /// Below a balancer: waits for a place.
    waiter: Option<Box<InLine>>,
    mode: M,
}

impl<S, M, E> ConcurrencyLimit<S, M, E> {
    pub(super) fn new(inner: S, state: Arc<State>, mode: M) -> Self {
        Self { inner, state, permit: Permit::nothing(), waiter: None, mode }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service for changing it. Calls made through it take no place.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, and gives back a place that was reserved for this value.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The right to make one call; `None` if it is refused.
    #[inline]
    fn take(&mut self) -> Option<Permit<E>> {
        if self.permit.has_place() {
            return Some(self.permit.hand_on());
        }
        Permit::enter(&self.state)
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
            self.permit.give_back();
        }
        ready.map_err(Error::from_service)
    }

    /// Below a balancer: reserves a place, or queues for one.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.permit.has_place() {
            return Poll::Ready(());
        }
        if self.waiter.is_none() {
            if let Some(permit) = Permit::enter(&self.state) {
                self.permit = permit;
                return Poll::Ready(());
            }
        }
        self.poll_queue(cx)
    }

    #[cold]
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = time::now();
            let line = match &mut self.waiter {
                Some(line) => line,
                // As long as it takes, and as many as there are: who waits so is one whom the
                // balancer has taken in already, and it knows how long it wants to wait.
                None => match Permit::enter_or_wait(&self.state, usize::MAX, (now, never(now))) {
                    Entered::Now(permit) => {
                        self.permit = permit;
                        return Poll::Ready(());
                    }
                    Entered::Waits(waiter) => self.waiter.insert(Box::new(InLine::new(waiter))),
                    // Never, with so many.
                    Entered::Not => return Poll::Ready(()),
                },
            };
            match line.waiter.turn(cx.waker(), now) {
                Turn::Called if line.waiter.come() => {
                    self.permit = Permit::taken(&self.state);
                    self.waiter = None;
                    return Poll::Ready(());
                }
                Turn::Waits(look_at) => ready!(line.poll_again(cx, look_at)),
                // It was not polled in time, and its place went to another.
                Turn::Called | Turn::Missed => self.waiter = None,
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

impl<S, E> ConcurrencyLimit<S, Refuse, E> {
    #[inline]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future, Permit<E>>
    where
        P: Pass<S, Req>,
    {
        match self.take() {
            Some(permit) => ResponseFuture::holding(permit, way.pass(&mut self.inner, request)),
            None => ResponseFuture::refused_with(Permit::nothing(), self.state.refuse()),
        }
    }
}

impl<S, Req, E> Service<Req> for ConcurrencyLimit<S, Refuse, E>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    Permit<E>: Hold<S::Response, S::Error>,
{
    type Response = <Permit<E> as Hold<S::Response, S::Error>>::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, Permit<E>>;

    /// Polls the inner service. Below a balancer, also waits for a place and reserves it; the place is
    /// given back if this value is dropped instead of called, or while the inner service is not ready.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state.is_bound() {
            return self.poll_ready_below(cx);
        }
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, Req, E> Choose<Req> for ConcurrencyLimit<S, Refuse, E>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    Permit<E>: Hold<S::Response, S::Error>,
{
    type Choosing = ResponseFuture<S::Choosing, Permit<E>>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S: Chooses, M, E> Chooses for ConcurrencyLimit<S, M, E> {
    inner_chooses!();
}

impl<S, D, E> ConcurrencyLimit<S, Wait<D>, E> {
    #[inline]
    fn enter<Req, P>(&mut self, request: Req, way: P) -> WaitFuture<S, Req, P::Future, Permit<E>>
    where
        S: Service<Req> + Clone,
        P: Pass<S, Req>,
        D: DeadlineOf<Req>,
    {
        let deadline = self.mode.deadline_of(&request);
        match Permit::enter(&self.state) {
            Some(permit) => match queue::in_time(deadline) {
                Ok(()) => self.called(request, way, permit),
                Err(late) => self.turned_away(self.state.telemetry.named(late)),
            },
            None => self.enter_queue(request, way, deadline),
        }
    }

    #[cold]
    fn enter_queue<Req, P>(
        &mut self,
        request: Req,
        way: P,
        deadline: Option<Instant>,
    ) -> WaitFuture<S, Req, P::Future, Permit<E>>
    where
        S: Service<Req> + Clone,
        P: Pass<S, Req>,
    {
        let now = time::now();
        let until = self.mode.until(now, deadline);
        if until <= now || Handle::try_current().is_err() {
            // No time to wait, or nothing to wait with.
            return self.turned_away(self.state.refuse());
        }
        match Permit::enter_or_wait(&self.state, self.state.most_pending(), (now, until)) {
            Entered::Now(permit) => self.called(request, way, permit),
            Entered::Waits(waiter) => {
                WaitFuture::waiting(waiter, deadline, &mut self.inner, request, way.later())
            }
            Entered::Not => self.turned_away(self.state.refuse()),
        }
    }

    #[inline]
    fn called<Req, P: Pass<S, Req>>(
        &mut self,
        request: Req,
        way: P,
        permit: Permit<E>,
    ) -> WaitFuture<S, Req, P::Future, Permit<E>> {
        let inner = way.pass(&mut self.inner, request);
        WaitFuture::settled(ResponseFuture::holding(permit, inner))
    }

    fn turned_away<Req, F>(&mut self, error: Error) -> WaitFuture<S, Req, F, Permit<E>>
    where
        S: Clone,
    {
        WaitFuture::turned_away(&mut self.inner, Permit::nothing(), error)
    }
}

impl<S, Req, D, E> Service<Req> for ConcurrencyLimit<S, Wait<D>, E>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    D: DeadlineOf<Req>,
    Permit<E>: Hold<S::Response, S::Error>,
{
    type Response = <Permit<E> as Hold<S::Response, S::Error>>::Response;
    type Error = Error;
    type Future = WaitFuture<S, Req, S::Future, Permit<E>>;

    /// Polls the inner service. Calls wait in their response future.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.enter(request, Plain)
    }
}

impl<S, Req, D, E> Choose<Req> for ConcurrencyLimit<S, Wait<D>, E>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    D: DeadlineOf<Req>,
    Permit<E>: Hold<S::Response, S::Error>,
{
    type Choosing = WaitFuture<S, Req, S::Choosing, Permit<E>>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.enter(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.enter(request, Hedging(tried)).hedge()
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
