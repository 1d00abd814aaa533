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
    layer::AnswerLayer,
    reports::Reports,
    responses::over_grpc,
};
use crate::error::{BoxError, Error};

pin_project! {
    /// Future of a response of an [`Answer`](super::Answer).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct AnswerFuture<F, L, M = DefaultBody> {
        asked: Asked<L, M>,
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] inner: F },
        Failed { error: Error },
    }
}

/// What of a request its answer depends on.
pub(super) struct Asked<L, M> {
    layer: Arc<AnswerLayer<L, M>>,
    quota: u64,
    /// [`Reports::report`], for which the type of the request is needed.
    report: fn(&L, &str, u64, &mut HeaderMap),
    /// The content type, if it is gRPC.
    grpc: Option<HeaderValue>,
}

impl<L, M> Asked<L, M> {
    pub(super) fn new<B>(request: &Request<B>, layer: Arc<AnswerLayer<L, M>>) -> Self
    where
        L: Reports<Request<B>>,
    {
        let content = request.headers().get(CONTENT_TYPE);
        let grpc = content.filter(|of| of.as_bytes().starts_with(b"application/grpc")).cloned();
        Self { quota: layer.limit.quota_of(request), report: L::report, layer, grpc }
    }
}

impl<F, L, M> AnswerFuture<F, L, M> {
    pub(super) fn called(asked: Asked<L, M>, inner: F) -> Self {
        Self { asked, state: State::Called { inner } }
    }

    pub(super) fn failed(asked: Asked<L, M>, error: Error) -> Self {
        Self { asked, state: State::Failed { error } }
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
        let result = match this.state.project() {
            StateProj::Called { inner } => ready!(inner.poll(cx)).map_err(Error::from_service),
            StateProj::Failed { error } => Err(error.clone()),
        };
        let Asked { layer, quota, report, grpc } = this.asked;
        let mut response = result.unwrap_or_else(|error| {
            layer.teller.tell(&error);
            let empty = Response::new(layer.body.empty());
            match grpc {
                Some(content) => over_grpc(&error, content, empty),
                None => error.answer_with(empty),
            }
        });
        report(&layer.limit, &layer.name, *quota, response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

impl<F, L, M> fmt::Debug for AnswerFuture<F, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerFuture").finish_non_exhaustive()
    }
}
