use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    cost::{Cost, PerCall},
    reservation::Reservation,
    state::State,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    deadline::DeadlineOf,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Pass, Plain, ResponseFuture},
    limit::{
        mode::{Refuse, Wait},
        queue::{self, WaitFuture},
    },
    member::Member,
};

/// Service of a [`RateLimitLayer`](super::RateLimitLayer), and its connector below a balancer.
pub struct RateLimit<S, M = Refuse, C = PerCall> {
    inner: S,
    reservation: Reservation,
    mode: M,
    cost: C,
}

impl<S, M, C> RateLimit<S, M, C> {
    pub(super) fn new(inner: S, state: Arc<State>, mode: M, cost: C) -> Self {
        Self { inner, reservation: Reservation::new(state), mode, cost }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service for changing it. Calls made through it take no token.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, and gives back a token that was reserved for this value.
    pub fn into_inner(self) -> S {
        self.inner
    }

    // Out of line, since above a balancer it is never needed.
    #[cold]
    #[inline(never)]
    fn poll_ready_below<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        ready!(self.reservation.poll_reserve(cx));
        let ready = self.inner.poll_ready(cx);
        if !matches!(ready, Poll::Ready(Ok(()))) {
            self.reservation.give_back();
        }
        ready.map_err(Error::from_service)
    }
}

/// A clone starts without a token.
impl<S: Clone, M: Clone, C: Clone> Clone for RateLimit<S, M, C> {
    fn clone(&self) -> Self {
        let state = self.reservation.state().clone();
        Self::new(self.inner.clone(), state, self.mode.clone(), self.cost.clone())
    }
}

impl<S, M, C> Connect for RateLimit<S, M, C>
where
    S: Connect,
    M: Clone,
    C: Clone,
{
    type Service = RateLimit<S::Service, M, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let state = self.reservation.state().of_member(member);
        RateLimit::new(self.inner.connect(member), state, self.mode.clone(), self.cost.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Chooses, M, C> Chooses for RateLimit<S, M, C> {
    inner_chooses!();
}

impl<S, C> RateLimit<S, Refuse, C> {
    // Always: a future that is returned in memory is read before it is there.
    #[inline(always)]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future>
    where
        P: Pass<S, Req>,
        C: Cost<Req>,
    {
        match self.reservation.spend(self.cost.of(&request)) {
            Ok(()) => ResponseFuture::called(way.pass(&mut self.inner, request)),
            // Made last, and by itself, so that what is stored of a call that passes does not have
            // to wait for it.
            Err(no) => ResponseFuture::refused(self.reservation.refusal(no)),
        }
    }
}

impl<S, Req, C> Service<Req> for RateLimit<S, Refuse, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    /// Polls the inner service. Below a balancer, also waits for a token and reserves it; the token is
    /// given back if this value is dropped instead of called, or while the inner service is not ready.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.reservation.is_bound() {
            return self.poll_ready_below(cx);
        }
        // Taken apart and made anew: passed on as it is, it goes through memory.
        ready!(self.inner.poll_ready(cx)).map_err(Error::from_service)?;
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, Req, C> Choose<Req> for RateLimit<S, Refuse, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    C: Cost<Req>,
{
    type Choosing = ResponseFuture<S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S, D, C> RateLimit<S, Wait<D>, C> {
    #[inline]
    fn enter<Req, P>(&mut self, request: Req, way: P) -> WaitFuture<S, Req, P::Future>
    where
        S: Service<Req> + Clone,
        P: Pass<S, Req>,
        D: DeadlineOf<Req>,
        C: Cost<Req>,
    {
        let deadline = self.mode.deadline_of(&request);
        let state = self.reservation.state();
        let cells = state.fitting(self.cost.of(&request));
        let entered = cells.and_then(|cells| match queue::in_time(deadline) {
            Ok(()) => state.enter(cells, |now| self.mode.until(now, deadline)),
            // Where there are no tokens, a refusal says more.
            Err(late) => match state.wait(cells) {
                0 => Err(state.telemetry.named(late)),
                wait => Err(state.refuse(wait)),
            },
        });
        match entered {
            Ok(None) => {
                let inner = way.pass(&mut self.inner, request);
                WaitFuture::settled(ResponseFuture::called(inner))
            }
            Ok(Some(waiter)) => {
                WaitFuture::waiting(waiter, deadline, &mut self.inner, request, way.later())
            }
            Err(refusal) => WaitFuture::turned_away(&mut self.inner, (), refusal),
        }
    }
}

impl<S, Req, D, C> Service<Req> for RateLimit<S, Wait<D>, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    D: DeadlineOf<Req>,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = WaitFuture<S, Req, S::Future>;

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

impl<S, Req, D, C> Choose<Req> for RateLimit<S, Wait<D>, C>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    D: DeadlineOf<Req>,
    C: Cost<Req>,
{
    type Choosing = WaitFuture<S, Req, S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.enter(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.enter(request, Hedging(tried)).hedge()
    }
}

impl<S: fmt::Debug, M: fmt::Debug, C> fmt::Debug for RateLimit<S, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("state", self.reservation.state())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
