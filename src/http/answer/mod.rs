//! What clients are told of a limit, over HTTP and gRPC.

mod body;
mod future;
mod reports;
mod responses;
mod tell;

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
    body::{BodyFn, DefaultBody, EmptyBody},
    future::AnswerFuture,
    reports::{NoFields, Reports},
};
use self::{future::Asked, reports::Name, tell::Teller};
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
/// use tower_upstream::{Quota, RateLimitLayer, http::AnswerLayer};
///
/// let limit = RateLimitLayer::new(Quota::per_minute(100));
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(
///     ServiceBuilder::new()
///         .layer(AnswerLayer::with_fields("api", limit.clone()))
///         .layer(limit),
/// );
/// ```
///
/// # What is logged
/// The client learns little of an error, so each error that becomes a response is logged with
/// `tracing`, together with its cause: refusals and mistakes of a client, which are 4xx, at `DEBUG`,
/// and all others at `WARN`. With [`on_error`](Self::on_error) a closure is told instead.
#[derive(Debug, Clone, Default)]
pub struct AnswerLayer<L = NoFields, M = DefaultBody> {
    limit: L,
    name: Name,
    body: M,
    teller: Teller,
}

impl AnswerLayer {
    /// Only turns errors into responses.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<L> AnswerLayer<L> {
    /// Also adds the fields of `limit`, which is a clone of the layer below that refuses: a
    /// [`RateLimitLayer`](crate::RateLimitLayer) or a
    /// [`KeyedRateLimitLayer`](crate::limit::KeyedRateLimitLayer). Of several quotas, the second is called
    /// `name-2`, and so on. What cannot stand in a field is left out of the name.
    pub fn with_fields(name: &str, limit: L) -> Self {
        Self { limit, name: Name::new(name), body: DefaultBody, teller: Teller::default() }
    }
}

impl<L, M> AnswerLayer<L, M> {
    /// Makes the body of such a response with `empty`, which should have nothing in it. For bodies
    /// without `Default`; by default that is asked, which those of axum, tonic and `http-body-util` have, and
    /// [`OriginBody`](crate::http::OriginBody).
    ///
    /// # Example
    /// ```
    /// use bytes::Bytes;
    /// use futures::stream;
    /// use http_body::Frame;
    /// use http_body_util::StreamBody;
    /// use tower_upstream::http::AnswerLayer;
    ///
    /// type Frames = stream::Empty<Result<Frame<Bytes>, std::io::Error>>;
    /// let layer = AnswerLayer::new().with_body(|| StreamBody::<Frames>::new(stream::empty()));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_body<F>(self, empty: F) -> AnswerLayer<L, BodyFn<F>> {
        let Self { limit, name, teller, .. } = self;
        AnswerLayer { limit, name, body: BodyFn(empty), teller }
    }

    /// Tells `listener` of each error that becomes a response, before the response is sent, and logs
    /// none itself. The listener runs in the task of the call, so it should not block.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::http::AnswerLayer;
    /// let layer = AnswerLayer::new().on_error(|error| {
    ///     if !error.is_refused() {
    ///         eprintln!("a call failed: {error}");
    ///     }
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn on_error(self, listener: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self { teller: Teller::to(listener), ..self }
    }
}

impl<S, L: Clone, M: Clone> Layer<S> for AnswerLayer<L, M> {
    type Service = Answer<S, L, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Answer { inner, dead: None, layer: Arc::new(self.clone()) }
    }
}

/// The service of an [`AnswerLayer`].
pub struct Answer<S, L = NoFields, M = DefaultBody> {
    inner: S,
    /// Why the inner service will never be ready again. It is not asked any more then.
    dead: Option<Error>,
    layer: Arc<AnswerLayer<L, M>>,
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

impl<S: fmt::Debug, L: fmt::Debug, M> fmt::Debug for Answer<S, L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("inner", &self.inner)
            .field("dead", &self.dead)
            .field("limit", &self.layer.limit)
            .finish()
    }
}
