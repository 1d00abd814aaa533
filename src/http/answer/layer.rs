use super::{
    body::{BodyFn, DefaultBody},
    reports::NoFields,
    tell::Teller,
};
use crate::{error::Error, wire};

/// Turns the errors of a stack into responses, and tells clients how much of a limit is left.
///
/// For servers with services that must not fail, such as axum's: the outermost layer, with the error
/// [`Infallible`](std::convert::Infallible).
///
/// | request | response to a refusal |
/// |---|---|
/// | HTTP | 429 for a rate limit, 503 for too many calls at once, otherwise what [`Error::into_response`](crate::Error::into_response) says; with `Retry-After`, without a body |
/// | gRPC, by its `content-type` | 200 with `grpc-status` 8 (`RESOURCE_EXHAUSTED`) for either limit, 4 for a deadline, otherwise 14 or 2; with `grpc-message` and `grpc-retry-pushback-ms` |
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
/// A client learns little of an error, so each error that becomes a response is logged with
/// `tracing`, together with its cause: refusals and mistakes of a client, which are 4xx, at `DEBUG`,
/// all others at `WARN`. With [`on_error`](Self::on_error) they go to a closure instead.
#[derive(Debug, Clone)]
pub struct AnswerLayer<L = NoFields, M = DefaultBody> {
    pub(super) limit: L,
    /// Name of `limit` in the fields, which can be written there as it is.
    pub(super) name: Box<str>,
    pub(super) body: M,
    pub(super) teller: Teller,
}

impl AnswerLayer {
    /// Creates a layer that turns errors into responses.
    pub fn new() -> Self {
        let (name, teller) = (Box::default(), Teller::default());
        Self { limit: NoFields, name, body: DefaultBody, teller }
    }
}

impl Default for AnswerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<L, M> AnswerLayer<L, M> {
    /// Adds the `RateLimit` fields of `limit` to every response.
    ///
    /// `limit` is a clone of the layer below that refuses: a [`RateLimitLayer`](crate::RateLimitLayer),
    /// a [`KeyedRateLimitLayer`](crate::limit::KeyedRateLimitLayer), or a type of yours that
    /// [`Reports`](super::Reports). Of several quotas, the second is called `name-2`, and so on.
    /// Characters that a field cannot hold are left out of the name.
    ///
    /// ```
    /// use tower_upstream::{Quota, RateLimitLayer, http::AnswerLayer};
    /// let limit = RateLimitLayer::new(Quota::per_minute(100));
    /// let layer = AnswerLayer::new().with_fields("api", limit.clone());
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_fields<N>(self, name: &str, limit: N) -> AnswerLayer<N, M> {
        let name = wire::plain(name).into();
        AnswerLayer { limit, name, body: self.body, teller: self.teller }
    }

    /// Makes the body of a response to an error with `empty`, which should return an empty one.
    ///
    /// For bodies without `Default`. Those of axum, tonic and `http-body-util` have it, and
    /// [`OriginBody`](crate::http::OriginBody). Default: `Default::default()`.
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

    /// Calls `listener` with each error before it becomes a response, instead of logging it.
    ///
    /// The listener runs in the task of the call, so it should not block.
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
