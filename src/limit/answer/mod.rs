//! What clients are told of a limit, over HTTP and gRPC.

mod future;
mod reports;
mod responses;

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

pub use self::{
    future::AnswerFuture,
    reports::{NoFields, Reports},
};
use self::{future::Asked, reports::Name};
use crate::error::{BoxError, Error};

/// Turns the errors of a stack into responses, and tells clients how they stand with a limit.
///
/// For servers whose services must not fail, such as axum's: the outermost layer, whose error is
/// [`Infallible`].
///
/// | the request is | a refusal is |
/// |---|---|
/// | HTTP | 429 for a rate limit, 503 for too many calls at once, else as [`Error::into_response`](crate::Error::into_response) says, with `Retry-After` and no body |
/// | gRPC, by its `content-type` | 200 with `grpc-status` 8 (`RESOURCE_EXHAUSTED`) for either limit, 4 for a deadline, else 14 or 2; `grpc-message`, and `grpc-retry-pushback-ms` |
///
/// With [`with_fields`](Self::with_fields) every response, refusal or not, has the fields of
/// draft-ietf-httpapi-ratelimit-headers:
/// ```text
/// RateLimit-Policy: "api";q=100;w=60      100 calls in 60 seconds
/// RateLimit: "api";r=50;t=30              50 are left, and all are back in 30 seconds
/// ```
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower_upstream::{Quota, RateLimitLayer, limit::AnswerLayer};
///
/// let limit = RateLimitLayer::new(Quota::per_minute(100));
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(
///     ServiceBuilder::new()
///         .layer(AnswerLayer::with_fields("api", limit.clone()))
///         .layer(limit),
/// );
/// ```
#[derive(Debug, Clone, Default)]
pub struct AnswerLayer<L = NoFields> {
    limit: L,
    name: Name,
}

impl AnswerLayer {
    /// Only turns errors into responses.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L> AnswerLayer<L> {
    /// Also adds the fields of `limit`, which is a clone of the layer below that refuses: a
    /// [`RateLimitLayer`](super::RateLimitLayer) or a
    /// [`KeyedRateLimitLayer`](super::KeyedRateLimitLayer). Of several quotas, the second is called
    /// `name-2`, and so on. What cannot stand in a field is left out of the name.
    pub fn with_fields(name: &str, limit: L) -> Self {
        Self { limit, name: Name::new(name) }
    }
}

impl<S, L: Clone> Layer<S> for AnswerLayer<L> {
    type Service = Answer<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Answer { inner, dead: None, layer: Arc::new(self.clone()) }
    }
}

/// The service of an [`AnswerLayer`].
pub struct Answer<S, L = NoFields> {
    inner: S,
    /// Why the inner service will never be ready again. It is not asked any more then.
    dead: Option<Error>,
    layer: Arc<AnswerLayer<L>>,
}

impl<S: Clone, L> Clone for Answer<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), dead: self.dead.clone(), layer: self.layer.clone() }
    }
}

impl<S, L, A, B> Service<Request<A>> for Answer<S, L>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    L: Reports<Request<A>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = AnswerFuture<S::Future, L>;

    /// Ready as the inner service is. If that is dead, calls are answered with its error.
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

impl<S: fmt::Debug, L: fmt::Debug> fmt::Debug for Answer<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("inner", &self.inner)
            .field("dead", &self.dead)
            .field("limit", &self.layer.limit)
            .finish()
    }
}
