use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    cost::{Cost, PerCall},
    future::{Tokens, WaitFuture},
    layer::{Leased, Refund, Refuse, Wait},
    permit::Permit,
    refund::RefundFuture,
    state::State,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::ResponseFuture,
    limit::turn,
    member::Member,
    replay::Replay,
    time,
};

/// The service of a [`RateLimitLayer`](super::RateLimitLayer), and its connector.
pub struct RateLimit<S, M = Refuse, C = PerCall> {
    inner: S,
    permit: Permit,
    mode: M,
    cost: C,
}

impl<S, M, C> RateLimit<S, M, C> {
    pub(super) fn new(inner: S, state: Arc<State>, mode: M, cost: C) -> Self {
        Self { inner, permit: Permit::new(state), mode, cost }
    }

    // Out of line, since above a balancer it is never needed.
    #[cold]
    #[inline(never)]
    fn poll_ready_below<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        ready!(self.permit.poll_reserve(cx));
        let ready = self.inner.poll_ready(cx);
        if !matches!(ready, Poll::Ready(Ok(()))) {
            self.permit.give_back();
        }
        ready.map_err(Error::from_service)
    }
}

/// A clone starts without a token.
impl<S: Clone, M: Clone, C: Clone> Clone for RateLimit<S, M, C> {
    fn clone(&self) -> Self {
        let state = self.permit.state().clone();
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
        let state = self.permit.state().of_member(member);
        RateLimit::new(self.inner.connect(member), state, self.mode.clone(), self.cost.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Chooses, M, C> Chooses for RateLimit<S, M, C> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }
}

/// The modes that refuse: what they answer with, how they come by a token, and what becomes of a
/// call. The refusal is made last, and by itself, so that what is stored of a call that passes does
/// not have to wait for it.
macro_rules! refusing {
    (
        $mode:ty, $future:ident,
        |$permit:ident, $cells:ident| $spend:expr,
        |$call:ident, $spent:ident| $called:expr,
        |$no:ident| $refusal:expr
    ) => {
        impl<S, Req, C> Service<Req> for RateLimit<S, $mode, C>
        where
            S: Service<Req>,
            S::Error: Into<BoxError> + 'static,
            C: Cost<Req>,
        {
            type Response = S::Response;
            type Error = Error;
            type Future = $future<S::Future>;

            /// Ready as the inner service is. Below a balancer also pending while there is no
            /// token; the token is then reserved, and given back if this value is dropped instead
            /// of called. No token is kept while the inner service is not ready, nor is that asked
            /// while there is no token.
            #[inline]
            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
                if self.permit.is_bound() {
                    return self.poll_ready_below(cx);
                }
                // Taken apart and made anew: passed on as it is, it goes through memory.
                ready!(self.inner.poll_ready(cx)).map_err(Error::from_service)?;
                Poll::Ready(Ok(()))
            }

            // Always: a future that is returned in memory is read before it is there.
            #[inline(always)]
            fn call(&mut self, request: Req) -> Self::Future {
                let ($permit, $cells) = (&mut self.permit, self.cost.of(&request));
                match $spend {
                    Ok($spent) => {
                        let $call = self.inner.call(request);
                        $called
                    }
                    Err($no) => $future::refused($refusal),
                }
            }
        }

        impl<S, Req, C> Choose<Req> for RateLimit<S, $mode, C>
        where
            S: Choose<Req>,
            S::Error: Into<BoxError> + 'static,
            C: Cost<Req>,
        {
            type Choosing = $future<S::Choosing>;

            fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
                let ($permit, $cells) = (&mut self.permit, self.cost.of(&request));
                match $spend {
                    Ok($spent) => {
                        let $call = self.inner.call_avoiding(request, tried);
                        $called
                    }
                    Err($no) => $future::refused($refusal),
                }
            }
        }
    };
}

refusing! {
    Refuse, ResponseFuture,
    |permit, cells| permit.spend(cells),
    |call, _spent| ResponseFuture::called(call),
    |no| permit.refusal(no)
}

refusing! {
    Leased, ResponseFuture,
    |permit, cells| permit.spend_leased(cells),
    |call, _spent| ResponseFuture::called(call),
    |no| permit.refusal(no)
}

refusing! {
    Refund, RefundFuture,
    |permit, cells| permit.spend_refundable(cells),
    |call, spent| RefundFuture::called(call, spent),
    |refusal| refusal
}

impl<S, Req, C> Service<Req> for RateLimit<S, Wait, C>
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
    C: Cost<Req>,
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

impl<S, Req, C> Choose<Req> for RateLimit<S, Wait, C>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    Req: Replay,
    C: Cost<Req>,
{
    type Choosing = WaitFuture<S, Req, S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.enter(request, tried, |inner, request, tried| inner.call_avoiding(request, tried))
    }
}

impl<S, C> RateLimit<S, Wait, C> {
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
        C: Cost<Req>,
    {
        let deadline = request.deadline();
        let until = || {
            let longest = time::later(time::now(), self.mode.max);
            deadline.map_or(longest, |deadline| longest.min(deadline))
        };
        let state = self.permit.state();
        let cells = state.fitting(self.cost.of(&request));
        let entered = cells.and_then(|cells| match turn::in_time(deadline) {
            Ok(()) => state.enter(cells, until),
            // Where there are no tokens, a refusal says more.
            Err(late) => match state.wait(cells) {
                0 => Err(late),
                wait => Err(state.refuse(wait)),
            },
        });
        match entered {
            Ok(None) => WaitFuture::called(call(&mut self.inner, request, tried), ()),
            Ok(Some(ticket)) => {
                let tokens = Tokens::new(ticket, deadline);
                WaitFuture::waiting(tokens, &mut self.inner, request, tried.clone(), call)
            }
            Err(refusal) => WaitFuture::turned_away(&mut self.inner, refusal),
        }
    }
}

impl<S: fmt::Debug, M: fmt::Debug, C> fmt::Debug for RateLimit<S, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("inner", &self.inner)
            .field("state", self.permit.state())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
