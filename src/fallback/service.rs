use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    ResponseFuture, Substitute,
    future::{Held, Policy},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    member::Member,
    outcome::{Classify, ErrIsFailure, TypeName},
    sync::Leases,
};

/// The service of a [`FallbackLayer`](super::FallbackLayer), and its connector.
///
/// Ready when the inner service is. A clone shares the substitute.
///
/// # Errors
/// What the substitute returns, or the error of the inner service if it does not fall back; see the
/// [module](super).
pub struct Fallback<S, A, C = ErrIsFailure> {
    inner: S,
    /// None where nothing answers in place of the service.
    pub(super) policy: Option<Leases<Policy<A, C>, ()>>,
}

impl<S, A, C> Fallback<S, A, C> {
    pub(super) fn new(inner: S, policy: Option<Leases<Policy<A, C>, ()>>) -> Self {
        Self { inner, policy }
    }

    inner_service!();

    #[inline]
    fn dispatch<Req, F>(
        &mut self,
        request: Req,
        call: impl FnOnce(&mut S, Req) -> F,
    ) -> ResponseFuture<F, Req, A, C>
    where
        A: Substitute<Req>,
    {
        let kept = self.keep(&request);
        ResponseFuture::new(call(&mut self.inner, request), kept, self.held())
    }

    #[inline]
    fn keep<Req>(&self, request: &Req) -> Option<A::Kept>
    where
        A: Substitute<Req>,
    {
        self.policy.as_ref().map(|policy| policy.core().substitute.keep(request))
    }

    #[inline]
    fn held(&self) -> Option<Held<A, C>> {
        self.policy.as_ref().map(Leases::take)
    }
}

impl<S, A, C, Req> Service<Req> for Fallback<S, A, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    A: Substitute<Req, Response = S::Response>,
    C: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, Req, A, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.dispatch(request, S::call)
    }
}

impl<S, A, C, Req> Choose<Req> for Fallback<S, A, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    A: Substitute<Req, Response = S::Response>,
    C: Classify<S::Response, S::Error>,
{
    type Choosing = ResponseFuture<S::Choosing, Req, A, C>;

    #[inline]
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.dispatch(request, |inner, request| inner.call_avoiding(request, tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        let kept = self.keep(&request);
        let inner = self.inner.call_hedging(request, tried)?;
        Some(ResponseFuture::new(inner, kept, self.held()))
    }
}

impl<S: Chooses, A, C> Chooses for Fallback<S, A, C> {
    inner_chooses!();
}

impl<S: Connect, A, C> Connect for Fallback<S, A, C> {
    type Service = Fallback<S::Service, A, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        Fallback::new(self.inner.connect(member), self.policy.clone())
    }

    /// The inner service is called once for each call, and if another one was called as well, its error
    /// is not taken for this one's.
    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Clone, A, C> Clone for Fallback<S, A, C> {
    #[inline]
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.policy.clone())
    }
}

impl<S: fmt::Debug, A, C> fmt::Debug for Fallback<S, A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .field("substitute", &TypeName::<A>::new())
            .field("classify", &TypeName::<C>::new())
            .finish()
    }
}
