use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use pin_project_lite::pin_project;

use super::{
    body::{DefaultBody, EmptyBody},
    reports::Reports,
    responses::over_grpc,
    terms::Terms,
};
use crate::{error::BoxError, guard::ResponseFuture};

pin_project! {
    /// Response future of an [`Answer`](super::Answer).
    ///
    /// # Cancel safety
    /// Dropping it only drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct AnswerFuture<F, L, M = DefaultBody> {
        asked: Asked<L, M>,
        #[pin]
        response: ResponseFuture<F>,
    }
}

/// What of a request its answer depends on.
pub(super) struct Asked<L, M> {
    terms: Arc<Terms<L, M>>,
    note: u64,
    tell: fn(&L, &str, u64, &mut HeaderMap),
    /// The content type, if it is gRPC.
    grpc: Option<HeaderValue>,
}

impl<L, M> Asked<L, M> {
    pub(super) fn new<B>(request: &Request<B>, terms: Arc<Terms<L, M>>) -> Self
    where
        L: Reports<Request<B>>,
    {
        let content = request.headers().get(CONTENT_TYPE);
        let grpc = content.filter(|of| of.as_bytes().starts_with(b"application/grpc")).cloned();
        Self { note: terms.limit.note(request), tell: L::tell, terms, grpc }
    }
}

impl<F, L, M> AnswerFuture<F, L, M> {
    pub(super) fn new(asked: Asked<L, M>, response: ResponseFuture<F>) -> Self {
        Self { asked, response }
    }
}

impl<F, L, M, B, E> Future for AnswerFuture<F, L, M>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError> + 'static,
    M: EmptyBody<B>,
{
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.response.poll(cx));
        let Asked { terms, note, tell, grpc } = this.asked;
        let mut response = result.unwrap_or_else(|error| {
            terms.teller.tell(&error);
            let empty = Response::new(terms.body.empty());
            match grpc {
                Some(content) => over_grpc(&error, content, empty),
                None => error.answer_with(empty),
            }
        });
        tell(&terms.limit, &terms.name, *note, response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

impl<F, L, M> fmt::Debug for AnswerFuture<F, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}
