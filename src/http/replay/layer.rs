use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::body::ReplayBody;
use crate::error::BoxError;

/// Wraps request bodies in a [`ReplayBody`], so that requests can be sent again even if their body
/// streams.
///
/// # When to use
/// Above a [`FailoverLayer`](crate::FailoverLayer) or a `tower::retry::RetryLayer`, if bodies stream:
/// those of axum and tonic, and hyper's `Incoming`, cannot be copied, so without this layer such a
/// request is sent once. The layers below get an `http::Request<ReplayBody>`.
///
/// A body beyond the cap of 64 KiB streams through, and is sent once after all: the error of such a call says
/// that the request cannot be copied. For larger uploads see [`with_cap`](Self::with_cap).
///
/// An attempt whose time limit passes while it waits for the rest of a body of a known length counts against
/// no endpoint, and is the last: it is the caller that sends nothing. That is known of a body that fits the cap, while
/// another attempt could follow.
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
    /// Creates a layer that keeps up to 64 KiB of each body ([`ReplayBody::DEFAULT_CAP`]).
    pub const fn new() -> Self {
        Self { cap: ReplayBody::DEFAULT_CAP }
    }

    /// Sets how many bytes of each body to keep, in at most 4,096 chunks ([`ReplayBody::MAX_CHUNKS`]).
    ///
    /// Each call in flight may hold as much memory. A body of chunks that are small for the cap, such as less
    /// than 2 KiB of 8 MiB, reaches the number of chunks first. With 0 nothing is kept, and a body that is not
    /// empty is sent again only if nothing of it has passed yet, as after a connection that could not be
    /// made. Default: 64 KiB.
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

/// Service of a [`ReplayBodyLayer`].
#[derive(Debug, Clone)]
pub struct ReplayBodies<S> {
    inner: S,
    cap: usize,
}

impl<S> ReplayBodies<S> {
    inner_service!();
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
