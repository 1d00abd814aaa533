use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    future::WaitFuture,
    layer::{Refuse, Wait},
    state::{Permit, State},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::ResponseFuture,
    member::Member,
    replay::Replay,
    time,
};

/// The service of a [`RateLimitLayer`](super::RateLimitLayer), and its connector.
pub struct RateLimit<S, M = Refuse> {
    inner: S,
    permit: Permit,
    mode: M,
}

impl<S, M> RateLimit<S, M> {
    pub(super) fn new(inner: S, state: Arc<State>, mode: M) -> Self {
        Self { inner, permit: Permit::new(state), mode }
    }
}

/// A clone starts without a token.
impl<S: Clone, M: Clone> Clone for RateLimit<S, M> {
    fn clone(&self) -> Self {
        let state = self.permit.state().clone();
        Self::new(self.inner.clone(), state, self.mode.clone())
    }
}

impl<S, M> Connect for RateLimit<S, M>
where
    S: Connect,
    M: Clone,
{
    type Service = RateLimit<S::Service, M>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let state = self.permit.state().of_member(member);
        RateLimit::new(self.inner.connect(member), state, self.mode.clone())
    }
}

impl<S, Req> Service<Req> for RateLimit<S, Refuse>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    /// Ready as the inner service is. Below a balancer also pending while there is no token; the
    /// token is then reserved, and given back if this value is dropped instead of called.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.inner.poll_ready(cx)).map_err(Error::from_service)?;
        self.permit.poll_reserve(cx).map(Ok)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.permit.spend() {
            Ok(()) => ResponseFuture::called(self.inner.call(request)),
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}

impl<S, Req> Choose<Req> for RateLimit<S, Refuse>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Choosing = ResponseFuture<S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        match self.permit.spend() {
            Ok(()) => ResponseFuture::called(self.inner.call_avoiding(request, tried)),
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}

impl<S: Chooses, M> Chooses for RateLimit<S, M> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }
}

impl<S, Req> Service<Req> for RateLimit<S, Wait>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
{
    type Response = S::Response;
    type Error = Error;
    type Future = WaitFuture<S, Req, S::Future>;

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

impl<S, Req> Choose<Req> for RateLimit<S, Wait>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
{
    type Choosing = WaitFuture<S, Req, S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.enter(request, tried, |inner, request, tried| inner.call_avoiding(request, tried))
    }
}

impl<S> RateLimit<S, Wait> {
    #[inline]
    fn enter<Req, F>(
        &mut self,
        request: Req,
        tried: &Tried,
        call: fn(&mut S, Req, &Tried) -> F,
    ) -> WaitFuture<S, Req, F>
    where
        S: Service<Req> + Clone,
        Req: Replay,
    {
        let until = || {
            let longest = time::later(time::now(), self.mode.max);
            match request.deadline() {
                Some(deadline) => longest.min(deadline),
                None => longest,
            }
        };
        match self.permit.state().enter(until) {
            Ok(None) => WaitFuture::called(call(&mut self.inner, request, tried)),
            Ok(Some(ticket)) => {
                // A clone that is not ready: nothing of the inner service is kept while waiting.
                let inner = self.inner.clone();
                WaitFuture::waiting(ticket, inner, request, tried.clone(), call)
            }
            Err(refusal) => WaitFuture::refused(refusal),
        }
    }
}

impl<S: fmt::Debug, M: fmt::Debug> fmt::Debug for RateLimit<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("state", self.permit.state())
            .field("mode", &self.mode)
            .finish()
    }
}
