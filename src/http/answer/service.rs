use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::{DefaultBody, EmptyBody},
    future::{AnswerFuture, Asked},
    layer::AnswerLayer,
    reports::{NoFields, Reports},
};
use crate::error::{BoxError, Error};

impl<S, L: Clone, M: Clone> Layer<S> for AnswerLayer<L, M> {
    type Service = Answer<S, L, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Answer { inner, dead: None, layer: Arc::new(self.clone()) }
    }
}

/// Service of an [`AnswerLayer`].
pub struct Answer<S, L = NoFields, M = DefaultBody> {
    inner: S,
    /// Why the inner service will never be ready again. It is not polled any more then.
    dead: Option<Error>,
    layer: Arc<AnswerLayer<L, M>>,
}

impl<S, L, M> Answer<S, L, M> {
    inner_service!();
}

impl<S: Clone, L, M> Clone for Answer<S, L, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), dead: self.dead.clone(), layer: self.layer.clone() }
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

    /// Ready when the inner service is. If that failed for good, calls are answered with its error.
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
        let asked = Asked::new(&request, self.layer.clone());
        match &self.dead {
            None => AnswerFuture::called(asked, self.inner.call(request)),
            Some(error) => AnswerFuture::failed(asked, error.clone()),
        }
    }
}

impl<S: fmt::Debug, L: fmt::Debug, M> fmt::Debug for Answer<S, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("inner", &self.inner)
            .field("dead", &self.dead)
            .field("limit", &self.layer.limit)
            .finish()
    }
}
