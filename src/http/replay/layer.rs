use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::ReplayBody;
use crate::error::BoxError;

/// Layer that lets requests be sent more than once although their body streams: it wraps the body in
/// a [`ReplayBody`].
///
/// Goes above a [`FailoverLayer`](crate::FailoverLayer) or a `tower::retry::RetryLayer`. The service
/// below gets an `http::Request<ReplayBody>`.
///
/// # Example
/// ```
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{
///     Attempts, BalanceLayer, BoxError, Endpoint, FailoverLayer, LeastRequest, connect_fn,
///     discover, http::{ReplayBody, ReplayBodyLayer},
/// };
///
/// let service = ServiceBuilder::new()
///     .layer(ReplayBodyLayer::new())
///     .layer(FailoverLayer::new(Attempts::up_to(3)))
///     .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::default()))
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(|request: http::Request<ReplayBody>| async move {
///             Ok::<_, BoxError>(http::Response::new(request.into_body()))
///         })
///     }));
/// # fn takes<B: Send + 'static>(_: impl tower::Service<http::Request<B>>) {}
/// # takes::<Full<bytes::Bytes>>(service);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ReplayBodyLayer {
    cap: usize,
}

impl ReplayBodyLayer {
    /// Keeps up to [`ReplayBody::DEFAULT_CAP`] of each body.
    pub const fn new() -> Self {
        Self { cap: ReplayBody::DEFAULT_CAP }
    }

    /// Keeps up to `cap` bytes of each body, in at most [`ReplayBody::MAX_CHUNKS`] chunks. With 0, a
    /// body that is not empty is sent again only if nothing of it has passed yet.
    #[must_use]
    pub const fn with_cap(mut self, cap: usize) -> Self {
        self.cap = cap;
        self
    }
}

impl Default for ReplayBodyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayBodyLayer {
    type Service = ReplayBodies<S>;

    fn layer(&self, inner: S) -> ReplayBodies<S> {
        ReplayBodies { inner, cap: self.cap }
    }
}

/// Service that lets requests be sent more than once although their body streams. Made by a
/// [`ReplayBodyLayer`].
#[derive(Debug, Clone)]
pub struct ReplayBodies<S> {
    inner: S,
    cap: usize,
}

impl<S, B> Service<Request<B>> for ReplayBodies<S>
where
    S: Service<Request<ReplayBody>>,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> S::Future {
        let cap = self.cap;
        self.inner.call(request.map(|body| ReplayBody::with_cap(body, cap)))
    }
}
