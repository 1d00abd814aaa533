use std::sync::Arc;

use tower_layer::Layer;

use super::{
    body::{BodyFn, DefaultBody},
    reports::NoFields,
    service::Answer,
    tell::Teller,
    terms::Terms,
};
use crate::error::Error;

/// Layer that turns the errors of a stack into responses, and tells clients how much of a limit is left.
///
/// # When to use
/// As the outermost layer of a server whose services must not fail, such as one of axum: its error is
/// [`Infallible`](std::convert::Infallible).
///
/// | request | response to a refusal |
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
///         .layer(AnswerLayer::new().with_fields("api", limit.clone()))
///         .layer(limit),
/// );
/// ```
///
/// # What is logged
/// A response says little about its error, so each error is logged with `tracing`, together with its
/// guard and its cause: refusals and mistakes of a client (4xx) at `DEBUG`, all others at `WARN`. With
/// [`on_error`](Self::on_error) a closure is called instead.
#[derive(Debug, Clone)]
pub struct AnswerLayer<L = NoFields, M = DefaultBody> {
    terms: Terms<L, M>,
}

impl AnswerLayer {
    /// Creates a layer that turns errors into responses, without `RateLimit` fields.
    pub fn new() -> Self {
        Self { terms: Terms::new("", NoFields) }
    }
}

impl<L, M> AnswerLayer<L, M> {
    /// Adds the `RateLimit` fields of `limit` to every response.
    ///
    /// `limit` is a clone of the layer below that refuses: a [`RateLimitLayer`](crate::RateLimitLayer) or
    /// a [`KeyedRateLimitLayer`](crate::limit::KeyedRateLimitLayer). Of several quotas, the second is
    /// called `name-2`, and so on. Characters that a field cannot hold are removed from the name.
    #[must_use]
    pub fn with_fields<N>(self, name: &str, limit: N) -> AnswerLayer<N, M> {
        let Terms { body, teller, .. } = self.terms;
        let Terms { limit, name, .. } = Terms::new(name, limit);
        AnswerLayer { terms: Terms { limit, name, body, teller } }
    }

    /// Sets the closure that makes the empty body of such a response, for bodies without `Default`.
    ///
    /// Bodies of axum, tonic and `http-body-util` have a `Default`, and so has
    /// [`OriginBody`](crate::http::OriginBody). Default: the `Default` of the body.
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
        let Terms { limit, name, teller, .. } = self.terms;
        AnswerLayer { terms: Terms { limit, name, body: BodyFn(empty), teller } }
    }

    /// Calls `listener` with each error that becomes a response, before the response is sent, instead of
    /// logging it. The listener runs in the task of the call, so it should not block.
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
        Self { terms: Terms { teller: Teller::to(listener), ..self.terms } }
    }
}

impl Default for AnswerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, L: Clone, M: Clone> Layer<S> for AnswerLayer<L, M> {
    type Service = Answer<S, L, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Answer::new(inner, Arc::new(self.terms.clone()))
    }
}
