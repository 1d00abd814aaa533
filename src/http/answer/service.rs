use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    body::{DefaultBody, EmptyBody},
    future::{AnswerFuture, Asked},
    reports::{NoFields, Reports},
    terms::Terms,
};
use crate::{
    error::{BoxError, Error},
    guard::ResponseFuture,
};

/// Service of an [`AnswerLayer`](super::AnswerLayer).
pub struct Answer<S, L = NoFields, M = DefaultBody> {
    inner: S,
    /// Why the inner service will never be ready again. It is not asked any more then.
    dead: Option<Error>,
    terms: Arc<Terms<L, M>>,
}

impl<S, L, M> Answer<S, L, M> {
    pub(super) fn new(inner: S, terms: Arc<Terms<L, M>>) -> Self {
        Self { inner, dead: None, terms }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service for changing it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, L, M> Clone for Answer<S, L, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), dead: self.dead.clone(), terms: self.terms.clone() }
    }
}

impl<S, L, M, A, B> Service<Request<A>> for Answer<S, L, M>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    L: Reports<Request<A>>,
    M: EmptyBody<B>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future, L, M>;

    /// Polls the inner service. If that fails, calls are answered with its error from then on.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.dead.is_none() {
            match self.inner.poll_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ready) => self.dead = ready.err().map(Error::from_service),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let asked = Asked::new(&request, self.terms.clone());
        let response = match &self.dead {
            None => ResponseFuture::called(self.inner.call(request)),
            Some(error) => ResponseFuture::refused(error.clone()),
        };
        AnswerFuture::new(asked, response)
    }
}

impl<S: fmt::Debug, L: fmt::Debug, M> fmt::Debug for Answer<S, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("inner", &self.inner)
            .field("dead", &self.dead)
            .field("limit", &self.terms.limit)
            .finish()
    }
}
